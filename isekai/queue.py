"""Wake-ups: send a task by its name, best effort.

The row is the message. A wake-up that is lost costs the seconds until the next tick finds the row, so a broker that is
away must never fail, or slow down, the request that wanted to send one.
"""

from uuid import UUID

import structlog
from celery import current_app
from django.db import connection, transaction
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)

DUE_CHANNEL = "isekai_due"


def send(task_name: str, *ids: UUID | int | str) -> None:
    """Send ``task_name`` with ids as its only arguments, once the current transaction has been committed."""
    arguments = [str(value) for value in ids]
    transaction.on_commit(lambda: _send_now(task_name, arguments), robust=True)


def _send_now(task_name: str, arguments: list[str]) -> None:
    try:
        current_app.send_task(task_name, args=arguments, retry=False, ignore_result=True)
    except (BrokerError, RedisError, OSError) as error:
        logger.warning("wake_up_not_sent", task=task_name, error=type(error).__name__)


def nudge() -> None:
    """Wake the dispatcher when the current transaction is committed: something is due in a few seconds.

    Only for such: each NOTIFY takes a lock that all committing transactions share.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {DUE_CHANNEL}")
