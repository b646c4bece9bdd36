"""What the tables of automations hold by themselves, whoever writes into them."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from automations import slots
from automations.models import Automation, Blackout, DefaultValue, Execution, ExecutionWork, ScheduleRule
from deviations.models import Deviation
from deviations.models.deviations import PickKey
from isekai import clock
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    DeviationFactory,
    ExecutionFactory,
    ExecutionWorkFactory,
    ReadyDraftFactory,
    ScheduleRuleFactory,
    UserFactory,
    workspace_of,
)

pytestmark = pytest.mark.django_db

ANCHOR = datetime(2030, 1, 1)  # noqa: DTZ001 - a time on the wall
# A value that each column may have, where its type allows it.
VALUES: dict[str, Any] = {
    "time_of_day": time(9),
    "interval_minutes": 90,
    "anchor_local": ANCHOR,
    "quota": 3,
    "window_start": time(14),
    "window_end": time(20),
    "week_minutes": [540],
    "week_numbers": [0],
    "cron": "0 9 * * *",
    "weekdays": [0, 4],
}
TYPES = list(ScheduleRule.Type)


def rule_of(kind: str, **columns: Any) -> ScheduleRule:
    """A row with what its type needs, and ``columns``."""
    needs = {column: VALUES[column] for column in ScheduleRule.NEEDS[kind]}
    return ScheduleRuleFactory(type=kind, **{**needs, **columns})


def refused(constraint: str):
    return pytest.raises(IntegrityError, match=constraint)


@pytest.mark.parametrize("kind", TYPES)
def test_a_rule_of_each_type_has_what_it_needs_and_may_have(kind):
    rule = rule_of(kind, **{column: VALUES[column] for column in ScheduleRule.MAY_HAVE[kind]})
    rule.refresh_from_db()
    assert {c for c in ScheduleRule.OF_A_TYPE if getattr(rule, c) is not None} == {
        *ScheduleRule.NEEDS[kind],
        *ScheduleRule.MAY_HAVE[kind],
    }


@pytest.mark.parametrize(("kind", "column"), [(kind, column) for kind in TYPES for column in ScheduleRule.NEEDS[kind]])
def test_a_rule_without_what_its_type_needs_is_refused(kind, column):
    with pytest.raises(IntegrityError, match="has_what_its_type_needs"):
        rule_of(kind, **{column: None})


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (kind, column)
        for kind in TYPES
        for column in ScheduleRule.OF_A_TYPE
        if column not in {*ScheduleRule.NEEDS[kind], *ScheduleRule.MAY_HAVE[kind]}
    ],
)
def test_a_rule_with_a_column_of_another_type_is_refused(kind, column):
    with pytest.raises(IntegrityError, match="has_nothing_of_another_type"):
        rule_of(kind, **{column: VALUES[column]})


@pytest.mark.parametrize(
    ("kind", "columns", "constraint"),
    [
        ("fixed_interval", {"interval_minutes": 4}, "interval_in_range"),
        ("fixed_interval", {"interval_minutes": 40_321}, "interval_in_range"),
        ("daily_quota", {"quota": 0}, "quota_in_range"),
        ("daily_quota", {"quota": 101}, "quota_in_range"),
        ("daily_quota", {"works_per_slot": 2}, "works_in_range"),
        ("fixed_time", {"works_per_slot": 0}, "works_in_range"),
        ("time_window", {"window_end": time(14)}, "window_within_a_day"),
        ("time_window", {"window_end": time(9)}, "window_within_a_day"),
        ("daily_quota", {"window_end": time(0)}, "window_is_not_empty"),
        ("fixed_time", {"weekdays": []}, "weekdays_are_days"),
        ("fixed_time", {"weekdays": [7]}, "weekdays_are_days"),
        ("weekday_slots", {"week_minutes": [], "week_numbers": []}, "week_has_minutes"),
        ("weekday_slots", {"week_minutes": [1, 2], "week_numbers": [0]}, "week_has_minutes"),
        ("weekday_slots", {"week_minutes": [10_080]}, "week_minutes_of_a_week"),
        ("fixed_time", {"valid_from": date(2030, 1, 2), "valid_until": date(2030, 1, 1)}, "valid_in_order"),
        ("fixed_time", {"on_blackout": "shift"}, "on_blackout_is_known"),
        ("fixed_time", {"quiet_hours": 0}, "conditions_say_something"),
        ("fixed_time", {"enabled": False, "next_slot_at": datetime(2030, 1, 1, tzinfo=UTC)}, "off_has_no_next_slot"),
    ],
)
def test_a_rule_out_of_its_bounds_is_refused(kind, columns, constraint):
    with refused(constraint):
        rule_of(kind, **columns)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"name": ""}, "has_a_name"),
        ({"color": "red"}, "color_is_one"),
        ({"combine": "none"}, "combine_is_known"),
        ({"method": "oldest"}, "method_is_known"),
        ({"method": "mixture"}, "mixture_only_where_one_is_meant"),
        ({"mixture": [{"method": "fifo", "weight": 1}]}, "mixture_only_where_one_is_meant"),
        ({"filter_min_age_days": 3, "filter_max_age_days": 2}, "ages_in_order"),
        ({"jitter_min_seconds": 2, "jitter_max_seconds": 1}, "jitter_in_order"),
        ({"jitter_max_seconds": 3601}, "jitter_in_order"),
        ({"catch_up_seconds": 86_401}, "catch_up_is_a_day"),
        ({"add_to_sale_queue": True}, "sale_has_a_price"),
        ({"valid_from": date(2030, 1, 2), "valid_until": date(2030, 1, 1)}, "valid_in_order"),
    ],
)
def test_an_automation_out_of_its_bounds_is_refused(columns, constraint):
    with refused(constraint):
        AutomationFactory(**columns)


@pytest.mark.parametrize("kind", TYPES)
def test_slots_are_computed_from_what_the_row_says(kind):
    row = rule_of(kind, **{column: VALUES[column] for column in ScheduleRule.MAY_HAVE[kind]})
    row.refresh_from_db()
    rule = row.for_slots()
    said = {
        column: list(value) if isinstance(value := getattr(rule, column), tuple | frozenset) else value
        for column in ScheduleRule.OF_A_TYPE
    }
    assert {column: value for column, value in said.items() if value not in (None, "", [])} == {
        column: VALUES[column] for column in (*ScheduleRule.NEEDS[kind], *ScheduleRule.MAY_HAVE[kind])
    }
    week = slots.slots_of(rule, datetime(2030, 1, 6, tzinfo=UTC), datetime(2030, 1, 14, tzinfo=UTC), "UTC")
    assert {slot.rule_id for slot in week} == {row.pk}


def test_a_plan_has_the_rules_that_are_on_and_the_zone_of_the_owner_unless_it_has_its_own():
    automation = AutomationFactory(zone="", valid_until=date(2030, 12, 24))
    nine = ScheduleRuleFactory(automation=automation)
    off = ScheduleRuleFactory(automation=automation, enabled=False)
    holidays = BlackoutFactory(account=automation.account, handling=Blackout.Handling.MOVE)
    plan = automation.plan(rules=[nine, off], blackouts=[holidays], zone_of_owner="Asia/Tokyo")
    assert [rule.id for rule in plan.rules] == [nine.pk]
    assert (plan.zone, plan.seed, plan.valid_until) == ("Asia/Tokyo", automation.seed, date(2030, 12, 24))
    assert plan.blackouts == (slots.BlackoutRange(date(2030, 12, 25), date(2030, 12, 31), "move"),)
    automation.zone = "Europe/Berlin"
    assert automation.plan(rules=[], blackouts=[], zone_of_owner="Asia/Tokyo").zone == "Europe/Berlin"


def test_each_automation_has_its_own_seed():
    first, second = AutomationFactory(), AutomationFactory()
    assert first.seed != second.seed


def test_a_field_has_one_default_value():
    value = DefaultValueFactory()
    with refused("default_value_once_a_field"):
        DefaultValueFactory(automation=value.automation)


@pytest.mark.parametrize("field", DefaultValue.ALWAYS_ONLY)
def test_a_field_that_always_says_something_cannot_be_filled_where_untouched(field):
    with refused("untouched_can_be_told"):
        DefaultValueFactory(field=field, value=True, mode=DefaultValue.Mode.UNTOUCHED)


def test_each_field_with_a_default_value_is_a_column_of_a_work():
    columns = {field.name for field in Deviation._meta.get_fields()}
    assert set(DefaultValue.Field.values) <= columns


def test_a_slot_is_made_once_however_its_moment_moved():
    made = ExecutionFactory()
    with refused("execution_once_a_slot"):
        ExecutionFactory(
            rule=made.rule,
            local_date=made.local_date,
            slot_at=made.slot_at + timedelta(minutes=5),
            ordinal=made.ordinal,
        )


def test_runs_by_hand_may_be_many_on_one_day():
    automation = AutomationFactory()
    for _ in range(2):
        ExecutionFactory(rule=None, automation=automation, kind=Execution.Kind.RUN_NOW)
    assert automation.executions.count() == 2


def test_history_outlives_its_rule():
    made = ExecutionFactory()
    made.rule.delete()
    made.refresh_from_db()
    assert made.rule is None


def test_a_work_belongs_to_one_slot_until_it_is_released():
    first = ExecutionWorkFactory()
    with refused("execution_work_of_one_slot"), transaction.atomic():
        ExecutionWorkFactory(deviation=first.deviation)
    first.released_at, first.released_because = clock.now(), ExecutionWork.Released.CANCELLED
    first.save()
    assert ExecutionWorkFactory(deviation=first.deviation).pk


def test_a_release_says_why():
    work = ExecutionWorkFactory()
    work.released_at = clock.now()
    with refused("released_with_a_reason"):
        work.save()


def test_a_blackout_ends_after_it_begins():
    with refused("blackout_in_order"):
        BlackoutFactory(from_date=date(2030, 1, 2), until_date=date(2030, 1, 1))


def test_a_stranger_finds_none_of_it():
    owner, stranger = UserFactory(), UserFactory()
    automation = AutomationFactory(workspace=workspace_of(owner))
    ExecutionFactory(rule=ScheduleRuleFactory(automation=automation))
    DefaultValueFactory(automation=automation)
    BlackoutFactory(account=automation.account)
    for model in (Automation, ScheduleRule, DefaultValue, Execution, Blackout):
        assert model.objects.owned_by(owner).count() == 1, model
        assert model.objects.owned_by(stranger).count() == 0, model


def test_an_automation_that_is_paused_or_off_is_not_active():
    active = AutomationFactory()
    AutomationFactory(enabled=False)
    AutomationFactory(paused_at=clock.now())
    assert list(Automation.objects.active()) == [active]
    assert active.is_active


def test_only_ready_drafts_are_for_automations():
    ready = ReadyDraftFactory()
    DeviationFactory()
    ReadyDraftFactory(trashed_at=clock.now())
    ReadyDraftFactory(status=Deviation.Status.REVIEW)
    assert list(Deviation.objects.ready_for_automations()) == [ready]


@pytest.mark.parametrize(
    ("order", "index"),
    [
        (["created_at", "id"], "deviation_pick_by_age"),
        (["-priority", "created_at", "id"], "deviation_pick_by_priority"),
        ([PickKey("id")], "deviation_pick_by_chance"),
    ],
)
def test_each_way_to_choose_has_its_index(order, index):
    workspace = ReadyDraftFactory().workspace
    drafts = Deviation.objects.ready_for_automations().filter(workspace=workspace).order_by(*order)
    with connection.cursor() as cursor:
        # So few rows would be sorted; what counts is that the index can serve the order.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    assert index in drafts.explain()
