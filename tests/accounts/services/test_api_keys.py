"""API keys: their form, what is stored of them, and what ends them."""

import hashlib
import re
import zlib
from datetime import timedelta

import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, AuditEvent, Membership, User
from accounts.services.api_keys import create_api_key, find_api_key, revoke_api_key
from isekai import clock
from tests.factories import UserFactory, workspace_of


@pytest.fixture
def user(db: None) -> User:
    return UserFactory()


@pytest.fixture
def made(user: User) -> tuple[ApiKey, str]:
    return create_api_key(workspace_of(user), user=user, name="ComfyUI", scopes=[ApiKey.Scope.UPLOAD])


def test_a_key_has_the_form_that_its_users_check(made):
    key, raw = made
    assert re.fullmatch(r"isk_[0-9a-f]{64}", raw)
    assert raw[4:20] == key.public_id
    assert raw[60:] == f"{zlib.crc32(raw[4:60].encode()):08x}"


def test_keys_are_random(user):
    made = [create_api_key(workspace_of(user), user=user, name="x", scopes=[ApiKey.Scope.READ])[1] for _ in range(50)]
    assert len({raw[20:60] for raw in made}) == len({raw[4:20] for raw in made}) == 50


def test_only_a_digest_of_the_secret_is_stored(made):
    key, raw = made
    row = str(ApiKey.objects.filter(pk=key.pk).values().get())
    assert raw[20:60] not in row
    assert key.secret_digest == hashlib.sha256(bytes.fromhex(raw[20:60])).hexdigest()
    assert raw not in repr(key)
    assert raw not in str(AuditEvent.objects.values())


def test_a_key_is_found_with_its_user_and_workspace(made, user):
    key, raw = made
    found = find_api_key(raw)
    assert found is not None
    assert found == key
    with CaptureQueriesContext(connection) as queries:
        assert (found.user, found.workspace) == (user, workspace_of(user))
    assert len(queries) == 1  # the second one is the test's own


def test_every_mistyped_key_is_refused_without_asking_the_database(made):
    _key, raw = made
    with CaptureQueriesContext(connection) as queries:
        for place, character in enumerate(raw):
            for other in "0aZ_":
                if other != character:
                    assert find_api_key(raw[:place] + other + raw[place + 1 :]) is None
        for wrong in ("", raw[:-1], raw + "0", raw.upper(), f" {raw}", raw.replace("isk_", "isk-"), "isk_" + "0" * 64):
            assert find_api_key(wrong) is None
    assert len(queries) == 0


def test_a_well_formed_key_that_nobody_made_is_refused(made):
    _key, raw = made
    body = raw[4:20] + "0" * 40
    assert find_api_key(f"isk_{body}{zlib.crc32(body.encode()):08x}") is None
    body = "0" * 56
    assert find_api_key(f"isk_{body}{zlib.crc32(body.encode()):08x}") is None


def test_a_key_expires_after_ninety_days_unless_told_otherwise(made):
    _key, raw = made
    with time_machine.travel(clock.now() + timedelta(days=89)):
        assert find_api_key(raw)
    with time_machine.travel(clock.now() + timedelta(days=91)):
        assert find_api_key(raw) is None


def test_a_revoked_key_is_dead_for_good(made, user):
    key, raw = made
    revoke_api_key(key, user=user)
    assert find_api_key(raw) is None
    revoked_at = ApiKey.objects.get().revoked_at
    revoke_api_key(key, user=user)
    assert ApiKey.objects.get().revoked_at == revoked_at
    assert AuditEvent.objects.filter(verb="api_key.revoked").count() == 1


def test_a_key_dies_with_its_owners_access(made, user):
    _key, raw = made
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert find_api_key(raw) is None


def test_a_key_dies_with_its_owners_membership_of_that_workspace(made, user):
    key, raw = made
    other = UserFactory()
    Membership.objects.create(user=user, workspace=workspace_of(other))
    Membership.objects.create(user=other, workspace=key.workspace)
    assert find_api_key(raw)
    Membership.objects.filter(user=user, workspace=key.workspace).delete()
    assert find_api_key(raw) is None


def test_using_a_key_is_noted_at_most_every_five_minutes(made):
    _key, raw = made
    with time_machine.travel("2030-01-01T12:00:00Z", tick=False) as time:
        ApiKey.objects.update(expires_at=None)
        for _time in range(3):
            with CaptureQueriesContext(connection) as queries:
                find_api_key(raw)
        assert len(queries) == 1
        assert ApiKey.objects.get().last_used_at == clock.now()
        time.shift(timedelta(minutes=5))
        find_api_key(raw)
        assert ApiKey.objects.get().last_used_at == clock.now()


def test_a_use_that_cannot_be_noted_fails_no_call(made, monkeypatch):
    key, raw = made

    class Broken:
        def update(self, **_columns: object) -> None:
            raise DatabaseError("read only")

    usable = ApiKey.objects.usable()
    monkeypatch.setattr(ApiKey.objects, "usable", lambda: usable)
    monkeypatch.setattr(ApiKey.objects, "filter", lambda **_conditions: Broken())
    assert find_api_key(raw) == key


def test_the_table_refuses_a_scope_that_nobody_knows(made):
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.update(scopes=["upload", "everything"])
