"""What every part of the sandbox shares."""

from collections import Counter
from pathlib import Path
from typing import Any

from deviantart.sandbox.clock import Clock
from deviantart.sandbox.dice import Dice, Rolls
from deviantart.sandbox.episodes import Episodes
from deviantart.sandbox.faults import DrawnFaults, FaultPlan
from deviantart.sandbox.hostile import HOSTILE
from deviantart.sandbox.journal import Journal
from deviantart.sandbox.limits import Limiter
from deviantart.sandbox.profile import Profile
from deviantart.sandbox.store import Store


class State:
    """Store, clock, profile, randomness, journal and faults. ``profile`` at the start is what a reset goes back to."""

    def __init__(self, folder: Path | None, *, profile: Profile, base_url: str = "") -> None:
        self.store = Store(folder)
        self.base_url = base_url
        self._first_profile = profile
        self.profile = profile.changed(self.store.meta("profile", {}))
        self.clock = Clock(self.store.meta("clock_offset_seconds", 0.0), self.store.meta("clock_frozen_at"))
        self.journal = Journal(self.store)
        self.faults = FaultPlan()
        self.dice = self._throw_dice()
        self._counted: Counter[str] = Counter()
        self.episodes = self._make_episodes()
        self.limiter = self._make_limiter()
        self.drawn_faults = DrawnFaults(self.profile.drawn_faults)

    def change_profile(self, values: Any) -> None:
        """Raises ControlError and then changes nothing."""
        before, self.profile = self.profile, self.profile.changed(values)
        kept = self.store.meta("profile", {})
        if "profile" in values:
            kept = {name: value for name, value in kept.items() if name not in HOSTILE}
        self.store.set_meta("profile", {**kept, **values})
        if self.profile.seed != before.seed:
            self.dice = self._throw_dice()
        anew = bool({"profile", "seed"} & set(values))
        if anew:
            self._counted.clear()
        if anew or "episodes" in values:
            self.store.set_meta("episodes_since", self.clock.now())
            self.episodes.draw(self.profile.episodes, seed=self.profile.seed, since=self.clock.now())
        if anew or "limits" in values:
            self.store.set_meta("limits_since", self.clock.now())
            self.limiter = self._make_limiter()
        self.drawn_faults = DrawnFaults(self.profile.drawn_faults)

    def rolls(self, about: str) -> Rolls:
        """What chance has for the next request of this kind; each one counts."""
        self._counted[about] += 1
        return Rolls(self.profile.seed, f"{about} {self._counted[about]}")

    def advance_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._keep_clock()

    def freeze_clock(self, *, frozen: bool) -> None:
        self.clock.freeze(frozen=frozen)
        self._keep_clock()

    def empty(self) -> None:
        """Forget everything: rows, files, faults, changed settings and the advanced clock."""
        generation = self.store.meta("generation", 0)
        self.store.empty()
        self.store.set_meta("generation", generation)
        self.profile = self._first_profile
        self.clock = Clock()
        self.journal.forget()
        self.faults.clear()
        self.dice = self._throw_dice()
        self._counted.clear()
        self.episodes = self._make_episodes()
        self.limiter = self._make_limiter()
        self.drawn_faults = DrawnFaults(self.profile.drawn_faults)

    def close(self) -> None:
        self.journal.flush()
        self.store.close()

    def _throw_dice(self) -> Dice:
        generation = self.store.meta("generation", 0) + 1
        self.store.set_meta("generation", generation)
        return Dice(self.profile.seed, generation)

    def _make_episodes(self) -> Episodes:
        return Episodes(self.profile.episodes, seed=self.profile.seed, since=self._since("episodes_since"))

    def _make_limiter(self) -> Limiter | None:
        limits = self.profile.limits
        return None if limits is None else Limiter(limits, self._since("limits_since"))

    def _since(self, key: str) -> float:
        """The virtual instant from which something counts its time, also after a restart."""
        since = self.store.meta(key)
        if since is None:
            since = self.clock.now()
            self.store.set_meta(key, since)
        return float(since)

    def _keep_clock(self) -> None:
        self.store.set_meta("clock_offset_seconds", self.clock.offset_seconds)
        self.store.set_meta("clock_frozen_at", self.clock.frozen_at)
