"""Beat, when the clock of its host was ahead and is put right."""

from datetime import timedelta
from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask

from isekai import clock
from isekai.beat import Scheduler
from isekai.celery import app

# It closes the connection to the database before it reads.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that beat has had done."""
    names: list[str] = []
    monkeypatch.setattr(Scheduler, "apply_async", lambda _self, entry, **_options: names.append(entry.task))
    return names


def waits(scheduler: Scheduler) -> dict[str, float]:
    """By how many of its own periods each task waits at most."""
    return {
        name: entry.is_due().next / entry.schedule.run_every.total_seconds()
        for name, entry in scheduler.schedule.items()
        if hasattr(entry.schedule, "run_every")
    }


def test_what_ran_in_the_future_comes_again_within_its_period(sent: list[str]):
    scheduler: Any = Scheduler(app=app)
    PeriodicTask.objects.update(last_run_at=clock.now() + timedelta(hours=2))
    scheduler = Scheduler(app=app)
    assert max(waits(scheduler).values()) > 100
    scheduler.tick()
    assert max(waits(scheduler).values()) <= 1


def test_a_clock_that_is_put_back_while_beat_runs_stops_nothing(sent: list[str]):
    scheduler: Any = Scheduler(app=app)
    scheduler.tick()
    for entry in scheduler.schedule.values():
        entry.last_run_at = clock.now() + timedelta(hours=2)
    scheduler.tick()
    assert max(waits(scheduler).values()) <= 1


def test_what_ran_lately_is_left_as_it_is():
    PeriodicTask.objects.update(last_run_at=clock.now() - timedelta(seconds=1))
    scheduler: Any = Scheduler(app=app)
    before = {name: entry.last_run_at for name, entry in scheduler.schedule.items()}
    scheduler.put_right()
    assert {name: entry.last_run_at for name, entry in scheduler.schedule.items()} == before
