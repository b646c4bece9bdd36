"""Another opinion about slots: dateutil's recurrence rules on dateutil's own clocks, with its own copy of all zones."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

from dateutil import rrule, tz
from dateutil.zoneinfo import get_zonefile_instance

ZONES = [
    "Africa/Casablanca",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "UTC",
]
# Three years, the first of them a leap year.
FIRST = datetime(2028, 1, 1)  # noqa: DTZ001 - on the wall
AFTER_LAST = datetime(2031, 1, 1)  # noqa: DTZ001


def clocks_of(zone: str) -> Any:
    return tz.UTC if zone == "UTC" else get_zonefile_instance().get(zone)


def instant(local: datetime, zone: str) -> datetime:
    """When clocks first show a time; of one that they skip, the first minute after it that they show.

    Asks only what clocks show at an instant: the other way round dateutil errs where winter is the exception, as in
    Morocco.
    """
    clocks = clocks_of(zone)
    while True:
        readings = ((local - offset).replace(tzinfo=UTC) for offset in _offsets_around(local.date(), zone))
        if shown := [each for each in readings if each.astimezone(clocks).replace(tzinfo=None) == local]:
            return min(shown)
        local += timedelta(minutes=1)


@cache
def _offsets_around(day: date, zone: str) -> set[timedelta]:
    noon = datetime.combine(day, time(12), tzinfo=UTC)
    around = (noon + hours for hours in (-timedelta(hours=42), timedelta(hours=42)))
    return {each.astimezone(clocks_of(zone)).utcoffset() for each in around}


def instants(locals_: Iterable[datetime], zone: str) -> list[datetime]:
    return sorted(instant(local, zone) for local in locals_)


def daily(
    first: datetime, hour: int, minute: int, *, until: datetime = AFTER_LAST, weekdays: Iterable[int] | None = None
) -> rrule.rrule:
    return rrule.rrule(
        rrule.DAILY,
        dtstart=first.replace(hour=0, minute=0),
        until=until - timedelta(minutes=1),
        byhour=hour,
        byminute=minute,
        bysecond=0,
        byweekday=None if weekdays is None else list(weekdays),
    )


def uneven_days(zone: str, first: datetime = FIRST, last: datetime = AFTER_LAST) -> list[datetime]:
    """The days, as midnights on the wall, that do not have 24 hours in ``zone``."""
    found, day = [], first
    while day < last:
        following = day + timedelta(days=1)
        if instant(following, zone) - instant(day, zone) != timedelta(days=1):
            found.append(day)
        day = following
    return found
