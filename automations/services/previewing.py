"""What will go out when, and why, without anything being changed.

The slots that are ahead are computed and decided as a tick does it, of all automations of a workspace together, in the
order in which they come: so no draft is promised twice, and the tick does the same as long as nobody changes anything.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from accounts.models import Workspace
from automations import slots
from automations.errors import FieldsRefused
from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from automations.services.deciding import Decision, Turn, decide, in_order
from automations.services.materialising import already_made, lead, number_of
from automations.services.planning import plans_of
from automations.services.releasing import EMPTY, turn_to_fill
from automations.services.turning import plan_of_rule, turn_of
from deviations.models import Deviation
from deviations.services.changing import BULK_MAX
from isekai import clock

Outcome = Execution.Outcome

SLOTS_MAX = 500
# What these slots may want together; each is chosen among all that the earlier ones have left.
WORKS_MAX = BULK_MAX
FURTHEST = timedelta(days=92)
DAY = timedelta(days=1)
# Rule, day and number: which slot it is.
Key = tuple[UUID | None, date, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedWork:
    """A draft that a slot takes, or has taken."""

    deviation_id: UUID
    title: str  # as it will be, with what the automation fills in
    method: str
    publish_at: datetime
    # Fields that the automation writes, with what it writes; of what is scheduled already nothing more is written.
    words: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedSlot:
    """A slot that is ahead, and what becomes of it: an outcome with its reason as a code with parameters."""

    automation: Automation
    rule: ScheduleRule | None  # None: run by hand, or by a rule that is gone
    at: datetime
    local_date: date
    ordinal: int
    zone: str
    moved_from: datetime | None = None  # before a blackout moved it
    outcome: str
    reason_code: str = ""
    reason_params: dict[str, Any] = field(default_factory=dict)
    works: tuple[PreviewedWork, ...] = ()
    # The tick has been there: its works are scheduled, or it could not be filled.
    is_made: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What is ahead from ``now`` to before ``until``, of all automations, in order."""

    now: datetime
    until: datetime
    slots: list[PreviewedSlot]
    # Whether there was no room for what comes behind ``until``.
    is_cut: bool

    def of(self, automation: Automation | UUID) -> list[PreviewedSlot]:
        pk = automation if isinstance(automation, UUID) else automation.pk
        return [slot for slot in self.slots if slot.automation.pk == pk]

    def lasts_until(self, automation: Automation | UUID) -> datetime | None:
        """The first moment for which the automation finds no draft; None: there is one for all that is shown."""
        return next((slot.at for slot in self.of(automation) if slot.outcome == Outcome.NONE_LEFT), None)

    def lasts_days(self, automation: Automation | UUID) -> int | None:
        """For how many whole days its drafts last; None: for all that is shown."""
        end = self.lasts_until(automation)
        return None if end is None else max(0, (end - self.now) // DAY)


def preview(
    workspace: Workspace,
    *,
    until: datetime | None = None,
    as_if_on: Automation | None = None,
    most: int = SLOTS_MAX,
) -> Preview:
    """What goes out from now on, and why or why not; nothing is changed, and no row is locked.

    ``until`` (aware): at most 92 days ahead; raises FieldsRefused, of `until`, when there are more than ``most`` slots
    (or 500 works) before it. Without it as much is shown as there is room for. ``as_if_on``: an automation that is
    shown as if it were switched on.
    """
    now = clock.database_now()
    _ensure_near(until, now)
    automations = [
        each
        for each in Automation.objects.filter(workspace=workspace).order_by("position", "pk")
        if each.is_active or (as_if_on is not None and each.pk == as_if_on.pk)
    ]
    ahead = _Ahead(automations, now)
    found, end = ahead.turns_before(until or now + FURTHEST, most=most)
    if until is not None and end < until:
        message = _("There is more until then than can be shown at once. Ask for what comes before %(until)s.")
        raise FieldsRefused({"until": [message % {"until": end.isoformat(timespec="seconds")}]})
    made = _Made(automations, ahead, now)
    # In the order in which a tick does it: what is to be filled again goes first.
    counters = {each.pk: each.counter for each in automations}
    decisions = decide([*in_order(made.turns), *in_order(found)], now=now, hold=False, counters=counters)
    shown = [
        *made.shown(decisions[: len(made.turns)], until=end),
        *(ahead.shown(decision) for decision in decisions[len(made.turns) :]),
        *ahead.blacked_out(until=end, but=made.keys),
    ]
    # As they are decided: see `in_order`.
    order = {each.pk: place for place, each in enumerate(automations)}
    shown.sort(key=lambda slot: (slot.at, order[slot.automation.pk], *_place_of(slot.rule), slot.ordinal))
    return Preview(now, end, shown, is_cut=end < (until or now + FURTHEST))


def _place_of(rule: ScheduleRule | None) -> tuple[int, str]:
    return (rule.priority, str(rule.pk)) if rule else (0, "")


def may_change_because(automation: Automation, rules: Iterable[ScheduleRule]) -> list[str]:
    """What would make a preview of the automation come out otherwise, as codes, the most likely first.

    `by_chance`, `newest_first`, `as_sorted`, `by_title`, `oldest_first` (a draft that is added comes last),
    `conditions`, `age`, `spacing`.
    """
    methods = {part["method"] for part in automation.mixture or []} or {automation.method}
    codes = [code for method, code in _BY_METHOD.items() if method in methods]
    if any(rule.quiet_hours or rule.max_per_week or rule.min_drafts_left for rule in rules if rule.enabled):
        codes.append("conditions")
    if automation.filter_min_age_days is not None or automation.filter_max_age_days is not None:
        codes.append("age")
    if automation.spacing != Automation.Spacing.NONE:
        codes.append("spacing")
    return codes


_BY_METHOD = {
    Automation.Method.RANDOM: "by_chance",
    Automation.Method.LIFO: "newest_first",
    Automation.Method.PRIORITY: "as_sorted",
    Automation.Method.TITLE: "by_title",
    Automation.Method.FIFO: "oldest_first",
}


def _ensure_near(until: datetime | None, now: datetime) -> None:
    if until is None:
        return
    if until <= now:
        raise FieldsRefused({"until": [_("Choose a moment that has not passed yet.")]})
    if until > now + FURTHEST:
        raise FieldsRefused({"until": [_("At most %(most)s days ahead can be shown.") % {"most": FURTHEST.days}]})


class _Ahead:
    """The slots that no tick has made yet."""

    def __init__(self, automations: Sequence[Automation], now: datetime) -> None:
        self.automations, self.now = automations, now
        self.rules = list(ScheduleRule.objects.filter(automation__in=automations, enabled=True))
        self.of_automation: dict[UUID, list[ScheduleRule]] = defaultdict(list)
        by_id = {each.pk: each for each in automations}
        for rule in self.rules:
            rule.automation = by_id[rule.automation_id]
            self.of_automation[rule.automation_id].append(rule)
        self.by_id = {rule.pk: rule for rule in self.rules}
        self.plans = plans_of(automations, rules=self.rules)

    def turns_before(self, until: datetime, *, most: int) -> tuple[list[Turn], datetime]:
        """The turns that come before ``until``, and until when there was room for all of them."""
        span = DAY
        while True:
            end = min(self.now + span, until)
            turns = in_order(self._turns(end))
            room, works = most, WORKS_MAX
            for turn in turns:
                room, works = room - 1, works - turn.count
                if room < 0 or works < 0:
                    # At the same moment all or none; a single moment that is too much is shown all the same.
                    end = max(turn.slot.at, min(each.slot.at for each in turns) + timedelta(microseconds=1))
                    return [each for each in turns if each.slot.at < end], end
            if end == until:
                return turns, end
            # Twice as far each time, since nobody knows how many there are in a day.
            span *= 2

    def _turns(self, until: datetime) -> list[Turn]:
        found = [(rule, slot) for rule in self.rules for slot in self._slots_of(rule, until)]
        made = already_made([slot for _rule, slot in found if slot.local_date <= self._made_until])
        return [
            turn_of(
                rule,
                slot,
                self.plans[rule.automation_id],
                self.of_automation[rule.automation_id],
                decided_at=max(self.now, slot.at - lead()),
            )
            for rule, slot in found
            if number_of(rule, slot, made, self.plans[rule.automation_id].zone) is not None
        ]

    @property
    def _made_until(self) -> date:
        """The last day of which a slot can have been made."""
        return (self.now + 3 * DAY).date()

    def _slots_of(self, rule: ScheduleRule, until: datetime) -> list[slots.Slot]:
        start = self.now
        if rule.automation.is_active:
            if rule.next_slot_at is None:
                return []
            # What a late tick makes up for, or only from where a change has left something to be made.
            start = max(rule.next_slot_at, self.now - timedelta(seconds=rule.automation.catch_up_seconds))
        plan = plan_of_rule(self.plans[rule.automation_id], rule)
        return [slot for slot in slots.slots_between(plan, start, until) if slot.rule_id == rule.pk]

    def shown(self, decision: Decision) -> PreviewedSlot:
        return _shown(decision, is_made=False)

    def blacked_out(self, *, until: datetime, but: Collection[Key]) -> Iterator[PreviewedSlot]:
        """The slots that fall away, without those of which that was written down already."""
        for automation in self.automations:
            plan = self.plans[automation.pk]
            for slot in slots.blacked_out(plan, self.now, until) if plan.blackouts else ():
                if slot.key in but:
                    continue
                yield PreviewedSlot(
                    automation=automation,
                    rule=self.by_id[slot.rule_id],
                    at=slot.at,
                    local_date=slot.local_date,
                    ordinal=slot.ordinal,
                    zone=plan.zone,
                    outcome=Outcome.BLACKOUT,
                    reason_code="blackout",
                )


class _Made:
    """The slots that are ahead and were made: their works are scheduled, or they are to be filled again."""

    def __init__(self, automations: Sequence[Automation], ahead: _Ahead, now: datetime) -> None:
        self.ahead = ahead
        executions = Execution.objects.filter(automation__in=automations).ahead(now)
        self.executions = list(executions.order_by("slot_at", "pk"))
        by_id = {each.pk: each for each in automations}
        for execution in self.executions:
            execution.automation = by_id[execution.automation_id]
        self.works: dict[int, list[ExecutionWork]] = defaultdict(list)
        for work in ExecutionWork.objects.filter(execution__in=self.executions).select_related("deviation"):
            self.works[work.execution_id].append(work)
        self.turn_of: dict[int, Turn] = {}
        for execution in self.executions:
            if execution.kind == Execution.Kind.SLOT and self._is_to_be_filled(execution):
                works = self.works[execution.pk]
                turn = turn_to_fill(
                    execution,
                    works,
                    kept=sum(_is_kept(work) for work in works),
                    rules=ahead.of_automation[execution.automation_id],
                    plan=ahead.plans[execution.automation_id],
                )
                if turn is not None:
                    self.turn_of[execution.pk] = turn

    @property
    def keys(self) -> set[Key]:
        return {(each.rule_id, each.local_date, each.ordinal) for each in self.executions}

    @property
    def turns(self) -> list[Turn]:
        return list(self.turn_of.values())

    def _is_to_be_filled(self, execution: Execution) -> bool:
        if execution.outcome in EMPTY:
            return True
        return execution.outcome == Outcome.SCHEDULED and not all(map(_is_kept, self.works[execution.pk]))

    def shown(self, decisions: Collection[Decision], *, until: datetime) -> Iterator[PreviewedSlot]:
        decided = {id(decision.turn): decision for decision in decisions}
        for execution in self.executions:
            if execution.slot_at >= until:
                continue
            kept = [work for work in self.works[execution.pk] if _is_kept(work)]
            turn = self.turn_of.get(execution.pk)
            decision = decided[id(turn)] if turn is not None else None
            refilled = _shown(decision, is_made=True) if decision is not None else None
            outcome, code, params = execution.outcome, execution.reason_code, execution.reason_params
            if refilled is not None and not kept:
                outcome, code, params = refilled.outcome, refilled.reason_code, refilled.reason_params
            elif kept:
                outcome = Outcome.SCHEDULED
            elif outcome == Outcome.SCHEDULED:
                outcome, code, params = Outcome.CANCELLED, "cancelled", {}
            yield PreviewedSlot(
                automation=execution.automation,
                rule=self.ahead.by_id.get(execution.rule_id) if execution.rule_id else None,
                at=execution.slot_at,
                local_date=execution.local_date,
                ordinal=execution.ordinal,
                zone=self.ahead.plans[execution.automation_id].zone,
                outcome=outcome,
                reason_code=code,
                reason_params=params,
                works=(*map(_shown_work, kept), *(refilled.works if refilled else ())),
                is_made=True,
            )


def _is_kept(work: ExecutionWork) -> bool:
    """Whether the work is still for its slot; a tick writes down soon that it is not."""
    draft = work.deviation
    return (
        work.released_at is None
        and draft.trashed_at is None
        and draft.status != Deviation.Status.DRAFT
        and draft.publish_at == work.publish_at
    )


def _shown(decision: Decision, *, is_made: bool) -> PreviewedSlot:
    turn = decision.turn
    return PreviewedSlot(
        automation=turn.automation,
        rule=turn.rules[0] if turn.rules else None,
        at=turn.slot.at,
        local_date=turn.slot.local_date,
        ordinal=turn.slot.ordinal,
        zone=turn.zone,
        moved_from=turn.slot.moved_from,
        outcome=decision.outcome,
        reason_code=decision.reason_code,
        reason_params=decision.reason_params,
        works=tuple(
            PreviewedWork(
                deviation_id=take.draft.pk,
                title=take.appointment.words.get("title", take.draft.title),
                method=take.method,
                publish_at=take.publish_at,
                words=dict(take.appointment.words),
            )
            for take in decision.takes
        ),
        is_made=is_made,
    )


def _shown_work(work: ExecutionWork) -> PreviewedWork:
    return PreviewedWork(
        deviation_id=work.deviation_id, title=work.deviation.title, method=work.method, publish_at=work.publish_at
    )
