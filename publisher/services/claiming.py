"""Taking a work for this worker alone, and letting it go again. Everything here is one short transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q

from accounts.models import DeviantArtAccount
from accounts.services.audit import record
from accounts.services.notifying import notify
from deviations.models import Deviation, DeviationQuerySet
from isekai import clock
from isekai.ids import new_id
from isekai.logging import correlation_id
from isekai.prepared import prepared_cursor, written_out
from publisher.errors import ClaimLost
from publisher.models import Publication, StashItem, Worker
from publisher.services.clocks import host_agrees
from publisher.services.holds import able_accounts, in_time
from publisher.services.marks import MARK_SQL, mark_params

logger = structlog.get_logger(__name__)

# What falls due within this time is claimed now and waited for: cheaper than another round through the queue.
CLAIM_AHEAD = timedelta(milliseconds=250)

# Whether a worker's lease still runs, for statements that are written out.
WORKER_IS_ALIVE = f"""
    EXISTS (SELECT 1 FROM publisher_worker w WHERE w.id = %s AND w.alive_until > {clock.SQL_NOW})
"""  # noqa: S608 - constants alone

# The subqueries lock the row that they find, so that two workers never take the same one; each is run once at most.
# What nobody knows about comes first: behind the backlog of its account it might wait for hours.
CLAIM = f"""
    UPDATE deviations_deviation
    SET status = CASE WHEN status = 'scheduled' THEN 'uploading' ELSE status END,
        worker_id = %s, lease_id = %s, updated_at = %s
    WHERE id = coalesce({{candidates}}) AND {WORKER_IS_ALIVE}
        AND {MARK_SQL}
    RETURNING id, workspace_id, due_at
"""  # noqa: S608 - constants alone


@dataclass(frozen=True, slots=True)
class Claim:
    """A work in the hands of a worker. The lease fences decisions: once it is gone, nothing of this may be written."""

    deviation_id: UUID
    account_id: UUID
    workspace_id: UUID
    worker_id: UUID
    lease_id: UUID
    due_at: datetime


@dataclass(frozen=True, slots=True)
class StageClaim:
    """A publication in the hands of a worker that uploads it ahead of its time; the work itself stays the artist's."""

    publication_id: UUID
    deviation_id: UUID
    account_id: UUID
    workspace_id: UUID
    worker_id: UUID
    lease_id: UUID


def claimable(*, may_upload: bool = True, may_look: bool = True) -> DeviationQuerySet:
    """Works that a publisher may take up now or in a moment, of accounts that are able and have none in flight.

    A work that is overdue by more than its account's limit is not among them: a person decides about it. Nor is one
    that is being uploaded ahead of its time. ``may_upload``: also works of which nothing is in the stash yet;
    ``may_look``: also those of which nobody knows whether they are live.
    """
    in_flight = Deviation.objects.claimed().filter(account=OuterRef("account"))
    staged_now = Publication.objects.filter(deviation=OuterRef("pk"), stage_lease_id__isnull=False)
    due = (
        Deviation.objects.due(clock.StatementNow() + CLAIM_AHEAD)
        .filter(in_time(), account__in=DeviantArtAccount.objects.filter(able_accounts()))
        # A row that mixes two workspaces was forged or is a fault of ours: it must not reach anybody's gallery.
        .filter(~Exists(in_flight), ~Exists(staged_now), account__workspace=F("workspace"))
    )
    if not may_upload:
        in_hand = StashItem.objects.filter(publication__deviation=OuterRef("pk"), state=StashItem.State.IN_HAND)
        due = due.filter(Q(Exists(in_hand)) | Q(unconfirmed_since__isnull=False))
    if not may_look:
        due = due.filter(unconfirmed_since__isnull=True)
    return due


def claim_next(account_id: UUID, worker_id: UUID, *, may_upload: bool = True, may_look: bool = True) -> Claim | None:
    """Take the account's earliest due work; None if there is none. It may be a moment early (CLAIM_AHEAD).

    The reason of the wait before stays: what failed again and again must be seen as that. See `claimable` for the rest.
    """
    if not host_agrees():
        return None
    lease_id = new_id()
    sql, searches = _claim_sql(settings.DEVIANTART_BASE_URL, may_upload=may_upload, may_look=may_look)
    try:
        with prepared_cursor() as cursor:
            accounts = [account_id] * searches
            cursor.execute(sql, [worker_id, lease_id, clock.now(), *accounts, worker_id, *mark_params()])
            row = cursor.fetchone()
    except IntegrityError as error:
        if "deviation_one_claimed_per_account" in str(error):
            return None  # another worker was faster
        raise
    if row is None:
        return None
    deviation_id, workspace_id, due_at = row
    return Claim(deviation_id, account_id, workspace_id, worker_id, lease_id, due_at)


ANY_ACCOUNT = UUID(int=0)


@cache
def _claim_sql(_base_url: str, *, may_upload: bool, may_look: bool) -> tuple[str, int]:
    """The statement, and how many subqueries it has, each with the account as its parameter.

    To make them of the querysets costs more than to run it. ``_base_url`` is among their values (see `able_accounts`).
    """
    works = claimable(may_upload=may_upload, may_look=may_look).filter(account_id=ANY_ACCOUNT)
    unconfirmed = [works.filter(unconfirmed_since__isnull=False)] if may_look else []
    found = [
        written_out(each.order_by("due_at", "pk").values("pk")[:1], parameter=ANY_ACCOUNT)
        for each in (*unconfirmed, works.filter(unconfirmed_since__isnull=True))
    ]
    candidates = ", ".join(f"({sql} FOR UPDATE OF deviations_deviation SKIP LOCKED)" for sql in found)
    return CLAIM.format(candidates=candidates), len(found)


@contextmanager
def held(claim: Claim) -> Iterator[Deviation]:
    """The claimed work, locked, in a transaction; raises ClaimLost when the lease no longer holds it.

    What the block changes on the work is saved with it.
    """
    with transaction.atomic(durable=True):
        deviation = _held(claim).select_for_update(of=("self",)).first()
        if deviation is None:
            raise ClaimLost(f"The lease {claim.lease_id} no longer holds the work {claim.deviation_id}.")
        before = _claim_fields(deviation)
        yield deviation
        if _claim_fields(deviation) != before:
            save_claim(deviation)


def _held(claim: Claim) -> DeviationQuerySet:
    """The claimed work, as long as the lease holds it."""
    alive = Worker.objects.alive().filter(pk=claim.worker_id)
    return Deviation.objects.filter(Exists(alive), pk=claim.deviation_id, lease_id=claim.lease_id)


@contextmanager
def held_stage(claim: StageClaim) -> Iterator[Publication]:
    """The publication that is being staged, locked, in a transaction; raises ClaimLost when the lease is gone.

    What the block changes on the publication, the block saves.
    """
    alive = Worker.objects.alive().filter(pk=claim.worker_id)
    with transaction.atomic(durable=True):
        publication = (
            Publication.objects.filter(Exists(alive), pk=claim.publication_id, stage_lease_id=claim.lease_id)
            .select_for_update(of=("self",))
            .first()
        )
        if publication is None:
            raise ClaimLost(f"The lease {claim.lease_id} no longer holds the publication {claim.publication_id}.")
        yield publication


def leave_be(claim: Claim) -> None:
    """Let the work go as if it had not been claimed: it stays due, and nothing else about it changes."""
    with held(claim) as deviation:
        if deviation.status == Deviation.Status.UPLOADING:
            deviation.move_to(Deviation.Status.SCHEDULED, reason=deviation.reason_code, params=deviation.reason_params)
        deviation.release()


def put_back(claim: Claim, *, in_seconds: float = 0, reason: str = "", params: dict[str, Any] | None = None) -> None:
    """Let the work go, to be taken up again in so many seconds with everything that is known of it then."""
    with held(claim) as deviation:
        let_go(
            deviation,
            next_attempt_at=clock.database_now() + timedelta(seconds=in_seconds),
            reason=reason,
            params=params,
        )


def let_go(
    deviation: Deviation, *, next_attempt_at: datetime, reason: str = "", params: dict[str, Any] | None = None
) -> None:
    """Release a locked work in memory; what it becomes follows from what is written down about its parts.

    Unconfirmed while nobody knows whether a part is live; *publishing* while a part is live and others are not;
    *scheduled* otherwise.
    """
    if Publication.objects.filter(deviation=deviation).unconfirmed().exists():
        if deviation.unconfirmed_since is None:
            deviation.unconfirmed_since = clock.database_now()
            record("deviation.unconfirmed", deviation)
        reason, params = reason or "unconfirmed", params or {}
    else:
        deviation.unconfirmed_since = None
    partly_live = Publication.objects.live().filter(deviation=deviation).exists()
    if deviation.unconfirmed_since is not None or partly_live:
        if deviation.status == Deviation.Status.UPLOADING:
            # The database is older than its first publish call, and what that call did was written down all the same.
            deviation.move_to(Deviation.Status.PUBLISHING)
        deviation.reason_code, deviation.reason_params = reason, params or {}
    else:
        deviation.move_to(Deviation.Status.SCHEDULED, reason=reason, params=params)
    deviation.next_attempt_at = next_attempt_at
    deviation.release()
    # If it ran alone, it does so no longer.
    Publication.objects.filter(deviation=deviation, is_alone=True).update(is_alone=False)


def end(claim: Claim, status: Deviation.Status, *, reason: str = "", params: dict[str, Any] | None = None) -> None:
    """Let the work go for good: published, failed with a reason, or with a question for its owner."""
    with held(claim) as deviation:
        conclude(deviation, status, reason=reason, params=params)


def conclude(
    deviation: Deviation, status: Deviation.Status, *, reason: str = "", params: dict[str, Any] | None = None
) -> None:
    """Release a locked work for good, in memory, and tell of it; the caller saves it."""
    lease_id = deviation.lease_id
    deviation.move_to(status, reason=reason, params=params)
    deviation.release()
    deviation.next_attempt_at = None
    if status == Deviation.Status.PUBLISHED:
        deviation.published_at = min(
            (part.published_at for part in deviation.publications.live() if part.published_at),
            default=clock.database_now(),
        )
        deviation.unconfirmed_since = None
    record(f"deviation.{status.value}", deviation, reason=reason, **(params or {}))
    if status in {Deviation.Status.FAILED, Deviation.Status.NEEDS_DECISION}:
        notify(
            f"work_{status.value}",
            workspace=deviation.workspace,
            dedupe_key=f"{deviation.pk}:{status.value}:{lease_id}",
            deviation_id=str(deviation.pk),
            title=deviation.title,
            reason=reason,
        )


def finish(claim: Claim, *, published_at: datetime) -> None:
    """The work is out: let it go for good. One statement with its audit event; as `end`, without a look at the rest."""
    at = clock.now()
    with prepared_cursor() as cursor:
        cursor.execute(
            FINISH,
            [published_at, at, claim.deviation_id, claim.lease_id, claim.worker_id, at, correlation_id()],
        )
        ended = cursor.rowcount
    if not ended:
        raise ClaimLost(f"The lease {claim.lease_id} no longer holds the work {claim.deviation_id}.")


# Both or neither, as it is one statement.
FINISH = f"""
    WITH ended AS (
        UPDATE deviations_deviation
        SET status = 'published', reason_code = '', reason_params = '{{}}', worker_id = NULL, lease_id = NULL,
            next_attempt_at = NULL, unconfirmed_since = NULL, published_at = %s, updated_at = %s
        WHERE id = %s AND lease_id = %s AND status IN ('uploading', 'publishing') AND {WORKER_IS_ALIVE}
        RETURNING id, workspace_id)
    INSERT INTO accounts_auditevent (at, workspace_id, user_id, verb, subject_type, subject_id, params, correlation_id)
    SELECT %s, workspace_id, NULL, 'deviation.published', 'deviation', id, '{{"reason": ""}}', %s FROM ended
"""  # noqa: S608 - constants alone


CLAIM_FIELDS = [
    "status",
    "reason_code",
    "reason_params",
    "worker_id",
    "lease_id",
    "next_attempt_at",
    "unconfirmed_since",
    "published_at",
]


def _claim_fields(deviation: Deviation) -> list[Any]:
    return [getattr(deviation, name) for name in CLAIM_FIELDS]


def save_claim(deviation: Deviation) -> None:
    """Save everything that claiming, letting go and ending change."""
    deviation.updated_at = clock.now()
    deviation.save(update_fields=[*CLAIM_FIELDS, "updated_at"])
