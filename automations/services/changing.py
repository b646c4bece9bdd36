"""The frame of every change to automations: lock, compare, change, save, plan anew, and the audit events, all in one.

**The row of an automation is the lock of all that is below it**: its rules, its default values, the slots that follow
from them, and the blackouts that they are computed with. Whoever changes any of these, and whoever makes slots, holds
that row first. Nobody waits for it who holds the row of a rule or of an execution, so that no two can wait for each
other: a tick takes both at once and passes over those that are locked.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import prefetch_related_objects
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.audit import audit_event, record_all
from automations.errors import AutomationError, FieldsRefused, Gone, Running, VersionConflict
from automations.models import Automation, AutomationQuerySet
from automations.services.planning import plan_anew
from deviations.errors import Busy
from deviations.services.changing import BULK_MAX, Event, row_locks
from isekai import clock
from isekai.ids import new_id

logger = structlog.get_logger(__name__)

# Changes a locked automation, in memory, or what is below it, in the database, and says what happened; nothing when
# there was nothing to change. Raises AutomationError before it has touched anything.
Change = Callable[[Automation], Sequence[Event]]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one automation of many: itself as it is now (None: it was deleted), or why nothing was done.

    Not ``done`` and no error: there is no such automation.
    """

    id: UUID
    automation: Automation | None = None
    error: AutomationError | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class BulkResult:
    """A result for each id, in the order that was asked for; ``id`` is in the audit events of all of them."""

    id: UUID
    items: list[ItemResult]


@contextmanager
def automations_held() -> Iterator[None]:
    """A transaction that waits for each row's lock two seconds at most.

    Raises Running, with nothing done: so long a tick has held the rows of an automation to schedule its works, or
    somebody else to change it.
    """
    try:
        with row_locks():
            yield
    except Busy as error:
        raise Running from error


def change(automation: Automation, how: Change, *, user: User | None, version: int | None = None) -> Automation:
    """Do ``how`` to the automation as it is now, under its lock, and return it.

    ``version``: what the caller has seen; None compares nothing. Raises VersionConflict, Running, Gone, and whatever
    ``how`` raises; nothing has changed then.
    """
    with automations_held():
        row = hold(automation)
        if version is not None and row.version != version:
            raise VersionConflict
        events = how(row)
        if events:
            _count_up(row)
            row.save()
            record_all(audit_event(event.verb, row, user=user, **event.params) for event in events)
            plan_anew([row])

    def tell() -> None:
        for event in events:
            logger.info("automation_changed", verb=event.verb, automation_id=str(row.pk), version=row.version)

    # What is only tried out, within a transaction that is taken back, has not happened.
    transaction.on_commit(tell)
    return row


def change_many(
    automations: AutomationQuerySet,
    how: Change,
    *,
    fields: Collection[str],
    user: User | None,
    ids: Sequence[UUID] | None = None,
) -> BulkResult:
    """Do ``how``, which sets ``fields`` in memory, to each of ``automations``, or to those that ``ids`` names.

    All in one transaction, with a result for each; one that refuses, or that somebody holds, keeps none of the others
    back. Raises FieldsRefused for more than 500 ids.
    """
    wanted = ids_of(automations, ids)
    bulk_id = new_id()
    results = {one: ItemResult(one) for one in wanted}
    changed: list[tuple[Automation, Sequence[Event]]] = []
    with automations_held():
        for row in hold_many(automations, wanted, results):
            try:
                events = how(row)
            except AutomationError as error:
                results[row.pk] = ItemResult(row.pk, error=error)
                continue
            if events:
                changed.append((row, events))
                _count_up(row)
            results[row.pk] = ItemResult(row.pk, row, done=True)
        rows = [row for row, _events in changed]
        Automation.objects.bulk_update(rows, [*fields, "version", "updated_at"])
        record_all(
            audit_event(event.verb, row, user=user, **event.params, bulk_id=str(bulk_id))
            for row, events in changed
            for event in events
        )
        plan_anew(rows)
    logger.info("automations_changed", bulk_id=str(bulk_id), asked=len(wanted), changed=len(changed))
    return BulkResult(bulk_id, list(results.values()))


def hold(automation: Automation) -> Automation:
    """The automation as it is now, locked until the transaction ends. Raises Gone."""
    # Not so that rows that refer to it would have to wait.
    row = Automation.objects.select_for_update(no_key=True).filter(pk=automation.pk).first()
    if row is None:
        raise Gone
    return row


def hold_many(
    automations: AutomationQuerySet, ids: Sequence[UUID], results: dict[UUID, ItemResult]
) -> list[Automation]:
    """Those of ``automations`` that ``ids`` names, locked, with their rules; ``results`` gets those that are held."""
    named = automations.filter(pk__in=ids).order_by("pk")
    try:
        with row_locks():
            rows = list(named.select_for_update(of=("self",), no_key=True))
    except Busy:
        # One row that somebody holds must not keep all the others back.
        rows = list(named.select_for_update(of=("self",), no_key=True, skip_locked=True))
        for pk in set(named.values_list("pk", flat=True)) - {row.pk for row in rows}:
            results[pk] = ItemResult(pk, error=Running())
    prefetch_related_objects(rows, "rules")
    return rows


def ids_of(automations: AutomationQuerySet, ids: Sequence[UUID] | None) -> list[UUID]:
    """Each of ``ids`` once, in their order; None: all of ``automations``. Raises FieldsRefused for more than 500."""
    if ids is None:
        return list(automations.order_by("position", "pk").values_list("pk", flat=True))
    if len(ids) > BULK_MAX:
        raise FieldsRefused({"ids": [_("At most %(most)s automations at once.") % {"most": BULK_MAX}]})
    return list(dict.fromkeys(ids))


def _count_up(row: Automation) -> None:
    row.version += 1
    row.updated_at = clock.now()
