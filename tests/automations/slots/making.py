"""Rules and plans with the fewest words."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from automations.slots import BlackoutRange, Plan, Rule, Slot

RULE_ID = UUID(int=1)
SEED = 20_300_101


def rule(kind: str = "fixed_time", number: int = 1, **columns: Any) -> Rule:
    return Rule(id=UUID(int=number), type=kind, **columns)


def plan(*rules: Rule, zone: str = "UTC", **columns: Any) -> Plan:
    return Plan(zone=zone, rules=rules, seed=SEED, **columns)


def blackout(first: str, last: str, handling: str = "skip") -> BlackoutRange:
    return BlackoutRange(local(first).date(), local(last).date(), handling)


def local(text: str) -> datetime:
    """A naive time on the wall."""
    return datetime.fromisoformat(text)


def at(text: str) -> datetime:
    """An instant; without an offset, in UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moments(slots: list[Slot]) -> list[str]:
    """What is easy to compare with what somebody wrote down."""
    return [f"{slot.at:%Y-%m-%d %H:%M}" for slot in slots]
