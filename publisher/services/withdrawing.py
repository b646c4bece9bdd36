"""Questions that have answered themselves: evidence came in after somebody was asked, so the work goes on.

Whoever made a call writes down how it ended, however late (see `evidence`); a process that was stopped for long, or cut
off from the database, does so after others have given up and asked.
"""

from django.db.models import Exists, OuterRef, Q

from deviations.errors import Busy
from deviations.models import Deviation, DeviationQuerySet
from deviations.services.changing import Event, change
from publisher.models import Attempt, Publication, StashItem
from publisher.services.confirming import go_on


def withdraw_answered() -> int:
    """Send on their way all works whose question needs nobody any more; returns how many. Harmless when run twice."""
    return sum(_withdraw(work) for work in _answered().order_by("pk"))


def _answered() -> DeviationQuerySet:
    parts = Publication.objects.filter(deviation=OuterRef("pk"))
    uploads = Attempt.objects.unsettled().filter(publication=OuterRef("pk"), step=Attempt.Step.SUBMIT)
    in_hand = StashItem.objects.filter(publication=OuterRef("pk"), state=StashItem.State.IN_HAND)
    # Of each part by itself: that another one lies in the stash says nothing of it.
    uploaded_or_not = parts.exclude(state=Publication.State.PUBLISHED).filter(Exists(uploads), ~Exists(in_hand))
    is_known = (_asked_for("unconfirmed") & ~Exists(parts.unconfirmed())) | (
        _asked_for("stash_unconfirmed") & ~Exists(uploaded_or_not)
    )
    return Deviation.objects.kept().filter(is_known, status=Deviation.Status.NEEDS_DECISION)


def _asked_for(reason: str) -> Q:
    return Q(reason_code=reason) | Q(reason_code="partial", reason_params__cause=reason)


def _withdraw(work: Deviation) -> bool:
    withdrawn = False

    def how(row: Deviation) -> list[Event]:
        nonlocal withdrawn
        withdrawn = _answered().filter(pk=row.pk).exists()
        return [Event("deviation.question_withdrawn", {"reason": row.reason_code}), *go_on(row)] if withdrawn else []

    try:
        change(work, how, user=None)
    except Busy:
        return False  # somebody decides about it at this moment
    return withdrawn
