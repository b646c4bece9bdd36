"""What every part of the sandbox shares."""

from pathlib import Path
from typing import Any

from deviantart.sandbox.clock import Clock
from deviantart.sandbox.dice import Dice
from deviantart.sandbox.faults import FaultPlan
from deviantart.sandbox.journal import Journal
from deviantart.sandbox.profile import Profile
from deviantart.sandbox.store import Store


class State:
    """Store, clock, profile, randomness, journal and faults. ``profile`` at the start is what a reset goes back to."""

    def __init__(self, folder: Path | None, *, profile: Profile, base_url: str = "") -> None:
        self.store = Store(folder)
        self.base_url = base_url
        self._first_profile = profile
        self.profile = profile.changed(self.store.meta("profile", {}))
        self.clock = Clock(self.store.meta("clock_offset_seconds", 0.0))
        self.journal = Journal(self.store)
        self.faults = FaultPlan()
        self.dice = self._throw_dice()

    def change_profile(self, values: Any) -> None:
        """Raises ControlError and then changes nothing."""
        before, self.profile = self.profile, self.profile.changed(values)
        self.store.set_meta("profile", {**self.store.meta("profile", {}), **values})
        if self.profile.seed != before.seed:
            self.dice = self._throw_dice()

    def advance_clock(self, seconds: float) -> None:
        self.clock.offset_seconds += seconds
        self.store.set_meta("clock_offset_seconds", self.clock.offset_seconds)

    def empty(self) -> None:
        """Forget everything: rows, files, faults, changed settings and the advanced clock."""
        generation = self.store.meta("generation", 0)
        self.store.empty()
        self.store.set_meta("generation", generation)
        self.profile = self._first_profile
        self.clock.offset_seconds = 0.0
        self.journal.forget()
        self.faults.clear()
        self.dice = self._throw_dice()

    def close(self) -> None:
        self.journal.flush()
        self.store.close()

    def _throw_dice(self) -> Dice:
        generation = self.store.meta("generation", 0) + 1
        self.store.set_meta("generation", generation)
        return Dice(self.profile.seed, generation)
