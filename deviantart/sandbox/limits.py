"""How often a user, an application and an address may call: leaky buckets, with penalties that grow while one asks."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deviantart.sandbox.paths import most_specific
from deviantart.sandbox.rules import Rule, list_of, mapping_of, nested, nullable, number

_STEP: Mapping[str, Rule] = {
    "at_seconds": number(minimum=0),
    "refill_per_second": number(minimum=0).optional(),
    "burst": number(minimum=1).optional(),
}
_BUCKET: Mapping[str, Rule] = {
    "burst": number(minimum=1),
    "refill_per_second": number(minimum=0),
    "steps": list_of(nested(_STEP)).optional([]),
}
_USER = {"burst": 20, "refill_per_second": 1, "steps": []}
_APPLICATION = {"burst": 200, "refill_per_second": 20, "steps": []}
_RULES: Mapping[str, Rule] = {
    "user": nullable(nested(_BUCKET)).optional(_USER),
    "application": nullable(nested(_BUCKET)).optional(_APPLICATION),
    "ip": nullable(nested(_BUCKET)).optional(),
    "penalty_seconds": number(minimum=0).optional(4),
    "penalty_factor": number(minimum=1).optional(2),
    "penalty_max_seconds": number(minimum=0).optional(1800),
    "penalty_decay_seconds": number(minimum=0.001).optional(60),
    "weights": mapping_of(
        number(minimum=0), 'an object of path: weight, such as {"/stash/submit": 3, "*": 1}'
    ).optional({}),
}
LIMITS = nullable(nested(_RULES))
# Far beyond this the penalty is at any maximum, and a float would overflow.
_HIGHEST_LEVEL = 60


@dataclass(frozen=True)
class Limited:
    """A call was one too many: whose bucket was empty, and for how long it will stay closed."""

    scope: str  # user, application or ip
    seconds: float


@dataclass(frozen=True)
class _Phase:
    starts_at: float
    burst: float
    refill_per_second: float


class _Rate:
    """What a bucket holds and gains, by virtual time."""

    def __init__(self, settings: Mapping[str, Any], since: float) -> None:
        burst, refill = settings["burst"], settings["refill_per_second"]
        self._phases = [_Phase(-math.inf, burst, refill)]
        for step in sorted(settings["steps"], key=lambda step: step["at_seconds"]):
            burst = burst if step["burst"] is None else step["burst"]
            refill = refill if step["refill_per_second"] is None else step["refill_per_second"]
            self._phases.append(_Phase(since + step["at_seconds"], burst, refill))

    @property
    def first_burst(self) -> float:
        return self._phases[0].burst

    def refilled(self, tokens: float, start: float, end: float) -> float:
        for phase, seconds in self._between(start, end):
            tokens = min(phase.burst, tokens + phase.refill_per_second * seconds)
        return tokens

    def _between(self, start: float, end: float) -> Iterator[tuple[_Phase, float]]:
        ends = [phase.starts_at for phase in self._phases[1:]] + [math.inf]
        for phase, phase_end in zip(self._phases, ends, strict=True):
            if phase_end > start and phase.starts_at <= end:
                yield phase, min(end, phase_end) - max(start, phase.starts_at)


@dataclass
class _Bucket:
    tokens: float
    updated_at: float
    blocked_until: float = -math.inf
    level: float = 0  # how often the penalty was multiplied
    accepted: int = 0
    limited: int = 0


class Limiter:
    """Buckets per user, application and address. ``since`` is the virtual instant from which steps are counted."""

    def __init__(self, settings: Mapping[str, Any], since: float) -> None:
        self._settings = settings
        self._since = since
        self._rates = {
            scope: _Rate(settings[scope], since)
            for scope in ("ip", "application", "user")
            if settings[scope] is not None
        }
        self._buckets: dict[str, dict[str, _Bucket]] = {scope: {} for scope in self._rates}

    def admit(self, now: float, path: str, callers: Mapping[str, str | None]) -> Limited | None:
        """Charge a call to everybody whom it concerns, or to nobody when one of them may not call now.

        ``callers`` has the names of the user, the application and the address; None where there is none.
        """
        weight = most_specific(self._settings["weights"], path)
        weight = 1 if weight is None else weight
        if weight == 0:
            return None
        charged = []
        for scope in self._rates:
            if (name := callers[scope]) is None:
                continue
            bucket = self._bucket(scope, name, now)
            if now < bucket.blocked_until or bucket.tokens < weight:
                return Limited(scope, self._punish(bucket, now))
            charged.append(bucket)
        for bucket in charged:
            bucket.tokens -= weight
            bucket.accepted += 1
        return None

    def as_json(self, now: float) -> dict[str, Any]:
        """Every bucket with its counters, by scope and name."""
        return {
            "since_seconds": now - self._since,
            **{
                scope: {name: self._described(scope, name, now) for name in buckets}
                for scope, buckets in self._buckets.items()
            },
        }

    def _bucket(self, scope: str, name: str, now: float) -> _Bucket:
        rate = self._rates[scope]
        bucket = self._buckets[scope].get(name)
        if bucket is None:
            # Full at the beginning, however late its owner first calls.
            bucket = self._buckets[scope][name] = _Bucket(rate.first_burst, self._since)
        if now > bucket.updated_at:
            bucket.tokens = rate.refilled(bucket.tokens, bucket.updated_at, now)
        bucket.updated_at = now  # also when the clock was taken back
        return bucket

    def _punish(self, bucket: _Bucket, now: float) -> float:
        """Close the bucket: longer with each call that comes while it is closed, shorter again after silence."""
        settings = self._settings
        if now < bucket.blocked_until:
            bucket.level = min(bucket.level + 1, _HIGHEST_LEVEL)
        else:
            bucket.level = self._decayed(bucket, now)
        penalty = min(
            settings["penalty_seconds"] * settings["penalty_factor"] ** bucket.level, settings["penalty_max_seconds"]
        )
        bucket.blocked_until = now + penalty
        bucket.limited += 1
        return float(penalty)

    def _decayed(self, bucket: _Bucket, now: float) -> float:
        silence = now - bucket.blocked_until
        return max(0, bucket.level - silence // self._settings["penalty_decay_seconds"])

    def _described(self, scope: str, name: str, now: float) -> dict[str, Any]:
        bucket = self._bucket(scope, name, now)
        return {
            "accepted": bucket.accepted,
            "limited": bucket.limited,
            "tokens": round(bucket.tokens, 6),
            "blocked_seconds": round(max(0.0, bucket.blocked_until - now), 6),
        }
