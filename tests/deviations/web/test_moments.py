"""Times as a person says them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from deviations.web.moments import clock_time, distance, moment, zone_choices, zone_offset, zone_place

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2030, 6, 12, 22, 30, tzinfo=UTC)  # a Thursday, half past midnight, in Berlin


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (datetime(2030, 6, 13, 16, 50, tzinfo=UTC), "today 18:50"),
        (datetime(2030, 6, 12, 21, 50, tzinfo=UTC), "yesterday 23:50"),
        (datetime(2030, 6, 13, 22, 0, tzinfo=UTC), "tomorrow 00:00"),
        (datetime(2030, 6, 19, 6, 0, tzinfo=UTC), "Wed 08:00"),
        (datetime(2030, 6, 20, 6, 0, tzinfo=UTC), "20 Jun, 08:00"),
        (datetime(2030, 6, 1, 6, 0, tzinfo=UTC), "1 Jun, 08:00"),
        (datetime(2031, 1, 31, 17, 30, tzinfo=UTC), "31 Jan 2031, 18:30"),
    ],
)
def test_a_moment_is_said_as_its_reader_lives_it(at, words):
    assert moment(at, BERLIN, NOW) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "now"),
        (0, "now"),
        (12, "in 12 s"),
        (89, "in 89 s"),
        (90, "in 2 min"),
        (24 * 60, "in 24 min"),
        (90 * 60, "in 2 h"),
        (35 * 3600, "in 35 h"),
        (36 * 3600, "in 2 days"),
        (9 * 86_400, "in 9 days"),
    ],
)
def test_a_distance_is_rounded_to_what_helps(seconds, words):
    assert distance(NOW + timedelta(seconds=seconds), NOW) == words


def test_seconds_are_said_where_they_matter():
    assert clock_time(NOW, BERLIN, seconds=True) == "00:30:00"


@pytest.mark.parametrize(
    ("zone", "place", "offset"),
    [
        ("Europe/Berlin", "Berlin", "CEST (UTC+2)"),
        ("America/New_York", "New York", "EDT (UTC-4)"),
        ("Asia/Kathmandu", "Kathmandu", "UTC+5:45"),
        ("UTC", "UTC", ""),
        ("Africa/Abidjan", "Abidjan", "GMT (UTC)"),
    ],
)
def test_a_zone_has_a_place_and_an_offset(zone, place, offset):
    assert (zone_place(ZoneInfo(zone)), zone_offset(ZoneInfo(zone), NOW)) == (place, offset)


def test_every_zone_can_be_chosen_by_its_name():
    names = dict(zone_choices())
    assert names["Europe/Berlin"] == "Europe/Berlin"
    assert names["America/New_York"] == "America/New York"
    assert "Etc/GMT+1" not in names
