"""What a publisher makes sure of as long as it lives: the database has forgotten nothing, and the clocks agree."""

import threading
import time

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from publisher.services import clocks, marks
from publisher.services.marks import MarkUnknown
from publisher.services.restoring import compare_with_mark

logger = structlog.get_logger(__name__)

REPEAT_SECONDS = 2.0
# So long nothing is claimed from a server that has begun anew, before the time scale.
WATCH_SECONDS = 1.0
FLUSH_SECONDS = 5.0


def begin() -> None:
    """Return once the database was compared with the mark, and keep an eye on both from then on.

    To be called before the process registers as a publisher, since only a registered one can claim.
    """
    while True:
        try:
            compare_with_mark()
            clocks.measure_host()
            break
        except (DatabaseError, MarkUnknown) as error:
            logger.warning("mark_not_compared_yet", error=type(error).__name__)
            connection.close()
            time.sleep(REPEAT_SECONDS)
    threading.Thread(target=_watch_for_ever, name="guard", daemon=True).start()


def end() -> None:
    """Before the process ends: what it knows is written down, if that is possible within seconds."""
    if not marks.flush(FLUSH_SECONDS):
        logger.warning("mark_not_written")


def watch() -> None:
    """One look at the database. Raises DatabaseError, and MarkUnknown; nothing is claimed before one succeeds."""
    if marks.has_changed():
        logger.warning("database_has_changed")
        compare_with_mark()


def _watch_for_ever() -> None:
    measured = time.monotonic()
    while True:
        time.sleep(WATCH_SECONDS * settings.ISEKAI_TIME_SCALE)
        try:
            watch()
            if time.monotonic() - measured > settings.PUBLISHER_HEARTBEAT_SECONDS:
                measured = time.monotonic()
                clocks.measure_host()
        except (DatabaseError, MarkUnknown) as error:
            logger.warning("guard_could_not_look", error=type(error).__name__)
            connection.close()
        except Exception:
            # Without this thread nothing would be claimed again after the database has changed.
            logger.exception("guard_broke_off")
