"""Publishing: one account's earliest due work is claimed, brought out part by part, and finished.

No transaction is open while DeviantArt is called, and any process may be killed between any two lines: what is written
down before and after each call says to whoever comes next what may be done.
"""

from datetime import timedelta
from uuid import UUID

import structlog

from accounts.errors import LoginLost, TokenUnavailable
from accounts.services.holding import defer_account
from deviations.models import Deviation, DeviationFile
from isekai import clock, faults, queue
from publisher.errors import ClaimLost
from publisher.models import Publication
from publisher.services import settling, steps
from publisher.services.claiming import Claim, claim_next, end, held, let_go, put_back
from publisher.services.failing import scaled
from publisher.services.heartbeat import this_worker
from publisher.services.job import Job
from publisher.services.turns import NotYet
from publisher.services.writing import until_written

logger = structlog.get_logger(__name__)

TOKEN_UNAVAILABLE_SECONDS = 5.0
# After a fault of our own, by how often it happened to this work: then it is given up, unless it may be live.
FAULT_SECONDS = (5.0, 15.0, 30.0)


def publish_next(account_id: UUID) -> None:
    """Bring out the account's earliest due work, if there is one and nobody else has it, and wake the next one."""
    faults.reach("before_claim")
    claim = claim_next(account_id, this_worker())
    if claim is None:
        return
    faults.reach("after_claim")
    with structlog.contextvars.bound_contextvars(deviation_id=str(claim.deviation_id)):
        try:
            _carry_on_while_the_login_lasts(claim)
        except ClaimLost:
            logger.warning("claim_lost", lease_id=str(claim.lease_id))
        except Exception:
            # Whatever it was, this process goes on, so its lease would hold the work for ever.
            logger.exception("publishing_broke_off")
            until_written(lambda: _let_go_after_a_fault(claim))
    queue.send("publisher.publish_next", account_id)


def _carry_on_while_the_login_lasts(claim: Claim) -> None:
    try:
        carry_on(Job.of(claim))
    except LoginLost:
        put_back(claim, reason="login_lost")
    except NotYet as wait:
        # The account waits, not the work: nothing is counted, and its works keep their order.
        until = clock.database_now() + timedelta(seconds=wait.seconds)
        defer_account(claim.account_id, until=until, reason=wait.reason)
        put_back(claim, reason=wait.reason)
    except TokenUnavailable:
        put_back(claim, in_seconds=scaled(TOKEN_UNAVAILABLE_SECONDS), reason="token_unavailable")


def carry_on(job: Job) -> None:
    """Do whatever is left to do for the claimed work, from wherever it was left."""
    parts = prepare_publications(job)
    waiting = [part for part in parts if not part.is_live]
    if waiting:
        part, *rest = waiting
        if not (settling.settle(job, part) if settling.is_in_doubt(job, part) else steps.bring_out(job, part)):
            return
        if rest:
            # Here an earlier due work of the account may go first, and a stopping process may stop.
            faults.reach("between_files")
            put_back(job.claim)
            return
    end(job.claim, Deviation.Status.PUBLISHED)
    faults.reach("finished")
    logger.info("deviation_published", deviation_id=str(job.deviation.pk))


def prepare_publications(job: Job) -> list[Publication]:
    """The publications of the claimed work in the order in which they go out: one, or in multiple mode one per file.

    Whatever was refused before starts anew: only a person brings a failed work back here.
    """
    with held(job.claim) as deviation:
        files = list(DeviationFile.objects.filter(deviation=deviation).order_by("position"))
        if deviation.upload_mode == Deviation.UploadMode.SINGLE and len(files) != 1:
            raise ValueError(f"A work in single mode has one file, this one has {len(files)}.")
        parts = []
        for position, file in enumerate(files):
            part, _made = Publication.objects.get_or_create(
                deviation=deviation, file=file, defaults={"account_id": job.claim.account_id, "position": position}
            )
            if not part.is_live and not part.attempts.publishing().unsettled().exists():
                part.account_id = job.claim.account_id
                part.position = position
                if part.state == Publication.State.REFUSED:
                    part.state, part.failures, part.crashes = Publication.State.PENDING, 0, 0
                part.save(update_fields=["account", "position", "state", "failures", "crashes"])
            parts.append(part)
    return parts


def _let_go_after_a_fault(claim: Claim) -> None:
    try:
        with held(claim) as deviation:
            parts = Publication.objects.filter(deviation=deviation)
            faults_before = deviation.reason_params.get("faults", 0) if deviation.reason_code == "our_fault" else 0
            may_be_live = parts.unconfirmed().exists() or parts.live().exists()
            if may_be_live or faults_before < len(FAULT_SECONDS):
                wait = scaled(FAULT_SECONDS[min(faults_before, len(FAULT_SECONDS) - 1)])
                let_go(
                    deviation,
                    next_attempt_at=clock.database_now() + timedelta(seconds=wait),
                    reason="our_fault",
                    params={"faults": faults_before + 1},
                )
                return
        end(claim, Deviation.Status.FAILED, reason="our_fault")
    except ClaimLost:
        logger.warning("claim_lost", lease_id=str(claim.lease_id))
