from dataclasses import dataclass
from datetime import date, datetime, time
from uuid import UUID

# A slot that a blackout moves finds its place within so many days after it, or falls away.
MOVED_AT_MOST_DAYS = 92

SKIP, MOVE = "skip", "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as `automations.models.ScheduleRule` keeps it: times on the wall, only the columns of its type set."""

    id: UUID
    type: str
    time_of_day: time | None = None
    interval_minutes: int | None = None
    anchor_local: datetime | None = None  # naive
    quota: int | None = None
    window_start: time | None = None
    window_end: time | None = None
    week_minutes: tuple[int, ...] = ()
    week_numbers: tuple[int, ...] = ()
    cron: str = ""
    weekdays: frozenset[int] | None = None  # 0 is Monday; None: every day
    works_per_slot: int = 1
    priority: int = 0
    valid_from: date | None = None
    valid_until: date | None = None
    on_blackout: str | None = None  # skip or move; None: as the blackout says

    def is_valid_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )

    def is_on_weekday(self, day: date) -> bool:
        return self.weekdays is None or day.weekday() in self.weekdays


@dataclass(frozen=True, slots=True)
class BlackoutRange:
    """Days on which nothing goes out, first and last included."""

    first: date
    last: date
    handling: str = SKIP  # or move

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that says when an automation posts. ``rules`` are those that are switched on."""

    zone: str
    rules: tuple[Rule, ...]
    seed: int = 0
    combine: str = "any"  # or all
    valid_from: date | None = None
    valid_until: date | None = None
    blackouts: tuple[BlackoutRange, ...] = ()

    def is_valid_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day <= self.valid_until
        )


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One moment of one rule. Which one it is say rule, day and number; the moment may move without it being another.

    Two slots compare by their moments.
    """

    at: datetime  # UTC
    rule_id: UUID
    local_date: date  # the day that it belongs to, on the wall; of a moved one, the day that it was moved from
    ordinal: int  # its number on that day
    # Where the rule says no later than: whoever delays the slot stops before. None: nothing is said.
    latest: datetime | None = None
    # The moment that a blackout moved it from.
    moved_from: datetime | None = None

    @property
    def key(self) -> tuple[UUID, date, int]:
        return (self.rule_id, self.local_date, self.ordinal)
