"""Slots, runs and automations as lists show them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import User
from automations import slots
from automations.models import Automation, Execution, ExecutionWork
from automations.services.previewing import Preview, PreviewedSlot
from automations.services.reasons import explain, explain_left
from automations.services.testing import Judged
from automations.services.undoing import Undone
from automations.web.sentences import chosen, sentence_of
from deviations.models import Deviation
from deviations.web.moments import clock_time, moment
from deviations.web.showing import Picture, for_cards, picture_of
from isekai import clock

Outcome = Execution.Outcome

# `data-status` and icon of what became of a slot.
STATUS = {
    Outcome.SCHEDULED: "scheduled",
    Outcome.NONE_LEFT: "draft",
    Outcome.CONDITION: "draft",
    Outcome.BLACKOUT: "held",
    Outcome.MISSED: "failed",
    Outcome.NOT_TAKEN: "decision",
    Outcome.CANCELLED: "draft",
    Outcome.UNDONE: "draft",
}


def slot_time(at: datetime, zone: ZoneInfo) -> str:
    """`Wed 21 Oct, 18:03`; the year only where it is another one."""
    there, today = at.astimezone(zone), clock.now().astimezone(zone)
    day = date_format(there, "D j M" if there.year == today.year else "D j M Y")
    return _("%(day)s, %(time)s") % {"day": day, "time": clock_time(at, zone)}


@dataclass(frozen=True, slots=True)
class ShownWork:
    """A draft of a slot, or a work that was scheduled for it."""

    id: UUID
    title: str
    picture: Picture | None
    how: str
    delay: str  # empty: none


@dataclass(frozen=True, slots=True)
class ShownSlot:
    automation: Automation
    at: datetime
    when: str
    status: str
    works: list[ShownWork]
    reason: str
    moved_from: str
    is_made: bool


class Shower:
    """Shows slots to a person: reads all their works at once."""

    def __init__(self, user: User, *, zone: str = "") -> None:
        self.user, self.zone, self.now = user, ZoneInfo(zone) if zone else user.zone, clock.now()
        self.works: Mapping[UUID, Deviation] = {}

    def when(self, at: datetime) -> str:
        return moment(at, self.zone, self.now)

    def slots(self, found: Sequence[PreviewedSlot]) -> list[ShownSlot]:
        self._read(work.deviation_id for slot in found for work in slot.works)
        return [
            ShownSlot(
                automation=slot.automation,
                at=slot.at,
                when=slot_time(slot.at, self.zone),
                status=STATUS[Outcome(slot.outcome)],
                works=[
                    self._work(work.deviation_id, work.title, work.method, work.publish_at - slot.at)
                    for work in slot.works
                ],
                reason=explain(slot.reason_code, slot.reason_params, when=self.when),
                moved_from=slot_time(slot.moved_from, self.zone) if slot.moved_from else "",
                is_made=slot.is_made,
            )
            for slot in found
        ]

    def runs(self, executions: Iterable[Execution], *, undoable: UUID | None) -> list["ShownRun"]:
        executions = list(executions)
        self._read(work.deviation_id for execution in executions for work in execution.works.all())
        return [
            ShownRun(
                id=execution.pk,
                run_id=execution.run_id,
                at=execution.slot_at,
                when=slot_time(execution.slot_at, self.zone),
                status=STATUS[Outcome(execution.outcome)],
                word=execution.get_outcome_display(),
                by=_by(execution),
                reason=explain(execution.reason_code, execution.reason_params, when=self.when),
                works=[self._run_work(work) for work in execution.works.all()],
                can_be_undone=execution.run_id == undoable,
            )
            for execution in executions
        ]

    def _read(self, ids: Iterable[UUID]) -> None:
        # Asked for by their ids, which are those of a workspace of theirs.
        self.works = for_cards(Deviation.objects.owned_by(self.user)).in_bulk(list(set(ids)))

    def _work(self, pk: UUID, title: str, method: str, delay: timedelta) -> ShownWork:
        work = self.works.get(pk)
        return ShownWork(
            id=pk,
            title=title or _("Untitled"),
            picture=picture_of(work) if work else None,
            how=chosen(method),
            delay=_delay(delay),
        )

    def _run_work(self, work: ExecutionWork) -> "RunWork":
        seen = self.works.get(work.deviation_id)
        return RunWork(
            id=work.deviation_id,
            title=work.deviation.title or _("Untitled"),
            picture=picture_of(seen) if seen else None,
            released=work.get_released_because_display() if work.released_at else "",
            status=work.deviation.get_status_display(),
        )


def _delay(delay: timedelta) -> str:
    minutes = round(delay.total_seconds() / 60)
    if minutes < 1:
        return ""
    return ngettext("%(count)s min later", "%(count)s min later", minutes) % {"count": minutes}


@dataclass(frozen=True, slots=True)
class RunWork:
    id: UUID
    title: str
    picture: Picture | None
    released: str
    status: str


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A slot of the past, or one that is made."""

    id: int
    run_id: UUID
    at: datetime
    when: str
    status: str
    word: str
    by: str
    reason: str
    works: list[RunWork]
    can_be_undone: bool


def _by(execution: Execution) -> str:
    if execution.kind == Execution.Kind.RUN_NOW:
        return _("run by hand")
    return sentence_of(execution.rule) if execution.rule else _("by a rule that is gone")


# --- the list --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Row:
    """An automation in the list."""

    automation: Automation
    sentences: list[str]
    next: ShownSlot | None
    lasts: str
    lasts_status: str


def rows_of(automations: Sequence[Automation], seen: Mapping[UUID, Preview], user: User) -> list[Row]:
    """``seen`` by workspace; ``automations`` come with their rules."""
    shower = Shower(user)
    firsts = {each.pk: next(iter(seen[each.workspace_id].of(each)), None) for each in automations}
    shown = shower.slots([slot for slot in firsts.values() if slot is not None])
    by_id = {slot.automation.pk: slot for slot in shown}
    return [
        Row(
            automation=each,
            sentences=[sentence_of(rule) for rule in each.rules.all() if rule.enabled],
            next=by_id.get(each.pk),
            lasts=lasts_sentence(seen[each.workspace_id], each),
            lasts_status="decision" if is_short(seen[each.workspace_id], each) else "published",
        )
        for each in automations
    ]


SHORT_DAYS = 3


def is_short(seen: Preview, automation: Automation) -> bool:
    """Whether the drafts come to an end soon."""
    days = seen.lasts_days(automation)
    return days is not None and days < SHORT_DAYS


def lasts_sentence(seen: Preview, automation: Automation) -> str:
    """For how long the drafts last; empty where nothing is ahead."""
    if not seen.of(automation):
        return ""
    days = seen.lasts_days(automation)
    if days is None:
        span = max(1, (seen.until - seen.now).days)
        return ngettext("Drafts for more than %(count)s day", "Drafts for more than %(count)s days", span) % {
            "count": span
        }
    if days == 0:
        return _("Drafts for less than a day")
    return ngettext("Drafts for %(count)s day", "Drafts for %(count)s days", days) % {"count": days}


# --- test ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ShownTest:
    sentence: str
    fires: bool
    reasons: list[str]
    title: str
    next: str


def tests_of(judged: Judged) -> list[ShownTest]:
    zone, now = ZoneInfo(judged.zone), clock.now()

    def when(at: datetime) -> str:
        return moment(at, zone, now)

    return [
        ShownTest(
            sentence=sentence_of(each.rule),
            fires=each.fires,
            reasons=[explain(one.code, one.params, when=when) for one in each.against],
            title=", ".join(
                take.draft.title or _("Untitled") for take in (each.decision.takes if each.decision else ())
            ),
            next=slot_time(each.next_at, zone) if each.next_at else "",
        )
        for each in judged.rules
    ]


# --- what moves ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ShownMove:
    before: str
    after: str


def moves_shown(moves: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> list[ShownMove]:
    """Moves as services tell them (`zones.shown_move`); both moments by the clocks of ``zone``."""
    return [
        ShownMove(
            *(slot_time(datetime.fromisoformat(move[side]), zone) if move[side] else "" for side in ("before", "after"))
        )
        for move in moves
    ]


def moves_of_slots(moves: Sequence[slots.Move], zone: ZoneInfo) -> list[ShownMove]:
    return [
        ShownMove(*(slot_time(slot.at, zone) if slot else "" for slot in (move.before, move.after))) for move in moves
    ]


# --- undo ------------------------------------------------------------------------------------------------------------
def undone_sentence(undone: Undone) -> str:
    """What was taken back, and of the rest how much and why."""
    count = len(undone.taken_back)
    text = ngettext("%(count)s work is a draft again.", "%(count)s works are drafts again.", count) % {"count": count}
    rest = [explain_left(left.code, left.deviation.title) for left in undone.left]
    return " ".join([text, *rest])
