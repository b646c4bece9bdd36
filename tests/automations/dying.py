"""Beats that die, for real as far as the database can tell, and beats that others come in between."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from unittest.mock import patch

import psycopg
import time_machine
from django.db import connection, connections

from automations.services.materialising import schedule_due


class Clock:
    """Stops the clock of this process, and of each connection that says so, at a moment (aware)."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._travels = ExitStack()

    def __enter__(self) -> Self:
        self.move_to(self.now)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._travels.close()
        with connection.cursor() as cursor:
            cursor.execute("RESET isekai.now")

    def move_to(self, moment: datetime) -> None:
        self.now = moment
        self._travels.close()
        self._travels.enter_context(time_machine.travel(moment, tick=False))
        self.set_here()

    def set_here(self) -> None:
        """For this thread's own connection, which may be new."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('isekai.now', %s, false)", [self.now.isoformat()])


class Killed(BaseException):
    """Nothing catches it, as nothing catches a SIGKILL."""


@dataclass
class Death:
    """Dies at a statement (1 is the first) before it is sent, or at a commit, before or after that is done."""

    statement: int | None = None
    commit: int | None = None
    is_committed: bool = False
    happened: bool = False
    _statements: int = field(default=0, init=False)
    _commits: int = field(default=0, init=False)

    @contextmanager
    def comes(self) -> Iterator[None]:
        """To this thread's connection."""
        ours = connections["default"]
        commit = ours._commit  # type: ignore[attr-defined]  # Django's only place for it

        def committing() -> None:
            self._commits += 1
            if self._commits != self.commit:
                commit()
                return
            if self.is_committed:
                commit()
            self._die()

        def executing(execute: Callable[..., Any], *args: Any) -> Any:
            self._statements += 1
            if self._statements == self.statement:
                self._die()
            return execute(*args)

        with patch.object(ours, "_commit", committing), connection.execute_wrapper(executing):
            yield

    def _die(self) -> None:
        """The server sees the end of the connection, and rolls back what is open."""
        self.happened = True
        raw = connections["default"].connection
        assert raw is not None
        raw.close()
        raise Killed


def tick(clock: Clock, death: Death | None = None) -> bool:
    """A tick on this thread's connection; whether it lived to see its end."""
    clock.set_here()
    if death is None:
        schedule_due()
        return True
    try:
        with death.comes():
            schedule_due()
    except BaseException:
        if not death.happened:
            raise
        return False
    finally:
        if death.happened:
            connections["default"].close()
            clock.set_here()
    return True


class OtherBeat:
    """A second beat, in a thread and on a connection of its own."""

    def __init__(self, clock: Clock, death: Death | None = None) -> None:
        self.clock, self.death = clock, death
        self.error: BaseException | None = None
        self._process_id: int | None = None
        self._thread = threading.Thread(target=self._run)
        self._is_ready, self._is_done = threading.Event(), threading.Event()

    def start(self) -> None:
        self._thread.start()

    def come_in_between(self, monitor: "psycopg.Connection[Any]") -> None:
        """Run until the end, or until it waits for what somebody else holds."""
        self.start()
        self._is_ready.wait()
        query = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
        while not self._is_done.wait(0.005):
            row = monitor.execute(query, [self._process_id]).fetchone()
            if row is not None and row[0]:
                return

    def join(self) -> None:
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self._process_id = cursor.fetchone()[0]
            self._is_ready.set()
            tick(self.clock, self.death)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is joined
            self.error = error
        finally:
            connections["default"].close()
            self._is_ready.set()
            self._is_done.set()


@contextmanager
def monitoring() -> Iterator["psycopg.Connection[Any]"]:
    """A connection that sees what the others wait for."""
    at = connection.settings_dict
    where = {"host": at["HOST"], "port": at["PORT"], "user": at["USER"], "password": at["PASSWORD"]}
    with psycopg.connect(dbname=at["NAME"], autocommit=True, **where) as monitor:
        yield monitor
