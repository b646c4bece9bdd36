"""Rules: each type with its own fields and no others, and never an automation that is on without one that is."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import AuditEvent, User
from automations.errors import FieldsRefused, Gone, LastRule, ReferenceNotFound, VersionConflict
from automations.models import Automation, ScheduleRule
from automations.services import rules
from automations.services.rules import add_rule, edit_rule, remove_rule, week_of
from automations.services.saving import delete_automation
from tests.factories import AutomationFactory, ExecutionFactory, ScheduleRuleFactory, UserFactory, workspace_of
from tests.unchanged import assert_refused

pytestmark = pytest.mark.django_db

SetClock = Callable[[datetime], None]
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin, on a Monday
NINE, SIX = 9 * 60, 18 * 60
DAY = 24 * 60


def column(name: str) -> str:
    return "week_minutes" if name == "week" else name


def minutes(*wanted: int) -> dict[int, list[time]]:
    """Minutes since Monday 00:00, as a table of the week."""
    week: dict[int, list[time]] = {}
    for minute in wanted:
        week.setdefault(minute // DAY, []).append(time(minute % DAY // 60, minute % 60))
    return week


COMPLETE: dict[str, dict[str, Any]] = {
    "fixed_time": {"time_of_day": time(9), "weekdays": [0, 4]},
    "fixed_interval": {
        "interval_minutes": 90,
        "works_per_slot": 3,
        "anchor_local": datetime(2030, 1, 1, 8),  # noqa: DTZ001 - on the wall
        "weekdays": [5],
        "window_start": time(10),
        "window_end": time(23),
    },
    "daily_quota": {"quota": 2, "window_start": time(8), "window_end": time(20), "weekdays": [0]},
    "time_window": {"window_start": time(14), "window_end": time(20), "weekdays": [6]},
    "weekday_slots": {"week": {0: [time(9)], 3: [time(18)]}},
    "cron": {"cron": "0 9,18 * * MON-FRI"},
}
FOREIGN = [
    (kind, name, value)
    for kind in COMPLETE
    for other in COMPLETE.values()
    for name, value in other.items()
    if name != "works_per_slot"
    and column(name)
    not in {*ScheduleRule.NEEDS[ScheduleRule.Type(kind)], *ScheduleRule.MAY_HAVE[ScheduleRule.Type(kind)]}
]


@pytest.fixture
def automation(artist: User) -> Automation:
    return AutomationFactory(workspace=workspace_of(artist), enabled=False)


def rule_of(automation: Automation, kind: str, **fields: Any) -> ScheduleRule:
    return add_rule(automation, user=None, type=kind, **COMPLETE[kind] | fields)


def as_stored(rule: ScheduleRule) -> dict[str, Any]:
    return dict(ScheduleRule.objects.filter(pk=rule.pk).values().get())


def version_of(automation: Automation) -> int:
    return Automation.objects.get(pk=automation.pk).version


# --- adding ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", COMPLETE)
def test_a_rule_of_each_type_is_kept_as_it_was_said(automation: Automation, artist: User, kind: str) -> None:
    said = COMPLETE[kind] | {
        "priority": -3,
        "valid_from": date(2030, 1, 1),
        "valid_until": date(2030, 12, 31),
        "on_blackout": "move",
        "quiet_hours": 6,
        "max_per_week": 5,
        "min_drafts_left": 2,
    }
    rule = add_rule(automation, user=artist, type=kind, **said)
    kept = as_stored(rule) | {"week": {day: times for day, times in (week_of(rule) or {}).items() if times}}
    assert {name: kept[name] for name in said} == said
    assert version_of(automation) == 2
    event = AuditEvent.objects.get()
    assert (event.verb, event.subject_id, event.user) == ("automation.rule_added", automation.pk, artist)
    assert event.params == {"rule": str(rule.pk), "type": kind}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in COMPLETE
        for name in ScheduleRule.NEEDS[ScheduleRule.Type(kind)]
        if name not in {"anchor_local", "week_numbers"}
    ],
)
def test_a_rule_needs_what_its_type_needs(automation: Automation, kind: str, name: str) -> None:
    name = "week" if name == "week_minutes" else name
    said = {key: value for key, value in COMPLETE[kind].items() if key != name}
    for fields in (said, {**said, name: None}):
        error = assert_refused(FieldsRefused, add_rule, automation, user=None, type=kind, **fields)
        assert list(error.details) == [name]
    rule = rule_of(automation, kind)
    error = assert_refused(FieldsRefused, edit_rule, rule, user=None, **{name: None})
    assert list(error.details) == [name]


@pytest.mark.parametrize(("kind", "name", "value"), FOREIGN, ids=[f"{kind}-{name}" for kind, name, _ in FOREIGN])
def test_fields_of_another_type_are_refused_and_the_refusal_says_whose_they_are(
    automation: Automation, kind: str, name: str, value: Any
) -> None:
    error = assert_refused(FieldsRefused, add_rule, automation, user=None, type=kind, **COMPLETE[kind] | {name: value})
    assert list(error.details) == [name]
    rule = rule_of(automation, kind)
    error = assert_refused(FieldsRefused, edit_rule, rule, user=None, **{name: value})
    assert "Only for rules of the type “" in str(error.details[name])
    # Saying that it has none is no contradiction.
    assert as_stored(edit_rule(rule, user=None, **{name: None}))[column(name)] is None


@pytest.mark.parametrize(
    ("kind", "fields", "field", "word"),
    [
        ("fixed_time", {"weekdays": []}, "weekdays", "at least one day"),
        ("fixed_time", {"weekdays": [7]}, "weekdays", "0 (Monday)"),
        ("fixed_time", {"time_of_day": time(9, 0, 30)}, "time_of_day", "18:30"),
        ("fixed_time", {"works_per_slot": 0}, "works_per_slot", "1"),
        ("fixed_time", {"works_per_slot": 101}, "works_per_slot", "100"),
        ("fixed_time", {"priority": None}, "priority", "null"),
        ("fixed_time", {"valid_from": date(2030, 1, 2), "valid_until": date(2030, 1, 1)}, "valid_until", "before"),
        ("fixed_time", {"on_blackout": "ignore"}, "on_blackout", "ignore"),
        ("fixed_time", {"quiet_hours": 0}, "quiet_hours", "1"),
        ("fixed_time", {"max_per_week": 0}, "max_per_week", "1"),
        ("fixed_time", {"min_drafts_left": 0}, "min_drafts_left", "1"),
        ("fixed_interval", {"interval_minutes": 4}, "interval_minutes", "5"),
        ("fixed_interval", {"interval_minutes": 40321}, "interval_minutes", "40320"),
        ("fixed_interval", {"window_start": time(20), "window_end": time(20)}, "window_end", "begins"),
        ("daily_quota", {"quota": 0}, "quota", "1"),
        ("daily_quota", {"quota": 101}, "quota", "100"),
        ("daily_quota", {"works_per_slot": 2}, "works_per_slot", "1"),
        ("daily_quota", {"window_start": None, "window_end": time()}, "window_end", "midnight"),
        ("time_window", {"window_start": time(21)}, "window_end", "begins"),
        ("weekday_slots", {"week": {0: []}}, "week", "at least one time"),
        ("weekday_slots", {"week": {7: [time(9)]}}, "week", "week"),
        ("weekday_slots", {"week": minutes(*range(400))}, "week", "336"),
        ("weekday_slots", {"week": {0: [time(9, 0, 1)]}}, "week", "18:30"),
        ("cron", {"cron": "0 9 * *"}, "cron", "five fields"),
        ("cron", {"cron": "0 25 * * *"}, "cron", "hour is 0 to 23"),
        ("cron", {"cron": "* * * * *"}, "cron", "288"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field_with_what_is_accepted(
    automation: Automation, kind: str, fields: dict[str, Any], field: str, word: str
) -> None:
    error = assert_refused(FieldsRefused, add_rule, automation, user=None, type=kind, **COMPLETE[kind] | fields)
    assert list(error.details) == [field]
    assert word in str(error.details[field]), error.details
    rule = rule_of(automation, kind)
    assert list(assert_refused(FieldsRefused, edit_rule, rule, user=None, **fields).details) == [field]


def test_all_that_is_wrong_is_said_at_once(automation: Automation) -> None:
    error = assert_refused(
        FieldsRefused, add_rule, automation, user=None, type="fixed_time", quota=1, quiet_hours=0, seed=1
    )
    assert set(error.details) == {"seed"}
    error = assert_refused(FieldsRefused, add_rule, automation, user=None, type="fixed_time", quota=1, quiet_hours=0)
    assert set(error.details) == {"quota", "quiet_hours", "time_of_day"}


@pytest.mark.parametrize("kind", [None, "sometimes", ["fixed_time"]])
def test_a_rule_has_one_of_the_known_types(automation: Automation, kind: Any) -> None:
    error = assert_refused(FieldsRefused, add_rule, automation, user=None, type=kind)
    assert "fixed_time" in str(error.details["type"])


def test_an_interval_is_counted_from_midnight_of_its_first_day(automation: Automation, set_clock: SetClock) -> None:
    # In Berlin it is past midnight already.
    set_clock(datetime(2030, 1, 7, 23, 30, tzinfo=UTC))
    rule = add_rule(automation, user=None, type="fixed_interval", interval_minutes=60)
    assert as_stored(rule)["anchor_local"] == datetime(2030, 1, 8)  # noqa: DTZ001 - on the wall
    later = add_rule(automation, user=None, type="fixed_interval", interval_minutes=60, valid_from=date(2030, 3, 1))
    assert as_stored(later)["anchor_local"] == datetime(2030, 3, 1)  # noqa: DTZ001


def test_there_is_a_bound_to_how_many_an_automation_has(
    automation: Automation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "RULES_MAX", 2)
    for _ in range(2):
        rule_of(automation, "fixed_time")
    error = assert_refused(FieldsRefused, add_rule, automation, user=None, type="fixed_time", **COMPLETE["fixed_time"])
    assert "at most 2" in str(error.details)


# --- changing --------------------------------------------------------------------------------------------------------
def test_a_day_filter_a_window_and_a_condition_can_be_taken_back(automation: Automation) -> None:
    rule = rule_of(automation, "daily_quota", quiet_hours=6)
    cleared: dict[str, Any] = {"weekdays": None, "window_start": None, "window_end": None, "quiet_hours": None}
    edit_rule(rule, user=None, **cleared)
    assert {name: as_stored(rule)[name] for name in cleared} == cleared


def test_days_and_minutes_are_kept_in_order_and_once(automation: Automation) -> None:
    rule = rule_of(automation, "fixed_time", weekdays=[4, 0, 4])
    assert as_stored(rule)["weekdays"] == [0, 4]
    table = rule_of(automation, "weekday_slots", week=minutes(SIX, NINE, SIX))
    assert as_stored(table)["week_minutes"] == [NINE, SIX]


def test_a_rule_keeps_its_type(automation: Automation) -> None:
    rule = rule_of(automation, "fixed_time")
    assert_refused(FieldsRefused, edit_rule, rule, user=None, type="cron", cron="0 9 * * *")
    assert as_stored(edit_rule(rule, user=None, type="fixed_time"))["type"] == "fixed_time"


def test_what_changes_nothing_writes_nothing(automation: Automation) -> None:
    rule = rule_of(automation, "fixed_time")
    before = as_stored(rule)
    edit_rule(rule, user=None, **COMPLETE["fixed_time"])
    assert as_stored(rule) == before
    assert version_of(automation) == 2


def test_another_time_finds_another_next_slot(automation: Automation, set_clock: SetClock, artist: User) -> None:
    set_clock(NOON)
    Automation.objects.filter(pk=automation.pk).update(enabled=True)
    rule = rule_of(automation, "fixed_time", weekdays=None)
    assert rule.next_slot_at == datetime(2030, 1, 8, 8, tzinfo=UTC)
    rule = edit_rule(rule, user=artist, time_of_day=time(13))
    assert rule.next_slot_at == datetime(2030, 1, 7, 12, tzinfo=UTC)
    event = AuditEvent.objects.latest("id")
    assert event.params == {"rule": str(rule.pk), "fields": ["time_of_day"]}
    rule_of(automation, "fixed_time")
    assert edit_rule(rule, user=None, enabled=False).next_slot_at is None


def test_another_version_of_the_automation_refuses_a_change_of_its_rules(automation: Automation) -> None:
    rule = rule_of(automation, "fixed_time")
    for call in (edit_rule, remove_rule):
        assert_refused(VersionConflict, call, rule, user=None, version=1)
    assert_refused(VersionConflict, add_rule, automation, user=None, version=1, type="cron", cron="0 9 * * *")
    assert edit_rule(rule, user=None, version=2, time_of_day=time(10)).automation.version == 3


def test_a_rule_that_was_deleted_meanwhile_is_not_found(automation: Automation) -> None:
    rule = rule_of(automation, "fixed_time")
    remove_rule(rule, user=None)
    for call in (edit_rule, remove_rule):
        assert_refused(ReferenceNotFound, call, rule, user=None)
    delete_automation(automation, user=None)
    for call in (edit_rule, remove_rule):
        assert_refused(Gone, call, rule, user=None)


def test_a_rule_is_found_only_in_its_own_automation(automation: Automation) -> None:
    rule = ScheduleRuleFactory(automation=AutomationFactory(workspace=workspace_of(UserFactory())))
    rule.automation = automation
    for call in (edit_rule, remove_rule):
        assert_refused(ReferenceNotFound, call, rule, user=None)


# --- the last one ----------------------------------------------------------------------------------------------------
def test_the_last_rule_of_an_automation_that_is_on_can_be_neither_deleted_nor_switched_off(
    automation: Automation,
) -> None:
    last = rule_of(automation, "fixed_time")
    rule_of(automation, "cron", enabled=False)
    Automation.objects.filter(pk=automation.pk).update(enabled=True)
    assert_refused(LastRule, remove_rule, last, user=None)
    assert_refused(LastRule, edit_rule, last, user=None, enabled=False)
    # Paused with all others it still counts as on.
    Automation.objects.filter(pk=automation.pk).update(paused_at=NOON)
    assert_refused(LastRule, remove_rule, last, user=None)


def test_with_another_rule_that_is_on_or_while_the_automation_is_off_it_can(automation: Automation) -> None:
    first, second = rule_of(automation, "fixed_time"), rule_of(automation, "cron")
    Automation.objects.filter(pk=automation.pk).update(enabled=True)
    edit_rule(first, user=None, enabled=False)
    edit_rule(first, user=None, enabled=True)
    remove_rule(first, user=None)
    Automation.objects.filter(pk=automation.pk).update(enabled=False)
    edit_rule(second, user=None, enabled=False)
    remove_rule(second, user=None)
    assert not automation.rules.exists()


# --- slots that were made already ------------------------------------------------------------------------------------
def test_of_a_table_of_the_week_what_is_moved_keeps_its_number_and_what_is_new_gets_another(
    automation: Automation, set_clock: SetClock
) -> None:
    set_clock(NOON)
    tuesday = DAY + NINE
    rule = rule_of(automation, "weekday_slots", week=minutes(NINE, SIX, tuesday))
    assert as_stored(rule)["week_numbers"] == [0, 1, 0]
    edit_rule(rule, user=None, week=minutes(NINE, SIX + 5, tuesday))
    assert as_stored(rule)["week_numbers"] == [0, 1, 0]
    edit_rule(rule, user=None, week=minutes(60, NINE, SIX + 5, tuesday, tuesday + 60))
    assert as_stored(rule)["week_numbers"] == [2, 0, 1, 0, 1]
    edit_rule(rule, user=None, week=minutes(60, NINE))
    assert as_stored(rule)["week_numbers"] == [2, 0]


def test_a_new_time_of_the_week_is_not_taken_for_one_that_was_made_today(
    automation: Automation, set_clock: SetClock
) -> None:
    set_clock(NOON)
    rule = rule_of(automation, "weekday_slots", week=minutes(NINE, SIX))
    ExecutionFactory(rule=rule, local_date=date(2030, 1, 7), ordinal=0, slot_at=NOON - timedelta(hours=3))
    edit_rule(rule, user=None, week=minutes(SIX))
    edit_rule(rule, user=None, week=minutes(13 * 60, SIX))
    assert as_stored(rule)["week_numbers"] == [2, 1]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("fixed_interval", {"interval_minutes": 60}, {"interval_minutes": 30}),
        ("cron", {"cron": "0 11,13 * * *"}, {"cron": "0 13 * * *"}),
    ],
)
def test_a_moment_that_gets_another_number_is_not_made_a_second_time(
    automation: Automation, set_clock: SetClock, kind: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    set_clock(NOON)
    Automation.objects.filter(pk=automation.pk).update(enabled=True)
    rule = add_rule(automation, user=None, type=kind, **before)
    one = NOON + timedelta(hours=1)
    assert rule.next_slot_at in {one, NOON}
    ExecutionFactory(rule=rule, local_date=date(2030, 1, 7), ordinal=1, slot_at=one)
    rule = edit_rule(rule, user=None, **after)
    assert rule.next_slot_at is not None
    assert rule.next_slot_at > one


def test_where_all_rules_have_to_hold_another_leading_rule_does_not_make_a_slot_twice(
    automation: Automation, set_clock: SetClock
) -> None:
    set_clock(NOON)
    Automation.objects.filter(pk=automation.pk).update(enabled=True, combine="all")
    first = add_rule(automation, user=None, type="fixed_time", time_of_day=time(13))
    one = NOON + timedelta(hours=1)
    assert first.next_slot_at == one
    ExecutionFactory(rule=first, local_date=date(2030, 1, 7), slot_at=one)
    second = add_rule(automation, user=None, type="fixed_time", time_of_day=time(13), priority=-1)
    assert second.next_slot_at == one + timedelta(days=1)
    first.refresh_from_db()
    assert first.next_slot_at is None
