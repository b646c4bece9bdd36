"""How long to wait after which failure (design of the eight categories), in seconds before the time scale."""

import random
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings

from deviantart.errors import Category, DeviantArtError, PublicationFailed

LADDERS: dict[Category, tuple[float, ...]] = {
    Category.NETWORK_ERROR: (2, 4, 8, 16, 32),
    Category.SERVER_ERROR: (3, 6, 12, 24, 48),
    Category.UNKNOWN: (5, 15, 30),
}
# Code 6, "publication failed": twice more.
PUBLICATION_FAILED = (30, 120)
JITTER = 0.2


def retry_delay(error: DeviantArtError, failures: int) -> float | None:
    """Seconds until the next try after the ``failures``-th failure (from 1); None: there is none."""
    ladder = PUBLICATION_FAILED if isinstance(error, PublicationFailed) else LADDERS.get(error.category, ())
    if failures >= settings.PUBLISHER_MAX_ATTEMPTS or not ladder:
        return None
    if failures > len(ladder):
        # The network and a broken server come back; what is not understood, or refused, does not.
        if error.category not in {Category.NETWORK_ERROR, Category.SERVER_ERROR} or ladder is PUBLICATION_FAILED:
            return None
        return jittered(ladder[-1])
    return jittered(ladder[failures - 1])


def jittered(seconds: float) -> float:
    """``seconds`` by the time scale, give or take a fifth, so that many that failed together do not return together."""
    return seconds * settings.ISEKAI_TIME_SCALE * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spread, no secret


def next_midnight(now: datetime, zone: str) -> datetime:
    """The first moment after ``now`` (aware) that is another day on the clocks of ``zone``, in UTC."""
    clocks = ZoneInfo(zone)
    tomorrow = now.astimezone(clocks).date() + timedelta(days=1)
    # Where clocks skip midnight this is the moment at which they do.
    return datetime.combine(tomorrow, time.min, tzinfo=clocks).astimezone(UTC)
