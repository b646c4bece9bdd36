"""Taking a work for this worker alone, and letting it go again. Everything here is one short transaction."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.models import DeviantArtAccount
from accounts.services.audit import record
from accounts.services.notifying import notify
from deviations.models import Deviation, DeviationQuerySet
from isekai import clock
from isekai.ids import new_id
from publisher.errors import ClaimLost
from publisher.models import Publication, Worker
from publisher.services.holds import able_accounts, in_time

logger = structlog.get_logger(__name__)

# What falls due within this time is claimed now and waited for: cheaper than another round through the queue.
CLAIM_AHEAD = timedelta(milliseconds=250)


@dataclass(frozen=True, slots=True)
class Claim:
    """A work in the hands of a worker. The lease fences decisions: once it is gone, nothing of this may be written."""

    deviation_id: UUID
    account_id: UUID
    workspace_id: UUID
    worker_id: UUID
    lease_id: UUID


def claimable() -> DeviationQuerySet:
    """Works that a publisher may take up now or in a moment, of accounts that are able and have none in flight.

    A work that is overdue by more than its account's limit is not among them: a person decides about it.
    """
    in_flight = Deviation.objects.claimed().values("account_id")
    return (
        Deviation.objects.due(clock.DatabaseNow() + CLAIM_AHEAD)
        .filter(in_time(), account__in=DeviantArtAccount.objects.filter(able_accounts()))
        # A row that mixes two workspaces was forged or is a fault of ours: it must not reach anybody's gallery.
        .filter(account__workspace=F("workspace"))
        .exclude(account_id__in=in_flight)
    )


def claim_next(account_id: UUID, worker_id: UUID) -> Claim | None:
    """Take the account's earliest due work and wait the rest of its last moments; None if there is none."""
    lease_id = new_id()
    try:
        with transaction.atomic(durable=True):
            deviation = (
                claimable()
                .filter(account_id=account_id)
                .order_by("due_at", "pk")
                .select_for_update(skip_locked=True, of=("self",))
                .first()
            )
            if deviation is None:
                return None
            if deviation.status == Deviation.Status.SCHEDULED:
                # The reason of the wait before stays: what failed again and again must be seen as that.
                deviation.move_to(
                    Deviation.Status.UPLOADING, reason=deviation.reason_code, params=deviation.reason_params
                )
            deviation.hold(worker_id=worker_id, lease_id=lease_id)
            save_claim(deviation)
    except IntegrityError as error:
        if "deviation_one_claimed_per_account" in str(error):
            return None  # another worker was faster
        raise
    early = (deviation.due_at - clock.database_now()).total_seconds()
    if early > 0:
        time.sleep(early)
    return Claim(deviation.pk, account_id, deviation.workspace_id, worker_id, lease_id)


@contextmanager
def held(claim: Claim) -> Iterator[Deviation]:
    """The claimed work, locked, in a transaction; raises ClaimLost when the lease no longer holds it.

    What the block changes on the work is saved with it.
    """
    with transaction.atomic(durable=True):
        deviation = Deviation.objects.select_for_update().filter(pk=claim.deviation_id, lease_id=claim.lease_id).first()
        if deviation is None or not Worker.objects.alive().filter(pk=claim.worker_id).exists():
            raise ClaimLost(f"The lease {claim.lease_id} no longer holds the work {claim.deviation_id}.")
        yield deviation
        save_claim(deviation)


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
        deviation.reason_code, deviation.reason_params = reason, params or {}
    else:
        deviation.move_to(Deviation.Status.SCHEDULED, reason=reason, params=params)
    deviation.next_attempt_at = next_attempt_at
    deviation.release()


def end(claim: Claim, status: Deviation.Status, *, reason: str = "", params: dict[str, Any] | None = None) -> None:
    """Let the work go for good: published, failed with a reason, or with a question for its owner."""
    with held(claim) as deviation:
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
                dedupe_key=f"{deviation.pk}:{status.value}:{claim.lease_id}",
                deviation_id=str(deviation.pk),
                title=deviation.title,
                reason=reason,
            )


def save_claim(deviation: Deviation) -> None:
    """Save everything that claiming, letting go and ending change."""
    deviation.updated_at = clock.now()
    deviation.save(
        update_fields=[
            "status",
            "reason_code",
            "reason_params",
            "worker_id",
            "lease_id",
            "next_attempt_at",
            "unconfirmed_since",
            "published_at",
            "updated_at",
        ]
    )
