"""Who may call what, over every endpoint of the API: the table has a row for each, or the test of the table fails.

What belongs to another workspace is not found, whoever asks; a refusal changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.urls import URLPattern, get_resolver
from rest_framework.test import APIClient

from accounts.models import ApiKey, AuditEvent, DeviantArtAccount, Membership, User, Workspace
from accounts.services.api_keys import create_api_key
from automations.models import Automation, Blackout, DefaultValue, ScheduleRule
from deviations.models import Deviation, DeviationFile, Upload
from isekai import clock
from isekai.ids import new_id
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    DeviantArtAccountFactory,
    DeviationFactory,
    DeviationFileFactory,
    ScheduleRuleFactory,
    UserFactory,
    workspace_of,
)

CANARY = "Nobody else may read this"
Body = Callable[["World"], Any]


@dataclass(frozen=True)
class World:
    """Somebody, and one of each thing that their workspace owns."""

    user: User
    workspace: Workspace
    account: DeviantArtAccount
    work: Deviation
    upload: Upload
    key: ApiKey
    automation: Automation
    rule: ScheduleRule
    default: DefaultValue
    blackout: Blackout

    @property
    def ids(self) -> dict[str, str]:
        """What a request may name, by what it is."""
        names = ("workspace", "account", "work", "upload", "key", "automation", "rule", "default", "blackout")
        things = {name: getattr(self, name) for name in names}
        return {name: str(thing.pk) for name, thing in things.items()}


@dataclass(frozen=True)
class Call:
    """How an endpoint is called with what a world has; ``scope`` None: closed to keys."""

    scope: ApiKey.Scope | None
    path: str
    body: Body | None = None


READ, WRITE, UPLOAD = ApiKey.Scope.READ, ApiKey.Scope.WRITE, ApiKey.Scope.UPLOAD


def schedule(_world: World) -> dict[str, Any]:
    return {"scheduled_at": (clock.now() + timedelta(hours=1)).isoformat()}


def draft(world: World) -> dict[str, Any]:
    return {"title": "A work", "upload_ids": [world.ids["upload"]], "account_id": world.ids["account"]}


def announcement(_world: World) -> dict[str, Any]:
    return {"filename": "picture.png", "content_type": "image/png", "size": 1000}


def new_key(_world: World) -> dict[str, Any]:
    return {"name": "my program", "scopes": ["read"]}


def automation(world: World) -> dict[str, Any]:
    return {"name": "Evenings", "account_id": world.ids["account"]}


def holidays(_world: World) -> dict[str, Any]:
    return {"from_date": "2030-01-01", "until_date": "2030-01-02"}


CALLS: dict[tuple[str, str], Call] = {
    ("get", "api/me/"): Call(READ, "me/"),
    ("get", "api/accounts/"): Call(READ, "accounts/"),
    ("post", "api/accounts/<pk>/pause/"): Call(WRITE, "accounts/{account}/pause/"),
    ("post", "api/accounts/<pk>/release/"): Call(WRITE, "accounts/{account}/release/"),
    ("get", "api/workspaces/"): Call(READ, "workspaces/"),
    ("get", "api/workspaces/<pk>/"): Call(READ, "workspaces/{workspace}/"),
    ("patch", "api/workspaces/<pk>/"): Call(
        WRITE, "workspaces/{workspace}/", lambda _world: {"drafts_are_ready": True}
    ),
    ("get", "api/keys/"): Call(None, "keys/"),
    ("post", "api/keys/"): Call(None, "keys/", new_key),
    ("post", "api/keys/<pk>/revoke/"): Call(None, "keys/{key}/revoke/"),
    ("get", "api/deviations/"): Call(READ, "deviations/"),
    ("post", "api/deviations/"): Call(UPLOAD, "deviations/", draft),
    ("post", "api/deviations/bulk/"): Call(
        WRITE, "deviations/bulk/", lambda world: {"action": "trash", "ids": [world.ids["work"]]}
    ),
    ("get", "api/deviations/<pk>/"): Call(READ, "deviations/{work}/"),
    ("patch", "api/deviations/<pk>/"): Call(
        WRITE, "deviations/{work}/", lambda world: {"title": "Other", "account_id": world.ids["account"]}
    ),
    ("delete", "api/deviations/<pk>/"): Call(WRITE, "deviations/{work}/"),
    ("put", "api/deviations/<pk>/schedule/"): Call(WRITE, "deviations/{work}/schedule/", schedule),
    ("delete", "api/deviations/<pk>/schedule/"): Call(WRITE, "deviations/{work}/schedule/"),
    ("post", "api/deviations/<pk>/publish-now/"): Call(WRITE, "deviations/{work}/publish-now/"),
    ("post", "api/deviations/<pk>/retry/"): Call(WRITE, "deviations/{work}/retry/"),
    ("post", "api/deviations/<pk>/ready/"): Call(WRITE, "deviations/{work}/ready/"),
    ("post", "api/deviations/<pk>/not-ready/"): Call(WRITE, "deviations/{work}/not-ready/"),
    ("post", "api/deviations/<pk>/approve/"): Call(WRITE, "deviations/{work}/approve/"),
    ("post", "api/deviations/<pk>/restore/"): Call(WRITE, "deviations/{work}/restore/"),
    ("get", "api/deviations/<pk>/attempts/"): Call(READ, "deviations/{work}/attempts/"),
    ("post", "api/deviations/<pk>/look-again/"): Call(WRITE, "deviations/{work}/look-again/"),
    ("post", "api/deviations/<pk>/decide/"): Call(
        WRITE, "deviations/{work}/decide/", lambda _world: {"decision": "draft", "confirm_not_live": True}
    ),
    ("post", "api/decisions/"): Call(
        WRITE, "decisions/", lambda world: {"decision": "draft", "ids": [world.ids["work"]], "confirm_not_live": True}
    ),
    ("get", "api/automations/"): Call(READ, "automations/"),
    ("post", "api/automations/"): Call(WRITE, "automations/", automation),
    ("post", "api/automations/bulk/"): Call(
        WRITE, "automations/bulk/", lambda world: {"action": "disable", "ids": [world.ids["automation"]]}
    ),
    ("post", "api/automations/reorder/"): Call(
        WRITE, "automations/reorder/", lambda world: {"ids": [world.ids["automation"]]}
    ),
    ("post", "api/automations/pause-all/"): Call(WRITE, "automations/pause-all/"),
    ("post", "api/automations/go-on-all/"): Call(WRITE, "automations/go-on-all/"),
    ("get", "api/automations/zone-moves/"): Call(READ, "automations/zone-moves/?zone=Asia/Tokyo"),
    ("get", "api/automations/<pk>/"): Call(READ, "automations/{automation}/"),
    ("patch", "api/automations/<pk>/"): Call(WRITE, "automations/{automation}/", automation),
    ("delete", "api/automations/<pk>/"): Call(WRITE, "automations/{automation}/"),
    ("post", "api/automations/<pk>/toggle/"): Call(
        WRITE, "automations/{automation}/toggle/", lambda _world: {"enabled": False}
    ),
    ("post", "api/automations/<pk>/duplicate/"): Call(WRITE, "automations/{automation}/duplicate/"),
    ("get", "api/automations/<pk>/zone-moves/"): Call(READ, "automations/{automation}/zone-moves/?zone=Asia/Tokyo"),
    ("get", "api/automations/preview/"): Call(READ, "automations/preview/"),
    ("get", "api/automations/<pk>/preview/"): Call(READ, "automations/{automation}/preview/"),
    ("post", "api/automations/<pk>/run/"): Call(WRITE, "automations/{automation}/run/"),
    ("get", "api/automations/<pk>/test/"): Call(READ, "automations/{automation}/test/"),
    # 409: it has not run yet.
    ("post", "api/automations/<pk>/undo/"): Call(WRITE, "automations/{automation}/undo/"),
    ("get", "api/automations/<pk>/executions/"): Call(READ, "automations/{automation}/executions/"),
    ("get", "api/automations/<pk>/rules/"): Call(READ, "automations/{automation}/rules/"),
    ("post", "api/automations/<pk>/rules/"): Call(
        WRITE, "automations/{automation}/rules/", lambda _world: {"type": "fixed_time", "time_of_day": "09:00"}
    ),
    ("get", "api/automations/<pk>/rules/<uuid:rule_id>/"): Call(READ, "automations/{automation}/rules/{rule}/"),
    ("patch", "api/automations/<pk>/rules/<uuid:rule_id>/"): Call(
        WRITE, "automations/{automation}/rules/{rule}/", lambda _world: {"priority": 3}
    ),
    ("delete", "api/automations/<pk>/rules/<uuid:rule_id>/"): Call(WRITE, "automations/{automation}/rules/{rule}/"),
    ("get", "api/automations/<pk>/default-values/"): Call(READ, "automations/{automation}/default-values/"),
    ("post", "api/automations/<pk>/default-values/"): Call(
        WRITE, "automations/{automation}/default-values/", lambda _world: {"field": "is_mature", "value": False}
    ),
    ("get", "api/automations/<pk>/default-values/<uuid:default_id>/"): Call(
        READ, "automations/{automation}/default-values/{default}/"
    ),
    ("patch", "api/automations/<pk>/default-values/<uuid:default_id>/"): Call(
        WRITE, "automations/{automation}/default-values/{default}/", lambda _world: {"mode": "always"}
    ),
    ("delete", "api/automations/<pk>/default-values/<uuid:default_id>/"): Call(
        WRITE, "automations/{automation}/default-values/{default}/"
    ),
    ("get", "api/accounts/<pk>/blackouts/"): Call(READ, "accounts/{account}/blackouts/"),
    ("post", "api/accounts/<pk>/blackouts/"): Call(WRITE, "accounts/{account}/blackouts/", holidays),
    ("get", "api/accounts/<pk>/blackouts/<uuid:blackout_id>/"): Call(READ, "accounts/{account}/blackouts/{blackout}/"),
    ("patch", "api/accounts/<pk>/blackouts/<uuid:blackout_id>/"): Call(
        WRITE, "accounts/{account}/blackouts/{blackout}/", holidays
    ),
    ("delete", "api/accounts/<pk>/blackouts/<uuid:blackout_id>/"): Call(
        WRITE, "accounts/{account}/blackouts/{blackout}/"
    ),
    ("post", "api/uploads/"): Call(UPLOAD, "uploads/", announcement),
    ("get", "api/uploads/<pk>/"): Call(UPLOAD, "uploads/{upload}/"),
    ("post", "api/uploads/<pk>/complete/"): Call(UPLOAD, "uploads/{upload}/complete/"),
}
# They show the form of the API and nothing of anybody.
PUBLIC = {("get", "api/schema/"), ("get", "api/docs/")}

every_call = pytest.mark.parametrize("call", CALLS, ids=" ".join)
calls_of_one_thing = pytest.mark.parametrize(
    "call", [call for call, row in CALLS.items() if "{" in row.path], ids=" ".join
)
NAMING = [
    ("post", "api/deviations/"),
    ("post", "api/deviations/bulk/"),
    ("patch", "api/deviations/<pk>/"),
    ("post", "api/decisions/"),
    ("post", "api/automations/"),
    ("post", "api/automations/bulk/"),
    ("post", "api/automations/reorder/"),
    ("patch", "api/automations/<pk>/"),
]


def endpoints(patterns: Any = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method of every path under `api/`, as the URLconf has them."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(pattern.pattern).removeprefix("^").removesuffix("$")
        if not isinstance(pattern, URLPattern):
            yield from endpoints(pattern.url_patterns, path)
        elif path.startswith("api/"):
            view: Any = pattern.callback
            named = getattr(view, "actions", None) or [
                method for method in view.cls.http_method_names if hasattr(view.cls, method)
            ]
            # Django adds HEAD to whatever has GET, and REST framework OPTIONS to everything.
            methods = set(named) - {"head", "options"}
            path = path.replace("(?P<pk>[^/.]+)", "<pk>").replace("<uuid:pk>", "<pk>")
            yield from ((method, path) for method in methods)


def make_world() -> World:
    user = UserFactory()
    workspace = workspace_of(user)
    account = DeviantArtAccountFactory(workspace=workspace, username=f"{CANARY} {user.pk}")
    work = DeviationFactory(workspace=workspace, account=account, title=CANARY)
    DeviationFileFactory(deviation=work, original_name=CANARY)
    upload_id = new_id()
    upload = Upload.objects.create(
        id=upload_id,
        workspace=workspace,
        state=Upload.State.VERIFIED,
        filename=CANARY,
        declared_content_type="image/png",
        declared_size=1000,
        storage_key=f"originals/{workspace.pk}/{upload_id}",
        expires_at=clock.now() + timedelta(minutes=15),
        content_type="image/png",
        size=1000,
        sha256=upload_id.hex * 2,
    )
    key, _raw = create_api_key(workspace, user=user, name=CANARY, scopes=[])
    evenings = AutomationFactory(workspace=workspace, account=account, name=CANARY)
    return World(
        user,
        workspace,
        account,
        work,
        upload,
        key,
        evenings,
        rule=ScheduleRuleFactory(automation=evenings),
        default=DefaultValueFactory(automation=evenings, value=[CANARY]),
        blackout=BlackoutFactory(account=account, name=CANARY),
    )


@pytest.fixture
def mine(db: None) -> World:
    return make_world()


@pytest.fixture
def theirs(db: None) -> World:
    return make_world()


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isekai.queue._send_now", lambda *_arguments: None)


def browser_of(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def program_of(world: World, scopes: list[ApiKey.Scope]) -> APIClient:
    _key, raw = create_api_key(world.workspace, user=world.user, name="program", scopes=scopes)
    return APIClient(headers={"X-API-Key": raw})


def do(client: APIClient, call: tuple[str, str], world: World, *, body: Any = None) -> Any:
    """Make the call with what ``world`` has."""
    method, row = call[0], CALLS[call]
    if body is None and row.body is not None:
        body = row.body(world)
    path = f"/api/{row.path.format(**world.ids)}"
    return getattr(client, method)(path, body, format="json") if body is not None else getattr(client, method)(path)


def belongings(world: World) -> list[Any]:
    """The workspace, and every row that it owns."""
    rows = [Workspace.objects.filter(pk=world.workspace.pk).values()]
    rows += [
        model.objects.filter(workspace=world.workspace).order_by("pk").values()
        for model in (Deviation, Upload, DeviantArtAccount, ApiKey, AuditEvent, Automation)
    ]
    rows += [
        model.objects.filter(**{f"{owner}__workspace": world.workspace}).order_by("pk").values()
        for model, owner in (
            (DeviationFile, "deviation"),
            (ScheduleRule, "automation"),
            (DefaultValue, "automation"),
            (Blackout, "account"),
        )
    ]
    return [[{name: value for name, value in row.items() if name != "last_used_at"} for row in table] for table in rows]


def test_the_table_has_a_row_for_every_endpoint_and_none_too_many() -> None:
    assert set(endpoints()) == set(CALLS) | PUBLIC


def test_the_form_of_the_api_is_public(db: None) -> None:
    for _method, path in PUBLIC:
        assert APIClient().get(f"/{path}").status_code == 200


@every_call
def test_the_owner_is_let_in_with_a_session_and_with_the_scope(
    call: tuple[str, str], mine: World, theirs: World
) -> None:
    answers = [do(browser_of(mine.user), call, mine)]
    if scope := CALLS[call].scope:
        answers.append(do(program_of(theirs, [scope]), call, theirs))
    for answer in answers:
        # 409: a draft cannot be tried again; that is no question of rights.
        assert answer.status_code < 300 or answer.status_code == 409, answer.content


@every_call
def test_without_a_login_nothing_is_answered(call: tuple[str, str], mine: World) -> None:
    before = belongings(mine)
    for client in (APIClient(), APIClient(headers={"Authorization": f"Bearer isk_{'0' * 64}"})):
        answer = do(client, call, mine)
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
        assert CANARY not in answer.content.decode()
    assert belongings(mine) == before


@every_call
def test_a_key_without_the_scope_is_refused(call: tuple[str, str], mine: World) -> None:
    scopes = [scope for scope in ApiKey.Scope if scope != CALLS[call].scope]
    client = program_of(mine, scopes)
    before = belongings(mine)
    answer = do(client, call, mine)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert CANARY not in answer.content.decode()
    assert belongings(mine) == before


@every_call
def test_a_suspended_user_is_nobody(call: tuple[str, str], mine: World) -> None:
    clients = [browser_of(mine.user), program_of(mine, list(ApiKey.Scope))]
    User.objects.filter(pk=mine.user.pk).update(is_active=False)
    before = belongings(mine)
    for client in clients:
        answer = do(client, call, mine)
        assert answer.status_code == 401
        assert CANARY not in answer.content.decode()
    assert belongings(mine) == before


@calls_of_one_thing
def test_what_is_somebody_elses_is_not_found(call: tuple[str, str], mine: World, theirs: World) -> None:
    clients = [browser_of(mine.user)]
    if CALLS[call].scope is not None:
        clients.append(program_of(mine, list(ApiKey.Scope)))
    before = belongings(theirs)
    for client in clients:
        answer = do(client, call, theirs)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert CANARY not in answer.content.decode()
    assert belongings(theirs) == before


@calls_of_one_thing
def test_a_member_who_was_removed_finds_nothing_any_more(call: tuple[str, str], mine: World) -> None:
    program = program_of(mine, list(ApiKey.Scope))
    browser = browser_of(mine.user)
    Membership.objects.filter(user=mine.user, workspace=mine.workspace).delete()
    before = belongings(mine)
    assert do(browser, call, mine).status_code == 404
    assert do(program, call, mine).status_code == 401
    assert belongings(mine) == before


def test_lists_show_nothing_of_others(mine: World, theirs: World) -> None:
    for path in (
        "deviations/",
        "deviations/?trashed=true",
        f"deviations/?account={theirs.account.pk}",
        "accounts/",
        "automations/",
        f"automations/?account={theirs.account.pk}",
        "automations/preview/",
        f"accounts/{mine.account.pk}/blackouts/",
    ):
        answer = browser_of(mine.user).get(f"/api/{path}")
        assert answer.status_code == 200
        assert not any(each in answer.content.decode() for each in theirs.ids.values())
        assert str(theirs.user.pk) not in answer.content.decode()


@pytest.mark.parametrize("call", NAMING, ids=" ".join)
def test_an_id_inside_a_request_names_only_what_is_the_callers(
    call: tuple[str, str], mine: World, theirs: World
) -> None:
    make_body = CALLS[call].body
    assert make_body is not None
    body = make_body(mine)
    named = [name for name, value in mine.ids.items() if value in str(body)]
    assert named, "this call names nothing"
    for name in named:
        for other in (theirs.ids[name], str(new_id())):
            before = belongings(mine), belongings(theirs)
            answer = do(browser_of(mine.user), call, mine, body=replaced(body, mine.ids[name], other))
            assert answer.status_code == 404, answer.content
            assert CANARY not in answer.content.decode()
            assert (belongings(mine), belongings(theirs)) == before


def replaced(body: Any, old: str, new: str) -> Any:
    if isinstance(body, dict):
        return {key: replaced(value, old, new) for key, value in body.items()}
    if isinstance(body, list):
        return [replaced(value, old, new) for value in body]
    return new if body == old else body


def test_every_body_that_names_something_is_tried_with_the_ids_of_others(mine: World) -> None:
    naming = {
        call
        for call, row in CALLS.items()
        if row.body is not None and any(value in str(row.body(mine)) for value in mine.ids.values())
    }
    assert naming == set(NAMING)


def test_what_is_made_belongs_to_the_workspace_of_the_key(mine: World, theirs: World) -> None:
    Membership.objects.create(user=mine.user, workspace=theirs.workspace)
    key, raw = create_api_key(theirs.workspace, user=mine.user, name="program", scopes=list(ApiKey.Scope))
    client = APIClient(headers={"X-API-Key": raw})
    made = client.post("/api/deviations/", {"title": "Made"}, format="json").json()
    assert Deviation.objects.get(pk=UUID(made["id"])).workspace == key.workspace
    assert client.get(f"/api/deviations/{mine.work.pk}/").status_code == 404
