"""A run by hand and its undo, beside another hand, a tick, and somebody who edits; on connections of their own."""

from functools import partial
from typing import Any

import pytest

from accounts.models import DeviantArtAccount
from automations.errors import NothingToUndo, VersionConflict
from automations.models import Automation, Execution, ExecutionWork
from automations.services.editing import RuleSaid, Said, edit_as_a_whole
from automations.services.materialising import schedule_due
from automations.services.running import run_now
from automations.services.undoing import Undone, undo_run
from deviations.models import Deviation
from isekai.ids import new_id
from tests.automations.services.test_races import waiting_automation
from tests.deviations.races import at_once, beside, row_held
from tests.factories import AutomationFactory, ReadyDraftFactory, ScheduleRuleFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]


@pytest.fixture(autouse=True)
def _an_hour_ahead(settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(
        workspace=account.workspace, account=account, jitter_min_seconds=3600, jitter_max_seconds=3600
    )


def drafts(automation: Automation, count: int) -> list[Deviation]:
    return [ReadyDraftFactory(workspace=automation.workspace) for _number in range(count)]


def test_two_hands_at_once_take_two_drafts_under_two_numbers(automation: Automation) -> None:
    drafts(automation, 3)
    runs = at_once(*[partial(run_now, automation, user=None)] * 2)
    assert {run.execution.ordinal for run in runs} == {0, 1}
    assert len({run.works[0].deviation_id for run in runs}) == 2
    assert ExecutionWork.objects.count() == 2


def test_a_hand_and_a_tick_at_once_never_take_the_same_draft(account: DeviantArtAccount) -> None:
    automation = waiting_automation(account)
    drafts(automation, 2)
    at_once(partial(run_now, automation, user=None), schedule_due)
    schedule_due()  # what the hand held was left to the next tick
    works = list(ExecutionWork.objects.values_list("deviation_id", flat=True))
    assert len(works) == len(set(works)) == 2
    assert set(Execution.objects.values_list("outcome", flat=True)) == {"scheduled"}


def test_of_two_who_undo_at_once_one_has_nothing_to_undo(automation: Automation) -> None:
    (draft,) = drafts(automation, 1)
    run = run_now(automation, user=None)
    undone = at_once(*[partial(undo_run, automation, user=None, run_id=run.execution.run_id)] * 2)
    (done,) = [each for each in undone if isinstance(each, Undone)]
    assert done.taken_back == [draft]
    assert sum(isinstance(each, NothingToUndo) for each in undone) == 1


def test_a_work_that_goes_out_while_it_is_undone_is_left_and_listed(automation: Automation) -> None:
    drafts(automation, 1)
    run_now(automation, user=None)
    work = Deviation.objects.get()
    with row_held(work) as row:
        waiting = beside(partial(undo_run, automation, user=None))
        row.status, row.published_at = "published", row.publish_at
        row.save()
    undone = waiting.result(timeout=10)
    assert (undone.taken_back, [left.code for left in undone.left]) == ([], ["published"])
    assert Execution.objects.get().outcome == "scheduled"


def test_of_two_pages_that_are_saved_at_once_one_is_told(automation: Automation) -> None:
    ScheduleRuleFactory(automation=automation)

    def save(name: str) -> Any:
        rules = [RuleSaid(new_id(), {"type": "cron", "cron": "0 9 * * *"})]
        return edit_as_a_whole(automation, Said({"name": name}, rules), user=None, version=1)

    results = at_once(partial(save, "One"), partial(save, "Other"))
    assert sum(isinstance(each, VersionConflict) for each in results) == 1
    (saved,) = [each for each in results if isinstance(each, Automation)]
    automation.refresh_from_db()
    assert (automation.name, automation.rules.count()) == (saved.name, 1)
