"""The nights on which clocks change, one by one."""

from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automations.slots import day_span, first_instant_of, local_date_of, slots_of
from tests.automations.slots import oracle
from tests.automations.slots.making import SEED, at, local, moments, rule


@pytest.mark.parametrize(
    ("zone", "skipped", "goes_on"),
    [
        ("Europe/Berlin", "2030-03-31T02:00", "2030-03-31T01:00"),
        ("Europe/Berlin", "2030-03-31T02:30", "2030-03-31T01:00"),
        ("Europe/Berlin", "2030-03-31T02:59:59.5", "2030-03-31T01:00"),
        ("America/New_York", "2030-03-10T02:15", "2030-03-10T07:00"),
        # Half an hour is skipped.
        ("Australia/Lord_Howe", "2030-10-06T02:15", "2030-10-05T15:30"),
        # Midnight itself.
        ("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00"),
        ("America/Sao_Paulo", "2018-11-04T00:45", "2018-11-04T03:00"),
        # A whole day: Samoa went to the other side of the date line.
        ("Pacific/Apia", "2011-12-30T09:00", "2011-12-30T10:00"),
    ],
)
def test_a_time_that_clocks_skip_is_when_they_go_on(zone, skipped, goes_on):
    assert first_instant_of(local(skipped), zone) == at(goes_on)


@pytest.mark.parametrize(
    ("zone", "twice", "first"),
    [
        ("Europe/Berlin", "2030-10-27T02:30", "2030-10-27T00:30"),
        ("America/New_York", "2030-11-03T01:00", "2030-11-03T05:00"),
        ("Australia/Lord_Howe", "2030-04-07T01:45", "2030-04-06T14:45"),
        ("America/Sao_Paulo", "2018-02-17T23:30", "2018-02-18T01:30"),
        # Winter is the exception in Morocco: clocks go back for Ramadan.
        ("Africa/Casablanca", "2028-01-23T02:30", "2028-01-23T01:30"),
    ],
)
def test_a_time_that_comes_twice_is_the_first(zone, twice, first):
    assert first_instant_of(local(twice), zone) == at(first)


@settings(max_examples=300, deadline=None)
@given(
    zone=st.sampled_from(oracle.ZONES),
    one=st.datetimes(datetime(2009, 1, 1), datetime(2036, 1, 1)),  # noqa: DTZ001
    hours=st.integers(0, 60),
)
def test_a_later_time_is_never_an_earlier_instant(zone, one, hours):
    other = one.replace(hour=hours % 24)
    early, late = sorted((one, other))
    assert first_instant_of(early, zone) <= first_instant_of(late, zone)


@settings(max_examples=200, deadline=None)
@given(zone=st.sampled_from(oracle.ZONES), day=st.dates(date(2009, 1, 1), date(2036, 1, 1)))
def test_days_follow_each_other_without_a_gap(zone, day):
    start, end = day_span(day, zone)
    assert day_span(local_date_of(start, zone), zone)[0] == start
    assert day_span(day.replace(day=1), zone)[0] <= start <= end


@pytest.mark.parametrize("zone", oracle.ZONES)
def test_a_time_in_a_night_on_which_clocks_change_fires_once(zone):
    for day in oracle.uneven_days(zone):
        for hour in range(24):
            nightly = rule(time_of_day=time(hour, 30))
            after, until = day_span(day.date(), zone)
            slots = slots_of(nightly, after, until, zone)
            assert [(slot.local_date, slot.ordinal) for slot in slots] == [(day.date(), 0)]


def test_two_times_of_a_table_that_clocks_skip_are_two_slots():
    sunday = 6 * 1440
    week = rule("weekday_slots", week_minutes=(sunday + 135, sunday + 165), week_numbers=(0, 1))
    slots = slots_of(week, at("2030-03-31"), at("2030-04-01"), "Europe/Berlin")
    assert [(slot.ordinal, slot.at) for slot in slots] == [(0, at("2030-03-31T01:00")), (1, at("2030-03-31T01:00"))]


def test_all_that_a_cron_expression_matches_in_a_skipped_hour_is_one_slot():
    often = rule("cron", cron="*/15 2,3 * * *")
    slots = slots_of(often, at("2030-03-31"), at("2030-04-01"), "Europe/Berlin")
    assert moments(slots) == [
        "2030-03-31 01:00",
        "2030-03-31 01:15",
        "2030-03-31 01:30",
        "2030-03-31 01:45",
    ]


def test_what_a_cron_expression_matches_in_a_doubled_hour_is_once():
    often = rule("cron", cron="*/30 2 * * *")
    slots = slots_of(often, at("2030-10-26T22:00"), at("2030-10-27T23:00"), "Europe/Berlin")
    assert moments(slots) == ["2030-10-27 00:00", "2030-10-27 00:30"]


def test_an_interval_goes_on_in_real_minutes_over_a_change():
    hourly = rule("fixed_interval", interval_minutes=60, anchor_local=local("2030-03-01T00:00"))
    # A day of 23 hours and one of 25.
    for day, hours in (("2030-03-31", 23), ("2030-10-27", 25)):
        slots = slots_of(hourly, *day_span(local(day).date(), "Europe/Berlin"), "Europe/Berlin")
        assert [slot.ordinal for slot in slots] == list(range(hours))
        assert {slot.local_date for slot in slots} == {local(day).date()}


def test_a_window_that_clocks_skip_is_the_moment_at_which_they_go_on():
    narrow = rule("daily_quota", quota=2, window_start=time(2), window_end=time(3))
    slots = slots_of(narrow, at("2030-03-31"), at("2030-04-01"), "Europe/Berlin", seed=SEED)
    assert moments(slots) == ["2030-03-31 01:00", "2030-03-31 01:00"]


def test_a_day_that_is_skipped_has_no_quota():
    quota = rule("daily_quota", quota=2)
    slots = slots_of(quota, at("2011-12-29T10:00"), at("2012-01-01T10:00"), "Pacific/Apia", seed=SEED)
    assert [slot.local_date.day for slot in slots] == [29, 29, 31, 31, 1, 1]


def test_a_leap_day_has_its_slots():
    leap = rule("cron", cron="0 9 29 2 *")
    assert moments(slots_of(leap, at("2027-01-01"), at("2033-01-01"), "Asia/Tokyo")) == [
        "2028-02-29 00:00",
        "2032-02-29 00:00",
    ]


def test_a_slot_of_a_skipped_day_is_there_from_its_very_moment_on():
    nine = rule(time_of_day=time(9))
    goes_on = at("2011-12-30T10:00")
    slots = slots_of(nine, goes_on, goes_on + timedelta(days=1), "Pacific/Apia")
    assert [(slot.local_date.day, slot.at) for slot in slots] == [(30, goes_on), (31, goes_on + timedelta(hours=9))]
    assert slots_of(nine, goes_on - timedelta(hours=1), goes_on, "Pacific/Apia") == []
