from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import DeviantArtAccount
from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from automations.services.materialising import schedule_due
from automations.services.planning import plan_anew
from deviations.models import Deviation
from deviations.services.scheduling import cancel_schedule, publish_now, schedule_deviation
from deviations.services.trashing import trash_deviation
from tests.automations.conftest import SetClock
from tests.factories import AutomationFactory, BlackoutFactory, ReadyDraftFactory, ScheduleRuleFactory

DAY = date(2030, 1, 7)
HOUR = timedelta(hours=1)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


def at(hour: int, minute: int = 0) -> datetime:
    """That time in Berlin."""
    return datetime.combine(DAY, time(hour, minute), UTC) - HOUR


@pytest.fixture(autouse=True)
def an_hour_ahead(settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(workspace=account.workspace, account=account)


@pytest.fixture
def rule(automation: Automation) -> ScheduleRule:
    return ScheduleRuleFactory(automation=automation)


MakeSlot = Callable[[int], list[Deviation]]


@pytest.fixture
def make_slot(automation: Automation, rule: ScheduleRule, set_clock: SetClock) -> MakeSlot:
    """Makes so many drafts, the oldest first, and the slot of nine o'clock at half past eight."""

    def make(count: int) -> list[Deviation]:
        made: list[Deviation] = [ReadyDraftFactory(workspace=automation.workspace) for _number in range(count)]
        for number, draft in enumerate(made):
            Deviation.objects.filter(pk=draft.pk).update(created_at=at(0) - timedelta(days=count - number))
        set_clock(at(8, 30))
        plan_anew([automation])
        schedule_due()
        return made

    return make


def state_of(draft: Deviation) -> tuple[str, datetime | None]:
    draft.refresh_from_db()
    return draft.status, draft.publish_at


def released(draft: Deviation) -> str:
    return ExecutionWork.objects.filter(deviation=draft).order_by("-pk")[0].released_because


@pytest.mark.parametrize(
    ("take_back", "because"),
    [
        (lambda draft: cancel_schedule(draft, user=None), "cancelled"),
        (lambda draft: trash_deviation(draft, user=None), "cancelled"),
        (lambda draft: schedule_deviation(draft, user=None, scheduled_at=at(20)), "moved"),
        (lambda draft: publish_now(draft, user=None), "moved"),
    ],
)
def test_what_is_taken_back_from_a_coming_slot_frees_it_for_another_draft(
    make_slot: MakeSlot, set_clock: SetClock, take_back: Callable[[Deviation], object], because: str
) -> None:
    first, second = make_slot(2)
    assert state_of(first) == ("scheduled", at(9))
    set_clock(at(8, 40))
    take_back(first)
    schedule_due()
    assert state_of(second) == ("scheduled", at(9))
    assert released(first) == because
    execution = Execution.objects.get()
    assert execution.outcome == "scheduled"
    assert [work.deviation_id for work in execution.works.order_by("pk")] == [first.pk, second.pk]


def test_a_cancelled_work_is_not_taken_by_the_same_slot_again(make_slot: MakeSlot, set_clock: SetClock) -> None:
    (draft,) = make_slot(1)
    set_clock(at(8, 40))
    cancel_schedule(draft, user=None)
    for minute in range(41, 59):
        set_clock(at(8, minute))
        schedule_due()
    assert state_of(draft) == ("draft", None)
    execution = Execution.objects.get()
    assert (execution.outcome, execution.reason_code) == ("cancelled", "cancelled")
    set_clock(at(8, 30) + timedelta(days=1))
    schedule_due()
    assert state_of(draft) == ("scheduled", at(9) + timedelta(days=1)), "the next slot may have it"


def test_of_several_works_only_the_one_that_was_taken_back_is_replaced(
    automation: Automation, rule: ScheduleRule, make_slot: MakeSlot, set_clock: SetClock
) -> None:
    ScheduleRule.objects.filter(pk=rule.pk).update(works_per_slot=2)
    first, second, third, fourth = make_slot(4)
    set_clock(at(8, 40))
    cancel_schedule(first, user=None)
    schedule_due()
    states = [state_of(draft)[0] for draft in (first, second, third, fourth)]
    assert states == ["draft", "scheduled", "scheduled", "draft"]
    assert ExecutionWork.objects.filter(released_at__isnull=True).count() == 2


def test_a_slot_that_was_empty_is_filled_as_soon_as_there_is_a_draft(
    automation: Automation, make_slot: MakeSlot, set_clock: SetClock
) -> None:
    make_slot(0)
    assert Execution.objects.get().outcome == "none_left"
    set_clock(at(8, 35))
    schedule_due()
    draft = ReadyDraftFactory(workspace=automation.workspace)
    set_clock(at(8, 36))
    schedule_due()
    assert state_of(draft) == ("scheduled", at(9))
    assert Execution.objects.get().outcome == "scheduled"


def test_once_its_moment_has_come_an_empty_slot_stays_empty(
    automation: Automation, make_slot: MakeSlot, set_clock: SetClock
) -> None:
    make_slot(0)
    set_clock(at(9))
    draft = ReadyDraftFactory(workspace=automation.workspace)
    schedule_due()
    assert state_of(draft) == ("draft", None)
    assert Execution.objects.get().outcome == "none_left"


def test_an_empty_slot_is_looked_at_again_only_when_something_may_have_changed(
    automation: Automation, make_slot: MakeSlot, set_clock: SetClock
) -> None:
    make_slot(0)
    looks = []
    for minute in range(31, 60):
        set_clock(at(8, minute))
        schedule_due()
        looks.append(Execution.objects.get().looked_at)
    assert len(set(looks)) == 3, "every ten minutes"


def test_a_draft_that_was_open_is_taken_once_it_is_not(
    automation: Automation, make_slot: MakeSlot, set_clock: SetClock
) -> None:
    set_clock(at(8, 29))
    draft = ReadyDraftFactory(workspace=automation.workspace, opened_at=at(8, 29), updated_at=at(8))
    make_slot(0)
    assert state_of(draft) == ("draft", None)
    set_clock(at(8, 50))
    schedule_due()
    assert state_of(draft) == ("scheduled", at(9))


@pytest.mark.parametrize("what", ["off", "paused", "rule off", "blackout", "rule moved", "rule gone"])
def test_what_is_not_to_be_any_more_is_not_filled_again(
    automation: Automation, rule: ScheduleRule, make_slot: MakeSlot, set_clock: SetClock, what: str
) -> None:
    first, second = make_slot(2)
    set_clock(at(8, 40))
    match what:
        case "off":
            Automation.objects.update(enabled=False)
        case "paused":
            Automation.objects.update(paused_at=at(8, 40))
        case "rule off":
            ScheduleRule.objects.update(enabled=False, next_slot_at=None)
        case "blackout":
            BlackoutFactory(account=automation.account, from_date=DAY, until_date=DAY)
        case "rule moved":
            ScheduleRule.objects.update(time_of_day=time(12))
        case "rule gone":
            rule.delete()
    cancel_schedule(first, user=None)
    schedule_due()
    assert state_of(second) == ("draft", None)
    assert released(first) == "cancelled"
    if what != "rule gone":
        assert Execution.objects.get().outcome == "cancelled"


def test_a_work_that_was_cancelled_after_its_moment_frees_nothing(make_slot: MakeSlot, set_clock: SetClock) -> None:
    first, second = make_slot(2)
    set_clock(at(9, 1))
    cancel_schedule(first, user=None)
    schedule_due()
    assert state_of(second) == ("draft", None)
    assert ExecutionWork.objects.get(deviation=first).released_at is None
    set_clock(at(8, 30) + timedelta(days=1))
    schedule_due()
    assert state_of(first)[0] == "scheduled"
    assert [work.released_because for work in ExecutionWork.objects.filter(deviation=first).order_by("pk")] == [
        "taken_again",
        "",
    ]


def test_filling_again_asks_for_quiet_without_minding_its_own_works(
    automation: Automation, rule: ScheduleRule, make_slot: MakeSlot, set_clock: SetClock
) -> None:
    ScheduleRule.objects.update(works_per_slot=2, quiet_hours=5)
    first, _second, third = make_slot(3)
    set_clock(at(8, 40))
    cancel_schedule(first, user=None)
    schedule_due()
    assert state_of(third) == ("scheduled", at(9))


def test_what_was_undone_is_not_filled_again(make_slot: MakeSlot, set_clock: SetClock) -> None:
    first, second = make_slot(2)
    set_clock(at(8, 40))
    cancel_schedule(first, user=None)
    ExecutionWork.objects.update(released_at=at(8, 40), released_because="undone")
    Execution.objects.update(outcome="undone")
    schedule_due()
    assert state_of(second) == ("draft", None)
