"""Publishing while Redis is away, empty, or comes and goes: real processes on a Valkey of their own."""

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deviations.models import Deviation
from publisher.models import Attempt, Publication
from tests.connecting import connected_account
from tests.isekai.conftest import OwnRedis
from tests.processes import Processes, wait_until
from tests.publisher.works import make_works
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(app_name="Isekai", seed=13) as sandbox:
        yield sandbox


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.stop()


def published() -> int:
    return Deviation.objects.filter(status=Deviation.Status.PUBLISHED).count()


def statuses() -> str:
    return str(Counter(Deviation.objects.values_list("status", "reason_code")))


def assert_once_each(sandbox: SandboxProcess, works: int) -> None:
    assert len(sandbox.ledger()["deviations"]) == works
    assert sandbox.summary()["published_twice"] == 0


def assert_none_early() -> None:
    for attempt in Attempt.objects.filter(step="publish").select_related("publication__deviation"):
        due = attempt.publication.deviation.publish_at
        assert due is not None
        assert attempt.started_at >= due


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_works_leave_while_redis_is_away_and_by_the_queue_again_afterwards(
    system: Processes, sandbox: SandboxProcess, redis: OwnRedis, how: str
) -> None:
    accounts = [connected_account(sandbox, name) for name in ("ash", "birch")]
    system.start("publisher", "publisher", REDIS_URL=redis.url)
    wait_until(lambda: system.log().count("publisher_started") == 2, seconds=60, what=system.log)
    for number, account in enumerate(accounts):
        make_works(account, 1, title="Before", seed=number)
    wait_until(lambda: published() == 2, seconds=60, what=lambda: statuses() + system.log())

    redis.stop() if how == "refuses" else redis.signal(signal.SIGSTOP)
    for number, account in enumerate(accounts):
        make_works(account, 2, title="Meanwhile", seed=10 + number, ahead=timedelta(seconds=3))
    wait_until(lambda: published() == 6, seconds=60, what=lambda: statuses() + system.log())
    assert_none_early()

    redis.start() if how == "refuses" else redis.signal(signal.SIGCONT)
    wait_until(lambda: "server_back" in system.log(), seconds=30, what=system.log)
    make_works(accounts[0], 1, title="After", seed=20)
    wait_until(lambda: published() == 7, seconds=60, what=lambda: statuses() + system.log())
    assert_once_each(sandbox, 7)


def test_a_publisher_that_starts_without_redis_publishes(
    system: Processes, sandbox: SandboxProcess, redis: OwnRedis
) -> None:
    redis.stop()
    system.start("publisher", REDIS_URL=redis.url)
    make_works(connected_account(sandbox, "ash"), 2, title="Pool", seed=1)
    wait_until(lambda: published() == 2, seconds=60, what=lambda: statuses() + system.log())
    assert_once_each(sandbox, 2)


def test_a_work_whose_answer_was_lost_is_settled_without_redis_and_without_beat(
    system: Processes, sandbox: SandboxProcess, redis: OwnRedis
) -> None:
    redis.stop()
    make_works(connected_account(sandbox, "ash"), 1, title="Pool", seed=1)
    sandbox.profile(gallery_delay_seconds=5)
    sandbox.faults([{"match": {"path": "/stash/publish", "nth": 1}, "do": "reset_after_commit"}])
    system.start("publisher", REDIS_URL=redis.url)
    wait_until(lambda: published() == 1, seconds=90, what=lambda: statuses() + system.log())
    wait_until(lambda: not Publication.objects.filter(url="").exists(), seconds=60, what=system.log)
    wait_until(lambda: "stood_in_for_beat" in system.log(), seconds=30, what=system.log)
    assert_once_each(sandbox, 1)


def test_an_emptied_redis_costs_nothing(system: Processes, sandbox: SandboxProcess, redis: OwnRedis) -> None:
    accounts = [connected_account(sandbox, f"artist-{number}") for number in range(3)]
    system.start("publisher", REDIS_URL=redis.url)
    wait_until(lambda: "publisher_started" in system.log(), seconds=60, what=system.log)
    for number, account in enumerate(accounts):
        make_works(account, 3, title="Pool", seed=number)
    for wanted in (1, 3, 6):
        wait_until(lambda wanted=wanted: published() >= wanted, seconds=60, what=lambda: statuses() + system.log())
        redis.client().flushall()
    wait_until(lambda: published() == 9, seconds=60, what=lambda: statuses() + system.log())
    redis.client().flushall()
    make_works(accounts[0], 1, title="After", seed=20)
    wait_until(lambda: published() == 10, seconds=60, what=lambda: statuses() + system.log())
    assert_once_each(sandbox, 10)


def test_works_leave_while_redis_is_full_and_no_process_ends_for_it(
    system: Processes, sandbox: SandboxProcess, redis: OwnRedis
) -> None:
    account = connected_account(sandbox, "ash")
    system.start("publisher", "publisher", "worker", "beat", REDIS_URL=redis.url)
    wait_until(lambda: system.log().count("publisher_started") == 2, seconds=60, what=system.log)
    make_works(account, 1, title="Before", seed=1)
    wait_until(lambda: published() == 1, seconds=60, what=lambda: statuses() + system.log())

    redis.client().config_set("maxmemory", "1mb")
    make_works(account, 3, title="Meanwhile", seed=2, ahead=timedelta(seconds=10))
    wait_until(lambda: published() == 4, seconds=60, what=lambda: statuses() + system.log())
    assert "Unrecoverable error" not in system.log()

    redis.client().config_set("maxmemory", "0")
    make_works(account, 1, title="After", seed=3)
    wait_until(lambda: published() == 5, seconds=60, what=lambda: statuses() + system.log())
    assert [name for name, process in system.running if process.poll() is not None] == []
    assert_none_early()
    assert_once_each(sandbox, 5)


def test_a_redis_that_is_killed_five_times_under_load_costs_nothing(
    system: Processes, sandbox: SandboxProcess, redis: OwnRedis
) -> None:
    accounts = [connected_account(sandbox, f"artist-{number}") for number in range(4)]
    system.start("publisher", "publisher", "beat", REDIS_URL=redis.url)
    wait_until(lambda: system.log().count("publisher_started") == 2, seconds=60, what=system.log)
    for number, account in enumerate(accounts):
        make_works(account, 5, title="Pool", seed=number)
    for wanted in (1, 4, 7, 10, 13):
        wait_until(lambda wanted=wanted: published() >= wanted, seconds=60, what=lambda: statuses() + system.log())
        redis.signal(signal.SIGKILL)
        redis.stop()
        wait_until(lambda wanted=wanted: published() > wanted, seconds=60, what=lambda: statuses() + system.log())
        redis.start()
    wait_until(lambda: published() == 20, seconds=90, what=lambda: statuses() + system.log())
    assert_once_each(sandbox, 20)
