"""What the processes are told: secrets made here, and the environment that says where everything is."""

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from isekai.devstack import PROJECT
from isekai.devstack.errors import DevstackError
from isekai.devstack.servers import NAME, PostgreSQL, SeaweedFS, Valkey


def _hex(digits: int) -> str:
    return secrets.token_hex(digits // 2)


@dataclass(frozen=True)
class Secrets:
    """Everything that nobody may guess, made at the first start. Hex, so that it needs no quoting in a URL."""

    secret_key: str = field(default_factory=lambda: _hex(64), repr=False)
    encryption_key: str = field(default_factory=lambda: _hex(64), repr=False)
    database_password: str = field(default_factory=lambda: _hex(32), repr=False)
    redis_password: str = field(default_factory=lambda: _hex(32), repr=False)
    s3_access_key: str = field(default_factory=lambda: _hex(20), repr=False)
    s3_secret_key: str = field(default_factory=lambda: _hex(40), repr=False)
    deviantart_client_id: str = field(default_factory=lambda: str(10_000 + secrets.randbelow(90_000)), repr=False)
    deviantart_client_secret: str = field(default_factory=lambda: _hex(32), repr=False)

    @classmethod
    def kept_in(cls, path: Path) -> "Secrets":
        """Those of the last start; what is missing is made and added.

        Raises DevstackError when the file cannot be read: new secrets would lock us out of the data beside it.
        """
        try:
            kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            found = cls(**{name.name: kept[name.name] for name in fields(cls) if name.name in kept})
        except (ValueError, TypeError, AttributeError) as error:
            raise DevstackError(
                f"{path} cannot be read. Put it back from a copy, or remove the folder {path.parent} with all its data."
            ) from error
        write_private(path, json.dumps(asdict(found), indent=2) + "\n")
        return found


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read; a reader sees the old text or the new one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.touch(mode=0o600)
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def read_dotenv(path: Path) -> dict[str, str]:
    """``NAME=value`` lines; quotes around a value are dropped, comments and empty lines passed over."""
    found: dict[str, str] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*", line):
            name, value = match.groups()
            quoted = re.fullmatch(r"'([^']*)'|\"([^\"]*)\"", value)
            # As docker compose reads it: a comment needs a space before it.
            found[name] = (quoted[1] or quoted[2] or "") if quoted else re.split(r"(?:^|\s+)#", value)[0]
    return found


def database_environment(server: PostgreSQL) -> dict[str, str]:
    return {"DATABASE_URL": server.url}


def redis_environment(server: Valkey) -> dict[str, str]:
    return {"REDIS_URL": server.url}


def storage_environment(server: SeaweedFS) -> dict[str, str]:
    return {
        "S3_ENDPOINT": server.url,
        "S3_PRESIGNED_ENDPOINT": server.url,
        "S3_REGION": "us-east-1",
        "S3_BUCKET_NAME": NAME,
        "S3_ACCESS_KEY_ID": server.access_key,
        "S3_SECRET_ACCESS_KEY": server.secret_key,
    }


def settings_names() -> set[str]:
    """Every variable that the settings read: .env.example lists them all, those that have a default behind a #."""
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What is left for a run that must not depend on what somebody has set for another one."""
    names = settings_names()
    # Django has a few of its own, such as the one that tests in a browser need and production forbids.
    return {name: value for name, value in environment.items() if name not in names and not name.startswith("DJANGO_")}
