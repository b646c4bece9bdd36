"""When a work appears: schedule, move, cancel, publish now, try again; for one work, or for many with a result each."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import DeviantArtAccount, User
from deviations.errors import FieldsRefused, InvalidTransition, TimeRefused
from deviations.models import Deviation
from deviations.models.deviations import DeviationQuerySet
from deviations.services.changing import BulkResult, Change, Event, change, change_many, ensure_free
from deviations.services.drafting import apply_words, remake_publish_variants
from deviations.services.readiness import account_for, ensure_publishable
from deviations.services.wall_time import instant_of, wall_time_of, zone_named
from isekai import clock

JITTER_MAX_SECONDS = 3600
FURTHEST = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Wish:
    """When somebody wants a work to appear: the time on their wall, and the instant that follows from it."""

    local: datetime
    zone: str
    at: datetime


def wish_for(
    *,
    user: User | None,
    scheduled_at: datetime | None = None,
    local: datetime | None = None,
    zone: str = "",
    fold: int | None = None,
) -> Wish:
    """Read a wish: an aware ``scheduled_at``, or ``local`` (naive) with ``zone`` and, where it comes twice, ``fold``.

    Without a zone it is that of ``user``, or UTC. Raises FieldsRefused for neither or both, and TimeRefused.
    """
    zone = zone or (user.time_zone if user is not None else "UTC")
    zone_named(zone)
    if (scheduled_at is None) == (local is None):
        raise FieldsRefused({"scheduled_at": [_("Say when: either scheduled_at, or local with its zone.")]})
    if local is not None:
        return Wish(local.replace(fold=0), zone, instant_of(local, zone, fold=fold))
    assert scheduled_at is not None  # noqa: S101 - one of the two, by the line above
    return Wish(wall_time_of(scheduled_at, zone), zone, scheduled_at)


def schedule_deviation(
    deviation: Deviation,
    *,
    user: User | None,
    scheduled_at: datetime | None = None,
    local: datetime | None = None,
    zone: str = "",
    fold: int | None = None,
    jitter_max_seconds: int = 0,
    version: int | None = None,
) -> Deviation:
    """Queue a draft or a failed work for a time (see `wish_for`), or give a scheduled one another time.

    A delay of up to ``jitter_max_seconds`` (at most an hour) is drawn now and kept with the work. Raises TimeRefused
    for the past and for more than a year ahead, NotPublishable with every reason that DeviantArt would have,
    AlreadyOnItsWay, BeingConfirmed, InTheTrash, DecisionNeeded, InvalidTransition, VersionConflict.
    """
    wish = wish_for(user=user, scheduled_at=scheduled_at, local=local, zone=zone, fold=fold)
    return change(deviation, _schedule(wish, jitter_max_seconds), user=user, version=version)


def schedule_many(
    works: DeviationQuerySet,
    *,
    user: User | None,
    ids: Sequence[UUID],
    scheduled_at: datetime | None = None,
    local: datetime | None = None,
    zone: str = "",
    fold: int | None = None,
    jitter_max_seconds: int = 0,
) -> BulkResult:
    """Like `schedule_deviation` for each of ``works`` that ``ids`` names; the delay is drawn for each by itself."""
    wish = wish_for(user=user, scheduled_at=scheduled_at, local=local, zone=zone, fold=fold)
    return change_many(works, _schedule(wish, jitter_max_seconds), user=user, ids=ids)


@dataclass(frozen=True, slots=True)
class Appointment:
    """When a work goes out, with a delay that was drawn before, and what else is written into it with that."""

    wish: Wish
    jitter_seconds: int = 0
    # In place of its own; None leaves that.
    account: DeviantArtAccount | None = None
    words: Mapping[str, Any] = field(default_factory=dict)  # those of `drafting.WORDS`
    # What its audit event tells besides: by what it was scheduled.
    params: Mapping[str, Any] = field(default_factory=dict)


def schedule_each(
    works: DeviationQuerySet,
    appointments: Mapping[UUID, Appointment],
    *,
    user: User | None,
    bulk_id: UUID | None = None,
) -> BulkResult:
    """Queue each of ``works`` that ``appointments`` names for its own time, in one transaction, with a result for each.

    One whose moment has passed meanwhile is due at once. A work that refuses, as `schedule_deviation` and
    `drafting.edit_deviation` do, keeps none of the others back, and nothing is written into it. Raises FieldsRefused
    for more than 500.
    """
    now = clock.database_now()
    by_metadata: list[Deviation] = []

    def how(row: Deviation) -> list[Event]:
        ensure_free(row)
        appointment = appointments[row.pk]
        fields = fill_in(row, appointment)
        wish, jitter_seconds = appointment.wish, appointment.jitter_seconds
        if wish.at + timedelta(seconds=jitter_seconds) <= now:
            wish, jitter_seconds = Wish(wall_time_of(now, wish.zone), wish.zone, now), 0
        else:
            _ensure_near(wish.at, now)
        event = _put_into_queue(row, wish, jitter_seconds)
        if "keep_metadata" in fields:
            by_metadata.append(row)
        edited = [Event("deviation.edited", {"fields": fields, **appointment.params})] if fields else []
        return [*edited, Event(event.verb, {**event.params, **appointment.params})]

    with transaction.atomic():
        result = change_many(works, how, user=user, ids=list(appointments), bulk_id=bulk_id)
        remake_publish_variants(by_metadata)
    return result


def fill_in(row: Deviation, appointment: Appointment) -> list[str]:
    """Write the appointment's account and words into the work, in memory; returns the fields that are different now.

    Raises FieldsRefused.
    """
    fields = apply_words(row, dict(appointment.words))
    if appointment.account is not None and appointment.account.pk != row.account_id:
        row.account = appointment.account
        fields.append("account_id")
    return fields


def cancel_schedule(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Make a scheduled, late or failed work a draft again; a draft stays one.

    Its former time stays in ``previous_publish_at``, so that `schedule_as_before` can undo this. Raises as
    `schedule_deviation` does.
    """
    return change(deviation, _cancel, user=user, version=version)


def cancel_many(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(works, _cancel, user=user, ids=ids)


def schedule_as_before(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Undo a cancel or a move: queue the work for the moment that it had before, without drawing a delay again.

    Raises TimeRefused when it had none, or when that has passed meanwhile, and as `schedule_deviation` does.
    """
    return change(deviation, _schedule_as_before(user), user=user, version=version)


def schedule_many_as_before(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(works, _schedule_as_before(user), user=user, ids=ids)


def publish_now(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Make a draft, scheduled, late or failed work due at this moment; one that already is due is left as it is.

    Raises as `schedule_deviation` does.
    """
    return change(deviation, _publish_now(user), user=user, version=version)


def publish_many_now(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(works, _publish_now(user), user=user, ids=ids)


def retry_deviation(deviation: Deviation, *, user: User | None, version: int | None = None) -> Deviation:
    """Queue a failed work again, due at this moment.

    Raises InvalidTransition for any other work, and as `schedule_deviation` does.
    """
    return change(deviation, _retry(user), user=user, version=version)


def retry_many(works: DeviationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(works, _retry(user), user=user, ids=ids)


def to_schedule(wish: Wish, jitter_max_seconds: int = 0) -> Change:
    """What `schedule_deviation` does, as a part of another change to a locked work."""
    return _schedule(wish, jitter_max_seconds)


def to_publish_now(user: User | None) -> Change:
    """What `publish_now` does, as a part of another change to a locked work."""
    return _publish_now(user)


def to_cancel(row: Deviation) -> list[Event]:
    """What `cancel_schedule` does, as a part of another change to a locked work."""
    return _cancel(row)


def take_from_queue(row: Deviation) -> Event:
    """Make a locked work a draft, in memory, and keep its former time."""
    was = row.publish_at
    row.move_to(Deviation.Status.DRAFT)
    row.previous_publish_at = was
    row.scheduled_local = row.scheduled_at = row.publish_at = row.next_attempt_at = None
    row.scheduled_zone, row.jitter_seconds = "", 0
    return Event("deviation.cancelled", {"publish_at": was.isoformat() if was else None})


def _schedule(wish: Wish, jitter_max_seconds: int) -> Change:
    if not 0 <= jitter_max_seconds <= JITTER_MAX_SECONDS:
        message = _("The delay is between 0 and %(most)s seconds.") % {"most": JITTER_MAX_SECONDS}
        raise FieldsRefused({"jitter_seconds": [message]})
    _ensure_in_time(wish.at, clock.database_now())

    def how(row: Deviation) -> list[Event]:
        ensure_free(row)
        return [_put_into_queue(row, wish, secrets.randbelow(jitter_max_seconds + 1))]

    return how


def _schedule_as_before(user: User | None) -> Change:
    now = clock.database_now()

    def how(row: Deviation) -> list[Event]:
        ensure_free(row)
        if row.previous_publish_at is None:
            message = _("This work had no time before.")
            raise TimeRefused(message, details={"scheduled_at": [message]})
        _ensure_in_time(row.previous_publish_at, now)
        return [_put_into_queue(row, wish_for(user=user, scheduled_at=row.previous_publish_at), 0)]

    return how


def _publish_now(user: User | None) -> Change:
    # By the clock that judges what is due.
    now = clock.database_now()

    def how(row: Deviation) -> list[Event]:
        ensure_free(row)
        return [] if _is_due(row, now) else [_make_due(row, user, now, "deviation.publish_now")]

    return how


def _retry(user: User | None) -> Change:
    now = clock.database_now()

    def how(row: Deviation) -> list[Event]:
        ensure_free(row)
        if row.status != Deviation.Status.FAILED:
            raise InvalidTransition(_("Only a failed work can be tried again."))
        return [_make_due(row, user, now, "deviation.retried")]

    return how


def _cancel(row: Deviation) -> list[Event]:
    ensure_free(row)
    if row.status == Deviation.Status.DRAFT:
        return []
    if row.status == Deviation.Status.REVIEW:
        # The table allows this step, but it is called approving.
        raise InvalidTransition(_("This work is still in review, so there is nothing to cancel."))
    return [take_from_queue(row)]


def _is_due(row: Deviation, now: datetime) -> bool:
    """Whether a publisher may take it up: due, and not so late that a person is asked first."""
    if row.status != Deviation.Status.SCHEDULED or row.account is None or row.publish_at is None:
        return False
    too_late = row.publish_at <= now - timedelta(seconds=row.account.late_limit_seconds)
    return row.due_at is not None and row.due_at <= now and not too_late


def _make_due(row: Deviation, user: User | None, now: datetime, verb: str) -> Event:
    event = _put_into_queue(row, wish_for(user=user, scheduled_at=now), 0)
    return Event(verb, event.params)


def _put_into_queue(row: Deviation, wish: Wish, jitter_seconds: int) -> Event:
    row.account = account_for(row)
    ensure_publishable(row)
    moved = row.status == Deviation.Status.SCHEDULED
    if moved:
        row.reason_code, row.reason_params = "", {}
    else:
        row.move_to(Deviation.Status.SCHEDULED)
    was, row.publish_at = row.publish_at, wish.at + timedelta(seconds=jitter_seconds)
    row.previous_publish_at = was if moved else None
    row.scheduled_local, row.scheduled_zone, row.scheduled_at = wish.local, wish.zone, wish.at
    row.jitter_seconds, row.next_attempt_at = jitter_seconds, None
    params: dict[str, Any] = {
        "scheduled_at": wish.at.isoformat(),
        "zone": wish.zone,
        "jitter_seconds": jitter_seconds,
        "publish_at": row.publish_at.isoformat(),
    }
    if moved and was is not None:
        return Event("deviation.rescheduled", {**params, "previous_publish_at": was.isoformat()})
    return Event("deviation.scheduled", params)


def _ensure_in_time(moment: datetime, now: datetime) -> None:
    if moment <= now:
        message = _("That time has passed. Choose a later one, or publish now.")
        raise TimeRefused(message, code="time_in_the_past", details={"scheduled_at": [message]})
    _ensure_near(moment, now)


def _ensure_near(moment: datetime, now: datetime) -> None:
    if moment > now + FURTHEST:
        message = _("That is more than a year ahead.")
        raise TimeRefused(message, code="time_too_far_ahead", details={"scheduled_at": [message]})
