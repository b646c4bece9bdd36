"""The frame of every change to a work: lock, compare, change, save, and the audit event in the same transaction."""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg.errors
import structlog
from django.contrib.postgres.fields import ArrayField
from django.db import OperationalError, connection, transaction
from django.db.models import GeneratedField, JSONField, prefetch_related_objects
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
from isekai.compiled import Compiled
from isekai.ids import new_id
from isekai.prepared import prepared_cursor

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
class Changed:
    """A work that was changed in memory, what it was before, and what that was."""

    row: Deviation
    before: dict[str, Any]
    events: Sequence[Event]

    @property
    def names(self) -> list[str]:
        """The columns that are to be written."""
        now, before = self.row.__dict__, self.before
        return [name for name in _WRITTEN if now[name] is not before[name] and now[name] != before[name]]


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
        row = _locked(deviation.pk)
        if version is not None and row.version != version:
            raise VersionConflict
        before = _as_read(row)
        events = how(row)
        if events:
            _save([Changed(row, before, events)], user=user)
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
    changed: list[Changed] = []
    with row_locks():
        if skip_locked:
            results |= {
                pk: ItemResult(pk, None, Busy()) for pk in works.filter(pk__in=ids).values_list("pk", flat=True)
            }
        rows = list(
            works.filter(pk__in=ids)
            # Many works are of few accounts.
            .prefetch_related("account", "files")
            .order_by("pk")
            .select_for_update(of=("self",), skip_locked=skip_locked)
        )
        prefetch_related_objects([row for row in rows if row.account_id is None], "workspace__deviantart_accounts")
        for row in rows:
            before = _as_read(row)
            try:
                events = how(row)
            except DeviationError as error:
                results[row.pk] = ItemResult(row.pk, None, error)
                continue
            if events:
                changed.append(Changed(row, before, events))
            results[row.pk] = ItemResult(row.pk, row, None)
        if changed:
            _save(changed, user=user, bulk_id=str(bulk_id))
    return results, len(changed)


def _locked(deviation_id: UUID) -> Deviation:
    found = _rows(deviation_id)
    if not found:
        raise Deviation.DoesNotExist
    return found[0]


_rows = Compiled(
    lambda pk: Deviation.objects.select_related("account").select_for_update(of=("self",)).filter(pk=pk),
)


def _as_read(row: Deviation) -> dict[str, Any]:
    return row.__dict__ | {name: copy.deepcopy(row.__dict__[name]) for name in _CHANGED_IN_PLACE}


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


def _save(changed: Sequence[Changed], *, user: User | None, **params: Any) -> None:
    """Save locked works that were changed in memory, with an audit event for each event; tell the publishers."""
    for each in changed:
        each.row.version += 1
        each.row.updated_at = clock.now()
    rows = [each.row for each in changed]
    now = _write(rows, sorted({name for each in changed for name in each.names}))
    record_all(
        audit_event(event.verb, each.row, user=user, **event.params, **params)
        for each in changed
        for event in each.events
    )
    _wake_publisher(rows, now)


def _write(rows: Sequence[Deviation], names: Sequence[str]) -> datetime:
    """Save those columns of locked rows in one statement, and return the database's time.

    Django's ``bulk_update`` makes a condition of each value, which takes many times as long for 500 works.
    """
    table, quoted = Deviation._meta.db_table, {name: connection.ops.quote_name(name) for name in names}
    assignments = ", ".join(f"{column} = new.{column}" for column in quoted.values())
    columns = ", ".join(["id uuid", *(f"{quoted[name]} {_WRITTEN[name].db_type(connection)}" for name in names)])
    values = [{"id": row.pk, **{name: row.__dict__[name] for name in names}} for row in rows]
    with prepared_cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} AS work SET {assignments} FROM jsonb_to_recordset(%s) AS new ({columns}) "  # noqa: S608
            f"WHERE work.id = new.id RETURNING work.id, work.due_at, {clock.SQL_NOW}",
            [json.dumps(values, default=str)],
        )
        written = {pk: (due_at, now) for pk, due_at, now in cursor.fetchall()}
    for row in rows:
        # The database computes it; what is in memory is from before.
        row.__dict__["due_at"] = written[row.pk][0]
    return written[rows[0].pk][1]


def _wake_publisher(rows: Iterable[Deviation], now: datetime) -> None:
    """Tell the publishers, once this transaction is committed, of those works that are due within ten seconds."""
    waiting = [row for row in rows if row.status == Deviation.Status.SCHEDULED]
    accounts = {row.account_id for row in waiting if row.publish_at is not None and row.publish_at <= now + NEAR}
    for account_id in accounts:
        if account_id is not None:
            queue.send("publisher.publish_next", account_id)
    if accounts:
        queue.nudge()


# What a change may write: every column but the key and what the database computes.
_WRITTEN: dict[str, Any] = {
    field.attname: field
    for field in Deviation._meta.concrete_fields
    if not (field.primary_key or isinstance(field, GeneratedField))
}
# Whose values a change could alter without replacing them.
_CHANGED_IN_PLACE = [name for name, field in _WRITTEN.items() if isinstance(field, (ArrayField, JSONField))]
