"""What people decide about works that Isekai must not guess about: look again, it is not live; and then what.

That a work is live at some address is in `confirming`.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import User
from deviations.errors import CallUnderWay, ConfirmationNeeded, InTheTrash, InvalidTransition, TimeRefused
from deviations.models import Deviation, DeviationQuerySet
from deviations.services.changing import (
    BULK_MAX,
    LATE,
    NOT_LIVE,
    BulkResult,
    Change,
    Event,
    ItemResult,
    change,
    change_many,
)
from deviations.services.scheduling import Wish, to_cancel, to_publish_now, to_schedule, wish_for
from deviations.services.wall_time import wall_time_of
from isekai import clock
from isekai.ids import new_id
from publisher.models import Attempt, Publication, StashItem
from publisher.services import settling

Status = Deviation.Status


class Way(models.TextChoices):
    """What becomes of an undecided work that is not live."""

    PUBLISH_NOW = "publish_now", gettext_lazy("Publish it now")
    SCHEDULE = "schedule", gettext_lazy("Publish it at another time")
    KEEP_TIME = "keep_time", gettext_lazy("Publish it at its own time")
    DRAFT = "draft", gettext_lazy("Back to draft")


def look_again(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Have DeviantArt asked once more whether an unconfirmed work is live; raises InvalidTransition for any other.

    ``version`` as in `change`.
    """
    return change(deviation, _look_again, user=user, version=version)


def look_again_at_many(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    """Like `look_again` for each of ``works`` that ``ids`` names."""
    return change_many(works, _look_again, user=user, ids=ids)


def decide(
    deviation: Deviation,
    way: Way,
    *,
    user: User | None,
    not_live: bool = False,
    version: int | None = None,
    **wish: Any,
) -> Deviation:
    """Send an undecided work on its way, in one change with saying that nothing more of it is live.

    ``not_live``: the caller has looked, and answers for it; a late work, which certainly was not sent, needs no such
    word. ``wish`` is for SCHEDULE, as `schedule_deviation` takes it; ``version`` as in `change`. What is live already
    stays live, and is not sent again. Raises ConfirmationNeeded without that word, CallUnderWay while a call may still
    make it live, InvalidTransition for a work that needs no decision, and as `schedule_deviation` does.
    """
    return change(deviation, _decide(way, user, not_live=not_live, **wish), user=user, version=version)


def decide_many(
    works: DeviationQuerySet, way: Way, *, user: User | None, ids: Sequence[UUID], not_live: bool = False, **wish: Any
) -> BulkResult:
    """Like `decide` for each of ``works`` that ``ids`` names."""
    return change_many(works, _decide(way, user, not_live=not_live, **wish), user=user, ids=ids)


def decide_all_late(
    works: DeviationQuerySet, way: Way, *, user: User | None, account_id: UUID, **wish: Any
) -> BulkResult:
    """The one answer for all late works of an account, however many there are; a transaction for each 500."""
    bulk_id, how = new_id(), _decide(way, user, not_live=False, **wish)
    ids = list(late_of(works, account_id).order_by("pk").values_list("pk", flat=True))
    items: list[ItemResult] = []
    for start in range(0, len(ids), BULK_MAX):
        some = ids[start : start + BULK_MAX]
        items += change_many(works, how, user=user, ids=some, bulk_id=bulk_id).items
    return BulkResult(bulk_id, items)


def late_of(works: DeviationQuerySet, account_id: UUID) -> DeviationQuerySet:
    """Those of ``works`` that an account was asked about together, as they were too late."""
    return works.kept().filter(status=Status.NEEDS_DECISION, reason_code=LATE, account_id=account_id)


def can_look_again(deviation: Deviation) -> bool:
    """Whether a look at DeviantArt could settle anything: a call was made whose outcome nobody knows."""
    return (
        deviation.status == Status.NEEDS_DECISION
        and Publication.objects.unconfirmed().filter(deviation=deviation).exists()
    )


def _look_again(row: Deviation) -> list[Event]:
    if not can_look_again(row):
        raise InvalidTransition(_("There is nothing about this work that a look at DeviantArt could settle."))
    row.move_to(Status.PUBLISHING, reason="unconfirmed")
    row.unconfirmed_since = row.unconfirmed_since or clock.database_now()
    row.next_attempt_at = clock.database_now()
    return [Event("deviation.checked_again")]


def _decide(way: Way, user: User | None, *, not_live: bool, **wish: Any) -> Change:
    go_on = _going_on(way, user, **wish)

    def how(row: Deviation) -> list[Event]:
        ensure_asked(row)
        doubtful = _doubtful(row)
        if row.reason_code == LATE and row.unconfirmed_since is None and not doubtful:
            return list(go_on(row))
        if not not_live:
            question = _(
                "This work may be live. Look there first, and confirm that it is not: else it may appear twice."
            )
            raise ConfirmationNeeded("confirm_not_live", question)
        _ensure_no_call_under_way(row)
        reason = row.reason_code
        row.reason_code, row.unconfirmed_since = NOT_LIVE, None
        went = go_on(row)
        # Last, as a work that refuses must leave nothing behind.
        settled = _settle(row, doubtful)
        return [Event("deviation.settled_by_hand", {"reason": reason, "decision": way, "attempts": settled}), *went]

    return how


def ensure_asked(row: Deviation) -> None:
    """Raise InvalidTransition or InTheTrash unless the locked work waits for a decision."""
    if row.status != Status.NEEDS_DECISION:
        raise InvalidTransition(_("This work does not wait for a decision any more."))
    if row.trashed_at is not None:
        raise InTheTrash


def _going_on(way: Way, user: User | None, *, jitter_max_seconds: int = 0, **wish: Any) -> Change:
    match way:
        case Way.PUBLISH_NOW:
            return to_publish_now(user)
        case Way.SCHEDULE:
            return to_schedule(wish_for(user=user, **wish), jitter_max_seconds)
        case Way.KEEP_TIME:
            return _keep_time
        case Way.DRAFT:
            return to_cancel


def _keep_time(row: Deviation) -> Sequence[Event]:
    if row.publish_at is None:
        message = _("This work has no time of its own.")
        raise TimeRefused(message, details={"scheduled_at": [message]})
    zone = row.scheduled_zone or "UTC"
    # The delay that was drawn is in it already.
    return to_schedule(Wish(row.scheduled_local or wall_time_of(row.publish_at, zone), zone, row.publish_at))(row)


def _doubtful(row: Deviation) -> list[UUID]:
    """The publications of the work of which nobody knows whether they are live."""
    return list(Publication.objects.unconfirmed().filter(deviation=row).values_list("pk", flat=True))


def _ensure_no_call_under_way(row: Deviation) -> None:
    """Nobody can see yet what a call makes that hangs somewhere; after so long it certainly is over."""
    calls = Attempt.objects.publishing().unsettled().filter(publication__deviation=row)
    last = calls.exclude(publication__state=Publication.State.PUBLISHED).order_by("-started_at").first()
    if last is None:
        return
    over_at = last.started_at + timedelta(seconds=settling.repeat_after_seconds())
    left = (over_at - clock.database_now()).total_seconds()
    if left > 0:
        raise CallUnderWay(math.ceil(left))


def _settle(row: Deviation, doubtful: Sequence[UUID]) -> int:
    """Take a person's word for it that no call made these live; returns for how many calls that is the answer.

    An item of which a publish call is in doubt is never used again; one that only lies there stays in hand.
    """
    StashItem.objects.filter(publication__in=doubtful, state=StashItem.State.IN_HAND).update(
        state=StashItem.State.ABANDONED
    )
    Publication.objects.filter(pk__in=doubtful).update(state=Publication.State.PENDING, failures=0, crashes=0)
    calls = Attempt.objects.filter(publication__deviation=row, settled_at__isnull=True)
    calls = calls.filter(step__in=[Attempt.Step.SUBMIT, Attempt.Step.PUBLISH])
    # Outcomes that are null are not equal to anything, so they are named.
    without_success = calls.filter(models.Q(outcome__isnull=True) | ~models.Q(outcome=Attempt.Outcome.DONE))
    return without_success.exclude(publication__state=Publication.State.PUBLISHED).update(
        settled_at=clock.database_now()
    )
