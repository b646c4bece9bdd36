"""Take back what an automation has just done: its works become drafts again, and say what they said before."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db.models import Exists, OuterRef

from accounts.models import User, Workspace
from accounts.services.audit import record
from automations.errors import NothingToUndo
from automations.models import Automation, Execution, ExecutionWork
from automations.services.changing import automations_held, hold
from automations.services.defaulting import to_take_back
from deviations.errors import AlreadyOnItsWay, DeviationError
from deviations.models import Deviation
from deviations.services.changing import Event, change_many
from deviations.services.drafting import apply_words, remake_publish_variants
from deviations.services.scheduling import to_cancel
from isekai import clock

logger = structlog.get_logger(__name__)

Released = ExecutionWork.Released
# Why a work is left that its slot has had after all.
STILL_ITS_OWN = ("published", "on_its_way", "busy")


@dataclass(frozen=True, slots=True)
class Left:
    """A work that stays as it is, and why as a code.

    `published`; `on_its_way`: it is, or it has failed there or waits for a decision; `moved`: somebody has given it
    another time; `taken_back`: it is a draft already; `trashed`; `busy`: somebody is changing it.
    """

    deviation: Deviation
    code: str


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of the works of a run."""

    run_id: UUID
    taken_back: list[Deviation]
    left: list[Left]


def last_run_of(automation: Automation) -> UUID | None:
    """The run that `undo_run` takes back by itself: the last one of which a work is still for its slot."""
    still = ExecutionWork.objects.filter(execution=OuterRef("pk"), released_at__isnull=True)
    executions = Execution.objects.filter(Exists(still), automation=automation)
    return executions.order_by("-pk").values_list("run_id", flat=True).first()


def undo_run(automation: Automation, *, user: User | None, run_id: UUID | None = None) -> Undone:
    """Take back a run of the automation, the last one unless ``run_id`` names another.

    What is still scheduled by it becomes a draft, without what it filled in and nobody has changed since; what went
    out, is on its way or was moved by hand is left and listed. Its slots are not filled again. Raises NothingToUndo,
    Running, Gone.
    """
    with automations_held():
        # As a tick does it: nobody takes the drafts before this is written down.
        Workspace.objects.select_for_update(no_key=True).get(pk=automation.workspace_id)
        row = hold(automation)
        run_id = run_id or last_run_of(row)
        if run_id is None:
            raise NothingToUndo
        executions = list(Execution.objects.filter(automation=row, run_id=run_id).select_for_update(no_key=True))
        works = list(ExecutionWork.objects.filter(execution__in=executions, released_at__isnull=True).order_by("pk"))
        if not works:
            raise NothingToUndo
        undone = _take_back(row, works, run_id=run_id, user=user)
        _write_down(executions, works, undone)
        _count_back(row, works, {work.pk for work in undone.taken_back})
        record(
            "automation.undone",
            row,
            user=user,
            run_id=str(undone.run_id),
            works=len(undone.taken_back),
            left=len(undone.left),
        )
    logger.info("run_undone", automation_id=str(row.pk), works=len(undone.taken_back), left=len(undone.left))
    return undone


def _take_back(automation: Automation, works: Sequence[ExecutionWork], *, run_id: UUID, user: User | None) -> Undone:
    of_draft = {work.deviation_id: work for work in works}
    by_metadata: list[Deviation] = []
    why: dict[UUID, str] = {}

    def how(row: Deviation) -> list[Event]:
        work = of_draft[row.pk]
        if code := _why_left(row, work):
            why[row.pk] = code
            return []
        cancelled = to_cancel(row)
        fields = apply_words(row, to_take_back(row, work.values_before))
        if "keep_metadata" in fields:
            by_metadata.append(row)
        by = {"automation": automation.name, "automation_id": str(automation.pk), "run_id": str(run_id)}
        edited = [Event("deviation.edited", {"fields": fields, **by})] if fields else []
        return [*(Event(event.verb, {**event.params, **by}) for event in cancelled), *edited]

    result = change_many(Deviation.objects.all(), how, user=user, ids=list(of_draft))
    remake_publish_variants(by_metadata)
    taken_back, left = [], []
    gone = Deviation.objects.in_bulk([item.id for item in result.items if item.deviation is None])
    for item in result.items:
        if item.id in why and item.deviation is not None:
            left.append(Left(item.deviation, why[item.id]))
        elif item.deviation is not None:
            taken_back.append(item.deviation)
        elif item.id in gone:
            left.append(Left(gone[item.id], _code_of(item.error)))
    return Undone(run_id, taken_back, left)


def _why_left(draft: Deviation, work: ExecutionWork) -> str:
    """Why a work is not the run's to be taken back any more; empty: it is."""
    if draft.trashed_at is not None:
        return "trashed"
    if draft.status == Deviation.Status.PUBLISHED:
        return "published"
    if draft.status == Deviation.Status.DRAFT:
        return "taken_back"
    if draft.status != Deviation.Status.SCHEDULED or draft.is_claimed:
        return "on_its_way"
    return "moved" if draft.publish_at != work.publish_at else ""


def _code_of(error: DeviationError | None) -> str:
    return "on_its_way" if isinstance(error, AlreadyOnItsWay) else "busy"


def _write_down(executions: Sequence[Execution], works: Sequence[ExecutionWork], undone: Undone) -> None:
    now = clock.database_now()
    taken_back = {draft.pk for draft in undone.taken_back}
    released = [work for work in works if work.deviation_id in taken_back]
    for work in released:
        work.released_at, work.released_because = now, Released.UNDONE
    ExecutionWork.objects.bulk_update(released, ["released_at", "released_because"])
    theirs = {left.deviation.pk for left in undone.left if left.code in STILL_ITS_OWN}
    kept = {work.execution_id for work in works if work.deviation_id in theirs}
    for execution in executions:
        if execution.pk not in kept and execution.outcome == Execution.Outcome.SCHEDULED:
            execution.outcome, execution.reason_code, execution.reason_params = Execution.Outcome.UNDONE, "undone", {}
        # Looked at since: a slot of which a part was taken back is not filled up.
        execution.looked_at = now
    Execution.objects.bulk_update(executions, ["outcome", "reason_code", "reason_params", "looked_at"])


def _count_back(automation: Automation, works: Sequence[ExecutionWork], taken_back: set[UUID]) -> None:
    """Give the numbers back that nobody has any more, as far as they were the last ones."""
    numbers = {work.counter for work in works if work.counter is not None and work.deviation_id in taken_back}
    before = automation.counter
    while automation.counter - 1 in numbers:
        automation.counter -= 1
    if automation.counter != before:
        Automation.objects.filter(pk=automation.pk).update(counter=automation.counter)
