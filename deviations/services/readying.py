"""Which drafts automations may take: those that were said to be ready, or approved, while nobody has them open."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils.translation import gettext as _

from accounts.models import User
from deviations.errors import InvalidTransition
from deviations.models import Deviation
from deviations.models.deviations import DeviationQuerySet
from deviations.services.changing import BulkResult, Change, Event, change, change_many, ensure_free
from isekai import clock

# Who has a draft open says so with every word; it is written down no more often than this.
SEEN_EVERY = timedelta(minutes=1)


def set_ready(deviation: Deviation, *, user: User | None, ready: bool, version: int | None = None) -> Deviation:
    """Say that automations may take a work, or that they may not; it matters as long as it is a draft.

    What is scheduled or published already may be made ready too: it counts once it is a draft again. Raises
    AlreadyOnItsWay, BeingConfirmed, DecisionNeeded, InTheTrash, VersionConflict.
    """
    return change(deviation, _set(ready=ready), user=user, version=version)


def set_many_ready(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID], ready: bool) -> BulkResult:
    return change_many(works, _set(ready=ready), user=user, ids=ids)


def approve_deviation(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Let a work out of review: a draft from then on, and ready for automations. One that was approved stays as it is.

    Raises InvalidTransition for any other work, InTheTrash, VersionConflict.
    """
    return change(deviation, _approve, user=user, version=version)


def approve_many(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(works, _approve, user=user, ids=ids)


def note_opened(deviation: Deviation) -> None:
    """Write down that somebody has a draft open to edit it, so that no automation takes it from them meanwhile.

    The work's version stays: nothing of it has changed.
    """
    now = clock.now()
    seen = deviation.opened_at is not None and deviation.opened_at > now - SEEN_EVERY
    if seen or deviation.status != Deviation.Status.DRAFT:
        return  # as it was read: most pages and saved words need not ask the database
    long_ago = Q(opened_at__isnull=True) | Q(opened_at__lte=now - SEEN_EVERY)
    Deviation.objects.filter(long_ago, pk=deviation.pk, status=Deviation.Status.DRAFT).update(opened_at=now)


def _approve(row: Deviation) -> list[Event]:
    ensure_free(row)
    if row.status == Deviation.Status.DRAFT and row.ready_at is not None:
        return []
    if row.status != Deviation.Status.REVIEW:
        raise InvalidTransition(_("Only a work in review can be approved."))
    row.move_to(Deviation.Status.DRAFT)
    row.ready_at = clock.now()
    return [Event("deviation.approved")]


def _set(*, ready: bool) -> Change:
    def how(row: Deviation) -> list[Event]:
        ensure_free(row)
        if ready == (row.ready_at is not None):
            return []
        row.ready_at = clock.now() if ready else None
        return [Event("deviation.ready" if ready else "deviation.not_ready")]

    return how
