"""Whoever leads the dispatching does what beat should have had done: without a beat, or without a way to the workers.

Every periodic task may run twice, so nobody has to be certain that it did not run.
"""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog
from django.conf import settings
from django.db import DatabaseError, connections
from django_celery_beat.models import PeriodicTask

from isekai import clock

logger = structlog.get_logger(__name__)

# How late a task may be before somebody else runs it, in its own periods.
LATE_PERIODS = 2
# A process that has only just started leaves even the rarest task to beat for so long.
GRACE_SECONDS = 120.0


class StandIn:
    """Runs the periodic tasks that nobody ran in time, one after the other, in the thread that calls `look`.

    ``periods`` are the seconds of each task's period, by its name; ``call`` runs one; ``seconds`` is a monotonic clock.
    """

    def __init__(
        self,
        periods: Mapping[str, float],
        *,
        call: Callable[[str], object],
        broker_away: Callable[[], bool],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._periods = dict(sorted(periods.items(), key=lambda each: each[1]))
        self._call = call
        self._broker_away = broker_away
        self._seconds = seconds
        self._started = seconds()
        self._ran: dict[str, float] = {}
        self._by_beat: dict[str, float] = {}
        self._ahead: dict[str, datetime] = {}
        self._asked_at = float("-inf")
        self.busy = 0

    def ran(self, task_name: str) -> None:
        """This process has run it, whoever wanted it."""
        self._ran[task_name] = self._seconds()

    def look(self) -> None:
        """Run whatever is late by now."""
        late = [name for name in self._periods if self._is_late(name, self._ran)]
        if late and not self._broker_away():
            # While the broker is away beat believes to have sent what nobody got.
            self._ask_what_beat_did()
            late = [name for name in late if self._is_late(name, self._by_beat)]
        for name in late:
            self._run(name)

    def _is_late(self, name: str, known: Mapping[str, float]) -> bool:
        period = self._periods[name]
        last = known.get(name)
        if last is None:
            return self._seconds() - self._started >= min(LATE_PERIODS * period, GRACE_SECONDS * _scale())
        return self._seconds() - last >= LATE_PERIODS * period

    def _ask_what_beat_did(self) -> None:
        """By beat's own table, at most once a tick."""
        if self._seconds() - self._asked_at < settings.PUBLISHER_TICK_SECONDS:
            return
        self._asked_at, now = self._seconds(), clock.now()
        rows = PeriodicTask.objects.filter(task__in=self._periods, enabled=True, last_run_at__isnull=False)
        for name, last in rows.values_list("task", "last_run_at"):
            if last <= now:
                self._by_beat[name] = self._seconds() - (now - last).total_seconds()
            elif last != self._ahead.get(name):
                # By the clock of beat's host. That it moves on tells that beat runs, and nothing else does.
                self._ahead[name], self._by_beat[name] = last, self._seconds()

    def _run(self, name: str) -> None:
        self.busy += 1
        try:
            self._call(name)
            logger.info("stood_in_for_beat", task=name)
        except Exception:
            logger.exception("stand_in_failed", task=name)
        finally:
            self.busy -= 1
            # Also after a failure: it comes again a period later, as beat would have it.
            self.ran(name)

    def run(self, stopping: threading.Event, leads: Callable[[], bool]) -> None:
        """For a thread: look, again and again until this process is to end, while it leads."""
        while not stopping.wait(_scale()):
            if not leads():
                continue
            try:
                self.look()
            except DatabaseError as error:
                logger.warning("stand_in_without_database", error=type(error).__name__)
                connections.close_all()
        connections.close_all()


def _scale() -> float:
    return max(0.2, settings.ISEKAI_TIME_SCALE)
