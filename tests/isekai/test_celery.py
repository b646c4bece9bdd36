from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from celery.fixups import django as fixup
from django.db import OperationalError, connection

from isekai.celery import app, keep_good_connections
from isekai.devstack import processes
from isekai.prepared import prepared_cursor

SCHEDULE: dict[str, dict[str, Any]] = app.conf.beat_schedule
CONSUMED = {queue for process in processes.production_processes().values() for queue in process.queues}


@pytest.mark.parametrize("name", SCHEDULE)
def test_what_beat_sends_exists_and_is_consumed(name: str) -> None:
    app.loader.import_default_modules()
    task = SCHEDULE[name]["task"]
    assert task in app.tasks
    assert app.amqp.router.route({}, task)["queue"].name in CONSUMED


@pytest.mark.parametrize("name", SCHEDULE)
def test_beat_pauses_between_two_runs_at_any_time_scale(name: str) -> None:
    # Its tables hold whole seconds.
    period = SCHEDULE[name]["schedule"]
    assert period >= 1
    assert period == int(period)


def test_every_task_of_ours_is_consumed_and_leaves_no_result() -> None:
    app.loader.import_default_modules()
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    assert len(ours) >= len(SCHEDULE)
    for name, task in ours.items():
        assert app.amqp.router.route({}, name)["queue"].name in CONSUMED
        assert task.ignore_result is True
        assert task.acks_late is True


def test_messages_are_json_alone() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"


# --- the connection to the database ----------------------------------------------------------------------------------
def ordinary_cursor() -> Any:
    return connection.cursor()


def backend(open_cursor: Callable[[], Any]) -> int:
    with open_cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        number: int = cursor.fetchone()[0]
    return number


@pytest.fixture
def persistent(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This thread's connection as a worker's, which is no older than its first task."""
    connection.close()
    yield
    connection.close()


@pytest.mark.parametrize("open_cursor", [ordinary_cursor, prepared_cursor])
def test_a_thread_keeps_its_connection_from_task_to_task(persistent: None, open_cursor: Callable[[], Any]):
    first = backend(open_cursor)
    keep_good_connections()
    assert backend(open_cursor) == first


@pytest.mark.parametrize("open_cursor", [ordinary_cursor, prepared_cursor])
def test_a_connection_that_broke_between_two_tasks_is_replaced(persistent: None, open_cursor: Callable[[], Any]):
    first = backend(open_cursor)
    end_backend(first)
    keep_good_connections()
    assert backend(open_cursor) != first


@pytest.mark.parametrize("open_cursor", [ordinary_cursor, prepared_cursor])
def test_a_connection_that_broke_in_a_task_is_replaced_before_the_next(
    persistent: None, open_cursor: Callable[[], Any]
):
    first = backend(open_cursor)
    end_backend(first)
    with pytest.raises(OperationalError):
        backend(open_cursor)
    keep_good_connections()
    assert backend(open_cursor) != first


def end_backend(number: int) -> None:
    with psycopg.connect(connection.connection.info.dsn, password=connection.settings_dict["PASSWORD"]) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [number])


def test_celery_itself_closes_no_connection():
    untyped: Any = fixup
    assert untyped.DjangoWorkerFixup(app).db_reuse_max > 10**9
