"""What a publisher still holds when its time to end has come: put back, with what is known of it.

An upload that did not fit into the drain is broken off as one whose end nobody knows; a publish call had its time, as
the drain is longer than such a call may take.
"""

from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts.services.audit import record
from deviations.models import Deviation
from isekai import clock
from publisher.models import Attempt, Publication
from publisher.services.claiming import let_go, save_claim
from publisher.services.heartbeat import this_worker

logger = structlog.get_logger(__name__)


def break_off() -> int:
    """Put back whatever this process still holds, its open calls closed as unknown; returns how many works.

    The threads that are in those calls lose their leases by this; what they still learn they may write down.
    """
    held = Deviation.objects.claimed().filter(worker_id=this_worker()).order_by("pk")
    return sum(_break_off(deviation_id) for deviation_id in held.values_list("pk", flat=True))


def _break_off(deviation_id: UUID) -> bool:
    with transaction.atomic(durable=True):
        ours = Deviation.objects.claimed().filter(pk=deviation_id, worker_id=this_worker())
        deviation = ours.select_for_update().first()
        if deviation is None:
            return False  # its thread was done in this moment
        lease_id = deviation.lease_id or UUID(int=0)
        steps = _close(_open_calls(lease_id, stash_only=bool(deviation.stash_only)))
        # A process that dies with this work later is counted for the step at which it was itself.
        Publication.objects.filter(deviation=deviation, state=Publication.State.SUBMITTING).update(
            state=Publication.State.PENDING
        )
        wait = settings.PUBLISHER_LOOK_SECONDS[0] if Attempt.Step.PUBLISH in steps else 0
        let_go(deviation, next_attempt_at=clock.database_now() + timedelta(seconds=wait), reason="service_stopped")
        save_claim(deviation)
        record("deviation.broken_off", deviation, lease_id=str(lease_id))
    logger.warning("work_broken_off", deviation_id=str(deviation_id), lease_id=str(lease_id), steps=sorted(steps))
    return True


def let_uploads_go() -> int:
    """Give back the uploads ahead of their time that this process is in, their calls closed as unknown."""
    staging = Publication.objects.filter(stage_worker_id=this_worker(), stage_lease_id__isnull=False)
    return sum(_let_upload_go(publication_id) for publication_id in staging.values_list("pk", flat=True))


def _let_upload_go(publication_id: UUID) -> bool:
    with transaction.atomic(durable=True):
        ours = Publication.objects.filter(pk=publication_id, stage_worker_id=this_worker())
        publication = ours.select_for_update().first()
        if publication is None:
            return False
        _close(_open_calls(publication.stage_lease_id or UUID(int=0)))
        if publication.state == Publication.State.SUBMITTING:
            publication.state = Publication.State.PENDING
        publication.stage_lease_id = publication.stage_worker_id = None
        publication.save(update_fields=["state", "stage_lease_id", "stage_worker_id"])
    return True


def _open_calls(lease_id: UUID, *, stash_only: bool = False) -> QuerySet[Attempt]:
    """The calls under this lease that nobody has closed.

    The upload of a work that is meant for the stash alone stays open: whoever takes the work up next has to look where
    it went, and must not send a second one.
    """
    calls = Attempt.objects.filter(lease_id=lease_id, ended_at__isnull=True)
    return calls.exclude(step=Attempt.Step.SUBMIT) if stash_only else calls


def _close(calls: QuerySet[Attempt]) -> set[str]:
    """Close them as unknown; returns at which steps they were."""
    steps = set(calls.values_list("step", flat=True))
    calls.update(ended_at=clock.DatabaseNow(), outcome=Attempt.Outcome.UNKNOWN, remote_ids={"why": "service_stopped"})
    return steps
