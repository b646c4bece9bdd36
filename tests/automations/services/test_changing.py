"""What happens at the same moment, on real connections: each outcome is one that an order of the two would have."""

from datetime import date, time
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import AuditEvent, DeviantArtAccount, User, Workspace
from automations.errors import AutomationError, FieldsRefused, Gone, LastRule, NothingToRun, Running, VersionConflict
from automations.models import Automation, Blackout, ScheduleRule
from automations.services import saving
from automations.services.arranging import duplicate, reorder
from automations.services.blackouts import add_blackout
from automations.services.defaults import add_default
from automations.services.rules import edit_rule, remove_rule
from automations.services.saving import create_automation, delete_automation, delete_many, edit_automation
from automations.services.switching import pause_many, switch_off, switch_on
from deviations.services import changing as works
from tests.automations.holding import batch_holding
from tests.deviations.races import at_once, beside
from tests.factories import AutomationFactory, ExecutionFactory, ScheduleRuleFactory
from tests.unchanged import assert_refused, everything

ROUNDS = 6

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]


@pytest.fixture
def automation(transactional_db: None, artist: User, workspace: Workspace) -> Automation:
    automation = AutomationFactory(workspace=workspace)
    ScheduleRuleFactory(automation=automation)
    return automation


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "LOCK_TIMEOUT", "100ms")


def errors_in(outcomes: list[Any]) -> list[type[AutomationError]]:
    return [type(outcome) for outcome in outcomes if isinstance(outcome, AutomationError)]


# --- two people ------------------------------------------------------------------------------------------------------
def test_of_two_who_change_what_they_have_seen_one_wins(automation: Automation) -> None:
    for number in range(1, ROUNDS):
        names = [f"{number} {who}" for who in "ab"]
        outcomes = at_once(
            *(partial(edit_automation, automation, user=None, version=number, name=name) for name in names)
        )
        assert errors_in(outcomes) == [VersionConflict]
        (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Automation)]
        automation.refresh_from_db()
        assert (automation.name, automation.version) == (winner.name, number + 1)
        assert AuditEvent.objects.count() == number


def test_two_who_switch_off_one_rule_each_leave_one_on(automation: Automation) -> None:
    for _round in range(ROUNDS):
        ScheduleRule.objects.all().delete()
        rules = [ScheduleRuleFactory(automation=automation) for _ in range(2)]
        outcomes = at_once(*(partial(edit_rule, rule, user=None, enabled=False) for rule in rules))
        assert errors_in(outcomes) == [LastRule]
        assert automation.rules.filter(enabled=True).count() == 1


def test_who_switches_on_and_who_deletes_the_only_rule_do_not_both_succeed(automation: Automation) -> None:
    for _round in range(ROUNDS):
        ScheduleRule.objects.all().delete()
        Automation.objects.update(enabled=False)
        rule = ScheduleRuleFactory(automation=automation)
        outcomes = at_once(partial(switch_on, automation, user=None), partial(remove_rule, rule, user=None))
        assert len(errors_in(outcomes)) == 1
        assert set(errors_in(outcomes)) <= {NothingToRun, LastRule}
        automation.refresh_from_db()
        assert automation.enabled == automation.rules.exists()


def test_two_who_fill_in_the_same_field_make_one_value(automation: Automation) -> None:
    call = partial(add_default, automation, user=None, field="tags", value=["sketch"])
    outcomes = at_once(call, call)
    assert errors_in(outcomes) == [FieldsRefused]
    assert automation.default_values.count() == 1


def test_one_is_deleted_once(automation: Automation) -> None:
    call = partial(delete_automation, automation, user=None)
    assert errors_in(at_once(call, call)) == [Gone]
    assert AuditEvent.objects.filter(verb="automation.deleted").count() == 1


def test_two_who_order_the_list_leave_one_of_the_two_orders(automation: Automation, workspace: Workspace) -> None:
    for _ in range(3):
        AutomationFactory(workspace=workspace)
    ids = list(Automation.objects.values_list("pk", flat=True))
    mine = Automation.objects.filter(workspace=workspace)
    for _round in range(ROUNDS):
        orders = [ids, ids[::-1]]
        assert errors_in(at_once(*(partial(reorder, mine, user=None, ids=order) for order in orders))) == []
        assert list(mine.order_by("position", "pk").values_list("pk", flat=True)) in orders
        assert sorted(mine.values_list("position", flat=True)) == list(range(len(ids)))


def test_a_workspace_never_has_more_than_it_may(
    automation: Automation, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "AUTOMATIONS_MAX", 2)
    outcomes = at_once(
        partial(create_automation, workspace, user=None, name="x"), partial(duplicate, automation, user=None)
    )
    assert errors_in(outcomes) == [FieldsRefused]
    assert Automation.objects.count() == 2


# --- a person and a tick ---------------------------------------------------------------------------------------------
def test_what_runs_is_neither_deleted_nor_changed_and_is_as_it_was(automation: Automation, impatient: None) -> None:
    rule = automation.rules.get()
    mine = Automation.objects.filter(workspace=automation.workspace)
    before = everything()
    calls: dict[str, Any] = {
        "delete": partial(delete_automation, automation, user=None),
        "edit": partial(edit_automation, automation, user=None, name="other"),
        "off": partial(switch_off, automation, user=None),
        "rule": partial(edit_rule, rule, user=None, priority=5),
        "order": partial(reorder, mine, user=None, ids=[automation.pk]),
        "copy": partial(duplicate, automation, user=None),
    }
    for name, call in calls.items():
        with batch_holding(automation):
            outcome = beside(call).result(timeout=10)
        assert isinstance(outcome, Running), name
        assert everything() == before, name


def test_of_many_only_those_that_run_are_left(automation: Automation, workspace: Workspace, impatient: None) -> None:
    free = AutomationFactory(workspace=workspace)
    mine = Automation.objects.filter(workspace=workspace)
    with batch_holding(automation):
        result = beside(partial(pause_many, mine, user=None)).result(timeout=10)
    assert {item.id: type(item.error) for item in result.items} == {automation.pk: Running, free.pk: type(None)}
    with batch_holding(automation):
        result = beside(partial(delete_many, mine, user=None, ids=[automation.pk, free.pk])).result(timeout=10)
    assert [(item.done, type(item.error)) for item in result.items] == [(False, Running), (True, type(None))]
    assert Automation.objects.get() == automation


def test_a_change_waits_for_the_batch_and_sees_what_it_made(automation: Automation) -> None:
    rule = automation.rules.get()
    with batch_holding(automation):
        waiting = beside(partial(delete_automation, automation, user=None))
        ExecutionFactory(rule=rule)
    assert waiting.result(timeout=10) is None
    assert not Automation.objects.exists()


def test_a_batch_that_passes_by_leaves_out_what_is_being_changed(automation: Automation) -> None:
    with transaction.atomic():
        edit_automation(automation, user=None, valid_until=date(2099, 1, 1))

        def tick() -> list[Automation]:
            with transaction.atomic():
                return list(Automation.objects.select_for_update(no_key=True, skip_locked=True))

        assert beside(tick).result(timeout=10) == []


def test_a_row_that_refers_to_an_automation_does_not_wait_for_who_changes_it(automation: Automation) -> None:
    rule = automation.rules.get()
    with transaction.atomic():
        edit_automation(automation, user=None, name="other")
        made = beside(partial(ExecutionFactory, rule=rule)).result(timeout=10)
    assert made.pk is not None


def test_two_blackouts_and_a_change_of_a_rule_at_once_leave_a_next_slot_after_all_of_them(
    automation: Automation, account: DeviantArtAccount
) -> None:
    Automation.objects.update(account=account)
    rule = automation.rules.get()
    for _round in range(ROUNDS):
        Blackout.objects.all().delete()
        year = date.today().year + 1  # noqa: DTZ011 - any coming year
        edit_automation(automation, user=None, valid_from=date(year, 1, 1))
        days = [(date(year, 1, 1), date(year, 1, 5)), (date(year, 1, 6), date(year, 1, 9))]
        minute = 30 if _round % 2 else 0
        outcomes = at_once(
            *(partial(add_blackout, account, user=None, from_date=a, until_date=b) for a, b in days),
            partial(edit_rule, rule, user=None, time_of_day=time(9, minute)),
        )
        assert errors_in(outcomes) == []
        rule.refresh_from_db()
        assert rule.next_slot_at is not None
        assert (rule.next_slot_at.month, rule.next_slot_at.day, rule.next_slot_at.minute) == (1, 10, minute)


def test_a_refusal_leaves_the_connection_usable(automation: Automation) -> None:
    assert_refused(VersionConflict, edit_automation, automation, user=None, version=7, name="x")
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == "0"
