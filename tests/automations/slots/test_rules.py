"""What each type of rule makes of its days, beyond what recurrence rules can say; and what is true of all of them."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automations.errors import CronRefused
from automations.models import ScheduleRule
from automations.slots import (
    BlackoutRange,
    Plan,
    Rule,
    draw,
    explain_cron,
    next_slot,
    parse_cron,
    slots_between,
    slots_of,
)
from automations.slots.days import _BY_TYPE
from tests.automations.slots import oracle
from tests.automations.slots.making import SEED, at, local, moments, plan, rule


@st.composite
def rules(draw_from: st.DrawFn, number: int = 1) -> Rule:
    kind = draw_from(st.sampled_from(sorted(_BY_TYPE)))
    minutes = st.times().map(lambda each: each.replace(second=0, microsecond=0))
    weekdays = draw_from(st.none() | st.frozensets(st.integers(0, 6), min_size=1))
    window = sorted(draw_from(st.lists(st.integers(0, 23), min_size=2, max_size=2, unique=True)))
    start, end = draw_from(st.sampled_from([(None, None), (time(window[0]), time(window[1])), (time(window[1]), None)]))
    columns: dict = {"valid_from": draw_from(st.none() | st.dates(date(2030, 3, 1), date(2030, 4, 15)))}
    match kind:
        case "fixed_time":
            columns |= {"time_of_day": draw_from(minutes), "weekdays": weekdays}
        case "fixed_interval":
            columns |= {
                "interval_minutes": draw_from(st.sampled_from([17, 60, 600, 1440, 2160, 2880])),
                "anchor_local": local("2030-03-05T14:10"),
                "weekdays": weekdays,
                "window_start": start,
                "window_end": end,
            }
        case "daily_quota":
            columns |= {"quota": draw_from(st.integers(1, 5)), "window_start": start, "window_end": end}
        case "time_window":
            columns |= {"window_start": time(window[0]), "window_end": time(window[1]), "weekdays": weekdays}
        case "weekday_slots":
            week = sorted(draw_from(st.sets(st.integers(0, 10_079), min_size=1, max_size=6)))
            columns |= {"week_minutes": tuple(week), "week_numbers": tuple(range(len(week)))}
        case "cron":
            columns |= {
                "cron": draw_from(st.sampled_from(["*/30 * * * *", "15 2 * * *", "0 9 * * MON-FRI", "30 1-3 31 * 0"]))
            }
    return rule(kind, number, **columns)


@st.composite
def plans(draw_from: st.DrawFn) -> Plan:
    return plan(
        *(draw_from(rules(number)) for number in range(1, draw_from(st.integers(1, 3)) + 1)),
        zone=draw_from(st.sampled_from(oracle.ZONES)),
        combine=draw_from(st.sampled_from(["any", "any", "all"])),
        blackouts=tuple(
            BlackoutRange(first, first + timedelta(days=days), handling)
            for first, days, handling in draw_from(
                st.lists(
                    st.tuples(
                        st.dates(date(2030, 3, 10), date(2030, 4, 20)),
                        st.integers(0, 6),
                        st.sampled_from(["skip", "move"]),
                    ),
                    max_size=2,
                )
            )
        ),
    )


# Clocks change in most of the zones within these weeks.
INSTANTS = st.datetimes(datetime(2030, 3, 1), datetime(2030, 4, 30)).map(lambda each: at(each.isoformat()))  # noqa: DTZ001


@settings(max_examples=150, deadline=None)
@given(plan=plans(), cuts=st.lists(INSTANTS, min_size=3, max_size=3).map(sorted))
def test_slots_over_two_parts_are_those_over_the_whole(plan, cuts):
    first, middle, last = cuts
    whole = slots_between(plan, first, last)
    assert slots_between(plan, first, middle) + slots_between(plan, middle, last) == whole


@settings(max_examples=100, deadline=None)
@given(plan=plans())
def test_no_slot_comes_twice_and_they_are_in_order(plan):
    slots = slots_between(plan, at("2030-03-01"), at("2030-05-01"))
    assert len({slot.key for slot in slots}) == len(slots)
    assert [slot.at for slot in slots] == sorted(slot.at for slot in slots)
    if plan.combine == "any" and not plan.blackouts:
        # Nothing that a rule says by itself is lost beside others.
        assert len(slots) == sum(
            len(slots_between(replace(plan, rules=(each,)), at("2030-03-01"), at("2030-05-01"))) for each in plan.rules
        )


@settings(max_examples=100, deadline=None)
@given(plan=plans(), start=INSTANTS)
def test_the_next_slot_is_the_first_of_those_that_follow(plan, start):
    found = next_slot(plan, start)
    following = slots_between(plan, start, at("2030-06-01"))
    if following:
        assert found == following[0]
    else:
        assert found is None or found.at >= at("2030-06-01")


@settings(max_examples=30, deadline=None)
@given(plan=plans(), start=INSTANTS)
def test_every_slot_is_met_by_going_from_one_to_the_next(plan, start):
    until, walked, moment = start + timedelta(days=2), [], start
    while (slot := next_slot(plan, moment)) and slot.at < until:
        moment = slot.at + timedelta(microseconds=1)
        walked += slots_between(plan, slot.at, moment)
    assert walked == slots_between(plan, start, until)


def test_a_rule_whose_time_moves_keeps_its_numbers():
    def numbers(moved: Rule) -> list[tuple[date, int]]:
        return [
            slot.key[1:] for slot in slots_of(moved, at("2030-01-01"), at("2030-02-01"), "Europe/Berlin", seed=SEED)
        ]

    assert numbers(rule(time_of_day=time(9))) == numbers(rule(time_of_day=time(9, 5)))
    table = rule("weekday_slots", week_minutes=(540, 1080, 2000), week_numbers=(0, 1, 0))
    assert numbers(table) == numbers(replace(table, week_minutes=(545, 1080, 2500)))
    quota = rule("daily_quota", quota=3, window_start=time(9), window_end=time(18))
    assert numbers(quota) == numbers(replace(quota, window_start=time(10)))
    assert numbers(rule("cron", cron="0 9,18 * * *")) == numbers(rule("cron", cron="5 10,17 * * *"))


def test_a_time_that_is_put_before_others_of_its_day_does_not_take_their_numbers():
    before = rule("weekday_slots", week_minutes=(540,), week_numbers=(0,))
    after = rule("weekday_slots", week_minutes=(420, 540), week_numbers=(1, 0))
    monday = (at("2030-01-07"), at("2030-01-08"))
    nine = {slot.key for slot in slots_of(before, *monday, "UTC")}
    assert [slot.key in nine for slot in slots_of(after, *monday, "UTC")] == [False, True]


def test_what_is_drawn_depends_on_seed_rule_day_and_number():
    window = rule("time_window", window_start=time(14), window_end=time(20))
    span = (at("2030-01-01"), at("2030-03-01"))
    drawn = slots_of(window, *span, "UTC", seed=SEED)
    assert drawn == slots_of(window, *span, "UTC", seed=SEED)
    assert moments(drawn) != moments(slots_of(window, *span, "UTC", seed=SEED + 1))
    assert moments(drawn) != moments(slots_of(replace(window, id=UUID(int=2)), *span, "UTC", seed=SEED))
    assert len({slot.at.time() for slot in drawn}) > 50


def test_a_draw_is_even_and_below_one():
    drawn = [draw(SEED, UUID(int=1), date(2030, 1, 1), number) for number in range(4000)]
    assert 0 <= min(drawn) <= max(drawn) < 1
    # Ten bins of 400: five standard deviations are 95.
    assert all(305 < sum(low <= each * 10 < low + 1 for each in drawn) < 495 for low in range(10))


def test_a_slot_that_is_drawn_says_until_when_it_may_be_delayed():
    quota = rule("daily_quota", quota=2, window_start=time(20))
    slots = slots_of(quota, at("2030-01-01"), at("2030-01-02"), "UTC", seed=SEED)
    assert [slot.latest for slot in slots] == [at("2030-01-02")] * 2
    assert [slot.latest for slot in slots_of(rule(time_of_day=time(9)), at("2030-01-01"), at("2030-01-02"), "UTC")] == [
        None
    ]


def test_an_interval_that_is_shorter_than_the_closed_time_rests():
    hourly = rule(
        "fixed_interval",
        interval_minutes=60,
        anchor_local=local("2030-01-01T00:30"),
        window_start=time(10),
        window_end=time(12),
    )
    assert moments(slots_of(hourly, at("2030-01-01"), at("2030-01-03"), "UTC")) == [
        "2030-01-01 10:30",
        "2030-01-01 11:30",
        "2030-01-02 10:30",
        "2030-01-02 11:30",
    ]


def test_an_interval_that_is_longer_than_the_closed_time_waits_for_the_opening():
    rare = rule(
        "fixed_interval",
        interval_minutes=36 * 60,
        anchor_local=local("2030-01-01T15:00"),
        window_start=time(10),
        window_end=time(22),
    )
    assert moments(slots_of(rare, at("2030-01-01"), at("2030-01-07"), "UTC")) == [
        "2030-01-01 15:00",
        "2030-01-03 10:00",  # 3:00 is night
        "2030-01-04 15:00",
        "2030-01-06 10:00",
    ]


@pytest.mark.parametrize(("at_night", "first"), [("2030-01-01T23:00", 2), ("2030-01-01T03:00", 1)])
def test_an_interval_of_whole_days_waits_for_the_opening(at_night, first):
    every_other = rule(
        "fixed_interval",
        interval_minutes=2880,
        anchor_local=local(at_night),
        window_start=time(10),
        window_end=time(22),
    )
    slots = slots_of(every_other, at("2030-01-01"), at("2030-01-06"), "UTC")
    assert [(slot.at.day, slot.at.hour) for slot in slots] == [(day, 10) for day in range(first, 6, 2)]


def test_an_interval_has_nothing_before_its_anchor():
    hourly = rule("fixed_interval", interval_minutes=60, anchor_local=local("2030-01-01T22:00"))
    assert moments(slots_of(hourly, at("2029-12-30"), at("2030-01-02"), "UTC")) == [
        "2030-01-01 22:00",
        "2030-01-01 23:00",
    ]


def test_a_rule_without_any_slot_ahead_has_no_next_one():
    over = rule(time_of_day=time(9), valid_until=date(2030, 1, 1))
    assert next_slot(plan(over), at("2030-01-01T09:00:01")) is None
    assert next_slot(plan(), at("2030-01-01")) is None


def test_the_next_leap_day_is_in_sight():
    leap = next_slot(plan(rule("cron", cron="0 9 29 2 *")), at("2028-03-01"))
    assert leap is not None
    assert leap.at == at("2032-02-29T09:00")


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "five fields"),
        ("0 9 * *", "five fields"),
        ("0 0 9 * * *", "five fields"),  # with seconds
        ("@daily", "five fields"),
        ("60 9 * * *", "“60” cannot be read. The minute"),
        ("0 25 * * *", "“25” cannot be read. The hour"),
        ("0 9 0 * *", "“0” cannot be read. The day of the month"),
        ("0 9 * 13 *", "“13” cannot be read. The month"),
        ("0 9 * * FUN", "“FUN” cannot be read. The day of the week"),
        ("0 9 * * MON#1/2", "“MON#1/2” cannot be read. The day of the week"),
        ("0 9 30 2 *", "No month has such a day"),
        ("0 9 * * " + "1," * 60 + "1", "at most 100 characters"),
    ],
)
def test_a_cron_expression_that_cannot_be_read_says_why(expression, says):
    with pytest.raises(CronRefused) as refused:
        parse_cron(expression)
    assert says in refused.value.details["cron"][0]
    assert refused.value.code == "cron_refused"


def test_a_cron_expression_is_explained():
    assert explain_cron("0 9 * * MON-FRI").startswith("At 09:00")


def test_every_type_that_the_table_knows_can_be_computed():
    assert set(_BY_TYPE) == set(ScheduleRule.Type.values)
