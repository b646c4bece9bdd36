"""Automations by the API: what is sent comes back as it was said, and what is refused is named as it was sent."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import AuditEvent, DeviantArtAccount, User, Workspace
from automations.models import Automation
from isekai.ids import new_id
from tests.automations.api.conftest import NOON
from tests.factories import (
    AutomationFactory,
    DefaultValueFactory,
    ScheduleRuleFactory,
    UserFactory,
    workspace_of,
)
from tests.unchanged import everything

LIST = "/api/automations/"
AT_NINE = {"type": "fixed_time", "time_of_day": "09:00"}


def url_of(automation: Automation | str | UUID, rest: str = "") -> str:
    return f"{LIST}{automation.pk if isinstance(automation, Automation) else automation}/{rest}"


def post(api: APIClient, url: str, body: Any = None, **headers: str) -> Any:
    return api.post(url, body, format="json", headers={name.replace("_", "-"): text for name, text in headers.items()})


def patch(api: APIClient, url: str, body: Any, **headers: str) -> Any:
    return api.patch(url, body, format="json", headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.fixture
def automation(workspace: Workspace) -> Automation:
    """With a rule for every day at nine, switched on."""
    automation = AutomationFactory(workspace=workspace, name="Evening sketch")
    ScheduleRuleFactory(automation=automation)
    return automation


def assert_nothing_happens(answer: Callable[[], Any], status: int, code: str) -> dict[str, Any]:
    before = everything()
    refused = answer()
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.json()
    assert everything() == before
    return refused.json()["details"]


# --- making and reading ----------------------------------------------------------------------------------------------
def test_an_automation_is_made_whole_and_answered_whole(noon: None, api: APIClient, account: DeviantArtAccount) -> None:
    sent: dict[str, Any] = {
        "name": "Two a day",
        "account_id": str(account.pk),
        "color": "#2f7f6d",
        "method": "mixture",
        "mixture": [{"method": "random", "weight": 70}, {"method": "fifo", "weight": 30}],
        "filter_tags": ["sketch"],
        "filter_gallery_ids": [str(new_id())],
        "valid_until": "2030-12-31",
        "zone": "Europe/Berlin",
    }
    rules: list[dict[str, Any]] = [
        AT_NINE | {"weekdays": ["monday", "friday"], "priority": 1, "quiet_hours": 6},
        {"type": "weekday_slots", "week": {"sunday": ["18:30", "9:00"]}, "priority": 2},
    ]
    defaults = [{"field": "tags", "value": ["{weekday}"], "mode": "always"}]
    answer = post(api, LIST, sent | {"rules": rules, "default_values": defaults, "enabled": True})
    assert answer.status_code == 201, answer.json()
    body = answer.json()
    assert {name: body[name] for name in sent} == sent
    assert (body["etag"], answer["ETag"], body["enabled"], body["paused_at"]) == ('"1"', '"1"', True, None)
    first, second = sorted(body["rules"], key=lambda rule: rule["priority"])
    assert {name: first[name] for name in rules[0]} == rules[0]
    nothing: dict[str, list[str]] = {
        day: [] for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    }
    assert second["week"] == {**nothing, "sunday": ["09:00", "18:30"]}
    assert (second["weekdays"], second["time_of_day"]) == (None, None)
    assert first["next_slot_at"] == body["next_slot_at"] == "2030-01-11T08:00:00Z"
    assert [(value["field"], value["value"], value["mode"]) for value in body["default_values"]] == [
        ("tags", ["{weekday}"], "always")
    ]
    assert api.get(url_of(body["id"])).json() == body
    assert AuditEvent.objects.get(subject_id=body["id"]).verb == "automation.created"


def test_the_zone_of_the_owner_is_meant_where_none_is_said(api: APIClient) -> None:
    body = post(api, LIST, {"name": "x"}).json()
    assert (body["zone"], body["effective_zone"]) == (None, "Europe/Berlin")
    body = post(api, LIST, {"name": "x", "zone": "Asia/Tokyo"}).json()
    assert (body["zone"], body["effective_zone"]) == ("Asia/Tokyo", "Asia/Tokyo")


def test_what_is_sent_again_under_its_key_makes_nothing_twice(api: APIClient, automation: Automation) -> None:
    for url, body in (
        (LIST, {"name": "x", "rules": [AT_NINE]}),
        (url_of(automation, "duplicate/"), None),
        (url_of(automation, "rules/"), AT_NINE),
        (url_of(automation, "default-values/"), {"field": "is_mature", "value": False}),
        (f"/api/accounts/{automation.account_id}/blackouts/", {"from_date": "2030-01-01", "until_date": "2030-01-02"}),
    ):
        answers = [post(api, url, body, Idempotency_Key=url) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
    assert Automation.objects.count() == 3
    assert automation.rules.count() == 2


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "x", "owner": "me"}, ["owner"]),
        ({"name": "x", "seed": 1}, ["seed"]),
        ({"name": "x", "version": 7}, ["version"]),
        ({"name": "x", "position": 7}, ["position"]),
        (
            {"name": "x", "mixture": [{"method": "random", "weight": 1, "x": 1}], "method": "mixture"},
            ["mixture", "0", "x"],
        ),
        ({"name": "x", "jitter_min_seconds": 20, "jitter_max_seconds": 10}, ["jitter_max_seconds"]),
        ({"name": "x", "zone": "Mars/Olympus"}, ["zone"]),
        ({"name": "x", "filter_min_age_days": 10**12}, ["filter_min_age_days"]),
        ({"name": "x", "filter_gallery_ids": ["mine"]}, ["filter_gallery_ids"]),
        ({"name": "x", "description": "a\x00b"}, ["description"]),
        ({"name": "x", "rules": [AT_NINE, {"type": "cron"}]}, ["rules", "1", "cron"]),
        ({"name": "x", "rules": [{"type": "weekday_slots", "week": {}}]}, ["rules", "0", "week"]),
        ({"name": "x", "rules": "none"}, ["rules"]),
        ({"name": "x", "default_values": [{"field": "tags", "value": "x"}]}, ["default_values", "0", "value"]),
    ],
)
def test_what_cannot_be_is_refused_where_it_was_sent(api: APIClient, body: dict[str, Any], path: list[str]) -> None:
    details: Any = assert_nothing_happens(lambda: post(api, LIST, body), 400, "invalid")
    for step in path:
        details = details[step]
    assert details


# --- lists -----------------------------------------------------------------------------------------------------------
def test_a_list_is_in_the_order_of_its_owner_and_can_be_narrowed(
    api: APIClient, workspace: Workspace, account: DeviantArtAccount
) -> None:
    AutomationFactory(workspace=workspace, name="Dunes", position=2, account=account)
    AutomationFactory(workspace=workspace, name="Harbour", position=0, enabled=False)
    AutomationFactory(workspace=workspace, name="Dunes at noon", position=1, paused_at=NOON)
    AutomationFactory(name="Somebody else's")

    def names(**query: Any) -> list[str]:
        answer = api.get(LIST, query)
        assert answer.status_code == 200, answer.data
        return [each["name"] for each in answer.json()["results"]]

    assert names() == ["Harbour", "Dunes at noon", "Dunes"]
    assert names(enabled="false") == ["Harbour"]
    assert names(paused="true") == ["Dunes at noon"]
    assert names(paused="false") == ["Harbour", "Dunes"]
    assert names(account=str(account.pk)) == ["Dunes"]
    assert names(q="dunes") == ["Dunes at noon", "Dunes"]
    page = api.get(LIST, {"page_size": 2}).json()
    assert (page["count"], len(page["results"])) == (3, 2)
    assert [each["name"] for each in api.get(page["next"]).json()["results"]] == ["Dunes"]


@pytest.mark.parametrize("query", [{"account": "mine"}, {"q": "\x00"}, {"page_size": "0"}, {"page": "0"}])
def test_a_list_cannot_be_asked_for_nonsense(api: APIClient, query: dict[str, str]) -> None:
    answer = api.get(LIST, query)
    assert 400 <= answer.status_code < 500
    assert set(answer.json()) == {"code", "message", "details", "request_id"}


def test_a_page_takes_as_many_queries_for_thirty_automations_as_for_one(api: APIClient, workspace: Workspace) -> None:
    def make() -> None:
        automation = AutomationFactory(workspace=workspace)
        for _ in range(2):
            ScheduleRuleFactory(automation=automation)
        DefaultValueFactory(automation=automation)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert api.get(LIST).status_code == 200
        return len(captured)

    make()
    api.get(LIST)  # notes when the key was used, which is not done again for some minutes
    for_one = queries()
    for _ in range(29):
        make()
    assert len(api.get(LIST).json()["results"]) == 30
    assert queries() == for_one
    assert for_one <= 12


# --- changing --------------------------------------------------------------------------------------------------------
def test_a_patch_changes_what_it_names_and_null_takes_back_what_may_be_empty(
    api: APIClient, automation: Automation
) -> None:
    patch(api, url_of(automation), {"filter_max_age_days": 30, "valid_from": "2030-01-01", "zone": "Europe/Berlin"})
    taken_back = {"filter_max_age_days": None, "valid_from": None, "zone": None, "account_id": None}
    body = patch(api, url_of(automation), taken_back).json()
    assert {name: body[name] for name in taken_back} == taken_back
    assert body["name"] == "Evening sketch"


def test_who_has_seen_another_version_changes_nothing(api: APIClient, automation: Automation) -> None:
    rule = automation.rules.get()
    default = DefaultValueFactory(automation=automation)
    seen = api.get(url_of(automation))["ETag"]
    assert patch(api, url_of(automation), {"name": "y"}, If_Match=seen).status_code == 200
    for call in (
        lambda: patch(api, url_of(automation), {"name": "z"}, If_Match=seen),
        lambda: patch(api, url_of(automation), {"name": "z"}, If_Match="W/" + seen),
        lambda: patch(api, url_of(automation), {"name": "z"}, If_Match='"x"'),
        lambda: post(api, url_of(automation, "toggle/"), {"enabled": False}, If_Match=seen),
        lambda: post(api, url_of(automation, "rules/"), AT_NINE, If_Match=seen),
        lambda: patch(api, url_of(automation, f"rules/{rule.pk}/"), {"priority": 1}, If_Match=seen),
        lambda: patch(api, url_of(automation, f"default-values/{default.pk}/"), {"mode": "always"}, If_Match=seen),
        lambda: api.delete(url_of(automation, f"default-values/{default.pk}/"), headers={"If-Match": seen}),
        lambda: api.delete(url_of(automation), headers={"If-Match": seen}),
    ):
        before = everything()
        answer = call()
        assert (answer.status_code, answer.json()["code"]) == (412, "version_conflict")
        assert "automation" in answer.json()["message"]
        assert everything() == before


def test_a_zone_that_moves_slots_asks_first(noon: None, api: APIClient, automation: Automation) -> None:
    details = assert_nothing_happens(
        lambda: patch(api, url_of(automation), {"zone": "Asia/Tokyo"}), 409, "confirmation_needed"
    )
    shown = api.get(url_of(automation, "zone-moves/"), {"zone": "Asia/Tokyo"}).json()
    assert shown["count"] > 20
    assert set(shown["moves"][0]) == {"automation_id", "rule_id", "before", "after"}
    assert len(details["moves"]) == shown["count"]
    assert api.get(LIST + "zone-moves/", {"zone": "Asia/Tokyo"}).json() == shown
    assert api.get(LIST + "zone-moves/", {"zone": "Europe/Paris"}).json() == {"count": 0, "moves": []}
    for url in (url_of(automation, "zone-moves/"), LIST + "zone-moves/"):
        for query in ({}, {"zone": "Mars"}, {"zone": "../etc"}, {"zone": "UTC", "x": "1"}):
            assert api.get(url, query).status_code == 400
    body = patch(api, url_of(automation), {"zone": "Asia/Tokyo", "confirm_moves": True}).json()
    assert (body["zone"], body["next_slot_at"]) == ("Asia/Tokyo", "2030-01-08T00:00:00Z")


def test_only_what_runs_by_a_rule_can_be_switched_on(api: APIClient, workspace: Workspace) -> None:
    automation = AutomationFactory(workspace=workspace, enabled=False)
    url = url_of(automation, "toggle/")
    assert_nothing_happens(lambda: post(api, url, {"enabled": True}), 409, "no_enabled_rule")
    assert_nothing_happens(lambda: post(api, url, {}), 400, "invalid")
    ScheduleRuleFactory(automation=automation)
    for enabled in (True, True, False):
        assert post(api, url, {"enabled": enabled}).json()["enabled"] is enabled
    automation.refresh_from_db()
    assert automation.version == 3


def test_one_that_is_deleted_is_not_found_any_more(api: APIClient, automation: Automation) -> None:
    answer = api.delete(url_of(automation))
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(url_of(automation)).status_code == 404
    assert api.delete(url_of(automation)).status_code == 404


def test_a_copy_is_answered_with_its_own_etag(api: APIClient, automation: Automation) -> None:
    patch(api, url_of(automation), {"name": "y"})
    answer = post(api, url_of(automation, "duplicate/"))
    assert (answer.status_code, answer["ETag"]) == (201, '"1"')
    body = answer.json()
    assert (body["name"], body["enabled"], len(body["rules"])) == ("y (copy)", False, 1)


# --- many ------------------------------------------------------------------------------------------------------------
def test_all_are_paused_and_go_on(noon: None, api: APIClient, automation: Automation) -> None:
    theirs = AutomationFactory()
    body = post(api, LIST + "pause-all/").json()
    (item,) = body["results"]
    assert (item["id"], item["ok"], item["etag"], item["error"]) == (str(automation.pk), True, '"2"', None)
    shown = api.get(url_of(automation)).json()
    assert (shown["paused_at"], shown["next_slot_at"], shown["enabled"]) == ("2030-01-07T11:00:00Z", None, True)
    post(api, LIST + "go-on-all/")
    assert api.get(url_of(automation)).json()["next_slot_at"] == "2030-01-08T08:00:00Z"
    theirs.refresh_from_db()
    assert theirs.version == 1


def test_of_many_each_has_its_result(api: APIClient, automation: Automation, workspace: Workspace) -> None:
    ruleless = AutomationFactory(workspace=workspace, enabled=False)
    theirs = AutomationFactory(enabled=False)
    ids = [str(ruleless.pk), str(theirs.pk), str(automation.pk)]
    body = post(api, LIST + "bulk/", {"action": "enable", "ids": ids}).json()
    assert [item["id"] for item in body["results"]] == ids
    assert [item["ok"] for item in body["results"]] == [False, False, True]
    assert [(item["error"] or {}).get("code") for item in body["results"]] == ["no_enabled_rule", "not_found", None]
    copied = post(api, LIST + "bulk/", {"action": "duplicate", "ids": ids[2:]}).json()["results"]
    assert Automation.objects.get(pk=copied[0]["copy_id"]).workspace == workspace
    body = post(api, LIST + "bulk/", {"action": "delete", "ids": ids}).json()
    assert [item["ok"] for item in body["results"]] == [True, False, True]
    assert {each.pk for each in Automation.objects.all()} == {theirs.pk, UUID(copied[0]["copy_id"])}
    for action in ("enable", "disable", "pause", "go_on", "duplicate", "delete"):
        call = {"action": action, "ids": [str(theirs.pk), str(new_id())]}
        assert_nothing_happens(lambda call=call: post(api, LIST + "bulk/", call), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"action": "enable"},
        {"action": "enable", "ids": []},
        {"action": "explode", "ids": [str(new_id())]},
        {"action": "enable", "ids": [str(new_id()) for _ in range(501)]},
        {"action": "enable", "ids": ["x"]},
    ],
)
def test_a_bulk_call_that_means_nothing_does_nothing(api: APIClient, body: dict[str, Any]) -> None:
    assert_nothing_happens(lambda: post(api, LIST + "bulk/", body), 400, "invalid")


def test_the_list_comes_into_another_order(api: APIClient, workspace: Workspace) -> None:
    rows = [AutomationFactory(workspace=workspace, position=place) for place in range(3)]
    ids = [str(row.pk) for row in reversed(rows)]
    assert post(api, LIST + "reorder/", {"ids": ids}).status_code == 204
    assert [each["id"] for each in api.get(LIST).json()["results"]] == ids
    theirs = str(AutomationFactory().pk)
    assert_nothing_happens(lambda: post(api, LIST + "reorder/", {"ids": [theirs, *ids]}), 404, "not_found")
    assert_nothing_happens(lambda: post(api, LIST + "reorder/", {"ids": ids * 2}), 400, "invalid")


# --- strangers -------------------------------------------------------------------------------------------------------
def test_what_is_below_an_automation_of_ones_own_is_ones_own(
    api: APIClient, automation: Automation, workspace: Workspace
) -> None:
    other = AutomationFactory(workspace=workspace)
    for theirs in (other, AutomationFactory()):
        rule, default = ScheduleRuleFactory(automation=theirs), DefaultValueFactory(automation=theirs)
        for url in (url_of(automation, f"rules/{rule.pk}/"), url_of(automation, f"default-values/{default.pk}/")):
            assert_nothing_happens(lambda url=url: api.get(url), 404, "not_found")
            assert_nothing_happens(lambda url=url: patch(api, url, {"mode": "always"}), 404, "not_found")
            assert_nothing_happens(lambda url=url: api.delete(url), 404, "not_found")


def test_a_key_sees_only_the_workspace_that_it_was_made_for(
    api_of: Callable[..., APIClient], artist: User, automation: Automation
) -> None:
    stranger = UserFactory()
    theirs = AutomationFactory(workspace=workspace_of(stranger))
    api = api_of(stranger)
    assert [each["id"] for each in api.get(LIST).json()["results"]] == [str(theirs.pk)]
    assert api.get(url_of(automation)).status_code == 404
