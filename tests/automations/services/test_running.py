"""One slot by hand, and taking back what was done."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import AuditEvent, DeviantArtAccount, User, Workspace
from automations.errors import FieldsRefused, Gone, NothingToUndo
from automations.models import Automation, Execution, ExecutionWork
from automations.services.history import history_of
from automations.services.materialising import schedule_due
from automations.services.planning import plan_anew
from automations.services.running import run_now
from automations.services.saving import delete_automation
from automations.services.undoing import last_run_of, undo_run
from deviations.models import Deviation
from deviations.services.drafting import edit_deviation
from deviations.services.scheduling import cancel_schedule, schedule_deviation
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    DeviantArtAccountFactory,
    ReadyDraftFactory,
    ScheduleRuleFactory,
)
from tests.unchanged import assert_refused

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent", "at_noon")]

SetClock = Callable[[datetime], None]
HOUR = timedelta(hours=1)
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin, on a Monday


@pytest.fixture
def at_noon(set_clock: SetClock, settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600
    set_clock(NOON)


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(workspace=account.workspace, account=account)


def drafts(workspace: Workspace, count: int, **fields: Any) -> list[Deviation]:
    """The oldest first."""
    made: list[Deviation] = [ReadyDraftFactory(workspace=workspace, **fields) for _number in range(count)]
    for number, draft in enumerate(made):
        Deviation.objects.filter(pk=draft.pk).update(created_at=NOON - timedelta(days=count - number))
    return made


def as_it_is(draft: Deviation) -> Deviation:
    return Deviation.objects.get(pk=draft.pk)


# --- run now ---------------------------------------------------------------------------------------------------------
def test_the_next_draft_goes_out_now_with_its_delay(automation: Automation, artist: User):
    first, _second = drafts(automation.workspace, 2)
    Automation.objects.update(jitter_min_seconds=60, jitter_max_seconds=60)
    run = run_now(automation, user=artist)
    assert (run.execution.kind, run.execution.outcome, run.execution.slot_at) == ("run_now", "scheduled", NOON)
    assert [work.deviation for work in run.works] == [first]
    draft = as_it_is(first)
    assert (draft.status, draft.publish_at) == ("scheduled", NOON + timedelta(seconds=60))
    assert draft.account == automation.account
    assert AuditEvent.objects.filter(verb="automation.run_now", user=artist, subject_id=automation.pk).exists()
    assert AuditEvent.objects.get(verb="deviation.scheduled").user == artist


def test_it_takes_as_many_as_a_slot_does_or_as_is_said(automation: Automation):
    ScheduleRuleFactory(automation=automation, works_per_slot=3)
    drafts(automation.workspace, 10)
    assert len(run_now(automation, user=None).works) == 3
    assert len(run_now(automation, user=None, count=2).works) == 2


@pytest.mark.parametrize("count", [0, -1, 101])
def test_a_number_out_of_range_is_refused(automation: Automation, count: int):
    error = assert_refused(FieldsRefused, run_now, automation, user=None, count=count)
    assert "100" in error.details["count"][0]


def test_several_runs_of_a_day_have_several_numbers_and_draws_of_their_own(automation: Automation):
    drafts(automation.workspace, 3)
    Automation.objects.update(jitter_max_seconds=3600)
    runs = [run_now(automation, user=None) for _time in range(3)]
    assert [run.execution.ordinal for run in runs] == [0, 1, 2]
    assert len({run.works[0].publish_at for run in runs}) == 3


def test_rules_conditions_and_holidays_do_not_keep_a_hand_back(automation: Automation):
    ScheduleRuleFactory(automation=automation, quiet_hours=24, min_drafts_left=50)
    BlackoutFactory(account=automation.account, from_date=NOON.date(), until_date=NOON.date())
    drafts(automation.workspace, 2)
    Automation.objects.update(enabled=False, account=None)
    assert run_now(automation, user=None).execution.outcome == "scheduled"
    DeviantArtAccountFactory(workspace=automation.workspace)
    Deviation.objects.update(account=automation.account)
    assert run_now(automation, user=None).execution.outcome == "scheduled"


def test_where_nothing_is_left_it_says_so_and_writes_it_down(automation: Automation):
    run = run_now(automation, user=None)
    assert (run.works, run.execution.outcome, run.execution.reason_code) == ([], "none_left", "none_left")
    assert history_of(automation).get() == run.execution


def test_what_was_run_by_hand_is_not_filled_again(automation: Automation):
    (draft, other) = drafts(automation.workspace, 2)
    Automation.objects.update(jitter_min_seconds=3600, jitter_max_seconds=3600)
    run_now(automation, user=None)
    cancel_schedule(as_it_is(draft), user=None)
    schedule_due()
    assert {as_it_is(each).status for each in (draft, other)} == {"draft"}


def test_a_deleted_automation_is_not_run(automation: Automation):
    drafts(automation.workspace, 1)
    delete_automation(automation, user=None)
    with pytest.raises(Gone):
        run_now(automation, user=None)


# --- undo ------------------------------------------------------------------------------------------------------------
def test_undoing_takes_back_what_is_still_scheduled_and_what_was_filled_in(automation: Automation, artist: User):
    DefaultValueFactory(automation=automation, field="description", value="No. {counter}")
    DefaultValueFactory(automation=automation, field="tags", value=["sketch"])
    (draft,) = drafts(automation.workspace, 1)
    run = run_now(automation, user=artist)
    edit_deviation(as_it_is(draft), user=artist, tags=["mine"])
    assert as_it_is(draft).description == "No. 1"
    undone = undo_run(automation, user=artist)
    assert (undone.run_id, undone.taken_back, undone.left) == (run.execution.run_id, [draft], [])
    draft = as_it_is(draft)
    assert (draft.status, draft.description, draft.account) == ("draft", None, None)
    assert draft.tags == ["mine"]  # somebody has changed it since
    run.execution.refresh_from_db()
    assert run.execution.outcome == "undone"
    assert ExecutionWork.objects.get().released_because == "undone"
    # Its number is free again.
    assert Automation.objects.get().counter == 1
    verbs = AuditEvent.objects.filter(subject_id=draft.pk, user=artist).values_list("verb", flat=True)
    assert {"deviation.cancelled", "deviation.edited"} <= set(verbs)


def test_what_went_out_or_was_moved_is_left_and_listed(automation: Automation, artist: User):
    out, moved, running, cancelled, still = drafts(automation.workspace, 5)
    run_now(automation, user=None, count=5)
    Deviation.objects.filter(pk=out.pk).update(status="published", published_at=NOON)
    Deviation.objects.filter(pk=running.pk).update(status="failed", reason_code="refused")
    schedule_deviation(as_it_is(moved), user=artist, scheduled_at=NOON + HOUR)
    cancel_schedule(as_it_is(cancelled), user=artist)
    undone = undo_run(automation, user=artist)
    assert undone.taken_back == [still]
    assert {left.deviation: left.code for left in undone.left} == {
        out: "published",
        moved: "moved",
        running: "on_its_way",
        cancelled: "taken_back",
    }
    assert as_it_is(moved).publish_at == NOON + HOUR
    assert Execution.objects.get().outcome == "scheduled"  # a part of it is


def test_a_slot_that_was_undone_is_not_filled_again(automation: Automation, set_clock: SetClock):
    ScheduleRuleFactory(automation=automation, time_of_day=time(13), works_per_slot=2)
    plan_anew([automation])
    first, second, third = drafts(automation.workspace, 3)
    set_clock(NOON + timedelta(minutes=1))
    schedule_due()
    assert [as_it_is(each).status for each in (first, second, third)] == ["scheduled", "scheduled", "draft"]
    undo_run(automation, user=None)
    set_clock(NOON + timedelta(minutes=12))
    schedule_due()
    assert {as_it_is(each).status for each in (first, second, third)} == {"draft"}
    assert Execution.objects.get().outcome == "undone"


def test_only_the_last_run_is_taken_back_and_then_the_one_before(automation: Automation):
    first, second = drafts(automation.workspace, 2)
    earlier, later = (run_now(automation, user=None) for _time in range(2))
    assert last_run_of(automation) == later.execution.run_id
    assert undo_run(automation, user=None).taken_back == [second]
    assert undo_run(automation, user=None).run_id == earlier.execution.run_id
    assert as_it_is(first).status == "draft"
    assert_refused(NothingToUndo, undo_run, automation, user=None)


def test_a_named_run_is_taken_back_once(automation: Automation):
    drafts(automation.workspace, 2)
    earlier, _later = (run_now(automation, user=None) for _time in range(2))
    undo_run(automation, user=None, run_id=earlier.execution.run_id)
    assert_refused(NothingToUndo, undo_run, automation, user=None, run_id=earlier.execution.run_id)


def test_a_run_of_another_automation_is_not_found(automation: Automation):
    other = AutomationFactory()
    drafts(other.workspace, 1)
    theirs = run_now(other, user=None)
    assert_refused(NothingToUndo, undo_run, automation, user=None, run_id=theirs.execution.run_id)


# --- history ---------------------------------------------------------------------------------------------------------
def test_the_history_has_the_latest_slot_first_with_its_works(automation: Automation, set_clock: SetClock):
    drafts(automation.workspace, 1)
    first = run_now(automation, user=None)
    set_clock(NOON + HOUR)
    second = run_now(automation, user=None)
    run_now(AutomationFactory(), user=None)
    assert [(each, len(each.works.all())) for each in history_of(automation)] == [
        (second.execution, 0),
        (first.execution, 1),
    ]
