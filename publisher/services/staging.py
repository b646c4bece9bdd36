"""Uploading ahead of time, so that at its moment a work needs only the publish call.

This is no state of a work: it stays scheduled, and the artist may edit it, move it or take it back meanwhile. What is
held is the publication, under a lease of its own: the second lane of an account. Whatever goes wrong here counts as
nothing; at its moment the work is uploaded like any other.
"""

import time
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Case, DateTimeField, Exists, F, Min, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce, Greatest

from accounts.errors import LoginLost, TokenUnavailable
from accounts.models import DeviantArtAccount
from deviantart.errors import Category, DeviantArtError
from deviantart.pace import Kind
from deviations.models import Deviation, DeviationFile, DeviationQuerySet, FileVariant
from deviations.models.files import DeviationFileQuerySet
from isekai import clock, faults, queue
from isekai.ids import new_id
from publisher import metrics
from publisher.errors import ClaimLost
from publisher.models import Attempt, Publication, StashItem, Worker
from publisher.models.publications import PublicationQuerySet
from publisher.services import draining, failing
from publisher.services.agenda import Agenda, work_off
from publisher.services.backoff import retry_delay
from publisher.services.claiming import CLAIM_AHEAD, StageClaim
from publisher.services.clocks import host_agrees
from publisher.services.heartbeat import free_slots, is_registered, this_worker
from publisher.services.holds import able_accounts
from publisher.services.job import StageJob
from publisher.services.marks import mark_condition
from publisher.services.publishing import files_of, publications_of
from publisher.services.sending import submission_of
from publisher.services.slots import CRASHES_BEFORE_ALONE, PUBLISH_NEXT, slots
from publisher.services.steps import (
    STORED_FILE_MISSING,
    NotUploaded,
    UploadRefused,
    abandon,
    copy_for_deviantart,
    upload,
)
from publisher.services.turns import NotYet
from publisher.services.writing import until_written

logger = structlog.get_logger(__name__)

STAGE_NEXT = "publisher.stage_next"
# So long a slot that was woken goes on with what is to be uploaded ahead.
GO_ON_SECONDS = 5.0
# The token must outlive the moment by so much; but no token lives longer than an hour.
TOKEN_OUTLIVES_SECONDS = 600.0
TOKEN_LIVES_AT_MOST_SECONDS = 2700.0
AFTER_A_FAULT_SECONDS = 60.0
# An item that was uploaded for a work that was taken back is good for so long.
ITEM_KEPT_SECONDS = 24 * 3600


def stage_due() -> int:
    """Wake each account with something to be uploaded ahead, the soonest due first; returns how many.

    At most twice as many as there are free slots: what is left is found by the next tick.
    """
    staging = Publication.objects.filter(stage_lease_id__isnull=False).count()
    account_ids = accounts_to_stage(max(1, 2 * (free_slots() - staging)))
    for account_id in account_ids:
        queue.send(STAGE_NEXT, account_id)
    return len(account_ids)


def accounts_to_stage(most: int) -> list[UUID]:
    """Accounts with something to be uploaded ahead, the soonest due first."""
    # The first works tell most of the time; to look at all of them takes long where there are thousands.
    looked_at = 4 * most
    soonest = list(stageable().order_by("due_at").values_list("account_id", flat=True)[:looked_at])
    account_ids = [each for each in dict.fromkeys(soonest) if each is not None]
    if len(soonest) < looked_at or len(account_ids) >= most:
        return account_ids[:most]
    of_all = stageable().order_by().values("account_id").annotate(due=Min("due_at")).order_by("due")[:most]
    return [row["account_id"] for row in of_all]


def stageable() -> DeviationQuerySet:
    """Works that will be due soon, of which something is not in the stash yet, of able accounts with a free lane.

    A work that changed since its upload is among them, until somebody has looked whether its item still fits.
    """
    now = clock.StatementNow()
    in_this_lane = Publication.objects.filter(account=OuterRef("account"), stage_lease_id__isnull=False)
    return (
        Deviation.objects.waiting()
        .filter(
            ~Exists(in_this_lane),
            Exists(_files_to_stage()),
            status=Deviation.Status.SCHEDULED,
            unconfirmed_since__isnull=True,
            due_at__gt=now + CLAIM_AHEAD,
            due_at__lte=now + timedelta(seconds=settings.PUBLISHER_STAGE_AHEAD_SECONDS),
            account__in=DeviantArtAccount.objects.filter(able_accounts()),
            account__workspace=F("workspace"),
        )
        # With the upload such a work has arrived, so it must not be done ahead.
        .exclude(stash_only=True)
    )


def _files_to_stage() -> DeviationFileQuerySet:
    """The files of a work of which something is to be done ahead, for use in `stageable`."""
    copy = FileVariant.objects.filter(file=OuterRef("pk"), kind=FileVariant.Kind.PUBLISH)
    # Each of these by itself, so that the database looks up what belongs to the file rather than read everything.
    over = Publication.objects.filter(file=OuterRef("pk"), deviation=OuterRef(OuterRef("pk"))).filter(
        Q(state=Publication.State.PUBLISHED) | Q(stage_after__gt=clock.StatementNow())
    )
    # ``stage_after`` is also when somebody last looked whether the item still fits.
    looked_at = Greatest(F("created_at"), F("publication__stage_after"))
    fresh = (
        StashItem.objects.filter(publication__file=OuterRef("pk"), publication__deviation=OuterRef(OuterRef("pk")))
        .filter(state=StashItem.State.IN_HAND, account=OuterRef(OuterRef("account")))
        .annotate(looked_at=looked_at)
        .filter(looked_at__gte=OuterRef(OuterRef("updated_at")))
    )
    return DeviationFile.objects.filter(Exists(copy), ~Exists(over), ~Exists(fresh), deviation=OuterRef("pk"))


def stage_next(account_id: UUID, *, keep_going: bool = False) -> None:
    """Upload what the account needs soonest, if there is something and nobody else is at it.

    ``keep_going``: then what others need, for some seconds.
    """
    if keep_going:
        give_up_at = time.monotonic() + failing.scaled(GO_ON_SECONDS)
        following = work_off(agenda(), account_id, do=_stage_next, go_on=lambda: _may_go_on(give_up_at))
    else:
        following = account_id if _stage_next(account_id) else None
    # Those who have the shares for uploads go on by themselves, and the tick finds what they leave. To queue it besides
    # would put it in front of what falls due meanwhile.
    if following is not None and _has_room():
        queue.send(STAGE_NEXT, following)


def _may_go_on(give_up_at: float) -> bool:
    return time.monotonic() < give_up_at and not draining.stopping() and _has_room()


def _has_room() -> bool:
    return slots().place_is_free and slots().may_upload


@cache
def agenda() -> Agenda:
    """What is to be uploaded ahead, for all slots of this process."""
    return Agenda(lambda: accounts_to_stage(2 * slots().total))


def _stage_next(account_id: UUID) -> bool:
    """Whether there was something to upload."""
    if draining.stopping() or not is_registered():
        return False
    with slots().place() as place:
        if place is None or not place.take_upload():
            return False
        claimed = claim_stage(account_id, this_worker())
        if claimed is None:
            return False
        agenda().found()
        claim, publication = claimed
        faults.reach("stage_claimed")
        with structlog.contextvars.bound_contextvars(deviation_id=str(claim.deviation_id)):
            stage_after = _stage(claim, publication)
        until_written(lambda: let_stage_go(claim, stage_after=stage_after))
        faults.reach("stage_ended")
        _wake_if_due(claim)
    return True


def claim_stage(account_id: UUID, worker_id: UUID) -> tuple[StageClaim, Publication] | None:
    """Take the lane of the account for the part of its works that is due soonest; None if there is nothing to be done.

    The lease is taken under the work's lock, so that whoever claims the work sees it, or is seen.
    """
    if not host_agrees():
        return None
    try:
        with transaction.atomic(durable=True):
            alive = Worker.objects.alive().filter(pk=worker_id)
            work = (
                stageable()
                .filter(Exists(alive), mark_condition(), account_id=account_id)
                .select_related("account")
                .order_by("due_at", "pk")
                .select_for_update(skip_locked=True, of=("self",))
                .first()
            )
            part = None if work is None else _part_to_stage(work)
            if work is None or part is None:
                return None
            claim = StageClaim(part.pk, work.pk, account_id, work.workspace_id, worker_id, new_id())
            part.deviation = work
            part.stage_lease_id, part.stage_worker_id = claim.lease_id, claim.worker_id
            part.save()
    except IntegrityError as error:
        if "publication_one_staged_per_account" in str(error):
            return None  # another worker was faster
        raise
    return claim, part


def _part_to_stage(work: Deviation) -> Publication | None:
    """The first of the work's publications that has nothing in the stash which fits; the caller holds the work's lock.

    The others are marked as looked at.
    """
    known = {part.file_id: part for part in publications_of(work)}
    if any(part.stage_lease_id is not None for part in known.values()):
        return None  # by somebody who had the work's lock between our look at the lane and ours
    for position, file in enumerate(files_of(work)):
        variant = copy_for_deviantart(file)
        if variant is None:
            continue
        part = known.get(file.pk)
        if part is None:
            return Publication(deviation=work, file=file, account=work.account, position=position)
        part.file = file
        if part.is_live or (part.stage_after is not None and part.stage_after > clock.database_now()):
            continue
        if getattr(part, "was_tried", False) or part.is_alone or part.crashes >= CRASHES_BEFORE_ALONE:
            # What has a past of its own is left for its moment; what kills its process runs alone then.
            Publication.objects.filter(pk=part.pk).update(stage_after=work.due_at)
            continue
        if not _fits(part, work, variant):
            part.account_id, part.position = work.account_id or part.account_id, position
            if part.state == Publication.State.REFUSED:
                part.state, part.failures, part.crashes = Publication.State.PENDING, 0, 0
            return part
        Publication.objects.filter(pk=part.pk).update(stage_after=Greatest(clock.DatabaseNow(), Value(work.updated_at)))
    return None


def _fits(part: Publication, work: Deviation, variant: FileVariant) -> bool:
    """Whether the item in hand holds what would be sent now; one that does not is abandoned."""
    item: StashItem | None = getattr(part, "item_in_hand", None)
    if item is None:
        return False
    if item.fingerprint == submission_of(part, work, variant).fingerprint(work.account_id):
        return True
    abandon(item)
    return False


def _stage(claim: StageClaim, publication: Publication) -> datetime | None:
    """Upload; returns the moment before which it is not tried again, None if there is no need to wait."""
    work, account = publication.deviation, publication.deviation.account
    variant = copy_for_deviantart(publication.file)
    if account is None or variant is None or work.due_at is None:
        return None
    now = clock.database_now()
    outlives = (work.due_at - now).total_seconds() + failing.scaled(TOKEN_OUTLIVES_SECONDS)
    job = StageJob(claim, work, account, must_live_seconds=min(outlives, TOKEN_LIVES_AT_MOST_SECONDS))
    try:
        upload(job, publication, submission_of(publication, work, variant), kind=Kind.STAGE)
    except NotYet as wait:
        return now + timedelta(seconds=wait.seconds)
    except (LoginLost, ClaimLost) as error:
        logger.info("not_uploaded_ahead", reason=error.code)
    except TokenUnavailable as error:
        return now + timedelta(seconds=error.retry_after_seconds or failing.scaled(AFTER_A_FAULT_SECONDS))
    except NotUploaded as error:
        at_its_moment = error.for_good or error.reason == STORED_FILE_MISSING
        return work.due_at if at_its_moment else now + timedelta(seconds=failing.scaled(AFTER_A_FAULT_SECONDS))
    except UploadRefused as refusal:
        version = job.token.version if job.token else account.token_version
        if failing.hold_account(account, refusal.error, token_version=version, pause=refusal.pause) is None:
            return _later(publication, refusal.error, due_at=work.due_at)
    except Exception:
        # Whatever it was: at its moment the work is uploaded by the other lane, which says so.
        logger.exception("upload_ahead_broke_off")
        return now + timedelta(seconds=failing.scaled(AFTER_A_FAULT_SECONDS))
    else:
        faults.reach("stage_submitted")
        logger.info("uploaded_ahead", publication_id=str(publication.pk))
    return None


def _later(publication: Publication, error: DeviantArtError, *, due_at: datetime) -> datetime:
    """When to try again: later and later; at its own moment after a refusal that would only be repeated."""
    if error.category is Category.VALIDATION_ERROR:
        return due_at
    refusals = publication.attempts.filter(step=Attempt.Step.SUBMIT).exclude(outcome=Attempt.Outcome.DONE).count()
    delay = retry_delay(error, refusals)
    return due_at if delay is None else clock.database_now() + timedelta(seconds=delay)


def let_stage_go(claim: StageClaim, *, stage_after: datetime | None = None) -> None:
    """Give the lane back; harmless when the lease is gone."""
    _give_lane_back(Publication.objects.filter(pk=claim.publication_id, stage_lease_id=claim.lease_id), stage_after)


def _give_lane_back(publications: PublicationQuerySet, stage_after: datetime | None = None) -> int:
    return publications.update(
        stage_lease_id=None,
        stage_worker_id=None,
        stage_after=Coalesce(Value(stage_after, output_field=DateTimeField()), F("stage_after")),
        state=Case(When(state=Publication.State.SUBMITTING, then=Value(Publication.State.PENDING)), default=F("state")),
    )


def _wake_if_due(claim: StageClaim) -> None:
    """While it was uploaded the work could not be claimed; if its moment came meanwhile, it goes out now."""
    due = Deviation.objects.due(clock.DatabaseNow() + CLAIM_AHEAD).filter(pk=claim.deviation_id)
    if due.exists():
        queue.send(PUBLISH_NEXT, claim.account_id)


def rescue_staged() -> int:
    """Give back the lanes whose worker is gone; returns how many. Harmless when run twice."""
    alive = Worker.objects.alive().filter(pk=OuterRef("stage_worker_id"))
    abandoned = Publication.objects.filter(~Exists(alive), stage_lease_id__isnull=False)
    rescued = 0
    for publication in abandoned.order_by("pk"):
        with transaction.atomic(durable=True):
            ours = abandoned.filter(pk=publication.pk, stage_lease_id=publication.stage_lease_id)
            row = ours.select_for_update(skip_locked=True, of=("self",)).first()
            if row is None:
                continue
            if row.state == Publication.State.SUBMITTING:
                # Counted as at any step, so that a file that kills its process is not tried for ever.
                Publication.objects.filter(pk=row.pk).update(crashes=F("crashes") + 1)
            _give_lane_back(Publication.objects.filter(pk=row.pk))
        rescued += 1
        metrics.RESCUES.inc()
        logger.warning("stage_rescued", publication_id=str(publication.pk), lease_id=str(publication.stage_lease_id))
        queue.send(PUBLISH_NEXT, publication.account_id)
    return rescued


def abandon_old_items() -> int:
    """Let go of the items of works that were taken back a day ago or earlier; returns how many. Harmless twice."""
    day_ago = clock.DatabaseNow() - timedelta(seconds=ITEM_KEPT_SECONDS)
    taken_back = Deviation.objects.filter(
        status__in=[Deviation.Status.DRAFT, Deviation.Status.REVIEW], updated_at__lt=day_ago
    )
    old = StashItem.objects.filter(
        state=StashItem.State.IN_HAND,
        created_at__lt=day_ago,
        publication__deviation__in=taken_back,
        publication__stage_lease_id__isnull=True,
    )
    return old.update(state=StashItem.State.ABANDONED)
