from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import structlog
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, DeviantArtAccount, Workspace
from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from automations.services.materialising import schedule_due
from automations.services.planning import plan_anew
from automations.tasks import schedule_due as schedule_due_task
from deviations.models import Deviation
from deviations.services.scheduling import schedule_deviation
from isekai.celery import app
from isekai.ids import new_id
from tests.automations.conftest import SetClock
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    DeviantArtAccountFactory,
    ReadyDraftFactory,
    ScheduleRuleFactory,
)

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


# --- late ------------------------------------------------------------------------------------------------------------
def test_a_slot_that_is_a_little_late_goes_out_at_once(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation)
    (draft,) = drafts(automation.workspace, 1)
    set_clock(at(8))
    plan_anew([automation])
    set_clock(at(10))
    assert schedule_due() == 1
    draft.refresh_from_db()
    assert (draft.status, draft.publish_at) == ("scheduled", at(10))
    assert Execution.objects.get().slot_at == at(9)


def test_a_slot_that_is_later_than_the_limit_is_missed_and_nothing_goes_out(
    automation: Automation, set_clock: SetClock
) -> None:
    rule_of(automation)
    drafts(automation.workspace, 1)
    set_clock(at(8) - timedelta(days=1))
    plan_anew([automation])
    set_clock(at(10, 1))
    schedule_due()
    assert executions(automation) == [(DAY - timedelta(days=1), 0, "missed"), (DAY, 0, "missed")]
    assert not Deviation.objects.filter(status="scheduled").exists()
    set_clock(at(8) + timedelta(days=1))
    schedule_due()
    assert executions(automation)[-1] == (DAY + timedelta(days=1), 0, "scheduled")


def test_a_year_of_missed_slots_is_few_rows_and_one_that_stands_for_the_rest(
    automation: Automation, set_clock: SetClock
) -> None:
    rule = rule_of(automation, type="fixed_interval", interval_minutes=30, anchor_local=datetime(2029, 1, 1))  # noqa: DTZ001
    drafts(automation.workspace, 5)
    set_clock(at(9) - timedelta(days=365))
    plan_anew([automation])
    set_clock(at(9))
    schedule_due()
    missed = Execution.objects.filter(outcome="missed").order_by("slot_at")
    assert 2 * 48 - 3 <= missed.count() <= 2 * 48
    first = missed[0]
    assert (first.reason_code, first.slot_at) == ("missed_since", at(9) - timedelta(days=365))
    assert first.reason_params == {"until": (at(9) - timedelta(days=2)).isoformat()}
    # Of the last hour, and of the next.
    assert Execution.objects.filter(outcome="scheduled").count() == 5
    rule.refresh_from_db()
    assert rule.next_slot_at == at(10, 30)


def test_however_many_were_missed_as_few_queries_are_needed(automation: Automation, set_clock: SetClock) -> None:
    drafts(automation.workspace, 10)
    rule = rule_of(automation, type="fixed_interval", interval_minutes=30, anchor_local=datetime(2029, 1, 1))  # noqa: DTZ001
    counts = []
    for days in (1, 300):
        Execution.objects.all().delete()
        Deviation.objects.filter(status="scheduled").update(status="draft", publish_at=None, scheduled_at=None)
        set_clock(at(9))
        ScheduleRule.objects.filter(pk=rule.pk).update(next_slot_at=at(9) - timedelta(days=days))
        with CaptureQueriesContext(connection) as queries:
            schedule_due()
        counts.append(len(queries))
    assert counts[0] == counts[1]


# --- exactly once ----------------------------------------------------------------------------------------------------
def test_a_rule_that_is_moved_by_some_minutes_does_not_fire_a_second_time(
    automation: Automation, set_clock: SetClock
) -> None:
    rule = rule_of(automation)
    drafts(automation.workspace, 3)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    set_clock(at(9, 2))
    ScheduleRule.objects.filter(pk=rule.pk).update(time_of_day=time(9, 5))
    plan_anew([automation])
    schedule_due()
    assert executions(automation) == [(DAY, 0, "scheduled")]
    rule.refresh_from_db()
    assert rule.next_slot_at == at(9, 5) + timedelta(days=1)


def test_an_interval_that_is_changed_goes_on_although_its_slots_have_other_numbers(
    automation: Automation, set_clock: SetClock
) -> None:
    rule = rule_of(automation, type="fixed_interval", interval_minutes=30, anchor_local=datetime(2029, 1, 1))  # noqa: DTZ001
    drafts(automation.workspace, 60)
    set_clock(at(0))
    plan_anew([automation])
    for hour in range(13):
        set_clock(at(hour))
        schedule_due()
    ScheduleRule.objects.filter(pk=rule.pk).update(interval_minutes=60)
    plan_anew([automation])
    for hour in range(13, 23):
        set_clock(at(hour))
        assert schedule_due() == 1
        assert schedule_due() == 0


def test_what_is_paused_or_off_makes_nothing(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation)
    drafts(automation.workspace, 1)
    set_clock(at(8, 30))
    automation.paused_at = at(8)
    automation.save()
    plan_anew([automation])
    assert schedule_due() == 0
    automation.paused_at, automation.enabled = None, False
    automation.save()
    plan_anew([automation])
    assert schedule_due() == 0
    assert executions(automation) == []


def test_stopped_at_any_statement_the_tick_makes_each_slot_once(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation, works_per_slot=2)
    DefaultValueFactory(automation=automation, field="title", value="{title} {counter}", mode="always")
    drafts(automation.workspace, 9)
    set_clock(at(8, 30))
    plan_anew([automation])
    before = Deviation.objects.values_list("pk", "status", "title", "version")
    untouched = set(before)
    stopped = 0
    while True:

        def stop(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            nonlocal left
            if left == 0:
                raise OperationalError("the connection is lost")
            left -= 1
            return execute(sql, params, many, context)

        left = stopped
        try:
            with transaction.atomic(), connection.execute_wrapper(stop):
                schedule_due()
        except OperationalError:
            assert set(before.all()) == untouched
            assert executions(automation) == []
            stopped += 1
        else:
            break
    assert stopped > 15
    assert executions(automation) == [(DAY, 0, "scheduled")]
    assert sorted(Deviation.objects.filter(status="scheduled").values_list("title", flat=True)) == sorted(
        f"{title} {number}" for title, number in zip(_titles_of_oldest(2), (1, 2), strict=True)
    )
    automation.refresh_from_db()
    assert automation.counter == 3


def _titles_of_oldest(count: int) -> list[str]:
    titles = Deviation.objects.order_by("created_at").values_list("title", flat=True)[:count]
    return [title.rpartition(" ")[0] for title in titles]


def test_an_automation_that_cannot_be_computed_keeps_none_of_the_others_back(
    automation: Automation, set_clock: SetClock
) -> None:
    rule_of(automation)
    broken = AutomationFactory(workspace=automation.workspace, account=automation.account)
    rule = rule_of(broken, type="cron", cron="0 9 * * *")
    drafts(automation.workspace, 2)
    set_clock(at(8, 30))
    plan_anew([automation, broken])
    ScheduleRule.objects.filter(pk=rule.pk).update(cron="nothing that one could read")
    with structlog.testing.capture_logs() as logs:
        assert schedule_due() == 1
    assert executions(automation) == [(DAY, 0, "scheduled")]
    assert [log["id"] for log in logs if log["event"] == "one_failed"] == [str(rule.pk)]


# --- which drafts ----------------------------------------------------------------------------------------------------
def test_two_automations_of_a_workspace_take_different_drafts(automation: Automation, set_clock: SetClock) -> None:
    other = AutomationFactory(workspace=automation.workspace, account=automation.account, position=1)
    rule_of(automation)
    rule_of(other)
    first, second, _third = drafts(automation.workspace, 3)
    set_clock(at(8, 30))
    plan_anew([automation, other])
    assert schedule_due() == 2
    taken = ExecutionWork.objects.order_by("execution__automation__position").values_list("deviation_id", flat=True)
    assert list(taken) == [first.pk, second.pk]


def test_several_works_of_a_slot_each_have_a_delay_of_their_own(automation: Automation, set_clock: SetClock) -> None:
    automation.jitter_min_seconds, automation.jitter_max_seconds = 60, 3600
    automation.save()
    rule_of(automation, works_per_slot=4)
    drafts(automation.workspace, 4)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    works = Deviation.objects.filter(status="scheduled")
    delays = {work.publish_at - work.scheduled_at for work in works if work.publish_at and work.scheduled_at}
    assert len(delays) == 4
    assert all(timedelta(minutes=1) <= delay <= timedelta(hours=1) for delay in delays)
    assert {work.scheduled_at for work in works} == {at(9)}


def test_a_delay_does_not_lead_out_of_the_window_of_a_rule(automation: Automation, set_clock: SetClock) -> None:
    automation.jitter_min_seconds = automation.jitter_max_seconds = 3600
    automation.save()
    rule_of(automation, type="daily_quota", quota=6, window_start=time(9), window_end=time(9, 30))
    drafts(automation.workspace, 6)
    set_clock(at(8, 45))
    plan_anew([automation])
    assert schedule_due() == 6
    moments = list(Deviation.objects.filter(status="scheduled").values_list("publish_at", flat=True))
    assert all(at(9) <= moment < at(9, 30) for moment in moments if moment is not None)


def test_a_draft_that_names_no_account_goes_to_that_of_the_automation(
    automation: Automation, set_clock: SetClock
) -> None:
    DeviantArtAccountFactory(workspace=automation.workspace)
    rule_of(automation)
    (draft,) = drafts(automation.workspace, 1)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    draft.refresh_from_db()
    assert draft.account_id == automation.account_id
    assert ExecutionWork.objects.get().values_before == {
        "account_id": {"before": None, "written": str(automation.account_id)}
    }


def test_what_an_automation_writes_is_kept_with_what_was_there_before(
    automation: Automation, set_clock: SetClock
) -> None:
    automation.add_to_sale_queue, automation.price_preset_id = True, new_id()
    automation.save()
    DefaultValueFactory(automation=automation, field="title", value="Number {counter}", mode="always")
    DefaultValueFactory(automation=automation, field="allow_comments", value=True)
    rule_of(automation)
    (draft,) = drafts(automation.workspace, 1, title="A fox", allow_comments=False, account=automation.account)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    draft.refresh_from_db()
    assert (draft.title, draft.allow_comments, draft.add_watermark) == ("Number 1", False, True)
    work = ExecutionWork.objects.get()
    assert work.values_before["title"] == {"before": "A fox", "written": "Number 1"}
    assert set(work.values_before) == {"title", "add_watermark", "allow_free_download", "display_resolution"}
    assert (work.counter, work.price_preset_id) == (1, automation.price_preset_id)


def test_a_draft_that_would_be_refused_by_what_is_written_into_it_is_passed_over(
    automation: Automation, set_clock: SetClock
) -> None:
    """A title of a variable that has nothing to say for one of the drafts."""
    DefaultValueFactory(automation=automation, field="title", value="{filename.2}", mode="always")
    rule_of(automation)
    first, second = drafts(automation.workspace, 2)
    second.files.update(original_name="a fox.png")
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.version) == ("draft", 1)
    assert (second.status, second.title) == ("scheduled", "fox")


def test_where_every_draft_would_be_refused_the_slot_says_why(automation: Automation, set_clock: SetClock) -> None:
    DefaultValueFactory(automation=automation, field="title", value="{series}", mode="always")
    rule_of(automation)
    (draft,) = drafts(automation.workspace, 1)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    execution = Execution.objects.get()
    assert (execution.outcome, execution.reason_code) == ("not_taken", "refused")
    assert execution.reason_params == {"deviation_id": str(draft.pk), "code": "not_publishable", "works": 1}


def test_nothing_is_taken_for_an_account_that_is_not_connected(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation)
    drafts(automation.workspace, 1)
    set_clock(at(8, 30))
    plan_anew([automation])
    DeviantArtAccount.objects.update(state="disconnected", access_token="", refresh_token="", encryption_key=None)
    schedule_due()
    execution = Execution.objects.get()
    assert (execution.outcome, execution.reason_code) == ("not_taken", "account_disconnected")


# --- conditions ------------------------------------------------------------------------------------------------------
def test_only_if_nothing_went_out_in_the_last_hours(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation, quiet_hours=6)
    drafts(automation.workspace, 2)
    by_hand = ReadyDraftFactory(workspace=automation.workspace, account=automation.account, ready_at=None)
    set_clock(at(3))
    schedule_deviation(by_hand, user=None, scheduled_at=at(3, 1))
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    execution = Execution.objects.get()
    assert (execution.outcome, execution.reason_code) == ("condition", "not_quiet")
    assert execution.reason_params == {"hours": 6, "last_at": at(3, 1).isoformat()}
    set_clock(at(8, 45))
    Deviation.objects.filter(pk=by_hand.pk).update(status="published", published_at=at(3))
    schedule_due()
    assert executions(automation) == [(DAY, 0, "scheduled")], "six hours are over, and its moment has not come"


def test_of_the_slots_of_one_tick_each_knows_what_the_earlier_ones_do(
    automation: Automation, set_clock: SetClock
) -> None:
    rule_of(automation, type="daily_quota", quota=4, window_start=time(9), window_end=time(9, 30), quiet_hours=1)
    drafts(automation.workspace, 4)
    set_clock(at(8, 45))
    plan_anew([automation])
    schedule_due()
    outcomes = [outcome for _day, _ordinal, outcome in executions(automation)]
    assert outcomes == ["scheduled", "condition", "condition", "condition"]


def test_a_slot_that_found_no_draft_does_not_make_the_next_one_wait(
    automation: Automation, set_clock: SetClock
) -> None:
    automation.filter_tags = ["nowhere"]
    automation.save()
    rule_of(automation)
    other = AutomationFactory(workspace=automation.workspace, account=automation.account)
    rule_of(other, time_of_day=time(9, 10), quiet_hours=1)
    drafts(automation.workspace, 1)
    set_clock(at(8, 30))
    plan_anew([automation, other])
    schedule_due()
    assert executions(automation) == [(DAY, 0, "none_left")]
    assert executions(other) == [(DAY, 0, "scheduled")]


def test_at_most_so_many_a_week(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation, max_per_week=3)
    drafts(automation.workspace, 10)
    set_clock(at(0))
    plan_anew([automation])
    for day in range(9):
        set_clock(at(8, 30, day=DAY + timedelta(days=day)))
        schedule_due()
    outcomes = [outcome for _day, _ordinal, outcome in executions(automation)]
    assert outcomes == ["scheduled"] * 3 + ["condition"] * 4 + ["scheduled"] * 2
    assert Execution.objects.filter(outcome="condition").first().reason_params == {"most": 3}  # type: ignore[union-attr]


def test_only_while_so_many_drafts_are_left(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation, min_drafts_left=2)
    drafts(automation.workspace, 2)
    set_clock(at(8))
    plan_anew([automation])
    for day in range(2):
        set_clock(at(8, 30, day=DAY + timedelta(days=day)))
        schedule_due()
    assert [outcome for _day, _ordinal, outcome in executions(automation)] == ["scheduled", "condition"]
    assert Execution.objects.latest("pk").reason_params == {"least": 2}


def test_where_all_rules_have_to_hold_the_conditions_of_all_of_them_do(
    automation: Automation, set_clock: SetClock
) -> None:
    automation.combine = "all"
    automation.save()
    leading = rule_of(automation)
    rule_of(automation, type="time_window", time_of_day=None, window_start=time(8), min_drafts_left=5)
    drafts(automation.workspace, 1)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    execution = Execution.objects.get()
    assert (execution.rule, execution.outcome, execution.reason_code) == (leading, "condition", "few_left")


def test_slots_within_a_blackout_are_written_down_and_nothing_goes_out(
    automation: Automation, set_clock: SetClock
) -> None:
    automation.updated_at = at(0) - timedelta(days=5)
    automation.save()
    rule = rule_of(automation)
    ScheduleRule.objects.filter(pk=rule.pk).update(created_at=at(0) - timedelta(days=5))
    assert automation.account is not None
    BlackoutFactory(account=automation.account, from_date=DAY, until_date=DAY + timedelta(days=1))
    drafts(automation.workspace, 4)
    set_clock(at(0))
    plan_anew([automation])
    for day in range(4):
        set_clock(at(8, 30, day=DAY + timedelta(days=day)))
        schedule_due()
    assert executions(automation) == [
        (DAY, 0, "blackout"),
        (DAY + timedelta(days=1), 0, "blackout"),
        (DAY + timedelta(days=2), 0, "scheduled"),
        (DAY + timedelta(days=3), 0, "scheduled"),
    ]


def test_a_draft_whose_own_account_is_in_a_blackout_waits(automation: Automation, set_clock: SetClock) -> None:
    other = DeviantArtAccountFactory(workspace=automation.workspace)
    mine, automation.account = automation.account, None
    automation.save()
    BlackoutFactory(account=mine, from_date=DAY, until_date=DAY)
    rule_of(automation)
    drafts(automation.workspace, 1, account=mine)
    (draft,) = drafts(automation.workspace, 1, account=other)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due()
    assert ExecutionWork.objects.get().deviation_id == draft.pk
    BlackoutFactory(account=other, from_date=DAY + timedelta(days=1), until_date=DAY + timedelta(days=1))
    BlackoutFactory(account=mine, from_date=DAY + timedelta(days=1), until_date=DAY + timedelta(days=1))
    set_clock(at(8, 30, day=DAY + timedelta(days=1)))
    schedule_due()
    assert executions(automation)[-1][2] == "blackout"


# --- at what price ---------------------------------------------------------------------------------------------------
def test_many_automations_take_as_many_queries_as_few(set_clock: SetClock) -> None:
    set_clock(at(0))
    counts = []
    for number in (3, 12):
        Execution.objects.all().delete()
        for _number in range(number):
            automation = AutomationFactory(method="random", jitter_max_seconds=300)
            rule_of(automation, quiet_hours=1, max_per_week=5)
            DefaultValueFactory(automation=automation, field="no_ai", value=True)
            drafts(automation.workspace, 2)
            plan_anew([automation])
        set_clock(at(8, 30) + timedelta(days=number))
        with CaptureQueriesContext(connection) as queries:
            made = schedule_due()
        assert made >= number
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_task_makes_what_is_due(automation: Automation, set_clock: SetClock) -> None:
    rule_of(automation)
    drafts(automation.workspace, 1)
    set_clock(at(8, 30))
    plan_anew([automation])
    schedule_due_task()
    assert executions(automation) == [(DAY, 0, "scheduled")]
    assert app.conf.beat_schedule["schedule by automations"]["task"] == schedule_due_task.name
