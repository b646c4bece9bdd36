"""Wake-ups: send a task by its name, best effort.

The row is the message. A wake-up that is lost costs the seconds until the next tick finds the row, so a broker that is
away must never fail, or slow down, the request that wanted to send one.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog
from celery import current_app
from django.db import connection, transaction
from kombu import pools
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from isekai.outage import Outage

logger = structlog.get_logger(__name__)

# What a wake-up may cost a request; the workers' own connections are given more time.
SENDING = {"max_retries": 0, "socket_connect_timeout": 0.5, "socket_timeout": 0.5, "retry_on_timeout": False}
BROKER = Outage("broker")


class _NoResult:
    """What becomes of a task is not asked."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id


TakesOver = Callable[[str, list[str]], object]
_takes_over: TakesOver | None = None

DUE_CHANNEL = "isekai_due"


def send(task_name: str, *ids: UUID | int | str) -> None:
    """Send ``task_name`` with ids as its only arguments, once the current transaction has been committed."""
    arguments = [str(value) for value in ids]
    transaction.on_commit(lambda: _send_now(task_name, arguments), robust=True)


def send_to(queue: str, task_name: str, *ids: UUID | int | str) -> None:
    """Send it to a queue of its own, at once; nobody takes over what could not be sent."""
    _try_to_send(task_name, [str(value) for value in ids], queue=queue)


def take_over(what_was_not_sent: TakesOver | None) -> None:
    """In this process, give each wake-up that the broker does not take to ``what_was_not_sent``: task and arguments."""
    global _takes_over  # noqa: PLW0603 - one process, one who takes over
    _takes_over = what_was_not_sent


def _send_now(task_name: str, arguments: list[str]) -> None:
    if not _try_to_send(task_name, arguments) and _takes_over is not None:
        _takes_over(task_name, arguments)


def _try_to_send(task_name: str, arguments: list[str], **options: Any) -> bool:
    if BROKER.lasts():
        return False
    try:
        with pools.producers[current_app.connection_for_write(transport_options=SENDING)].acquire(
            block=True
        ) as producer:
            current_app.send_task(
                task_name,
                args=arguments,
                producer=producer,
                retry=False,
                ignore_result=True,
                # Celery's own would look for a result backend, in each thread anew and among all packages.
                result_cls=_NoResult,  # type: ignore[arg-type]  # has what `send_task` needs of it
                **options,
            )
    except (BrokerError, RedisError, OSError) as error:
        BROKER.noticed(error)
        logger.warning("wake_up_not_sent", task=task_name, error=type(error).__name__)
        return False
    BROKER.over()
    return True


def nudge() -> None:
    """Wake the dispatcher when the current transaction is committed: something is due in a few seconds.

    Only for such: each NOTIFY takes a lock that all committing transactions share.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {DUE_CHANNEL}")
