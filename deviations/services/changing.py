"""The frame of every change to a work: lock, compare, change, save, and the audit event in the same transaction."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg.errors
import structlog
from django.db import OperationalError, connection, transaction
from django.db.models import GeneratedField
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.services.audit import audit_event, record_all
from deviations.errors import (
    AlreadyOnItsWay,
    BeingConfirmed,
    Busy,
    DecisionNeeded,
    DeviationError,
    FieldsRefused,
    InTheTrash,
    VersionConflict,
)
from deviations.models import Deviation
from deviations.models.deviations import DeviationQuerySet
from isekai import clock, queue
from isekai.ids import new_id

logger = structlog.get_logger(__name__)

LOCK_TIMEOUT = "2s"
# What is due sooner is not left to the dispatcher's next look.
NEAR = timedelta(seconds=10)
# The one reason to ask that says nothing about DeviantArt: such a work certainly was not sent.
LATE = "late"
# While a decision is being carried out: a person has said that nothing more of the work is live.
NOT_LIVE = "not_live"
BULK_MAX = 500


@dataclass(frozen=True, slots=True)
class Event:
    """What a change did: the verb of its audit event (`deviation.scheduled`), and its parameters."""

    verb: str
    params: dict[str, Any] = field(default_factory=dict)


# Changes a locked work in memory and says what happened; nothing when there was nothing to change. Raises
# DeviationError before it has touched anything but the row in its hands.
Change = Callable[[Deviation], Sequence[Event]]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one work of many: itself as it is now, or why not (None and None: there is no such work)."""

    id: UUID
    deviation: Deviation | None
    error: DeviationError | None


@dataclass(frozen=True, slots=True)
class BulkResult:
    """A result for each id, in the order that was asked for; ``id`` is in the audit events of all of them."""

    id: UUID
    items: list[ItemResult]


@contextmanager
def row_locks() -> Iterator[None]:
    """A transaction that waits for each row's lock two seconds at most; raises Busy, with nothing done."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)):
            raise Busy from error
        raise


def change(deviation: Deviation, how: Change, *, user: User | None, version: int | None = None) -> Deviation:
    """Do ``how`` to the work as it is now, under its lock, and return it.

    ``version``: what the caller has seen; None compares nothing. Raises VersionConflict, Busy, and whatever ``how``
    raises; nothing has changed then.
    """
    with row_locks():
        row = Deviation.objects.select_related("account").select_for_update(of=("self",)).get(pk=deviation.pk)
        if version is not None and row.version != version:
            raise VersionConflict
        events = how(row)
        if events:
            _save(row, events, user=user)
            wake_publisher([row])
    for event in events:
        logger.info("deviation_changed", verb=event.verb, deviation_id=str(row.pk), version=row.version)
    return row


def change_many(
    works: DeviationQuerySet, how: Change, *, user: User | None, ids: Sequence[UUID], bulk_id: UUID | None = None
) -> BulkResult:
    """Do ``how`` to each of ``works`` that ``ids`` names, all in one transaction, with a result for each.

    ``bulk_id``: that of the change of which this is another part; None makes a new one.
    A work that refuses keeps none of the others back. An id that comes twice is done once. Raises FieldsRefused for
    more than 500 ids.
    """
    if len(ids) > BULK_MAX:
        raise FieldsRefused({"ids": [_("At most %(most)s works at once.") % {"most": BULK_MAX}]})
    bulk_id, wanted = bulk_id or new_id(), list(dict.fromkeys(ids))
    try:
        results, changed = _change_rows(works, how, user=user, ids=wanted, bulk_id=bulk_id, skip_locked=False)
    except Busy:
        # One row that somebody holds must not keep all the others back.
        results, changed = _change_rows(works, how, user=user, ids=wanted, bulk_id=bulk_id, skip_locked=True)
    logger.info("deviations_changed", bulk_id=str(bulk_id), asked=len(wanted), changed=changed)
    return BulkResult(bulk_id, [results[one] for one in wanted])


def _change_rows(
    works: DeviationQuerySet,
    how: Change,
    *,
    user: User | None,
    ids: Sequence[UUID],
    bulk_id: UUID,
    skip_locked: bool,
) -> tuple[dict[UUID, ItemResult], int]:
    results = {one: ItemResult(one, None, None) for one in ids}
    changes: list[tuple[Deviation, Sequence[Event]]] = []
    names: set[str] = set()
    with row_locks():
        if skip_locked:
            results |= {
                pk: ItemResult(pk, None, Busy()) for pk in works.filter(pk__in=ids).values_list("pk", flat=True)
            }
        rows = (
            works.filter(pk__in=ids)
            .select_related("account")
            .prefetch_related("files", "workspace__deviantart_accounts")
            .order_by("pk")
            .select_for_update(of=("self",), skip_locked=skip_locked)
        )
        for row in rows:
            before = _columns(row)
            try:
                events = how(row)
            except DeviationError as error:
                results[row.pk] = ItemResult(row.pk, None, error)
                continue
            if events:
                _touch(row)
                changes.append((row, events))
                names |= {name for name, value in _columns(row).items() if value != before[name]}
            results[row.pk] = ItemResult(row.pk, row, None)
        changed = [row for row, _events in changes]
        if changed:
            _write(changed, sorted(names))
            record_all(
                audit_event(one.verb, row, user=user, **one.params, bulk_id=str(bulk_id))
                for row, events in changes
                for one in events
            )
            wake_publisher(changed)
    return results, len(changed)


def ensure_free(deviation: Deviation) -> None:
    """Raise what stands against any change of the work: it is on its way, or nobody knows yet what became of it."""
    if deviation.status == Deviation.Status.PUBLISHING and deviation.unconfirmed_since is not None:
        raise BeingConfirmed
    if deviation.is_claimed:
        raise AlreadyOnItsWay
    if deviation.status == Deviation.Status.NEEDS_DECISION and (
        deviation.unconfirmed_since is not None or deviation.reason_code not in {LATE, NOT_LIVE}
    ):
        raise DecisionNeeded
    if deviation.trashed_at is not None:
        raise InTheTrash


def wake_publisher(rows: Iterable[Deviation]) -> None:
    """Tell the publishers, once this transaction is committed, of those works that are due within ten seconds."""
    waiting = [row for row in rows if row.status == Deviation.Status.SCHEDULED]
    if not waiting:
        return
    soon = clock.database_now() + NEAR
    accounts = {row.account_id for row in waiting if row.publish_at is not None and row.publish_at <= soon}
    for account_id in accounts:
        if account_id is not None:
            queue.send("publisher.publish_next", account_id)
    if accounts:
        queue.nudge()


def _save(row: Deviation, events: Sequence[Event], *, user: User | None) -> None:
    _touch(row)
    row.save()
    # The database computes it; what is in memory is from before.
    row.__dict__.pop("due_at", None)
    record_all(audit_event(one.verb, row, user=user, **one.params) for one in events)


def _touch(row: Deviation) -> None:
    row.version += 1
    row.updated_at = clock.now()


def _columns(row: Deviation) -> dict[str, Any]:
    """The work as it is in memory, by column; what is changed in place later does not change this."""
    values = ((name, row.__dict__[name]) for name in _WRITTEN)
    return {name: copy.deepcopy(value) if isinstance(value, (list, dict)) else value for name, value in values}


def _write(rows: Sequence[Deviation], names: Sequence[str]) -> None:
    """Save those columns of locked rows in one statement.

    Django's ``bulk_update`` makes a condition of each value, which takes many times as long for 500 works.
    """
    table, quoted = Deviation._meta.db_table, {name: connection.ops.quote_name(name) for name in names}
    assignments = ", ".join(f"{column} = new.{column}" for column in quoted.values())
    columns = ", ".join(["id uuid", *(f"{quoted[name]} {_WRITTEN[name].db_type(connection)}" for name in names)])
    values = [{"id": row.pk, **{name: row.__dict__[name] for name in names}} for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} AS work SET {assignments} FROM jsonb_to_recordset(%s) AS new ({columns}) "  # noqa: S608
            "WHERE work.id = new.id RETURNING work.id, work.due_at",
            [json.dumps(values, default=str)],
        )
        due = dict(cursor.fetchall())
    for row in rows:
        # The database computes it; what is in memory is from before.
        row.__dict__["due_at"] = due[row.pk]


# What a change may write: every column but the key and what the database computes.
_WRITTEN: dict[str, Any] = {
    field.attname: field
    for field in Deviation._meta.concrete_fields
    if not (field.primary_key or isinstance(field, GeneratedField))
}
