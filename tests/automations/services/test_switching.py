"""Automations on and off, paused and going on: one, many, all."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, User, Workspace
from automations.errors import FieldsRefused, NothingToRun
from automations.models import Automation, ScheduleRule
from automations.services.planning import plan_anew
from automations.services.switching import (
    go_on_many,
    pause_many,
    switch_many_off,
    switch_many_on,
    switch_off,
    switch_on,
)
from isekai.ids import new_id
from tests.factories import AutomationFactory, ScheduleRuleFactory
from tests.unchanged import assert_refused

pytestmark = pytest.mark.django_db
SetClock = Callable[[datetime], None]
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin
TOMORROW_AT_NINE = datetime(2030, 1, 8, 8, tzinfo=UTC)


def make(workspace: Workspace, **fields: Any) -> Automation:
    """An automation with a rule for every day at nine."""
    automation = AutomationFactory(workspace=workspace, **fields)
    ScheduleRuleFactory(automation=automation)
    return automation


def state_of(automation: Automation) -> tuple[bool, bool, datetime | None]:
    automation.refresh_from_db()
    return automation.enabled, automation.paused_at is not None, automation.rules.get().next_slot_at


def verbs_of(automation: Automation) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=automation.pk).order_by("id").values_list("verb", flat=True))


def test_one_that_is_switched_on_has_its_next_slot_and_one_that_is_off_has_none(
    workspace: Workspace, artist: User, set_clock: SetClock
) -> None:
    set_clock(NOON)
    automation = make(workspace, enabled=False)
    assert switch_on(automation, user=artist).version == 2
    assert state_of(automation) == (True, False, TOMORROW_AT_NINE)
    switch_off(automation, user=artist)
    assert state_of(automation) == (False, False, None)
    assert verbs_of(automation) == ["automation.switched_on", "automation.switched_off"]


def test_a_slot_that_passed_while_it_was_off_is_not_made_up_for(workspace: Workspace, set_clock: SetClock) -> None:
    automation = make(workspace)
    set_clock(NOON - timedelta(hours=6))
    plan_anew([automation])
    assert state_of(automation)[2] == TOMORROW_AT_NINE - timedelta(days=1)
    switch_off(automation, user=None)
    set_clock(NOON)
    switch_on(automation, user=None)
    assert state_of(automation)[2] == TOMORROW_AT_NINE


def test_one_without_a_rule_that_is_on_cannot_be_switched_on(workspace: Workspace) -> None:
    automation = AutomationFactory(workspace=workspace, enabled=False)
    assert_refused(NothingToRun, switch_on, automation, user=None)
    ScheduleRuleFactory(automation=automation, enabled=False)
    assert_refused(NothingToRun, switch_on, automation, user=None)
    ScheduleRuleFactory(automation=automation, time_of_day=time(18))
    assert switch_on(automation, user=None).enabled


def test_said_twice_it_is_done_once(workspace: Workspace) -> None:
    automation = make(workspace)
    assert switch_on(automation, user=None).version == 1
    assert switch_off(automation, user=None).version == 2
    assert switch_off(automation, user=None).version == 2
    assert verbs_of(automation) == ["automation.switched_off"]


def test_all_are_paused_and_what_ran_before_goes_on(workspace: Workspace, artist: User, set_clock: SetClock) -> None:
    set_clock(NOON)
    runs, rests, others = make(workspace), make(workspace, enabled=False), AutomationFactory()
    ScheduleRuleFactory(automation=others, next_slot_at=TOMORROW_AT_NINE)
    mine = Automation.objects.owned_by(artist)
    plan_anew([runs])
    result = pause_many(mine, user=artist)
    assert [item.done for item in result.items] == [True, True]
    assert state_of(runs) == (True, True, None)
    assert state_of(rests) == (False, True, None)
    assert state_of(others) == (True, False, TOMORROW_AT_NINE)
    go_on_many(mine, user=artist)
    assert state_of(runs) == (True, False, TOMORROW_AT_NINE)
    assert state_of(rests) == (False, False, None)
    assert verbs_of(runs) == ["automation.paused", "automation.went_on"]
    assert verbs_of(others) == []


def test_who_is_switched_on_while_all_are_paused_goes_on_by_itself(
    workspace: Workspace, artist: User, set_clock: SetClock
) -> None:
    set_clock(NOON)
    one, other = make(workspace), make(workspace)
    pause_many(Automation.objects.owned_by(artist), user=artist)
    switch_on(one, user=artist)
    assert state_of(one) == (True, False, TOMORROW_AT_NINE)
    assert state_of(other) == (True, True, None)


def test_of_many_each_has_its_own_result_and_strangers_have_none(workspace: Workspace, artist: User) -> None:
    good, ruleless = make(workspace, enabled=False), AutomationFactory(workspace=workspace, enabled=False)
    theirs = AutomationFactory(enabled=False)
    nobodys = new_id()
    result = switch_many_on(
        Automation.objects.owned_by(artist), user=artist, ids=[theirs.pk, ruleless.pk, good.pk, nobodys, good.pk]
    )
    assert [item.id for item in result.items] == [theirs.pk, ruleless.pk, good.pk, nobodys]
    assert [item.done for item in result.items] == [False, False, True, False]
    assert [type(item.error) for item in result.items] == [type(None), NothingToRun, type(None), type(None)]
    theirs.refresh_from_db()
    assert not theirs.enabled
    event = AuditEvent.objects.get()
    assert (event.subject_id, event.params) == (good.pk, {"bulk_id": str(result.id)})


def test_the_number_of_queries_does_not_grow_with_the_automations(workspace: Workspace, artist: User) -> None:
    counts: dict[str, list[int]] = {}
    for number in (1, 12):
        ids = [make(workspace).pk for _ in range(number)]
        ways: dict[str, Any] = {
            "off": switch_many_off,
            "on": switch_many_on,
            "pause": pause_many,
            "go_on": go_on_many,
        }
        for name, many in ways.items():
            with CaptureQueriesContext(connection) as queries:
                result = many(Automation.objects.owned_by(artist), user=artist, ids=ids)
            assert all(item.done for item in result.items)
            counts.setdefault(name, []).append(len(queries))
    assert all(few == most for few, most in counts.values()), counts
    assert max(most for _few, most in counts.values()) <= 20


def test_there_is_a_bound_to_how_many_at_once(artist: User) -> None:
    ids = [new_id() for _ in range(501)]
    error = assert_refused(FieldsRefused, switch_many_on, Automation.objects.owned_by(artist), user=artist, ids=ids)
    assert "500" in str(error.details["ids"])


def test_a_rule_of_one_that_is_off_has_no_next_slot_whatever_it_had(workspace: Workspace) -> None:
    automation = make(workspace)
    ScheduleRule.objects.update(next_slot_at=TOMORROW_AT_NINE)
    switch_off(automation, user=None)
    assert state_of(automation)[2] is None
