"""Beat, on a host whose clock may be put back."""

from datetime import timedelta
from typing import Any

import structlog
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
