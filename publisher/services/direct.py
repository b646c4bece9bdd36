"""Wake-ups that the broker does not take, carried out by this process itself: so works leave on time without Redis."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import structlog
from django.db import connections

from publisher.services import draining

logger = structlog.get_logger(__name__)

Call = Callable[[str, list[str]], object]


class DirectPool:
    """Threads beside Celery's; together they never run more than ``slots``, as far as this pool can help it.

    ``call`` carries out a task by its name, ``busy_elsewhere`` tells how many slots Celery's tasks take.
    """

    def __init__(self, slots: int, *, call: Call, busy_elsewhere: Callable[[], int] = lambda: 0) -> None:
        self.slots = slots
        self._call = call
        self._busy_elsewhere = busy_elsewhere
        self._executor = ThreadPoolExecutor(slots, thread_name_prefix="direct")
        self._lock = threading.Lock()
        self._waiting: set[tuple[str, ...]] = set()
        self._running = 0

    def offer(self, task_name: str, arguments: list[str]) -> bool:
        """Take the wake-up; False when it is not the publisher's, when all is taken, or this process is to end.

        What is not taken is lost as a message would be: its row stays due, and the dispatcher comes back to it.
        """
        wake_up = (task_name, *arguments)
        if not task_name.startswith("publisher.") or draining.stopping():
            return False
        with self._lock:
            if wake_up in self._waiting:
                return True
            if len(self._waiting) >= self.slots:
                return False
            self._waiting.add(wake_up)
        try:
            self._executor.submit(self._run, wake_up)
        except RuntimeError:  # the interpreter is ending
            return False
        return True

    def running(self) -> int:
        return self._running

    def jobs(self) -> int:
        """What runs, and what has been taken and will run."""
        return self._running + len(self._waiting)

    def has_room(self) -> bool:
        """Whether one more may run in this process."""
        return self._running + self._busy_elsewhere() < self.slots

    def _run(self, wake_up: tuple[str, ...]) -> None:
        task_name, *arguments = wake_up
        with self._lock:
            # From here on another wake-up of the same account is news.
            self._waiting.discard(wake_up)
            if not self.has_room() or draining.stopping():
                return
            self._running += 1
        try:
            with _correlated():
                self._call(task_name, list(arguments))
        except Exception:
            logger.exception("direct_task_failed", task=task_name)
        finally:
            with self._lock:
                self._running -= 1
            # Outages are rare: a connection that is kept for the next one would only be in somebody's way.
            connections.close_all()


@contextmanager
def _correlated() -> Iterator[None]:
    with structlog.contextvars.bound_contextvars(request_id=uuid4().hex):
        yield
