"""A publisher process that is to end: it takes up nothing new, and finishes what it holds.

Imports nothing of the publisher, so that everything of it can ask.
"""

import time
from collections.abc import Callable

from django.conf import settings

POLL_SECONDS = 0.05

# When this process was asked to end, by its own monotonic clock. A plain value, so that a signal handler can set it.
_begun_at: float | None = None


def begin() -> None:
    """From now on this process claims no work and opens no upload; harmless twice, and in a signal handler."""
    global _begun_at  # noqa: PLW0603 - one process ends once
    if _begun_at is None:
        _begun_at = time.monotonic()


def stopping() -> bool:
    """Whether this process is to end: asked before each claim, and between two works or files."""
    return _begun_at is not None


def fits(seconds: float) -> bool:
    """Whether what may take so long still ends before this process does."""
    return _begun_at is None or seconds_left() >= seconds


def seconds_left() -> float:
    """Of the drain; all of it while nobody asked this process to end."""
    passed = 0.0 if _begun_at is None else time.monotonic() - _begun_at
    return max(0.0, settings.PUBLISHER_DRAIN_SECONDS - passed)


def wait_for_jobs(running: Callable[[], int]) -> bool:
    """Wait until nothing runs any more; False when the drain is over before."""
    while running():
        if not seconds_left():
            return False
        time.sleep(POLL_SECONDS)
    return True
