"""Beat, when the clock of its host was ahead and is put right, and when it is asked to end."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery.beat import Service
from django_celery_beat.models import PeriodicTask

from isekai import clock
from isekai.beat import Scheduler
from isekai.celery import app
from isekai.devstack import processes
from tests.isekai.conftest import OwnRedis
from tests.processes import BIN, ROOT, wait_until

# It closes the connection to the database before it reads.
pytestmark = pytest.mark.django_db(transaction=True)
STOPS = (signal.SIGTERM, signal.SIGINT)


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


class Deaf(Scheduler):
    """Is asked to end in its first tick, in code that catches everything."""

    ticks = 0

    def tick(self, *_args: Any, **_options: Any) -> float:
        self.ticks += 1
        if self.ticks == 1:
            with suppress(BaseException):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
        return 0.01


def test_it_ends_although_what_it_is_at_catches_everything():
    service: Any = Service(app, scheduler_cls=Deaf)
    before = {each: signal.getsignal(each) for each in STOPS}
    # What is there before Celery starts beat: like its own handler it only raises.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        service.start()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert service.scheduler.ticks == 1


@pytest.mark.processes
def test_it_ends_although_it_is_asked_to_while_it_waits_for_the_database(
    own_redis: OwnRedis, database_url: str, tmp_path: Path
):
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": own_redis.url, "LOG_JSON": "1"}
    command, log = processes.beat().command, tmp_path / "beat.log"
    with log.open("wb") as out:
        beat = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        has_run = PeriodicTask.objects.filter(last_run_at__isnull=False)
        wait_until(has_run.exists, seconds=60, what=log.read_text)
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE django_celery_beat_periodictask, django_celery_beat_periodictasks")
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = ANY (%s::regclass[])"
            tables = ["django_celery_beat_periodictask", "django_celery_beat_periodictasks"]
            wait_until(lambda: other.execute(waiting, [tables]).fetchone() == (1,), seconds=60, what=log.read_text)
            beat.terminate()
        assert beat.wait(20) == 0, log.read_text()
    finally:
        beat.kill()
        beat.wait()
    assert "Traceback" not in log.read_text()
