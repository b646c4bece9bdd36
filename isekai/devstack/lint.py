"""``./dev lint``: everything but the tests that must hold before a commit."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isekai.devstack import PROJECT
from isekai.devstack.environment import Secrets, without_settings
from isekai.devstack.errors import UsageError
from isekai.devstack.servers import BIN


@dataclass(frozen=True)
class Check:
    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


def settings(**values: str) -> dict[str, str]:
    """What the settings ask for, with addresses at which nobody answers: no check needs a server."""
    made = Secrets()
    return {
        "SECRET_KEY": made.secret_key,
        "ENCRYPTION_KEY": made.encryption_key,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "REDIS_URL": f"redis://:{made.redis_password}@127.0.0.1:9/0",
        "S3_ENDPOINT": "https://s3.invalid",
        "S3_BUCKET_NAME": "none",
        "S3_ACCESS_KEY_ID": made.s3_access_key,
        "S3_SECRET_ACCESS_KEY": made.s3_secret_key,
        "DEVIANTART_CLIENT_ID": made.deviantart_client_id,
        "DEVIANTART_CLIENT_SECRET": made.deviantart_client_secret,
        **values,
    }


def checks() -> list[Check]:
    """In the order in which they are run, the quick ones first."""
    development = settings(ISEKAI_ENV="development", ISEKAI_PUBLIC_URL="http://localhost:4000")
    production = settings(ISEKAI_ENV="production", ISEKAI_PUBLIC_URL="https://isekai.invalid")
    # Without a database makemigrations cannot compare the history, which is not what it is asked for here, and says so.
    quiet = "ignore::RuntimeWarning:django.core.management.commands.makemigrations"
    manage = ("python", "-W", quiet, "manage.py")
    found = [
        Check("ruff check", ("ruff", "check", ".")),
        Check("ruff format", ("ruff", "format", "--check", ".")),
        Check("lint-imports", ("lint-imports",)),
        Check("hadolint", ("hadolint", "Dockerfile")),
        Check("shellcheck", ("shellcheck", "dev", ".ci/run")),
        Check("check --deploy", (*manage, "check", "--deploy", "--fail-level", "WARNING"), production),
        Check("makemigrations --check", (*manage, "makemigrations", "--check", "--dry-run"), development),
        # The folders of the tests are no packages, so their modules are named by where they lie.
        Check("mypy", ("mypy", "--explicit-package-bases", "."), {**development, "MYPYPATH": "."}),
    ]
    if any((PROJECT / "templates").rglob("*.html")):  # djlint fails where it finds nothing
        found.append(Check("djlint", ("djlint", "templates", "--check", "--lint", "--quiet")))
    found.append(Check("contrast", ("python", "-m", "isekai.devstack.contrast", "--check")))
    found.append(Check("docs", ("python", "-m", "isekai.devstack.references", "--check")))
    return found


def run_checks(found: Sequence[Check]) -> int:
    """Run all of them, whatever fails; 1 when one did."""
    failed = []
    for check in found:
        program, *arguments = check.command
        began = time.monotonic()
        done = subprocess.run(
            [str(BIN / program), *arguments],
            env={**without_settings(os.environ), **check.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(
            f"{'FAILED' if done.returncode else 'ok':<7} {check.name}  ({time.monotonic() - began:.1f} s)", flush=True
        )
        if done.returncode:
            failed.append(check.name)
            print(done.stdout.rstrip() + "\n", flush=True)
    print(f"{len(found) - len(failed)} checks passed, {len(failed)} failed{': ' if failed else '.'}{', '.join(failed)}")
    return 1 if failed else 0


def lint(arguments: Sequence[str]) -> int:
    if arguments:
        raise UsageError("./dev lint takes no arguments; to run one check alone, call its program in .venv/bin.")
    return run_checks(checks())
