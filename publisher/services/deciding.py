"""What people decide about works that Isekai must not guess about."""

from collections.abc import Sequence
from uuid import UUID

from django.utils.translation import gettext as _

from accounts.models import User
from deviations.errors import InvalidTransition
from deviations.models import Deviation, DeviationQuerySet
from deviations.services.changing import BulkResult, Event, change, change_many
from isekai import clock
from publisher.models import Publication


def look_again(deviation: Deviation, *, user: User | None) -> Deviation:
    """Have DeviantArt asked once more whether an unconfirmed work is live; raises InvalidTransition for any other."""
    return change(deviation, _look_again, user=user)


def look_again_at_many(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    """Like `look_again` for each of ``works`` that ``ids`` names."""
    return change_many(works, _look_again, user=user, ids=ids)


def _look_again(row: Deviation) -> list[Event]:
    unconfirmed = Publication.objects.unconfirmed().filter(deviation=row).exists()
    if row.status != Deviation.Status.NEEDS_DECISION or not unconfirmed:
        raise InvalidTransition(_("There is nothing about this work that a look at DeviantArt could settle."))
    row.move_to(Deviation.Status.PUBLISHING, reason="unconfirmed")
    row.unconfirmed_since = row.unconfirmed_since or clock.database_now()
    row.next_attempt_at = clock.database_now()
    return [Event("deviation.checked_again")]
