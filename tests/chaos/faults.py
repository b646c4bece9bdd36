"""Doing the faults: each kind begins, and what it needs to end is kept for its time."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from redis.exceptions import RedisError

from isekai.faults import POINTS
from tests.chaos.history import History, Struck
from tests.chaos.kinds import STOPPED_SECONDS, Kind, Planned
from tests.chaos.system import System

JUMPS = (7200.0, -1800.0, 5.0)
# A fault that finds nobody to strike waits so long for somebody.
PATIENCE_SECONDS = 20.0
# What finds nothing to strike, or no database to ask, waits so long for it: a lease is held for moments only.
OCCASION_SECONDS = 90.0
PUBLISH = "/stash/publish"
SUBMIT = "/stash/submit"


class NotNow(Exception):
    """What is to be struck is not there at the moment."""


@dataclass(slots=True)
class _Later:
    at: float
    do: Callable[[], None]


@dataclass(slots=True)
class Striker:
    """Does what is planned when its time comes, from the main thread, and counts what was truly done."""

    system: System
    history: History
    usernames: Sequence[str]
    points: Sequence[str] = POINTS
    done: Counter[str] = field(default_factory=Counter)
    last: str = "none yet"
    waiting: list[tuple[Planned, float]] = field(default_factory=list)
    later: list[_Later] = field(default_factory=list)
    orders: list[tuple[str, str, float]] = field(default_factory=list)
    _told: list[str] = field(default_factory=list)
    """The kind of each fault in the sandbox's plan, in its order."""
    _points: list[str] = field(default_factory=list)

    def strike_due(self, planned: list[Planned], since: float) -> None:
        """Begin what is due of ``planned`` (taking it off), end what has lasted long enough."""
        now = time.monotonic()
        while planned and planned[0].at <= now - since:
            self.waiting.append((planned.pop(0), now + OCCASION_SECONDS))
        for fault, until in list(self.waiting):
            try:
                target = self._begin(fault)
            except (NotNow, psycopg.OperationalError):
                if now > until:
                    self.waiting.remove((fault, until))
                    self.history.note("missed", kind=fault.kind.name)
                continue
            except (OSError, AssertionError, RuntimeError, psycopg.Error, RedisError) as error:
                self.waiting.remove((fault, until))
                self.history.note("not_done", kind=fault.kind.name, error=f"{type(error).__name__}: {error}"[:500])
                continue
            self.waiting.remove((fault, until))
            if target is not None:
                self._struck(fault.kind.name, target, fault.seconds)
        self._end_due(now)
        self._watch_orders(now)

    def has_undone(self) -> bool:
        """Whether something that was begun has not found its occasion yet."""
        return bool(self.orders or self.waiting) or any(not entry["applied"] for entry in self.system.sandbox.plan())

    def lacks(self, kinds: Iterable[Kind], least: int) -> bool:
        """Whether one of ``kinds`` has truly been done less than ``least`` times so far."""
        done = self.done.copy()
        for name, entry in zip(self._told, self.system.sandbox.plan(), strict=True):
            done[name] -= not entry["applied"]
        return any(done[kind.name] < least for kind in kinds)

    def end_all(self) -> None:
        """Whatever still goes on ends now. What the sandbox was told to do and had no occasion for is not counted."""
        for kind, entry in zip(self._told, self.system.sandbox.plan(), strict=True):
            self.done[kind] -= not entry["applied"]
        self.waiting.clear()
        while self.later:
            self._end_due(float("inf"))
        for point, _action, _since in self.orders:
            (self.system.processes.faults / point).unlink(missing_ok=True)
        self.orders.clear()
        for post in self.system.posts:
            post.is_open = True
            if post.continue_at is not None:
                post.continue_at = 0.0
        self.system.sandbox.clear_faults()
        self.system.sandbox.end_episodes()
        self.system.proxy.mode, self.system.proxy.lost = "well", frozenset()

    def _struck(self, kind: str, target: str, seconds: float | None, *, since: float | None = None) -> None:
        now = time.time()
        self.done[kind] += 1
        self.last = f"{kind} {target}".strip()
        self.history.strike(Struck(kind, target, now, None if seconds is None else now + seconds, since))

    def _end_due(self, now: float) -> None:
        due = [each for each in self.later if each.at <= now]
        self.later = [each for each in self.later if each.at > now]
        for each in due:
            try:
                each.do()
            except (OSError, psycopg.Error, RedisError, RuntimeError):
                self.later.append(_Later(time.monotonic() + 0.5, each.do))
                if now == float("inf"):
                    time.sleep(0.5)

    def _after(self, seconds: float, do: Callable[[], Any]) -> None:
        self.later.append(_Later(time.monotonic() + seconds, do))

    def _begin(self, fault: Planned) -> str | None:
        """What was struck; None where it counts only once it has happened. Raises NotNow."""
        dice, name = random.Random(fault.dice), fault.kind.name
        what, _, which = name.partition("_")
        if what in {"kill", "stop"} and which == "at_point":
            self._order(what, dice)
            return None
        if what in {"kill", "stop"}:
            return self._hit(what, which, dice)
        step: Callable[[Planned, random.Random], str | None] = getattr(self, f"_{name}")
        return step(fault, dice)

    # --- processes of ours -------------------------------------------------------------------------------------------
    def _hit(self, what: str, name: str, dice: random.Random) -> str:
        posts = self.system.of(name)
        if not posts:
            raise NotNow
        post = dice.choice(posts)
        assert post.process is not None
        pid = post.process.pid
        if what == "kill":
            post.process.kill()
        else:
            self.system.stop_for(post, STOPPED_SECONDS)
        return f"{name} {pid}"

    def _order(self, action: str, dice: random.Random) -> None:
        """At whichever point comes next in a shuffled row of all: what nobody reaches must not keep others back."""
        free = [point for point in self._points if not self._is_ordered(point)]
        if not free:
            self._points = list(self.points)
            dice.shuffle(self._points)
            free = [point for point in self._points if not self._is_ordered(point)]
        if not free:
            raise NotNow
        point = free[0]
        self._points.remove(point)
        self.system.processes.order_fault(point, action)
        self.orders.append((point, action, time.monotonic()))

    def _is_ordered(self, point: str) -> bool:
        return any(point == each for each, _action, _since in self.orders)

    def _watch_orders(self, now: float) -> None:
        for order in list(self.orders):
            point, action, since = order
            if self.system.processes.happened(point):
                self.orders.remove(order)
                self._struck(f"{action}_at_point", point, STOPPED_SECONDS if action == "stop" else None)
                continue
            if now - since > PATIENCE_SECONDS:
                # A step that is rarely taken; somebody else may come by another one sooner.
                with suppress(OSError):
                    (self.system.processes.faults / point).unlink()
                    self.orders.remove(order)
                    self._order(action, random.Random(self.done.total()))
        while (post := self.system.stopped_by_itself()) is not None:
            post.continue_at = now + STOPPED_SECONDS

    def _lease_lost(self, _fault: Planned, dice: random.Random) -> str:
        """Of one that is in the middle of something."""
        with self.system.database() as connection:
            busy = connection.execute(
                "SELECT w.id, w.process_id FROM publisher_worker w JOIN deviations_deviation d ON d.worker_id = w.id "
                "WHERE w.alive_until > clock_timestamp() ORDER BY w.id"
            ).fetchall()
            if not busy:
                raise NotNow
            worker, pid = dice.choice(busy)
            connection.execute("UPDATE publisher_worker SET alive_until = clock_timestamp() WHERE id = %s", [worker])
        return f"publisher {pid}"

    def _two_beats(self, fault: Planned, _dice: random.Random) -> str:
        self.system.add_post("beat")
        self._after(fault.seconds, self._end_second_beat)
        return "beat"

    def _end_second_beat(self) -> None:
        self.system.remove_post("beat")

    def _no_beat(self, fault: Planned, _dice: random.Random) -> str:
        for post in self.system.posts:
            if post.name == "beat":
                post.is_open = False
                if post.process is not None:
                    post.process.kill()
        self._after(fault.seconds, self._let_beats_return)
        return "beat"

    def _let_beats_return(self) -> None:
        for post in self.system.posts:
            if post.name == "beat":
                post.is_open = True

    def _clock_jump(self, fault: Planned, dice: random.Random) -> str:
        names = sorted({post.name for post in self.system.posts})
        name, jump = dice.choice(names), dice.choice(JUMPS)
        self.system.move_clock(name, jump)
        self._after(fault.seconds, lambda: self.system.move_clock(name, 0))
        return f"{name} {jump:+.0f} s"

    # --- Redis -------------------------------------------------------------------------------------------------------
    def _redis_restart(self, _fault: Planned, _dice: random.Random) -> str:
        self.system.signal_server(self.system.valkey, signal.SIGKILL)
        self.system.valkey.start()
        return "redis"

    def _redis_flush(self, _fault: Planned, _dice: random.Random) -> str:
        with self.system.redis() as redis:
            redis.flushall()
        return "redis"

    def _redis_away(self, fault: Planned, _dice: random.Random) -> str:
        self.system.down.add("redis")
        self.system.signal_server(self.system.valkey, signal.SIGKILL)
        self._after(fault.seconds, lambda: self.system.down.discard("redis"))
        return f"{fault.seconds:.0f} s"

    def _redis_full(self, fault: Planned, _dice: random.Random) -> str:
        with self.system.redis() as redis:
            redis.config_set("maxmemory", "1mb")
        self._after(fault.seconds, self._empty_redis)
        return "1 MB"

    def _empty_redis(self) -> None:
        with self.system.redis() as redis:
            redis.config_set("maxmemory", "0")

    # --- PostgreSQL --------------------------------------------------------------------------------------------------
    def _postgres_kill(self, _fault: Planned, _dice: random.Random) -> str:
        self.system.signal_server(self.system.postgres, signal.SIGKILL)
        return "SIGKILL"

    def _postgres_stop(self, _fault: Planned, _dice: random.Random) -> str:
        self.system.signal_server(self.system.postgres, signal.SIGQUIT)
        return "immediate"

    def _postgres_full(self, fault: Planned, _dice: random.Random) -> str:
        taken: list[psycopg.Connection[Any]] = []
        with suppress(psycopg.OperationalError):
            taken.extend(self.system.database("postgres") for _ in range(1000))
        if not taken:
            raise NotNow

        def give_back() -> None:
            for each in taken:
                each.close()

        self._after(fault.seconds, give_back)
        return f"{len(taken)} connections"

    def _connections_reset(self, _fault: Planned, _dice: random.Random) -> str:
        with self.system.database() as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        if not ended:
            raise NotNow
        return f"{len(ended)} connections"

    def _postgres_restored(self, fault: Planned, dice: random.Random) -> None:
        taken = self.system.take_dump()
        self._after(dice.uniform(0.3, 0.8) * fault.seconds, lambda: self._put_dump_back(taken))

    def _put_dump_back(self, taken: float) -> None:
        self.system.end_ours()
        try:
            self.system.put_dump_back()
        finally:
            self.system.down.discard("ours")
        self._struck("postgres_restored", f"{time.time() - taken:.1f} s old", None, since=taken)

    # --- storage -----------------------------------------------------------------------------------------------------
    def _s3_503(self, fault: Planned, _dice: random.Random) -> str:
        return self._storage("unavailable", fault.seconds)

    def _s3_slow(self, fault: Planned, _dice: random.Random) -> str:
        return self._storage("slow", fault.seconds)

    def _storage(self, mode: str, seconds: float) -> str:
        self.system.proxy.mode = mode
        self._after(seconds, self._heal_storage)
        return mode

    def _s3_lost(self, fault: Planned, dice: random.Random) -> str:
        keys = self.system.keys
        self.system.proxy.lost = frozenset(dice.sample(keys, max(1, len(keys) // 10)))
        self._after(fault.seconds, self._heal_storage)
        return f"{len(self.system.proxy.lost)} keys"

    def _heal_storage(self) -> None:
        self.system.proxy.mode, self.system.proxy.lost = "well", frozenset()

    # --- DeviantArt --------------------------------------------------------------------------------------------------
    def _plan(self, fault: Planned, path: str, do: str, *, times: int, **options: Any) -> str:
        match = {"path": path, **options.pop("match", {})}
        self.system.sandbox.faults([{"match": match, "do": do, "times": times, **options}])
        self._told.append(fault.kind.name)
        return f"{do} {times} x {path}"

    def _answer_lost_before(self, fault: Planned, _dice: random.Random) -> str:
        return self._plan(fault, PUBLISH, "reset_before", times=1)

    def _answer_lost_after(self, fault: Planned, _dice: random.Random) -> str:
        return self._plan(fault, PUBLISH, "reset_after_commit", times=1)

    def _publish_stalls(self, fault: Planned, dice: random.Random) -> str:
        # At a tenth that is twice the deadline of the call.
        return self._plan(fault, PUBLISH, "stall", times=1, seconds=120, after_commit=dice.random() < 0.5)

    def _publish_html(self, fault: Planned, dice: random.Random) -> str:
        do = dice.choice(["html", "blank", "truncate"])
        options = {"status": 502} if do == "html" else {}
        return self._plan(fault, PUBLISH, do, times=1, after_commit=dice.random() < 0.5, **options)

    def _submit_lost(self, fault: Planned, dice: random.Random) -> str:
        return self._plan(fault, SUBMIT, dice.choice(["reset_before", "reset_after_commit", "reset_in_body"]), times=1)

    def _rate_limited(self, fault: Planned, dice: random.Random) -> str:
        # What DeviantArt asks for is not scaled, so an absurd number, capped at an hour, would outlast the run.
        headers = dice.choice([{}, {"Retry-After": "2"}, {"Retry-After": "-1"}, {"Retry-After": "soon"}])
        match = {"username": dice.choice(self.usernames)}
        return self._plan(fault, "/api/v1/oauth2/*", "status", times=3, status=429, headers=headers, match=match)

    def _server_errors(self, fault: Planned, dice: random.Random) -> str:
        path = dice.choice([PUBLISH, SUBMIT, "/gallery/all"])
        return self._plan(fault, path, "status", times=2, status=dice.choice([500, 503, 504]))

    def _block_page(self, fault: Planned, _dice: random.Random) -> str:
        self.system.sandbox.episode("waf", fault.seconds)
        return f"{fault.seconds:.0f} s"

    def _refresh_lost(self, fault: Planned, _dice: random.Random) -> str:
        return self._plan(fault, "/oauth2/token", "reset_after_commit", times=1, match={"grant_type": "refresh_token"})

    def _revoked(self, _fault: Planned, dice: random.Random) -> str:
        username = dice.choice(self.usernames)
        self.system.sandbox.revoke(username)
        return username
