"""The operator's door to automations: everything can be seen, nothing typed over, states change by named actions."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEvent, User
from automations.models import Automation, Blackout, Execution, ScheduleRule
from automations.services.saving import edit_automation
from tests.automations.holding import batch_holding
from tests.deviations.races import beside
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    ExecutionFactory,
    ExecutionWorkFactory,
    ScheduleRuleFactory,
)
from tests.unchanged import everything

pytestmark = pytest.mark.django_db
OURS = [model for model in admin.site._registry if model._meta.app_label == "automations"]
SOON = datetime(2030, 1, 7, 8, tzinfo=UTC)


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator", "a long password of an operator")


@pytest.fixture
def desk(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


def address(model: Any, page: str, *args: object) -> str:
    return reverse(f"admin:automations_{model._meta.model_name}_{page}", args=args)


def act(desk: Client, action: str, automations: list[Automation]) -> list[str]:
    """Pick automations and do something to them; what the operator is told."""
    picked = {"action": action, "_selected_action": [each.pk for each in automations]}
    answer = desk.post(address(Automation, "changelist"), picked)
    assert answer.status_code == 302
    return [str(message) for message in get_messages(answer.wsgi_request)]


def make(**fields: Any) -> Automation:
    """An automation with all that can be below it."""
    automation = AutomationFactory(name="Dunes at noon", **fields)
    for _ in range(2):
        rule = ScheduleRuleFactory(automation=automation, next_slot_at=SOON)
        for days in range(2):
            run = ExecutionFactory(rule=rule, slot_at=SOON + timedelta(days=days))
            ExecutionWorkFactory(execution=run)
    DefaultValueFactory(automation=automation)
    BlackoutFactory(account=automation.account)
    return automation


def test_what_an_operator_has_to_see_is_in_the_admin() -> None:
    assert set(OURS) == {Automation, ScheduleRule, Execution, Blackout}


def test_every_list_and_row_can_be_opened_and_no_row_can_be_changed_added_or_deleted(desk: Client) -> None:
    make()
    before = everything()
    for model in OURS:
        row = model._default_manager.all()[0]
        assert desk.get(address(model, "changelist"), {"q": "dunes"}).status_code == 200
        page = desk.get(address(model, "change", row.pk))
        assert page.status_code == 200
        assert b'name="_save"' not in page.content
        assert desk.post(address(model, "change", row.pk), {"name": "x", "enabled": ""}).status_code == 403
        assert desk.get(address(model, "add")).status_code == 403
        assert desk.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert everything() == before


def test_a_row_shows_its_rules_its_default_values_and_what_became_of_its_slots(desk: Client) -> None:
    automation = make()
    page = desk.get(address(Automation, "change", automation.pk)).content.decode()
    assert "At a time of day" in page
    assert "sketch" in page
    run = Execution.objects.all()[0]
    assert run.works.get().deviation.title in desk.get(address(Execution, "change", run.pk)).content.decode()
    listed = desk.get(address(Automation, "changelist")).content.decode()
    assert "7, 2030" in listed


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_a_list_takes_as_many_queries_for_many_rows_as_for_one(desk: Client, model: Any) -> None:
    counts = []
    for number in (1, 9):
        for _ in range(number):
            make()
        with CaptureQueriesContext(connection) as queries:
            assert desk.get(address(model, "changelist")).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("model", [Automation, Execution], ids=lambda model: model.__name__)
def test_a_row_takes_as_many_queries_whatever_is_below_it(desk: Client, model: Any) -> None:
    automation = make()
    run = Execution.objects.all()[0]
    counts = []
    for number in (1, 8):
        for _ in range(number):
            ScheduleRuleFactory(automation=automation)
            ExecutionWorkFactory(execution=run)
        row = automation if model is Automation else run
        with CaptureQueriesContext(connection) as queries:
            assert desk.get(address(model, "change", row.pk)).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("before", "action", "after", "verb"),
    [
        ({}, "pause", (True, True, False), "automation.paused"),
        ({"paused_at": SOON}, "go_on", (True, False, True), "automation.went_on"),
        ({}, "switch_off", (False, False, False), "automation.switched_off"),
    ],
)
def test_states_change_by_named_actions(
    desk: Client, operator: User, before: dict[str, Any], action: str, after: tuple[bool, bool, bool], verb: str
) -> None:
    automations = [make(**before) for _number in range(2)]
    assert act(desk, action, automations) == ["Done: 2 automations."]
    for automation in Automation.objects.all():
        has_next = automation.rules.filter(next_slot_at__isnull=False).exists()
        assert (automation.enabled, automation.paused_at is not None, has_next) == after
        event = AuditEvent.objects.filter(subject_id=automation.pk).latest("id")
        assert (event.verb, event.user) == (verb, operator)


def test_an_operator_who_may_only_look_has_no_actions(client: Client) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_automation"))
    client.force_login(viewer)
    automation = make()
    page = client.get(address(Automation, "changelist"))
    assert page.status_code == 200
    assert b"switch_off" not in page.content
    client.post(address(Automation, "changelist"), {"action": "pause", "_selected_action": [automation.pk]})
    automation.refresh_from_db()
    assert automation.paused_at is None


@pytest.mark.django_db(transaction=True)
def test_what_runs_at_this_moment_is_told_and_left_alone(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deviations.services.changing.LOCK_TIMEOUT", "100ms")
    runs, free = make(), make()
    with batch_holding(runs):
        told = beside(partial(act, desk, "pause", [runs, free])).result(timeout=10)
    assert told[0] == "Done: 1 automation."
    assert str(runs.pk) in told[1]
    assert "at this moment" in told[1]
    edit_automation(runs, user=None, name="Free again")
