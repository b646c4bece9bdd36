"""What is known about calls to DeviantArt: written down before, closed after.

A lease fences decisions, never evidence: whoever made a call writes down how it ended and every id that came back,
whatever became of its lease, and repeats that write for as long as its process lives.
"""

import json
from datetime import datetime, timedelta
from typing import Any, NoReturn

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from deviantart.errors import DeviantArtError, Outcome
from deviantart.types import PublishReceipt, SubmitReceipt
from isekai import clock
from isekai.logging import correlation_id
from isekai.prepared import prepared_cursor
from publisher import metrics
from publisher.errors import ClaimLost
from publisher.models import Attempt, Publication, StashItem
from publisher.services import clocks, marks
from publisher.services.claiming import WORKER_IS_ALIVE, Claim, StageClaim
from publisher.services.writing import until_written

logger = structlog.get_logger(__name__)

# The attempt is written only where the lease still holds the work: no row, no call. One statement, so that nothing can
# come between the look at the lease and the writing.
OPEN = """
    WITH fence AS ({fence}),
    part AS (UPDATE publisher_publication p SET state = %s, sent = coalesce(%s::jsonb, p.sent)
             FROM fence WHERE p.id = %s RETURNING p.id)
    INSERT INTO publisher_attempt (publication_id, stash_item_id, step, lease_id, worker_id, correlation_id,
                                   started_at, category, answer, remote_ids)
    SELECT part.id, %s::uuid, %s, %s, %s, %s, greatest({now}, %s::timestamptz), '', '', '{{}}' FROM part
    RETURNING id, started_at
"""
FENCE = f"""
    SELECT d.id FROM deviations_deviation d WHERE d.id = %s AND d.lease_id = %s AND {WORKER_IS_ALIVE} FOR UPDATE
"""  # noqa: S608 - constants alone
# With its first publish call a work becomes *publishing*, and nobody cares any more why it waited before.
PUBLISH_FENCE = f"""
    UPDATE deviations_deviation d
    SET reason_code = CASE WHEN status = 'publishing' THEN reason_code ELSE '' END,
        reason_params = CASE WHEN status = 'publishing' THEN reason_params ELSE '{{}}' END,
        status = 'publishing', updated_at = clock_timestamp()
    WHERE d.id = %s AND d.lease_id = %s AND status IN ('uploading', 'publishing') AND {WORKER_IS_ALIVE}
    RETURNING d.id
"""  # noqa: S608 - constants alone
# Ahead of its time nothing is uploaded any more once the work was taken back, changed hands, or was claimed.
STAGE_FENCE = f"""
    SELECT s.id FROM publisher_publication s JOIN deviations_deviation d ON d.id = s.deviation_id
    WHERE s.id = %s AND s.stage_lease_id = %s AND d.status = 'scheduled' AND d.lease_id IS NULL
      AND d.account_id = s.account_id AND {WORKER_IS_ALIVE} FOR UPDATE OF s
"""  # noqa: S608 - constants alone


def open_attempt(
    claim: Claim | StageClaim,
    publication: Publication,
    step: Attempt.Step,
    *,
    stash_item: StashItem | None = None,
    sent: dict[str, Any] | None = None,
    not_before: datetime | None = None,
) -> Attempt:
    """Write down that a call is about to be made; raises ClaimLost (then it must not be made).

    With the first publish call of a work, the work becomes *publishing*. ``not_before`` is the moment for which the
    caller waits after this, if it has not come yet.
    """
    attempt = Attempt(
        publication=publication,
        stash_item=stash_item,
        step=step,
        lease_id=claim.lease_id,
        worker_id=claim.worker_id,
        correlation_id=correlation_id(),
    )
    if isinstance(claim, StageClaim):
        fence, subject = STAGE_FENCE, claim.publication_id
    else:
        fence, subject = (PUBLISH_FENCE if step is Attempt.Step.PUBLISH else FENCE), claim.deviation_id
    state = {
        Attempt.Step.PUBLISH: Publication.State.PUBLISHING,
        Attempt.Step.SUBMIT: Publication.State.SUBMITTING,
        Attempt.Step.LOOK_UP: Publication.State(publication.state),
    }[step]
    with prepared_cursor() as cursor:
        cursor.execute(
            OPEN.format(fence=fence, now=clock.SQL_NOW),
            [
                *[subject, claim.lease_id, claim.worker_id],
                *[state.value, None if sent is None else json.dumps(sent), publication.pk],
                *[attempt.stash_item_id, step.value, attempt.lease_id, attempt.worker_id],
                *[attempt.correlation_id, not_before],
            ],
        )
        row = cursor.fetchone()
    if row is None:
        raise ClaimLost(f"The lease {claim.lease_id} no longer holds the work {claim.deviation_id}.")
    attempt.pk, attempt.started_at = row
    attempt._state.adding = False  # noqa: SLF001 - written by a statement of our own
    publication.state = state
    publication.sent = publication.sent if sent is None else sent
    return attempt


# Two workers may both have uploaded, when one had lost its lease: only one item is in hand.
KEEP_ITEM = f"""
    WITH part AS (SELECT id, account_id, state FROM publisher_publication WHERE id = %s FOR UPDATE),
    item AS (
        INSERT INTO publisher_stashitem (id, publication_id, account_id, item_id, fingerprint, state, created_at)
        SELECT %s, part.id, part.account_id, %s, %s,
               CASE WHEN part.state = 'published' OR EXISTS (
                    SELECT 1 FROM publisher_stashitem i WHERE i.publication_id = part.id AND i.state = 'in_hand')
               THEN 'abandoned' ELSE 'in_hand' END, {clock.SQL_NOW}
        FROM part ON CONFLICT (account_id, item_id) DO NOTHING
        RETURNING id, account_id, state),
    done AS (
        UPDATE publisher_publication p
        SET state = CASE WHEN p.state = 'submitting' THEN 'submitted' ELSE p.state END, crashes = 0, is_alone = FALSE
        FROM part WHERE p.id = part.id),
    closed AS (
        UPDATE publisher_attempt a
        SET ended_at = {clock.SQL_NOW}, outcome = 'done', remote_date = %s, remote_ids = %s::jsonb,
            stash_item_id = coalesce((SELECT id FROM item), a.stash_item_id)
        WHERE a.id = %s AND a.lease_id = %s)
    SELECT id, account_id, state FROM item
"""  # noqa: S608 - constants alone


def close_submitted(attempt: Attempt, receipt: SubmitReceipt, *, fingerprint: str) -> StashItem:
    """The upload arrived: close the attempt and keep the item."""
    item = StashItem(publication=attempt.publication, item_id=receipt.item_id, fingerprint=fingerprint)
    remote_ids = json.dumps({"item": receipt.item_id})
    closing = [receipt.date, remote_ids, attempt.pk, attempt.lease_id]

    def write() -> StashItem:
        with prepared_cursor() as cursor:
            cursor.execute(
                KEEP_ITEM,
                (attempt.publication_id, item.pk, item.item_id, fingerprint, *closing),
            )
            row = cursor.fetchone()
        if row is None:
            kept_already = StashItem.objects.filter(publication=attempt.publication_id, item_id=receipt.item_id).first()
            return kept_already or _is_forgotten(attempt)
        item.pk, item.account_id, item.state = row
        item._state.adding = False  # noqa: SLF001 - as above
        return item

    def write_after_whoever_was_faster() -> StashItem:
        try:
            return write()
        except IntegrityError:
            # Between our look at the items in hand and our lock another one came: now it is seen.
            return write()

    kept = until_written(write_after_whoever_was_faster)
    _count(attempt, Attempt.Outcome.DONE)
    if attempt.publication.state == Publication.State.SUBMITTING:
        attempt.publication.state = Publication.State.SUBMITTED
    return kept


def close_published(attempt: Attempt, receipt: PublishReceipt) -> datetime:
    """The work is live: close the attempt, and fill what is not filled yet; returns since when it is live."""

    def write() -> datetime:
        remote_ids = json.dumps({"deviationid": receipt.deviation_id, "url": receipt.url})
        with prepared_cursor() as cursor:
            cursor.execute(
                CLOSE_LIVE,
                [
                    *[receipt.date, remote_ids, attempt.pk, attempt.lease_id],
                    *[receipt.url or "", receipt.deviation_id, receipt.deviation_id, receipt.url or ""],
                    settings.PUBLISHER_URL_LOOK_SECONDS[0],
                    *[attempt.publication_id, attempt.stash_item_id],
                ],
            )
            row = cursor.fetchone()
        return row[0] if row else _is_forgotten(attempt)

    published_at = until_written(write)
    _count(attempt, Attempt.Outcome.DONE)
    _remember(attempt, receipt.date)
    _is_live(attempt.publication, published_at)
    return published_at


CLOSE_LIVE = f"""
    WITH closed AS (
        UPDATE publisher_attempt SET ended_at = {clock.SQL_NOW}, outcome = 'done', remote_date = %s,
               remote_ids = %s::jsonb
        WHERE id = %s AND lease_id = %s),
    live AS (
        UPDATE publisher_publication
        SET state = 'published', published_at = coalesce(published_at, {clock.SQL_NOW}), crashes = 0, is_alone = FALSE,
            url = CASE WHEN url = '' THEN %s ELSE url END,
            remote_deviation_id = coalesce(remote_deviation_id, %s),
            next_look_at = CASE WHEN coalesce(remote_deviation_id, %s) IS NOT NULL AND (url <> '' OR %s <> '') THEN NULL
                                ELSE {clock.SQL_NOW} + make_interval(secs => %s) END
        WHERE id = %s RETURNING published_at),
    item AS (UPDATE publisher_stashitem SET state = 'published' WHERE id = %s)
    SELECT published_at FROM live
"""  # noqa: S608 - constants alone


def _is_live(publication: Publication, published_at: datetime) -> None:
    publication.state = Publication.State.PUBLISHED
    publication.published_at = published_at


def close_live_before(attempt: Attempt, error: DeviantArtError) -> None:
    """DeviantArt says that the item was published before (code 9); it does not say where."""

    def write() -> None:
        with transaction.atomic():
            _close_with(attempt, Attempt.Outcome.DONE, error)
            _mark_live(attempt, deviation_id=None, url="")

    until_written(write)
    _remember(attempt, error.date)


def close_recognised(attempt: Attempt, *, deviation_id: str, url: str) -> None:
    """A look-up found the work: it is live there."""

    def write() -> None:
        with transaction.atomic():
            _close(attempt, Attempt.Outcome.DONE, deviationid=deviation_id, url=url)
            _mark_live(attempt, deviation_id=deviation_id, url=url)

    until_written(write)
    _remember(attempt, None)


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


# What is learnt by the end of a call; the rest of its row may have been written by others meanwhile.
LEARNT = [
    "ended_at",
    "outcome",
    "category",
    "http_status",
    "error_code",
    "answer",
    "remote_date",
    "remote_ids",
    "stash_item",
]


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
    # With the lease, as a database that was restored meanwhile gives the same number to another call.
    rows = Attempt.objects.filter(pk=attempt.pk, lease_id=attempt.lease_id)
    if not rows.update(**{name: getattr(attempt, name) for name in LEARNT}):
        _is_forgotten(attempt)
    transaction.on_commit(lambda: _count(attempt, outcome, category))


def _is_forgotten(attempt: Attempt) -> NoReturn:
    """The database was restored while the call was made, and knows nothing of it: see `restoring` for what follows."""
    logger.error("attempt_is_forgotten", attempt_id=attempt.pk, publication_id=str(attempt.publication_id))
    raise ClaimLost(f"The database no longer knows the call {attempt.pk}, so nothing can be written down about it.")


def _count(attempt: Attempt, outcome: Attempt.Outcome, category: str = "") -> None:
    metrics.count_attempt(
        step=attempt.step, outcome=outcome, category=category, seconds=clocks.seconds_since(attempt.started_at)
    )


def _remember(attempt: Attempt, remote_date: datetime | None) -> None:
    """The evidence of a publish has been committed: neither of these raises, or waits for anybody."""
    marks.raise_mark(attempt.pk)
    clocks.note_remote(remote_date, started_at=attempt.started_at)


def _mark_live(attempt: Attempt, *, deviation_id: str | None, url: str) -> None:
    publication = Publication.objects.select_for_update().get(pk=attempt.publication_id)
    publication.state = Publication.State.PUBLISHED
    publication.published_at = publication.published_at or clock.database_now()
    publication.crashes, publication.is_alone = 0, False
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
    _is_live(attempt.publication, publication.published_at)
