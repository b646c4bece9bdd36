"""The sandbox's own time: the host's clock plus what a control has advanced it by."""

import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate

# DeviantArt writes creation times with the offset of the American west coast.
_WEST_COAST = timezone(timedelta(hours=-7))


class Clock:
    """Virtual time in epoch seconds. Waits (latency, stalls) are always real seconds.

    A frozen clock moves only when it is advanced; ``frozen_at`` is the host's time at which it stopped.
    """

    def __init__(self, offset_seconds: float = 0.0, frozen_at: float | None = None) -> None:
        self.offset_seconds = offset_seconds
        self.frozen_at = frozen_at
        self._http_date = (0, "")

    def now(self) -> float:
        host = time.time() if self.frozen_at is None else self.frozen_at
        return host + self.offset_seconds

    def advance(self, seconds: float) -> None:
        self.offset_seconds += seconds

    def freeze(self, *, frozen: bool) -> None:
        """Stop the clock, or let it go on from where it stands."""
        now = self.now()
        self.frozen_at = time.time() if frozen else None
        self.offset_seconds = now - (self.frozen_at or time.time())

    def http_date(self) -> str:
        """The current second for a ``Date`` header; kept, since thousands of answers share one."""
        second = int(self.now())
        if self._http_date[0] != second:
            self._http_date = (second, formatdate(second, usegmt=True))
        return self._http_date[1]

    def day(self) -> float:
        """The epoch second at which the current UTC day began."""
        now = self.now()
        return now - now % 86400


def iso(moment: float) -> str:
    """An instant as ISO 8601 in UTC, with microseconds, as the ledger shows it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")


def west_coast(moment: float) -> str:
    """An instant as DeviantArt's metadata shows it: ``2026-10-07T11:42:47-0700``."""
    return datetime.fromtimestamp(moment, _WEST_COAST).strftime("%Y-%m-%dT%H:%M:%S%z")
