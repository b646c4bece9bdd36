"""What is known about calls to DeviantArt: written down before, closed after.

A lease fences decisions, never evidence: whoever made a call writes down how it ended and every id that came back,
whatever became of its lease, and repeats that write for as long as its process lives.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from deviantart.errors import DeviantArtError, Outcome
from deviantart.types import PublishReceipt, SubmitReceipt
from deviations.models import Deviation
from isekai import clock
from isekai.logging import correlation_id
from publisher.models import Attempt, Publication, StashItem
from publisher.services.claiming import Claim, held
from publisher.services.writing import until_written


def open_attempt(
    claim: Claim,
    publication: Publication,
    step: Attempt.Step,
    *,
    stash_item: StashItem | None = None,
    sent: dict[str, Any] | None = None,
) -> Attempt:
    """Write down that a call is about to be made; raises ClaimLost (then it must not be made).

    With the first publish call of a work, the work becomes *publishing*.
    """
    with held(claim) as deviation:
        if step is Attempt.Step.PUBLISH:
            if deviation.status != Deviation.Status.PUBLISHING:
                deviation.move_to(Deviation.Status.PUBLISHING)
            publication.state = Publication.State.PUBLISHING
            publication.sent = sent or {}
        elif step is Attempt.Step.SUBMIT:
            publication.state = Publication.State.SUBMITTING
        publication.save(update_fields=["state", "sent"])
        attempt = Attempt.objects.create(
            publication=publication,
            stash_item=stash_item,
            step=step,
            lease_id=claim.lease_id,
            worker_id=claim.worker_id,
            correlation_id=correlation_id(),
            started_at=clock.DatabaseNow(),
        )
    attempt.refresh_from_db(fields=["started_at"])
    return attempt


def close_submitted(attempt: Attempt, receipt: SubmitReceipt, *, fingerprint: str) -> StashItem:
    """The upload arrived: close the attempt and keep the item."""

    def write() -> StashItem:
        with transaction.atomic():
            publication = Publication.objects.select_for_update().get(pk=attempt.publication_id)
            # Two workers may both have uploaded, when one had lost its lease: only one item is in hand.
            spare = publication.is_live or StashItem.objects.in_hand(publication.pk) is not None
            item, _made = StashItem.objects.get_or_create(
                account_id=publication.account_id,
                item_id=receipt.item_id,
                defaults={
                    "publication": publication,
                    "fingerprint": fingerprint,
                    "state": StashItem.State.ABANDONED if spare else StashItem.State.IN_HAND,
                },
            )
            if publication.state == Publication.State.SUBMITTING:
                publication.state = Publication.State.SUBMITTED
                publication.save(update_fields=["state"])
            _close(attempt, Attempt.Outcome.DONE, remote_date=receipt.date, stash_item=item, item=receipt.item_id)
        return item

    return until_written(write)


def close_published(attempt: Attempt, receipt: PublishReceipt) -> None:
    """The work is live: close the attempt, and fill what is not filled yet."""

    def write() -> None:
        with transaction.atomic():
            _close(
                attempt,
                Attempt.Outcome.DONE,
                remote_date=receipt.date,
                deviationid=receipt.deviation_id,
                url=receipt.url,
            )
            _mark_live(attempt, deviation_id=receipt.deviation_id, url=receipt.url or "")

    until_written(write)


def close_live_before(attempt: Attempt, error: DeviantArtError) -> None:
    """DeviantArt says that the item was published before (code 9); it does not say where."""

    def write() -> None:
        with transaction.atomic():
            _close_with(attempt, Attempt.Outcome.DONE, error)
            _mark_live(attempt, deviation_id=None, url="")

    until_written(write)


def close_recognised(attempt: Attempt, *, deviation_id: str, url: str) -> None:
    """A look-up found the work: it is live there."""

    def write() -> None:
        with transaction.atomic():
            _close(attempt, Attempt.Outcome.DONE, deviationid=deviation_id, url=url)
            _mark_live(attempt, deviation_id=deviation_id, url=url)

    until_written(write)


def close_looked(attempt: Attempt, *, found: str) -> None:
    """A look-up that settled nothing; ``found`` says in a word why."""
    until_written(lambda: _close(attempt, Attempt.Outcome.DONE, found=found))


def close_failed(attempt: Attempt, error: DeviantArtError) -> None:
    """The call did not succeed: certainly (*refused*), or nobody knows (*unknown*)."""
    outcome = Attempt.Outcome.UNKNOWN if error.outcome is Outcome.UNKNOWN else Attempt.Outcome.REFUSED
    until_written(lambda: _close_with(attempt, outcome, error))


def close_not_made(attempt: Attempt, *, why: str) -> None:
    """The call was written down, but certainly never reached DeviantArt."""
    until_written(lambda: _close(attempt, Attempt.Outcome.REFUSED, why=why))


def close_unknown(attempt: Attempt, *, why: str) -> None:
    """Something else than an answer ended the call; whether it was made nobody knows."""
    until_written(lambda: _close(attempt, Attempt.Outcome.UNKNOWN, why=why))


def _close_with(attempt: Attempt, outcome: Attempt.Outcome, error: DeviantArtError) -> None:
    _close(
        attempt,
        outcome,
        category=error.category.value,
        http_status=error.http_status,
        error_code=error.error_code,
        answer=error.excerpt or error.description,
        remote_date=error.date,
    )


def _close(
    attempt: Attempt,
    outcome: Attempt.Outcome,
    *,
    category: str = "",
    http_status: int | None = None,
    error_code: int | None = None,
    answer: str = "",
    remote_date: Any = None,
    stash_item: StashItem | None = None,
    **remote_ids: Any,
) -> None:
    attempt.ended_at = clock.DatabaseNow()
    attempt.outcome = outcome
    attempt.category = category
    attempt.http_status = http_status
    attempt.error_code = error_code
    attempt.answer = answer.replace("\x00", "")
    attempt.remote_date = remote_date
    attempt.remote_ids = remote_ids
    attempt.stash_item = stash_item or attempt.stash_item
    attempt.save()


def _mark_live(attempt: Attempt, *, deviation_id: str | None, url: str) -> None:
    publication = Publication.objects.select_for_update().get(pk=attempt.publication_id)
    publication.state = Publication.State.PUBLISHED
    publication.published_at = publication.published_at or clock.database_now()
    publication.url = publication.url or url
    if publication.remote_deviation_id is None:
        publication.remote_deviation_id = deviation_id
    if publication.remote_deviation_id is None or not publication.url:
        publication.next_look_at = clock.database_now() + timedelta(seconds=settings.PUBLISHER_URL_LOOK_SECONDS[0])
    else:
        publication.next_look_at = None
    publication.save()
    if attempt.stash_item_id is not None:
        StashItem.objects.filter(pk=attempt.stash_item_id).update(state=StashItem.State.PUBLISHED)
