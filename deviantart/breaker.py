"""Whether DeviantArt is asked at all: a breaker for each account, and one for the whole installation.

An account's opens after several 429 in a row; the installation's on maintenance, on bursts of 5xx, and on block pages
once two hosts or three accounts see them. Open, nothing is asked; then one caller may send a probe, and what that finds
closes the breaker or opens it again. All processes share the state in Redis (breaker.lua). Where that is lost or away,
each goes by what it has last known.
"""

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from redis import Redis
from redis.exceptions import RedisError

from deviantart.errors import AnswerLost, BlockPage, DeviantArtError, RateLimited, ServerFailed, Unreachable
from deviantart.micros import SECOND, micros, moment, text
from isekai.outage import Outage

SCRIPT = Path(__file__).with_name("breaker.lua").read_text(encoding="utf-8")
_REMEMBERED_ACCOUNTS = 10_000

# Keys and arguments of a script.
Question = tuple[list[str], list[str]]


class Scope(StrEnum):
    ACCOUNT = "account"
    INSTALLATION = "installation"


class Cause(StrEnum):
    """Why a breaker is open."""

    LIMITED = "limited"
    MAINTENANCE = "maintenance"
    FAILING = "failing"
    BLOCKED = "blocked"


class Position(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # waiting for a probe, or for what it finds


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing may be asked: come back after ``seconds``, at ``until`` (aware, UTC)."""

    seconds: float
    until: datetime
    scope: Scope
    cause: Cause


@dataclass(frozen=True, slots=True)
class Probe:
    """The caller alone may ask now, once, something harmless; what comes of it goes to ``after_probe``.

    The place is free again after ``lease_seconds``, so that a caller that dies keeps nobody waiting.
    """

    account: str
    scope: Scope
    token: str
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When breakers open and for how long; waits in seconds.

    ``threshold`` is how many 429 in a row open an account's breaker, and how many 503 the installation's; which also
    opens after ``window_failures`` failed calls within ``window_seconds`` when those are at least ``window_share`` of
    all. It opens for ``first_open_seconds``, twice as long each time that a probe fails, up to ``open_seconds``; on
    block pages at once for ``open_seconds``: three minutes have been too short for those, five long enough.
    """

    enabled: bool = True
    threshold: int = 3
    open_seconds: float = 300.0
    first_open_seconds: float = 60.0
    window_seconds: float = 60.0
    window_failures: int = 5
    window_share: float = 0.5
    block_hosts: int = 2
    block_accounts: int = 3
    block_window_seconds: float = 600.0
    # Longer than a probe can take: finding the address, connecting and reading have their own bounds.
    lease_seconds: float = 45.0
    look_again_seconds: float = 2.0

    def __post_init__(self) -> None:
        if self.threshold < 1 or self.open_seconds <= 0 or self.lease_seconds <= 0:
            raise ValueError("A breaker needs a threshold, an open time and a lease above 0.")

    def as_script(self) -> dict[str, float]:
        return {
            "threshold": self.threshold,
            "open": micros(self.open_seconds),
            "first_open": micros(min(self.first_open_seconds, self.open_seconds)),
            "window": micros(self.window_seconds),
            "window_failures": self.window_failures,
            "window_share": self.window_share,
            "block_hosts": self.block_hosts,
            "block_accounts": self.block_accounts,
            "block_window": micros(self.block_window_seconds),
            "lease": micros(self.lease_seconds),
            "look_again": micros(self.look_again_seconds),
            "keep_ms": 7 * 24 * 3600 * 1000,
        }


@dataclass(frozen=True, slots=True)
class BreakerState:
    """One breaker, for people to see. ``account`` is None for that of the installation."""

    account: str | None
    position: Position
    cause: Cause | None
    failures: int
    opened_at: datetime | None
    open_until: datetime | None
    is_probing: bool


class Breaker:
    """Shared by the threads of a process; ``redis`` should give up within a second, since callers wait for it.

    ``host`` is whose block pages are counted as one; ``clock`` replaces Redis' own in tests.
    """

    def __init__(
        self,
        redis: Redis,
        config: BreakerConfig,
        *,
        host: str | None = None,
        prefix: str = "isekai:breaker",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.config = config
        self.redis = self._redis = redis
        self._host = host or socket.gethostname()
        self._prefix = prefix
        self._clock = clock
        self._script = redis.register_script(SCRIPT)
        self._script_config = config.as_script()
        self._outage = Outage("redis (breaker)")
        self._alone = _Alone(config)

    def before_call(self, account: UUID | str, *, may_probe: bool) -> Held | Probe | None:
        """None: ask away. With ``may_probe`` the caller takes it upon itself to probe when it is asked to."""
        account = str(account)
        if not self.config.enabled:
            return None
        token = secrets.token_hex(8) if may_probe else None
        answer = self._run("ask", account, probe=token)
        if answer is None:
            return self._alone.before_call(account, token)
        return self._as_found(account, token, answer)

    def question(self, account: str, token: str | None) -> Question | None:
        """What ``before_call`` asks Redis, for somebody who asks more than that at once; None: Redis is not asked."""
        if not self.config.enabled or self._outage.lasts():
            return None
        return self._question("ask", account, probe=token)

    def found(self, account: str, token: str | None, answer: list[Any]) -> Held | Probe | None:
        """What ``before_call`` says to the answer to such a ``question``."""
        return self._as_found(account, token, self._heard(account, answer))

    def report(self, account: str, error: BaseException | None, *, started_at: float | None) -> Question | None:
        """As ``question``, for ``after_call``."""
        if not self.config.enabled or self._outage.lasts():
            return None
        started = 2**52 if started_at is None else round(started_at * SECOND)
        about = {"outcome": outcome_of(error), "host": self._host, "account": account, "started": started}
        return self._question("tell", account, **about)

    def told(self, account: str, answer: list[Any]) -> Held | None:
        """What ``after_call`` says to the answer to such a ``report``."""
        return _as_told(self._heard(account, answer))

    def _as_found(self, account: str, token: str | None, answer: tuple[str, str, int, int, str]) -> Held | Probe | None:
        what, scope, until, now, cause = answer
        if what == "held":
            return Held((until - now) / SECOND, moment(until), Scope(scope), Cause(cause))
        if what == "probe" and token is not None:
            return Probe(account, Scope(scope), token, self.config.lease_seconds)
        return None

    def after_call(
        self, account: UUID | str, error: BaseException | None = None, *, started_at: float | None = None
    ) -> Held | None:
        """Say what became of a call; Held when that opened a breaker.

        ``started_at`` is when the call was permitted, by Redis' clock in epoch seconds.
        """
        if not self.config.enabled:
            return None
        started = 2**52 if started_at is None else round(started_at * SECOND)
        return self._tell(str(account), outcome_of(error), started=started)

    def after_probe(self, probe: Probe, error: BaseException | None = None) -> Held | None:
        """Say what a probe found: the breaker is closed now (None), or open again."""
        outcome = outcome_of(error)
        held = self._tell(probe.account, outcome, probe=probe.token, scope=probe.scope)
        if held is None and not _closes(outcome, probe.scope):
            # It was no longer this probe that was waited for. What it found is no reason to go on all the same.
            return _held(self.config.look_again_seconds, probe.scope, Cause.FAILING)
        return held

    def give_way(self, probe: Probe) -> None:
        """Let somebody else probe: this one could not."""
        self._tell(probe.account, "gave_way", probe=probe.token, scope=probe.scope)

    def reset(self, account: UUID | str | None) -> None:
        """Close an account's breaker, or with None that of the installation. Raises RedisError when nobody can."""
        who = None if account is None else str(account)
        self._alone.forget(who)
        scope = Scope.INSTALLATION if who is None else Scope.ACCOUNT
        self._call("reset", "none" if who is None else who, scope=scope)

    def states(self) -> list[BreakerState]:
        """The installation's breaker and those of all accounts that had a call lately. Raises RedisError."""
        now = self._now()
        keys = sorted(self._redis.scan_iter(match=f"{self._prefix}:account:*", count=1000))
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in [f"{self._prefix}:installation", *keys]:
                pipeline.hgetall(key)
            found = pipeline.execute()
        accounts = [None, *(text(key).rpartition(":")[2] for key in keys)]
        return [
            _state(account, {text(name): text(value) for name, value in values.items()}, now)
            for account, values in zip(accounts, found, strict=True)
            if account is None or values
        ]

    def _now(self) -> float:
        if self._clock is not None:
            return self._clock()
        seconds, micros = self._redis.time()
        return float(seconds + micros / SECOND)

    def _tell(self, account: str, outcome: str, **given: Any) -> Held | None:
        answer = self._run("tell", account, outcome=outcome, host=self._host, account=account, **given)
        if answer is None:
            return self._alone.after_call(account, outcome, given.get("probe"), given.get("scope"))
        return _as_told(answer)

    def redis_is_away(self, error: Exception) -> None:
        """Somebody who asked for us got no answer: for a while this process goes by what it knows."""
        self._outage.noticed(error)

    def _run(self, operation: str, who: str, **given: Any) -> tuple[str, str, int, int, str] | None:
        """The script's answer; None while Redis is away."""
        if self._outage.lasts():
            return None
        try:
            answer = self._call(operation, who, **given)
        except (RedisError, OSError) as error:
            self._outage.noticed(error)
            return None
        return self._heard(who, answer)

    def _heard(self, who: str, answer: list[Any]) -> tuple[str, str, int, int, str]:
        """The script's answer, of which this process remembers what is open."""
        self._outage.over()
        what, scope, until, now, cause, *known = answer
        for position, name in enumerate((who, None)):
            open_until, its_cause = known[2 * position : 2 * position + 2]
            self._alone.learn(name, (open_until - now) / SECOND, text(its_cause))
        return text(what), text(scope), until, now, text(cause)

    def _call(self, operation: str, who: str, **given: Any) -> Any:
        keys, args = self._question(operation, who, **given)
        return self._script(keys=keys, args=args)

    def _question(self, operation: str, who: str, **given: Any) -> Question:
        known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        known["config"] = self._script_config
        now = self._clock() if self._clock is not None else time.time()
        if self._clock is not None:
            known["now"] = round(now * SECOND)
        for name, whose in (("known", who), ("known_installation", None)):
            if (remembered := self._alone.remembered(whose)) is not None:
                seconds, cause = remembered
                known[name] = {"until": micros(now + seconds), "reason": cause}
        keys = [
            f"{self._prefix}:account:{who}",
            f"{self._prefix}:installation",
            f"{self._prefix}:blocked:hosts",
            f"{self._prefix}:blocked:accounts",
        ]
        return keys, [operation, json.dumps(known)]


def _as_told(answer: tuple[str, str, int, int, str]) -> Held | None:
    what, scope, until, now, cause = answer
    if what != "opened":
        return None
    return Held((until - now) / SECOND, moment(until), Scope(scope), Cause(cause))


@dataclass(slots=True)
class _Known:
    """What a process knows of one breaker, by its own clock."""

    open_until: float = 0.0
    cause: str = ""
    failures: int = 0
    probe: str = ""
    probe_until: float = 0.0


class _Alone:
    """The breakers as one process knows them: what Redis said last, and while it is away what the process sees."""

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._known: dict[str | None, _Known] = {}

    def learn(self, who: str | None, seconds: float, cause: str) -> None:
        """Redis said that a breaker is open for so long, or with less than 0 that it is not."""
        with self._lock:
            if seconds <= 0:
                self._known.pop(who, None)
            else:
                self._known[who] = _Known(time.monotonic() + seconds, cause)

    def remembered(self, who: str | None) -> tuple[float, str] | None:
        """Seconds for which a breaker is open, and why, as far as this process knows."""
        known = self._known.get(who)
        seconds = known.open_until - time.monotonic() if known else 0
        return (seconds, known.cause) if known and seconds > 0 else None

    def forget(self, who: str | None) -> None:
        with self._lock:
            self._known.pop(who, None)

    def before_call(self, account: str, token: str | None) -> Held | Probe | None:
        with self._lock:
            now = time.monotonic()
            for who, scope in ((None, Scope.INSTALLATION), (account, Scope.ACCOUNT)):
                known = self._known.get(who)
                if known is None or known.open_until == 0:
                    continue
                if known.open_until > now:
                    return _held(known.open_until - now, scope, known.cause)
                if known.probe_until > now or token is None:
                    return _held(self._config.look_again_seconds, scope, known.cause)
                known.probe, known.probe_until = token, now + self._config.lease_seconds
                return Probe(account, scope, token, self._config.lease_seconds)
        return None

    def after_call(self, account: str, outcome: str, probe: str | None, scope: Scope | None) -> Held | None:
        """A call ended, and Redis does not hear of it."""
        with self._lock:
            if probe is not None:
                return self._after_probe(account if scope is Scope.ACCOUNT else None, outcome, probe)
            self._tidy()
            failed = outcome in {"maintenance", "failed", "blocked"}
            for who, is_bad, enough, cause in (
                (None, failed, self._config.window_failures, Cause.FAILING),
                (account, outcome == "limited", self._config.threshold, Cause.LIMITED),
            ):
                known = self._known.setdefault(who, _Known())
                if outcome == "unknown" or known.open_until:
                    continue
                known.failures = known.failures + 1 if is_bad else 0
                if known.failures >= enough:
                    return self._open(who, cause)
        return None

    def _after_probe(self, who: str | None, outcome: str, token: str) -> Held | None:
        known = self._known.get(who)
        if known is None or known.probe != token:
            return None
        if outcome == "gave_way":
            known.probe_until = 0.0
            return None
        if _closes(outcome, Scope.INSTALLATION if who is None else Scope.ACCOUNT):
            self._known.pop(who)
            return None
        return self._open(who, Cause(known.cause))

    def _open(self, who: str | None, cause: Cause) -> Held:
        seconds = self._config.open_seconds if who else min(self._config.first_open_seconds, self._config.open_seconds)
        self._known[who] = _Known(time.monotonic() + seconds, cause)
        return _held(seconds, Scope.ACCOUNT if who else Scope.INSTALLATION, cause)

    def _tidy(self) -> None:
        """Forget accounts of which there is nothing to remember, before there are too many."""
        if len(self._known) >= _REMEMBERED_ACCOUNTS:
            self._known = {who: known for who, known in self._known.items() if known.open_until}


def outcome_of(error: BaseException | None) -> str:
    """What an ended call says about DeviantArt's state: ``answered`` is any answer of its own but the ones named here.

    A 429 of the whole application is no account's fault, and its pace deals with it. A call that found no connection,
    or that ended for a reason of our own, says nothing.
    """
    match error:
        case None:
            return "answered"
        case RateLimited():
            return "answered" if error.is_application else "limited"
        case BlockPage():
            return "blocked"
        case ServerFailed() if error.http_status == 503:
            return "maintenance"
        case ServerFailed() | AnswerLost():
            return "failed"
        case DeviantArtError() if not isinstance(error, Unreachable):
            return "answered"
    return "unknown"


def _closes(outcome: str, scope: Scope) -> bool:
    """Whether a probe that found this closes a breaker: who slows us down is neither down nor blocking us."""
    return outcome == "answered" or (outcome == "limited" and scope is Scope.INSTALLATION)


def _state(account: str | None, values: dict[str, str], now: float) -> BreakerState:
    def number(name: str) -> int:
        return int(values.get(name, 0))

    open_until = number("open_until")
    is_open = open_until / SECOND > now
    position = Position.OPEN if is_open else Position.HALF_OPEN if open_until else Position.CLOSED
    return BreakerState(
        account=account,
        position=position,
        cause=Cause(values["reason"]) if open_until else None,
        failures=number("failures"),
        opened_at=moment(number("opened_at")) if open_until else None,
        open_until=moment(open_until) if open_until else None,
        is_probing=number("probe_until") / SECOND > now,
    )


def _held(seconds: float, scope: Scope, cause: str) -> Held:
    return Held(seconds, moment((time.time() + seconds) * SECOND), scope, Cause(cause))
