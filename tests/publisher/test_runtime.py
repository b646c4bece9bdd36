"""What runs beside the tasks of a publisher: the pool for times without Redis, the stand-in for beat, the canary."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models import F
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from hypothesis import given
from hypothesis import strategies as st

from deviations.models import Deviation
from isekai import clock, outage, queue
from isekai.ids import new_id
from publisher import worker as publisher_worker
from publisher.models import Worker
from publisher.services import canary, draining, heartbeat
from publisher.services.canary import Canary, Deafness
from publisher.services.direct import DirectPool
from publisher.services.standing_in import StandIn
from publisher.worker import DISPATCHER_LOCK, DISPATCHER_NAME
from tests.connecting import connected_account
from tests.isekai.conftest import OwnRedis
from tests.processes import Processes, wait_until
from tests.publisher.works import make_works
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def broker(redis: OwnRedis, monkeypatch: pytest.MonkeyPatch, settings: Any) -> OwnRedis:
    """The broker, of this test alone."""
    monkeypatch.setenv("CELERY_BROKER_URL", redis.url)
    settings.CELERY_BROKER_URL = redis.url
    monkeypatch.setattr(queue, "BROKER", outage.Outage("broker"))
    return redis


# --- wake-ups that the broker does not take --------------------------------------------------------------------------
class Calls:
    """Tasks that run until they are let go."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, ...]] = []
        self.go = threading.Event()

    def __call__(self, task_name: str, arguments: list[str]) -> None:
        self.begun.append((task_name, *arguments))
        assert self.go.wait(30)


def test_a_wake_up_is_carried_out_with_its_arguments() -> None:
    calls = Calls()
    calls.go.set()
    pool = DirectPool(2, call=calls)
    assert pool.offer("publisher.publish_next", ["a"])
    wait_until(lambda: calls.begun == [("publisher.publish_next", "a")] and pool.jobs() == 0)


def test_no_more_run_than_there_are_slots_beside_celerys_own() -> None:
    calls, celerys = Calls(), [2]
    pool = DirectPool(4, call=calls, busy_elsewhere=lambda: celerys[0])
    for number in range(4):
        pool.offer("publisher.publish_next", [str(number)])
    wait_until(lambda: pool.jobs() == 2)
    assert (len(calls.begun), pool.has_room()) == (2, False)
    celerys[0] = 0
    assert pool.has_room()
    calls.go.set()
    wait_until(lambda: pool.jobs() == 0)
    assert len(calls.begun) == 2, "what found no slot stays in its table"


def test_an_account_that_is_woken_again_while_it_runs_runs_again() -> None:
    """The end of a work wakes its account's next one from within."""
    calls = Calls()
    pool = DirectPool(2, call=calls)
    pool.offer("publisher.publish_next", ["a"])
    wait_until(lambda: len(calls.begun) == 1)
    assert pool.offer("publisher.publish_next", ["a"])
    wait_until(lambda: len(calls.begun) == 2)
    calls.go.set()


def test_what_waits_already_is_not_taken_twice() -> None:
    calls = Calls()
    pool = DirectPool(1, call=calls)
    pool.offer("publisher.publish_next", ["a"])
    wait_until(lambda: len(calls.begun) == 1)
    assert [pool.offer("publisher.publish_next", ["b"]) for _ in range(3)] == [True, True, True]
    assert pool.jobs() == 2
    assert not pool.offer("publisher.publish_next", ["c"]), "and what waits is bounded"
    calls.go.set()


def test_a_task_that_breaks_gives_its_slot_back(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(_task_name: str, _arguments: list[str]) -> None:
        raise ValueError("broken")

    pool = DirectPool(1, call=breaks)
    pool.offer("publisher.publish_next", ["a"])
    wait_until(lambda: pool.jobs() == 0 and "direct_task_failed" in caplog.text)
    assert pool.has_room()


def test_only_the_publishers_own_tasks_are_taken_and_none_by_one_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = DirectPool(1, call=Calls())
    assert not pool.offer("media.make_variants", ["a"])
    monkeypatch.setattr(draining, "_begun_at", 0.0)
    assert not pool.offer("publisher.publish_next", ["a"])


@pytest.mark.django_db(transaction=True)
def test_a_wake_up_that_the_broker_refuses_is_taken_over(broker: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(queue, "_takes_over", None)
    queue.take_over(lambda *wake_up: taken.append(wake_up))
    queue.send("publisher.publish_next", "a")
    assert taken == [], "the broker took it"
    broker.stop()
    queue.send("publisher.publish_next", "b")
    queue.send("publisher.publish_next", "c")
    assert taken == [("publisher.publish_next", ["b"]), ("publisher.publish_next", ["c"])]
    queue.send_to("canary.1", "publisher.canary")
    assert len(taken) == 2, "what has a queue of its own is for nobody else"


# --- what beat should have had done ----------------------------------------------------------------------------------
class Beat:
    """A stand-in of one task that is due every 5 s, a clock that the test moves, and what was run."""

    def __init__(self, *, away: bool = False) -> None:
        self.now = 1000.0
        self.ran: list[str] = []
        self.away = away
        self.stand_in = StandIn(
            {"publisher.stage": 5.0}, call=self.ran.append, broker_away=lambda: self.away, seconds=lambda: self.now
        )

    def after(self, seconds: float) -> int:
        """How often it has run after so many more seconds, each of which it looked in."""
        for _ in range(round(seconds)):
            self.now += 1
            self.stand_in.look()
        return len(self.ran)


def beat_ran(ago: timedelta) -> None:
    every, _made = IntervalSchedule.objects.get_or_create(every=5, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.update_or_create(
        name="stage", defaults={"task": "publisher.stage", "interval": every, "last_run_at": clock.now() - ago}
    )


@pytest.mark.django_db
def test_without_a_beat_a_task_runs_at_twice_its_period() -> None:
    beat = Beat()
    assert beat.after(9) == 0
    assert beat.after(1) == 1
    assert beat.after(9) == 1
    assert beat.after(1) == 2


@pytest.mark.django_db
def test_what_beat_has_had_done_is_not_done_again() -> None:
    beat = Beat()
    beat_ran(timedelta(seconds=1))
    assert beat.after(10) == 0


@pytest.mark.django_db
def test_a_beat_that_stopped_long_ago_is_stood_in_for() -> None:
    beat_ran(timedelta(hours=1))
    assert Beat().after(10) == 1


@pytest.mark.django_db
def test_a_beat_that_ran_in_the_future_is_stood_in_for_unless_it_goes_on() -> None:
    """The clock of its host was two hours ahead, and was put right: then it has nothing done for two hours."""
    beat = Beat()
    beat_ran(timedelta(hours=-2))
    assert beat.after(9) == 0
    assert beat.after(15) == 1
    for _ in range(5):
        beat.after(4)
        PeriodicTask.objects.update(last_run_at=F("last_run_at") + timedelta(seconds=5))
    assert len(beat.ran) <= 2


@pytest.mark.django_db
def test_while_the_broker_is_away_beats_word_counts_for_nothing() -> None:
    """It notes that it sent what nobody got."""
    beat = Beat(away=True)
    beat_ran(timedelta(seconds=1))
    assert beat.after(10) == 1


@pytest.mark.django_db
def test_what_this_process_ran_by_the_queue_counts() -> None:
    beat = Beat(away=True)
    beat.after(9)
    beat.stand_in.ran("publisher.stage")
    assert beat.after(9) == 0


@pytest.mark.django_db
def test_a_task_that_breaks_comes_again_a_period_later_and_holds_up_no_other() -> None:
    ran: list[str] = []

    def call(name: str) -> None:
        ran.append(name)
        if name == "breaks":
            raise ValueError("broken")

    now = [0.0]
    stand_in = StandIn({"breaks": 5.0, "works": 6.0}, call=call, broker_away=lambda: True, seconds=lambda: now[0])
    now[0] = 12.0
    stand_in.look()
    stand_in.look()
    assert (ran, stand_in.busy) == (["breaks", "works"], 0)


# --- deafness --------------------------------------------------------------------------------------------------------
PATIENCE = 60.0
LOOKS = st.lists(st.tuples(st.floats(0.1, 15), st.booleans(), st.booleans(), st.booleans()), max_size=80)


@given(LOOKS)
def test_deaf_is_only_who_could_have_heard_all_the_time(looks: list[tuple[float, bool, bool, bool]]) -> None:
    deafness = Deafness(PATIENCE, longest_look=20)
    now, able_since = 100.0, None
    deafness.look(now, slot_free=False, broker_answers=True, heard=False)
    for step, slot_free, broker_answers, heard in looks:
        now += step
        deaf = deafness.look(now, slot_free=slot_free, broker_answers=broker_answers, heard=heard)
        if not slot_free or not broker_answers or heard:
            able_since = None
        elif able_since is None:
            able_since = now
        assert deaf == (able_since is not None and now - able_since >= PATIENCE)


def test_a_process_that_was_asleep_itself_is_not_deaf() -> None:
    deafness = Deafness(PATIENCE, longest_look=20)
    looks = {"slot_free": True, "broker_answers": True, "heard": False}
    deafness.look(100, **looks)
    assert not deafness.look(1000, **looks)
    assert not any(deafness.look(1000 + 10 * each, **looks) for each in range(1, 7))
    assert deafness.look(1070, **looks)


@pytest.mark.django_db
def test_one_canary_is_on_its_way_at_a_time_and_a_lost_one_is_sent_again(
    broker: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "EVERY_SECONDS", 0)
    bird = Canary(new_id(), slot_free=lambda: True)

    def waiting() -> int:
        return int(broker.client().llen(bird.queue_name))

    for _ in range(3):
        bird.look()
    assert waiting() == 1
    broker.client().flushall()
    bird.look()
    assert waiting() == 1


@pytest.mark.django_db
def test_a_broker_that_is_away_makes_nobody_deaf_and_nobody_wait(
    broker: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "DEAF_SECONDS", 0)
    bird = Canary(new_id(), slot_free=lambda: True)
    broker.stop()
    assert not any(bird.look() for _ in range(3))
    assert queue.BROKER.lasts()
    broker.start()
    bird.look()
    assert not queue.BROKER.lasts()


@pytest.mark.django_db
def test_a_broker_that_is_full_makes_nobody_deaf(broker: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "DEAF_SECONDS", 0)
    bird = Canary(new_id(), slot_free=lambda: True)
    broker.client().config_set("maxmemory", "1mb")
    assert not any(bird.look() for _ in range(3))
    assert queue.BROKER.lasts()
    broker.client().config_set("maxmemory", "0")
    bird.look()
    assert not queue.BROKER.lasts()


@pytest.mark.django_db
def test_what_the_canaries_of_dead_workers_left_is_cleared_and_the_livings_stay(
    broker: OwnRedis, worker: Worker
) -> None:
    alive, dead = canary.queue_name(worker.pk), canary.queue_name(new_id())
    redis = broker.client()
    for name in (alive, dead):
        redis.rpush(name, "message")
        redis.sadd("_kombu.binding.canary", f"{name}\x06\x16\x06\x16{name}")
    redis.rpush("publisher", "message")
    assert canary.forget_dead_canaries() == 1
    assert canary.forget_dead_canaries() == 0
    assert (redis.exists(alive), redis.exists(dead), redis.exists("publisher")) == (1, 0, 1)
    assert redis.scard("_kombu.binding.canary") == 1


@pytest.mark.django_db
def test_without_a_broker_nothing_is_cleared(broker: OwnRedis) -> None:
    broker.stop()
    assert canary.forget_dead_canaries() == 0


# --- neighbours of this host -----------------------------------------------------------------------------------------
@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def neighbour(process_id: int, *, started: timedelta) -> Worker:
    now = clock.database_now()
    return Worker.objects.create(
        host=os.uname().nodename,
        process_id=process_id,
        slots=1,
        started_at=now - started,
        alive_until=now + timedelta(hours=1),
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("started", "is_alive"), [(timedelta(), True), (timedelta(hours=1), False)], ids=["its own", "recycled"]
)
def test_a_younger_process_with_the_id_of_a_dead_one_is_not_taken_for_it(
    worker: Worker, sleeper: "subprocess.Popen[bytes]", started: timedelta, is_alive: bool
) -> None:
    other = neighbour(sleeper.pid, started=started)
    heartbeat.expire_dead_neighbours()
    assert Worker.objects.alive().filter(pk=other.pk).exists() is is_alive


@pytest.mark.django_db
def test_a_process_that_nobody_has_buried_yet_is_dead(worker: Worker) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    other = neighbour(process.pid, started=timedelta())
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    heartbeat.expire_dead_neighbours()
    process.wait()
    assert not Worker.objects.alive().filter(pk=other.pk).exists()


# --- real processes --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(app_name="Isekai", seed=17) as sandbox:
        yield sandbox


def published() -> int:
    return Deviation.objects.filter(status=Deviation.Status.PUBLISHED).count()


def publisher_that_holds(system: Processes, sandbox: SandboxProcess, action: str) -> Any:
    """A publisher that is killed or stopped while the only work is in its hands."""
    make_works(connected_account(sandbox, "ash"), 1, title="Pool", seed=1)
    system.order_fault("submit_intended", action)
    (publisher,) = system.start("publisher")
    wait_until(lambda: system.happened("submit_intended"), seconds=60, what=system.log)
    return publisher


@pytest.mark.processes
def test_a_process_that_slept_longer_than_its_lease_ends_and_its_work_goes_out_once(
    system: Processes, sandbox: SandboxProcess
) -> None:
    sleepy = publisher_that_holds(system, sandbox, "stop")
    system.start("publisher")
    wait_until(lambda: published() == 1, seconds=60, what=system.log)
    os.kill(sleepy.pid, signal.SIGCONT)
    assert sleepy.wait(90) == -signal.SIGKILL, system.log()
    assert len(sandbox.ledger()["deviations"]) == 1
    assert len(sandbox.ledger()["items"]) == 1, "what it had not sent before it slept is not sent any more"


@pytest.mark.processes
def test_a_restart_on_the_same_host_goes_on_without_waiting_for_the_lease(
    system: Processes, sandbox: SandboxProcess
) -> None:
    killed = publisher_that_holds(system, sandbox, "kill")
    killed.wait(30)
    # A lease that nobody in this test could wait for.
    Worker.objects.update(alive_until=clock.now() + timedelta(hours=1))
    system.start("publisher")
    wait_until(lambda: published() == 1, seconds=60, what=system.log)
    assert len(sandbox.ledger()["deviations"]) == 1


# --- who leads -------------------------------------------------------------------------------------------------------
def leading(worker_id: object) -> "psycopg.Connection[Any]":
    name = f"{DISPATCHER_NAME}{worker_id}"
    direct = psycopg.connect(direct_url(), autocommit=True, application_name=name)
    direct.execute("SELECT pg_advisory_lock(%s)", [DISPATCHER_LOCK])
    return direct


def direct_url() -> str:
    database = connection.settings_dict
    who = f"{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"
    return f"postgresql://{who}/{database['NAME']}"


def test_a_leader_whose_lease_ran_out_loses_its_lock_to_another(worker: Worker) -> None:
    with leading(worker.pk), psycopg.connect(direct_url(), autocommit=True) as other:
        assert not publisher_worker._end_dead_leader(other)
        assert not publisher_worker._try_lock(other)
        Worker.objects.filter(pk=worker.pk).update(alive_until=clock.DatabaseNow())
        assert publisher_worker._end_dead_leader(other)
        assert publisher_worker._try_lock(other)


def test_who_is_no_dispatcher_of_ours_is_left_alone(transactional_db: None) -> None:
    with psycopg.connect(direct_url(), autocommit=True, application_name="psql") as somebody:
        somebody.execute("SELECT pg_advisory_lock(%s)", [DISPATCHER_LOCK])
        with psycopg.connect(direct_url(), autocommit=True) as other:
            assert not publisher_worker._end_dead_leader(other)
        assert somebody.execute("SELECT 1").fetchone() == (1,)
