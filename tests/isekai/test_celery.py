from typing import Any

import pytest

from isekai.celery import app
from isekai.devstack import processes

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
