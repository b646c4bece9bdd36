# ruff: noqa: DTZ001, DTZ901, PT017 - a time on a wall has no zone; a property may hold in two ways
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deviations.errors import TimeRefused
from deviations.services.wall_time import instant_of, wall_time_of

ZONES = sorted(available_timezones())
# Two that change by an hour on other days, one by half an hour, one that left out a whole day, two without any change.
CHANGING = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Asia/Gaza",
]


@cache
def changes(zone: str, year: int) -> list[datetime]:
    """The hours of that year, in UTC, in which the clocks of the zone are put forward or back."""
    clocks = ZoneInfo(zone)
    hours = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(366 * 24)]
    offsets = [hour.astimezone(clocks).utcoffset() for hour in hours]
    return [hour for hour, before, after in zip(hours, offsets, offsets[1:], strict=False) if before != after]


@st.composite
def around_a_change(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant within four hours of a change of its clocks."""
    zone = draw(st.sampled_from(CHANGING))
    moments = changes(zone, draw(st.integers(2008, 2030))) or [datetime(2020, 1, 1, tzinfo=UTC)]
    return zone, draw(st.sampled_from(moments)) + timedelta(minutes=draw(st.integers(-240, 240)))


anywhere = st.tuples(
    st.sampled_from(ZONES), st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))
)


@settings(deadline=None)
@given(anywhere | around_a_change())
def test_what_clocks_show_at_an_instant_leads_back_to_it(where: tuple[str, datetime]) -> None:
    zone, instant = where
    local = wall_time_of(instant, zone)
    assert instant in {instant_of(local, zone, fold=0), instant_of(local, zone, fold=1)}
    try:
        assert instant_of(local, zone) == instant
    except TimeRefused as error:
        assert error.code == "time_comes_twice"
        assert instant in {datetime.fromisoformat(choice["at"]) for choice in error.details["choices"]}


@settings(deadline=None)
@given(anywhere | around_a_change(), st.sampled_from([0, 1]))
def test_clocks_show_the_wished_time_at_the_instant_that_follows_from_it(
    where: tuple[str, datetime], fold: int
) -> None:
    zone, instant = where
    local = instant.replace(tzinfo=None)
    try:
        found = instant_of(local, zone, fold=fold)
    except TimeRefused as error:
        assert error.code == "time_does_not_exist"
        clocks = ZoneInfo(zone)
        near = [local.replace(tzinfo=UTC) + timedelta(hours=hours) for hours in (-36, 0, 36)]
        offsets = {moment.astimezone(clocks).utcoffset() or timedelta() for moment in near}
        # Whatever the clocks were set to around then, at no instant did they show it.
        candidates = [(local - offset).replace(tzinfo=UTC) for offset in offsets]
        assert all(wall_time_of(candidate, zone) != local for candidate in candidates)
    else:
        assert wall_time_of(found, zone) == local


@settings(deadline=None)
@given(around_a_change())
def test_the_second_of_two_alike_times_is_later(where: tuple[str, datetime]) -> None:
    zone, instant = where
    local = wall_time_of(instant, zone)
    assert instant_of(local, zone, fold=0) <= instant_of(local, zone, fold=1)


def test_a_time_that_comes_twice_is_asked_about() -> None:
    with pytest.raises(TimeRefused) as refused:
        instant_of(datetime(2026, 10, 25, 2, 30), "Europe/Berlin")
    assert refused.value.code == "time_comes_twice"
    assert refused.value.details["choices"] == [
        {"fold": 0, "name": "CEST", "at": "2026-10-25T02:30:00+02:00"},
        {"fold": 1, "name": "CET", "at": "2026-10-25T02:30:00+01:00"},
    ]


def test_the_fold_chooses_between_two_alike_times() -> None:
    night = datetime(2026, 10, 25, 2, 30)
    assert instant_of(night, "Europe/Berlin", fold=0) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert instant_of(night, "Europe/Berlin", fold=1) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("local", "zone"),
    [
        (datetime(2027, 3, 28, 2, 30), "Europe/Berlin"),
        (datetime(2027, 3, 14, 2, 0), "America/New_York"),
        (datetime(2026, 10, 4, 2, 15), "Australia/Lord_Howe"),
        (datetime(2011, 12, 30, 12, 0), "Pacific/Apia"),
    ],
)
def test_a_time_that_clocks_skip_is_refused(local: datetime, zone: str) -> None:
    for fold in (None, 0, 1):
        with pytest.raises(TimeRefused) as refused:
            instant_of(local, zone, fold=fold)
        assert refused.value.code == "time_does_not_exist"
        assert set(refused.value.details) == {"local"}


@pytest.mark.parametrize("zone", ["Middle/Earth", "", "../../etc/passwd", "europe/berlin", "CEST"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(TimeRefused) as refused:
        instant_of(datetime(2027, 1, 1), zone)
    assert refused.value.code == "unknown_time_zone"


@pytest.mark.parametrize("local", [datetime.min, datetime.max])
def test_a_time_at_the_end_of_all_days_is_refused_and_breaks_nothing(local: datetime) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        try:
            instant_of(local, zone)
        except TimeRefused as error:
            assert error.code == "time_too_far_ahead"
