"""One slot by hand: what an automation would do at its next slot, done at once."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from django.utils.translation import gettext as _

from accounts.models import User, Workspace
from accounts.services.audit import record
from automations import slots
from automations.errors import FieldsRefused
from automations.models import Automation, Execution, ExecutionWork
from automations.models.rules import WORKS_MAX
from automations.services.acting import act, store_counters
from automations.services.changing import automations_held, hold
from automations.services.deciding import Turn, decide
from automations.services.planning import zone_of
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """What was run by hand: its execution, and the works that it scheduled, in their order."""

    execution: Execution
    works: list[ExecutionWork]


def run_now(automation: Automation, *, user: User | None, count: int | None = None) -> Run:
    """Schedule the next drafts of an automation for this moment, each with its delay; also of one that is off.

    ``count``: how many; None: as many as a slot of its first rule takes. Rules, their conditions and blackouts say when
    an automation acts by itself, so that none of them is asked. An execution is written even if nothing was found, and
    says why. Raises FieldsRefused, Running, Gone.
    """
    if count is not None and not 1 <= count <= WORKS_MAX:
        raise FieldsRefused({"count": [_("Send a whole number, 1 to %(most)s.") % {"most": WORKS_MAX}]})
    with automations_held():
        # As a tick does it: nobody else chooses among the same drafts meanwhile.
        Workspace.objects.select_for_update(no_key=True).get(pk=automation.workspace_id)
        row = hold(automation)
        now, zone = clock.database_now(), zone_of(row)
        turn = _turn(row, now, zone, count)
        counters = {row.pk: row.counter}
        (decision,) = decide([turn], now=now, hold=True, counters=counters)
        execution = Execution.objects.create(
            automation=row,
            kind=Execution.Kind.RUN_NOW,
            run_id=new_id(),
            local_date=turn.slot.local_date,
            ordinal=turn.slot.ordinal,
            slot_at=now,
            outcome=decision.outcome,
            reason_code=decision.reason_code,
            reason_params=decision.reason_params,
            made_at=now,
            looked_at=now,
        )
        done = act([(decision, execution.pk)], user=user, now=now)
        store_counters({row.pk: row}, counters)
        record("automation.run_now", row, user=user, execution_id=execution.pk, works=done)
        execution.refresh_from_db()
        works = list(execution.works.select_related("deviation").order_by("publish_at", "pk"))
    logger.info("automation_run_now", automation_id=str(row.pk), works=done, outcome=execution.outcome)
    return Run(execution, works)


def look(automation: Automation, *, count: int | None = None) -> list[Deviation]:
    """The drafts that `run_now` would take at this moment, in their order; nothing is changed."""
    now, zone = clock.database_now(), zone_of(automation)
    (decision,) = decide([_turn(automation, now, zone, count)], now=now, hold=False)
    return [take.draft for take in decision.takes]


def _turn(automation: Automation, now: datetime, zone: str, count: int | None) -> Turn:
    day = slots.local_date_of(now, zone)
    earlier = Execution.objects.filter(automation=automation, kind=Execution.Kind.RUN_NOW, local_date=day)
    # No rule has its number among its slots; by it each run of a day is drawn by itself.
    slot = slots.Slot(now, automation.pk, day, earlier.count())
    return Turn(automation=automation, rules=(), slot=slot, zone=zone, count=count or _works_of_a_slot(automation))


def _works_of_a_slot(automation: Automation) -> int:
    first = automation.rules.filter(enabled=True).order_by("priority", "pk").first()
    return first.works_per_slot if first is not None else 1
