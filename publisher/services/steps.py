"""The two calls of a publication: upload its file to the stash, publish the item."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.conf import settings

from accounts.errors import LoginLost, TokenUnavailable
from accounts.services.audit import record
from deviantart import rules
from deviantart.client import Resumable
from deviantart.errors import AlreadyPublished, DeviantArtError, FileChanged, Outcome, TokenExpired
from deviantart.pace import Kind
from deviations import storage
from deviations.errors import ForeignStorageKey, StorageUnavailable, StoredFileMissing
from deviations.models import Deviation, DeviationFile, FileVariant
from isekai import clock, faults, queue
from publisher import metrics
from publisher.errors import PublisherError, TooLateToSend
from publisher.models import Attempt, Publication, StashItem
from publisher.services import deposits, draining, evidence, failing, marks
from publisher.services.claiming import held, leave_be, put_back
from publisher.services.job import Job, StageJob, longest_wait_before_sending, while_in_time
from publisher.services.sending import Submission, Watched, publish_fields_of, submission_of
from publisher.services.slots import UPLOAD
from publisher.services.turns import NotYet, wait_for_turn

logger = structlog.get_logger(__name__)

# How long a work waits for the media worker, or for storage, before it looks again.
NOT_READY_SECONDS = 5.0
# When a file that storage says it has not is looked for again: a bucket may be another one for a while, or behind.
LOOKED_FOR_AGAIN_SECONDS = (30.0, 120.0)
# What storage has lacked within so long counts.
LACKED_LATELY_SECONDS = 600.0
STORED_FILE_MISSING = "stored_file_missing"


class NotUploaded(PublisherError):
    """The upload did not succeed, by no doing of DeviantArt's; ``reason`` is a code, ``for_good`` if it never will."""

    code = "not_uploaded"

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.for_good = for_good


class UploadRefused(PublisherError):
    """DeviantArt did not take the file, or did not answer; ``pause`` is how long the account may not call, if so."""

    code = "upload_refused"

    def __init__(self, error: DeviantArtError, *, pause: float | None = None) -> None:
        super().__init__(error.code)
        self.error = error
        self.pause = pause


def bring_out(job: Job, publication: Publication) -> bool:
    """Upload what is not in the stash yet, and publish it; False when the work had to be let go."""
    variant = copy_for_deviantart(publication.file)
    if variant is None:
        if publication.file is not None and publication.file.media_state == publication.file.MediaState.FAILED:
            return failing.give_up(job, publication, reason="file_unusable")
        queue.send("media.make_variants", str(publication.file_id))
        put_back(job.claim, in_seconds=failing.scaled(NOT_READY_SECONDS), reason="file_not_ready")
        return False
    submission = submission_of(publication, job.deviation, variant)
    item = _item_in_hand(job, publication, submission)
    if item is None:
        if job.place is not None and not job.place.take_upload():
            # Its share was free when it was claimed, or it seemed to need none.
            leave_be(job.claim)
            job.place.turn_away(job.account.pk, UPLOAD)
            return False
        item = submit(job, publication, submission)
    if item is None:
        return False
    job.let_upload_share_go()
    if job.deviation.stash_only:
        _rest_in_the_stash(job, publication)
        return True
    return publish(job, publication, item)


def copy_for_deviantart(file: DeviationFile | None) -> FileVariant | None:
    """What goes to DeviantArt of a file, None as long as it is not made; as it was read with the file, if it was."""
    if file is None:
        return None
    read: FileVariant | None = getattr(file, "publish_copy", None)
    if read is None and not hasattr(file, "publish_copy"):
        return FileVariant.objects.filter(file=file, kind=FileVariant.Kind.PUBLISH).first()
    return read


def _item_in_hand(job: Job, publication: Publication, submission: Submission) -> StashItem | None:
    """The item that holds exactly this submission. One that holds anything else is abandoned, never overwritten."""
    if hasattr(publication, "item_in_hand"):
        item: StashItem | None = publication.item_in_hand
    else:
        item = StashItem.objects.in_hand(publication.pk)
    if item is None or item.fingerprint == submission.fingerprint(job.account.pk):
        return item
    with held(job.claim):
        abandon(item)
    return None


def abandon(item: StashItem) -> None:
    """It holds something that is not to be published any more; the caller holds what fences that."""
    item.state = StashItem.State.ABANDONED
    item.save(update_fields=["state"])


def submit(job: Job, publication: Publication, submission: Submission) -> StashItem | None:
    """Upload the file into a new item of the artist's stash; None when the work had to be let go."""
    send = _upload_for_good if job.deviation.stash_only else upload
    try:
        item = send(job, publication, submission)
    except NotUploaded as error:
        if error.for_good:
            failing.give_up(job, publication, reason=error.reason)
        elif error.reason == STORED_FILE_MISSING:
            _look_for_the_file_again(job, publication)
        elif error.reason == "too_late_to_send":
            put_back(job.claim)
        else:
            put_back(job.claim, in_seconds=failing.scaled(NOT_READY_SECONDS), reason=error.reason)
        return None
    except UploadRefused as refusal:
        failing.after_submit(job, publication, refusal.error, pause=refusal.pause)
        return None
    return item if item.state == StashItem.State.IN_HAND else StashItem.objects.in_hand(publication.pk)


def _look_for_the_file_again(job: Job, publication: Publication) -> None:
    """Storage says that it has no such file. It is asked again some time later, and then the work has failed."""
    lately = clock.DatabaseNow() - timedelta(seconds=failing.scaled(LACKED_LATELY_SECONDS))
    lacked = publication.attempts.filter(
        step=Attempt.Step.SUBMIT, ended_at__gt=lately, remote_ids__why=STORED_FILE_MISSING
    ).count()
    if lacked > len(LOOKED_FOR_AGAIN_SECONDS):
        failing.give_up(job, publication, reason=STORED_FILE_MISSING)
    else:
        seconds = failing.scaled(LOOKED_FOR_AGAIN_SECONDS[lacked - 1])
        put_back(job.claim, in_seconds=seconds, reason="stored_file_not_found")


def _upload_for_good(job: Job, publication: Publication, submission: Submission) -> StashItem:
    """As ``upload``, at the work's moment: what is meant for the stash alone has arrived with this call.

    A database that has forgotten it could learn of it from nobody, so it is written down elsewhere as well.
    """
    try:
        deposit = deposits.begin(job.claim, publication, fingerprint=submission.fingerprint(job.account.pk))
    except StorageUnavailable as error:
        raise NotUploaded("storage_unavailable") from error
    try:
        item = upload(job, publication, submission, wait_until=job.claim.due_at)
    except (NotUploaded, NotYet, LoginLost, TokenUnavailable):
        deposits.take_back(deposit)
        raise
    except UploadRefused as refusal:
        if refusal.error.outcome is not Outcome.UNKNOWN:
            deposits.take_back(deposit)
        raise
    deposits.keep(deposit, item)
    return item


def upload(
    job: Job | StageJob,
    publication: Publication,
    submission: Submission,
    *,
    kind: Kind = Kind.PUBLISH,
    wait_until: datetime | None = None,
    again: bool = True,
) -> StashItem:
    """The upload itself, whoever wants it; ``wait_until`` is the moment before which not a byte may leave.

    Raises NotUploaded and UploadRefused, with its attempt closed; and what keeps the account from calling: NotYet,
    LoginLost, TokenUnavailable, ClaimLost.
    """
    client = job.client()
    turn = wait_for_turn(job.account, kind, client)
    faults.reach("before_submit_intent")
    in_time = while_in_time(
        longest_wait_before_sending(),
        point="before_submit_sent",
        wait=job.wait_until_due if wait_until is not None and isinstance(job, Job) else None,
    )
    attempt = evidence.open_attempt(job.claim, publication, Attempt.Step.SUBMIT, not_before=wait_until)
    faults.reach("submit_intended")
    open_at = partial(_open_at, submission.storage_key, job.claim.workspace_id)
    file = Watched(Resumable(open_at, breaks=StorageUnavailable))
    try:
        receipt = client.submit(
            file,
            filename=submission.filename,
            content_type=submission.content_type,
            size=submission.size,
            title=submission.title,
            artist_comments=submission.artist_comments,
            tags=submission.tags,
            is_ai_generated=submission.is_ai_generated,
            noai=submission.noai,
            sha256=submission.sha256,
            before_send=in_time,
        )
    except FileChanged as error:
        evidence.close_not_made(attempt, why="stored_file_changed")
        raise NotUploaded("stored_file_changed", for_good=True) from error
    except (StoredFileMissing, ForeignStorageKey) as error:
        evidence.close_not_made(attempt, why=STORED_FILE_MISSING)
        raise NotUploaded(STORED_FILE_MISSING, for_good=isinstance(error, ForeignStorageKey)) from error
    except StorageUnavailable as error:
        evidence.close_not_made(attempt, why="storage_unavailable")
        raise NotUploaded("storage_unavailable") from error
    except TooLateToSend as error:
        evidence.close_not_made(attempt, why="too_late_to_send")
        raise NotUploaded("too_late_to_send") from error
    except TokenExpired as error:
        evidence.close_failed(attempt, error)
        turn.over(error)
        if not again:
            raise UploadRefused(error) from error
        job.renew_token()
        return upload(job, publication, submission, kind=kind, wait_until=wait_until, again=False)
    except DeviantArtError as error:
        evidence.close_failed(attempt, error)
        raise UploadRefused(error, pause=turn.over(error)) from error
    finally:
        file.close()
    faults.reach("submit_answered")
    item = evidence.close_submitted(attempt, receipt, fingerprint=submission.fingerprint(job.account.pk))
    faults.reach("item_committed")
    turn.over()
    return item


def _open_at(key: str, workspace_id: Any, offset: int) -> storage.Stream:
    return storage.open_stream(key, workspace_id=workspace_id, offset=offset)


def publish(job: Job, publication: Publication, item: StashItem, *, again: bool = True) -> bool:
    """Make the item a public deviation; False when the work had to be let go.

    From the moment at which the attempt is committed the item is published with what it holds, or not at all; whatever
    goes wrong without a definite answer leaves the work unconfirmed.
    """
    if not draining.fits(settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS):
        # This process would end before the call must: whoever takes the work up next makes it.
        leave_be(job.claim)
        return False
    client = job.client()
    fields = publish_fields_of(job.deviation)
    turn = wait_for_turn(job.account, Kind.PUBLISH, client)
    faults.reach("before_publish_intent")
    # All is ready and the connection stands once this is asked: only the moment itself is waited for.
    in_time = while_in_time(longest_wait_before_sending(), point="before_publish_sent", wait=job.wait_until_due)
    attempt = evidence.open_attempt(
        job.claim,
        publication,
        Attempt.Step.PUBLISH,
        stash_item=item,
        sent=_sent(job, publication, item, fields),
        not_before=job.claim.due_at,
    )
    if again and job.deviation.status == Deviation.Status.UPLOADING and job.deviation.publish_at is not None:
        metrics.count_start(attempt.started_at - job.deviation.publish_at)
    faults.reach("publish_intended")
    try:
        receipt = client.publish(
            item.item_id,
            **fields,
            before_send=in_time,
        )
    except TooLateToSend:
        evidence.close_not_made(attempt, why="too_late_to_send")
        put_back(job.claim)
        return False
    except AlreadyPublished as error:
        evidence.close_live_before(attempt, error)
        turn.over(error)
        if not publication.attempts.publishing().exclude(pk=attempt.pk).exists():
            # Nobody but the artist can have done that.
            record("deviation.published_by_hand", job.deviation, item_id=str(item.item_id))
        return True
    except TokenExpired as error:
        evidence.close_failed(attempt, error)
        turn.over(error)
        if again:
            job.renew_token()
            return publish(job, publication, item, again=False)
        return failing.after_publish(job, publication, item, error)
    except DeviantArtError as error:
        evidence.close_failed(attempt, error)
        return failing.after_publish(job, publication, item, error, pause=turn.over(error))
    faults.reach("publish_answered")
    evidence.close_published(attempt, receipt)
    faults.reach("publish_committed")
    turn.over()
    return True


def _sent(job: Job, publication: Publication, item: StashItem, fields: dict[str, Any]) -> dict[str, Any]:
    title = (publication.title or job.deviation.title)[: rules.TITLE_MAX_LENGTH]
    return {**fields, "title": title, "item_id": str(item.item_id)}


def _rest_in_the_stash(job: Job, publication: Publication) -> None:
    """A work that is meant for the stash alone has arrived."""
    with held(job.claim) as deviation:
        publication.state, publication.published_at = Publication.State.PUBLISHED, clock.database_now()
        publication.save(update_fields=["state", "published_at"])
        record("deviation.in_the_stash", deviation)
    uploads = publication.attempts.filter(step=Attempt.Step.SUBMIT, outcome=Attempt.Outcome.DONE)
    if uploaded := uploads.order_by("-id").values_list("pk", flat=True).first():
        # No gallery will ever show it: what is remembered of it is all that tells that it was done.
        marks.raise_mark(uploaded)
