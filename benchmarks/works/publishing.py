"""The parts of ``./dev bench publishing``: real publishers against a server that costs nothing (see `server`).

DeviantArt takes 300 ms for an upload and 200 ms for a publish here, and has no limits unless a part says so; each work
has an account of its own unless a part says otherwise. Nothing but publishers runs, and beat where it matters.
"""

import contextlib
import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.test.utils import override_settings

from accounts.models import User, Workspace
from benchmarks.pace import Limits, Oracle
from benchmarks.report import percentile
from benchmarks.works import machine
from benchmarks.works.cut import Relay
from benchmarks.works.machine import Call, CpuUse, Publishers, Server, rss_mib, wait_for
from benchmarks.works.rows import StoredFile, chosen_parts, make_accounts, make_user, make_works, store_file
from deviations.models import Deviation
from isekai import clock, queue
from publisher.models import Attempt, StashItem, Worker

SUBMIT_SECONDS, PUBLISH_SECONDS = 0.3, 0.2
IDEAL = 1 / (SUBMIT_SECONDS + PUBLISH_SECONDS)
BIG = 50 * 1024 * 1024
SPREAD, SPREAD_SECONDS = 100, 60
LIMITED_ACCOUNTS, LIMITED_WORKS = 40, 10_000
USER_LIMIT = {"burst": 20, "refill_per_second": 1}
LIMITS_SECONDS, WARM_UP_SECONDS = 120, 60


@dataclass
class Stage:
    """What all parts work with."""

    server: Server
    user: User
    workspace: Workspace
    small: StoredFile
    found: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """A line of the table, which is shown as it comes where nobody wants JSON."""
        self.notes.append(line)
        if "--json" not in sys.argv[1:]:
            print(line, flush=True)

    def drafts(self, number: int, *, file: StoredFile | None = None) -> list[Deviation]:
        return make_works(self.workspace, make_accounts(self.workspace, number), file or self.small)


# --- scheduling without the services, for many at once ---------------------------------------------------------------
def schedule(works: Sequence[Deviation], moments: Sequence[datetime]) -> None:
    """Give each work its moment; the publishers are told, and the first work is theirs from then on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE deviations_deviation AS work SET status = 'scheduled', scheduled_zone = 'UTC', "
            "scheduled_at = new.moment, publish_at = new.moment "
            "FROM unnest(%s::uuid[], %s::timestamptz[]) AS new (id, moment) WHERE work.id = new.id",
            [[work.pk for work in works], list(moments)],
        )
    queue.nudge()


def make_due(works: Sequence[Deviation]) -> None:
    schedule(works, [clock.database_now() - timedelta(seconds=1)] * len(works))


@contextmanager
def feed(works: Sequence[Deviation], *, per_second: float) -> Iterator[None]:
    """Make so many works due each second, as long as the block lasts: fewer than can be published, so none waits."""
    ended = threading.Event()

    def run() -> None:
        began = time.monotonic()
        for number, work in enumerate(works):
            if ended.wait(max(0.0, began + number / per_second - time.monotonic())):
                break
            make_due([work])
        connection.close()

    feeder = threading.Thread(target=run, daemon=True)
    feeder.start()
    try:
        yield
    finally:
        ended.set()
        feeder.join()


def stage_ahead(works: Sequence[Deviation], *, seconds: float) -> None:
    """Have the publishers upload the works ahead of a time that is far away still."""
    schedule(works, [clock.database_now() + timedelta(minutes=25)] * len(works))
    ids = [work.pk for work in works]
    in_hand = StashItem.objects.filter(publication__deviation__in=ids, state=StashItem.State.IN_HAND)
    try:
        wait_for(lambda: in_hand.count() == len(works), seconds=seconds, every=0.5, what="all works staged")
    except RuntimeError as error:
        raise RuntimeError(f"{error} There were {in_hand.count()} of {len(works)}.") from error


def published(server: Server) -> int:
    return server.counts().get("publish", 0)


def all_published(works: Sequence[Deviation], *, seconds: float) -> bool:
    """Wait until the database says so too; whether it does."""
    ids = [work.pk for work in works]
    left = Deviation.objects.filter(pk__in=ids).exclude(status=Deviation.Status.PUBLISHED)
    with contextlib.suppress(RuntimeError):
        wait_for(lambda: not left.exists(), seconds=seconds, every=0.25, what="all works published")
    return not left.exists()


# --- the bare pool ---------------------------------------------------------------------------------------------------
@contextmanager
def bare_pools(
    stage: Stage, works: Sequence[Deviation], *, concurrency: int, pools: int = 1, staged: bool = False
) -> Iterator[Callable[[float], None]]:
    """Pools that are ready for these works; what is yielded starts them at a moment (epoch) and waits for the end."""
    running = []
    first_item = time.time_ns() // 1000
    for number in range(pools):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.works.baseline", str(concurrency)],
            cwd=machine.ROOT,
            env={**os.environ, "DEVIANTART_BASE_URL": stage.server.base_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        items = [
            {
                "deviation_id": str(work.pk),
                "account_id": str(work.account_id),
                "workspace_id": str(work.workspace_id),
                "token": f"access-{work.account_id.hex}" if work.account_id else "",
                "item_id": first_item + position if staged else None,
            }
            for position, work in enumerate(works)
            if position % pools == number
        ]
        assert process.stdin is not None
        process.stdin.write(json.dumps(items) + "\n")
        process.stdin.flush()
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "The bare pool did not start."

    def run(at: float) -> None:
        for process in running:
            assert process.stdin is not None
            process.stdin.write(f"{at}\n")
            process.stdin.flush()
        for process in running:
            assert process.wait() == 0, "The bare pool failed."

    try:
        yield run
    finally:
        for process in running:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


# --- works a second --------------------------------------------------------------------------------------------------
def works_per_second(calls: Sequence[Call]) -> float:
    """From the first call's arrival to the last publish's answer, the beginning and the end included."""
    arrivals = [call[3] for call in calls]
    publishes = [call for call in calls if call[0] == "publish" and call[4] == 200]
    return len(publishes) / (max(arrivals) + PUBLISH_SECONDS - min(arrivals))


def throughput(stage: Stage, name: str, *, concurrency: int, publishers: int = 1, number: int, bare: int) -> None:
    machine.tidy(stage.server)
    works = stage.drafts(number)
    with Publishers(stage.server) as processes:
        pids = [processes.start(concurrency).pid for _ in range(publishers)]
        at_rest = [rss_mib(pid) for pid in pids]
        cpu = CpuUse({"publishers": pids, "server": [stage.server.process.pid]})
        memory: dict[int, float] = {}
        make_due(works)

        def done() -> bool:
            count = published(stage.server)
            if count >= 1000:
                memory.setdefault(1000, max(rss_mib(pid) for pid in pids))
            return count >= number

        wait_for(done, seconds=60 + 4 * number / (concurrency * publishers), every=0.25, what=f"{number} published")
        shares = cpu.shares()
        complete = all_published(works, seconds=20)
        rss = max(rss_mib(pid) for pid in pids)
    calls = stage.server.calls("submit", "publish")
    rate = works_per_second(calls)
    ideal = concurrency * publishers * IDEAL
    base = bare_rate(stage, number=bare, concurrency=concurrency, pools=publishers)
    stage.found[name] = {
        "works_per_second": round(rate, 2),
        "share_of_ideal": round(rate / ideal, 4),
        "rss_mib": round(rss, 1),
    }
    stage.found[f"{name}_more"] = {
        "baseline_works_per_second": round(base, 2),
        "ratio_to_baseline": round(rate / base, 4),
        "rss_at_rest_mib": round(max(at_rest), 1),
        "rss_at_1000_mib": round(memory.get(1000, 0.0), 1),
        "works": number,
        "calls": len(calls),
        "all_published": complete,
        "cpu": shares,
    }
    used = ", ".join(f"{who} {share:.0%}" for who, share in shares.items())
    at_1000 = f", {memory[1000]:.0f} at 1,000" if memory else ""
    stage.say(
        f"{name:<10} {rate:7.2f} works/s, {rate / ideal:.1%} of the ideal {ideal:g}, "
        f"{rate / base:.1%} of the bare pool's {base:.2f}; {rss:.0f} MiB after {number:,} works{at_1000}"
        f"{'' if complete else '; NOT ALL PUBLISHED'}"
    )
    stage.say(f"{'':<10} CPU of one core: {used}")


def bare_rate(stage: Stage, *, number: int, concurrency: int, pools: int) -> float:
    machine.tidy(stage.server)
    works = stage.drafts(number)
    schedule(works, [clock.database_now() + timedelta(days=1)] * number)
    with bare_pools(stage, works, concurrency=concurrency, pools=pools) as run:
        run(time.time())
    return works_per_second(stage.server.calls("submit", "publish"))


def big_file(stage: Stage) -> None:
    """What a file of 50 MB adds to a publisher, beyond what files of 1 KB have it use."""
    machine.tidy(stage.server)
    big = stored(stage, BIG)
    small_works, big_works = stage.drafts(60), make_works(stage.workspace, make_accounts(stage.workspace, 1) * 5, big)
    with Publishers(stage.server) as processes:
        pid = processes.start(5).pid
        make_due(small_works)
        small = peak_until(pid, lambda: published(stage.server) >= len(small_works))
        make_due(big_works)
        most = peak_until(pid, lambda: published(stage.server) >= len(small_works) + len(big_works))
    stage.found["big_file"] = {"added_mib": round(most - small, 2), "small_mib": round(small, 1)}
    stage.say(f"big_file   a file of 50 MB adds {most - small:.2f} MiB to {small:.0f} MiB")


def peak_until(pid: int, done: Callable[[], bool]) -> float:
    most, end = 0.0, time.monotonic() + 120
    while not done():
        most = max(most, rss_mib(pid))
        assert time.monotonic() < end, "The works were not published."
        time.sleep(0.01)
    return most


def stored(stage: Stage, size: int) -> StoredFile:
    data = os.urandom(size)
    return store_file(stage.workspace, data, hashlib.sha256(data).hexdigest())


# --- lateness --------------------------------------------------------------------------------------------------------
def lateness_ms(stage: Stage, moments: dict[str, datetime]) -> list[float]:
    """Of each account's one publish call: its arrival after the planned moment, by this machine's clock."""
    return [
        (at - moments[account].timestamp()) * 1000
        for _kind, account, _item, at, _status in stage.server.calls("publish")
        if account in moments
    ]


def by_account(works: Sequence[Deviation], moments: Sequence[datetime]) -> dict[str, datetime]:
    return {work.account_id.hex: moment for work, moment in zip(works, moments, strict=True) if work.account_id}


def summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "works": len(values),
        "p50_ms": round(statistics.median(values), 1),
        "p99_ms": round(percentile(values, 0.99), 1),
        "most_ms": round(max(values), 1),
        "least_ms": round(min(values), 1),
    }


def lateness(stage: Stage) -> None:
    """A hundred works of 1 KB and a hundred of 50 MB, spread over the same minute."""
    machine.tidy(stage.server)
    small, big = stage.drafts(SPREAD), stage.drafts(SPREAD, file=stored(stage, BIG))
    with Publishers(stage.server) as processes:
        pid = processes.start(16).pid
        began = time.monotonic()
        stage_ahead([*small, *big], seconds=300)
        staging_seconds = time.monotonic() - began
        first = clock.database_now() + timedelta(seconds=8)
        steps = [first + timedelta(seconds=number * SPREAD_SECONDS / SPREAD) for number in range(SPREAD)]
        between = [moment + timedelta(seconds=SPREAD_SECONDS / SPREAD / 2) for moment in steps]
        schedule([*small, *big], [*steps, *between])
        cpu = CpuUse({"publishers": [pid], "server": [stage.server.process.pid]})
        wait_for(lambda: published(stage.server) >= 2 * SPREAD, seconds=SPREAD_SECONDS + 60, what="all published")
        shares = cpu.shares()
    of_small, of_big = (lateness_ms(stage, by_account(*each)) for each in ((small, steps), (big, between)))
    both = [*of_small, *of_big]
    stage.found["lateness"] = {name: value for name, value in summary(both).items() if name in {"p50_ms", "p99_ms"}}
    stage.found["lateness_more"] = {
        "of_1_kb": summary(of_small),
        "of_50_mb": summary(of_big),
        "staging_seconds": round(staging_seconds, 1),
        "cpu": shares,
    }
    for name, values in (("1 KB", of_small), ("50 MB", of_big)):
        stage.say(f"lateness   {name:>5}, {SPREAD} over {SPREAD_SECONDS} s: {_in_words(values)}")


def _in_words(values: Sequence[float]) -> str:
    found = summary(values)
    return (
        f"half within {found['p50_ms']:.0f} ms, 99 of 100 within {found['p99_ms']:.0f} ms, least {min(values):.0f} ms"
    )


def burst(stage: Stage, number: int) -> None:
    """So many staged works of different accounts in the same second; a bare pool of the same size beside it."""
    machine.tidy(stage.server)
    works = stage.drafts(number)
    with Publishers(stage.server) as processes:
        processes.start(50)
        stage_ahead(works, seconds=180)
        moments = _within_a_second(number, clock.database_now() + timedelta(seconds=6))
        schedule(works, moments)
        wait_for(lambda: published(stage.server) >= number, seconds=120, what=f"{number} published")
        ours = lateness_ms(stage, by_account(works, moments))
    machine.tidy(stage.server)
    works = stage.drafts(number)
    schedule(works, [clock.database_now() + timedelta(days=1)] * number)
    moments = _within_a_second(number, clock.database_now() + timedelta(seconds=15))
    with bare_pools(stage, works, concurrency=50, staged=True) as run:
        run(moments[0].timestamp())
    bare = lateness_ms(stage, by_account(works, moments))
    ratio = percentile(ours, 0.99) / percentile(bare, 0.99)
    stage.found[f"burst_{number}"] = {**summary(ours), "bare": summary(bare), "ratio_to_baseline": round(ratio, 3)}
    stage.say(f"burst      {number} in the same second: {_in_words(ours)}; {ratio:.2f} x the bare pool's")


def _within_a_second(number: int, first: datetime) -> list[datetime]:
    return [first + timedelta(seconds=position / number) for position in range(number)]


def stalled(stage: Stage) -> None:
    """All slots but one are with accounts whose calls are never answered: uploads first, then publish calls."""
    for kind in ("submit", "publish"):
        machine.tidy(stage.server)
        stuck, others = stage.drafts(15), stage.drafts(10)
        with Publishers(stage.server) as processes:
            processes.start(16)
            stage_ahead([*others, *(stuck if kind == "publish" else [])], seconds=60)
            stage.server.profile(stalled=[work.account_id.hex for work in stuck if work.account_id])
            before = stage.server.counts().get(kind, 0)
            make_due(stuck)
            # Uploads never get all slots, so not all of them arrive.
            least = len(stuck) if kind == "publish" else 8
            wait_for(lambda: stage.server.counts().get(kind, 0) >= before + least, seconds=60, what="stalled calls")  # noqa: B023
            first = clock.database_now() + timedelta(seconds=4)
            moments = [first + timedelta(seconds=0.7 * position) for position in range(len(others))]
            schedule(others, moments)
            planned = by_account(others, moments)
            wait_for(lambda: len(lateness_ms(stage, planned)) == len(others), seconds=60, what="the others")  # noqa: B023
            values = lateness_ms(stage, planned)
        stage.found[f"stalled_{kind}"] = summary(values)
        stage.say(f"stalled    15 of 16 slots wait for {kind} calls, another's staged work: {_in_words(values)}")


# --- after something broke -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class InFlight:
    """A work that a publisher held when it went away, and what it was at."""

    account: str
    worker_id: UUID
    was_publishing: bool


def in_flight() -> list[InFlight]:
    held = list(Deviation.objects.claimed().values_list("pk", "account_id", "worker_id"))
    publishing = set(
        Attempt.objects.publishing()
        .filter(outcome__isnull=True, publication__deviation__in=[pk for pk, _account, _worker in held])
        .values_list("publication__deviation_id", flat=True)
    )
    return [InFlight(account.hex, worker, pk in publishing) for pk, account, worker in held if account and worker]


def went_on_after(stage: Stage, works: Sequence[InFlight], since: float, *, seconds: float) -> dict[bool, float]:
    """Seconds until the last of the works had its next call, of those that were being published and the others.

    A work whose last call did arrive and whose end was written down before it could be seen counts as nothing.
    """
    wanted = {work.account: work.was_publishing for work in works}
    firsts: dict[str, float] = {}

    def all_went_on() -> bool:
        for _kind, account, _item, at, _status in stage.server.calls("submit", "publish", "look"):
            if at > since and account in wanted:
                firsts.setdefault(account, at)
        return len(firsts) == len(wanted)

    with contextlib.suppress(RuntimeError):
        wait_for(all_went_on, seconds=seconds, what="all works to go on")
    return {
        kind: max(
            [firsts.get(account, since + seconds) - since for account, was in wanted.items() if was is kind],
            default=0.0,
        )
        for kind in (False, True)
    }


def recovery_restart(stage: Stage) -> None:
    """kill -9, and a restart on the same host."""
    machine.tidy(stage.server)
    works = stage.drafts(800)
    with Publishers(stage.server) as processes, ExitStack() as running:
        process = processes.start(8)
        running.enter_context(feed(works, per_second=10))
        wait_for(lambda: published(stage.server) >= 40, seconds=60, what="the first works")
        process.kill()
        since = time.time()
        held = in_flight()
        processes.start(8, ready=False)
        took = went_on_after(stage, held, since, seconds=60)
    stage.found["recovery_restart"] = {
        "works": len(held),
        "uploading_seconds": round(took[False], 2),
        "publishing_seconds": round(took[True], 2),
    }
    stage.say(
        f"recovery   kill -9 and restart: {len(held)} works went on within {took[False]:.1f} s; "
        f"those that were being published were looked up within {took[True]:.1f} s"
    )


def recovery_elsewhere(stage: Stage) -> None:
    """One publisher is killed, one stopped, one cut from the database, and a fourth has to notice."""
    machine.tidy(stage.server)
    works = stage.drafts(2000)
    with Publishers(stage.server) as processes, ExitStack() as running, Relay(settings.DATABASE_URL) as relay:
        doomed = [processes.start(4), processes.start(4), processes.start(4, DATABASE_URL=relay.url)]
        names = {process.pid: name for process, name in zip(doomed, ("kill", "stop", "cut"), strict=True)}
        registered = Worker.objects.filter(process_id__in=names)
        wait_for(lambda: registered.count() == len(names), seconds=30, what="three registered publishers")
        workers = {worker.pk: names[worker.process_id] for worker in registered}
        processes.start(16)
        # The process that is stopped may be the one that dispatches and rescues, and it keeps its lock.
        processes.start_beat()
        running.enter_context(feed(works, per_second=20))
        wait_for(lambda: published(stage.server) >= 60, seconds=60, what="the first works")
        doomed[0].kill()
        os.kill(doomed[1].pid, signal.SIGSTOP)
        relay.cut()
        since = time.time()
        held = [work for work in in_flight() if work.worker_id in workers]
        for name in names.values():
            mine = [work for work in held if workers[work.worker_id] == name]
            took = went_on_after(stage, mine, since, seconds=60)
            stage.found[f"recovery_{name}"] = {"works": len(mine), "seconds": round(max(took.values()), 2)}
            stage.say(f"recovery   {name}: {len(mine)} works went on elsewhere within {max(took.values()):.1f} s")


def recovery_flush(stage: Stage) -> None:
    """Redis is emptied while there is much to do."""
    machine.tidy(stage.server)
    works = stage.drafts(1000)
    with Publishers(stage.server) as processes:
        processes.start(16)
        make_due(works)
        wait_for(lambda: published(stage.server) >= 100, seconds=60, what="the first works")
        with machine.redis() as broker:
            broker.flushall()
        since = time.time()
        complete = all_published(works, seconds=180)
        arrivals = sorted(call[3] for call in stage.server.calls("submit", "publish") if call[3] > since)
    gap = max((later - earlier for earlier, later in zip([since, *arrivals], arrivals, strict=False)), default=999.0)
    lost = 0 if complete else Deviation.objects.filter(pk__in=[w.pk for w in works]).exclude(status="published").count()
    stage.found["recovery_flush"] = {"longest_pause_seconds": round(gap, 2), "not_published": lost}
    stage.say(f"recovery   FLUSHALL: no call for {gap:.1f} s at most, {lost} of {len(works)} works not published")


# --- limits ----------------------------------------------------------------------------------------------------------
def limits(stage: Stage) -> None:
    """Ten thousand overdue works of some accounts, while DeviantArt limits each account."""
    machine.tidy(stage.server)
    accounts = make_accounts(stage.workspace, LIMITED_ACCOUNTS)
    works = make_works(stage.workspace, accounts * (LIMITED_WORKS // LIMITED_ACCOUNTS), stage.small)
    with Publishers(stage.server) as processes:
        processes.start(50)
        stage.server.profile(user_limit=USER_LIMIT)
        schedule(works, [clock.database_now() - timedelta(minutes=10)] * len(works))
        wait_for(lambda: stage.server.calls("submit"), seconds=30, what="the first call")
        time.sleep(LIMITS_SECONDS)
        calls = stage.server.calls("submit", "publish", "placebo")
    began = min(call[3] for call in calls)
    best = oracle_calls()
    shares = {}
    for name, after, oracle in (("share", 0.0, best[0]), ("share_after_a_minute", float(WARM_UP_SECONDS), best[1])):
        counted = [call for call in calls if after <= call[3] - began < LIMITS_SECONDS]
        accepted = sum(call[4] != 429 for call in counted)
        # What was saved up before the minute may be spent after it.
        shares[name] = round(min(1.0, accepted / (LIMITED_ACCOUNTS * oracle)), 4)
        shares[f"answered_429{name.removeprefix('share')}"] = round(1 - accepted / max(1, len(counted)), 4)
    stage.found["limits"] = {**shares, "accounts": LIMITED_ACCOUNTS, "works": len(works), "user_limit": USER_LIMIT}
    stage.say(
        f"limits     {len(works):,} overdue, {LIMITED_ACCOUNTS} accounts: {shares['share']:.1%} of the oracle's calls "
        f"in {LIMITS_SECONDS} s, {shares['share_after_a_minute']:.1%} after the first minute; "
        f"{shares['answered_429']:.2%} answered 429"
    )


def oracle_calls() -> tuple[int, int]:
    """How many calls of one account who knows the limit gets accepted, all in all and after the first minute."""
    way = Oracle(Limits([(0.0, float(USER_LIMIT["refill_per_second"]))], LIMITS_SECONDS), 0)
    moments = []
    now = 0.0
    while (now := way.next_at(now)) < LIMITS_SECONDS:
        way.heard(now, accepted=True)
        moments.append(now)
    return len(moments), sum(at >= WARM_UP_SECONDS for at in moments)


def alone_among_many(stage: Stage) -> None:
    """Another artist's single works, first quietly, then while ten thousand of one artist are overdue."""
    values = {}
    for name, backlog in (("quiet", 0), ("beside_10000", LIMITED_WORKS)):
        machine.tidy(stage.server)
        singles = stage.drafts(15)
        many = make_works(stage.workspace, make_accounts(stage.workspace, 1) * backlog, stage.small) if backlog else []
        with Publishers(stage.server) as processes:
            processes.start(16)
            stage_ahead(singles, seconds=60)
            stage.server.profile(user_limit=USER_LIMIT)
            if many:
                schedule(many, [clock.database_now() - timedelta(minutes=10)] * len(many))
                time.sleep(5)
            first = clock.database_now() + timedelta(seconds=3)
            moments = [first + timedelta(seconds=0.9 * position) for position in range(len(singles))]
            schedule(singles, moments)
            planned = by_account(singles, moments)
            wait_for(lambda: len(lateness_ms(stage, planned)) == len(singles), seconds=60, what="the single works")  # noqa: B023
            values[name] = lateness_ms(stage, planned)
        stage.found[f"single_{name}"] = summary(values[name])
    ratio = statistics.median(values["beside_10000"]) / statistics.median(values["quiet"])
    stage.found["single_ratio"] = round(ratio, 3)
    stage.say(f"single     quiet: {_in_words(values['quiet'])}")
    stage.say(
        f"single     beside 10,000 of another: {_in_words(values['beside_10000'])}; {ratio:.2f} x the quiet median"
    )


# --- all of it -------------------------------------------------------------------------------------------------------
PARTS: dict[str, Callable[[Stage], None]] = {
    "c5": lambda stage: throughput(stage, "c5", concurrency=5, number=200, bare=200),
    "c50": lambda stage: throughput(stage, "c50", concurrency=50, number=2000, bare=2000),
    "two_by_50": lambda stage: throughput(stage, "two_by_50", concurrency=50, publishers=2, number=3000, bare=3000),
    "big_file": big_file,
    "lateness": lateness,
    "burst_200": lambda stage: burst(stage, 200),
    "burst_1000": lambda stage: burst(stage, 1000),
    "stalled": stalled,
    "recovery_restart": recovery_restart,
    "recovery_elsewhere": recovery_elsewhere,
    "recovery_flush": recovery_flush,
    "limits": limits,
    "single": alone_among_many,
}
# Run only when it is asked for: it takes minutes.
LONG_PARTS: dict[str, Callable[[Stage], None]] = {
    "flat": lambda stage: throughput(stage, "flat", concurrency=50, number=10_000, bare=500),
}


@dataclass(frozen=True)
class Found:
    stage: Stage

    def as_table(self) -> str:
        return f"{self.stage.found['seconds']:.0f} s in all."

    def as_json(self) -> dict[str, Any]:
        return self.stage.found


def measure() -> Found:
    began = time.monotonic()
    parts = {**PARTS, **LONG_PARTS} if os.environ.get("BENCHMARK_PARTS") else PARTS
    with ExitStack() as running:
        server = running.enter_context(Server())
        running.enter_context(override_settings(DEVIANTART_BASE_URL=server.base_url))
        user, workspace = make_user("publishing")
        small = os.urandom(1024)
        stage = Stage(server, user, workspace, store_file(workspace, small, hashlib.sha256(small).hexdigest()))
        _describe(stage)
        for name in chosen_parts(list(parts)):
            try:
                parts[name](stage)
            except (RuntimeError, AssertionError) as error:
                # What one part could not measure must not hide what the others can.
                stage.found.setdefault("failed", {})[name] = str(error)[:2000]
                stage.say(f"{name}: NOT MEASURED. {error}")
    stage.found["seconds"] = round(time.monotonic() - began, 1)
    connection.close()
    return Found(stage)


def _describe(stage: Stage) -> None:
    rate = stage.server.measured_rate()
    limiter = {
        "RATE_LIMITER_ENABLED": settings.RATE_LIMITER_ENABLED,
        "RATE_LIMITER_BASE_DELAY_MS": round(settings.RATE_LIMITER_BASE_DELAY_SECONDS * 1000),
        "RATE_LIMITER_MAX_DELAY_MS": round(settings.RATE_LIMITER_MAX_DELAY_SECONDS * 1000),
    }
    stage.found |= {"server_requests_per_second": round(rate), **limiter, "cores": os.cpu_count()}
    stage.say(
        f"server     {rate:,.0f} requests/s beside the process that asks it; submit {SUBMIT_SECONDS * 1000:.0f} ms, "
        f"publish {PUBLISH_SECONDS * 1000:.0f} ms; {os.cpu_count()} cores"
    )
    stage.say("settings   " + ", ".join(f"{name}={value}" for name, value in limiter.items()))
    server_is_fast = rate >= 2000
    if not server_is_fast:
        stage.say("server     SLOWER than the 2,000 requests/s that these figures need")
