"""The tick: the slots of the next hour become scheduled works, each slot exactly once.

A slot is made by writing its execution, which is unique by rule, day and number, in the transaction that schedules its
works: whoever cannot write it schedules nothing, and whoever is killed has done nothing. Everything else that is kept,
the locks and `next_slot_at`, only spares work. Late slots are made up for within the limit of their automation;
those beyond are written down as missed, and nothing goes out for them.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction

from automations import slots
from automations.models import Execution, ScheduleRule
from automations.services.acting import act, store_counters
from automations.services.batching import NOTHING, Some, work_off
from automations.services.deciding import Decision, Turn, decide, in_order
from automations.services.planning import plans_of, store_next_slots
from automations.services.releasing import fill_again, release_taken_back
from automations.services.turning import plan_of_rule, turn_of
from deviations.services.changing import BULK_MAX
from isekai import clock
from isekai.ids import new_id

logger = structlog.get_logger(__name__)

# So many rules are taken up at once.
RULES = 100
# What was missed longer ago than this is one row for each rule, however much it was.
EACH_MISSED = timedelta(days=2)
# So far back slots that fell into a blackout are written down.
EACH_BLACKOUT = timedelta(days=14)


def schedule_due() -> int:
    """Make every slot of the next hour (`AUTOMATION_LEAD`), and fill again what was freed; returns how many were made.

    Harmless when run twice, late, or beside itself. An automation that cannot be computed keeps none of the others
    back.
    """
    release_taken_back()
    fill_again()
    made = work_off(_make_some, _due, name="making_slots")
    if made:
        logger.info("slots_made", slots=made)
    return made


def lead() -> timedelta:
    """How long before their moment slots are made."""
    return timedelta(seconds=settings.AUTOMATION_LEAD_SECONDS)


def _due(done: Collection[Any]) -> list[UUID]:
    due = ScheduleRule.objects.due(clock.database_now() + lead()).exclude(pk__in=done)
    return list(due.order_by("next_slot_at", "pk").values_list("pk", flat=True)[:RULES])


def _make_some(done: Collection[Any], only: Any) -> Some:
    """Make the slots of some of the rules that are due, in one transaction."""
    with transaction.atomic():
        rules = _hold_due(done, only)
        if not rules:
            return NOTHING
        # Only now: to get here may have taken its time.
        now = clock.database_now()
        batch = _Batch(rules, now)
        decisions = decide(batch.turns, now=now, hold=True, counters=batch.counters)
        rows = [batch.row_of(decision) for decision in decisions]
        written = _write([*batch.missed, *batch.blacked_out, *rows], now)
        # Whoever could not write a slot down has nothing to do for it.
        ours = [(each, written[row.key]) for each, row in zip(decisions, rows, strict=True) if row.key in written]
        act(ours, user=None, now=now)
        store_counters(batch.automations, batch.counters)
        store_next_slots(batch.next_slots())
    # Where there was no room for all of them, the next batch goes on.
    return Some([rule.pk for rule in rules if rule.pk not in batch.left_from], len(written))


def _hold_due(done: Collection[Any], only: Any) -> list[ScheduleRule]:
    """Rules that are due, the soonest first, locked with their automation and workspace.

    With the workspace, so that no two batches choose among the same drafts at once: what they take would depend on
    which of them was faster. What somebody else holds is left to them, or to the next tick.
    """
    rules = ScheduleRule.objects.due(clock.database_now() + lead()).exclude(pk__in=done)
    if only is not None:
        rules = rules.filter(pk=only)
    return list(
        rules.select_related("automation__workspace")
        .order_by("next_slot_at", "pk")
        .select_for_update(of=("self", "automation", "automation__workspace"), no_key=True, skip_locked=True)[:RULES]
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """An execution that is to be written."""

    automation_id: UUID
    slot: slots.Slot
    ordinal: int
    outcome: str
    reason_code: str
    reason_params: dict[str, Any]

    @property
    def key(self) -> tuple[UUID, date, int]:
        return (self.slot.rule_id, self.slot.local_date, self.ordinal)


class _Batch:
    """What is to be made of some rules at a moment."""

    def __init__(self, rules: Sequence[ScheduleRule], now: datetime) -> None:
        # Up to and with the very moment that is so far ahead.
        self.rules, self.now, self.until = rules, now, now + lead() + timedelta(microseconds=1)
        self.automations = {rule.automation_id: rule.automation for rule in rules}
        everything = list(ScheduleRule.objects.filter(automation__in=self.automations, enabled=True))
        self.plans = plans_of(list(self.automations.values()), rules=everything)
        self.of_automation: dict[UUID, list[ScheduleRule]] = defaultdict(list)
        for rule in everything:
            self.of_automation[rule.automation_id].append(rule)
        self.counters = {pk: automation.counter for pk, automation in self.automations.items()}
        self.missed: list[_Row] = []
        self.blacked_out: list[_Row] = []
        self.turns: list[Turn] = []
        self.ordinals: dict[tuple[UUID, date, int], int] = {}
        # Rules for which this batch had no room any more, and where they go on.
        self.left_from: dict[UUID, datetime] = {}
        self._fill()

    def _fill(self) -> None:
        found = [(rule, slot) for rule in self.rules for slot in self._slots_of(rule)]
        made = already_made([slot for _rule, slot in found])
        turns: list[Turn] = []
        for rule, slot in found:
            ordinal = number_of(rule, slot, made, self.plans[rule.automation_id].zone)
            if ordinal is None:
                continue
            if slot.at < self.now - timedelta(seconds=rule.automation.catch_up_seconds):
                self.missed.append(_Row(rule.automation_id, slot, ordinal, Execution.Outcome.MISSED, "too_late", {}))
                continue
            self.ordinals[slot.key] = ordinal
            turns.append(turn_of(rule, slot, self.plans[rule.automation_id], self.of_automation[rule.automation_id]))
        room = BULK_MAX
        for turn in in_order(turns):
            rule_id = turn.slot.rule_id
            if rule_id in self.left_from or turn.count > room:
                # From here on nothing more of any rule: later slots must not choose before earlier ones.
                room = 0
                self.left_from.setdefault(rule_id, turn.slot.at)
                continue
            room -= turn.count
            self.turns.append(turn)

    def _slots_of(self, rule: ScheduleRule) -> list[slots.Slot]:
        """The slots of a rule that are to be made or were missed; of long ago only the first, which stands for all."""
        assert rule.next_slot_at is not None  # noqa: S101 - it is due
        plan = plan_of_rule(self.plans[rule.automation_id], rule)
        start = max(rule.next_slot_at, self.now - EACH_MISSED)
        if start > rule.next_slot_at:
            first = slots.next_slot(plan, rule.next_slot_at, rule_id=rule.pk)
            if first is not None and first.at < start:
                params = {"until": start.isoformat()}
                row = _Row(rule.automation_id, first, first.ordinal, Execution.Outcome.MISSED, "missed_since", params)
                self.missed.append(row)
        self._note_blackouts(rule, plan, until=min(rule.next_slot_at, self.until))
        return [slot for slot in slots.slots_between(plan, start, self.until) if slot.rule_id == rule.pk]

    def _note_blackouts(self, rule: ScheduleRule, plan: slots.Plan, *, until: datetime) -> None:
        """Write down what fell away since the rule last did something."""
        if not plan.blackouts:
            return
        since = max(until - EACH_BLACKOUT, rule.created_at, rule.automation.updated_at)
        for slot in slots.blacked_out(plan, since, until) if since < until else ():
            if slot.rule_id == rule.pk:
                row = _Row(rule.automation_id, slot, slot.ordinal, Execution.Outcome.BLACKOUT, "blackout", {})
                self.blacked_out.append(row)

    def row_of(self, decision: Decision) -> _Row:
        turn = decision.turn
        return _Row(
            turn.automation.pk,
            turn.slot,
            self.ordinals[turn.slot.key],
            decision.outcome,
            decision.reason_code,
            decision.reason_params,
        )

    def next_slots(self) -> dict[UUID, datetime | None]:
        """Where each rule goes on."""
        found: dict[UUID, datetime | None] = {}
        for rule in self.rules:
            if rule.pk in self.left_from:
                found[rule.pk] = self.left_from[rule.pk]
                continue
            plan = plan_of_rule(self.plans[rule.automation_id], rule)
            slot = slots.next_slot(plan, self.until, rule_id=rule.pk)
            found[rule.pk] = slot.at if slot else None
        return found


# --- executions ------------------------------------------------------------------------------------------------------
# From here on are numbers that no rule gives by itself.
_BEYOND = 100_000


def number_of(
    rule: ScheduleRule, slot: slots.Slot, made: Mapping[tuple[UUID, date, int], datetime], zone: str
) -> int | None:
    """The number under which a slot is to be made; None: it was made already. ``made`` is what `already_made` says."""
    at = made.get(slot.key)
    if at is None:
        return slot.ordinal
    if rule.type not in ScheduleRule.COUNTED or at == slot.at:
        return None
    minutes = int((slot.at - slots.day_span(slot.local_date, zone)[0]).total_seconds() // 60)
    ordinal = _BEYOND + minutes
    return None if (slot.rule_id, slot.local_date, ordinal) in made else ordinal


def already_made(found: Sequence[slots.Slot]) -> dict[tuple[UUID, date, int], datetime]:
    """What was made already of the days of those slots: the moment, by rule, day and number."""
    if not found:
        return {}
    days = [slot.local_date for slot in found]
    rows = Execution.objects.filter(
        rule__in={slot.rule_id for slot in found}, local_date__gte=min(days), local_date__lte=max(days)
    )
    return {
        (rule, day, ordinal): at
        for rule, day, ordinal, at in rows.values_list("rule", "local_date", "ordinal", "slot_at")
    }


_INSERT = f"""
    INSERT INTO {Execution._meta.db_table} (
        automation_id, rule_id, kind, run_id, local_date, ordinal, slot_at, outcome, reason_code, reason_params,
        made_at, looked_at
    )
    SELECT automation_id, rule_id, 'slot', run_id, local_date, ordinal, slot_at, outcome, reason_code, reason_params,
        made_at, made_at
    FROM jsonb_to_recordset(%s::jsonb) AS slot (
        automation_id uuid, rule_id uuid, run_id uuid, local_date date, ordinal integer, slot_at timestamptz,
        outcome text, reason_code text, reason_params jsonb, made_at timestamptz
    )
    ON CONFLICT (rule_id, local_date, ordinal) DO NOTHING
    RETURNING rule_id, local_date, ordinal, id
"""  # noqa: S608 - of our own words


def _write(rows: Sequence[_Row], now: datetime) -> dict[tuple[UUID, date, int], int]:
    """Write down those slots that nobody has written before; the ids of these by rule, day and number."""
    if not rows:
        return {}
    # What is made of an automation in one go is undone in one go.
    runs = {row.automation_id: new_id() for row in rows}
    values = [
        {
            "automation_id": row.automation_id,
            "rule_id": row.slot.rule_id,
            "run_id": runs[row.automation_id],
            "local_date": row.slot.local_date,
            "ordinal": row.ordinal,
            "slot_at": row.slot.at,
            "outcome": row.outcome,
            "reason_code": row.reason_code,
            "reason_params": row.reason_params,
            "made_at": now,
        }
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [json.dumps(values, default=str)])
        return {(rule_id, day, ordinal): pk for rule_id, day, ordinal, pk in cursor.fetchall()}
