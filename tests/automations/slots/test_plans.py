"""Rules together: their union and their meeting, blackouts, and a change of zone."""

from datetime import date, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automations.slots import (
    MOVED_AT_MOST_DAYS,
    BlackoutRange,
    Slot,
    blacked_out,
    moves,
    next_slot,
    slots_between,
    slots_of,
    why_not_at,
)
from automations.slots.plans import leading_rule
from tests.automations.slots import oracle
from tests.automations.slots.making import at, blackout, moments, plan, rule

WEEK = (at("2030-01-07"), at("2030-01-14"))  # from a Monday
NINE = rule(number=1, time_of_day=time(9))
WEEKDAYS = frozenset(range(5))


def test_each_rule_of_a_union_fires_by_itself():
    both = plan(NINE, rule(number=2, time_of_day=time(9), weekdays=frozenset({6})))
    assert moments(slots_between(both, *WEEK)) == [
        *(f"2030-01-{day:02} 09:00" for day in range(7, 14)),
        "2030-01-13 09:00",
    ]


def test_rules_at_one_moment_are_in_order_of_priority():
    both = plan(rule(number=1, time_of_day=time(9), priority=5), rule(number=2, time_of_day=time(9), priority=1))
    assert [slot.rule_id.int for slot in slots_between(both, at("2030-01-07"), at("2030-01-08"))] == [2, 1]


def test_a_plan_is_bounded_by_its_own_days():
    bounded = plan(NINE, valid_from=date(2030, 1, 9), valid_until=date(2030, 1, 10))
    assert moments(slots_between(bounded, *WEEK)) == ["2030-01-09 09:00", "2030-01-10 09:00"]


def test_times_hold_together_with_weekdays_of_another_rule():
    meeting = plan(
        rule(number=1, time_of_day=time(9)),
        rule("cron", number=2, cron="*/30 * * * MON,WED"),
        combine="all",
    )
    assert moments(slots_between(meeting, *WEEK)) == ["2030-01-07 09:00", "2030-01-09 09:00"]


def test_moments_hold_together_with_a_window_and_a_quota():
    hourly = rule("cron", number=3, cron="0 * * * *")
    window = rule("time_window", number=1, window_start=time(14), window_end=time(20), weekdays=WEEKDAYS)
    quota = rule("daily_quota", number=2, quota=2)
    day = (at("2030-01-07"), at("2030-01-08"))
    assert len(slots_between(plan(window, hourly, combine="all"), *day)) == 6
    assert moments(slots_between(plan(window, quota, hourly, combine="all"), *day)) == [
        "2030-01-07 14:00",
        "2030-01-07 15:00",
    ]
    saturday = (at("2030-01-12"), at("2030-01-13"))
    assert slots_between(plan(window, hourly, combine="all"), *saturday) == []


def test_windows_that_have_to_hold_together_are_drawn_where_they_overlap():
    meeting = plan(
        rule("time_window", number=1, window_start=time(8), window_end=time(15)),
        rule("daily_quota", number=2, quota=3, window_start=time(14), window_end=time(22)),
        combine="all",
    )
    slots = slots_between(meeting, at("2030-01-01"), at("2031-01-01"))
    assert len(slots) == 365
    assert {slot.at.hour for slot in slots} == {14}


def test_quotas_that_have_to_hold_together_are_the_smaller_one():
    meeting = plan(rule("daily_quota", number=1, quota=3), rule("daily_quota", number=2, quota=2), combine="all")
    assert len(slots_between(meeting, *WEEK)) == 14


@pytest.mark.parametrize(
    "other",
    [
        rule("time_window", number=2, window_start=time(14), window_end=time(20)),
        rule(number=2, time_of_day=time(10)),
        rule(number=2, time_of_day=time(9), valid_until=date(2029, 1, 1)),
    ],
)
def test_rules_that_never_hold_together_have_no_slot(other):
    meeting = plan(NINE, other, combine="all")
    assert slots_between(meeting, *WEEK) == []
    assert next_slot(meeting, WEEK[0]) is None


def test_windows_that_do_not_overlap_have_no_slot():
    meeting = plan(
        rule("time_window", number=1, window_start=time(8), window_end=time(10)),
        rule("time_window", number=2, window_start=time(10), window_end=time(12)),
        combine="all",
    )
    assert slots_between(meeting, *WEEK) == []


def test_where_all_have_to_hold_the_slots_are_of_one_rule():
    quota, nine, ten = (
        rule("daily_quota", number=1, quota=5),
        rule(number=2, time_of_day=time(9), priority=2),
        rule("cron", number=3, cron="0 9 * * *", priority=1),
    )
    assert leading_rule([quota, nine, ten]) == ten
    meeting = plan(quota, nine, ten, combine="all")
    assert {slot.rule_id for slot in slots_between(meeting, *WEEK)} == {ten.id}
    assert next_slot(meeting, WEEK[0], rule_id=ten.id) is not None
    assert next_slot(meeting, WEEK[0], rule_id=nine.id) is None


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(oracle.ZONES),
    times=st.lists(st.sampled_from([time(1, 30), time(2, 30), time(9)]), min_size=2, max_size=2),
    weekdays=st.lists(st.none() | st.frozensets(st.integers(0, 6), min_size=1), min_size=2, max_size=2),
)
def test_the_meeting_of_times_is_the_intersection_of_their_slots(zone, times, weekdays):
    span = (at("2030-03-01"), at("2030-04-15"))
    each = [rule(number=number, time_of_day=times[number - 1], weekdays=weekdays[number - 1]) for number in (1, 2)]
    alone = [{slot.at for slot in slots_of(one, *span, zone)} for one in each]
    met = slots_between(plan(*each, zone=zone, combine="all"), *span)
    assert [slot.at for slot in met] == sorted(alone[0] & alone[1])


def test_days_of_a_blackout_are_skipped():
    resting = plan(NINE, blackouts=(blackout("2030-01-08", "2030-01-11"),))
    assert moments(slots_between(resting, *WEEK)) == [f"2030-01-{day:02} 09:00" for day in (7, 12, 13)]
    assert moments(blacked_out(resting, *WEEK)) == [f"2030-01-{day:02} 09:00" for day in (8, 9, 10, 11)]


def test_a_blackout_is_on_the_days_of_the_wall():
    resting = plan(
        rule(time_of_day=time(23, 30)), zone="America/New_York", blackouts=(blackout("2030-01-08", "2030-01-08"),)
    )
    # 23:30 in New York is the next day in UTC.
    assert moments(slots_between(resting, at("2030-01-08"), at("2030-01-11"))) == [
        "2030-01-08 04:30",
        "2030-01-10 04:30",
    ]


def test_a_slot_that_is_moved_goes_to_the_next_one_and_stays_itself():
    moving = plan(NINE, blackouts=(blackout("2030-01-08", "2030-01-08", "move"),))
    slots = slots_between(moving, *WEEK)
    assert moments(slots) == [f"2030-01-{day:02} 09:00" for day in (7, 9, 9, 10, 11, 12, 13)]
    moved = [slot for slot in slots if slot.moved_from]
    assert [(slot.local_date, slot.moved_from) for slot in moved] == [(date(2030, 1, 8), at("2030-01-08T09:00"))]
    assert blacked_out(moving, *WEEK) == []


def test_moved_slots_come_one_with_each_that_follows_and_not_in_a_heap():
    moving = plan(NINE, blackouts=(blackout("2030-01-08", "2030-01-10", "move"),))
    slots = slots_between(moving, *WEEK)
    assert moments(slots) == [f"2030-01-{day:02} 09:00" for day in (7, 11, 11, 12, 12, 13, 13)]
    assert [slot.local_date.day for slot in slots if slot.moved_from] == [8, 9, 10]


def test_what_moves_is_found_by_who_asks_long_after_the_blackout():
    monthly = plan(rule("cron", cron="0 9 1 * *"), blackouts=(blackout("2030-01-01", "2030-01-02", "move"),))
    moved = next_slot(monthly, at("2030-01-31"))
    assert moved is not None
    assert len(slots_between(monthly, at("2030-01-31"), at("2030-02-02"))) == 2
    assert {slot.local_date.month for slot in slots_between(monthly, moved.at, at("2030-02-02"))} == {1, 2}


def test_a_rule_may_say_otherwise_than_the_blackout():
    days = (blackout("2030-01-08", "2030-01-08", "move"),)
    skipping = plan(rule(time_of_day=time(9), on_blackout="skip"), blackouts=days)
    assert len(slots_between(skipping, *WEEK)) == 6
    moving = plan(rule(time_of_day=time(9), on_blackout="move"), blackouts=(blackout("2030-01-08", "2030-01-08"),))
    assert len(slots_between(moving, *WEEK)) == 7


def test_nothing_is_moved_into_another_blackout():
    moving = plan(NINE, blackouts=(blackout("2030-01-08", "2030-01-08", "move"), blackout("2030-01-09", "2030-01-10")))
    assert moments(slots_between(moving, *WEEK)) == [f"2030-01-{day:02} 09:00" for day in (7, 11, 11, 12, 13)]
    apart = plan(NINE, blackouts=(blackout("2030-01-08", "2030-01-08", "move"), blackout("2030-01-10", "2030-01-10")))
    assert [slot.at.day for slot in slots_between(apart, *WEEK)] == [7, 9, 9, 11, 12, 13]


def test_a_slot_that_finds_no_place_in_time_falls_away():
    yearly = plan(rule("cron", cron="0 9 1 1 *"), blackouts=(blackout("2030-01-01", "2030-01-01", "move"),))
    assert slots_between(yearly, at("2030-01-01"), at("2030-12-31")) == []
    assert moments(blacked_out(yearly, at("2030-01-01"), at("2030-12-31"))) == ["2030-01-01 09:00"]
    assert MOVED_AT_MOST_DAYS < 365


@settings(max_examples=80, deadline=None)
@given(
    first=st.dates(date(2030, 3, 1), date(2030, 4, 1)),
    days=st.integers(0, 20),
    handling=st.sampled_from(["skip", "move"]),
    zone=st.sampled_from(oracle.ZONES),
)
def test_no_slot_is_within_a_blackout_and_none_is_lost(first, days, handling, zone):
    rested = BlackoutRange(first, first + timedelta(days=days), handling)
    span = (at("2030-02-01"), at("2030-08-01"))
    two = (rule(number=1, time_of_day=time(12)), rule("daily_quota", number=2, quota=2))
    free = slots_between(plan(*two, zone=zone), *span)
    kept = slots_between(plan(*two, zone=zone, blackouts=(rested,)), *span)
    gone = blacked_out(plan(*two, zone=zone, blackouts=(rested,)), *span)
    black = {slot.key for slot in free if slot.local_date in rested}
    assert {slot.key for slot in kept} | {slot.key for slot in gone} == {slot.key for slot in free}
    assert {slot.key for slot in gone} == (black if handling == "skip" else set())
    assert {slot.key for slot in kept if slot.moved_from} == (black if handling == "move" else set())
    spent = [slot for slot in kept if slot.moved_from]
    for one, other in pairwise(sorted(spent, key=lambda slot: (slot.rule_id, slot.at))):
        assert one.rule_id != other.rule_id or one.at < other.at


def test_a_change_of_zone_shows_what_moves_before_it_moves():
    posting = plan(NINE, zone="Europe/Berlin")
    moved = moves(posting, "America/New_York", at("2030-01-07T12:00"), at("2030-01-09T12:00"))
    pairs = [
        (f"{move.before.at:%d %H:%M}", f"{move.after.at:%d %H:%M}") for move in moved if move.before and move.after
    ]
    assert pairs == [("07 08:00", "07 14:00"), ("08 08:00", "08 14:00"), ("09 08:00", "09 14:00")]
    assert len(moved) == len(pairs)
    assert moves(posting, "Europe/Paris", at("2030-01-07"), at("2030-02-01")) == []


@settings(max_examples=60, deadline=None)
@given(old=st.sampled_from(oracle.ZONES), new=st.sampled_from(oracle.ZONES))
def test_what_a_zone_moves_is_what_differs(old, new):
    posting = plan(NINE, rule("daily_quota", number=2, quota=2), zone=old)
    span = (at("2030-03-25"), at("2030-04-08"))
    told = {slot.key: slot.at for slot in (move.after for move in moves(posting, new, *span)) if slot}
    before = slots_between(posting, *span)
    after = {
        slot.key: slot.at for slot in slots_between(plan(*posting.rules, zone=new), at("2030-03-20"), at("2030-04-12"))
    }

    def as_told(slot: Slot):
        return told.get(slot.key, slot.at)

    assert [as_told(slot) for slot in before] == [after[slot.key] for slot in before]


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        ("2030-01-07T09:00:30", None),
        ("2030-01-07T09:01", "time"),
        ("2030-01-12T09:00", "weekday"),
        ("2030-01-09T09:00", "blackout"),
        ("2030-01-21T09:00", "rule_not_valid"),
        ("2030-02-04T09:00", "automation_not_valid"),
    ],
)
def test_a_rule_says_why_it_does_not_fire_in_this_minute(moment, why):
    nine = rule(time_of_day=time(9), weekdays=WEEKDAYS, valid_until=date(2030, 1, 20))
    asked = plan(nine, valid_until=date(2030, 1, 31), blackouts=(blackout("2030-01-09", "2030-01-09"),))
    assert why_not_at(asked, nine, at(moment)) == why


def test_where_all_have_to_hold_a_rule_says_that_another_one_does_not():
    nine, weekly = NINE, rule("cron", number=2, cron="0 9 * * MON")
    meeting = plan(nine, weekly, combine="all")
    assert why_not_at(meeting, nine, at("2030-01-07T09:00")) is None
    assert why_not_at(meeting, weekly, at("2030-01-07T09:00")) == "not_leading"
    assert why_not_at(meeting, nine, at("2030-01-08T09:00")) == "another_rule"
