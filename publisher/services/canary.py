"""A worker's own canary: a message to itself, by which it notices that it no longer hears the broker.

A connection that looks alive may deliver nothing any more. Only a worker that could have heard is deaf: one with a slot
free, while the broker answered others.
"""

import time
from collections.abc import Callable
from uuid import UUID

import structlog
from django.conf import settings
from kombu import Exchange, Queue
from prometheus_client import Gauge
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from isekai import queue
from publisher.models import Worker

logger = structlog.get_logger(__name__)

PREFIX = "canary."
EXCHANGE = "canary"
TASK = "publisher.canary"
DEAF_SECONDS = 60.0
EVERY_SECONDS = 20.0
LOOK_SECONDS = 1.0
ANSWER_SECONDS = 0.5
# What the broker forgets by itself when nobody has used it for so long.
EXPIRES_SECONDS = 900

AGE = Gauge("isekai_canary_age_seconds", "Seconds since this worker last heard from itself through the broker")


def queue_name(worker_id: UUID) -> str:
    return f"{PREFIX}{worker_id}"


def own_queue(worker_id: UUID) -> Queue:
    """The queue that this worker alone consumes."""
    name = queue_name(worker_id)
    return Queue(name, Exchange(EXCHANGE, type="direct"), routing_key=name, expires=EXPIRES_SECONDS)


class Deafness:
    """Decides: deaf is who had a slot free and a broker that answers for ``patience`` seconds, and heard nothing.

    ``longest_look`` is how far apart two looks may be: a process that was asleep itself has missed nothing.
    """

    def __init__(self, patience: float, *, longest_look: float) -> None:
        self.patience = patience
        self.longest_look = longest_look
        self._since: float | None = None
        self._last = 0.0

    def look(self, now: float, *, slot_free: bool, broker_answers: bool, heard: bool) -> bool:
        """What there was to see since the last look, at ``now`` by a monotonic clock; True when the worker is deaf."""
        slept = now - self._last > self.longest_look
        self._last = now
        if heard or slept or not (slot_free and broker_answers):
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= self.patience


class Canary:
    """Sent by the watching thread, heard by a task. Times are monotonic."""

    def __init__(self, worker_id: UUID, *, slot_free: Callable[[], bool]) -> None:
        self.queue_name = queue_name(worker_id)
        self._slot_free = slot_free
        self._deafness = Deafness(_scaled(DEAF_SECONDS), longest_look=_scaled(DEAF_SECONDS) / 3)
        self._sent_at: float | None = None
        self._heard_at = time.monotonic()
        self._heard = False
        AGE.set_function(self.age_seconds)

    def hear(self) -> None:
        self._heard_at, self._heard, self._sent_at = time.monotonic(), True, None

    def age_seconds(self) -> float:
        """Since this worker last heard itself, or began to listen."""
        return round(time.monotonic() - self._heard_at, 3)

    def look(self) -> bool:
        """Ask the broker, let the canary go when it is time, and say whether this worker is deaf."""
        waiting = self._waiting()
        heard, self._heard = self._heard, False
        slot_free = self._slot_free()
        now = time.monotonic()
        if waiting is not None:
            self._send_when_it_is_time(now, waiting)
        return self._deafness.look(now, slot_free=slot_free, broker_answers=waiting is not None, heard=heard)

    def _waiting(self) -> int | None:
        """How many canaries wait in the queue, asked on a new connection; None when the broker takes no messages.

        One whose memory is full answers and takes nothing: that is no reason to end this process. What is found counts
        for everybody in this process: nobody else has to wait for a broker that is away.
        """
        try:
            with _new_redis() as redis, redis.pipeline(transaction=False) as pipe:
                pipe.set(f"isekai:takes:{self.queue_name}", 1, px=1000)
                pipe.llen(self.queue_name)
                _taken, waiting = pipe.execute()
        except (RedisError, OSError) as error:
            queue.BROKER.noticed(error)
            return None
        queue.BROKER.over()
        return int(waiting)

    def _send_when_it_is_time(self, now: float, waiting: int) -> None:
        """One at a time; one that is neither heard nor in its queue was lost with what the broker held."""
        if self._sent_at is None:
            is_time = now - self._heard_at >= _scaled(EVERY_SECONDS)
        else:
            is_time = not waiting and now - self._sent_at >= _scaled(EVERY_SECONDS)
        if is_time:
            self._sent_at = now
            queue.send_to(self.queue_name, TASK)


def forget_dead_canaries() -> int:
    """Delete what the canaries of workers that are gone have left in the broker; returns how many, 0 while it is away.

    Harmless twice, and to a worker that is only just starting: it sends another one.
    """
    try:
        return _forget_dead_canaries()
    except (RedisError, OSError) as error:
        logger.info("canaries_not_cleared", error=type(error).__name__)
        return 0


def _forget_dead_canaries() -> int:
    with _new_redis() as redis:
        bindings = f"_kombu.binding.{EXCHANGE}"
        bound = {entry: _text(entry).rpartition("\x06\x16")[2] for entry in redis.smembers(bindings)}
        found = {_text(key) for key in redis.scan_iter(match=f"{PREFIX}*", count=1000)} | set(bound.values())
        alive = {queue_name(pk) for pk in Worker.objects.alive().values_list("pk", flat=True)}
        dead = found - alive
        for entry, name in bound.items():
            if name in dead:
                redis.srem(bindings, entry)
        if dead:
            redis.delete(*dead)
    return len(dead)


def _new_redis() -> Redis:
    return Redis.from_url(
        settings.CELERY_BROKER_URL,
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _scaled(seconds: float) -> float:
    return seconds * settings.ISEKAI_TIME_SCALE


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
