"""`/api/me/`, `/api/workspaces/`, `/api/accounts/` and `/api/keys/`."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, AuditEvent, DeviantArtAccount, Membership, User
from accounts.services.api_keys import create_api_key
from isekai import clock
from tests.factories import DeviantArtAccountFactory, UserFactory, workspace_of

ACCOUNTS, KEYS = "/api/accounts/", "/api/keys/"


@pytest.fixture
def user(db: None) -> User:
    return UserFactory()


@pytest.fixture
def signed_in(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def with_key(user: User, *scopes: ApiKey.Scope) -> dict[str, str]:
    return {"X-API-Key": create_api_key(workspace_of(user), user=user, name="key", scopes=scopes)[1]}


# --- workspaces ------------------------------------------------------------------------------------------------------
def wishes(user: User, **changes: Any) -> tuple[str, dict[str, Any]]:
    workspace = workspace_of(user)
    return f"/api/workspaces/{workspace.pk}/", {"id": str(workspace.pk), "name": workspace.name, **changes}


def test_an_owner_says_whether_new_drafts_are_ready_at_once(signed_in, user):
    path, before = wishes(user, drafts_are_ready=False)
    assert signed_in.get("/api/workspaces/").json()["results"] == [before]
    for wish in (True, False):
        answer = signed_in.patch(path, {"drafts_are_ready": wish}, content_type="application/json")
        assert (answer.status_code, answer.json()) == (200, {**before, "drafts_are_ready": wish})
        assert signed_in.get(path).json()["drafts_are_ready"] is wish


def test_a_member_sees_that_but_does_not_say_it(signed_in, user):
    theirs = workspace_of(UserFactory(username="nightjar"))
    Membership.objects.create(user=user, workspace=theirs)
    assert signed_in.get(f"/api/workspaces/{theirs.pk}/").json()["drafts_are_ready"] is False
    answer = signed_in.patch(
        f"/api/workspaces/{theirs.pk}/", {"drafts_are_ready": True}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "owners_only")
    theirs.refresh_from_db()
    assert theirs.drafts_are_ready is False


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "drafts_are_ready"), ({"drafts_are_ready": "perhaps"}, "drafts_are_ready"), ({"name": "Mine"}, "name")],
)
def test_a_wish_that_cannot_be_read_names_its_field(signed_in, user, body, field):
    answer = signed_in.patch(wishes(user)[0], body, content_type="application/json")
    assert answer.status_code == 400
    assert field in answer.json()["details"]


# --- me --------------------------------------------------------------------------------------------------------------
def test_me_is_who_calls_and_where(signed_in, user):
    assert signed_in.get("/api/me/").json() == {
        "id": str(user.pk),
        "username": user.username,
        "time_zone": "UTC",
        "language": "en",
        "theme": "auto",
        "workspace": {"id": str(workspace_of(user).pk), "name": user.username},
        "scopes": None,
    }


def test_a_key_names_the_workspace_that_it_was_made_for(client, user):
    theirs = workspace_of(UserFactory(username="nightjar"))
    Membership.objects.create(user=user, workspace=theirs)
    raw = create_api_key(theirs, user=user, name="key", scopes=[ApiKey.Scope.READ])[1]
    answer = client.get("/api/me/", headers={"X-API-Key": raw}).json()
    assert (answer["username"], answer["workspace"]["name"]) == (user.username, "nightjar")


def test_who_is_in_no_workspace_is_told_so(signed_in, user):
    Membership.objects.all().delete()
    answer = signed_in.get("/api/me/")
    assert (answer.status_code, answer.json()["code"]) == (403, "no_workspace")


# --- accounts --------------------------------------------------------------------------------------------------------
def test_accounts_are_those_of_the_workspace_that_are_connected(signed_in, user):
    account = DeviantArtAccountFactory(workspace=workspace_of(user), scopes=["basic", "user"])
    DeviantArtAccountFactory(
        workspace=workspace_of(user), state="disconnected", access_token="", refresh_token="", encryption_key=None
    )
    DeviantArtAccountFactory()
    answer = signed_in.get(ACCOUNTS).json()
    assert answer["count"] == 1
    (shown,) = answer["results"]
    assert set(shown) == {
        "id",
        "username",
        "avatar_url",
        "state",
        "is_held",
        "held_because",
        "paused",
        "not_before",
        "scopes",
        "missing_scopes",
        "connected_at",
    }
    assert (shown["id"], shown["state"], shown["is_held"]) == (str(account.pk), "active", False)
    assert shown["missing_scopes"] == ["browse", "stash", "publish", "gallery"]


@pytest.mark.parametrize(
    ("columns", "because"),
    [
        ({"paused": True}, "paused"),
        ({"state": "reauth_required"}, "reauth_required"),
        ({"base_url": "https://elsewhere.example"}, "foreign_server"),
        ({"not_before": clock.now() + timedelta(hours=1), "not_before_reason": "quota"}, "quota"),
        ({"not_before": clock.now() - timedelta(hours=1), "not_before_reason": "quota"}, ""),
    ],
)
def test_accounts_say_why_they_are_held(signed_in, user, columns, because):
    DeviantArtAccountFactory(workspace=workspace_of(user), **columns)
    (shown,) = signed_in.get(ACCOUNTS).json()["results"]
    assert (shown["held_because"], shown["is_held"]) == (because, bool(because))
    assert DeviantArtAccount.objects.able().exists() is not shown["is_held"]


def test_a_list_of_accounts_takes_as_many_queries_however_long_it_is(signed_in, user):
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert signed_in.get(ACCOUNTS).status_code == 200
        return len(queries)

    DeviantArtAccountFactory(workspace=workspace_of(user))
    one = count()
    DeviantArtAccountFactory.create_batch(20, workspace=workspace_of(user))
    assert count() == one


@pytest.mark.parametrize("by_key", [False, True])
def test_an_account_is_paused_and_released(client, user, by_key):
    if not by_key:
        client.force_login(user)
    headers = with_key(user, ApiKey.Scope.WRITE) if by_key else {}
    account = DeviantArtAccountFactory(workspace=workspace_of(user))
    for _time in range(2):
        assert client.post(f"{ACCOUNTS}{account.pk}/pause/", headers=headers).json()["held_because"] == "paused"
    assert not DeviantArtAccount.objects.able().exists()
    for _time in range(2):
        assert client.post(f"{ACCOUNTS}{account.pk}/release/", headers=headers).json()["is_held"] is False
    assert DeviantArtAccount.objects.able().exists()
    verbs = list(AuditEvent.objects.filter(subject_id=account.pk).values_list("verb", "user"))
    assert verbs == [("account.paused", user.pk), ("account.released", user.pk)]


@pytest.mark.parametrize("what", ["pause", "release"])
def test_an_account_of_another_workspace_is_not_found(signed_in, what):
    account = DeviantArtAccountFactory(paused=what == "release")
    assert signed_in.post(f"{ACCOUNTS}{account.pk}/{what}/").status_code == 404
    assert signed_in.post(f"{ACCOUNTS}nonsense/{what}/").status_code == 404
    account.refresh_from_db()
    assert account.paused is (what == "release")


def test_a_key_of_one_workspace_does_not_reach_the_other_of_its_owner(client, user):
    headers = with_key(user, ApiKey.Scope.READ, ApiKey.Scope.WRITE)
    theirs = workspace_of(UserFactory())
    Membership.objects.create(user=user, workspace=theirs)
    account = DeviantArtAccountFactory(workspace=theirs)
    assert client.get(ACCOUNTS, headers=headers).json()["count"] == 0
    assert client.post(f"{ACCOUNTS}{account.pk}/pause/", headers=headers).status_code == 404


# --- keys ------------------------------------------------------------------------------------------------------------
def test_a_key_is_shown_once_and_kept_by_no_cache(signed_in, user):
    answer = signed_in.post(KEYS, {"name": "ComfyUI"}, content_type="application/json")
    assert answer.status_code == 201
    assert "no-store" in answer.headers["Cache-Control"]
    made = answer.json()
    assert re.fullmatch(r"isk_[0-9a-f]{64}", made["key"])
    # By default it may upload and nothing else.
    assert made["scopes"] == ["upload"]
    listed = signed_in.get(KEYS)
    (shown,) = listed.json()["results"]
    assert set(shown) == {
        "id",
        "name",
        "prefix",
        "scopes",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    }
    assert shown["prefix"] == made["key"][:20]
    assert made["key"][20:] not in listed.content.decode()
    assert made["key"] not in str(AuditEvent.objects.values())


def test_a_new_key_works_and_a_revoked_one_does_not(signed_in, user):
    body = {"name": "script", "scopes": ["read", "write", "read"], "lives_days": 7}
    made = signed_in.post(KEYS, body, content_type="application/json").json()
    assert made["scopes"] == ["read", "write"]
    headers = {"X-API-Key": made["key"]}
    assert Client().get("/api/me/", headers=headers).status_code == 200
    assert signed_in.get(KEYS).json()["results"][0]["last_used_at"]
    assert signed_in.post(f"{KEYS}{made['id']}/revoke/").json()["revoked_at"]
    assert Client().get("/api/me/", headers=headers).status_code == 401
    assert ApiKey.objects.filter(expires_at__lt=clock.now() + timedelta(days=8)).exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["admin"]}, "scopes"),
        ({"name": "x", "lives_days": 0}, "lives_days"),
        ({"name": "x", "lives_days": 366}, "lives_days"),
        ({"name": "x", "user": "01900000-0000-7000-8000-000000000001"}, "user"),
        ({"name": "x", "workspace": "01900000-0000-7000-8000-000000000001"}, "workspace"),
        ({"name": "x", "secret_digest": "0" * 64}, "secret_digest"),
    ],
)
def test_a_key_that_cannot_be_made_says_why(signed_in, body, field):
    answer = signed_in.post(KEYS, body, content_type="application/json")
    assert answer.status_code == 400
    assert field in answer.json()["details"]
    assert not ApiKey.objects.exists()


def test_nobody_sees_or_revokes_the_key_of_another_member(signed_in, user):
    other = UserFactory()
    Membership.objects.create(user=other, workspace=workspace_of(user))
    key, _raw = create_api_key(workspace_of(user), user=other, name="theirs", scopes=[ApiKey.Scope.READ])
    assert signed_in.get(KEYS).json()["count"] == 0
    assert signed_in.post(f"{KEYS}{key.pk}/revoke/").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None
