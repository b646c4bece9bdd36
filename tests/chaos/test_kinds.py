"""The schedule of faults comes from its seed alone, and has enough of each kind."""

from collections import Counter

import pytest

from tests.chaos.kinds import BY_NAME, KINDS, LEAST, KindUnknown, chosen, schedule


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another():
    kinds = chosen("cheap")
    assert schedule(1, kinds, seconds=120) == schedule(1, kinds, seconds=120)
    assert schedule(1, kinds, seconds=120) != schedule(2, kinds, seconds=120)


@pytest.mark.parametrize("seed", range(5))
def test_half_an_hour_has_each_kind_ten_times_and_nothing_undoes_another(seed: int):
    planned = schedule(seed, KINDS, seconds=1800, lasting={"redis_away": 60})
    assert Counter(fault.kind.name for fault in planned) == dict.fromkeys(BY_NAME, LEAST)
    free_at: dict[str, float] = {}
    for fault in planned:
        assert fault.at >= free_at.get(fault.kind.place, 0) - 0.02
        free_at[fault.kind.place] = fault.at + fault.seconds
    assert max(free_at.values()) <= 1800.02


def test_the_cheap_kinds_fit_into_two_minutes():
    assert schedule(1, chosen("cheap"), seconds=120)


def test_too_short_a_run_is_refused():
    with pytest.raises(ValueError, match="too short"):
        schedule(1, KINDS, seconds=60)


def test_kinds_are_chosen_by_name_by_group_and_taken_away():
    assert [kind.name for kind in chosen("kill,-kill_media,redis_flush")] == [
        "kill_web",
        "kill_publisher",
        "kill_worker",
        "kill_beat",
        "redis_flush",
    ]
    assert chosen("none") == []
    with pytest.raises(KindUnknown, match="sunspots"):
        chosen("sunspots")


def test_more_of_a_kind_are_planned_where_that_is_asked_for():
    planned = schedule(1, chosen("lost,submit_lost"), seconds=600, oftener={"answer_lost_after": 30, "submit_lost": 2})
    assert Counter(fault.kind.name for fault in planned) == {
        "answer_lost_before": 10,
        "answer_lost_after": 30,
        "submit_lost": 10,
    }
