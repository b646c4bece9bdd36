"""Publishing: one account's earliest due work is claimed, brought out part by part, and finished.

No transaction is open while DeviantArt is called, and any process may be killed between any two lines: what is written
down before and after each call says to whoever comes next what may be done.
"""

import time
from datetime import timedelta
from functools import cache
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import Exists, FilteredRelation, OuterRef, Q, QuerySet

from accounts.errors import LoginLost, TokenUnavailable
from accounts.services.holding import defer_account
from deviations.models import Deviation, DeviationFile
from isekai import clock, faults, queue
from isekai.compiled import Compiled
from publisher.errors import ClaimLost
from publisher.models import Attempt, Publication
from publisher.services import draining, settling, steps
from publisher.services.agenda import Agenda, work_off
from publisher.services.claiming import Claim, claim_next, end, finish, held, leave_be, let_go, put_back
from publisher.services.dispatching import due_accounts
from publisher.services.failing import scaled
from publisher.services.heartbeat import is_registered, this_worker
from publisher.services.job import Job
from publisher.services.slots import CRASHES_BEFORE_ALONE, LOOK_UP, PLACE, UPLOAD, Place, slots
from publisher.services.turns import NotYet
from publisher.services.writing import until_written

logger = structlog.get_logger(__name__)

TOKEN_UNAVAILABLE_SECONDS = 5.0
# After the database was away in the middle of a work.
OUTAGE_SECONDS = 1.0
# After a fault of our own, by how often it happened to this work: then it is given up, unless it may be live.
FAULT_SECONDS = (5.0, 15.0, 30.0)
# When the others took too long for a work that must run alone.
ALONE_AGAIN_SECONDS = 5.0
# So long a slot that was woken works on; then others of the queue get their turn.
GO_ON_SECONDS = 5.0


def publish_next(account_id: UUID, *, keep_going: bool = False) -> None:
    """Bring out the account's earliest due work, if there is one and nobody else has it.

    ``keep_going``: then whatever else is due, for some seconds, since a slot that has become free must not wait for the
    next tick. What is due after that is woken.
    """
    if keep_going:
        give_up_at = time.monotonic() + scaled(GO_ON_SECONDS)
        following = work_off(agenda(), account_id, do=_bring_out_next, go_on=lambda: _may_go_on(give_up_at))
    else:
        following = account_id if _bring_out_next(account_id) else None
    if following is not None:
        queue.send("publisher.publish_next", following)


def _may_go_on(give_up_at: float) -> bool:
    return time.monotonic() < give_up_at and not draining.stopping()


@cache
def agenda() -> Agenda:
    """What is due, for all slots of this process."""
    return Agenda(_read_agenda)


def _read_agenda() -> list[UUID]:
    shares = slots()
    return due_accounts(2 * shares.total, may_upload=shares.may_upload, may_look=shares.may_look)


def _bring_out_next(account_id: UUID) -> bool:
    """Whether there was something to bring out."""
    if draining.stopping() or not is_registered():
        return False
    with slots().place() as place:
        if place is None:
            slots().turn_away(account_id, PLACE)
            return False
        claim = _claim(account_id, place)
        if claim is None:
            return False
        agenda().found()
        with structlog.contextvars.bound_contextvars(deviation_id=str(claim.deviation_id)):
            _bring_out(claim, place)
    return True


def _claim(account_id: UUID, place: Place) -> Claim | None:
    """The account's next work, together with the share of the slots that it may need."""
    may_upload, may_look = place.take_upload(), slots().may_look
    faults.reach("before_claim")
    claim = claim_next(account_id, this_worker(), may_upload=may_upload, may_look=may_look)
    if claim is None:
        place.let_upload_go()
        lacking = [share for share, may in ((UPLOAD, may_upload), (LOOK_UP, may_look)) if not may]
        if lacking:
            slots().turn_away(account_id, *lacking)
        return None
    faults.reach("after_claim")
    return claim


def _bring_out(claim: Claim, place: Place) -> None:
    try:
        _carry_on_while_the_login_lasts(claim, place)
    except ClaimLost:
        logger.warning("claim_lost", lease_id=str(claim.lease_id))
    except (OperationalError, InterfaceError) as error:
        # The database was away: no fault of ours, and none of the work. What was written down by then says all.
        logger.warning("database_lost", error=type(error).__name__)
        until_written(lambda: _let_go_after_an_outage(claim))
    except Exception:
        # Whatever it was, this process goes on, so its lease would hold the work for ever.
        logger.exception("publishing_broke_off")
        until_written(lambda: _let_go_after_a_fault(claim))


def _carry_on_while_the_login_lasts(claim: Claim, place: Place) -> None:
    try:
        carry_on(Job.of(claim, place=place))
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
    if any(part.stage_lease_id is not None for part in parts):
        # Its upload ahead of time had just begun, which the claim could not see yet. Its end wakes the account.
        leave_be(job.claim)
        return
    waiting = [part for part in parts if not part.is_live]
    if waiting:
        part, *rest = waiting
        if not _bring_out_part(job, part):
            return
        if rest:
            # Here an earlier due work of the account may go first, and a stopping process may stop.
            faults.reach("between_files")
            put_back(job.claim)
            return
    live_since = [part.published_at for part in parts if part.published_at is not None]
    if len(live_since) == len(parts):
        finish(job.claim, published_at=min(live_since))
    else:
        end(job.claim, Deviation.Status.PUBLISHED)
    faults.reach("finished")
    logger.info("deviation_published", deviation_id=str(job.deviation.pk))


def _bring_out_part(job: Job, part: Publication) -> bool:
    """Whether the part is live now; otherwise the work has been let go."""
    if part.crashes >= CRASHES_BEFORE_ALONE and not _is_alone(job, part):
        return False
    if not (_was_tried(part, job) and settling.is_in_doubt(job, part)):
        return steps.bring_out(job, part)
    job.let_upload_share_go()
    if job.place is None:
        return settling.settle(job, part)
    if not job.place.take_look_up():
        leave_be(job.claim)
        job.place.turn_away(job.account.pk, LOOK_UP)
        return False
    try:
        return settling.settle(job, part)
    finally:
        job.place.let_look_up_go()


def _is_alone(job: Job, part: Publication) -> bool:
    """Wait until nothing else runs in this process and say so in the row; False when the work had to be let go.

    If the process dies once more it was certainly this work's doing, and the others are not to suffer from it again.
    """
    if job.place is not None and not job.place.be_alone():
        work = job.deviation
        put_back(job.claim, in_seconds=scaled(ALONE_AGAIN_SECONDS), reason=work.reason_code, params=work.reason_params)
        return False
    with held(job.claim):
        part.is_alone = True
        part.save(update_fields=["is_alone"])
    faults.reach("alone")
    return True


def _was_tried(part: Publication, job: Job) -> bool:
    """Whether there can be anything to settle, as it was read with the part."""
    return bool(job.deviation.stash_only) or bool(getattr(part, "was_tried", True))


def prepare_publications(job: Job) -> list[Publication]:
    """The publications of the claimed work in the order in which they go out: one, or in multiple mode one per file.

    Whatever was refused before starts anew: only a person brings a failed work back here. Each knows its file with the
    copy for DeviantArt, its item in hand, and whether it was tried.
    """
    files = files_of(job.deviation)
    known = {part.file_id: part for part in publications_of(job.deviation)}
    parts = []
    for position, file in enumerate(files):
        part = known.get(file.pk) or _new_part(job, file, position=position)
        part.file = file
        if part.pk is not None and not _is_ready(part, job, position):
            _make_ready(job, part, position=position)
        parts.append(part)
    return parts


def files_of(deviation: Deviation) -> list[DeviationFile]:
    """The files that go out, each with its ``publish_copy``; raises ValueError when the mode allows no such number."""
    read = _files(deviation.pk)
    if deviation.upload_mode == Deviation.UploadMode.SINGLE and len(read) != 1:
        raise ValueError(f"A work in single mode has one file, this one has {len(read)}.")
    return read


def publications_of(deviation: Deviation) -> list[Publication]:
    """What there is of them, each with its ``item_in_hand`` and ``was_tried``."""
    return _publications(deviation.pk)


def _query_files(deviation_id: UUID) -> QuerySet[DeviationFile]:
    copy = FilteredRelation("variants", condition=Q(variants__kind="publish"))
    files = DeviationFile.objects.filter(deviation=deviation_id).annotate(publish_copy=copy)
    # A FilteredRelation can be selected too, which the types do not know.
    return files.select_related("publish_copy").order_by("position")  # type: ignore[misc]


def _query_publications(deviation_id: UUID) -> QuerySet[Publication]:
    item = FilteredRelation("stash_items", condition=Q(stash_items__state="in_hand"))
    publish_calls = Attempt.objects.publishing().filter(publication=OuterRef("pk"))
    parts = Publication.objects.filter(deviation=deviation_id).annotate(
        item_in_hand=item, was_tried=Exists(publish_calls)
    )
    return parts.select_related("item_in_hand")  # type: ignore[misc]  # as above


_files, _publications = Compiled(_query_files), Compiled(_query_publications)


def _new_part(job: Job, file: DeviationFile, *, position: int) -> Publication:
    part = Publication(deviation=job.deviation, file=file, account_id=job.claim.account_id, position=position)
    # Nothing is decided by it, so no lease is needed: whoever has the work next finds it and goes on.
    part.save(force_insert=True)
    part.item_in_hand, part.was_tried = None, False  # type: ignore[attr-defined]  # as those that are read
    return part


def _is_ready(part: Publication, job: Job, position: int) -> bool:
    as_wanted = part.account_id == job.claim.account_id and part.position == position
    return part.is_live or (as_wanted and part.state != Publication.State.REFUSED)


def _make_ready(job: Job, part: Publication, *, position: int) -> None:
    if _was_tried(part, job) and part.attempts.publishing().unsettled().exists():
        return  # whatever it was, it stays as it was until that is settled
    with held(job.claim):
        part.account_id = job.claim.account_id
        part.position = position
        if part.state == Publication.State.REFUSED:
            part.state, part.failures, part.crashes = Publication.State.PENDING, 0, 0
            part.is_alone = False
        part.save(update_fields=["account", "position", "state", "failures", "crashes", "is_alone"])


def _let_go_after_an_outage(claim: Claim) -> None:
    try:
        put_back(claim, in_seconds=scaled(OUTAGE_SECONDS))
    except ClaimLost:
        logger.warning("claim_lost", lease_id=str(claim.lease_id))


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
