"""What Prometheus reads of accounts: counted in the database at the moment of the question."""

import re
from typing import Any

import pytest
from django.db import DatabaseError

from accounts.errors import TokenUnavailable
from accounts.models import DeviantArtAccount, EncryptionKey
from accounts.services.secrets import ensure_keys, key_id
from accounts.services.tokens import store_tokens, usable_token
from deviantart.oauth import TokenPair
from isekai.ids import new_id
from isekai.metrics import exposition
from tests.factories import UserFactory, workspace_of

OLD, NEW = bytes(range(32)), bytes(range(100, 132))


def numbers(metric: str) -> dict[str, float]:
    """The value of each label of ``metric``."""
    found = re.findall(rf'^{metric}{{\w+="([^"]*)"}} (\S+)$', exposition().decode(), re.MULTILINE)
    return {label: float(value) for label, value in found}


@pytest.fixture
def connect_some(transactional_db: None, settings: Any) -> Any:
    """Connects so many accounts in a process with these keys."""
    EncryptionKey.objects.all().delete()
    workspace = workspace_of(UserFactory())

    def connect_some(count: int, *keys: bytes) -> None:
        settings.ENCRYPTION_KEYS = list(keys)
        ensure_keys()
        for _number in range(count):
            account = DeviantArtAccount(id=new_id(), workspace=workspace, remote_user_id=str(new_id()))
            store_tokens(account, TokenPair("access", "refresh", 3600, ("basic",)))
            account.save(force_insert=True)

    return connect_some


def test_rows_are_counted_for_each_key_and_new_ones_are_under_the_newest(connect_some):
    connect_some(3, OLD)
    assert numbers("secrets_rows") == {key_id(OLD): 3}
    connect_some(100, NEW, OLD)
    assert numbers("secrets_rows") == {key_id(OLD): 3, key_id(NEW): 100}
    for key in (OLD, NEW):
        counted = DeviantArtAccount.objects.filter(encryption_key=key_id(key)).count()
        assert numbers("secrets_rows")[key_id(key)] == counted


def test_accounts_are_counted_by_their_state(connect_some):
    connect_some(3, NEW)
    one = DeviantArtAccount.objects.all()[0]
    DeviantArtAccount.objects.filter(pk=one.pk).update(state=DeviantArtAccount.State.REAUTH_REQUIRED)
    assert numbers("deviantart_accounts") == {"active": 2, "reauth_required": 1, "disconnected": 0}


def test_a_database_that_is_away_leaves_no_number_and_no_error(monkeypatch):
    def away() -> None:
        raise DatabaseError

    monkeypatch.setattr(DeviantArtAccount.objects, "order_by", away, raising=True)
    assert numbers("secrets_rows") == numbers("deviantart_accounts") == {}
    assert b"python_info" in exposition()


def test_refreshes_are_counted_by_what_came_of_them(sandbox, account):
    def count() -> dict[str, float]:
        return numbers("token_refreshes_total")

    before = count()
    usable_token(account.pk, rejected_version=1)
    assert count().get("renewed", 0) == before.get("renewed", 0) + 1
    sandbox.faults([{"match": {"path": "/oauth2/token"}, "do": "status", "status": 500}])
    DeviantArtAccount.objects.update(access_expires_at=None)
    with pytest.raises(TokenUnavailable):
        usable_token(account.pk)
    assert count().get("deviantart_server_failed", 0) == before.get("deviantart_server_failed", 0) + 1
