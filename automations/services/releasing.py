"""Slots that are ahead and empty, as their work was taken back or there was none: they are filled if they can be."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import DateTimeField, Exists, ExpressionWrapper, OuterRef, Q

from automations import slots
from automations.models import Execution, ExecutionWork, ScheduleRule
from automations.services.acting import act, store_counters
from automations.services.batching import NOTHING, Some, work_off
from automations.services.deciding import Turn, decide, in_order
from automations.services.planning import plans_of
from automations.services.turning import plan_of_rule, turn_of
from deviations.models import Deviation
from isekai import clock

logger = structlog.get_logger(__name__)

Outcome = Execution.Outcome

# So many slots are filled at once.
SOME = 100
# What may turn out otherwise as long as the moment has not come.
EMPTY = (Outcome.NONE_LEFT, Outcome.NOT_TAKEN, Outcome.CONDITION, Outcome.CANCELLED)
# Nothing tells that a draft is not open any more, or has come of age: so often an empty slot is looked at anyway.
LOOK_AGAIN = timedelta(minutes=10)
# By how much the clock of whoever changes a work may be behind that of the database.
CLOCKS = timedelta(seconds=5)
# A moment is in a span that is as short as can be told.
INSTANT = timedelta(microseconds=1)

_RELEASE = f"""
    UPDATE automations_executionwork AS work
    -- Later than its slot was last looked at, even where the clock was set back since.
    SET released_at = greatest({clock.SQL_NOW}, execution.looked_at + interval '1 microsecond'),
        released_because = CASE
            WHEN draft.trashed_at IS NOT NULL OR draft.status = 'draft' THEN 'cancelled' ELSE 'moved' END
    FROM automations_execution AS execution, deviations_deviation AS draft
    WHERE execution.slot_at > (SELECT {clock.SQL_NOW})
        AND work.execution_id = execution.id AND work.released_at IS NULL AND draft.id = work.deviation_id
        AND (
            draft.trashed_at IS NOT NULL OR draft.status = 'draft' OR draft.publish_at IS DISTINCT FROM work.publish_at
        )
"""  # noqa: S608 - of our own words


def release_taken_back() -> int:
    """Let go of works of coming slots that somebody has cancelled, deleted or moved; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE)
        count = cursor.rowcount
    if count:
        logger.info("works_released", works=count)
    return count


def fill_again() -> int:
    """Fill the coming slots that are empty, as far as there is something to fill them with; returns how many works.

    A slot keeps its one execution however often it is looked at. Nothing is filled that is not to be: whose rule or
    automation is off meanwhile, is gone, or has no slot at that moment any more.
    """
    return work_off(
        _fill_some, lambda done: list(_to_look_at(done).values_list("pk", flat=True)[:SOME]), name="filling"
    )


def _to_look_at(done: Collection[Any]) -> Any:
    looked_at = ExpressionWrapper(OuterRef("looked_at") - CLOCKS, output_field=DateTimeField())
    changed = Deviation.objects.kept().filter(workspace=OuterRef("automation__workspace"), updated_at__gt=looked_at)
    taken_back = ExecutionWork.objects.filter(execution=OuterRef("pk"), released_at__isnull=False)
    # Somebody else may have been about to let go of it just when the slot was looked at.
    lately = taken_back.filter(released_at__gt=looked_at)
    now = clock.StatementNow()
    # Or in the future, as it was before the clock was set back.
    long_ago = Q(looked_at__lte=now - LOOK_AGAIN) | Q(looked_at__gt=now + CLOCKS)
    empty = Q(outcome__in=EMPTY) & (long_ago | Exists(changed))
    freed = Q(outcome__in=(*EMPTY, Outcome.SCHEDULED)) & (long_ago & Exists(taken_back) | Exists(lately))
    return (
        Execution.objects.filter(empty | freed)
        .filter(slot_at__gt=now, kind=Execution.Kind.SLOT, rule__isnull=False)
        .exclude(pk__in=done)
        .order_by("slot_at", "pk")
    )


def _fill_some(done: Collection[Any], only: Any) -> Some:
    with transaction.atomic():
        found = _to_look_at(done)
        if only is not None:
            found = found.filter(pk=only)
        executions = list(
            found.select_related("automation__workspace").select_for_update(
                of=("self", "automation", "automation__workspace"), no_key=True, skip_locked=True
            )[:SOME]
        )
        if not executions:
            return NOTHING
        now = clock.database_now()
        states = _states_of(executions)
        automations = {each.automation_id: each.automation for each in executions}
        counters = {pk: automation.counter for pk, automation in automations.items()}
        by_turn = {state.turn: state for state in states if state.turn is not None}
        decisions = decide(in_order(by_turn), now=now, hold=True, counters=counters)
        decided = []
        for decision in decisions:
            state = by_turn[decision.turn]
            state.note(decision.outcome, decision.reason_code, decision.reason_params)
            decided.append((decision, state.execution.pk))
        for state in states:
            if state.turn is None:
                state.note_over()
            state.execution.looked_at = now
        Execution.objects.bulk_update(executions, ["outcome", "reason_code", "reason_params", "looked_at"])
        count = act(decided, user=None, now=now)
        store_counters(automations, counters)
    return Some([each.pk for each in executions], count)


@dataclass(slots=True)
class _State:
    """What there is of a slot: its execution, how many of its works are still for it, and what else it wants."""

    execution: Execution
    kept: int
    had: int
    turn: Turn | None  # None: nothing more

    def note(self, outcome: Outcome, reason_code: str, reason_params: dict[str, Any]) -> None:
        if self.kept:
            return  # as scheduled as before
        if self.had and outcome == Outcome.NONE_LEFT:
            outcome, reason_code, reason_params = Outcome.CANCELLED, "cancelled", {}
        self._set(outcome, reason_code, reason_params)

    def note_over(self) -> None:
        if self.had and not self.kept:
            self._set(Outcome.CANCELLED, "cancelled", {})

    def _set(self, outcome: Outcome, reason_code: str, reason_params: dict[str, Any]) -> None:
        self.execution.outcome, self.execution.reason_code = outcome, reason_code
        self.execution.reason_params = reason_params


def _states_of(executions: Sequence[Execution]) -> list[_State]:
    automations = {each.automation_id: each.automation for each in executions}
    rules = list(ScheduleRule.objects.filter(automation__in=automations, enabled=True))
    of_automation: dict[UUID, list[ScheduleRule]] = defaultdict(list)
    for each in rules:
        each.automation = automations[each.automation_id]
        of_automation[each.automation_id].append(each)
    plans = plans_of(list(automations.values()), rules=rules)
    works: dict[int, list[ExecutionWork]] = defaultdict(list)
    for work in ExecutionWork.objects.filter(execution__in=executions):
        works[work.execution_id].append(work)
    return [
        _State(
            execution,
            kept=sum(work.released_at is None for work in works[execution.pk]),
            had=len(works[execution.pk]),
            turn=turn_to_fill(
                execution,
                works[execution.pk],
                kept=sum(work.released_at is None for work in works[execution.pk]),
                rules=of_automation[execution.automation_id],
                plan=plans[execution.automation_id],
            ),
        )
        for execution in executions
    ]


def turn_to_fill(
    execution: Execution,
    works: Collection[ExecutionWork],
    *,
    kept: int,
    rules: Sequence[ScheduleRule],
    plan: slots.Plan,
) -> Turn | None:
    """What a slot that was made wants besides the ``kept`` of its ``works``; None: nothing more, or not any more.

    ``rules`` are those of its automation that are switched on.
    """
    rule = next((each for each in rules if each.pk == execution.rule_id), None)
    if rule is None or not execution.automation.is_active or rule.works_per_slot <= kept:
        return None
    slot = _slot_at(execution.slot_at, rule, plan)
    if slot is None:
        return None
    return turn_of(
        rule,
        slot,
        plan,
        rules,
        count=rule.works_per_slot - kept,
        had=len(works),
        never=frozenset(work.deviation_id for work in works),
    )


def _slot_at(moment: datetime, rule: ScheduleRule, plan: slots.Plan) -> slots.Slot | None:
    """The rule's slot at exactly that moment; None: it has none, or none any more."""
    found = slots.slots_between(plan_of_rule(plan, rule), moment, moment + INSTANT)
    return next((slot for slot in found if slot.rule_id == rule.pk), None)
