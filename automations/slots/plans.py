"""From rules to slots: the union or the meeting of rules, what blackouts leave of them, and what a new zone moves."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from automations.slots.days import (
    MIDDLE_OF_A_SHARE,
    POINTS,
    draw_in_span,
    is_open_on,
    slots_on,
    span_of,
)
from automations.slots.types import MOVE, MOVED_AT_MOST_DAYS, BlackoutRange, Plan, Rule, Slot
from automations.slots.wall import DAY, SECOND, day_span, local_date_of

# How far ahead a next slot is looked for: two leap days.
FURTHEST = timedelta(days=8 * 366)


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of one slot in another zone; None: it is not there before, or not any more."""

    before: Slot | None
    after: Slot | None


@dataclass(frozen=True, slots=True)
class _Stream:
    """Slots of one rule, or of all together: what a day has before blackouts, and how those are met."""

    leader: Rule
    on: Callable[[date], list[Slot]]


def slots_of(
    rule: Rule,
    after: datetime,
    until: datetime,
    zone: str,
    *,
    seed: int = 0,
    blackouts: Sequence[BlackoutRange] = (),
) -> list[Slot]:
    """The slots of one rule from ``after`` to before ``until`` (aware), in order."""
    return slots_between(Plan(zone=zone, rules=(rule,), seed=seed, blackouts=tuple(blackouts)), after, until)


def slots_between(plan: Plan, after: datetime, until: datetime) -> list[Slot]:
    """Whatever is to go out from ``after`` to before ``until`` (aware), in order of moment, then of rule.

    Each rule fires by itself, so that two that name the same moment make two slots; where all have to hold, the slots
    are those of `leading_rule`. What `plan.blackouts` has of the last `MOVED_AT_MOST_DAYS` counts too.
    """
    found = [slot for stream in _streams(plan) for slot in _kept(plan, stream, after, until)]
    return _in_order(plan, found)


def blacked_out(plan: Plan, after: datetime, until: datetime) -> list[Slot]:
    """The slots from ``after`` to before ``until`` that fall away because of a blackout, in order.

    Those that it moves are not among them, unless there is no place within `MOVED_AT_MOST_DAYS`.
    """
    found: list[Slot] = []
    for stream in _streams(plan):
        for block in _blocks(plan):
            moved, skipped = _of_block(plan, stream, block)
            placed = {slot.key for slot in _places(plan, stream, block, moved)}
            found += [slot for slot in (*skipped, *moved) if slot.key not in placed and after <= slot.at < until]
    return _in_order(plan, found)


def next_slot(plan: Plan, after: datetime, *, rule_id: UUID | None = None) -> Slot | None:
    """The first slot at ``after`` or later, of the whole plan or only of one rule; None: none within eight years.

    Where all rules have to hold, every rule but the leading one has none.
    """
    found = [
        slot
        for stream in _streams(plan)
        if rule_id is None or stream.leader.id == rule_id
        for slot in _first_of(plan, stream, after)
    ]
    return _in_order(plan, found)[0] if found else None


def leading_rule(rules: Sequence[Rule]) -> Rule:
    """Where all rules have to hold, the one whose slots they are.

    Those that name their moments go before those that only say between when; among them, the lowest priority first.
    """
    return min(rules, key=lambda rule: (rule.type not in POINTS, rule.priority, rule.id))


def moves(plan: Plan, zone: str, after: datetime, until: datetime) -> list[Move]:
    """Which slots from ``after`` to before ``until`` are at another moment when ``zone`` takes the place of the plan's.

    In order of the earlier of the two moments. A slot is the same when rule, day and number are.
    """
    margin = timedelta(days=2)  # zones are up to 26 hours apart
    sides = [
        {slot.key: slot for slot in slots_between(each, after - margin, until + margin)}
        for each in (plan, replace(plan, zone=zone))
    ]
    found = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        pair = [side.get(key) for side in sides]
        moments = [slot.at for slot in pair if slot is not None]
        if any(after <= at < until for at in moments) and (None in pair or len(set(moments)) > 1):
            found.append((min(moments), Move(*pair)))
    return [move for _, move in sorted(found, key=lambda each: each[0])]


def why_not_at(plan: Plan, rule: Rule, moment: datetime) -> str | None:
    """Why ``rule`` has no slot in the minute of ``moment`` (aware), as a code; None: it has one.

    The first of these codes that is true: `automation_not_valid`, `rule_not_valid`, `weekday`, `blackout`, `time`, and
    where all rules have to hold `not_leading`, `another_rule`.
    """
    minute = moment.replace(second=0, microsecond=0)
    day = local_date_of(minute, plan.zone)
    until = minute + timedelta(minutes=1)
    if any(slot.rule_id == rule.id for slot in slots_between(plan, minute, until)):
        return None
    if not plan.is_valid_on(day):
        return "automation_not_valid"
    if not rule.is_valid_on(day):
        return "rule_not_valid"
    if not rule.is_on_weekday(day):
        return "weekday"
    if any(day in blackout for blackout in plan.blackouts):
        return "blackout"
    if not any(minute <= slot.at < until for slot in slots_on(rule, day, plan.zone, plan.seed)):
        return "time"
    return "not_leading" if leading_rule(plan.rules).id != rule.id else "another_rule"


def _in_order(plan: Plan, slots: list[Slot]) -> list[Slot]:
    priorities = {rule.id: rule.priority for rule in plan.rules}
    return sorted(
        slots, key=lambda slot: (slot.at, priorities[slot.rule_id], slot.rule_id, slot.local_date, slot.ordinal)
    )


def _streams(plan: Plan) -> list[_Stream]:
    if not plan.rules:
        return []
    if plan.combine == "all":
        return [_Stream(leading_rule(plan.rules), lambda day: _meeting_on(plan, day))]

    def of(rule: Rule) -> _Stream:
        return _Stream(rule, lambda day: slots_on(rule, day, plan.zone, plan.seed) if plan.is_valid_on(day) else [])

    return [of(rule) for rule in plan.rules]


def _meeting_on(plan: Plan, day: date) -> list[Slot]:
    """The slots of a day on which all rules hold."""
    if not plan.is_valid_on(day) or not all(is_open_on(rule, day) for rule in plan.rules):
        return []
    leader = leading_rule(plan.rules)
    spans = [rule for rule in plan.rules if rule.type not in POINTS]
    span = span_of(spans, day, plan.zone) if spans else None
    if spans and span is None:
        return []
    quota = min((rule.quota for rule in spans if rule.quota is not None), default=None)
    if leader.type not in POINTS and span is not None:
        # A time window alone is one a day.
        count = min(rule.quota or 1 for rule in spans)
        return draw_in_span(leader, day, span, count=count, seed=plan.seed, middle=MIDDLE_OF_A_SHARE)
    met = slots_on(leader, day, plan.zone, plan.seed)
    if span is not None:
        start, end = span
        # A window that clocks skip is the moment at which they go on.
        met = [slot for slot in met if start <= slot.at < end or slot.at == start]
    for rule in plan.rules:
        if rule.type in POINTS and rule.id != leader.id:
            moments = {slot.at for slot in slots_on(rule, day, plan.zone, plan.seed)}
            met = [slot for slot in met if slot.at in moments]
    return met[:quota]


def _kept(plan: Plan, stream: _Stream, after: datetime, until: datetime) -> Iterator[Slot]:
    """What blackouts leave of a stream: the slots of other days, in order, and then those that they move."""
    yield from _unmoved(plan, stream, after, until)
    yield from _moved(plan, stream, after, until)


def _first_of(plan: Plan, stream: _Stream, after: datetime) -> list[Slot]:
    """The first slots of a stream: of its own days, and of those that are moved in front of it."""
    own = next(_unmoved(plan, stream, after, after + FURTHEST), None)
    # What is moved always comes to a slot of the stream, so that behind the first there is nothing to look for.
    until = own.at + SECOND if own else after + FURTHEST
    return [*([own] if own else []), *_moved(plan, stream, after, until)]


def _unmoved(plan: Plan, stream: _Stream, after: datetime, until: datetime) -> Iterator[Slot]:
    if until <= after:
        return
    day, last = local_date_of(after, plan.zone) - DAY, local_date_of(until, plan.zone) + DAY
    starts = [day, *(each for each in (plan.valid_from, stream.leader.valid_from) if each)]
    ends = [last, *(each for each in (plan.valid_until, stream.leader.valid_until) if each)]
    day, last = max(starts), min(ends)
    while day <= last:
        # A time that clocks skip at the end of a day comes to the moment at which the next one begins.
        if day_span(day, plan.zone)[1] >= after and not _is_black(plan, day):
            yield from (slot for slot in stream.on(day) if after <= slot.at < until)
        day += DAY


def _moved(plan: Plan, stream: _Stream, after: datetime, until: datetime) -> Iterator[Slot]:
    first, last = local_date_of(after, plan.zone), local_date_of(until, plan.zone) + DAY
    for block in _blocks(plan):
        if block.first <= last and first <= block.last + timedelta(days=MOVED_AT_MOST_DAYS + 1):
            to_move, _ = _of_block(plan, stream, block)
            yield from (slot for slot in _places(plan, stream, block, to_move) if after <= slot.at < until)


def _is_black(plan: Plan, day: date) -> bool:
    return any(day in blackout for blackout in plan.blackouts)


def _blocks(plan: Plan) -> list[BlackoutRange]:
    """Blackouts that touch or overlap, as one; how each of its days is handled is asked for by day."""
    blocks: list[BlackoutRange] = []
    for each in sorted(plan.blackouts, key=lambda blackout: (blackout.first, blackout.last)):
        if blocks and each.first <= blocks[-1].last + DAY:
            blocks[-1] = replace(blocks[-1], last=max(blocks[-1].last, each.last))
        else:
            blocks.append(each)
    return blocks


def _of_block(plan: Plan, stream: _Stream, block: BlackoutRange) -> tuple[list[Slot], list[Slot]]:
    """The slots of a block that are to be moved, and those that are skipped."""
    both: dict[bool, list[Slot]] = defaultdict(list)
    day = block.first
    while day <= block.last:
        # Where several blackouts meet, the one that began first says.
        says = min((each for each in plan.blackouts if day in each), key=lambda each: (each.first, each.last))
        both[(stream.leader.on_blackout or says.handling) == MOVE] += stream.on(day)
        day += DAY
    return both[True], both[False]


def _places(plan: Plan, stream: _Stream, block: BlackoutRange, moved: list[Slot]) -> Iterator[Slot]:
    """Where the slots of a block are moved: one to each of the slots that follow it, so that none of them is a heap."""
    waiting = iter(moved)
    day = block.last + DAY
    while day <= block.last + timedelta(days=MOVED_AT_MOST_DAYS):
        for place in () if _is_black(plan, day) else stream.on(day):
            slot = next(waiting, None)
            if slot is None:
                return
            yield replace(slot, at=place.at, latest=place.latest, moved_from=slot.at)
        day += DAY
