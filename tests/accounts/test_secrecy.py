"""Nothing that DeviantArt or we call a secret is to be found where it must not be: planted, used, then searched for."""

import base64
import json
import logging
from io import StringIO
from typing import Any, cast
from urllib.parse import quote

import pytest
import redis
from django.apps import apps
from django.conf import settings as django_settings
from django.core import mail
from django.db import connection
from django.test import Client

from accounts.errors import TokenUnavailable
from accounts.models import DeviantArtAccount, User
from accounts.services.notifying import send_due
from accounts.services.secrets import Place, Purpose, decrypt
from accounts.services.tokens import lose_login, usable_token
from tests.accounts.web.test_signing_in import way_back


def spellings(secret: str) -> dict[str, str]:
    raw = secret.encode()
    # Base64 reads otherwise by where in a text the secret begins; the ends of each depend on what stands around it.
    shifted = {f"base64+{n}": base64.b64encode(b"\0" * n + raw).decode().rstrip("=")[4:-2] for n in range(3)}
    return {"raw": secret, "hex": raw.hex(), "url": quote(secret, safe=""), **shifted}


def found_in(text: str, secrets: dict[str, str]) -> list[str]:
    return [
        f"{name} as {how}"
        for name, secret in secrets.items()
        for how, spelling in spellings(secret).items()
        if spelling in text
    ]


def dump_of_the_database() -> str:
    """Every row of every table, as PostgreSQL itself writes them."""
    rows = []
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            cursor.execute(f'SELECT t::text FROM "{model._meta.db_table}" AS t')  # noqa: S608 - our own tables
            rows += [row[0] for row in cursor.fetchall()]
    return "\n".join(rows)


def dump_of_redis() -> str:
    """Broker, caches and sessions."""
    parts = []
    caches = cast(dict[str, dict[str, Any]], django_settings.CACHES)
    for location in (django_settings.REDIS_URL, *(cache["LOCATION"] for cache in caches.values())):
        with redis.Redis.from_url(location) as server:
            for key in server.scan_iter():
                parts += [str(key), str(server.dump(key)), str(_value(server, key))]
    return "\n".join(parts)


def _value(server: Any, key: bytes) -> Any:
    kind = server.type(key)
    return server.lrange(key, 0, -1) if kind == b"list" else server.get(key) if kind == b"string" else ""


@pytest.fixture
def everything_logged() -> Any:
    """All that is logged at DEBUG, through the very formatter that production writes with."""
    stream = StringIO()
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(next(each.formatter for each in root.handlers if each.formatter is not None))
    before = {name: logging.getLogger(name).level for name in ("", "deviantart", "accounts", "urllib3", "requests")}
    root.addHandler(handler)
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_no_secret_leaves(transactional_db, sandbox, settings, everything_logged):
    client = Client()
    codes, flows = [], []
    for _time in range(2):  # a first login and a second one
        back = way_back(client)
        codes.append(back.split("code=")[1].split("&")[0])
        flows += client.session["oauth_flows"]
        assert client.get(back).status_code == 302
        client.post("/sign-out/")
    client.get(way_back(client))
    account = DeviantArtAccount.objects.get()
    secrets = {
        "the client's secret": sandbox.client_secret,
        "the encryption key": django_settings.ENCRYPTION_KEYS[0].hex(),
        **{f"code {number}": code for number, code in enumerate(codes)},
        # Spent when it is searched for, and yet none of anybody's business.
        **{f"verifier {number}": flow["verifier"] for number, flow in enumerate(flows)},
    }

    def note_tokens(when: str) -> None:
        account.refresh_from_db()
        for column in ("access_token", "refresh_token"):
            secrets[f"{column} {when}"] = decrypt(getattr(account, column), Place.of(account, column), Purpose.TOKEN)

    note_tokens("of the login")
    token = usable_token(account.pk, rejected_version=account.token_version)
    note_tokens("of the refresh")
    # Answers that say everything back, or nothing at all.
    for fault in ({"do": "status", "status": 400, "body": echo(secrets)}, {"do": "reset_before"}):
        sandbox.faults([{"match": {"path": "/oauth2/token"}, **fault}])
        DeviantArtAccount.objects.update(access_expires_at=None, refresh_retry_at=None)
        with pytest.raises(TokenUnavailable) as refused:
            usable_token(account.pk)
        assert found_in(f"{refused.value!r} {refused.value} {refused.value.__dict__}", secrets) == []
    lose_login(account.pk, token_version=account.token_version, reason="rejected")
    User.objects.update(email="mira@example.org")
    send_due()

    log = everything_logged.getvalue()
    assert "token_refreshed" in log
    assert len(secrets) == 10
    assert found_in(log, secrets) == []
    assert found_in(dump_of_the_database(), secrets) == []
    assert str(client.session.session_key) in dump_of_redis()
    assert found_in(dump_of_redis(), secrets) == []
    assert found_in(str([message.message() for message in mail.outbox]), secrets) == []
    shown = f"{account!r} {account} {account.__dict__} {token!r} {json.dumps(account.__dict__, default=str)}"
    assert found_in(shown, secrets) == []
    # The search finds what is there.
    assert "access_token of the refresh as raw" in found_in(f"x{token.value}y", secrets)
    assert found_in(base64.b64encode(f"xy{token.value}z".encode()).decode(), secrets)


def echo(secrets: dict[str, str]) -> dict[str, Any]:
    """A refusal that says everything back that it was sent."""
    return {"error": "invalid_request", "error_description": " ".join(secrets.values()), "status": "error"}
