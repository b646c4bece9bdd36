"""Doing things at the same moment, each on a database connection of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from deviations.models import Deviation
from isekai.errors import IsekaiError


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each of ``calls`` returned, or the error of ours that it raised; all of them begin together."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait(timeout=10)
        return outcome_of(call)

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def beside(call: Callable[[], Any]) -> Future[Any]:
    """Begin ``call`` on another connection, and come back once it waits for a lock (or has ended)."""
    threads = ThreadPoolExecutor(1)
    future = threads.submit(outcome_of, call)
    threads.shutdown(wait=False)
    wait_until(lambda: somebody_waits() or future.done())
    return future


@contextmanager
def row_held(work: Deviation) -> Iterator[Deviation]:
    """The row, locked by this connection until the block ends; what the block saves is committed then."""
    with transaction.atomic():
        yield Deviation.objects.select_for_update().get(pk=work.pk)


def outcome_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except IsekaiError as error:
        return error
    finally:
        connection.close()


def somebody_waits() -> bool:
    """Whether a connection waits for a lock; what pg_stat_activity says would stand still within a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.005)
