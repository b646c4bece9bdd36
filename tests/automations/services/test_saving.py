"""Making, changing and deleting automations: what is taken, what is refused, and what is left behind."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, DeviantArtAccount, User, Workspace
from automations.errors import (
    ConfirmationNeeded,
    FieldsRefused,
    Gone,
    NothingToRun,
    ReferenceNotFound,
    VersionConflict,
)
from automations.models import Automation, DefaultValue, Execution, ExecutionWork, ScheduleRule
from automations.services import saving
from automations.services.rules import RULES_MAX
from automations.services.saving import create_automation, delete_automation, delete_many, edit_automation
from automations.services.switching import switch_on
from deviations.models import Deviation
from isekai.ids import new_id
from tests.factories import (
    AutomationFactory,
    DefaultValueFactory,
    DeviantArtAccountFactory,
    DeviationFactory,
    ExecutionFactory,
    ExecutionWorkFactory,
    ScheduleRuleFactory,
)
from tests.unchanged import assert_refused

SetClock = Callable[[datetime], None]
AT_NINE = {"type": "fixed_time", "time_of_day": time(9)}
# Noon in Berlin, on a Monday.
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)


def as_stored(automation: Automation) -> dict[str, Any]:
    return dict(Automation.objects.filter(pk=automation.pk).values().get())


def last_event_of(automation: Automation) -> AuditEvent:
    return AuditEvent.objects.filter(subject_id=automation.pk).latest("id")


# --- making ----------------------------------------------------------------------------------------------------------
def test_an_automation_is_made_with_its_rules_and_default_values_and_its_next_slot_is_known(
    workspace: Workspace, account: DeviantArtAccount, artist: User, set_clock: SetClock
) -> None:
    set_clock(NOON)
    automation = create_automation(
        workspace,
        user=artist,
        name="  Evening   sketch ",
        account_id=account.pk,
        rules=[AT_NINE, {"type": "daily_quota", "quota": 2, "enabled": False}],
        default_values=[{"field": "tags", "value": ["sketch"]}],
        enabled=True,
    )
    automation.refresh_from_db()
    assert (automation.name, automation.account, automation.enabled) == ("Evening sketch", account, True)
    nine, off = automation.rules.order_by("type").reverse()
    # Tomorrow at nine, in the zone of the workspace's owner.
    assert nine.next_slot_at == datetime(2030, 1, 8, 8, tzinfo=UTC)
    assert off.next_slot_at is None
    assert automation.default_values.get().value == ["sketch"]
    event = last_event_of(automation)
    assert (event.verb, event.user, event.workspace) == ("automation.created", artist, workspace)
    assert event.params == {"name": "Evening sketch", "rules": 2}


def test_rules_of_one_priority_stay_in_the_order_in_which_they_were_said(workspace: Workspace) -> None:
    rules = [{"type": "fixed_time", "time_of_day": time(23 - hour)} for hour in range(20)]
    automation = create_automation(workspace, user=None, name="x", rules=rules)
    kept = automation.rules.order_by("priority", "pk").values_list("time_of_day", flat=True)
    assert list(kept) == [rule["time_of_day"] for rule in rules]


def test_what_is_not_said_is_as_harmless_as_can_be(workspace: Workspace) -> None:
    automation = create_automation(workspace, user=None, name="Plain")
    assert (automation.enabled, automation.account, automation.method) == (False, None, "fifo")
    assert (automation.jitter_min_seconds, automation.jitter_max_seconds) == (0, 300)
    assert automation.catch_up_seconds == 3600
    assert automation.seed != create_automation(workspace, user=None, name="Other").seed


def test_a_new_one_comes_to_the_end_of_the_list(workspace: Workspace) -> None:
    places = [create_automation(workspace, user=None, name=name).position for name in "abc"]
    assert places == [0, 1, 2]


def test_it_cannot_be_made_switched_on_without_a_rule_that_is(workspace: Workspace) -> None:
    for rules in ([], [AT_NINE | {"enabled": False}]):
        error = assert_refused(
            NothingToRun, create_automation, workspace, user=None, name="x", rules=rules, enabled=True
        )
        assert error.details["enabled"]


def test_what_is_wrong_with_its_rules_and_default_values_is_said_at_their_place(workspace: Workspace) -> None:
    error = assert_refused(
        FieldsRefused, create_automation, workspace, user=None, name="x", rules=[AT_NINE, {"type": "fixed_time"}]
    )
    assert {place: set(each) for place, each in error.details["rules"].items()} == {"1": {"time_of_day"}}
    error = assert_refused(
        FieldsRefused,
        create_automation,
        workspace,
        user=None,
        name="x",
        default_values=[{"field": "is_mature", "value": "yes"}],
    )
    assert set(error.details["default_values"]["0"]) == {"value"}
    twice = [{"field": "is_mature", "value": True}, {"field": "is_mature", "value": False}]
    assert_refused(FieldsRefused, create_automation, workspace, user=None, name="x", default_values=twice)


def test_there_are_bounds_to_how_many_there_are(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(FieldsRefused, create_automation, workspace, user=None, name="x", rules=[AT_NINE] * (RULES_MAX + 1))
    monkeypatch.setattr(saving, "AUTOMATIONS_MAX", 2)
    for name in "ab":
        create_automation(workspace, user=None, name=name)
    error = assert_refused(FieldsRefused, create_automation, workspace, user=None, name="c")
    assert "at most 2" in str(error.details["name"])


# --- what an automation may say --------------------------------------------------------------------------------------
GOOD: list[dict[str, Any]] = [
    {"description": "A text", "color": "#2f7f6d", "icon": "🌙"},
    {"valid_from": date(2030, 1, 1), "valid_until": date(2030, 1, 1)},
    {"zone": "Asia/Tokyo", "combine": "all"},
    {"method": "mixture", "mixture": [{"method": "random", "weight": 70}, {"method": "fifo", "weight": 30}]},
    {"filter_tags": ["sketch", "oil painting"], "filter_tags_match": "all"},
    {"filter_gallery_ids": [new_id()], "filter_template_ids": [new_id()]},
    {"filter_min_age_days": 3, "filter_max_age_days": 3},
    {"filter_mature": "never", "filter_orientation": "portrait", "spacing": "series"},
    {"jitter_min_seconds": 3600, "jitter_max_seconds": 3600, "stash_only": True},
    {"add_to_sale_queue": True, "price_preset_id": new_id(), "protect_watermark": False},
    {"protect_display_resolution": None, "protect_no_download": False},
    {"catch_up_seconds": 0, "counter": 17},
]

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "  "}, "name", "blank"),
    ({"name": "x" * 101}, "name", "100"),
    ({"description": "x" * 501}, "description", "500"),
    ({"color": "green"}, "color", "#2f7f6d"),
    ({"icon": "x" * 11}, "icon", "10"),
    ({"zone": "Mars/Olympus"}, "zone", "Europe/Berlin"),
    ({"combine": "some"}, "combine", "some"),
    ({"method": "best"}, "method", "best"),
    ({"method": "mixture"}, "mixture", "random"),
    ({"mixture": [{"method": "random", "weight": 1}]}, "mixture", "mixture"),
    ({"method": "mixture", "mixture": []}, "mixture", "weight"),
    ({"method": "mixture", "mixture": [{"method": "mixture", "weight": 1}]}, "mixture", "fifo"),
    ({"method": "mixture", "mixture": [{"method": "random", "weight": 0}]}, "mixture", "1 to 1000"),
    ({"method": "mixture", "mixture": [{"method": "random", "weight": True}]}, "mixture", "1 to 1000"),
    ({"method": "mixture", "mixture": [{"method": ["fifo"], "weight": 1}]}, "mixture", "fifo"),
    ({"method": "mixture", "mixture": {"random": 1}}, "mixture", "weight"),
    ({"method": "mixture", "mixture": [{"method": "fifo", "weight": 1}] * 2}, "mixture", "once"),
    ({"filter_tags": [f"tag {n}" for n in range(101)]}, "filter_tags", "100"),
    ({"filter_tags": ["x" * 101]}, "filter_tags", "100"),
    ({"filter_gallery_ids": [new_id() for _ in range(51)]}, "filter_gallery_ids", "50"),
    ({"filter_template_ids": [new_id() for _ in range(51)]}, "filter_template_ids", "50"),
    ({"filter_min_age_days": 4, "filter_max_age_days": 3}, "filter_max_age_days", "that old"),
    ({"filter_min_age_days": -1}, "filter_min_age_days", "0"),
    ({"filter_mature": "maybe"}, "filter_mature", "maybe"),
    ({"filter_orientation": "round"}, "filter_orientation", "round"),
    ({"spacing": "artist"}, "spacing", "artist"),
    ({"jitter_max_seconds": 3601}, "jitter_max_seconds", "3600"),
    ({"jitter_min_seconds": 301}, "jitter_max_seconds", "least"),
    ({"add_to_sale_queue": True}, "price_preset_id", "price"),
    ({"protect_display_resolution": 9}, "protect_display_resolution", "9"),
    ({"catch_up_seconds": 86401}, "catch_up_seconds", "86400"),
    ({"counter": -1}, "counter", "0"),
    ({"valid_from": date(2030, 1, 2), "valid_until": date(2030, 1, 1)}, "valid_until", "first"),
    ({"stash_only": None}, "stash_only", "null"),
    ({"filter_tags": None}, "filter_tags", "null"),
    ({"description": None}, "description", "null"),
    ({"seed": 7}, "seed", "no such field"),
    ({"enabled": True}, "enabled", "no such field"),
    ({"workspace_id": new_id()}, "workspace_id", "no such field"),
]


@pytest.mark.parametrize("changes", GOOD, ids=" ".join)
def test_what_may_be_said_is_kept(workspace: Workspace, artist: User, changes: dict[str, Any]) -> None:
    automation = edit_automation(create_automation(workspace, user=None, name="x"), user=artist, **changes)
    kept = as_stored(automation)
    assert {name: kept[name] for name in changes} == changes
    assert kept["version"] == 2
    event = last_event_of(automation)
    default = as_stored(create_automation(workspace, user=None, name="x"))
    assert (event.verb, event.user) == ("automation.edited", artist)
    assert event.params == {"fields": sorted(name for name in changes if changes[name] != default[name])}


@pytest.mark.parametrize(
    ("changes", "field", "word"), BAD, ids=[f"{field}-{n}" for n, (_, field, _w) in enumerate(BAD)]
)
def test_what_cannot_be_said_is_refused_by_its_field_with_what_is_accepted(
    workspace: Workspace, changes: dict[str, Any], field: str, word: str
) -> None:
    automation = create_automation(workspace, user=None, name="x")
    error = assert_refused(FieldsRefused, edit_automation, automation, user=None, **changes)
    assert list(error.details) == [field]
    assert word in str(error.details[field]), error.details
    if field not in {"seed", "enabled", "workspace_id"}:
        assert_refused(FieldsRefused, create_automation, workspace, user=None, **{"name": "x", **changes})


def test_tags_are_tidied_as_those_of_works_are(workspace: Workspace) -> None:
    automation = create_automation(workspace, user=None, name="x", filter_tags=["#oil  painting", "oil painting", " "])
    assert automation.filter_tags == ["oil painting"]


def test_another_method_takes_the_mixture_with_it(workspace: Workspace) -> None:
    mixed = create_automation(
        workspace, user=None, name="x", method="mixture", mixture=[{"method": "lifo", "weight": 1}]
    )
    assert edit_automation(mixed, user=None, method="lifo").mixture is None


def test_an_account_has_to_be_the_workspaces_and_connected(workspace: Workspace, account: DeviantArtAccount) -> None:
    automation = create_automation(workspace, user=None, name="x", account_id=account.pk)
    assert automation.account_id == account.pk
    gone = DeviantArtAccountFactory(
        workspace=workspace, state="disconnected", access_token="", refresh_token="", encryption_key=None
    )
    for other in (DeviantArtAccountFactory().pk, gone.pk, new_id()):
        error = assert_refused(ReferenceNotFound, edit_automation, automation, user=None, account_id=other)
        assert list(error.details) == ["account_id"]
        assert_refused(ReferenceNotFound, create_automation, workspace, user=None, name="y", account_id=other)
    assert edit_automation(automation, user=None, account_id=None).account is None


# --- changing --------------------------------------------------------------------------------------------------------
def test_a_change_that_changes_nothing_writes_nothing(workspace: Workspace) -> None:
    automation = create_automation(workspace, user=None, name="x")
    before = as_stored(automation)
    edit_automation(automation, user=None, name=" x ", stash_only=False)
    assert as_stored(automation) == before
    assert AuditEvent.objects.filter(subject_id=automation.pk).count() == 1


def test_what_was_changed_since_it_was_read_is_not_overwritten(workspace: Workspace) -> None:
    automation = create_automation(workspace, user=None, name="x")
    assert edit_automation(automation, user=None, version=1, name="y").version == 2
    for call in (edit_automation, delete_automation, switch_on):
        assert_refused(VersionConflict, call, automation, user=None, version=1)
    assert as_stored(automation)["name"] == "y"


def test_what_was_deleted_since_it_was_read_is_gone(workspace: Workspace) -> None:
    automation = create_automation(workspace, user=None, name="x")
    delete_automation(automation, user=None)
    for call in (edit_automation, delete_automation, switch_on):
        assert_refused(Gone, call, automation, user=None)


def test_other_days_or_another_way_of_combining_find_another_next_slot(
    workspace: Workspace, set_clock: SetClock
) -> None:
    set_clock(NOON)
    rules = [AT_NINE, {"type": "fixed_time", "time_of_day": time(18)}]
    automation = create_automation(workspace, user=None, name="x", rules=rules, enabled=True)

    def next_slots() -> list[datetime | None]:
        return [rule.next_slot_at for rule in automation.rules.order_by("time_of_day")]

    assert next_slots() == [datetime(2030, 1, 8, 8, tzinfo=UTC), datetime(2030, 1, 7, 17, tzinfo=UTC)]
    edit_automation(automation, user=None, valid_from=date(2030, 2, 1))
    assert next_slots() == [datetime(2030, 2, 1, 8, tzinfo=UTC), datetime(2030, 2, 1, 17, tzinfo=UTC)]
    edit_automation(automation, user=None, combine="all")
    assert next_slots() == [None, None]
    edit_automation(automation, user=None, combine="any", valid_from=None, valid_until=date(2030, 1, 7))
    assert next_slots() == [None, datetime(2030, 1, 7, 17, tzinfo=UTC)]


# --- another zone ----------------------------------------------------------------------------------------------------
def test_a_zone_that_moves_slots_is_taken_only_once_that_is_confirmed(
    workspace: Workspace, set_clock: SetClock
) -> None:
    set_clock(NOON)
    automation = create_automation(workspace, user=None, name="x", rules=[AT_NINE], enabled=True)
    rule = automation.rules.get()
    error = assert_refused(ConfirmationNeeded, edit_automation, automation, user=None, zone="America/New_York")
    assert set(error.details) == {"confirm_moves", "moves"}
    # Nine in Berlin has passed on this very day, nine in New York is still ahead.
    assert error.details["moves"][0] == {
        "rule_id": str(rule.pk),
        "before": "2030-01-07T08:00:00+00:00",
        "after": "2030-01-07T14:00:00+00:00",
    }
    edit_automation(automation, user=None, zone="America/New_York", confirm_moves=True)
    rule.refresh_from_db()
    assert rule.next_slot_at == datetime(2030, 1, 7, 14, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/Paris"])
def test_a_zone_in_which_nothing_moves_needs_no_word(workspace: Workspace, set_clock: SetClock, zone: str) -> None:
    set_clock(NOON)
    automation = create_automation(workspace, user=None, name="x", rules=[AT_NINE], enabled=True)
    assert edit_automation(automation, user=None, zone=zone).zone == zone


def test_of_an_automation_that_is_off_nothing_moves(workspace: Workspace) -> None:
    automation = create_automation(workspace, user=None, name="x", rules=[AT_NINE])
    assert edit_automation(automation, user=None, zone="Asia/Tokyo").zone == "Asia/Tokyo"
    assert edit_automation(automation, user=None, zone=None).zone == ""


# --- deleting --------------------------------------------------------------------------------------------------------
def test_deleting_takes_rules_default_values_and_history_along_and_leaves_the_works(artist: User) -> None:
    gone, stays = (AutomationFactory() for _ in range(2))
    for automation in (gone, stays):
        DefaultValueFactory(automation=automation)
        run = ExecutionFactory(rule=ScheduleRuleFactory(automation=automation))
        work = DeviationFactory(
            workspace=automation.workspace,
            account=automation.account,
            status="scheduled",
            scheduled_at=run.slot_at,
            publish_at=run.slot_at,
        )
        ExecutionWorkFactory(execution=run, deviation=work)
        ExecutionFactory(rule=None, automation=automation, kind="run_now")
    delete_automation(gone, user=artist)
    for model in (ScheduleRule, DefaultValue):
        assert [row.automation for row in model.objects.all()] == [stays]
    assert {run.automation for run in Execution.objects.all()} == {stays}
    assert ExecutionWork.objects.count() == 1
    assert Deviation.objects.filter(status="scheduled").count() == 2
    event = last_event_of(gone)
    assert (event.verb, event.user, event.params) == ("automation.deleted", artist, {"name": gone.name})


def test_many_are_deleted_in_as_many_queries_as_one_and_only_those_of_the_caller(
    artist: User, workspace: Workspace
) -> None:
    others = AutomationFactory()
    counts = []
    for number in (1, 10):
        mine = [AutomationFactory(workspace=workspace) for _ in range(number)]
        for automation in mine:
            ExecutionFactory(rule=ScheduleRuleFactory(automation=automation))
        ids = [*(each.pk for each in mine), others.pk]
        with CaptureQueriesContext(connection) as queries:
            result = delete_many(Automation.objects.owned_by(artist), user=artist, ids=ids)
        assert [item.done for item in result.items] == [True] * number + [False]
        assert result.items[-1].error is None
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert Automation.objects.get() == others
    assert AuditEvent.objects.filter(params__bulk_id=str(result.id)).count() == 10


def test_a_late_slot_is_not_lost_by_a_change(workspace: Workspace, set_clock: SetClock) -> None:
    set_clock(NOON - timedelta(hours=6))
    automation = create_automation(workspace, user=None, name="x", rules=[AT_NINE], enabled=True)
    nine = datetime(2030, 1, 7, 8, tzinfo=UTC)
    assert automation.rules.get().next_slot_at == nine
    # No tick has come, and its moment has passed by some minutes.
    set_clock(nine + timedelta(minutes=10))
    edit_automation(automation, user=None, valid_until=date(2030, 12, 31))
    assert automation.rules.get().next_slot_at == nine
