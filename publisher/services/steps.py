"""The two calls of a publication: upload its file to the stash, publish the item."""

from contextlib import closing
from typing import Any

import structlog

from accounts.services.audit import record
from deviantart import rules
from deviantart.errors import AlreadyPublished, DeviantArtError, TokenExpired
from deviantart.pace import Kind
from deviations import storage
from deviations.errors import ForeignStorageKey, StorageUnavailable, StoredFileMissing
from deviations.models import FileVariant
from isekai import clock, faults, queue
from publisher.errors import StoredFileChanged, TooLateToSend
from publisher.models import Attempt, Publication, StashItem
from publisher.services import evidence, failing
from publisher.services.claiming import held, put_back
from publisher.services.job import Job, longest_wait_before_sending, while_in_time
from publisher.services.sending import Submission, checked, publish_fields_of, submission_of
from publisher.services.turns import wait_for_turn

logger = structlog.get_logger(__name__)

# How long a work waits for the media worker, or for storage, before it looks again.
NOT_READY_SECONDS = 5.0


def bring_out(job: Job, publication: Publication) -> bool:
    """Upload what is not in the stash yet, and publish it; False when the work had to be let go."""
    variant = FileVariant.objects.filter(file=publication.file_id, kind=FileVariant.Kind.PUBLISH).first()
    if variant is None:
        if publication.file is not None and publication.file.media_state == publication.file.MediaState.FAILED:
            return failing.give_up(job, publication, reason="file_unusable")
        queue.send("media.make_variants", str(publication.file_id))
        put_back(job.claim, in_seconds=failing.scaled(NOT_READY_SECONDS), reason="file_not_ready")
        return False
    submission = submission_of(publication, job.deviation, variant)
    item = _item_in_hand(job, publication, submission) or submit(job, publication, submission)
    if item is None:
        return False
    if job.deviation.stash_only:
        _rest_in_the_stash(job, publication)
        return True
    return publish(job, publication, item)


def _item_in_hand(job: Job, publication: Publication, submission: Submission) -> StashItem | None:
    """The item that holds exactly this submission. One that holds anything else is abandoned, never overwritten."""
    item = StashItem.objects.in_hand(publication.pk)
    if item is None or item.fingerprint == submission.fingerprint(job.account.pk):
        return item
    with held(job.claim):
        item.state = StashItem.State.ABANDONED
        item.save(update_fields=["state"])
    return None


def submit(job: Job, publication: Publication, submission: Submission, *, again: bool = True) -> StashItem | None:
    """Upload the file into a new item of the artist's stash; None when the work had to be let go."""
    client = job.client()
    turn = wait_for_turn(job.account, Kind.PUBLISH, client)
    attempt = evidence.open_attempt(job.claim, publication, Attempt.Step.SUBMIT)
    faults.reach("submit_intended")
    try:
        with closing(storage.open_stream(submission.storage_key, workspace_id=job.claim.workspace_id)) as stream:
            receipt = client.submit(
                checked(stream, sha256=submission.sha256),
                filename=submission.filename,
                content_type=submission.content_type,
                size=submission.size,
                title=submission.title,
                artist_comments=submission.artist_comments,
                tags=submission.tags,
                is_ai_generated=submission.is_ai_generated,
                noai=submission.noai,
                before_send=while_in_time(longest_wait_before_sending()),
            )
    except StoredFileChanged:
        evidence.close_not_made(attempt, why="stored_file_changed")
        failing.give_up(job, publication, reason="stored_file_changed")
        return None
    except (StoredFileMissing, ForeignStorageKey):
        evidence.close_not_made(attempt, why="stored_file_missing")
        failing.give_up(job, publication, reason="stored_file_missing")
        return None
    except StorageUnavailable:
        evidence.close_not_made(attempt, why="storage_unavailable")
        put_back(job.claim, in_seconds=failing.scaled(NOT_READY_SECONDS), reason="storage_unavailable")
        return None
    except TooLateToSend:
        evidence.close_not_made(attempt, why="too_late_to_send")
        put_back(job.claim)
        return None
    except TokenExpired as error:
        evidence.close_failed(attempt, error)
        turn.over(error)
        if again:
            job.renew_token()
            return submit(job, publication, submission, again=False)
        failing.after_submit(job, publication, error)
        return None
    except DeviantArtError as error:
        evidence.close_failed(attempt, error)
        failing.after_submit(job, publication, error, pause=turn.over(error))
        return None
    faults.reach("submit_answered")
    item = evidence.close_submitted(attempt, receipt, fingerprint=submission.fingerprint(job.account.pk))
    turn.over()
    faults.reach("item_committed")
    return item if item.state == StashItem.State.IN_HAND else StashItem.objects.in_hand(publication.pk)


def publish(job: Job, publication: Publication, item: StashItem, *, again: bool = True) -> bool:
    """Make the item a public deviation; False when the work had to be let go.

    From the moment at which the attempt is committed the item is published with what it holds, or not at all; whatever
    goes wrong without a definite answer leaves the work unconfirmed.
    """
    client = job.client()
    fields = publish_fields_of(job.deviation)
    first = not publication.attempts.publishing().exists()
    turn = wait_for_turn(job.account, Kind.PUBLISH, client)
    attempt = evidence.open_attempt(
        job.claim, publication, Attempt.Step.PUBLISH, stash_item=item, sent=_sent(job, publication, item, fields)
    )
    faults.reach("publish_intended")
    try:
        receipt = client.publish(
            item.item_id,
            **fields,
            before_send=while_in_time(longest_wait_before_sending(), point="before_publish_sent"),
        )
    except TooLateToSend:
        evidence.close_not_made(attempt, why="too_late_to_send")
        put_back(job.claim)
        return False
    except AlreadyPublished as error:
        evidence.close_live_before(attempt, error)
        turn.over(error)
        if first:
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
    turn.over()
    faults.reach("publish_committed")
    return True


def _sent(job: Job, publication: Publication, item: StashItem, fields: dict[str, Any]) -> dict[str, Any]:
    title = (publication.title or job.deviation.title)[: rules.TITLE_MAX_LENGTH]
    return {**fields, "title": title, "item_id": str(item.item_id)}


def _rest_in_the_stash(job: Job, publication: Publication) -> None:
    """A work that is meant for the stash alone has arrived."""
    with held(job.claim) as deviation:
        Publication.objects.filter(pk=publication.pk).update(
            state=Publication.State.PUBLISHED, published_at=clock.DatabaseNow()
        )
        record("deviation.in_the_stash", deviation)
