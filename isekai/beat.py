"""Beat, on a host whose clock may be put back, and asked to end at any moment."""

from datetime import timedelta
from typing import Any

import structlog
from celery import platforms, signals
from celery.utils.time import maybe_make_aware
from django_celery_beat.schedulers import DatabaseScheduler

from isekai import clock

logger = structlog.get_logger(__name__)

# Clocks of hosts that have a time service agree much better.
TOLERANCE = timedelta(seconds=60)


class Scheduler(DatabaseScheduler):  # type: ignore[misc]  # comes without types
    """As django-celery-beat's, but what it last ran at a moment that has not come yet counts as run now.

    Otherwise a clock that was two hours ahead, and is put right, has nothing run for two hours.
    """

    def tick(self, *args: Any, **options: Any) -> Any:
        self.put_right()
        return super().tick(*args, **options)

    def put_right(self) -> None:
        now = clock.now()
        ahead = [each for each in self.schedule.values() if maybe_make_aware(each.last_run_at) > now + TOLERANCE]
        for each in ahead:
            each.last_run_at = each.model.last_run_at = now
        if ahead:
            logger.warning("beat_was_ahead", tasks=len(ahead))
            # It has the moments of then in it, by which what was not ahead would go first for hours.
            self._heap = None


@signals.beat_init.connect
def end_when_asked(sender: Any, **_options: Any) -> None:
    """Have SIGTERM and SIGINT end the loop of the service ``sender``, whatever it is at.

    Celery's own handler only raises: where the code that is interrupted catches everything, beat goes on for ever. It
    also writes down at once what was run last, in the middle of whatever statement runs on the same connection; the end
    of the loop does that anyway.
    """

    def end(_signum: int, _frame: Any) -> None:
        sender.stop()
        # Out of a sleep, too; psycopg takes back the statement that it waits for, so that the connection stays good.
        raise KeyboardInterrupt

    platforms.signals.update(SIGTERM=end, SIGINT=end)
