"""When the next call to DeviantArt may start: for each account, and for the whole application.

An account has a burst of a few calls, then a spacing between two, which is found out: it shortens while calls that had
to wait for it are accepted, and after a 429 becomes what was accepted in truth. Everything is decided in Redis, by
Redis' clock and in one round trip (pace.lua), so that any number of processes keep one pace. While Redis is away each
process paces for itself, carefully.
"""

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError

from deviantart.errors import DeviantArtError, RateLimited, Unreachable
from deviantart.micros import SECOND, micros, moment, text
from isekai.outage import Outage

SCRIPT = Path(__file__).with_name("pace.lua").read_text(encoding="utf-8")
_REMEMBERED_ACCOUNTS = 10_000

# Keys and arguments of the script, and what it returns: whether, when, its own time, why, and who had waited.
Question = tuple[list[str], list[str]]
Answer = tuple[int, int, int, Any, int, int]


class Kind(StrEnum):
    """What a call is for: who can come back later gives way to who cannot."""

    PUBLISH = "publish"  # whatever a work whose time has come needs: its upload, the publish call, a refresh
    STAGE = "stage"  # an upload ahead of its time, which may take long
    READ = "read"  # anything else


class Reason(StrEnum):
    """Why a call has to wait."""

    SPACING = "spacing"  # the account's pace
    PENALTY = "penalty"  # DeviantArt told the account to slow down
    APPLICATION = "application"  # ... or the whole application
    RESERVED = "reserved"  # a work of the account is due
    HELD = "held"  # a breaker is open


@dataclass(frozen=True, slots=True)
class Permit:
    """The call may start now. It goes back to ``after_call`` together with what became of the call."""

    account: str
    kind: Kind
    started_at: float
    """Epoch seconds by the clock that decided."""
    is_paced: bool = False
    is_application_paced: bool = False
    is_local: bool = False

    allowed: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Wait:
    """The call may not start before ``seconds`` have passed, at ``until`` by Redis' clock (aware, UTC)."""

    seconds: float
    until: datetime
    reason: Reason

    allowed: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PaceConfig:
    """How calls are paced; waits in seconds. Without ``enabled`` everything may start at once.

    After a 429 the spacing that was accepted is tried for ``trial_calls`` calls and ``trial_pauses`` times the pause
    before a shorter one is, so that at most about one call in so many is refused and a tenth of the time is spent in
    pauses. From then on, and at the beginning, the spacing halves every ``doubling_calls`` calls, though never within
    ``doubling_seconds``. What was learnt is forgotten after ``forget_seconds`` without a call or a 429.
    """

    enabled: bool = True
    base_delay_seconds: float = 3.0
    max_delay_seconds: float = 300.0
    burst: int = 4
    factor: float = 2.0
    least_delay_seconds: float = 0.1
    trial_calls: int = 70
    trial_pauses: float = 10.0
    doubling_calls: int = 8
    doubling_seconds: float = 10.0
    forget_seconds: float = 3600.0
    # A publish that is due may come so much too late before others take its place; an upload ahead of its time keeps
    # so far away from it.
    reserve_seconds: float = 10.0
    stage_seconds: float = 10.0
    # DeviantArt's longest blocks were about half an hour (deviantart-api.md, section 5).
    longest_pause_seconds: float = 2000.0

    def __post_init__(self) -> None:
        if not 0 < self.least_delay_seconds <= self.base_delay_seconds <= self.max_delay_seconds:
            raise ValueError("The delays of the pace must grow from the least over the base to the greatest.")
        if self.burst < 2 or self.factor <= 1:
            raise ValueError("A pace needs a burst of at least 2 calls and a factor above 1.")

    def as_script(self) -> dict[str, float]:
        return {
            "base": micros(self.base_delay_seconds),
            "most": micros(self.max_delay_seconds),
            "least": micros(self.least_delay_seconds),
            "least_application": 1000,
            "burst": self.burst,
            "factor": self.factor,
            "trial_calls": self.trial_calls,
            "trial_pauses": self.trial_pauses,
            "doubling_calls": self.doubling_calls,
            "doubling": micros(self.doubling_seconds),
            "forget": micros(self.forget_seconds),
            "reserve": micros(self.reserve_seconds),
            "stage": micros(self.stage_seconds),
            "longest_pause": micros(max(self.longest_pause_seconds, self.max_delay_seconds)),
            "count": micros(60),
            "keep_ms": 7 * 24 * 3600 * 1000,
        }


@dataclass(frozen=True, slots=True)
class PaceState:
    """The pace of one account, or of the application, for people to see."""

    account: str | None
    """None for the application."""
    spacing_seconds: float
    """0 for an application that was never told to slow down."""
    wait_seconds: float
    """Until the next call may start."""
    is_penalty: bool
    refused_in_a_row: int
    accepted: int
    refused: int
    last_call_at: datetime | None
    last_refusal_at: datetime | None
    next_due_at: datetime | None


class Pace:
    """Shared by the threads of a process; ``redis`` should give up within a second, since callers wait for it.

    ``clock`` replaces Redis' own in tests and benchmarks.
    """

    def __init__(
        self,
        redis: Redis,
        config: PaceConfig,
        *,
        prefix: str = "isekai:pace",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.config = config
        self.redis = self._redis = redis
        self._prefix = prefix
        self._clock = clock
        self._script = redis.register_script(SCRIPT)
        self._script_config = config.as_script()
        self._outage = Outage("redis (pace)")
        self._alone = _Alone(config)

    def before_call(
        self, account: UUID | str, kind: Kind, *, next_due_in_seconds: float | None = None
    ) -> Permit | Wait:
        """Ask for one call of an account; what may not start now is told when to come back.

        A Wait of a publish keeps its place until then; asking again meanwhile changes nothing and costs nothing.
        ``next_due_in_seconds`` is as in ``reserve``; None leaves what is set.
        """
        account = str(account)
        if not self.config.enabled:
            return Permit(account, kind, self._now())
        answer = self._run("ask", account, kind=kind, next_due=next_due_in_seconds)
        if answer is None:
            return self._alone.before_call(account, kind)
        return _as_found(account, kind, answer)

    def question(self, account: str, kind: Kind, *, next_due_in_seconds: float | None = None) -> Question | None:
        """What ``before_call`` asks Redis, for somebody who asks more than that at once; None: Redis is not asked."""
        if not self.config.enabled or self._outage.lasts():
            return None
        return self._question("ask", account, kind=kind, next_due=next_due_in_seconds)

    def found(self, account: str, kind: Kind, answer: Answer) -> Permit | Wait:
        """What ``before_call`` says to the answer to such a ``question``."""
        self._outage.over()
        return _as_found(account, kind, answer)

    def report(self, permit: Permit, error: BaseException | None = None) -> Question | None:
        """As ``question``, for ``after_call``."""
        outcome = _outcome(error)
        if outcome is None or permit.is_local or not self.config.enabled or self._outage.lasts():
            return None
        return self._question("tell", permit.account, **_told(permit, outcome, error))

    def told(self, permit: Permit, error: BaseException | None, answer: Answer) -> Wait | None:
        """What ``after_call`` says to the answer to such a ``report``."""
        self._outage.over()
        return self._as_told(permit, _outcome(error), answer)

    def _as_told(self, permit: Permit, outcome: str | None, answer: Answer) -> Wait | None:
        if outcome == "accepted":
            return None
        _, until, now, *_ = answer
        seconds = (until - now) / SECOND
        is_application = outcome == "application_limited"
        self._alone.remember(None if is_application else permit.account, seconds)
        return Wait(seconds, moment(until), Reason.APPLICATION if is_application else Reason.PENALTY)

    def after_call(self, permit: Permit, error: BaseException | None = None) -> Wait | None:
        """Say what became of a call; a Wait when DeviantArt told us to slow down: nothing may start before it is over.

        Every call that got a Permit should end here, whatever happened; one that does not only teaches nothing.
        """
        if not self.config.enabled:
            return None
        outcome = _outcome(error)
        if outcome is None:
            return None
        retry_after = error.retry_after_seconds if isinstance(error, RateLimited) else None
        answer = None
        if not permit.is_local:
            answer = self._run("tell", permit.account, **_told(permit, outcome, error))
        if answer is None:
            return self._alone.after_call(permit.account, outcome, retry_after)
        return self._as_told(permit, outcome, answer)

    def reserve(self, account: UUID | str, in_seconds: float | None) -> None:
        """Say when the account's next work is due: no other call starts within one spacing before. None: nothing is."""
        if self.config.enabled:
            self._run("reserve", str(account), next_due=in_seconds)

    def hold(self, account: UUID | str, seconds: float) -> None:
        """Let nothing of an account start for so long: for a wait that is known from elsewhere."""
        if self.config.enabled and self._run("hold", str(account), for_time=micros(seconds)) is None:
            self._alone.remember(str(account), seconds)

    def reset(self, account: UUID | str | None) -> None:
        """Forget what was learnt of an account, or with None of the application, its penalty included.

        Raises RedisError when nobody is there to forget.
        """
        self._alone.forget(None if account is None else str(account))
        self._call("reset", str(account), application=account is None)

    def states(self) -> list[PaceState]:
        """The application's pace and that of every account that called lately. Raises RedisError."""
        now = self._now(by_redis=True)
        keys = sorted(self._redis.scan_iter(match=f"{self._prefix}:account:*", count=1000))
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in [self._application_key, *keys]:
                pipeline.hgetall(key)
            found = pipeline.execute()
        accounts = [None, *(text(key).rpartition(":")[2] for key in keys)]
        return [
            _state(account, {text(name): float(value) for name, value in values.items()}, self.config.burst, now)
            for account, values in zip(accounts, found, strict=True)
            if values
        ]

    @property
    def _application_key(self) -> str:
        return f"{self._prefix}:application"

    def _now(self, *, by_redis: bool = False) -> float:
        if self._clock is not None:
            return self._clock()
        if not by_redis:
            return time.time()
        seconds, micros = self._redis.time()
        return float(seconds + micros / SECOND)

    def redis_is_away(self, error: Exception) -> None:
        """Somebody who asked for us got no answer: for a while this process goes by what it knows."""
        self._outage.noticed(error)

    def _run(self, operation: str, account: str, **given: Any) -> Answer | None:
        """The script's answer; None while Redis is away."""
        if self._outage.lasts():
            return None
        try:
            answer = self._call(operation, account, **given)
        except (RedisError, OSError) as error:
            self._outage.noticed(error)
            return None
        self._outage.over()
        return answer

    def _call(self, operation: str, account: str, **given: Any) -> Any:
        keys, args = self._question(operation, account, **given)
        return self._script(keys=keys, args=args)

    def _question(self, operation: str, account: str, **given: Any) -> Question:
        if (next_due := given.pop("next_due", None)) is not None:
            given["next_due"] = micros(next_due)
        known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        known["config"] = self._script_config
        if self._clock is not None:
            known["now"] = round(self._clock() * SECOND)
        for name, who in (("held", account), ("held_application", None)):
            if (seconds := self._alone.held(who)) > 0:
                known[name] = micros(seconds)
        keys = [f"{self._prefix}:account:{account}", self._application_key, f"{self._prefix}:remembers_since"]
        return keys, [operation, json.dumps(known)]


def _as_found(account: str, kind: Kind, answer: Answer) -> Permit | Wait:
    allowed, at, now, reason, is_paced, is_application_paced = answer
    if allowed:
        return Permit(account, kind, now / SECOND, bool(is_paced), bool(is_application_paced))
    return Wait((at - now) / SECOND, moment(at), Reason(text(reason)))


def _told(permit: Permit, outcome: str, error: BaseException | None) -> dict[str, Any]:
    retry_after = error.retry_after_seconds if isinstance(error, RateLimited) else None
    return {
        "outcome": outcome,
        "started": round(permit.started_at * SECOND),
        "paced": permit.is_paced,
        "application_paced": permit.is_application_paced,
        "retry_after": None if retry_after is None else micros(retry_after),
        "chance": random.random(),  # noqa: S311 - spread, no secret
    }


class _Alone:
    """What one process knows by itself: waits that it was told of, and a careful pace for while Redis is away."""

    def __init__(self, config: PaceConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._free_at: dict[str, float] = {}
        self._held_until: dict[str | None, float] = {}
        self._pause: dict[str | None, float] = {}

    def before_call(self, account: str, kind: Kind) -> Permit | Wait:
        """One call per base delay, no burst, and nothing inside a penalty."""
        with self._lock:
            now = time.monotonic()
            self._tidy(now)
            free_at = self._free_at.get(account, now)
            held_until = max(self._held_until.get(account, now), self._held_until.get(None, now))
            if max(free_at, held_until) <= now:
                self._free_at[account] = now + self._config.base_delay_seconds
                return Permit(account, kind, time.time(), is_local=True)
            seconds = max(free_at, held_until) - now
            return _wait(seconds, Reason.PENALTY if held_until > free_at else Reason.SPACING)

    def after_call(self, account: str, outcome: str, retry_after: float | None) -> Wait | None:
        """A call ended, and Redis does not hear of it."""
        is_application = outcome == "application_limited"
        who = None if is_application else account
        with self._lock:
            if outcome == "accepted":
                self._pause.pop(account, None)
                self._pause.pop(None, None)
                return None
            last = self._pause.get(who, 0.0)
            pause = max(last * 4, self._config.factor * self._config.base_delay_seconds)
            pause = min(pause, self._config.max_delay_seconds)
            self._pause[who] = pause
        seconds = pause if retry_after is None else max(retry_after, self._config.base_delay_seconds)
        self.remember(who, seconds)
        return _wait(seconds, Reason.APPLICATION if is_application else Reason.PENALTY)

    def remember(self, who: str | None, seconds: float) -> None:
        with self._lock:
            until = time.monotonic() + seconds
            self._held_until[who] = max(until, self._held_until.get(who, until))

    def held(self, who: str | None) -> float:
        """Seconds for which somebody, or with None the application, is held by what this process knows."""
        return self._held_until.get(who, 0.0) - time.monotonic()

    def forget(self, who: str | None) -> None:
        with self._lock:
            for known in (self._held_until, self._pause):
                known.pop(who, None)
            if who is not None:
                self._free_at.pop(who, None)

    def _tidy(self, now: float) -> None:
        """Forget who is free by now, before there are too many of them; a pause as long ago as it was long, too."""
        if len(self._free_at) + len(self._held_until) < _REMEMBERED_ACCOUNTS:
            return
        self._free_at = {who: at for who, at in self._free_at.items() if at > now}
        self._held_until = {who: at for who, at in self._held_until.items() if at > now}
        self._pause = {who: pause for who, pause in self._pause.items() if who in self._held_until}


def _outcome(error: BaseException | None) -> str | None:
    """What an ended call says about limits; None for nothing: it was never sent, or nobody knows."""
    if isinstance(error, RateLimited):
        return "application_limited" if error.is_application else "limited"
    if error is None or (isinstance(error, DeviantArtError) and not isinstance(error, Unreachable)):
        return "accepted"
    return None


def _state(account: str | None, values: dict[str, float], burst: int, now: float) -> PaceState:
    def at(name: str) -> datetime | None:
        return moment(values[name]) if values.get(name) else None

    spacing, blocked = values["spacing"], values["blocked"]
    free_at = max(blocked, values["due"] - (burst - 1) * spacing)
    return PaceState(
        account=account,
        spacing_seconds=spacing / SECOND,
        wait_seconds=max(0.0, free_at / SECOND - now),
        is_penalty=blocked / SECOND > now,
        refused_in_a_row=int(values["refused"]),
        accepted=int(values["all_accepted"]),
        refused=int(values["all_refused"]),
        last_call_at=at("last"),
        last_refusal_at=at("refused_at"),
        next_due_at=at("reserved"),
    )


def _wait(seconds: float, reason: Reason) -> Wait:
    return Wait(seconds, moment((time.time() + seconds) * SECOND), reason)
