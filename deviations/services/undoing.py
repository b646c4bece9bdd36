"""Take back what was just done to some works: the audit trail says what that was."""

from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import AuditEvent, User
from deviations.errors import InvalidTransition
from deviations.models.deviations import DeviationQuerySet
from deviations.services.changing import BulkResult, ItemResult
from deviations.services.readying import set_many_ready
from deviations.services.scheduling import cancel_many, schedule_many_as_before
from deviations.services.trashing import restore_many


def undo_change(works: DeviationQuerySet, *, user: User, bulk_id: UUID, ids: Sequence[UUID]) -> BulkResult:
    """Undo what ``user`` did to those of ``works`` that ``ids`` names by the change ``bulk_id``, in one transaction.

    What was trashed is restored, what was cancelled or moved gets its former time back, what was scheduled becomes a
    draft, and what was made ready for automations or kept from them is so no more. A work that cannot go back, since
    its time has passed or it is on its way, has its error in the result.
    """
    # Asked by subject, for which there is an index.
    events = AuditEvent.objects.filter(subject_id__in=ids, user=user, params__bulk_id=str(bulk_id))
    done: dict[str, list[UUID]] = {}
    for verb, subject_id in events.order_by("id").values_list("verb", "subject_id"):
        done.setdefault(verb, []).append(subject_id)
    nothing = InvalidTransition(_("There is nothing to undo."))
    results = {one: ItemResult(one, None, nothing) for one in dict.fromkeys(ids)}
    with transaction.atomic():
        for verb, take_back in _TAKES_BACK:
            if verb in done:
                items = take_back(works, user=user, ids=done[verb]).items
                results |= {item.id: item for item in items if results[item.id].error in {None, nothing}}
    return BulkResult(bulk_id, list(results.values()))


# In this order: what was cancelled with the trash has to be out of it before it can be scheduled.
_TAKES_BACK: list[tuple[str, Callable[..., BulkResult]]] = [
    ("deviation.trashed", restore_many),
    ("deviation.cancelled", schedule_many_as_before),
    ("deviation.rescheduled", schedule_many_as_before),
    ("deviation.scheduled", cancel_many),
    ("deviation.ready", partial(set_many_ready, ready=False)),
    ("deviation.not_ready", partial(set_many_ready, ready=True)),
]
