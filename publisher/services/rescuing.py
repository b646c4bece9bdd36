"""Works whose worker is gone: put back in front of their next step, with everything that is known of them."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef

from accounts.services.audit import record
from deviations.models import Deviation
from isekai import clock, faults, queue
from publisher import metrics
from publisher.models import Attempt, Publication, Worker
from publisher.services import staging
from publisher.services.claiming import let_go, save_claim

logger = structlog.get_logger(__name__)


def rescue_stuck() -> int:
    """Put back every claimed work whose worker's row has run out, and give back the lanes that such a worker held.

    Returns how many. Harmless when run twice.
    """
    rescued = staging.rescue_staged()
    for deviation_id in _abandoned().order_by("pk").values_list("pk", flat=True):
        rescued += _rescue(deviation_id)
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
        at_work = Publication.objects.filter(
            deviation=deviation, state__in=[Publication.State.SUBMITTING, Publication.State.PUBLISHING]
        )
        at_work.update(crashes=F("crashes") + 1)
        lease_id = deviation.lease_id
        let_go(deviation, next_attempt_at=_next_attempt_at(deviation), reason="rescued")
        save_claim(deviation)
        record("deviation.rescued", deviation, lease_id=str(lease_id))
    metrics.RESCUES.inc()
    faults.reach("rescued")
    logger.warning("deviation_rescued", deviation_id=str(deviation.pk), lease_id=str(lease_id))
    if deviation.account_id is not None:
        queue.send("publisher.publish_next", deviation.account_id)
    return True


def _next_attempt_at(deviation: Deviation) -> datetime:
    """At once; but a call of which nobody knows the end is looked for no earlier than the first look."""
    now = clock.database_now()
    unsettled = (
        Attempt.objects.publishing()
        .unsettled()
        .filter(publication__deviation=deviation)
        .exclude(publication__state=Publication.State.PUBLISHED)
        .order_by("-id")
        .first()
    )
    if unsettled is None:
        return now
    return max(now, unsettled.started_at + timedelta(seconds=settings.PUBLISHER_LOOK_SECONDS[0]))


def forget_dead_workers() -> int:
    """Delete the rows of workers that have been gone for a day and hold nothing; returns how many."""
    held = Deviation.objects.claimed().filter(worker_id=OuterRef("pk"))
    long_gone = Worker.objects.filter(~Exists(held), alive_until__lt=clock.DatabaseNow() - timedelta(days=1))
    return long_gone.delete()[0]
