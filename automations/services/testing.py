"""Whether the rules of an automation fire in a minute, and why not: asked by somebody who wonders."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from automations import slots
from automations.models import Automation, Execution, ScheduleRule
from automations.services.deciding import Decision, Turn, decide, in_order
from automations.services.materialising import already_made, number_of
from automations.services.planning import plans_of
from automations.services.turning import turn_of
from deviations.models import Deviation
from isekai import clock

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Against:
    """What stands against it, as a code with parameters; `services.reasons` has the sentences."""

    code: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleJudged:
    """What a rule does in the minute that was asked about."""

    rule: ScheduleRule
    # Everything that keeps it from scheduling something; empty: it fires.
    against: tuple[Against, ...]
    slot: slots.Slot | None  # of that minute
    # What it would take, if it fires.
    decision: Decision | None
    next_at: datetime | None  # its first slot after that minute; None: none, or it is off

    @property
    def fires(self) -> bool:
        return not self.against

    @property
    def drafts(self) -> list[Deviation]:
        """Those that it would take."""
        return [take.draft for take in self.decision.takes] if self.decision is not None else []


@dataclass(frozen=True, slots=True)
class Judged:
    """The minute from ``at``, in the automation's ``zone``, and every rule with what it does in it."""

    at: datetime
    zone: str
    rules: list[RuleJudged]


def judge_minute(automation: Automation, *, at: datetime | None = None) -> Judged:
    """Say of every rule whether it fires in the minute of ``at`` (aware; None: in this one), and else why not.

    Nothing is changed. Slots are judged as a tick would do it now; one that was made already has the reason `made`.
    """
    now = clock.database_now()
    minute = (at or now).replace(second=0, microsecond=0)
    rules = list(automation.rules.order_by("priority", "pk"))
    for rule in rules:
        rule.automation = automation
    plan = plans_of([automation], rules=rules)[automation.pk]
    fired = {slot.rule_id: slot for slot in slots.slots_between(plan, minute, minute + MINUTE)}
    made = already_made(list(fired.values()))
    turns = {
        rule.pk: turn_of(rule, fired[rule.pk], plan, [each for each in rules if each.enabled])
        for rule in rules
        if rule.pk in fired and number_of(rule, fired[rule.pk], made, plan.zone) is not None
    }
    decisions = _decisions(list(turns.values()), now)
    common = tuple(_against_the_automation(automation))
    judged = []
    for rule in rules:
        decision = decisions.get(rule.pk)
        against = [*common, *_against(rule, plan, minute, fired.get(rule.pk), decision)]
        after = None
        if rule.enabled and automation.is_active:
            after = slots.next_slot(plan, minute + MINUTE, rule_id=rule.pk)
        judged.append(
            RuleJudged(
                rule=rule,
                against=tuple(against),
                slot=fired.get(rule.pk),
                decision=decision,
                next_at=after.at if after else None,
            )
        )
    return Judged(minute, plan.zone, judged)


def _decisions(turns: Sequence[Turn], now: datetime) -> dict[Any, Decision]:
    return {decision.turn.slot.rule_id: decision for decision in decide(in_order(turns), now=now, hold=False)}


def _against_the_automation(automation: Automation) -> list[Against]:
    if not automation.enabled:
        return [Against("automation_off")]
    return [Against("automation_paused")] if automation.paused_at is not None else []


def _against(
    rule: ScheduleRule, plan: slots.Plan, minute: datetime, slot: slots.Slot | None, decision: Decision | None
) -> list[Against]:
    if not rule.enabled:
        return [Against("rule_off")]
    if slot is None:
        code = slots.why_not_at(plan, rule.for_slots(), minute)
        return [Against(code)] if code else []
    if decision is None:
        return [Against("made")]
    if decision.outcome != Execution.Outcome.SCHEDULED:
        return [Against(decision.reason_code, decision.reason_params)]
    return []
