"""Each way in which the scheduler of the earlier system got rules wrong, by the name of what is right."""

import threading
from datetime import UTC, datetime, time, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection

from accounts.models import DeviantArtAccount, User
from automations.errors import LastRule, Running
from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from automations.services.materialising import schedule_due
from automations.services.rules import edit_rule
from automations.services.saving import delete_automation, edit_automation
from automations.services.switching import switch_off, switch_on
from automations.services.testing import judge_minute
from deviations.models import Deviation
from deviations.services.drafting import edit_deviation
from deviations.services.scheduling import cancel_schedule
from tests.automations.conftest import SetClock
from tests.automations.ticking import (
    DAY,
    MINUTE,
    MONDAY,
    at,
    make_automation,
    make_drafts,
    outcomes,
    tick_through,
    times_of,
    works_by_rule,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]


@pytest.fixture(autouse=True)
def an_hour_ahead(settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600


@pytest.fixture(autouse=True)
def midnight(set_clock: SetClock) -> datetime:
    """Everything is made at the beginning of the Monday, on the wall in Berlin, where the artist lives."""
    moment = at(0) + timedelta(seconds=1)
    set_clock(moment)
    return moment


def daily(hour: int, minute: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "fixed_time", "time_of_day": time(hour, minute), **fields}


# --- fixed_time ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("offset", range(5))
def test_a_time_fires_once_whatever_the_minutes_on_which_ticks_come(
    account: DeviantArtAccount, set_clock: SetClock, offset: int
) -> None:
    """It was remembered nowhere that a time had fired: with ticks every five minutes each :00 and :05 fired twice."""
    make_drafts(account.workspace, 40, made_at=at(0))
    automation = make_automation(account, *(daily(9, minute) for minute in range(15)))
    tick_through(set_clock, at(7, 45 + offset), at(9, 30 + offset))
    assert times_of(automation) == [f"07 09:{minute:02}" for minute in range(15)]


def test_the_last_minutes_of_a_day_fire_like_all_others(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """Minutes since the time of day did not go on beyond midnight: 23:56 to 23:59 never fired."""
    make_drafts(account.workspace, 20, made_at=at(0))
    automation = make_automation(account, *(daily(23, minute) for minute in range(55, 60)), daily(0, 0), daily(0, 1))
    tick_through(set_clock, at(20), at(2, day=MONDAY + DAY))
    assert times_of(automation) == [*(f"07 23:{minute}" for minute in range(55, 60)), "08 00:00", "08 00:01"]


def test_a_rule_that_is_moved_by_some_minutes_does_not_fire_again_that_day(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    make_drafts(account.workspace, 5, made_at=at(0))
    automation = make_automation(account, daily(9))
    tick_through(set_clock, at(7, 59), at(9, 2), every=MINUTE)
    edit_rule(automation.rules.get(), user=None, time_of_day=time(9, 5))
    tick_through(set_clock, at(9, 2), at(9, 12), every=MINUTE)
    assert times_of(automation) == ["07 09:00"]
    tick_through(set_clock, at(8, day=MONDAY + DAY), at(9, day=MONDAY + DAY))
    assert times_of(automation) == ["07 09:00", "08 09:05"]


# --- fixed_interval --------------------------------------------------------------------------------------------------
def test_two_intervals_each_keep_a_clock_of_their_own(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """Both looked for the last run of *an* interval rule, so that the shorter one kept the longer from ever firing."""
    make_drafts(account.workspace, 60, made_at=at(0))
    automation = make_automation(
        account,
        {"type": "fixed_interval", "interval_minutes": 30},
        {"type": "fixed_interval", "interval_minutes": 120, "works_per_slot": 3},
    )
    short, long = automation.rules.order_by("interval_minutes")
    tick_through(set_clock, at(0, 1), at(7, 1))
    assert works_by_rule(automation) == {short.pk: 16, long.pk: 4 * 3}


def test_an_interval_is_counted_from_slot_to_slot_and_not_from_tick_to_tick(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """It was the first tick after the interval had passed: seven minutes were ten."""
    make_drafts(account.workspace, 40, made_at=at(0))
    automation = make_automation(account, {"type": "fixed_interval", "interval_minutes": 7})
    tick_through(set_clock, at(0, 1), at(1, 1))
    assert times_of(automation) == [f"07 {minute // 60:02}:{minute % 60:02}" for minute in range(7, 121, 7)]


# --- no drafts -------------------------------------------------------------------------------------------------------
def test_a_slot_that_finds_no_draft_is_one_row_and_is_filled_once_there_is_one(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """A run without drafts counted as none, so it was repeated every five minutes, with 288 rows a day."""
    automation = make_automation(account, {"type": "fixed_interval", "interval_minutes": 60})
    tick_through(set_clock, at(0, 1), at(5, 30))
    assert outcomes(automation) == {"none_left": 6}
    make_drafts(account.workspace, 3, made_at=at(5, 31))
    tick_through(set_clock, at(5, 31), at(5, 59), every=MINUTE)
    # Only what is ahead is filled: nothing is made up for in a heap.
    assert (times_of(automation), outcomes(automation)) == (["07 06:00"], {"none_left": 5, "scheduled": 1})


# --- daily_quota -----------------------------------------------------------------------------------------------------
def test_a_quota_is_spread_over_its_day(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """One for each tick: a quota of N was spent in the first 5 N minutes after midnight."""
    make_drafts(account.workspace, 30, made_at=at(0))
    automation = make_automation(account, {"type": "daily_quota", "quota": 8})
    tick_through(set_clock, at(0, 1), at(23, 59), every=20 * MINUTE)
    times = [time.fromisoformat(text[3:]) for text in times_of(automation) if text.startswith("07")]
    # Eight, each within its own eighth of the day.
    assert [each.hour // 3 for each in times] == list(range(8))


# --- the time zone ---------------------------------------------------------------------------------------------------
def test_times_and_days_of_the_week_are_those_of_the_artists_own_zone(
    artist: User, account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """Nobody could set a zone, so all times were UTC."""
    artist.time_zone = "Asia/Tokyo"
    artist.save()
    make_drafts(account.workspace, 10, made_at=at(0))
    # Sunday evening in New York and Monday morning in Tokyo are one moment.
    owner = make_automation(account, daily(9, weekdays=[0]), name="Of the artist's zone")
    own = make_automation(account, daily(19, weekdays=[6]), name="Of its own zone", zone="America/New_York")
    tick_through(set_clock, at(21, day=MONDAY - DAY), at(1, day=MONDAY + DAY), every=30 * MINUTE)
    monday = datetime(2030, 1, 7, tzinfo=UTC)
    for automation, zone in ((owner, "Asia/Tokyo"), (own, "America/New_York")):
        (work,) = ExecutionWork.objects.filter(execution__automation=automation)
        assert (work.publish_at, work.deviation.scheduled_zone) == (monday, zone)


# --- whose works they are --------------------------------------------------------------------------------------------
def test_each_rule_answers_for_its_own_works_alone(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """A run was of the first rule that fired, with the works of all: they ate a quota or put off an interval."""
    make_drafts(account.workspace, 40, made_at=at(0))
    automation = make_automation(
        account,
        {"type": "daily_quota", "quota": 3, "window_start": time(8), "window_end": time(11), "priority": 0},
        daily(9, works_per_slot=5, priority=1),
        {"type": "fixed_interval", "interval_minutes": 60, "window_start": time(9), "window_end": time(12)},
    )
    quota, fixed, interval = (
        automation.rules.get(type=kind) for kind in ("daily_quota", "fixed_time", "fixed_interval")
    )
    tick_through(set_clock, at(6), at(12))
    assert works_by_rule(automation) == {quota.pk: 3, fixed.pk: 5, interval.pk: 3}


# --- which draft -----------------------------------------------------------------------------------------------------
def test_chance_reaches_drafts_beyond_the_first_thousand(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """A thousand rows in no order were read, and one was drawn among these."""
    drafts = make_drafts(account.workspace, 2000, made_at=at(0))
    make_automation(account, daily(9, works_per_slot=60), method="random")
    tick_through(set_clock, at(8, 1), at(8, 1))
    place = {draft.pk: number for number, draft in enumerate(drafts)}
    taken = [place[pk] for pk in ExecutionWork.objects.values_list("deviation", flat=True)]
    assert len(taken) == 60
    # That a quarter is missed by sixty drafts comes once in ten million times.
    assert {number // 500 for number in taken} == {0, 1, 2, 3}


def test_a_draft_that_could_not_be_scheduled_goes_out_once_it_can(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """It kept the time that had been written into it first, and was never chosen again."""
    (untitled,) = make_drafts(account.workspace, 1, made_at=at(0) - DAY, title="")
    make_drafts(account.workspace, 3, made_at=at(0))
    automation = make_automation(account, daily(9), daily(10))
    set_clock(at(8, 1))
    schedule_due()
    untitled.refresh_from_db()
    assert (untitled.status, untitled.scheduled_at, times_of(automation)) == ("draft", None, ["07 09:00"])
    edit_deviation(untitled, user=None, title="At last")
    set_clock(at(9, 1))
    schedule_due()
    untitled.refresh_from_db()
    assert (untitled.status, untitled.publish_at) == ("scheduled", at(10))


def test_an_error_while_scheduling_costs_neither_the_draft_nor_the_slot(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    (draft,) = make_drafts(account.workspace, 1, made_at=at(0))
    automation = make_automation(account, daily(9))
    set_clock(at(8, 1))
    with patch("automations.services.acting.schedule_each", side_effect=RuntimeError("somewhere in the middle")):
        schedule_due()
    draft.refresh_from_db()
    assert (draft.status, draft.scheduled_at, outcomes(automation)) == ("draft", None, {})
    set_clock(at(8, 2))
    schedule_due()
    draft.refresh_from_db()
    assert (draft.status, draft.publish_at, outcomes(automation)) == ("scheduled", at(9), {"scheduled": 1})


def test_a_work_that_was_taken_back_or_has_failed_and_was_cancelled_is_a_draft_like_others(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """What ended as a draft kept its old time, and no automation took it, without a hint why."""
    (draft,) = make_drafts(account.workspace, 1, made_at=at(0))
    automation = make_automation(account, daily(9), daily(11), daily(13))
    set_clock(at(8, 1))
    schedule_due()
    draft.refresh_from_db()
    cancel_schedule(draft, user=None)
    set_clock(at(10, 1))
    schedule_due()
    draft.refresh_from_db()
    assert (draft.status, draft.publish_at) == ("scheduled", at(11))
    # As the publisher leaves one that DeviantArt refused.
    Deviation.objects.filter(pk=draft.pk).update(status="failed", reason_code="refused")
    draft.refresh_from_db()
    cancel_schedule(draft, user=None)
    set_clock(at(12, 1))
    schedule_due()
    assert times_of(automation)[-1] == "07 13:00"


# --- what is filled in -----------------------------------------------------------------------------------------------
def test_an_explicit_no_stays_where_only_what_was_left_alone_is_filled_in(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """No and 0 were taken for empty, and overwritten."""
    fields = {"allow_comments": True, "no_ai": True, "display_resolution": 3, "description": "From the automation"}
    said = {"allow_comments": False, "no_ai": False, "display_resolution": 0, "description": ""}
    (spoken,) = make_drafts(account.workspace, 1, made_at=at(0) - DAY, **said)
    (silent,) = make_drafts(account.workspace, 1, made_at=at(0))
    defaults = [{"field": name, "value": value, "mode": "untouched"} for name, value in fields.items()]
    make_automation(account, daily(9, works_per_slot=2), default_values=defaults)
    set_clock(at(8, 1))
    schedule_due()
    for draft, expected in ((spoken, said), (silent, fields)):
        draft.refresh_from_db()
        assert draft.status == "scheduled"
        assert {name: getattr(draft, name) for name in fields} == expected


def test_stash_only_reaches_the_works_whose_artist_left_it_open(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """It was for works that said nothing of it, and every work said something."""
    (silent,) = make_drafts(account.workspace, 1, made_at=at(0) - DAY)
    (public,) = make_drafts(account.workspace, 1, made_at=at(0), stash_only=False)
    make_automation(account, daily(9, works_per_slot=2), stash_only=True)
    set_clock(at(8, 1))
    schedule_due()
    silent.refresh_from_db()
    public.refresh_from_db()
    assert [(each.status, each.stash_only) for each in (silent, public)] == [("scheduled", True), ("scheduled", False)]


def test_a_work_goes_out_at_the_moment_of_its_slot_and_not_when_the_tick_came_by(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """The moment was that of the tick, with a delay on top that nobody could do without."""
    make_drafts(account.workspace, 2, made_at=at(0))
    exact = make_automation(account, daily(9))
    delayed = make_automation(account, daily(9), jitter_min_seconds=60, jitter_max_seconds=600)
    set_clock(at(8, 47))
    schedule_due()
    assert times_of(exact) == ["07 09:00"]
    work = ExecutionWork.objects.get(execution__automation=delayed)
    assert MINUTE <= work.publish_at - at(9) <= 10 * MINUTE


# --- several schedulers, and one that dies ---------------------------------------------------------------------------
def test_a_slot_that_one_replica_made_is_not_made_by_the_next(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """Each replica ran the same tick, and each made a post of the same slot. See also test_slots_once.py."""
    make_drafts(account.workspace, 9, made_at=at(0))
    automation = make_automation(account, daily(9))
    due = automation.rules.get().next_slot_at
    for second in (1, 2, 3):
        set_clock(at(8) + timedelta(seconds=second))
        # As the other one sees it, which read that row before.
        ScheduleRule.objects.update(next_slot_at=due)
        schedule_due()
    assert (times_of(automation), outcomes(automation)) == (["07 09:00"], {"scheduled": 1})


class Died(BaseException):
    """The process is gone: nothing catches it."""


def test_after_a_tick_that_died_an_automation_can_be_changed_and_deleted_at_once(
    account: DeviantArtAccount, set_clock: SetClock
) -> None:
    """A flag said that it was running; whoever died left it, and of one that was switched off nobody ever took it."""
    make_drafts(account.workspace, 2, made_at=at(0))
    automation = make_automation(account, daily(9))
    set_clock(at(8, 1))
    with patch("automations.services.acting.schedule_each", side_effect=Died), pytest.raises(Died):
        schedule_due()
    switch_off(automation, user=None)
    assert edit_automation(automation, user=None, name="Another name").name == "Another name"
    delete_automation(automation, user=None)
    assert not Automation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_while_an_automation_runs_it_can_be_neither_switched_nor_changed_nor_deleted(
    account: DeviantArtAccount, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changing and deleting asked whether it was running, switching did not."""
    make_drafts(account.workspace, 2, made_at=at(0))
    automation = make_automation(account, daily(9))
    rule = automation.rules.get()
    set_clock(at(8, 1))
    # Whoever asks is told after two seconds; here at once.
    monkeypatch.setattr("deviations.services.changing.LOCK_TIMEOUT", "50ms")
    is_running, may_end = threading.Event(), threading.Event()

    def run() -> None:
        """A tick that stays where it schedules the drafts."""

        def wait(*_args: Any, **_options: Any) -> Any:
            is_running.set()
            may_end.wait(60)
            raise Died

        _set_clock_here(at(8, 1))
        with patch("automations.services.acting.schedule_each", wait), pytest.raises(Died):
            schedule_due()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert is_running.wait(60)
        for attempt in (
            lambda: switch_off(automation, user=None),
            lambda: switch_on(automation, user=None),
            lambda: edit_automation(automation, user=None, name="Another name"),
            lambda: edit_rule(rule, user=None, enabled=False),
            lambda: delete_automation(automation, user=None),
        ):
            with pytest.raises(Running):
                attempt()
    finally:
        may_end.set()
        thread.join()
    assert switch_off(automation, user=None).enabled is False


def _set_clock_here(moment: datetime) -> None:
    """The clock of this thread's own connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('isekai.now', %s, false)", [moment.isoformat()])


# --- what could be said of rules -------------------------------------------------------------------------------------
def test_the_last_rule_of_an_automation_that_is_on_can_be_switched_off_no_more_than_deleted(
    account: DeviantArtAccount,
) -> None:
    """Deleting it was refused; switching it off went through, and left an automation that was on and did nothing."""
    rule = make_automation(account, daily(9)).rules.get()
    with pytest.raises(LastRule):
        edit_rule(rule, user=None, enabled=False)
    rule.refresh_from_db()
    assert rule.enabled


def test_a_filter_by_days_can_be_taken_back(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """What said *no days* was taken for what says nothing."""
    make_drafts(account.workspace, 3, made_at=at(0))
    automation = make_automation(account, daily(9, weekdays=[6]))
    edit_rule(automation.rules.get(), user=None, weekdays=None)
    set_clock(at(8, 1))
    schedule_due()
    assert times_of(automation) == ["07 09:00"]


def test_a_test_says_of_each_rule_whether_it_fires_and_why_not(account: DeviantArtAccount, set_clock: SetClock) -> None:
    """A test told what the automation says, and judged nothing."""
    (draft,) = make_drafts(account.workspace, 1, made_at=at(0))
    automation = make_automation(account, daily(9), daily(9, weekdays=[6], priority=1), daily(10, priority=2))
    judged = judge_minute(automation, at=at(9))
    fires, on_sundays, later = judged.rules
    assert (fires.fires, [take.draft for take in fires.decision.takes] if fires.decision else None) == (True, [draft])
    assert [bool(each.against) for each in (on_sundays, later)] == [True, True]
    draft.refresh_from_db()
    assert (draft.status, Execution.objects.count()) == ("draft", 0)
