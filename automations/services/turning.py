"""From the slots of rules to their turns."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from automations import slots
from automations.models import Automation, ScheduleRule
from automations.services.deciding import Turn


def turn_of(
    rule: ScheduleRule, slot: slots.Slot, plan: slots.Plan, rules: Iterable[ScheduleRule], **fields: Any
) -> Turn:
    """The turn of a slot of ``rule``; ``rules`` are all of its automation that are switched on."""
    together = plan.combine == Automation.Combine.ALL
    others = tuple(each for each in rules if each.pk != rule.pk) if together else ()
    return Turn(
        automation=rule.automation,
        rules=(rule, *others),
        slot=slot,
        zone=plan.zone,
        **{"count": rule.works_per_slot, **fields},
    )


def plan_of_rule(plan: slots.Plan, rule: ScheduleRule) -> slots.Plan:
    """Of a plan what the slots of one rule follow from: where all rules have to hold that is all of it."""
    if plan.combine == Automation.Combine.ALL:
        return plan
    return replace(plan, rules=tuple(each for each in plan.rules if each.id == rule.pk))
