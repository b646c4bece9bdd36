"""Who may call what: signed in or by a key, and only with the scope that the call names."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from accounts.models import ApiKey, Membership, User
from accounts.services.api_keys import create_api_key, revoke_api_key
from isekai import clock
from tests.factories import UserFactory, workspace_of

ME = "/api/me/"
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def user(db: None) -> User:
    return UserFactory()


@pytest.fixture
def signed_in(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def key_of(user: User, *scopes: ApiKey.Scope) -> str:
    return create_api_key(workspace_of(user), user=user, name="key", scopes=scopes or list(ApiKey.Scope))[1]


def bearer(raw: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {raw}"}


# --- every call says who may make it ---------------------------------------------------------------------------------
def api_calls() -> Iterator[tuple[str, str, type, str | None]]:
    """Path, method, view and action of every call under /api/ that is ours."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, path)
            elif isinstance(pattern, URLPattern):
                yield path, pattern.callback

    for path, callback in walk(get_resolver().url_patterns, ""):
        view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
        if not path.startswith("api/") or view in {SpectacularAPIView, SpectacularSwaggerView}:
            continue
        assert view is not None, f"/{path} is no view of REST framework"
        actions = getattr(callback, "actions", None)
        for method in METHODS:
            if actions is not None and method in actions:
                yield path, method, view, actions[method]
            elif actions is None and hasattr(view, method):
                yield path, method, view, None


def scope_of(view: Any, method: str, action: str | None) -> str | None:
    """The declared scope. KeyError when the view does not speak of that call, AttributeError when of none."""
    required = view.required_scope
    if isinstance(required, dict):
        return required[action] if action in required else required[method]
    return required


def test_every_call_names_the_scope_that_it_needs_or_that_it_is_for_people_alone():
    calls = list(api_calls())
    assert len(calls) > 5
    for path, method, view, action in calls:
        assert scope_of(view, method, action) in {*ApiKey.Scope, None}, f"{method} /{path}"


def test_keys_can_never_manage_keys():
    for path, method, view, action in api_calls():
        if path.startswith("api/keys"):
            assert scope_of(view, method, action) is None, f"{method} /{path}"


@pytest.mark.parametrize("scope", ApiKey.Scope)
def test_a_key_gets_no_further_than_its_scope(client, user, scope):
    raw = key_of(user, scope)
    tried = 0
    for path, method, view, action in api_calls():
        if scope_of(view, method, action) != scope:
            address = "/" + path_with_an_id(path)
            answer = getattr(client, method)(address, headers=bearer(raw), content_type="application/json")
            assert answer.status_code == 403, f"{method} {address}"
            assert answer.json()["code"] == "permission_denied"
            tried += 1
    assert tried > 3


@pytest.mark.parametrize("headers", [{}, bearer("isk_" + "0" * 64)], ids=["nobody", "a wrong key"])
def test_no_call_is_open_to_strangers(client, db, headers):
    for path, method, _view, _action in api_calls():
        address = "/" + path_with_an_id(path)
        answer = getattr(client, method)(address, headers=headers, content_type="application/json")
        assert answer.status_code == 401, f"{method} {address}"


def path_with_an_id(pattern: str) -> str:
    """The path of a pattern, with an id that nothing has."""
    path = re.sub(r"<[^>]+>|\(\?P<\w+>[^)]+\)", "01900000-0000-7000-8000-000000000001", pattern)
    return path.replace("^", "").replace("$", "").replace("\\Z", "").replace("\\.", ".")


# --- keys ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_key_comes_in_either_header(client, user, header):
    raw = key_of(user, ApiKey.Scope.READ)
    answer = client.get(ME, headers={header: f"Bearer {raw}" if header == "Authorization" else raw})
    assert answer.json()["username"] == user.username
    assert answer.json()["scopes"] == ["read"]


def test_a_key_is_refused_in_the_address_even_of_somebody_signed_in(signed_in, user):
    raw = key_of(user)
    for query in ({"api_key": raw}, {"x": f"Bearer {raw}"}):
        answer = signed_in.get(ME, query)
        assert answer.status_code == 401
        assert answer.json()["code"] == "key_in_address"
        assert raw not in answer.content.decode()
        assert signed_in.get(ME, query, headers=bearer(raw)).status_code == 401


def test_a_key_in_a_body_is_none(client, user):
    raw = key_of(user)
    body = {"api_key": raw, "Authorization": f"Bearer {raw}"}
    assert client.post("/api/keys/", body, content_type="application/json").status_code == 401
    assert client.post("/api/keys/", body).status_code == 401


def test_every_bad_key_gets_the_same_answer(client, user):
    expired, revoked, removed = key_of(user), key_of(user), key_of(UserFactory())
    ApiKey.objects.filter(public_id=expired[4:20]).update(expires_at=clock.now())
    revoke_api_key(ApiKey.objects.get(public_id=revoked[4:20]), user=user)
    Membership.objects.filter(user__api_keys__public_id=removed[4:20]).delete()
    bodies = set()
    for bad in (expired, revoked, removed, "isk_" + "0" * 64, "isk_", "x", "", key_of(user)[:-1] + "x"):
        answer = client.get(ME, headers=bearer(bad))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        bodies.add(str({**answer.json(), "request_id": ""}))
    assert len(bodies) == 1


def test_two_keys_that_differ_are_refused(client, user):
    headers = {**bearer(key_of(user)), "X-API-Key": key_of(UserFactory())}
    assert client.get(ME, headers=headers).status_code == 401


def test_a_key_beats_the_cookies_of_somebody_else(signed_in):
    other = UserFactory()
    assert signed_in.get(ME, headers=bearer(key_of(other))).json()["username"] == other.username
    # A bad key does not fall back to them.
    assert signed_in.get(ME, headers=bearer("isk_" + "0" * 64)).status_code == 401


def test_a_key_needs_no_csrf_token_and_cookies_do(user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post("/api/keys/", {"name": "x"}, content_type="application/json").status_code == 403
    answer = client.post("/api/keys/", {"name": "x"}, content_type="application/json", headers=bearer(key_of(user)))
    assert answer.json()["code"] == "permission_denied"


def test_pages_are_not_opened_by_a_key(client, user):
    answer = client.get("/connect/", headers=bearer(key_of(user)))
    assert answer.headers["Location"].startswith("/sign-in/")
