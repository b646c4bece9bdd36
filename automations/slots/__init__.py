"""When something is to go out: slots, computed from rules by arithmetic alone.

Nothing in here reads a table, a clock or a setting, and nothing is drawn that the same question would not draw again:
preview, run and history ask it and get the same answer. Rules speak of times on the wall; a slot has the instant.
"""

from automations.slots.cron import explain_cron, parse_cron
from automations.slots.drawing import draw
from automations.slots.plans import (
    Move,
    blacked_out,
    moves,
    next_slot,
    slots_between,
    slots_of,
    why_not_at,
)
from automations.slots.types import MOVED_AT_MOST_DAYS, BlackoutRange, Plan, Rule, Slot
from automations.slots.wall import day_span, first_instant_of, local_date_of

__all__ = [
    "MOVED_AT_MOST_DAYS",
    "BlackoutRange",
    "Move",
    "Plan",
    "Rule",
    "Slot",
    "blacked_out",
    "day_span",
    "draw",
    "explain_cron",
    "first_instant_of",
    "local_date_of",
    "moves",
    "next_slot",
    "parse_cron",
    "slots_between",
    "slots_of",
    "why_not_at",
]
