"""Each slot once, and each day what its rules say: whoever dies, comes late, comes twice, or sees a clock jump."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import count
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import override_settings
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from accounts.models import DeviantArtAccount
from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from automations.services.materialising import schedule_due
from automations.services.planning import plan_anew
from deviations.models import Deviation
from deviations.services.drafting import edit_deviation
from deviations.services.scheduling import cancel_schedule
from tests.automations.dying import Clock, Death, OtherBeat, monitoring, tick
from tests.automations.slots import oracle
from tests.automations.ticking import DAY, MINUTE, MONDAY, at, make_automation, make_drafts
from tests.factories import DeviantArtAccountFactory, UserFactory, workspace_of
from tests.unchanged import everything

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def an_hour_ahead(settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600


# --- a day with something of everything for a tick to do -------------------------------------------------------------
class Stage:
    """Three automations and a clock: at 8:20 of each day there are slots to make, to fill again and to give up."""

    TAG = "sketch"

    def __init__(self, account: DeviantArtAccount, clock: Clock) -> None:
        self.clock = clock
        self.account = account
        counted = [{"field": "title", "value": "No. {counter}", "mode": "always"}]
        # At 9:00 something is taken back; 9:10 and 9:15 are new.
        self.first = make_automation(account, *map(_daily, (9, 9, 9), (0, 10, 15)), default_values=counted)
        # At 8:55 there is nothing at first.
        self.empty = make_automation(account, _daily(8, 55), filter_tags=[self.TAG], name="Sketches")
        # Nobody was there in time for 7:30.
        self.late = make_automation(account, _daily(7, 30), catch_up_seconds=0, name="Late")
        self.automations = [self.first, self.empty, self.late]

    def prepare(self, day: date) -> None:
        """Up to 8:20 of that day."""
        make_drafts(self.account.workspace, 6, made_at=at(0, day=day))
        self.late.rules.update(next_slot_at=None)
        self.clock.move_to(at(8, 0, day=day) + 30 * SECOND)
        tick(self.clock)
        self.clock.move_to(at(8, 10, day=day))
        cancel_schedule(self._works_of(day).get(execution__slot_at=at(9, day=day)).deviation, user=None)
        (sketch,) = make_drafts(self.account.workspace, 1, made_at=self.clock.now)
        edit_deviation(sketch, user=None, tags=[self.TAG])
        self.late.rules.update(next_slot_at=at(7, 30, day=day))
        self.clock.move_to(at(8, 20, day=day))

    def assert_right(self, day: date) -> None:
        """Each slot of that day is there once, with one work that is scheduled for it, but for the one missed."""
        rows = Execution.objects.filter(local_date=day).order_by("slot_at")
        assert [(row.slot_at, row.outcome) for row in rows] == [
            (at(7, 30, day=day), "missed"),
            (at(8, 55, day=day), "scheduled"),
            (at(9, 0, day=day), "scheduled"),
            (at(9, 10, day=day), "scheduled"),
            (at(9, 15, day=day), "scheduled"),
        ]
        works = self._works_of(day).filter(released_at__isnull=True)
        assert sorted(work.deviation.publish_at for work in works if work.deviation.publish_at) == [
            row.slot_at for row in rows if row.outcome == "scheduled"
        ]
        assert self._works_of(day).count() == 5  # with the one that was taken back
        assert_nothing_is_half_done()

    def assert_counted_without_a_gap(self) -> None:
        numbers = ExecutionWork.objects.filter(execution__automation=self.first).order_by("counter")
        used = list(numbers.values_list("counter", flat=True))
        assert used == list(range(1, len(used) + 1))
        self.first.refresh_from_db()
        assert self.first.counter == len(used) + 1

    def _works_of(self, day: date) -> Any:
        return ExecutionWork.objects.filter(execution__local_date=day).select_related("deviation")


def _daily(hour: int, minute: int = 0) -> dict[str, Any]:
    return {"type": "fixed_time", "time_of_day": time(hour, minute)}


def assert_nothing_is_half_done() -> None:
    """Works are scheduled where an execution says so, and nowhere else."""
    promised = Counter(
        ExecutionWork.objects.filter(released_at__isnull=True).values_list("deviation", "deviation__publish_at")
    )
    scheduled = Deviation.objects.filter(status=Deviation.Status.SCHEDULED).values_list("pk", "publish_at")
    assert promised == Counter(scheduled)


@pytest.fixture
def clock(transactional_db: None) -> Iterator[Clock]:
    with Clock(at(0) + SECOND) as clock:
        yield clock


@pytest.fixture
def stage(clock: Clock, account: DeviantArtAccount) -> Stage:
    return Stage(account, clock)


# --- a death at each statement ---------------------------------------------------------------------------------------
def test_whoever_dies_at_any_statement_has_done_nothing_that_was_not_finished(stage: Stage) -> None:
    """Each death leaves what there was before the transaction in which it came."""
    stage.prepare(MONDAY)
    states, statement = [_promises()], 1
    while not tick(stage.clock, Death(statement=statement)):
        now = _promises()
        if now == states[-1]:
            statement += 1
        else:
            # What was finished before it stays. From here on all over again.
            states.append(now)
            statement = 1
    # What was taken back is let go, empty slots are filled, new slots are made.
    assert len(states) >= 3
    stage.assert_right(MONDAY)
    stage.assert_counted_without_a_gap()


@pytest.mark.parametrize("is_committed", [False, True], ids=["before", "after"])
def test_whoever_dies_at_a_commit_is_followed_by_one_who_does_the_rest(stage: Stage, is_committed: bool) -> None:
    stage.prepare(MONDAY)
    before = everything()
    deaths = 0
    for number in count(1):
        died = not tick(stage.clock, Death(commit=number, is_committed=is_committed))
        if not died:
            break
        deaths += 1
    assert deaths >= 2
    assert everything() != before
    stage.assert_right(MONDAY)
    stage.assert_counted_without_a_gap()


def _promises() -> list[Any]:
    """Everything that a tick writes."""
    return [
        list(Execution.objects.order_by("pk").values_list("pk", "outcome", "looked_at")),
        list(ExecutionWork.objects.order_by("pk").values_list("pk", "deviation", "released_because")),
        list(Deviation.objects.order_by("pk").values_list("pk", "status", "publish_at", "title", "version")),
        list(ScheduleRule.objects.order_by("pk").values_list("pk", "next_slot_at")),
        list(Automation.objects.order_by("pk").values_list("pk", "counter")),
    ]


# --- two beats -------------------------------------------------------------------------------------------------------
def test_a_second_beat_that_comes_in_between_any_two_statements_makes_no_slot_again(stage: Stage) -> None:
    """The second one runs until its end, or until it has to wait, at one statement after the other, a day for each."""
    with monitoring() as monitor:
        for number in count(1):
            day = MONDAY + number * DAY
            stage.prepare(day)
            other = OtherBeat(stage.clock)
            statements = count(1)

            def coming_in(
                execute: Callable[..., Any], *args: Any, place: int = number, at: Any = statements, beat: Any = other
            ) -> Any:
                if next(at) == place:
                    beat.come_in_between(monitor)
                return execute(*args)

            with connection.execute_wrapper(coming_in):
                schedule_due()
            has_come = next(statements) > number
            if has_come:
                other.join()
            # What the one left to the other is done at the latest by the next tick.
            tick(stage.clock)
            stage.assert_right(day)
            if not has_come:
                break
    assert number > 20
    stage.assert_counted_without_a_gap()


@pytest.mark.parametrize("beats", [2, 4])
def test_beats_that_begin_together_make_each_slot_once(stage: Stage, beats: int) -> None:
    for number in range(1, 4):
        day = MONDAY + number * DAY
        stage.prepare(day)
        others = [OtherBeat(stage.clock) for _ in range(beats)]
        for other in others:
            other.start()
        for other in others:
            other.join()
        tick(stage.clock)
        stage.assert_right(day)
    stage.assert_counted_without_a_gap()


# --- a clock that is set back ----------------------------------------------------------------------------------------
def test_a_slot_is_filled_again_though_the_clock_was_set_back_since_it_was_made(
    clock: Clock, account: DeviantArtAccount
) -> None:
    first, second, third = make_drafts(account.workspace, 3, made_at=at(0))
    make_automation(account, _daily(9))
    clock.move_to(at(8, 50))
    tick(clock)
    clock.move_to(at(8, 5))
    cancel_schedule(Deviation.objects.get(pk=first.pk), user=None)
    # Whoever lets go of the work dies before the slot is filled, and then the clock is right again.
    assert not tick(clock, Death(commit=1))
    clock.move_to(at(8, 51))
    tick(clock)
    second.refresh_from_db()
    assert (second.status, second.publish_at) == ("scheduled", at(9))
    clock.move_to(at(8, 5))
    cancel_schedule(second, user=None)
    tick(clock)
    third.refresh_from_db()
    assert (third.status, third.publish_at) == ("scheduled", at(9))
    assert Execution.objects.count() == 1


# --- whatever happens ------------------------------------------------------------------------------------------------
class Said:
    """A rule of some type, and what it says of each day by dateutil, which knows nothing of our slots."""

    def __init__(self, fields: Mapping[str, Any], on_the_wall: Callable[[date], Sequence[time]] | None = None) -> None:
        self.fields = {"works_per_slot": 1, **fields}
        self._on_the_wall = on_the_wall

    def __repr__(self) -> str:
        return f"Said({self.fields})"

    def moments_of(self, days: Sequence[date], zone: str) -> list[datetime] | None:
        """Of all of those days; None: they are drawn."""
        if self.fields["type"] == "fixed_interval":
            step = timedelta(minutes=self.fields["interval_minutes"])
            first = oracle.instant(self.fields["anchor_local"], zone)
            last = oracle.instant(datetime.combine(days[-1] + DAY, time()), zone)
            return [first + number * step for number in range(int((last - first) / step) + 1)]
        if self._on_the_wall is None:
            return None
        found = [[datetime.combine(day, each) for each in self._on_the_wall(day)] for day in days]
        moments = [oracle.instants(locals_, zone) for locals_ in found]
        if self.fields["type"] == "cron":
            # Two that clocks put on one moment are one.
            moments = [sorted(set(each)) for each in moments]
        return [moment for each in moments for moment in each]

    def works_on(self, day: date, zone: str) -> int:
        """How many slots a day has."""
        if self.fields["type"] == "daily_quota":
            return int(self.fields["quota"])
        if self.fields["type"] == "time_window":
            return 1
        start, end = (oracle.instant(datetime.combine(each, time()), zone) for each in (day, day + DAY))
        moments = self.moments_of([day - DAY, day, day + DAY], zone)
        assert moments is not None
        return sum(start <= moment < end for moment in moments)


TIMES = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
# Where clocks change at night, and also at noon and at the very ends of a day.
CHANGING = st.builds(time, st.integers(0, 3), st.sampled_from([0, 15, 30, 59]))


@st.composite
def rules(draw: st.DrawFn) -> Said:
    kind = draw(st.sampled_from(ScheduleRule.Type.values))
    works = {"works_per_slot": draw(st.sampled_from([1, 1, 1, 3]))}
    moment = draw(TIMES | CHANGING)
    match kind:
        case "fixed_time":
            weekdays = draw(st.none() | st.lists(st.integers(0, 6), min_size=4, unique=True))
            fires = {"time_of_day": moment, "weekdays": weekdays}
            return Said(
                {"type": kind, **fires, **works},
                lambda day: [moment] if weekdays is None or day.weekday() in weekdays else [],
            )
        case "weekday_slots":
            table = {day: sorted(draw(st.lists(TIMES | CHANGING, max_size=4, unique=True))) for day in range(7)}
            table[0] = table[0] or [moment]
            return Said({"type": kind, "week": table, **works}, lambda day: table[day.weekday()])
        case "cron":
            minute, step = draw(st.integers(0, 59)), draw(st.integers(2, 7))
            return Said(
                {"type": kind, "cron": f"{minute} */{step} * * *", **works},
                lambda _day: [time(hour, minute) for hour in range(0, 24, step)],
            )
        case "fixed_interval":
            interval = draw(st.sampled_from([90, 150, 240, 420]))
            anchor = datetime.combine(date(2029, 12, 31), moment)
            return Said({"type": kind, "interval_minutes": interval, "anchor_local": anchor, **works})
        case "daily_quota":
            return Said({"type": kind, "quota": draw(st.integers(1, 9))})
        case _:
            end = draw(st.sampled_from([None, time(23, 59)]))
            return Said({"type": kind, "window_start": min(moment, time(23, 30)), "window_end": end, **works})


@dataclass(frozen=True)
class Step:
    """So many minutes go by, back or forth; then somebody may take a work back, and one or two beats tick."""

    minutes: int
    beats: int
    death: Death | None
    takes_back: bool


@st.composite
def steps(draw: st.DrawFn) -> Step:
    return Step(
        minutes=draw(st.integers(1, 70) | st.integers(-120, 240)),
        beats=draw(st.sampled_from([0, 1, 1, 1, 2])),
        death=draw(
            st.none() | st.builds(Death, statement=st.integers(1, 12) | st.integers(1, 60)) | _deaths_at_commits()
        ),
        takes_back=draw(st.sampled_from([False, False, False, True])),
    )


def _deaths_at_commits() -> st.SearchStrategy[Death]:
    return st.builds(Death, commit=st.integers(1, 4), is_committed=st.booleans())


@cache
def _days_of(zone: str) -> list[date]:
    """Those of a year on which clocks change there, and an ordinary one."""
    year = datetime(2030, 1, 1), datetime(2031, 1, 1)  # noqa: DTZ001 - on the wall
    return [MONDAY, *(day.date() for day in oracle.uneven_days(zone, *year))]


@st.composite
def days(draw: st.DrawFn) -> tuple[str, date]:
    zone = draw(st.sampled_from(oracle.ZONES))
    return zone, draw(st.sampled_from(_days_of(zone)))


class Story:
    """What happened to the rules of an automation around one day, and what may have come of it."""

    # No slot is at such a second, so that none of them is just then.
    A_LITTLE = 30 * SECOND

    def __init__(self, zone: str, day: date, said: Sequence[Said], *, lead: int, catch_up: int) -> None:
        self.zone, self.day = zone, day
        self.lead, self.catch_up = timedelta(seconds=lead), timedelta(seconds=catch_up)
        self.starts_at = oracle.instant(datetime.combine(day - DAY, time(20)), zone) + self.A_LITTLE
        self.ends_at = oracle.instant(datetime.combine(day + DAY, time(6)), zone) + self.A_LITTLE
        self.clock = Clock(self.starts_at)
        # The moment of each tick, and whether it is certain that it did all there was to do.
        self.ticks: list[tuple[datetime, bool]] = []
        # How many ticks there had been when a work was last taken back, by the slot that it was for.
        self.taken_back: dict[int, int] = {}
        with self.clock:
            account = DeviantArtAccountFactory(workspace=workspace_of(UserFactory(time_zone=zone)))
            make_drafts(account.workspace, 250, made_at=self.starts_at - DAY)
            fields = [{**each.fields, "priority": number} for number, each in enumerate(said)]
            self.automation = make_automation(account, *fields, catch_up_seconds=catch_up)
            self.said = self._with_known_draws(said)

    def _with_known_draws(self, said: Sequence[Said]) -> dict[UUID, Said]:
        """What is drawn follows from the seed and the ids, which therefore are the same each time."""
        Automation.objects.update(seed=7)
        for number in range(len(said)):
            ScheduleRule.objects.filter(priority=number).update(id=UUID(int=number))
        self.automation.refresh_from_db()
        plan_anew([self.automation])
        return {UUID(int=number): each for number, each in enumerate(said)}

    def happens(self, plan: Sequence[Step]) -> None:
        with self.clock:
            for step in plan:
                now = self.clock.now + step.minutes * MINUTE
                if not self.starts_at <= now <= self.ends_at:
                    continue
                self.clock.move_to(now)
                if step.takes_back:
                    self._take_one_back()
                self._beat(step)
            # From here on all is well again, until the day is over.
            while self.clock.now < self.ends_at:
                self.clock.move_to(min(self.clock.now + 45 * MINUTE, self.ends_at))
                self._beat(Step(45, 1, None, takes_back=False))

    def _beat(self, step: Step) -> None:
        if not step.beats:
            return
        others = [OtherBeat(self.clock) for _ in range(step.beats - 1)]
        for other in others:
            other.start()
        lived = tick(self.clock, Death(**_as_drawn(step.death)) if step.death else None)
        for other in others:
            other.join()
        # What one of two left to the other, as that held it, is left to the next tick where the other did the same.
        self.ticks.append((self.clock.now, lived and not others))
        event(f"a beat {'lived' if lived else 'died'}")

    def _take_one_back(self) -> None:
        coming = ExecutionWork.objects.filter(
            execution__automation=self.automation, execution__slot_at__gt=self.clock.now, released_at__isnull=True
        )
        work = coming.filter(deviation__status=Deviation.Status.SCHEDULED).order_by("execution__slot_at", "pk").first()
        if work is not None:
            cancel_schedule(work.deviation, user=None)
            self.taken_back[work.execution_id] = len(self.ticks)
            event("a work was taken back")

    # --- what has to be true -----------------------------------------------------------------------------------------
    def assert_each_day_has_what_its_rules_say(self) -> None:
        rows = list(Execution.objects.filter(automation=self.automation).order_by("slot_at", "pk"))
        for rule_id, said in self.said.items():
            of_rule = [row for row in rows if row.rule_id == rule_id]
            made = sum(row.local_date == self.day for row in of_rule)
            assert made == said.works_on(self.day, self.zone), (said, [row.slot_at for row in of_rule])
            around = [self.day - DAY, self.day, self.day + DAY]
            moments = said.moments_of(around, self.zone)
            if moments is not None:
                expected = [each for each in moments if self.starts_at < each <= self.ends_at + self.lead]
                assert [row.slot_at for row in of_rule] == sorted(expected), said
            for row in of_rule:
                assert row.slot_at.astimezone(ZoneInfo(self.zone)).date() == row.local_date
        for row in rows:
            self._assert_right(row)
        assert_nothing_is_half_done()

    def _assert_right(self, row: Execution) -> None:
        assert row.rule_id is not None
        works = ExecutionWork.objects.filter(execution=row).order_by("pk")
        kept = [work for work in works if work.released_at is None]
        wanted = self.said[row.rule_id].fields["works_per_slot"]
        told = (self.said[row.rule_id], row.slot_at, row.outcome, self.ticks)
        may_be = self._outcomes_of(row)
        event(f"{row.outcome} of {' or '.join(sorted(may_be))}")
        if row.pk not in self.taken_back:
            assert row.outcome in may_be, told
            assert len(kept) == (wanted if row.outcome == "scheduled" else 0), told
            assert len(works) == len(kept), told
        else:
            assert row.outcome in {"scheduled", "cancelled"}, told
            assert len(kept) <= wanted, told
            if self._was_filled_again(row):
                assert (row.outcome, len(kept)) == ("scheduled", wanted), told
        for work in kept:
            # At its moment; what was made up for, at once.
            assert row.slot_at <= work.publish_at <= row.slot_at + self.catch_up, told

    def _outcomes_of(self, row: Execution) -> set[str]:
        """By the first tick for which the slot was due; and by those before it that may not have come so far."""
        found = set()
        for now, is_certain in self.ticks:
            if row.slot_at <= now + self.lead:
                found.add("missed" if row.slot_at < now - self.catch_up else "scheduled")
                if is_certain:
                    break
        return found

    def _was_filled_again(self, row: Execution) -> bool:
        """Whether there was a tick for sure between the moment of the taking back and that of the slot."""
        later = self.ticks[self.taken_back[row.pk] :]
        return any(is_certain and now < row.slot_at for now, is_certain in later)


def _as_drawn(death: Death) -> dict[str, Any]:
    """A death comes once; this one for a new one."""
    return {"statement": death.statement, "commit": death.commit, "is_committed": death.is_committed}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=days(),
    said=st.lists(rules(), min_size=1, max_size=3),
    plan=st.lists(steps(), min_size=4, max_size=16),
    lead=st.sampled_from([3600, 3600, 600]),
    catch_up=st.sampled_from([0, 600, 3600, 3600, 86400]),
)
def test_each_day_has_what_its_rules_say_whatever_happens(
    where: tuple[str, date], said: list[Said], plan: list[Step], lead: int, catch_up: int
) -> None:
    """A slot is missed only where nobody ticked from an hour before it until as long after it as it is made up for."""
    with override_settings(AUTOMATION_LEAD_SECONDS=lead):
        zone, day = where
        story = Story(zone, day, said, lead=lead, catch_up=catch_up)
        try:
            story.happens(plan)
            story.assert_each_day_has_what_its_rules_say()
        finally:
            _forget_everything()


def _forget_everything() -> None:
    """For the next example, which has the same tables."""
    tables = ", ".join(model._meta.db_table for model in (Automation, Deviation))
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {tables} CASCADE")
