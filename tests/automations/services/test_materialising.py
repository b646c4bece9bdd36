from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import AuditEvent, DeviantArtAccount, Workspace
from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from automations.services.materialising import schedule_due
from automations.services.planning import plan_anew
from deviations.models import Deviation
from deviations.services.scheduling import cancel_schedule
from tests.automations.conftest import SetClock
from tests.factories import AutomationFactory, ReadyDraftFactory, ScheduleRuleFactory

# Berlin is an hour ahead of UTC, so that nine o'clock there is eight.
DAY = date(2030, 1, 7)  # a Monday
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


def at(hour: int, minute: int = 0, *, day: date = DAY) -> datetime:
    """That time in Berlin."""
    return datetime.combine(day, time(hour, minute), UTC) - HOUR


@pytest.fixture(autouse=True)
def an_hour_ahead(settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(workspace=account.workspace, account=account)


def rule_of(automation: Automation, **fields: Any) -> ScheduleRule:
    return ScheduleRuleFactory(automation=automation, **fields)


def drafts(workspace: Workspace, count: int, **fields: Any) -> list[Deviation]:
    """The oldest first."""
    made: list[Deviation] = [ReadyDraftFactory(workspace=workspace, **fields) for _number in range(count)]
    for number, draft in enumerate(made):
        Deviation.objects.filter(pk=draft.pk).update(created_at=at(0) - timedelta(days=count - number))
    return made


def executions(automation: Automation) -> list[tuple[date, int, str]]:
    rows = Execution.objects.filter(automation=automation).order_by("slot_at", "pk")
    return [(row.local_date, row.ordinal, row.outcome) for row in rows]


def test_an_hour_before_its_moment_a_slot_becomes_a_scheduled_work(automation: Automation, set_clock: SetClock) -> None:
    rule = rule_of(automation)
    first, second = drafts(automation.workspace, 2)
    set_clock(at(7, 59))
    plan_anew([automation])
    assert schedule_due() == 0
    set_clock(at(8, 0) + timedelta(seconds=1))
    assert schedule_due() == 1
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.publish_at, first.scheduled_zone) == ("scheduled", at(9), "Europe/Berlin")
    assert second.status == "draft"
    execution = Execution.objects.get()
    assert (execution.rule, execution.local_date, execution.ordinal) == (rule, DAY, 0)
    assert (execution.outcome, execution.slot_at) == ("scheduled", at(9))
    work = ExecutionWork.objects.get()
    assert (work.execution, work.deviation, work.publish_at) == (execution, first, at(9))
    event = AuditEvent.objects.get(subject_id=first.pk, verb="deviation.scheduled")
    assert (event.user, event.params["automation_id"]) == (None, str(automation.pk))
    rule.refresh_from_db()
    assert rule.next_slot_at == at(9) + timedelta(days=1)


def test_a_tick_that_comes_again_does_nothing_more(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation)
    drafts(automation.workspace, 3)
    set_clock(at(8, 30))
    plan_anew([automation])
    assert schedule_due() == 1
    for minute in range(31, 120):
        set_clock(at(8) + minute * MINUTE)
        assert schedule_due() == 0
    assert Deviation.objects.filter(status="scheduled").count() == 1


def test_a_cancelled_work_frees_its_slot_for_another_draft(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation)
    first, second = drafts(automation.workspace, 2)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    set_clock(at(8, 40))
    cancel_schedule(first, user=None)
    schedule_due()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status, second.publish_at) == ("draft", "scheduled", at(9))
    assert executions(automation) == [(DAY, 0, "scheduled")]
    released = ExecutionWork.objects.get(deviation=first)
    assert (released.released_because, released.released_at) == ("cancelled", at(8, 40))
