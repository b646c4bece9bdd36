"""What our Redis scripts count time in, and what comes back from them."""

from datetime import UTC, datetime
from typing import Any

SECOND = 1_000_000


def micros(seconds: float) -> int:
    return round(seconds * SECOND)


def moment(of_micros: float) -> datetime:
    """The aware moment, in UTC, of so many microseconds since the epoch."""
    return datetime.fromtimestamp(of_micros / SECOND, UTC)


def text(value: Any) -> str:
    """What Redis answers is bytes unless its client was told to decode."""
    return value.decode() if isinstance(value, bytes) else str(value)
