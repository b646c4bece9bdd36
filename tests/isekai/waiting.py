"""The Celery app of the project with one more task, which runs for as long as a test wants it to."""

import os

import structlog
from django.conf import settings
from prometheus_client import Counter
from redis import Redis

from isekai.celery import app

__all__ = ["app"]

logger = structlog.get_logger(__name__)

STARTED = Counter("tests_waits_started", "Waits that a worker has begun")


@app.task(name="tests.wait", ignore_result=True)
def wait(key: str) -> None:
    """Says that it runs, and waits until the test says *go*."""
    STARTED.inc()
    redis = Redis.from_url(settings.REDIS_URL, socket_timeout=120)
    redis.rpush(f"{key}:running", os.getpid())
    redis.blpop([f"{key}:go"], timeout=100)
    logger.info("waited")
    app.send_task("tests.nobody", queue="nobody")
