"""Every named point at which a publisher may die, under every answer that DeviantArt may give.

In each case a real publisher is killed at its point, with one account's work in its hands, and others bring that work
to its end. Four lanes at a time, each with a database and queues of its own.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection

from accounts.models import DeviantArtAccount
from accounts.services.tokens import TOKEN_FIELDS, store_tokens
from deviantart.oauth import TokenPair
from deviations.models import Deviation
from isekai import clock
from isekai.faults import POINTS
from publisher.models import Publication
from publisher.services.marks import become_another_installation
from tests.connecting import connected_account
from tests.isekai.conftest import OwnRedis
from tests.processes import ROOT, STARTS, Processes
from tests.publisher.works import make_works
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

LANES = 4
STARTING_SECONDS = 60
# Before the time scale. Longer than usual, since four publishers start at once where two can run.
LEASE_SECONDS = 80
SETTLING_SECONDS = 120

PUBLISH, SUBMIT = "/stash/publish", "/stash/submit"
# What DeviantArt does with the first call of a kind.
OUTCOMES: dict[str, dict[str, Any]] = {
    "lost before": {"do": "reset_before"},
    "lost after": {"do": "reset_after_commit"},
    "429": {"do": "status", "status": 429},
    "500": {"do": "status", "status": 500},
    "refused": {"do": "status", "status": 400},
}
BEFORE_THE_UPLOAD = (
    "before_claim",
    "after_claim",
    "before_submit_intent",
    "submit_intended",
    "before_submit_sent",
    "file_read",
)
BEFORE_THE_PUBLISH = (
    "submit_answered",
    "item_committed",
    "before_publish_intent",
    "publish_intended",
    "before_publish_sent",
)
AFTER_THE_PUBLISH = ("publish_answered", "publish_committed", "finished")
STAGING = ("stage_claimed", "stage_submitted", "stage_ended")
AHEAD = timedelta(seconds=25)


@dataclass
class Case:
    """A publisher is killed at each of ``points``, one after another; the ``nth`` call of ``path`` has ``outcome``."""

    points: tuple[str, ...]
    outcome: str = "done"
    path: str = PUBLISH
    nth: int = 1
    action: str = "kill"
    ahead: timedelta = timedelta()
    files: int = 1
    expired: bool = False
    crashes: int = 0
    username: str = ""
    trouble: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        call = self.path.rpartition("/")[2]
        return f"{self.action} at {' then '.join(self.points)}, {call} {self.outcome}"

    @property
    def ends_as(self) -> str:
        # A work whose process dies a third time, now with nothing beside it, is set aside.
        if self.crashes:
            return "failed"
        if self.outcome != "refused":
            return "published"
        # A no to the repeat of a call that nobody saw the end of does not say what became of that one.
        is_unknown = self.path == PUBLISH and {"publish_intended", "before_publish_sent"} & set(self.points)
        return "needs_decision" if is_unknown else "failed"


def cases() -> list[Case]:
    """The whole matrix; what cannot come together is left out: nothing is answered before it was asked."""
    outcomes = ("done", *OUTCOMES)
    made = [Case((point,), outcome) for point in (*BEFORE_THE_UPLOAD, *BEFORE_THE_PUBLISH) for outcome in outcomes]
    made += [Case((point,), outcome, SUBMIT) for point in BEFORE_THE_UPLOAD for outcome in OUTCOMES]
    # Of an upload that is done again.
    made += [
        Case((point,), outcome, SUBMIT)
        for point in ("submit_answered", "item_committed")
        for outcome in OUTCOMES
        if outcome != "refused"
    ]
    made += [Case((point,), outcome) for point in AFTER_THE_PUBLISH for outcome in ("done", "429")]
    made += [
        Case((point,), outcome)
        for point in ("look_up_intended", "look_up_answered")
        for outcome in ("lost before", "lost after", "500")
    ]
    made += [Case((point,), outcome, ahead=AHEAD) for point in STAGING for outcome in outcomes]
    made += [Case(("stage_claimed",), outcome, SUBMIT, ahead=AHEAD) for outcome in OUTCOMES]
    made += [
        Case(("publish_intended", point), outcome) for point in ("before_rescue", "rescued") for outcome in outcomes
    ]
    made += [Case(("between_files",), outcome, nth=2, files=2) for outcome in ("done", "lost after", "429")]
    made += [Case(("token_refresh_answered",), outcome, expired=True) for outcome in ("done", "lost after")]
    return [*made, Case(("alone",), crashes=2)]


def stops() -> list[Case]:
    """Publishers that are stopped for longer than their lease, and go on when others have taken over."""
    return [
        Case(("submit_answered",), "lost after", action="stop"),
        Case(("publish_intended",), "lost after", action="stop"),
        Case(("before_publish_sent",), action="stop"),
        Case(("publish_answered",), action="stop"),
    ]


class Lane:
    """An installation of its own: a copy of the test's database, queues of its own, and a line of publishers."""

    def __init__(self, number: int, sandbox: SandboxProcess, redis: OwnRedis, folder: Path) -> None:
        self.number = number
        self.sandbox = sandbox
        # Its queue; the cache is in the database behind that.
        self.redis_url = urlsplit(redis.url)._replace(path=f"/{2 * number}").geturl()
        self.faults = folder / f"faults-{number}"
        self.faults.mkdir()
        self.log = folder / f"publishers-{number}.log"
        self.database = f"{connection.settings_dict['NAME']}_lane_{number}"
        self.reached: set[str] = set()
        self.running: set[int] = set()
        self.forker: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """In the lane's own thread: its connection is to the lane's database from here on."""
        connection.settings_dict = {**connection.settings_dict, "NAME": self.database}
        become_another_installation()

    def start_forker(self) -> None:
        at = connection.settings_dict
        url = f"postgresql://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{self.database}"
        self.forker = subprocess.Popen(
            [sys.executable, "-m", "tests.publisher.forking", str(self.log)],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": url,
                "DATABASE_DIRECT_URL": url,
                "REDIS_URL": self.redis_url,
                "DEVIANTART_BASE_URL": self.sandbox.base_url,
                "DEVIANTART_CLIENT_ID": self.sandbox.client_id,
                "DEVIANTART_CLIENT_SECRET": self.sandbox.client_secret,
                "DEVIANTART_APPLICATION_NAME": "Isekai",
                "ISEKAI_FAULTS_DIRECTORY": str(self.faults),
                "HEALTH_CHECK_ENABLED": "0",
                "PUBLISHER_LEASE": str(LEASE_SECONDS),
                "LOG_LEVEL": "INFO",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, name: str = "publisher") -> int:
        process_id = int(self._ask(f"start {name}"))
        self.running.add(process_id)
        return process_id

    def wait(self, process_id: int, seconds: float) -> str:
        return self._ask(f"wait {process_id} {seconds}")

    def kill(self, process_id: int) -> None:
        self.running.discard(process_id)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
        self.wait(process_id, 10)

    def close(self) -> None:
        for process_id in list(self.running):
            self.kill(process_id)
        if self.forker is not None:
            self.forker.kill()
            self.forker.wait()
        connection.close()

    def _ask(self, line: str) -> str:
        assert self.forker is not None
        assert self.forker.stdin is not None
        assert self.forker.stdout is not None
        self.forker.stdin.write(line + "\n")
        self.forker.stdin.flush()
        answer = self.forker.stdout.readline().strip()
        assert answer, f"the forker is gone: {self.log.read_text()[-3000:] if self.log.exists() else ''}"
        return answer

    # --- one case after the other ---

    def go_through(self, mine: list[Case]) -> None:
        """Kill a publisher for each; then let another one bring everything to its end, and look at it."""
        killed = [case for case in mine if case.action == "kill"]
        stopped = [case for case in mine if case.action == "stop"]
        for case in killed:
            self._kill_in(case)
        DeviantArtAccount.objects.update(paused=False)
        last = self.start()
        self._wait_for_the_end(killed, SETTLING_SECONDS)
        self.kill(last)
        for case in stopped:
            self._stop_in(case)
        deviations = self.sandbox.ledger()["deviations"]
        for case in mine:
            self._examine(case, [each for each in deviations if each["username"] == case.username])

    def _prepare(self, case: Case) -> None:
        case.username = f"lane{self.number}-{DeviantArtAccount.objects.count()}"
        account = connected_account(self.sandbox, case.username)
        if case.outcome != "done":
            match: dict[str, Any] = {"path": case.path, "username": case.username}
            # What is refused ahead of its time is tried once more when that has come, and refused then too.
            often = {"times": 5} if case.ahead and case.path == SUBMIT and case.outcome == "refused" else {}
            self.sandbox.faults(
                [{"match": match if often else {**match, "nth": case.nth}, **often, **OUTCOMES[case.outcome]}]
            )
        if case.expired:
            DeviantArtAccount.objects.filter(pk=account.pk).update(access_expires_at=clock.now())
        seed = DeviantArtAccount.objects.count() * 10 + self.number * 100_000
        make_works(account, 1, title="Study", seed=seed, ahead=case.ahead, files=case.files)
        if case.crashes:
            work = Deviation.objects.get(account=account)
            Publication.objects.create(
                deviation=work, file=work.files.get(), account=account, crashes=case.crashes, state="pending"
            )

    def _kill_in(self, case: Case) -> None:
        self._prepare(case)
        for point in case.points:
            self._note(case, point, self._kill_at(point))
        # It is left alone until all have been killed: the next one has a work of its own to die with.
        DeviantArtAccount.objects.filter(username=case.username).update(paused=True)

    def _kill_at(self, point: str) -> bool:
        """On a crowded machine a publisher may lose its lease first, and then ends as well: another one goes on."""
        order = self.faults / point
        order.write_text("kill")
        for _ in range(STARTS):
            process_id = self.start()
            ended = self.wait(process_id, STARTING_SECONDS)
            self.kill(process_id)
            if ended != "killed" or not order.exists():
                break
        return not order.exists()

    def _stop_in(self, case: Case) -> None:
        self._prepare(case)
        (point,) = case.points
        sleeper = self._stop_at(point)
        self._note(case, point, sleeper is not None)
        if sleeper is None:
            return
        # Who sleeps may be the one that wakes and rescues for all; then beat does it.
        others = [self.start(), self.start("beat")]
        self._wait_for_the_end([case], SETTLING_SECONDS)
        os.kill(sleeper, signal.SIGCONT)
        # Its heart notices that it slept too long.
        if self.wait(sleeper, 10) != "killed":
            case.trouble.append("went on after its lease was gone")
        for process_id in (sleeper, *others):
            self.kill(process_id)

    def _stop_at(self, point: str) -> int | None:
        """The process that sleeps there; as with a kill, the first ones may lose their lease before."""
        (self.faults / point).write_text("stop")
        for _ in range(STARTS):
            process_id = self.start()
            if self.wait(process_id, STARTING_SECONDS) == "stopped":
                return process_id
            self.kill(process_id)
        return None

    def _note(self, case: Case, point: str, happened: bool) -> None:
        if happened:
            self.reached.add(point)
        else:
            (self.faults / point).unlink(missing_ok=True)
            case.trouble.append(f"never came to {point}")

    def _wait_for_the_end(self, some: list[Case], seconds: float) -> None:
        end = time.monotonic() + seconds
        works = Deviation.objects.filter(account__username__in=[case.username for case in some])
        lacking = Publication.objects.live().filter(deviation__in=works, url="")
        while time.monotonic() < end:
            moving = works.exclude(status__in=["published", "failed", "needs_decision"])
            if not moving.exists() and not lacking.exists():
                return
            self._connect_again(case for case in some if case.expired)
            time.sleep(0.2)

    def _connect_again(self, some: Iterable[Case]) -> None:
        """Whoever dies with a new token pair in its hands has used up the old one: then the artist is asked to connect.

        That is what an artist does here; the works have kept their times.
        """
        lost = DeviantArtAccount.objects.filter(username__in=[case.username for case in some], state="reauth_required")
        for account in lost:
            answer = self.sandbox.tokens(account.username)
            scopes = tuple(answer["scope"].split())
            pair = TokenPair(answer["access_token"], answer["refresh_token"], answer["expires_in"], scopes)
            store_tokens(account, pair)
            account.save(update_fields=TOKEN_FIELDS)

    def _examine(self, case: Case, shown: list[dict[str, Any]]) -> None:
        work = Deviation.objects.get(account__username=case.username)
        if work.status != case.ends_as:
            case.trouble.append(f"ended as {work.status} {work.reason_code}")
        wanted = case.files if case.ends_as == "published" else 0
        if len(shown) != wanted or set(Counter(each["sha256"] for each in shown).values()) - {1}:
            case.trouble.append(f"DeviantArt shows {len(shown)} instead of {wanted}")
        known = {(part.remote_deviation_id, part.url) for part in work.publications.live()}
        if known != {(each["deviationid"], each["url"]) for each in shown}:
            case.trouble.append("its address is not that of what DeviantArt shows")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """Of the lanes alone: the databases of the shared one are shared out among test processes already."""
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def lanes(transactional_db: None, redis: OwnRedis, tmp_path: Path) -> Iterator[list[Lane]]:
    with SandboxProcess(app_name="Isekai", seed=7) as sandbox, Processes(sandbox):
        made = [Lane(number, sandbox, redis, tmp_path) for number in range(LANES)]
        # A database can be copied while nobody is connected to it.
        template = connection.settings_dict["NAME"]
        connection.close()
        with _maintenance() as direct:
            for lane in made:
                direct.execute(f'DROP DATABASE IF EXISTS "{lane.database}" WITH (FORCE)')
                direct.execute(f'CREATE DATABASE "{lane.database}" TEMPLATE "{template}"')
        for lane in made:
            lane.start_forker()
        yield made
        for lane in made:
            lane.close()
        with _maintenance() as direct:
            for lane in made:
                direct.execute(f'DROP DATABASE IF EXISTS "{lane.database}" WITH (FORCE)')


def _maintenance() -> "psycopg.Connection[Any]":
    at = connection.settings_dict
    return psycopg.connect(
        host=at["HOST"], port=at["PORT"], user=at["USER"], password=at["PASSWORD"], dbname="postgres", autocommit=True
    )


def test_a_publisher_may_die_or_sleep_anywhere_whatever_deviantart_answers(lanes: list[Lane]):
    everything = [*cases(), *stops()]

    def go(lane: Lane) -> None:
        lane.open()
        try:
            lane.go_through(everything[lane.number :: LANES])
        finally:
            connection.close()

    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(go, lanes))
    failed = [f"{case}: {'; '.join(case.trouble)}" for case in everything if case.trouble]
    assert not failed, "\n".join([f"{len(failed)} of {len(everything)}:", *failed])
    assert set.union(*(lane.reached for lane in lanes)) == set(POINTS)
