"""Whether the servers that a process leans on answer now: asked afresh each time, and never waited for."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

import structlog
from django.conf import settings
from django.db import connection, connections
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from isekai import clock

logger = structlog.get_logger(__name__)
T = TypeVar("T")

ANSWER_SECONDS = 2.0
# One that hangs so long is given up, and the next asker tries anew.
HANGING_SECONDS = 60.0


class Question(Generic[T]):
    """A question to a server, put in a thread of its own, so that a server that hangs holds up nobody.

    Those who ask meanwhile share the answer, so that no crowd of probes becomes a crowd of connections.
    """

    def __init__(self, name: str, ask: Callable[[], T], *, seconds: float = ANSWER_SECONDS) -> None:
        self.name = name
        self.seconds = seconds
        self._ask = ask
        self._lock = threading.Lock()
        self._pending: Future[T] | None = None
        self._pending_since = 0.0
        self._answered = True

    def put(self) -> "Future[T]":
        """Ask, without waiting; the future is that of the question that is under way already, if there is one."""
        with self._lock:
            now = time.monotonic()
            if self._pending is None or now - self._pending_since > HANGING_SECONDS:
                self._pending, self._pending_since = Future(), now
                threading.Thread(target=self._run, args=[self._pending], name=f"asks-{self.name}", daemon=True).start()
            return self._pending

    def answer(self) -> T | None:
        """The answer, or None where there is none within ``seconds``."""
        try:
            answer = self.put().result(self.seconds)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no answer
            self._note(answered=False, error=type(error).__name__)
            return None
        self._note(answered=True)
        return answer

    def _run(self, pending: "Future[T]") -> None:
        try:
            answer = self._ask()
        except Exception as error:  # noqa: BLE001 - handed to those who wait for it
            self._forget(pending)
            pending.set_exception(error)
        else:
            self._forget(pending)
            pending.set_result(answer)
        finally:
            connections.close_all()

    def _forget(self, pending: "Future[T]") -> None:
        with self._lock:
            if self._pending is pending:
                self._pending = None

    def _note(self, *, answered: bool, error: str | None = None) -> None:
        """One line for each change, not for each probe."""
        if answered != self._answered:
            self._answered = answered
            if answered:
                logger.info("answers_again", server=self.name)
            else:
                logger.warning("does_not_answer", server=self.name, error=error)


def new_redis() -> Redis:
    """A client of the broker on connections of its own, which waits for nothing longer than for an answer."""
    return Redis.from_url(
        settings.CELERY_BROKER_URL,
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def ping_redis() -> bool:
    """Raises RedisError where a new connection to the broker gets no answer."""
    with new_redis() as redis:
        return bool(redis.ping())


def ask_database() -> bool:
    """Raises DatabaseError where this process gets no connection, or no answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def timestamp() -> str:
    """Now, as the answers to probes show it: UTC, to the millisecond."""
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


REDIS = Question("redis", ping_redis)
DATABASE = Question("database", ask_database)
