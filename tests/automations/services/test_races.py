"""Two who make slots at once, and artists who hold drafts meanwhile, on connections of their own."""

from collections import Counter
from datetime import time, timedelta
from typing import Any

import pytest

from accounts.models import DeviantArtAccount
from automations.models import Automation, Execution, ExecutionWork
from automations.services.materialising import schedule_due
from automations.services.planning import plan_anew
from deviations.models import Deviation
from isekai import clock
from tests.deviations.races import at_once, beside, row_held
from tests.factories import (
    AutomationFactory,
    DeviantArtAccountFactory,
    ReadyDraftFactory,
    ScheduleRuleFactory,
)

MINUTE = timedelta(minutes=1)


@pytest.fixture
def hour_ahead(settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600


def soon() -> time:
    """In half an hour by the clock, as the races have no other."""
    return (clock.now() + 30 * MINUTE).time().replace(second=0, microsecond=0)


def waiting_automation(account: DeviantArtAccount, **fields: Any) -> Automation:
    """With a slot within the hour."""
    automation: Automation = AutomationFactory(workspace=account.workspace, account=account, zone="UTC", **fields)
    ScheduleRuleFactory(automation=automation, time_of_day=soon())
    plan_anew([automation])
    return automation


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sent", "hour_ahead")
def test_of_two_who_tick_at_once_only_one_makes_a_slot(account: DeviantArtAccount) -> None:
    for _round in range(6):
        automation = waiting_automation(account)
        for _number in range(3):
            ReadyDraftFactory(workspace=account.workspace)
        made = at_once(schedule_due, schedule_due)
        assert sorted(made) == [0, 1]
        assert Execution.objects.filter(automation=automation).count() == 1
        assert ExecutionWork.objects.filter(execution__automation=automation).count() == 1
        Automation.objects.all().delete()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sent", "hour_ahead")
def test_two_who_tick_at_once_give_many_automations_a_draft_each(account: DeviantArtAccount) -> None:
    others: list[DeviantArtAccount] = [DeviantArtAccountFactory() for _number in range(4)]
    automations = [waiting_automation(each) for each in (account, *others) for _number in range(4)]
    for each in (account, *others):
        for _number in range(4):
            ReadyDraftFactory(workspace=each.workspace)
    at_once(schedule_due, schedule_due, schedule_due)
    # What one of them held, the others have left to the next tick.
    schedule_due()
    works = Counter(ExecutionWork.objects.values_list("execution__automation", flat=True))
    assert works == {each.pk: 1 for each in automations}
    assert Deviation.objects.filter(status="scheduled").count() == 20
    assert set(Execution.objects.values_list("outcome", flat=True)) == {"scheduled"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sent", "hour_ahead")
def test_a_draft_that_somebody_holds_is_passed_over_without_waiting(account: DeviantArtAccount) -> None:
    waiting_automation(account)
    first, second = (ReadyDraftFactory(workspace=account.workspace) for _number in range(2))
    with row_held(first):
        assert beside(schedule_due).result(timeout=10) == 1
    second.refresh_from_db()
    assert second.status == "scheduled"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sent", "hour_ahead")
def test_where_the_only_draft_is_held_the_slot_is_filled_a_little_later(account: DeviantArtAccount) -> None:
    waiting_automation(account)
    draft = ReadyDraftFactory(workspace=account.workspace)
    with row_held(draft) as row:
        beside(schedule_due).result(timeout=10)
        assert Execution.objects.get().outcome == "none_left"
        row.updated_at = clock.now()
        row.save()
    schedule_due()
    draft.refresh_from_db()
    assert (draft.status, Execution.objects.get().outcome) == ("scheduled", "scheduled")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sent", "hour_ahead")
def test_two_who_fill_again_at_once_give_a_freed_slot_one_draft(account: DeviantArtAccount) -> None:
    for _round in range(4):
        automation = waiting_automation(account)
        schedule_due()
        for _number in range(3):
            ReadyDraftFactory(workspace=account.workspace)
        at_once(schedule_due, schedule_due)
        assert ExecutionWork.objects.filter(execution__automation=automation).count() == 1
        Automation.objects.all().delete()
        Deviation.objects.all().delete()
