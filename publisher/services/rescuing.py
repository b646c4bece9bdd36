"""Works whose worker is gone: put back in front of their next step, with everything that is known of them."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, models, transaction
from django.db.models import Exists, F, OuterRef, Q

from accounts.services.audit import record
from deviations.models import Deviation
from isekai import clock, faults, queue
from publisher import metrics
from publisher.models import Attempt, Publication, Worker
from publisher.models.publications import PublicationQuerySet
from publisher.services import staging
from publisher.services.claiming import conclude, let_go, save_claim

logger = structlog.get_logger(__name__)

# See `_is_poison`.
CRASHES_BEFORE_ASKING = 6


def rescue_stuck() -> int:
    """Put back every claimed work whose worker's row has run out, and give back the lanes that such a worker held.

    Returns how many. Harmless when run twice.
    """
    rescued = staging.rescue_staged()
    for deviation_id in _abandoned().order_by("pk").values_list("pk", flat=True):
        try:
            rescued += _rescue(deviation_id)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # Whatever is wrong with this one, all the others must not wait for it.
            logger.exception("rescue_broke_off", deviation_id=str(deviation_id))
    return rescued


def _abandoned() -> models.QuerySet[Deviation]:
    alive = Worker.objects.alive().filter(pk=OuterRef("worker_id"))
    return Deviation.objects.claimed().filter(~Exists(alive))


def _rescue(deviation_id: UUID) -> bool:
    faults.reach("before_rescue")
    with transaction.atomic(durable=True):
        deviation = _abandoned().select_for_update(skip_locked=True, of=("self",)).filter(pk=deviation_id).first()
        if deviation is None:
            return False
        parts = Publication.objects.filter(deviation=deviation)
        at_work = Q(state__in=[Publication.State.SUBMITTING, Publication.State.PUBLISHING])
        parts.filter(at_work | Q(is_alone=True)).update(crashes=F("crashes") + 1)
        lease_id = deviation.lease_id
        record("deviation.rescued", deviation, lease_id=str(lease_id))
        if _is_poison(parts):
            _set_aside(deviation)
        else:
            let_go(deviation, next_attempt_at=_next_attempt_at(deviation), reason="rescued")
        save_claim(deviation)
    metrics.RESCUES.inc()
    faults.reach("rescued")
    logger.warning("deviation_rescued", deviation_id=str(deviation.pk), lease_id=str(lease_id))
    if deviation.account_id is not None:
        # Whatever became of this one, the account's next may go.
        queue.send("publisher.publish_next", deviation.account_id)
    return True


def _is_poison(parts: PublicationQuerySet) -> bool:
    """Whether the process died of this work: nothing else ran in it.

    While a publish call is in doubt no file is read, so the work is a less likely cause, and setting it aside asks
    somebody a question: it takes more deaths.
    """
    alone = parts.filter(is_alone=True)
    if parts.unconfirmed().exists():
        alone = alone.filter(crashes__gte=CRASHES_BEFORE_ASKING)
    return alone.exists()


def _set_aside(deviation: Deviation) -> None:
    """Its process died though nothing else ran there: it will not be tried again by itself. In memory, as `let_go`."""
    parts = Publication.objects.filter(deviation=deviation)
    if parts.unconfirmed().exists():
        deviation.unconfirmed_since = deviation.unconfirmed_since or clock.database_now()
        reason = "partial" if parts.live().exists() else "unconfirmed"
        conclude(deviation, Deviation.Status.NEEDS_DECISION, reason=reason, params={"cause": "crashed"})
    else:
        partly_live = parts.live().exists()
        # If somebody wants it tried again, it starts anew.
        parts.filter(is_alone=True).exclude(state=Publication.State.PUBLISHED).update(state=Publication.State.REFUSED)
        conclude(
            deviation,
            Deviation.Status.FAILED,
            reason="partial" if partly_live else "crashed",
            params={"cause": "crashed"} if partly_live else {},
        )
    parts.update(is_alone=False)
    logger.error("work_set_aside", deviation_id=str(deviation.pk), reason=deviation.reason_code)


def _next_attempt_at(deviation: Deviation) -> datetime:
    """At once, and at the place in the queue that its own time gave it: what fell due meanwhile does not come before.

    But a call of which nobody knows the end is looked for no earlier than the first look.
    """
    now = clock.database_now()
    at_once = min(now, deviation.publish_at or now)
    unsettled = (
        Attempt.objects.publishing()
        .unsettled()
        .filter(publication__deviation=deviation)
        .exclude(publication__state=Publication.State.PUBLISHED)
        .order_by("-id")
        .first()
    )
    first_look = unsettled and unsettled.started_at + timedelta(seconds=settings.PUBLISHER_LOOK_SECONDS[0])
    return first_look if first_look and first_look > now else at_once


def forget_dead_workers() -> int:
    """Delete the rows of workers that have been gone for a day and hold nothing; returns how many."""
    held = Deviation.objects.claimed().filter(worker_id=OuterRef("pk"))
    long_gone = Worker.objects.filter(~Exists(held), alive_until__lt=clock.DatabaseNow() - timedelta(days=1))
    return long_gone.delete()[0]
