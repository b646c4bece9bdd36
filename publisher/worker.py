"""What runs beside the tasks in a publisher process, and how such a process ends.

Started by a bootstep rather than by the signal that a worker is ready, which never comes while Redis is away; and only
in the parent process of a worker that serves the publisher's queue.
"""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import structlog
from celery import bootsteps, shared_task
from celery.signals import task_postrun
from celery.worker import state
from django.conf import settings
from django.db import DatabaseError, connection

from isekai import clock, queue
from isekai.ids import new_id
from publisher.errors import WorkerUnknown
from publisher.services import breaking_off, canary, draining, guarding
from publisher.services.claiming import CLAIM_AHEAD
from publisher.services.direct import DirectPool
from publisher.services.dispatching import dispatch_due, next_due_at
from publisher.services.heartbeat import beat_for_ever, expire_dead_neighbours, register_worker, retire
from publisher.services.rescuing import rescue_stuck
from publisher.services.standing_in import StandIn
from publisher.services.writing import until_written

logger = structlog.get_logger(__name__)

QUEUE = "publisher"
CHANNEL = queue.DUE_CHANNEL
# One dispatching thread at a time in the whole installation; any number, as long as it is always the same.
DISPATCHER_LOCK = 7_130_001
# How the connection of a dispatching thread is called, followed by the id of its worker.
DISPATCHER_NAME = "isekai-dispatcher "
# The connection that leads although its worker's row has run out: that process was stopped, or cut off from here, and
# the server may keep its connection, and with it the lock, for hours. A bigint's lock is shown as two halves.
END_DEAD_LEADER = f"""
    SELECT pg_terminate_backend(held.pid, 1000)
    FROM pg_locks held JOIN pg_stat_activity session ON session.pid = held.pid
    WHERE held.locktype = 'advisory' AND held.classid = 0 AND held.objid = {DISPATCHER_LOCK} AND held.objsubid = 1
      AND held.granted AND session.datname = current_database() AND starts_with(session.application_name, %(name)s)
      AND NOT EXISTS (SELECT 1 FROM publisher_worker w WHERE {clock.SQL_NOW} < w.alive_until
                      AND w.id::text = substr(session.application_name, length(%(name)s) + 1))
"""  # noqa: S608 - constants alone
# So long before a due moment its account is woken; the claim waits for the rest.
EARLY = CLAIM_AHEAD - timedelta(milliseconds=50)
# Tasks that the dispatching thread does by itself, and more often than beat.
DISPATCHERS_OWN = {"publisher.dispatch", "publisher.rescue"}
# Periodic tasks that come more often than this share a thread that no long one holds up.
OFTEN_SECONDS = 60.0

DEAF = 75
"""The exit code of a worker that hears nothing from a broker that answers others: it is to be started again."""
WRITING_SECONDS = 10.0
"""How long the last writes of a process may take, after its drain; what is not written by then is rescued."""
CLOSING_SECONDS = 5.0


@shared_task(name=canary.TASK)
def come_back() -> None:
    """The canary. That it ran is all there is to know, and every task's end is heard (`Runtime`)."""


class PublisherThreads(bootsteps.StartStopStep):
    """Registers the process and starts its threads, as soon as the database can be reached.

    A task that comes before finds that this process is no publisher yet, and its work is found again by the next tick.
    """

    # Probes are answered first, so that a publisher without a database is seen as not ready.
    requires = ("celery.worker.components:Pool", "isekai.worker:HealthServer")

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self.enabled = QUEUE in parent.app.amqp.queues.consume_from
        if not self.enabled:
            return
        self.worker_id = new_id()
        # Known before the first connection, so that it is consumed again after each that was lost.
        parent.app.amqp.queues.select_add(canary.own_queue(self.worker_id))

    def start(self, parent: Any) -> None:
        runtime = Runtime(parent, self.worker_id)
        self.end = Ending(runtime)
        self.end.take_the_signals()
        if service := getattr(parent, "isekai_service", None):
            service.other_jobs = runtime.direct.running
            service.about = lambda: {"canary": {"ageSeconds": runtime.canary.age_seconds()}}
        threading.Thread(target=self._run, args=[runtime], name="heartbeat", daemon=True).start()

    def _run(self, runtime: "Runtime") -> None:
        # Nothing can be claimed before the process has registered.
        guarding.begin()
        until_written(lambda: register_worker(slots=runtime.slots, worker_id=self.worker_id))
        atexit.register(retire)
        until_written(expire_dead_neighbours)
        until_written(rescue_stuck)
        runtime.start_threads(deaf=lambda: self.end.ask(DEAF))
        logger.info("publisher_started", worker_id=str(self.worker_id), slots=runtime.slots)
        # The heart beats until the process ends: tasks that are being finished still need the lease.
        beat_for_ever(self.worker_id)

    def close(self, parent: Any) -> None:
        """Celery ends the worker, by whatever way it came to that."""
        self.end.ask(parent.exitcode or 0)

    def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Celery's own wait for its threads comes after this, and has no end by itself."""
        self.end.wait_until_written()


class Runtime:
    """The threads of one publisher process, and what they share."""

    def __init__(self, parent: Any, worker_id: UUID) -> None:
        self.slots: int = parent.concurrency
        self._tasks = parent.app.tasks
        self.direct = DirectPool(self.slots, call=self._call, busy_elsewhere=_celery_jobs)
        self.canary = canary.Canary(worker_id, slot_free=self.direct.has_room)
        self.dispatcher = Dispatcher(worker_id)
        # Strong, as Celery's signals would forget it otherwise.
        self._heard = lambda **about: self._task_ended(about["task"].name)
        self.stand_ins = [
            StandIn(periods, call=self._call, broker_away=queue.BROKER.lasts) for periods in _periods(parent.app)
        ]
        self.stopping = threading.Event()

    def start_threads(self, *, deaf: Callable[[], None]) -> None:
        queue.take_over(self.direct.offer)
        task_postrun.connect(self._heard, weak=False)
        self._start("dispatcher", self.dispatcher.run)
        self._start("watchdog", self._watch, deaf)
        for number, stand_in in enumerate(self.stand_ins):
            self._start(f"stand-in-{number}", stand_in.run, self.stopping, lambda: self.dispatcher.leads)

    def jobs(self) -> int:
        """Everything that has begun and shall be finished before this process ends."""
        return _celery_jobs() + self.direct.jobs() + sum(each.busy for each in self.stand_ins)

    def _start(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=target, args=arguments, name=name, daemon=True).start()

    def _call(self, task_name: str, arguments: list[str] | None = None) -> None:
        self._tasks[task_name].run(*(arguments or ()))

    def _task_ended(self, task_name: str) -> None:
        if task_name == canary.TASK:
            self.canary.hear()
        for stand_in in self.stand_ins:
            stand_in.ran(task_name)

    def _watch(self, deaf: Callable[[], None]) -> None:
        pause = max(0.2, canary.LOOK_SECONDS * settings.ISEKAI_TIME_SCALE)
        while not self.stopping.wait(pause):
            try:
                if self.canary.look():
                    logger.critical("worker_deaf", age_seconds=self.canary.age_seconds())
                    deaf()
            except Exception:
                logger.exception("watchdog_broke_off")


def _celery_jobs() -> int:
    return len(state.active_requests)


def _periods(app: Any) -> list[dict[str, float]]:
    """What beat is to run: the frequent tasks, and the others."""
    periods = {
        entry["task"]: float(entry["schedule"])
        for entry in app.conf.beat_schedule.values()
        if entry["task"] not in DISPATCHERS_OWN
    }
    often = OFTEN_SECONDS * settings.ISEKAI_TIME_SCALE
    return [
        {name: period for name, period in periods.items() if period <= often},
        {name: period for name, period in periods.items() if period > often},
    ]


class Ending:
    """How a publisher process ends: it takes up nothing new, finishes what it can in the drain, puts back the rest.

    A signal only sets the flag and wakes a thread; whatever may block happens there. A second signal ends the process
    at once, and its works are rescued.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._code = 0
        self._written = threading.Event()
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        threading.Thread(target=self._wait, name="ending", daemon=True).start()

    def take_the_signals(self) -> None:
        """In place of Celery's own handlers, whose drain has no end. From the main thread."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(signum, self._on_signal)

    def ask(self, code: int) -> None:
        """End in order, with this exit code; the first who asks decides on it."""
        if draining.stopping():
            return
        self._code = code
        draining.begin()
        # Read by the loop of Celery's main thread, which stops reading messages by it.
        state.should_stop = code  # type: ignore[assignment]
        os.write(self._wake, b"\0")

    def wait_until_written(self) -> None:
        """Until the drain is over and its last writes are done."""
        self._written.wait(settings.PUBLISHER_DRAIN_SECONDS + WRITING_SECONDS)

    def _on_signal(self, signum: int, _frame: Any) -> None:
        if draining.stopping() or signum == signal.SIGQUIT:
            os._exit(128 + signum)
        self.ask(0)

    def _wait(self) -> None:
        os.read(self._wakes, 1)
        runtime = self._runtime
        logger.info("draining_begun", jobs=runtime.jobs(), seconds=settings.PUBLISHER_DRAIN_SECONDS)
        runtime.stopping.set()
        runtime.dispatcher.step_down()
        finished = draining.wait_for_jobs(runtime.jobs)
        writing = threading.Thread(target=_write_what_is_left, name="last-writes", daemon=True)
        writing.start()
        writing.join(WRITING_SECONDS)
        logger.info("publisher_ended", finished=finished, code=self._code)
        if finished:
            # Celery's main thread gives the broker back what it had taken and not begun, and ends the process.
            self._written.set()
            time.sleep(CLOSING_SECONDS * settings.ISEKAI_TIME_SCALE)
        os._exit(self._code)


def _write_what_is_left() -> None:
    try:
        until_written(breaking_off.break_off)
        until_written(breaking_off.let_uploads_go)
    except WorkerUnknown:
        return  # it never was a publisher, or has retired already
    finally:
        retire()
        guarding.end()


class Dispatcher:
    """Sleeps for as long as the database says that nothing falls due, and wakes the accounts when something does.

    While the broker is away each process does that for itself, whoever leads.
    """

    def __init__(self, worker_id: UUID) -> None:
        self.leads = False
        self._name = f"{DISPATCHER_NAME}{worker_id}"
        self._rescued_at = float("-inf")
        self._done = threading.Event()

    def run(self) -> None:
        try:
            while not draining.stopping():
                try:
                    with psycopg.connect(
                        settings.DATABASE_DIRECT_URL, autocommit=True, connect_timeout=5, application_name=self._name
                    ) as direct:
                        self._serve(direct)
                except (psycopg.Error, DatabaseError) as error:
                    logger.warning("dispatcher_disconnected", error=type(error).__name__)
                    connection.close()
                    time.sleep(settings.PUBLISHER_RESCUE_SECONDS)
                except Exception:
                    # Without this thread everything would wait for the next tick, and nothing would say so.
                    logger.exception("dispatcher_broke_off")
                    time.sleep(settings.PUBLISHER_RESCUE_SECONDS)
                finally:
                    self.leads = False
        finally:
            connection.close()
            self._done.set()

    def step_down(self) -> None:
        """Once this process is to end: let another one lead, at once. Waits until this one does not any more."""
        try:
            queue.nudge()
            self._done.wait(settings.PUBLISHER_RESCUE_SECONDS)
            queue.nudge()
        except DatabaseError as error:
            logger.warning("stepped_down_without_a_word", error=type(error).__name__)
        finally:
            connection.close()

    def _serve(self, direct: "psycopg.Connection[Any]") -> None:
        direct.execute(f"LISTEN {CHANNEL}")
        while not draining.stopping():
            # Held by this connection, so that another process takes over the moment that it is gone.
            self.leads = self.leads or _try_lock(direct) or (_end_dead_leader(direct) and _try_lock(direct))
            works = self.leads or queue.BROKER.lasts()
            if works:
                # First of all what has its moment: the rest may wait some milliseconds.
                dispatch_due()
            if self.leads:
                self._rescue_now_and_then()
            _sleep(direct, self._pause() if works else settings.PUBLISHER_RESCUE_SECONDS)

    def _rescue_now_and_then(self) -> None:
        if time.monotonic() - self._rescued_at >= settings.PUBLISHER_RESCUE_SECONDS:
            rescue_stuck()
            self._rescued_at = time.monotonic()

    def _pause(self) -> float:
        """Seconds until the next due moment, and never longer than until the next look at what got stuck."""
        following = next_due_at()
        if following is None:
            return settings.PUBLISHER_RESCUE_SECONDS
        wait = (following - clock.database_now() - EARLY).total_seconds()
        return min(max(wait, 0), settings.PUBLISHER_RESCUE_SECONDS)


def _sleep(direct: "psycopg.Connection[Any]", seconds: float) -> None:
    """Until somebody says that something is due soon; all that was said by then is one reason to look."""
    if any(True for _nudge in direct.notifies(timeout=seconds, stop_after=1)):
        for _nudge in direct.notifies(timeout=0):
            pass


def _try_lock(direct: "psycopg.Connection[Any]") -> bool:
    row = direct.execute("SELECT pg_try_advisory_lock(%s)", [DISPATCHER_LOCK]).fetchone()
    return row is not None and row[0]


def _end_dead_leader(direct: "psycopg.Connection[Any]") -> bool:
    """Whether the lock was taken from a process that is no worker any more."""
    ended = direct.execute(END_DEAD_LEADER, {"name": DISPATCHER_NAME}).fetchall()
    if ended:
        logger.warning("dead_leader_ended")
    return bool(ended)
