"""Starts workers as `isekai.__main__` does, with one more task, which runs for as long as a test wants it to."""

import os
import sys
from typing import Any

import structlog
from celery.signals import worker_ready
from django.conf import settings
from prometheus_client import Counter
from redis import Redis

from isekai.__main__ import main
from isekai.celery import app

__all__ = ["app", "main"]

logger = structlog.get_logger(__name__)

STARTED = Counter("tests_waits_started", "Waits that a worker has begun")


_consumers: list[Any] = []


@worker_ready.connect
def _remember(sender: Any, **_about: Any) -> None:
    _consumers.append(sender)


@app.task(name="tests.go_deaf", ignore_result=True)
def go_deaf() -> None:
    """The connection stays, and nothing is read from it any more."""
    (consumer,) = _consumers
    consumer.call_soon(consumer.task_consumer.cancel)


@app.task(name="tests.wait", ignore_result=True)
def wait(key: str) -> None:
    """Says that it runs, and waits until the test says *go*."""
    STARTED.inc()
    redis = Redis.from_url(settings.REDIS_URL, socket_timeout=120)
    redis.rpush(f"{key}:running", os.getpid())
    redis.blpop([f"{key}:go"], timeout=100)
    logger.info("waited")
    app.send_task("tests.nobody", queue="nobody")


if __name__ == "__main__":
    main(sys.argv[1:])
