"""The sandbox's own time: the host's clock plus what a control has advanced it by."""

import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate

# DeviantArt writes creation times with the offset of the American west coast.
_WEST_COAST = timezone(timedelta(hours=-7))


class Clock:
    """Virtual time in epoch seconds. Waits (latency, stalls) are always real seconds."""

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self.offset_seconds = offset_seconds
        self._http_date = (0, "")

    def now(self) -> float:
        return time.time() + self.offset_seconds

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
