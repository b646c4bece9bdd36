"""Carrying out what was decided: the works are scheduled as by hand, and it is written down which slot they are for."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from accounts.models import User
from automations.models import Automation, Execution, ExecutionWork
from automations.services.deciding import Decision, Take
from deviations.errors import DeviationError
from deviations.models import Deviation
from deviations.services.scheduling import schedule_each

logger = structlog.get_logger(__name__)


def act(decided: Sequence[tuple[Decision, int]], *, user: User | None, now: datetime) -> int:
    """Schedule the works of decisions that were written down as executions (their ids), and return how many.

    The caller holds the automations and the drafts, in the transaction in which it has written the executions; together
    they are at most 500 works.
    """
    takes = {take.draft.pk: (take, decision, pk) for decision, pk in decided for take in decision.takes}
    if not takes:
        return 0
    appointments = {
        draft_id: replace(
            take.appointment,
            params={**take.appointment.params, "execution_id": pk, "slot_at": decision.turn.slot.at.isoformat()},
        )
        for draft_id, (take, decision, pk) in takes.items()
    }
    # A work that was taken back from another slot which nobody has looked at yet.
    ExecutionWork.objects.filter(deviation__in=takes, released_at__isnull=True).update(
        released_at=now, released_because=ExecutionWork.Released.TAKEN_AGAIN
    )
    result = schedule_each(Deviation.objects.all(), appointments, user=user)
    works: list[ExecutionWork] = []
    refused: dict[int, dict[UUID, DeviationError | None]] = defaultdict(dict)
    for item in result.items:
        take, decision, pk = takes[item.id]
        if item.deviation is None:
            refused[pk][item.id] = item.error
        else:
            works.append(_work_of(take, decision, pk, item.deviation, now))
    ExecutionWork.objects.bulk_create(works)
    _note_refused(refused, {work.execution_id for work in works})
    return len(works)


def store_counters(automations: Mapping[UUID, Automation], counters: Mapping[UUID, int]) -> None:
    """Write down what `{counter}` is next, where works were given numbers."""
    changed = []
    for pk, automation in automations.items():
        if counters[pk] != automation.counter:
            automation.counter = counters[pk]
            changed.append(automation)
    if changed:
        Automation.objects.bulk_update(changed, ["counter"])


def _work_of(take: Take, decision: Decision, execution_id: int, draft: Deviation, now: datetime) -> ExecutionWork:
    automation = decision.turn.automation
    assert draft.publish_at is not None  # noqa: S101 - it is scheduled
    return ExecutionWork(
        execution_id=execution_id,
        deviation=draft,
        method=take.method,
        publish_at=draft.publish_at,
        values_before=take.values_before,
        counter=take.counter,
        price_preset_id=automation.price_preset_id if automation.add_to_sale_queue else None,
        made_at=now,
    )


def _note_refused(refused: Mapping[int, Mapping[UUID, DeviationError | None]], filled: set[int]) -> None:
    """Say so of executions whose works would not be scheduled although everything had been checked."""
    rows = []
    for pk, errors in refused.items():
        deviation_id, error = next(iter(errors.items()))
        code = error.code if error is not None else "gone"
        logger.warning("slot_refused", execution_id=pk, works=len(errors), code=code)
        if pk not in filled:
            params = {"deviation_id": str(deviation_id), "code": code, "works": len(errors)}
            row = Execution(pk=pk, outcome=Execution.Outcome.NOT_TAKEN, reason_code="refused", reason_params=params)
            rows.append(row)
    if rows:
        Execution.objects.bulk_update(rows, ["outcome", "reason_code", "reason_params"])
