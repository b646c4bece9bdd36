"""Bad times that strike everybody: overload, maintenance, the firewall's wrath, and bursts of server errors."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deviantart.sandbox.rules import Rule, anything, chance, choice, nested, nullable, number

KINDS = ("waf", "maintenance", "overload", "errors")  # the first that is on applies
_SPAN = anything(
    "the shortest and the longest duration, such as [60, 300]",
    lambda value: (
        isinstance(value, list)
        and len(value) == 2
        and all(number(minimum=0).check(end) for end in value)
        and value[0] <= value[1]
    ),
)
_SOMETIMES: Mapping[str, Rule] = {"every_seconds": number(minimum=1), "seconds": _SPAN}
EPISODES = nested({kind: nullable(nested(_SOMETIMES)).optional() for kind in KINDS})
ERROR_CHANCES = nested(
    {
        "good": chance().optional(0.0),
        "bad": chance().optional(0.3),
        "committed": chance().optional(0.0),
    }
)
REQUEST: Mapping[str, Rule] = {
    "kind": choice(*KINDS),
    "seconds": number(minimum=0),
    "in_seconds": number(minimum=0).optional(0),
}


@dataclass(frozen=True)
class Episode:
    kind: str
    starts_at: float
    ends_at: float

    def is_on(self, now: float) -> bool:
        return self.starts_at <= now < self.ends_at

    def second_half(self, now: float) -> bool:
        return now >= (self.starts_at + self.ends_at) / 2


class _Drawn:
    """Episodes of one kind, one after the other, at moments that hang on the seed alone."""

    def __init__(self, kind: str, settings: Mapping[str, Any], *, seed: int, since: float) -> None:
        self._kind = kind
        self._settings = settings
        self._seed = seed
        self._since = since
        self._random = random.Random()
        self._asked_at = since
        self._next = self._first()

    def at(self, now: float) -> Episode | None:
        if now < self._asked_at:
            self._next = self._first()  # the clock was taken back
        self._asked_at = now
        while now >= self._next.ends_at:
            self._next = self._following(self._next.ends_at)
        return self._next if self._next.is_on(now) else None

    def _first(self) -> Episode:
        self._random = random.Random(f"{self._kind} {self._seed}")
        return self._following(self._since)

    def _following(self, after: float) -> Episode:
        starts_at = after + self._random.expovariate(1 / self._settings["every_seconds"])
        return Episode(self._kind, starts_at, starts_at + self._random.uniform(*self._settings["seconds"]))


class Episodes:
    """The drawn ones, from the virtual instant ``since`` on, and those that a control has asked for."""

    def __init__(self, settings: Mapping[str, Any], *, seed: int, since: float) -> None:
        self._asked_for: list[Episode] = []
        self.draw(settings, seed=seed, since=since)

    def draw(self, settings: Mapping[str, Any], *, seed: int, since: float) -> None:
        """Begin the drawn ones anew; what was asked for stays."""
        self._drawn = {
            kind: _Drawn(kind, settings[kind], seed=seed, since=since) for kind in KINDS if settings[kind] is not None
        }

    def add(self, kind: str, starts_at: float, seconds: float) -> None:
        self._asked_for.append(Episode(kind, starts_at, starts_at + seconds))

    def clear(self) -> None:
        """Forget those that were asked for."""
        self._asked_for.clear()

    def current(self, now: float, kind: str) -> Episode | None:
        for episode in self._asked_for:
            if episode.kind == kind and episode.is_on(now):
                return episode
        return self._drawn[kind].at(now) if kind in self._drawn else None
