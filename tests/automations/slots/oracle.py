"""Another opinion about slots: dateutil's recurrence rules on dateutil's own clocks, with its own copy of all zones."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
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
    """When clocks first show a time; of one that they skip, the first minute after it that they show."""
    clocks = clocks_of(zone)
    while not tz.datetime_exists(local, clocks):
        local += timedelta(minutes=1)
    return tz.enfold(local.replace(tzinfo=clocks), fold=0).astimezone(UTC)


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


def changes(zone: str, first: datetime = FIRST, last: datetime = AFTER_LAST) -> list[datetime]:
    """The days, as midnights on the wall, on which clocks in ``zone`` change between two others."""
    clocks = clocks_of(zone)
    found, day = [], first
    while day < last:
        following = day + timedelta(days=1)
        if clocks.utcoffset(day) != clocks.utcoffset(following):
            found.append(day)
        day = following
    return found
