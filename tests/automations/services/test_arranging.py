"""The order of the list, and copies."""

from datetime import UTC, datetime, time
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, User, Workspace
from automations.errors import FieldsRefused, Gone, ReferenceNotFound
from automations.models import Automation, DefaultValue, ScheduleRule
from automations.services import saving
from automations.services.arranging import duplicate, duplicate_many, reorder
from automations.services.saving import create_automation, delete_automation
from tests.factories import AutomationFactory, DefaultValueFactory, ScheduleRuleFactory
from tests.unchanged import assert_refused

pytestmark = pytest.mark.django_db


def order_of(user: User) -> list[str]:
    names = Automation.objects.owned_by(user).order_by("position", "pk").values_list("name", flat=True)
    return list(names)


@pytest.fixture
def abcd(workspace: Workspace) -> dict[str, Automation]:
    return {name: create_automation(workspace, user=None, name=name) for name in "abcd"}


def mine(user: User) -> Any:
    return Automation.objects.owned_by(user)


# --- order -----------------------------------------------------------------------------------------------------------
def test_the_list_comes_into_the_order_that_is_named_and_the_rest_behind(
    abcd: dict[str, Automation], artist: User
) -> None:
    moved = reorder(mine(artist), user=artist, ids=[abcd["c"].pk, abcd["a"].pk])
    assert order_of(artist) == ["c", "a", "b", "d"]
    assert set(moved) == {abcd[name].pk for name in "abc"}
    events = AuditEvent.objects.filter(verb="automation.moved")
    assert {(event.subject_id, event.params["place"]) for event in events} == {
        (abcd["c"].pk, 0),
        (abcd["a"].pk, 1),
        (abcd["b"].pk, 2),
    }
    assert {each.version for each in mine(artist)} == {1}


def test_an_order_that_is_so_already_writes_nothing(abcd: dict[str, Automation], artist: User) -> None:
    ids = [abcd[name].pk for name in "abcd"]
    assert reorder(mine(artist), user=artist, ids=ids) == []
    assert not AuditEvent.objects.filter(verb="automation.moved").exists()


def test_an_order_names_only_what_is_the_callers_and_each_once(abcd: dict[str, Automation], artist: User) -> None:
    others = AutomationFactory()
    ids = [abcd["b"].pk, others.pk]
    assert_refused(ReferenceNotFound, reorder, mine(artist), user=artist, ids=ids)
    assert_refused(FieldsRefused, reorder, mine(artist), user=artist, ids=[abcd["b"].pk] * 2)
    assert order_of(artist) == list("abcd")


def test_it_takes_as_many_queries_to_order_many(workspace: Workspace, artist: User) -> None:
    counts = []
    for number in (2, 20):
        for _ in range(number):
            AutomationFactory(workspace=workspace)
        ids = list(mine(artist).order_by("-pk").values_list("pk", flat=True))
        with CaptureQueriesContext(connection) as queries:
            assert reorder(mine(artist), user=artist, ids=ids)
        counts.append(len(queries))
    assert counts[0] == counts[1]


# --- copies ----------------------------------------------------------------------------------------------------------
def said_by(row: Any, *but: str) -> dict[str, Any]:
    own = {"id", "created_at", "updated_at", "automation_id", *but}
    return {
        name: value for name, value in type(row).objects.filter(pk=row.pk).values().get().items() if name not in own
    }


def test_a_copy_says_the_same_is_off_and_draws_by_a_seed_of_its_own(workspace: Workspace, artist: User) -> None:
    row = AutomationFactory(
        workspace=workspace,
        name="Evening sketch",
        method="mixture",
        mixture=[{"method": "random", "weight": 7}],
        filter_tags=["sketch"],
        counter=41,
        paused_at=datetime(2030, 1, 1, tzinfo=UTC),
        version=9,
    )
    ScheduleRuleFactory(automation=row, next_slot_at=datetime(2030, 1, 1, 9, tzinfo=UTC))
    ScheduleRuleFactory(
        automation=row, type="weekday_slots", week_minutes=[540, 600], week_numbers=[1, 0], enabled=False
    )
    DefaultValueFactory(automation=row)
    copy = duplicate(row, user=artist)
    differs = ("name", "enabled", "paused_at", "seed", "counter", "position", "version")
    assert said_by(copy, *differs) == said_by(row, *differs)
    copy.refresh_from_db()
    assert (copy.name, copy.enabled, copy.paused_at, copy.counter) == ("Evening sketch (copy)", False, None, 1)
    assert (copy.version, copy.position) == (1, 1)
    assert copy.seed != row.seed
    for model in (ScheduleRule, DefaultValue):
        rows, copies = (list(model.objects.filter(automation=each).order_by("pk")) for each in (row, copy))
        assert len(copies) == len(rows) > 0
        assert [said_by(each, "next_slot_at") for each in copies] == [said_by(each, "next_slot_at") for each in rows]
    assert not copy.rules.filter(next_slot_at__isnull=False).exists()
    event = AuditEvent.objects.get(subject_id=copy.pk)
    assert (event.verb, event.user) == ("automation.created", artist)
    assert event.params == {"name": copy.name, "copy_of": str(row.pk)}


def test_rules_of_one_priority_stay_in_their_order(workspace: Workspace) -> None:
    rules = [{"type": "fixed_time", "time_of_day": time(23 - hour)} for hour in range(20)]
    copy = duplicate(create_automation(workspace, user=None, name="x", rules=rules), user=None)
    kept = copy.rules.order_by("priority", "pk").values_list("time_of_day", flat=True)
    assert list(kept) == [rule["time_of_day"] for rule in rules]


def test_the_longest_name_has_a_copy_too(workspace: Workspace) -> None:
    copy = duplicate(AutomationFactory(workspace=workspace, name="x" * 100), user=None)
    assert copy.name == "x" * 93 + " (copy)"


def test_many_are_copied_in_as_many_queries_as_one_and_only_those_of_the_caller(
    workspace: Workspace, artist: User
) -> None:
    others = AutomationFactory()
    counts = []
    for number in (1, 10):
        rows = [AutomationFactory(workspace=workspace) for _ in range(number)]
        for row in rows:
            ScheduleRuleFactory(automation=row)
            DefaultValueFactory(automation=row)
        with CaptureQueriesContext(connection) as queries:
            result = duplicate_many(mine(artist), user=artist, ids=[others.pk, *(row.pk for row in rows)])
        counts.append(len(queries))
        assert [item.automation is not None for item in result.items] == [False] + [True] * number
        assert len({item.automation.seed for item in result.items if item.automation}) == number
    assert counts[0] == counts[1]
    assert Automation.objects.count() == 1 + 2 * 11


def test_a_workspace_that_is_full_takes_no_copy(
    abcd: dict[str, Automation], artist: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "AUTOMATIONS_MAX", 5)
    ids = [abcd["a"].pk, abcd["b"].pk]
    assert_refused(FieldsRefused, duplicate_many, mine(artist), user=artist, ids=ids)
    duplicate(abcd["a"], user=artist)
    assert_refused(FieldsRefused, duplicate, abcd["b"], user=artist)


def test_what_was_deleted_meanwhile_has_no_copy(abcd: dict[str, Automation]) -> None:
    delete_automation(abcd["a"], user=None)
    assert_refused(Gone, duplicate, abcd["a"], user=None)
