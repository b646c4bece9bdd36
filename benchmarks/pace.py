"""How much of an unknown limit each way of pacing uses, and how often it is told 429, against the sandbox's limiters.

Five ways side by side, each against a sandbox of its own over HTTP, each calling as soon as it lets itself: an oracle
that knows the limiter, the fixed 3 s of the system before this one, gallery-dl's delays, a textbook's additive increase
and multiplicative decrease, and ours on a real Redis. Time is virtual: between two calls the sandbox's clock is
advanced to the moment at which the next one is wanted, and ours goes by the same clock.

A limit is drawn for each seed, within 15 % of what its row says, and so are the moments at which it changes. The number
of a seed is a share of what the oracle got accepted in the same run: after the first minute where the limit is steady,
over the whole run where it steps. Shown are medians of the seeds; the last lines, and --json, have the worst row.
"""

import contextlib
import math
import random
import socket
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from redis import Redis

from benchmarks.report import report
from deviantart.errors import RateLimited
from deviantart.pace import Kind, Pace, PaceConfig, Permit
from tests.sandbox_process import SandboxProcess

SEEDS = 5
# Of every limiter; the penalty of 4 s that doubles with each call inside it is the sandbox's own.
BURST = 20
LEAST, MOST = 0.2, 5.0
# A steady limit is kept for as long as this many calls take after the first minute, a step for as long as these.
STEADY_CALLS, STEP_CALLS = 400, 200
STEADY_SECONDS, STEP_SECONDS = 300, 300
WARM_UP_SECONDS = 60
LIMITED = RateLimited(error="user_api_threshold", http_status=429)


@dataclass(frozen=True)
class Row:
    """Limits in calls a second, one after the other; a single one is steady."""

    limits: tuple[float, ...]

    @property
    def name(self) -> str:
        return " then ".join(f"{limit:g}/s" for limit in self.limits)

    @property
    def is_steady(self) -> bool:
        return len(self.limits) == 1

    def drawn(self, seed: int) -> "Limits":
        chance = random.Random(f"{seed} {self.name}")
        factor, stretch = chance.uniform(0.85, 1.15), chance.uniform(0.9, 1.1)
        rates = [min(MOST, max(LEAST, limit * factor)) for limit in self.limits]
        if self.is_steady:
            return Limits([(0.0, rates[0])], max(STEADY_SECONDS, WARM_UP_SECONDS + STEADY_CALLS / rates[0]))
        each = max(STEP_SECONDS, STEP_CALLS / min(self.limits)) * stretch
        return Limits([(number * each, rate) for number, rate in enumerate(rates)], len(rates) * each)


ROWS = [Row((limit,)) for limit in (0.2, 0.5, 1, 2, 5)] + [
    Row((2, 0.5)),
    Row((1, 0.2)),
    Row((0.2, 1)),
    Row((1, 5)),
    Row((5, 1, 5)),
    Row((1, 0.25, 1)),
]


@dataclass(frozen=True)
class Limits:
    """Calls a second from which second on, for how long."""

    rates: Sequence[tuple[float, float]]
    seconds: float

    @property
    def as_profile(self) -> dict[str, Any]:
        steps = [{"at_seconds": at, "refill_per_second": rate} for at, rate in self.rates[1:]]
        user = {"burst": BURST, "refill_per_second": self.rates[0][1], "steps": steps}
        return {"user": user, "application": None, "ip": None}


# --- the ways of pacing ----------------------------------------------------------------------------------------------
class Way(ABC):
    """Says when it wants to call next and hears how that was answered. Times are seconds since the beginning."""

    @abstractmethod
    def next_at(self, now: float) -> float: ...

    @abstractmethod
    def heard(self, now: float, *, accepted: bool) -> None: ...


class Oracle(Way):
    """Knows the limiter, calls whenever it has something left, and is never refused."""

    NEEDED = 1.001  # a little more than one call, since both sides add up fractions

    def __init__(self, limits: Limits, _seed: int) -> None:
        self._rates = limits.rates
        self._left = float(BURST)
        self._at = 0.0

    def next_at(self, now: float) -> float:
        self._fill(now)
        while self._left < self.NEEDED:
            ends_at = next((at for at, _ in self._rates if at > self._at), math.inf)
            self._fill(min(ends_at, self._at + (self.NEEDED - self._left) / self._rate + 1e-6))
        return self._at

    def heard(self, now: float, *, accepted: bool) -> None:
        assert accepted, f"The oracle was refused at {now}."
        self._left -= 1

    @property
    def _rate(self) -> float:
        return next(rate for at, rate in reversed(self._rates) if at <= self._at)

    def _fill(self, until: float) -> None:
        while self._at < until:
            ends_at = min([until, *(at for at, _ in self._rates if at > self._at)])
            self._left = min(BURST, self._left + self._rate * (ends_at - self._at))
            self._at = ends_at


class Fixed(Way):
    """One call in 3 s, whatever is answered."""

    delay = 3.0

    def __init__(self, _limits: Limits, _seed: int) -> None:
        self._next = 0.0

    def next_at(self, now: float) -> float:
        return max(now, self._next)

    def heard(self, now: float, *, accepted: bool) -> None:  # noqa: ARG002 - the answer is what others go by
        self._next = now + self.delay


class GalleryDl(Fixed):
    """As gallery-dl: a second more for each 429 up to 30, a second less for each success down to 2."""

    delay = 2.0

    def heard(self, now: float, *, accepted: bool) -> None:
        self.delay = max(2.0, self.delay - 1) if accepted else min(30.0, self.delay + 1)
        super().heard(now, accepted=accepted)


class Aimd(Fixed):
    """As in the textbooks: each success adds a little to the rate, each 429 halves it."""

    def heard(self, now: float, *, accepted: bool) -> None:
        rate = 1 / self.delay
        self.delay = 1 / (rate + 0.02 if accepted else rate / 2)
        super().heard(now, accepted=accepted)


class Ours(Way):
    """``deviantart.pace`` with its defaults, as a publisher meets it."""

    EPOCH = 2_000_000_000

    def __init__(self, _limits: Limits, seed: int) -> None:
        random.seed(seed)  # which nobody else uses: what pauses are lengthened by is drawn from it
        self._now = 0.0
        self._permit: Permit | None = None
        redis = Redis.from_url(settings.REDIS_URL, socket_timeout=10)
        prefix = f"benchmark:{uuid4()}"
        # An account that is new to a Redis that was not emptied lately.
        redis.set(f"{prefix}:remembers_since", 0)
        self._pace = Pace(redis, PaceConfig(), prefix=prefix, clock=lambda: self.EPOCH + self._now)

    def next_at(self, now: float) -> float:
        self._now = now
        while not isinstance(answer := self._pace.before_call("artist", Kind.PUBLISH), Permit):
            self._now += answer.seconds + 2e-6  # the script counts whole microseconds
        self._permit = answer
        return self._now

    def heard(self, now: float, *, accepted: bool) -> None:  # noqa: ARG002 - it has the moment in its permit
        assert self._permit is not None
        self._pace.after_call(self._permit, None if accepted else LIMITED)


WAYS: Mapping[str, type[Oracle | Fixed | Ours]] = {
    "oracle": Oracle,
    "ours": Ours,
    "fixed": Fixed,
    "gallery_dl": GalleryDl,
    "aimd": Aimd,
}


# --- a run -----------------------------------------------------------------------------------------------------------
class Line:
    """One kept connection to a sandbox, on which the clock is advanced and a call made in one go."""

    def __init__(self, base_url: str, token: str) -> None:
        address = urlsplit(base_url)
        self._socket = socket.create_connection((address.hostname, address.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")
        common = f"Host: {address.netloc}\r\nUser-Agent: benchmark/1\r\nAccept-Encoding: gzip\r\n"
        self._advance = f"POST /_sandbox/clock HTTP/1.1\r\n{common}Content-Type: application/json\r\n"
        self._call = f"GET /api/v1/oauth2/placebo HTTP/1.1\r\n{common}Authorization: Bearer {token}\r\n\r\n"

    def call(self, after_seconds: float) -> bool:
        """Let so much time pass and call; whether that was accepted."""
        body = f'{{"advance_seconds": {after_seconds!r}}}'
        request = f"{self._advance}Content-Length: {len(body)}\r\n\r\n{body}{self._call}"
        self._socket.sendall(request.encode())
        advanced, status = self._status(), self._status()
        assert advanced == 200
        assert status in {200, 429}, status
        return status == 200

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def _status(self) -> int:
        status = int(self._answers.readline().split()[1])
        length = 0
        while (line := self._answers.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        self._answers.read(length)
        return status


@dataclass(frozen=True)
class Run:
    accepted: int
    accepted_later: int  # after the first minute
    refused: int


def run(sandbox: SandboxProcess, way: Way, limits: Limits, seed: int) -> Run:
    """Let one way call for as long as the limits last."""
    sandbox.reset()
    sandbox.freeze()
    sandbox.profile(seed=seed, limits=limits.as_profile, access_token_seconds=10 * limits.seconds)
    now, accepted, later, refused = 0.0, 0, 0, 0
    with contextlib.closing(Line(sandbox.base_url, sandbox.tokens("artist")["access_token"])) as line:
        while (at := way.next_at(now)) < limits.seconds:
            is_accepted = line.call(at - now)
            now = at
            way.heard(now, accepted=is_accepted)
            accepted += is_accepted
            later += is_accepted and now >= WARM_UP_SECONDS
            refused += not is_accepted
    counted = sandbox.limits()["user"]["artist"]
    assert (counted["accepted"], counted["limited"]) == (accepted, refused)
    return Run(accepted, later, refused)


def runs_of(name: str) -> dict[tuple[Row, int], Run]:
    """Every row with every seed, against one sandbox."""
    found = {}
    with SandboxProcess(seed=1) as sandbox:
        for row, seed in _each():
            limits = row.drawn(seed)
            found[row, seed] = run(sandbox, WAYS[name](limits, seed), limits, seed)
    return found


def _each() -> Iterator[tuple[Row, int]]:
    return ((row, seed) for seed in range(1, SEEDS + 1) for row in ROWS)


# --- what came of it -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Found:
    runs: Mapping[str, Mapping[tuple[Row, int], Run]]
    seconds: float

    def share(self, name: str, row: Row) -> float:
        """Of what the oracle got accepted; at most 1, though what was saved up before the minute may be spent later."""
        shares = []
        for seed in range(1, SEEDS + 1):
            ours, best = self.runs[name][row, seed], self.runs["oracle"][row, seed]
            shares.append(ours.accepted_later / best.accepted_later if row.is_steady else ours.accepted / best.accepted)
        return min(1.0, statistics.median(shares))

    def refused(self, name: str, row: Row) -> float:
        runs = [self.runs[name][row, seed] for seed in range(1, SEEDS + 1)]
        return statistics.median(each.refused / (each.accepted + each.refused) for each in runs)

    def as_json(self) -> dict[str, Any]:
        return {
            name: {
                "steady_share": round(min(self.share(name, row) for row in ROWS if row.is_steady), 4),
                "steps_share": round(min(self.share(name, row) for row in ROWS if not row.is_steady), 4),
                "answered_429": round(max(self.refused(name, row) for row in ROWS), 4),
            }
            for name in WAYS
            if name != "oracle"
        }

    def as_table(self) -> str:
        names = [name for name in WAYS if name != "oracle"]
        titles = "".join(f"{name.replace('_', '-'):>22}" for name in names)
        lines = [
            f"{'':<26}{'oracle':>8}{titles}",
            f"{'limit':<26}{'calls':>8}" + f"{'share of it':>14}{'429':>8}" * len(names),
        ]
        for row in ROWS:
            calls = statistics.median(self.runs["oracle"][row, seed].accepted for seed in range(1, SEEDS + 1))
            cells = "".join(f"{self.share(name, row):>14.1%}{self.refused(name, row):>8.2%}" for name in names)
            lines.append(f"{row.name:<26}{calls:>8.0f}{cells}")
        worst = self.as_json()
        for title, key in (("worst, steady", "steady_share"), ("worst, steps", "steps_share")):
            lines.append(f"{title:<34}" + "".join(f"{worst[name][key]:>14.1%}{'':>8}" for name in names))
        lines.append(f"{'worst, 429':<34}" + "".join(f"{worst[name]['answered_429']:>22.2%}" for name in names))
        return "\n".join([*lines, "", f"{SEEDS} seeds, medians; {self.seconds:.0f} s in all."])


def measure() -> Found:
    began = time.monotonic()
    with ThreadPoolExecutor(len(WAYS)) as threads:
        runs = dict(zip(WAYS, threads.map(runs_of, WAYS), strict=True))
    fewest = min(run.accepted for run in runs["oracle"].values())
    assert fewest >= STEP_CALLS, f"The oracle made only {fewest} calls in a run."
    return Found(runs, time.monotonic() - began)


if __name__ == "__main__":
    sys.setswitchinterval(0.001)  # the threads mostly wait for each other's sandboxes
    report(measure)
