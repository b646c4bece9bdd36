"""Slots are what dateutil's recurrence rules say they are, in twelve zones over three years."""

from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import pytest
from dateutil import rrule
from hypothesis import given, settings
from hypothesis import strategies as st

from automations.slots import Rule, slots_between, slots_of
from tests.automations.slots import oracle
from tests.automations.slots.making import SEED, plan, rule

MONDAY = 0
# Ordinary hours, and those in which clocks somewhere change.
TIMES = [(0, 0), (0, 30), (1, 15), (1, 59), (2, 0), (2, 30), (2, 45), (3, 0), (9, 0), (18, 5), (23, 59)]


def bounds(zone: str, first: datetime = oracle.FIRST, last: datetime = oracle.AFTER_LAST) -> tuple[datetime, datetime]:
    return oracle.instant(first, zone), oracle.instant(last, zone)


def found(rule: Rule, zone: str) -> list[datetime]:
    return [slot.at for slot in slots_of(rule, *bounds(zone), zone, seed=SEED)]


@pytest.mark.parametrize("zone", oracle.ZONES)
@pytest.mark.parametrize(("hour", "minute"), TIMES)
def test_a_time_of_day(zone, hour, minute):
    assert found(rule(time_of_day=time(hour, minute)), zone) == oracle.instants(
        oracle.daily(oracle.FIRST, hour, minute), zone
    )


@pytest.mark.parametrize("zone", oracle.ZONES)
def test_a_time_of_day_on_some_weekdays(zone):
    weekdays = {0, 2, 6}
    assert found(rule(time_of_day=time(2, 30), weekdays=frozenset(weekdays)), zone) == oracle.instants(
        oracle.daily(oracle.FIRST, 2, 30, weekdays=weekdays), zone
    )


@pytest.mark.parametrize("zone", oracle.ZONES)
def test_a_time_of_day_from_one_day_until_another(zone):
    valid = rule(time_of_day=time(2, 30), valid_from=date(2028, 2, 29), valid_until=date(2029, 2, 28))
    assert found(valid, zone) == oracle.instants(
        oracle.daily(datetime(2028, 2, 29), 2, 30, until=datetime(2029, 3, 1)),  # noqa: DTZ001
        zone,
    )


@pytest.mark.parametrize("zone", oracle.ZONES)
def test_a_table_of_the_week(zone):
    table = [(0, 9, 0), (0, 18, 30), (2, 2, 15), (5, 23, 59), (6, 0, 0), (6, 2, 30)]
    week = rule(
        "weekday_slots",
        week_minutes=tuple(day * 1440 + hour * 60 + minute for day, hour, minute in table),
        week_numbers=(0, 1, 0, 0, 0, 1),
    )
    said = rrule.rruleset()
    for day, hour, minute in table:
        said.rrule(oracle.daily(oracle.FIRST, hour, minute, weekdays=[day]))
    assert found(week, zone) == oracle.instants(said, zone)


@pytest.mark.parametrize("zone", oracle.ZONES)
@pytest.mark.parametrize("minutes", [195, 600, 36 * 60])
def test_an_interval_is_of_real_minutes(zone, minutes):
    anchor = datetime(2027, 12, 24, 18, 7)  # noqa: DTZ001
    after, until = bounds(zone)
    said = rrule.rrule(rrule.MINUTELY, interval=minutes, dtstart=oracle.instant(anchor, zone), until=until)
    expected = [moment for moment in said if after <= moment < until]
    assert found(rule("fixed_interval", interval_minutes=minutes, anchor_local=anchor), zone) == expected


@pytest.mark.parametrize("zone", oracle.ZONES)
@pytest.mark.parametrize("days", [1, 2, 7, 28])
def test_an_interval_of_whole_days_keeps_its_time_on_the_wall(zone, days):
    anchor = datetime(2028, 1, 3, 2, 30)  # noqa: DTZ001
    said = rrule.rrule(rrule.DAILY, interval=days, dtstart=anchor, until=oracle.AFTER_LAST)
    assert found(rule("fixed_interval", interval_minutes=days * 1440, anchor_local=anchor), zone) == oracle.instants(
        said, zone
    )


CRONS: list[tuple[str, dict[str, Any]]] = [
    ("30 2 * * *", {"byhour": 2, "byminute": 30}),
    ("0 9,18 * * MON-FRI", {"byhour": [9, 18], "byminute": 0, "byweekday": range(5)}),
    ("*/20 1-3 * * *", {"byhour": [1, 2, 3], "byminute": [0, 20, 40]}),
    ("15 */6 * * 0", {"byhour": [0, 6, 12, 18], "byminute": 15, "byweekday": 6}),
    ("0 12 29 2 *", {"byhour": 12, "byminute": 0, "bymonth": 2, "bymonthday": 29}),
    ("45 23 L * *", {"byhour": 23, "byminute": 45, "bymonthday": -1}),
    ("5 0 * 3,10 SUN#2", {"byhour": 0, "byminute": 5, "bymonth": [3, 10], "byweekday": rrule.SU(2)}),
]


@pytest.mark.parametrize("zone", oracle.ZONES)
@pytest.mark.parametrize(("expression", "said"), CRONS)
def test_a_cron_expression(zone, expression, said):
    frequency = rrule.MONTHLY if expression.endswith("SUN#2") else rrule.DAILY
    recurrence = rrule.rrule(frequency, dtstart=oracle.FIRST, until=oracle.AFTER_LAST, bysecond=0, **said)
    expected = sorted({oracle.instant(each, zone) for each in recurrence if each < oracle.AFTER_LAST})
    assert found(rule("cron", cron=expression), zone) == expected


@pytest.mark.parametrize("zone", oracle.ZONES)
@pytest.mark.parametrize(
    ("start", "end", "quota"), [(None, None, 3), (time(9), time(18), 4), (time(1), time(4), 2), (time(22), None, 5)]
)
def test_a_quota_is_spread_over_its_window_and_never_spent_after_midnight(zone, start, end, quota):
    spread = rule("daily_quota", quota=quota, window_start=start, window_end=end, weekdays=frozenset({0, 6}))
    by_day: dict[date, list[datetime]] = {}
    for slot in slots_of(spread, *bounds(zone), zone, seed=SEED):
        by_day.setdefault(slot.local_date, []).append(slot.at)
    days = list(oracle.daily(oracle.FIRST, 0, 0, weekdays=[0, 6]))
    assert list(by_day) == [day.date() for day in days]
    for day in days:
        opens = oracle.instant(datetime.combine(day, start or time()), zone)
        closes = oracle.instant(datetime.combine(day + timedelta(days=not end), end or time()), zone)
        share = (closes - opens) / quota
        assert len(by_day[day.date()]) == quota
        for number, moment in enumerate(by_day[day.date()]):
            assert opens + number * share <= moment < opens + (number + 1) * share
        for earlier, later in pairwise(by_day[day.date()]):
            assert later - earlier > share / 2 - timedelta(seconds=1)


@pytest.mark.parametrize("zone", oracle.ZONES)
def test_some_time_in_a_window_is_once_a_day_and_anywhere_in_it(zone):
    window = rule("time_window", window_start=time(14), window_end=time(20))
    slots = slots_of(window, *bounds(zone), zone, seed=SEED)
    days = list(oracle.daily(oracle.FIRST, 14, 0))
    assert [slot.local_date for slot in slots] == [day.date() for day in days]
    passed = [slot.at - oracle.instant(day, zone) for slot, day in zip(slots, days, strict=True)]
    assert all(timedelta() <= each < timedelta(hours=6) for each in passed)
    # Each hour of the six has its share of 1096 days: 183 ± 6 standard deviations.
    by_hour = [sum(each // timedelta(hours=1) == hour for each in passed) for hour in range(6)]
    assert all(109 <= count <= 257 for count in by_hour)


@pytest.mark.parametrize("zone", oracle.ZONES)
def test_a_union_has_the_slots_of_each_rule_in_order(zone):
    both = plan(
        rule(number=1, time_of_day=time(9)),
        rule("cron", number=2, cron="30 2,18 * * 6"),
        zone=zone,
    )
    said = rrule.rruleset()
    said.rrule(oracle.daily(oracle.FIRST, 9, 0))
    for hour in (2, 18):
        said.rrule(oracle.daily(oracle.FIRST, hour, 30, weekdays=[5]))
    assert [slot.at for slot in slots_between(both, *bounds(zone))] == oracle.instants(said, zone)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(oracle.ZONES),
    at=st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    weekdays=st.none() | st.frozensets(st.integers(0, 6), min_size=1),
    first=st.dates(date(2028, 1, 1), date(2030, 11, 1)),
    days=st.integers(1, 60),
)
def test_any_time_of_day_over_any_days(zone, at, weekdays, first, days):
    start = datetime.combine(first, time())
    end = start + timedelta(days=days)
    slots = slots_of(rule(time_of_day=at, weekdays=weekdays), *bounds(zone, start, end), zone)
    said = oracle.daily(start, at.hour, at.minute, until=end, weekdays=weekdays)
    assert [slot.at for slot in slots] == oracle.instants(said, zone)
    assert [slot.local_date for slot in slots] == [each.date() for each in said]


def test_changes_of_clocks_and_a_leap_day_are_among_what_was_compared():
    uneven = {zone: len(oracle.uneven_days(zone)) for zone in oracle.ZONES}
    assert {zone for zone, count in uneven.items() if count >= 6} == {
        "Africa/Casablanca",
        "America/New_York",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Europe/Berlin",
        "Pacific/Chatham",
    }
    assert oracle.FIRST < datetime(2028, 2, 29) < oracle.AFTER_LAST  # noqa: DTZ001
