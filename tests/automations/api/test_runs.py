"""What automations do, by the API: what is ahead, one slot by hand, a test, the history, and undo."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from automations.models import Automation, Execution
from automations.services.planning import plan_anew
from deviations.models import Deviation
from tests.automations.api.conftest import NOON
from tests.automations.api.test_automations import assert_nothing_happens, post, url_of
from tests.factories import (
    AutomationFactory,
    DefaultValueFactory,
    ExecutionFactory,
    ReadyDraftFactory,
    ScheduleRuleFactory,
)
from tests.unchanged import everything

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("noon", "sent")]

TOMORROW_AT_NINE = datetime(2030, 1, 8, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def automation(account) -> Automation:
    """Every day at nine, switched on."""
    made: Automation = AutomationFactory(workspace=account.workspace, account=account, name="Evening sketch")
    ScheduleRuleFactory(automation=made)
    plan_anew([made])
    return made


@pytest.fixture
def drafts(automation: Automation) -> list[Deviation]:
    """Two, the oldest first."""
    titles = ("Moth", "Koi")
    made: list[Deviation] = [ReadyDraftFactory(workspace=automation.workspace, title=title) for title in titles]
    for number, draft in enumerate(made):
        Deviation.objects.filter(pk=draft.pk).update(created_at=NOON - DAY * (9 - number))
    return made


def until(days: float) -> dict[str, str]:
    return {"until": (NOON + timedelta(days=days)).isoformat()}


# --- what is ahead ---------------------------------------------------------------------------------------------------
def test_the_next_slots_come_with_their_drafts_and_reasons_and_nothing_is_changed(
    api: APIClient, automation: Automation, drafts: list[Deviation]
) -> None:
    DefaultValueFactory(automation=automation)
    before = everything()
    answer = api.get(url_of(automation, "preview/"), until(3))
    assert answer.status_code == 200
    body = answer.json()
    assert everything() == before
    first, second, none = body["slots"]
    assert first == {
        "automation_id": str(automation.pk),
        "rule_id": str(automation.rules.get().pk),
        "at": "2030-01-08T08:00:00Z",
        "local": "2030-01-08T09:00:00",
        "zone": "Europe/Berlin",
        "local_date": "2030-01-08",
        "ordinal": 0,
        "moved_from": None,
        "outcome": "scheduled",
        "reason": None,
        "is_made": False,
        "works": [
            {
                "deviation_id": str(drafts[0].pk),
                "title": "Moth",
                "method": "fifo",
                "publish_at": "2030-01-08T08:00:00Z",
                "fields_filled_in": {"tags": ["sketch"]},
            }
        ],
    }
    assert second["works"][0]["title"] == "Koi"
    assert (none["outcome"], none["reason"]["code"], none["works"]) == ("none_left", "none_left", [])
    assert body["from"] == "2030-01-07T11:00:00Z"
    assert (body["until"], body["is_cut"]) == ("2030-01-10T11:00:00Z", False)
    (said,) = body["automations"]
    assert (said["drafts_last_until"], said["drafts_last_days"]) == ("2030-01-10T08:00:00Z", 2)
    assert [each["code"] for each in said["may_change"]] == ["oldest_first"]


def test_one_that_is_off_is_shown_as_if_it_were_on_and_only_alone(
    api: APIClient, automation: Automation, drafts: list[Deviation]
) -> None:
    Automation.objects.update(enabled=False)
    assert api.get("/api/automations/preview/", until(2)).json()["slots"] == []
    assert len(api.get(url_of(automation, "preview/"), until(2)).json()["slots"]) == 2


def test_all_automations_are_shown_together(api: APIClient, automation: Automation, drafts: list[Deviation]) -> None:
    other = AutomationFactory(workspace=automation.workspace, account=automation.account, position=1)
    ScheduleRuleFactory(automation=other)
    plan_anew([other])
    body = api.get("/api/automations/preview/", until(1)).json()
    assert [(slot["automation_id"], slot["works"][0]["title"]) for slot in body["slots"]] == [
        (str(automation.pk), "Moth"),
        (str(other.pk), "Koi"),
    ]
    assert [each["id"] for each in body["automations"]] == [str(automation.pk), str(other.pk)]


@pytest.mark.parametrize("moment", ["yesterday", "2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"])
def test_what_cannot_be_shown_is_refused_at_its_field(api: APIClient, automation: Automation, moment: str) -> None:
    for path in (url_of(automation, "preview/"), "/api/automations/preview/"):
        refused = api.get(path, {"until": moment})
        assert refused.status_code == 400
        assert set(refused.json()["details"]) == {"until"}


# --- by hand ---------------------------------------------------------------------------------------------------------
def test_one_slot_is_run_by_hand_once_however_often_it_is_sent(
    api: APIClient, automation: Automation, drafts: list[Deviation]
) -> None:
    first = post(api, url_of(automation, "run/"), Idempotency_Key="mine")
    again = post(api, url_of(automation, "run/"), Idempotency_Key="mine")
    assert (first.status_code, again.json()) == (201, first.json())
    body = first.json()
    assert (body["kind"], body["outcome"], body["rule_id"], body["reason"]) == ("run_now", "scheduled", None, None)
    assert [work["title"] for work in body["works"]] == ["Moth"]
    assert Execution.objects.count() == 1


def test_several_are_run_and_too_few_are_said(api: APIClient, automation: Automation, drafts: list[Deviation]) -> None:
    body = post(api, url_of(automation, "run/"), {"count": 3}).json()
    assert len(body["works"]) == 2
    assert body["reason"]["code"] == "fewer"
    for wrong in ({"count": 0}, {"count": 101}, {"count": "many"}, {"counts": 1}):
        assert_nothing_happens(lambda wrong=wrong: post(api, url_of(automation, "run/"), wrong), 400, "invalid")


# --- test ------------------------------------------------------------------------------------------------------------
def test_a_test_says_what_fires_and_why_the_rest_does_not(
    api: APIClient, automation: Automation, drafts: list[Deviation]
) -> None:
    ScheduleRuleFactory(automation=automation, time_of_day="10:00", priority=1)
    before = everything()
    body = api.get(url_of(automation, "test/"), {"at": TOMORROW_AT_NINE.isoformat()}).json()
    fires, does_not = body["rules"]
    assert (fires["fires"], fires["against"], fires["deviation_ids"]) == (True, [], [str(drafts[0].pk)])
    assert (does_not["fires"], does_not["deviation_ids"]) == (False, [])
    assert [one["code"] for one in does_not["against"]] == ["time"]
    assert does_not["next_at"] == "2030-01-08T09:00:00Z"
    assert api.get(url_of(automation, "test/")).json()["at"] == "2030-01-07T11:00:00Z"
    assert api.get(url_of(automation, "test/"), {"at": "noon"}).status_code == 400
    assert everything() == before


# --- history and undo ------------------------------------------------------------------------------------------------
def test_the_history_has_pages_and_filters(
    api: APIClient, automation: Automation, drafts: list[Deviation], django_assert_max_num_queries: Any
) -> None:
    rule = automation.rules.get()
    for days in range(3):
        outcome = "missed" if days else "none_left"
        ExecutionFactory(rule=rule, slot_at=NOON - DAY * (days + 1), outcome=outcome, reason_code="none_left")
    post(api, url_of(automation, "run/"))
    ExecutionFactory()
    with django_assert_max_num_queries(20):
        body = api.get(url_of(automation, "executions/"), {"page_size": 2}).json()
    assert body["count"] == 4
    assert [each["outcome"] for each in body["results"]] == ["scheduled", "none_left"]
    assert body["results"][0]["works"][0]["status"] == "scheduled"
    assert body["results"][1]["reason"]["message"].startswith("No draft is left")
    missed = api.get(url_of(automation, "executions/"), {"outcome": "missed"}).json()
    assert missed["count"] == 2
    recent = api.get(url_of(automation, "executions/"), {"since": (NOON - DAY).isoformat(), "kind": "slot"}).json()
    assert recent["count"] == 1


def test_a_run_is_taken_back_and_what_is_left_is_listed(
    api: APIClient, automation: Automation, drafts: list[Deviation]
) -> None:
    run = post(api, url_of(automation, "run/"), {"count": 2}).json()
    Deviation.objects.filter(pk=drafts[1].pk).update(status="published", published_at=NOON)
    body = post(api, url_of(automation, "undo/")).json()
    assert body == {
        "run_id": run["run_id"],
        "taken_back": [str(drafts[0].pk)],
        "left": [
            {
                "deviation_id": str(drafts[1].pk),
                "reason": {"code": "published", "message": "“Koi” is published."},
            }
        ],
    }
    drafts[0].refresh_from_db()
    assert drafts[0].status == "draft"


def test_where_there_is_nothing_to_undo_nothing_happens(
    api: APIClient, automation: Automation, drafts: list[Deviation]
) -> None:
    assert_nothing_happens(lambda: post(api, url_of(automation, "undo/")), 409, "nothing_to_undo")
    other = {"run_id": str(automation.pk)}
    assert_nothing_happens(lambda: post(api, url_of(automation, "undo/"), other), 409, "nothing_to_undo")
    post(api, url_of(automation, "run/"))
    run = Execution.objects.get().run_id
    assert post(api, url_of(automation, "undo/"), {"run_id": str(run)}).status_code == 200


def test_what_belongs_to_others_is_not_found(api: APIClient, automation: Automation) -> None:
    theirs = AutomationFactory()
    ScheduleRuleFactory(automation=theirs)
    for rest in ("preview/", "test/", "executions/"):
        assert api.get(url_of(theirs, rest)).status_code == 404
    for rest in ("run/", "undo/"):
        assert_nothing_happens(lambda rest=rest: post(api, url_of(theirs, rest)), 404, "not_found")
