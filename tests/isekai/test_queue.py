"""Wake-ups: they arrive, and cost nobody anything where they cannot."""

import signal
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from isekai import outage, queue
from tests.isekai.conftest import OwnRedis
from tests.processes import wait_until


@pytest.fixture
def redis(own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> OwnRedis:
    """The broker, of this test alone."""
    monkeypatch.setenv("CELERY_BROKER_URL", own_redis.url)
    monkeypatch.setattr(queue, "BROKER", outage.Outage("broker"))
    return own_redis


def waiting(redis: OwnRedis) -> int:
    return int(redis.client().llen("publisher"))


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_is_sent_after_the_commit(redis: OwnRedis) -> None:
    with transaction.atomic():
        queue.send("publisher.publish_next", uuid4())
        assert waiting(redis) == 0
    assert waiting(redis) == 1


@pytest.mark.django_db(transaction=True)
def test_nothing_is_sent_for_what_was_rolled_back(redis: OwnRedis) -> None:
    with transaction.atomic():
        queue.send("publisher.publish_next", uuid4())
        transaction.set_rollback(True)
    assert waiting(redis) == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "goes_away", [lambda redis: redis.stop(), lambda redis: redis.signal(signal.SIGSTOP)], ids=["refuses", "hangs"]
)
def test_a_dead_broker_slows_no_request_down(redis: OwnRedis, goes_away: Callable[[OwnRedis], Any]) -> None:
    queue.send("publisher.publish_next", uuid4())
    goes_away(redis)
    started = time.monotonic()
    for _ in range(100):
        queue.send("publisher.publish_next", uuid4())
    assert time.monotonic() - started < 2


@pytest.mark.django_db(transaction=True)
def test_wake_ups_arrive_again_when_the_broker_is_back(redis: OwnRedis) -> None:
    queue.send("publisher.publish_next", uuid4())
    redis.stop()
    queue.send("publisher.publish_next", uuid4())
    redis.start()
    before = waiting(redis)

    def arrives() -> bool:
        queue.send("publisher.publish_next", uuid4())
        return waiting(redis) > before

    wait_until(arrives)
