"""Real workers, with the commands of production, on a Redis of their own."""

import os
import queue
import re
import signal
import socket
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
import requests
from redis import Redis

from isekai import clock, worker
from isekai.devstack import processes
from tests.isekai.conftest import OwnRedis, StartWorker, Wait
from tests.isekai.pooler import TransactionPooler
from tests.isekai.waiting import app
from tests.processes import free_port, wait_until

pytestmark = pytest.mark.processes


def number(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", metrics, re.MULTILINE)
    assert found, metrics
    return float(found[1])


@pytest.mark.parametrize(
    ("process", "name", "pool"),
    [
        (processes.publisher(4), "publisher", "threads"),
        (processes.notifier(), "worker", "threads"),
        (processes.media(), "media", "prefork"),
    ],
    ids=["publisher", "worker", "media"],
)
def test_a_worker_counts_what_it_really_does(
    own_redis: OwnRedis,
    start_worker: StartWorker,
    tmp_path: Path,
    process: processes.Process,
    name: str,
    pool: str,
) -> None:
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")} if pool == "prefork" else {}
    running = start_worker(process, own_redis.url, **shared)

    ready = running.wait_for("/ready", 200)
    about = {"canary"} if name == "publisher" else set()
    assert ready.keys() == {"status", "service", "worker", "redis", "database", "timestamp"} | about
    assert ready["status"] == "ready"
    assert ready["service"] == f"isekai-{name}"
    assert ready["worker"] == {"running": True, "activeJobs": 0}
    assert ready["redis"] == {"connected": True}
    assert ready["database"] == {"connected": True}
    assert abs((datetime.fromisoformat(ready["timestamp"]) - clock.now()).total_seconds()) < 60

    health = running.get("/health").json()
    assert health.keys() == {"status", "service", "uptime", "timestamp"}
    assert (health["status"], health["service"]) == ("healthy", f"isekai-{name}")
    assert 0 < health["uptime"] <= running.get("/health").json()["uptime"]

    wait = Wait(own_redis, process.queues[0])
    where = wait.until_running()
    assert (where == running.process.pid) is (pool == "threads")
    assert running.get("/ready").json()["worker"] == {"running": True, "activeJobs": 1}
    metrics = running.get("/metrics").text
    assert number(metrics, f"{name}_active_jobs") == 1
    assert number(metrics, f"{name}_uptime_seconds") >= health["uptime"]
    assert number(metrics, "tests_waits_started_total") == 1, "what a child counts is counted"
    assert f"# TYPE {name}_active_jobs gauge" in metrics
    assert f"# TYPE {name}_uptime_seconds counter" in metrics

    wait.go()
    wait_until(lambda: running.get("/ready").json()["worker"]["activeJobs"] == 0)


@pytest.mark.parametrize(
    "process", [processes.publisher(2), processes.notifier(), processes.media()], ids=["publisher", "worker", "media"]
)
def test_a_worker_answers_while_redis_is_away_and_becomes_ready_when_it_comes(
    own_redis: OwnRedis, start_worker: StartWorker, process: processes.Process
) -> None:
    own_redis.stop()
    running = start_worker(process, own_redis.url)

    wait_until(running.answers, seconds=60, what=running.log)
    response = running.get("/ready")
    assert response.status_code == 503
    assert response.json()["status"] == "not_ready"
    assert response.json()["worker"] == {"running": False, "activeJobs": 0}
    assert response.json()["redis"] == {"connected": False}
    assert response.json()["database"] == {"connected": True}

    own_redis.start()
    assert running.wait_for("/ready", 200)["worker"]["running"] is True


def test_a_worker_that_lost_redis_says_so_and_recovers(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    running = start_worker(processes.notifier(), own_redis.url)
    running.wait_for("/ready", 200)

    # A server that hangs without a word: the answer comes all the same, within the time that a probe waits.
    own_redis.signal(signal.SIGSTOP)
    assert running.get("/ready").json()["redis"] == {"connected": False}
    assert running.get("/ready").status_code == 503
    assert running.answers()
    own_redis.signal(signal.SIGCONT)
    running.wait_for("/ready", 200)

    own_redis.stop()
    assert running.wait_for("/ready", 503)["redis"] == {"connected": False}
    wait_until(lambda: running.get("/ready").json()["worker"]["running"] is False)
    own_redis.start()
    running.wait_for("/ready", 200)
    wait = Wait(own_redis, "maintenance")
    wait.until_running()
    wait.go()


def test_a_deaf_publisher_ends_with_a_code_of_its_own_and_hears_again_when_started_anew(
    own_redis: OwnRedis, start_worker: StartWorker
) -> None:
    running = start_worker(processes.publisher(2), own_redis.url)
    running.wait_for("/ready", 200)
    wait_until(lambda: "publisher.canary" in running.log(), seconds=60, what=running.log)
    wait_until(lambda: running.get("/ready").json()["canary"]["ageSeconds"] < 5, what=running.log)
    with app.connection_for_write(own_redis.url) as broker:
        app.send_task("tests.go_deaf", queue="publisher", connection=broker)
    assert running.exit_code() == 75, running.log()
    assert "worker_deaf" in running.log()

    anew = start_worker(processes.publisher(2), own_redis.url)
    anew.wait_for("/ready", 200)
    wait = Wait(own_redis, "publisher")
    wait.until_running()
    assert "isekai_canary_age_seconds" in anew.get("/metrics").text
    wait.go()


def test_a_publisher_all_of_whose_slots_are_taken_is_not_deaf(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    running = start_worker(processes.publisher(1), own_redis.url)
    running.wait_for("/ready", 200)
    wait = Wait(own_redis, "publisher")
    wait.until_running()
    # Longer than a deaf worker would have taken to notice, in which it cannot have heard anything.
    wait_until(lambda: running.get("/ready").json()["canary"]["ageSeconds"] > 12, seconds=60, what=running.log)
    assert running.process.poll() is None
    assert "worker_deaf" not in running.log()
    wait.go()
    wait_until(lambda: running.get("/ready").json()["canary"]["ageSeconds"] < 5, seconds=30, what=running.log)


def test_a_worker_without_its_database_is_not_ready(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    nowhere = f"postgresql://isekai:nobody@127.0.0.1:{free_port()}/isekai"
    running = start_worker(processes.notifier(), own_redis.url, DATABASE_URL=nowhere, DATABASE_DIRECT_URL=nowhere)
    wait_until(running.answers, seconds=60, what=running.log)
    wait_until(lambda: running.get("/ready").json()["worker"]["running"], what=running.log)

    response = running.get("/ready")
    assert response.status_code == 503
    assert response.json()["database"] == {"connected": False}
    assert response.json()["redis"] == {"connected": True}


def test_a_draining_worker_is_alive_but_not_ready(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    running = start_worker(processes.notifier(), own_redis.url)
    running.wait_for("/ready", 200)
    wait = Wait(own_redis, "maintenance")
    wait.until_running()

    running.process.terminate()
    draining = running.wait_for("/ready", 503)
    assert draining["worker"] == {"running": False, "activeJobs": 1}
    assert running.get("/health").ok

    wait.go()
    assert running.exit_code() == 0


def test_a_worker_does_not_start_without_its_health_port(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as neighbour:
        port = neighbour.getsockname()[1]
        refused = start_worker(processes.media(), own_redis.url, HEALTH_CHECK_PORT=str(port))
        assert refused.exit_code() != 0
    assert "health_port_not_usable" in refused.log()
    assert str(port) in refused.log()
    assert "HEALTH_CHECK_PORT" in refused.log()


def test_a_worker_listens_nowhere_when_its_health_server_is_off(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    running = start_worker(processes.notifier(), own_redis.url, HEALTH_CHECK_ENABLED="off")
    wait = Wait(own_redis, "maintenance")
    wait_until(lambda: " ready." in running.log(), seconds=60, what=running.log)
    wait.until_running()
    with pytest.raises(requests.ConnectionError):
        running.get("/health")
    wait.go()


def test_a_worker_loads_all_tasks_and_none_of_the_admins_pages(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    running = start_worker(processes.notifier(), own_redis.url, HEALTH_CHECK_ENABLED="off", PYTHONVERBOSE="1")
    wait_until(lambda: " ready." in running.log(), seconds=60, what=running.log)
    loaded = set(re.findall(r"^import '([\w.]+)' #", running.log(), re.MULTILINE))
    ours = ("accounts", "automations", "deviations", "publisher")
    assert {f"{name}.tasks" for name in ours} <= loaded
    assert not loaded & {f"{name}.admin" for name in ours}


def test_no_child_holds_the_port_of_its_parent(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    running = start_worker(processes.media(), own_redis.url)
    running.wait_for("/ready", 200)
    wait = Wait(own_redis, "media")
    first = wait.until_running()
    # The one that takes its place is forked by a parent that has the port open already.
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: first not in (now := children_of(running.process.pid)) and len(now) == 2, what=running.log)
    children = children_of(running.process.pid)
    listening = socket_listening_on(running.port)
    assert listening in open_files(running.process.pid)
    assert all(listening not in open_files(child) for child in children)
    wait.go()


def test_a_broker_that_evicts_is_refused(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    own_redis.client().config_set("maxmemory-policy", "allkeys-lru")
    refused = start_worker(processes.notifier(), own_redis.url)
    assert refused.exit_code() == worker.REFUSED
    assert "broker_refused" in refused.log()
    assert "noeviction" in refused.log()


def test_a_broker_that_will_not_tell_is_taken_at_its_word(own_redis: OwnRedis) -> None:
    operator = own_redis.client()
    operator.acl_setuser(
        "app", enabled=True, passwords=["+long-enough-secret"], commands=["+@all", "-info"], keys=["*"]
    )
    address = own_redis.url.rpartition("@")[2]
    with Redis.from_url(f"redis://app:long-enough-secret@{address}") as redis:
        worker.require_noeviction(redis)


def test_settings_that_contradict_each_other_stop_a_worker(own_redis: OwnRedis, start_worker: StartWorker) -> None:
    refused = start_worker(processes.notifier(), own_redis.url, PUBLISHER_LEASE="6", PUBLISHER_HEARTBEAT="5")
    assert refused.exit_code() != 0
    assert "PUBLISHER_LEASE must be at least three times PUBLISHER_HEARTBEAT" in refused.log()


def test_a_direct_connection_is_accepted(database_url: str) -> None:
    worker.require_direct_connection(database_url)


def test_a_database_that_cannot_be_reached_is_no_pooler() -> None:
    with pytest.raises(psycopg.OperationalError):
        worker.require_direct_connection(f"postgresql://isekai@127.0.0.1:{free_port()}/isekai")


@pytest.mark.parametrize("next_free", [queue.LifoQueue, queue.Queue], ids=["the same again", "in turn"])
def test_a_transaction_pooler_is_recognised(database_url: str, next_free: type["queue.Queue[socket.socket]"]) -> None:
    with TransactionPooler(database_url, next_free()) as pooler:
        pooled = f"postgresql://isekai@127.0.0.1:{pooler.port}/isekai"
        with psycopg.connect(pooled, autocommit=True) as connection:  # it is a good one for everything else
            assert connection.execute("SELECT %s", [42]).fetchone() == (42,)
        with pytest.raises(worker.DatabaseRefused, match="DATABASE_DIRECT_URL"):
            worker.require_direct_connection(pooled)


def test_a_publisher_behind_a_transaction_pooler_ends(
    own_redis: OwnRedis, start_worker: StartWorker, database_url: str
) -> None:
    with TransactionPooler(database_url, queue.LifoQueue(), servers=8) as pooler:
        pooled = f"postgresql://isekai@127.0.0.1:{pooler.port}/isekai"
        refused = start_worker(processes.publisher(2), own_redis.url, DATABASE_DIRECT_URL=pooled)
        assert refused.exit_code() == worker.REFUSED
    assert "database_refused" in refused.log()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def socket_listening_on(port: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _number, local, _remote, state, *rest = line.split()
        if state == "0A" and int(local.rpartition(":")[2], 16) == port:
            return f"socket:[{rest[5]}]"
    raise AssertionError(f"Nobody listens on {port}.")


def open_files(pid: int) -> set[str]:
    return {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
