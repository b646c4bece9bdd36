"""Rules, default values and blackouts by the API."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import DeviantArtAccount, Workspace
from automations.models import Automation, Blackout
from tests.factories import AutomationFactory, DeviantArtAccountFactory, ScheduleRuleFactory
from tests.unchanged import everything


@pytest.fixture
def automation(workspace: Workspace) -> Automation:
    automation = AutomationFactory(workspace=workspace)
    ScheduleRuleFactory(automation=automation)
    return automation


def rules_of(automation: Automation, rest: str = "") -> str:
    return f"/api/automations/{automation.pk}/rules/{rest}"


def defaults_of(automation: Automation, rest: str = "") -> str:
    return f"/api/automations/{automation.pk}/default-values/{rest}"


def refused(call: Callable[[], Any], status: int, code: str) -> dict[str, Any]:
    before = everything()
    answer = call()
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.json()
    assert everything() == before
    return answer.json()["details"]


# --- rules -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "rule",
    [
        {"type": "fixed_time", "time_of_day": "18:30", "weekdays": ["monday", "sunday"]},
        {"type": "fixed_interval", "interval_minutes": 90, "works_per_slot": 3, "anchor_local": "2030-01-01T08:00:00"},
        {"type": "daily_quota", "quota": 2, "window_start": "08:00", "window_end": "20:00"},
        {"type": "time_window", "window_start": "14:00", "window_end": None, "on_blackout": "move"},
        {"type": "cron", "cron": "0 9,18 * * MON-FRI", "max_per_week": 5, "min_drafts_left": 3},
    ],
)
def test_a_rule_comes_back_as_it_was_said(api: APIClient, automation: Automation, rule: dict[str, Any]) -> None:
    answer = api.post(rules_of(automation), rule, format="json")
    assert answer.status_code == 201, answer.json()
    body = answer.json()
    assert {name: body[name] for name in rule} == rule
    assert (body["etag"], answer["ETag"]) == ('"2"', '"2"')
    assert api.get(rules_of(automation, f"{body['id']}/")).json() == body
    assert body in api.get(rules_of(automation)).json()["results"]


def test_a_rule_takes_nothing_of_another_type_and_gives_back_what_it_may_lack(
    api: APIClient, automation: Automation
) -> None:
    rule = automation.rules.get()
    url = rules_of(automation, f"{rule.pk}/")
    assert set(refused(lambda: api.patch(url, {"quota": 3}, format="json"), 400, "invalid")) == {"quota"}
    assert set(refused(lambda: api.patch(url, {"type": "cron"}, format="json"), 400, "invalid")) == {"type"}
    assert set(refused(lambda: api.patch(url, {"time_of_day": None}, format="json"), 400, "invalid")) == {"time_of_day"}
    body = api.patch(url, {"weekdays": ["friday", "monday"], "quiet_hours": 4}, format="json").json()
    assert (body["weekdays"], body["quiet_hours"], body["etag"]) == (["monday", "friday"], 4, '"2"')
    body = api.patch(url, {"weekdays": None, "quiet_hours": None, "quota": None}, format="json").json()
    assert (body["weekdays"], body["quiet_hours"], body["time_of_day"]) == (None, None, "09:00")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_of_day", "9"),
        ("time_of_day", "09:00:30"),
        ("time_of_day", "24:00"),
        ("weekdays", []),
        ("weekdays", ["someday"]),
        ("weekdays", [0]),
        ("priority", 10**12),
        ("works_per_slot", 0),
        ("valid_from", "tomorrow"),
        ("next_slot_at", "2030-01-01T00:00:00Z"),
        ("automation", "x"),
        ("week_numbers", [1]),
    ],
)
def test_what_is_no_value_is_refused_by_its_field(
    api: APIClient, automation: Automation, field: str, value: Any
) -> None:
    body = {"type": "fixed_time", "time_of_day": "09:00", field: value}
    assert set(refused(lambda: api.post(rules_of(automation), body, format="json"), 400, "invalid")) == {field}
    url = rules_of(automation, f"{automation.rules.get().pk}/")
    assert set(refused(lambda: api.patch(url, {field: value}, format="json"), 400, "invalid")) == {field}


def test_a_cron_expression_that_says_nothing_is_refused_with_what_is_accepted(
    api: APIClient, automation: Automation
) -> None:
    body = {"type": "cron", "cron": "0 25 * * *"}
    details = refused(lambda: api.post(rules_of(automation), body, format="json"), 400, "invalid")
    assert "0 to 23" in details["cron"][0]


def test_the_last_rule_of_an_automation_that_is_on_stays(api: APIClient, automation: Automation) -> None:
    url = rules_of(automation, f"{automation.rules.get().pk}/")
    refused(lambda: api.delete(url), 409, "last_enabled_rule")
    refused(lambda: api.patch(url, {"enabled": False}, format="json"), 409, "last_enabled_rule")
    api.post(f"/api/automations/{automation.pk}/toggle/", {"enabled": False}, format="json")
    answer = api.delete(url)
    assert (answer.status_code, answer["ETag"]) == (204, '"3"')
    assert api.delete(url).status_code == 404


# --- default values --------------------------------------------------------------------------------------------------
def test_values_of_all_kinds_come_back_as_they_were_sent(api: APIClient, automation: Automation) -> None:
    values: dict[str, Any] = {
        "description": "{title}\n",
        "tags": ["sketch"],
        "is_mature": False,
        "display_resolution": 0,
        "mature_level": "strict",
    }
    for field, value in values.items():
        answer = api.post(defaults_of(automation), {"field": field, "value": value}, format="json")
        assert answer.status_code == 201, answer.json()
        assert answer.json()["mode"] == "untouched"
    listed = api.get(defaults_of(automation)).json()["results"]
    assert {each["field"]: each["value"] for each in listed} == values


def test_a_value_is_changed_and_taken_out(api: APIClient, automation: Automation) -> None:
    body = api.post(defaults_of(automation), {"field": "tags", "value": ["a"]}, format="json").json()
    url = defaults_of(automation, f"{body['id']}/")
    changed = api.patch(url, {"value": ["b"], "mode": "always"}, format="json").json()
    assert (changed["value"], changed["mode"], changed["etag"]) == (["b"], "always", '"3"')
    assert api.get(url).json() == changed
    assert set(refused(lambda: api.patch(url, {"field": "title"}, format="json"), 400, "invalid")) == {"field"}
    assert set(refused(lambda: api.patch(url, {"value": None}, format="json"), 400, "invalid")) == {"value"}
    assert set(refused(lambda: api.patch(url, {"value": ["{moon}"]}, format="json"), 400, "invalid")) == {"value"}
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": "x"}, "field"),
        ({"field": "tags"}, "value"),
        ({"field": "tags", "value": None}, "value"),
        ({"field": "category_path", "value": "x"}, "field"),
        ({"field": "is_mature", "value": "no"}, "value"),
        ({"field": "upload_mode", "value": "single", "mode": "untouched"}, "mode"),
        ({"field": "tags", "value": ["x"], "mode": "sometimes"}, "mode"),
        ({"field": "tags", "value": ["\x00"]}, "value"),
    ],
)
def test_a_value_that_no_work_would_keep_is_refused(
    api: APIClient, automation: Automation, body: dict[str, Any], field: str
) -> None:
    assert set(refused(lambda: api.post(defaults_of(automation), body, format="json"), 400, "invalid")) == {field}


def test_half_a_character_is_refused(api: APIClient, automation: Automation) -> None:
    body = r'{"field": "tags", "value": ["\ud800"]}'
    call = lambda: api.post(defaults_of(automation), body, content_type="application/json")  # noqa: E731
    assert set(refused(call, 400, "invalid")) == {"value"}


def test_a_field_has_one_value(api: APIClient, automation: Automation) -> None:
    body = {"field": "is_mature", "value": True}
    assert api.post(defaults_of(automation), body, format="json").status_code == 201
    assert set(refused(lambda: api.post(defaults_of(automation), body, format="json"), 400, "invalid")) == {"field"}


# --- blackouts -------------------------------------------------------------------------------------------------------
def test_holidays_are_kept_changed_and_taken_back(
    noon: None, api: APIClient, account: DeviantArtAccount, workspace: Workspace
) -> None:
    automation = AutomationFactory(workspace=workspace, account=account)
    rule = ScheduleRuleFactory(automation=automation)
    url = f"/api/accounts/{account.pk}/blackouts/"
    said = {"name": "Away", "from_date": "2030-01-08", "until_date": "2030-01-09", "handling": "skip"}
    answer = api.post(url, said, format="json")
    assert answer.status_code == 201
    body = answer.json()
    assert {name: body[name] for name in said} == said
    assert body["account_id"] == str(account.pk)
    rule.refresh_from_db()
    assert rule.next_slot_at == datetime(2030, 1, 10, 8, tzinfo=UTC)
    one = f"{url}{body['id']}/"
    body = api.patch(one, {"handling": "move"}, format="json").json()
    assert body["handling"] == "move"
    assert api.get(one).json() == body
    assert api.get(url).json()["results"] == [body]
    assert set(refused(lambda: api.patch(one, {"until_date": "2030-01-01"}, format="json"), 400, "invalid")) == {
        "until_date"
    }
    other = DeviantArtAccountFactory(workspace=workspace)
    assert api.get(f"/api/accounts/{other.pk}/blackouts/{body['id']}/").status_code == 404
    assert api.delete(one).status_code == 204
    assert not Blackout.objects.exists()
    rule.refresh_from_db()
    assert rule.next_slot_at == datetime(2030, 1, 8, 8, tzinfo=UTC)
