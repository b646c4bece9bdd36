"""What runs beside the tasks in a publisher process: the heartbeat, and the thread that waits for the next due moment.

Started by a bootstep rather than by the signal that a worker is ready, which never comes while Redis is away; and only
in the parent process of a worker that serves the publisher's queue.
"""

import atexit
import threading
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from celery import bootsteps
from django.conf import settings
from django.db import DatabaseError, connection

from isekai import clock
from publisher.services import guarding
from publisher.services.claiming import CLAIM_AHEAD
from publisher.services.dispatching import dispatch_due, next_due_at
from publisher.services.heartbeat import beat_for_ever, expire_dead_neighbours, register_worker, retire
from publisher.services.rescuing import rescue_stuck
from publisher.services.writing import until_written

logger = structlog.get_logger(__name__)

QUEUE = "publisher"
CHANNEL = "isekai_due"
# One dispatching thread at a time in the whole installation; any number, as long as it is always the same.
DISPATCHER_LOCK = 7_130_001
# So long before a due moment its account is woken; the claim waits for the rest.
EARLY = CLAIM_AHEAD - timedelta(milliseconds=50)


class PublisherThreads(bootsteps.StartStopStep):
    """Registers the process and starts its threads, as soon as the database can be reached.

    A task that comes before finds that this process is no publisher yet, and its work is found again by the next tick.
    """

    # Probes are answered first, so that a publisher without a database is seen as not ready.
    requires = ("celery.worker.components:Pool", "isekai.worker:HealthServer")

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.enabled = QUEUE in parent.app.amqp.queues.consume_from
        self.stopping = threading.Event()

    def start(self, parent: Any) -> None:
        threading.Thread(target=self._run, args=[parent.concurrency], name="heartbeat", daemon=True).start()

    def _run(self, slots: int) -> None:
        # Nothing can be claimed before the process has registered.
        guarding.begin()
        worker_id = until_written(lambda: register_worker(slots=slots))
        atexit.register(guarding.end)
        atexit.register(retire)
        until_written(expire_dead_neighbours)
        until_written(rescue_stuck)
        threading.Thread(target=Dispatcher(self.stopping).run, name="dispatcher", daemon=True).start()
        logger.info("publisher_started", worker_id=str(worker_id), slots=slots)
        # The heart beats until the process ends: tasks that are being finished still need the lease.
        beat_for_ever(worker_id)

    def close(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        self.stopping.set()


class Dispatcher:
    """Sleeps for as long as the database says that nothing falls due, and wakes the accounts when something does."""

    def __init__(self, stopping: threading.Event) -> None:
        self.stopping = stopping

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with psycopg.connect(settings.DATABASE_DIRECT_URL, autocommit=True, connect_timeout=5) as direct:
                    self._serve(direct)
            except (psycopg.Error, DatabaseError) as error:
                logger.warning("dispatcher_disconnected", error=type(error).__name__)
                connection.close()
                self.stopping.wait(settings.PUBLISHER_RESCUE_SECONDS)
        connection.close()

    def _serve(self, direct: "psycopg.Connection[Any]") -> None:
        direct.execute(f"LISTEN {CHANNEL}")
        leads = False
        while not self.stopping.is_set():
            # Held by this connection, so that another process takes over the moment that it is gone.
            leads = leads or _try_lock(direct)
            if leads:
                rescue_stuck()
                dispatch_due()
            for _nudge in direct.notifies(timeout=self._pause(), stop_after=1):
                pass

    def _pause(self) -> float:
        """Seconds until the next due moment, and never longer than until the next look at what got stuck."""
        following = next_due_at()
        if following is None:
            return settings.PUBLISHER_RESCUE_SECONDS
        wait = (following - clock.database_now() - EARLY).total_seconds()
        return min(max(wait, 0), settings.PUBLISHER_RESCUE_SECONDS)


def _try_lock(direct: "psycopg.Connection[Any]") -> bool:
    row = direct.execute("SELECT pg_try_advisory_lock(%s)", [DISPATCHER_LOCK]).fetchone()
    return row is not None and row[0]
