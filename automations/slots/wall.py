"""From walls to instants where nobody can be asked: a rule goes on through the nights on which clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def first_instant_of(local: datetime, zone: str) -> datetime:
    """The instant, in UTC, at which clocks in ``zone`` first show ``local`` (naive) or, where they skip it, go on.

    Where a person wishes for a time, `deviations.services.wall_time` asks back instead.
    """
    clocks = ZoneInfo(zone)
    instant = local.replace(tzinfo=clocks, fold=0).astimezone(UTC)
    if instant.astimezone(clocks).replace(tzinfo=None) == local:
        return instant
    # Skipped. Read by the offset before the change it lies behind that, and by the one after it in front.
    local = local.replace(microsecond=0)
    instant, before = (local.replace(tzinfo=clocks, fold=which).astimezone(UTC) for which in (0, 1))
    offset = instant.astimezone(clocks).utcoffset()
    while instant - before > SECOND:
        middle = before + timedelta(seconds=(instant - before) // SECOND // 2)
        if middle.astimezone(clocks).utcoffset() == offset:
            instant = middle
        else:
            before = middle
    return instant


def local_date_of(instant: datetime, zone: str) -> date:
    """The day on the wall at an aware ``instant``."""
    return instant.astimezone(ZoneInfo(zone)).date()


@lru_cache(maxsize=4096)
def day_span(day: date, zone: str) -> tuple[datetime, datetime]:
    """From the first midnight of ``day`` to that of the next one; empty for a day that clocks in ``zone`` skip.

    By this each instant belongs to one day, also where clocks go back over midnight.
    """
    return (
        first_instant_of(datetime.combine(day, time()), zone),
        first_instant_of(datetime.combine(day + DAY, time()), zone),
    )


def instant_on(day: date, at: time, zone: str) -> datetime:
    """`first_instant_of` a time of day."""
    start, end = day_span(day, zone)
    if end - start == DAY:
        # On nearly all days clocks do not change, and the instant is a sum.
        return start + timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
    return first_instant_of(datetime.combine(day, at), zone)
