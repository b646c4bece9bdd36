"""What our Celery workers do beside their tasks: answer probes, and refuse servers on which messages would be lost.

All of it starts from bootsteps, in the parent process only. ``worker_ready`` would be too late: it never comes while
Redis is away, which is when a probe has most to ask.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import structlog
from celery import bootsteps
from celery.exceptions import WorkerShutdown
from celery.signals import after_task_publish, before_task_publish
from celery.worker import state
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django_structlog.celery.steps import DjangoStructLogInitStep
from psycopg import sql
from redis import Redis
from redis.exceptions import ResponseError

from accounts.services.secrets import verify_keys
from isekai import metrics, readiness
from isekai.checks import stop_if_wrong
from isekai.probes import ProbeServer, Service, service_name

logger = structlog.get_logger(__name__)

REFUSED = 1
"""The exit code of a worker that must not work with what it has been given."""
DIRECT_CHECK_PAUSE_SECONDS = 5.0
NOTIFY_SECONDS = 2.0


class HealthServer(bootsteps.StartStopStep):
    """Answers probes from a thread of the parent, from before the first connection to Redis until the process ends.

    There is no stop: a worker that drains has its probes answered (not ready) as long as it works.
    """

    # The first children are forked before this process has a second thread.
    requires = ("celery.worker.components:Pool",)

    def include_if(self, _worker: Any) -> bool:
        return settings.HEALTH_CHECK_ENABLED

    def create(self, _worker: Any) -> None:
        metrics.start_anew()

    def start(self, worker: Any) -> None:
        address = (settings.HEALTH_CHECK_HOST, settings.HEALTH_CHECK_PORT)
        service = worker.isekai_service = Service(worker)
        try:
            server = ProbeServer(address, service)
        except OSError as error:
            # A supervisor that cannot ask it would take it for dead, or ask its neighbour in its place.
            logger.critical(
                "health_port_not_usable",
                host=address[0],
                port=address[1],
                error=error.strerror,
                hint="HEALTH_CHECK_PORT belongs to one process; HEALTH_CHECK_ENABLED=false does without.",
            )
            raise WorkerShutdown(REFUSED) from error
        # A child that is forked later must not keep the port when its parent is gone.
        os.register_at_fork(after_in_child=server.socket.close)
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
        logger.info("health_server_started", service=service.name, host=address[0], port=address[1])


class TaskLog(DjangoStructLogInitStep):
    """Logs how each task began and ended."""

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        # What is sent is logged already, as in every process of ours.
        before_task_publish.disconnect(self.receiver.receiver_before_task_publish)
        after_task_publish.disconnect(self.receiver.receiver_after_task_publish)


# --- what a worker refuses -------------------------------------------------------------------------------------------
class SensibleSettings(bootsteps.Step):
    """Celery runs Django's system checks without looking at what they find."""

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        stop_if_wrong()


class BrokerRefused(Exception):
    """The broker would lose messages."""


def require_noeviction(redis: Redis) -> None:
    """Raises BrokerRefused where the server drops keys when its memory is full, messages among them."""
    try:
        memory = redis.info("memory")
    except ResponseError as error:
        logger.warning("broker_not_checked", error=type(error).__name__)
        return
    policy = memory.get("maxmemory_policy")
    if policy != "noeviction":
        raise BrokerRefused(
            f"The Redis of REDIS_URL has the maxmemory-policy {policy}: when its memory is full it drops messages."
            " Set it to noeviction, or use another server for the queue."
        )


class KeepingBroker(bootsteps.StartStopStep):
    """Checks the broker each time that it has been reached, before the first message is read."""

    requires = ("celery.worker.consumer:Connection",)

    def start(self, _consumer: Any) -> None:
        try:
            with readiness.new_redis() as redis:
                require_noeviction(redis)
        except BrokerRefused as error:
            logger.critical("broker_refused", reason=str(error))
            raise WorkerShutdown(REFUSED) from error


class DatabaseRefused(Exception):
    """A transaction pooler stands where a direct connection is needed."""


def require_direct_connection(url: str) -> None:
    """Prove that session locks and notifications work at ``url``; raises DatabaseRefused where they do not.

    A transaction pooler takes both without an error: it gives the lock to whoever gets the same server connection
    next, and a notification reaches nobody (pgbouncer.org/features.html). Raises psycopg.OperationalError where the
    database cannot be reached.
    """
    name = f"isekai_check_{uuid4().hex}"
    options: dict[str, Any] = {"autocommit": True, "connect_timeout": 5, "application_name": "isekai-check"}
    with psycopg.connect(url, **options) as one, psycopg.connect(url, **options) as other:
        key = uuid4().int >> 65
        one.execute("SELECT pg_advisory_lock(%s)", [key])
        one.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
        other.execute("SELECT pg_notify(%s, '')", [name])
        heard = any(one.notifies(timeout=NOTIFY_SECONDS, stop_after=1))
        stolen = _truth(other.execute("SELECT pg_try_advisory_lock(%s)", [key]))
        kept = _truth(one.execute("SELECT pg_advisory_unlock(%s)", [key]))
    if stolen or not kept or not heard:
        raise DatabaseRefused(
            "DATABASE_DIRECT_URL (or DATABASE_URL, where it is not set) leads to a transaction pooler: locks and"
            " notifications do not work there. Set DATABASE_DIRECT_URL to the database server itself, or to a pooler in"
            " session mode."
        )


def _truth(cursor: "psycopg.Cursor[Any]") -> bool:
    row = cursor.fetchone()
    return row is not None and bool(row[0])


class DirectDatabase(bootsteps.StartStopStep):
    """Checks DATABASE_DIRECT_URL as soon as the database can be reached, and ends the publisher where it is wrong."""

    def include_if(self, worker: Any) -> bool:
        return service_name(set(worker.app.amqp.queues.consume_from)) == "publisher"

    def start(self, _worker: Any) -> None:
        threading.Thread(target=self._check, name="direct-database", daemon=True).start()

    def _check(self) -> None:
        try:
            _once_reached(lambda: require_direct_connection(settings.DATABASE_DIRECT_URL))
        except DatabaseRefused as error:
            logger.critical("database_refused", reason=str(error))
            state.should_stop = REFUSED  # type: ignore[assignment] # read by the loop of the main thread


class ReadableSecrets(bootsteps.StartStopStep):
    """Checks the encryption keys as soon as the database can be reached, and ends a worker that lacks one."""

    def start(self, _worker: Any) -> None:
        threading.Thread(target=self._check, name="readable-secrets", daemon=True).start()

    def _check(self) -> None:
        try:
            _once_reached(verify_keys)
        except ImproperlyConfigured as error:
            logger.critical("encryption_keys_refused", reason=str(error))
            state.should_stop = REFUSED  # type: ignore[assignment]
        finally:
            connection.close()


def _once_reached(check: Callable[[], None]) -> None:
    """Do the check, again and again until the database answers."""
    while True:
        try:
            return check()
        except (psycopg.Error, DatabaseError) as error:
            logger.warning("database_not_checked_yet", error=type(error).__name__)
            connection.close()
            time.sleep(DIRECT_CHECK_PAUSE_SECONDS)
