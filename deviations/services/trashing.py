"""Into the trash and back. Nothing is deleted here."""

from collections.abc import Sequence
from uuid import UUID

from accounts.models import User
from deviations.models import Deviation
from deviations.models.deviations import DeviationQuerySet
from deviations.services.changing import BulkResult, Event, change, change_many, ensure_free
from deviations.services.scheduling import take_from_queue
from isekai import clock


def trash_deviation(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Put a work into the trash; a scheduled one is cancelled with it and keeps its former time.

    Nothing happens to what lies there already. Raises AlreadyOnItsWay, BeingConfirmed, DecisionNeeded, VersionConflict.
    """
    return change(deviation, _trash, user=user, version=version)


def trash_many(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(works, _trash, user=user, ids=ids)


def restore_deviation(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Take a work out of the trash as it was put there (what was scheduled: as a draft); others stay as they are."""
    return change(deviation, _restore, user=user, version=version)


def restore_many(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(works, _restore, user=user, ids=ids)


def _trash(row: Deviation) -> list[Event]:
    if row.trashed_at is not None:
        return []
    ensure_free(row)
    events = [take_from_queue(row)] if row.status == Deviation.Status.SCHEDULED else []
    row.trashed_at = clock.now()
    return [*events, Event("deviation.trashed", {"status": row.status})]


def _restore(row: Deviation) -> list[Event]:
    if row.trashed_at is None:
        return []
    row.trashed_at = None
    return [Event("deviation.restored", {"status": row.status})]
