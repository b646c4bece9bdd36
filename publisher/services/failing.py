"""What follows from a call that did not succeed. Each of these lets the work go, and returns False to say so."""

from datetime import datetime, timedelta
from typing import Any, Literal

import structlog
from django.conf import settings

from accounts.models import DeviantArtAccount, Membership
from accounts.services.holding import defer_account
from accounts.services.notifying import notify
from accounts.services.tokens import lose_login
from deviantart.errors import (
    Category,
    DeviantArtError,
    ItemNotFound,
    Outcome,
    PublicationFailed,
    QuotaExceeded,
    ScopeMissing,
)
from deviations.models import Deviation
from isekai import clock
from publisher.models import Attempt, Publication, StashItem
from publisher.services.backoff import next_midnight, retry_delay
from publisher.services.claiming import end, held, put_back
from publisher.services.job import Job

logger = structlog.get_logger(__name__)

QUOTA_SECONDS = 24 * 3600
# Publications of one account that DeviantArt failed to publish within so long: it has had enough of that account.
QUOTA_SIGN_SECONDS = 3600
PUBLICATION_FAILED = 6
ITEM_NOT_FOUND = 7


def scaled(seconds: float) -> float:
    return seconds * settings.ISEKAI_TIME_SCALE


def after_submit(
    job: Job, publication: Publication, error: DeviantArtError, *, pause: float | None = None
) -> Literal[False]:
    """An upload did not succeed. Whether an item was made all the same nobody may know, and nothing can list it.

    An invisible item does no harm, so the upload is done again; only for a work that was meant for the stash alone
    would that be a second one, and its owner decides. ``pause`` is for how many seconds the account may not call.
    """
    if error.outcome is Outcome.UNKNOWN and job.deviation.stash_only:
        ask(job, reason="stash_unconfirmed")
    elif not _concerns_the_account(job, error, pause):
        _try_later_or_give_up(job, publication, error)
    return False


def after_publish(
    job: Job, publication: Publication, item: StashItem, error: DeviantArtError, *, pause: float | None = None
) -> Literal[False]:
    """A publish call did not succeed: an unknown outcome is looked for, a definite one repeated later or given up.

    ``pause`` is for how many seconds the account may not call.
    """
    if error.outcome is Outcome.UNKNOWN:
        put_back(job.claim, in_seconds=settings.PUBLISHER_LOOK_SECONDS[0])
    elif _concerns_the_account(job, _as_quota(publication, error), pause):
        pass
    elif publication.attempts.publishing().unsettled().exists():
        _after_a_refused_repeat(job, publication, error)
    elif isinstance(error, ItemNotFound):
        _upload_once_more(job, publication, item, error)
    else:
        _try_later_or_give_up(job, publication, error)
    return False


def after_look_up(job: Job, error: DeviantArtError) -> Literal[False]:
    """A look-up was refused because of the account; the work stays unconfirmed."""
    if not _concerns_the_account(job, error):
        put_back(job.claim, in_seconds=settings.PUBLISHER_LOOK_SECONDS[-1])
    return False


def ask(job: Job, *, reason: str, params: dict[str, Any] | None = None) -> Literal[False]:
    """Nothing more can be found out about a part of the work: a person has to look."""
    if job.deviation.publications.live().exists():
        reason, params = "partial", {**(params or {}), "cause": reason}
    end(job.claim, Deviation.Status.NEEDS_DECISION, reason=reason, params=params)
    return False


def give_up(job: Job, publication: Publication, *, reason: str, params: dict[str, Any] | None = None) -> Literal[False]:
    """This publication will not be tried again by itself: the work failed, as a whole or in a part."""
    with held(job.claim):
        publication.state = Publication.State.REFUSED
        publication.save(update_fields=["state"])
    if job.deviation.publications.live().exists():
        reason, params = "partial", {**(params or {}), "cause": reason}
    end(job.claim, Deviation.Status.FAILED, reason=reason, params=params)
    return False


def _concerns_the_account(job: Job, error: DeviantArtError, pause: float | None = None) -> bool:
    """Whether it is no matter of this work: then the account is held, and the work keeps its time and its counters."""
    version = job.token.version if job.token else job.account.token_version
    reason = hold_account(job.account, error, token_version=version, pause=pause)
    if reason is None:
        return False
    put_back(job.claim, reason=reason)
    return True


def hold_account(
    account: DeviantArtAccount, error: DeviantArtError, *, token_version: int, pause: float | None = None
) -> str | None:
    """Hold the account if ``error`` is no matter of a single work; why its works wait, None when they need not.

    ``token_version`` is that of the token which was refused, ``pause`` for how many seconds the pace lets nobody call.
    """
    now = clock.database_now()
    match error.category:
        case Category.RATE_LIMIT:
            # Without the pace nobody else remembers what DeviantArt asked for.
            pause = pause or error.retry_after_seconds or settings.RATE_LIMITER_BASE_DELAY_SECONDS
            defer_account(account.pk, until=now + timedelta(seconds=pause), reason="rate_limit")
            return "rate_limit"
        case Category.QUOTA_EXCEEDED:
            _wait_for_tomorrow(account, now)
            return "quota"
        case Category.AUTH_ERROR | Category.TOKEN_EXPIRED:
            lose_login(account.pk, token_version=token_version, reason=_why_lost(error))
            return "login_lost"
        case _:
            return None


def _wait_for_tomorrow(account: DeviantArtAccount, now: datetime) -> None:
    """Hold the account until midnight where its owner lives, 24 hours at most, and tell them."""
    owners = Membership.objects.filter(workspace=account.workspace_id, role=Membership.Role.OWNER)
    zone = owners.order_by("created_at").values_list("user__time_zone", flat=True).first() or "UTC"
    until = min(next_midnight(now, zone), now + timedelta(seconds=scaled(QUOTA_SECONDS)))
    defer_account(account.pk, until=until, reason="quota")
    notify(
        "account_quota",
        workspace=account.workspace,
        dedupe_key=f"{account.pk}:quota:{until.date()}",
        account=account.username,
    )


def _as_quota(publication: Publication, error: DeviantArtError) -> DeviantArtError:
    """The error; or, when DeviantArt failed to publish another work of the account lately too, a used-up quota.

    How DeviantArt reports a used-up quota is not known for sure. That the same work fails again says nothing about it.
    """
    if not isinstance(error, PublicationFailed):
        return error
    lately = clock.DatabaseNow() - timedelta(seconds=scaled(QUOTA_SIGN_SECONDS))
    others = (
        Attempt.objects.publishing()
        .filter(publication__account=publication.account_id, error_code=PUBLICATION_FAILED, ended_at__gt=lately)
        .exclude(publication=publication)
    )
    if not others.exists():
        return error
    return QuotaExceeded(error_code=error.error_code, description=error.description, http_status=error.http_status)


def _why_lost(error: DeviantArtError) -> str:
    if isinstance(error, ScopeMissing):
        return "scope_missing"
    # Refused again directly after it was renewed: the grant itself is gone.
    return "token_rejected" if error.category is Category.TOKEN_EXPIRED else error.code


def _try_later_or_give_up(job: Job, publication: Publication, error: DeviantArtError) -> None:
    """Count a failure that certainly published nothing, and come back after its category's wait, if there is one."""
    words = {"category": error.category.value, "description": error.description[:500], "fields": error.details}
    with held(job.claim):
        publication.failures += 1
        publication.save(update_fields=["failures"])
    delay = retry_delay(error, publication.failures)
    if delay is not None:
        put_back(job.claim, in_seconds=delay, reason="try_later", params=words)
        return
    reason = "refused" if error.category is Category.VALIDATION_ERROR else "tried_too_often"
    if error.category is Category.UNKNOWN:
        notify(
            "answer_not_understood",
            workspace=None,
            dedupe_key=f"{publication.pk}:unknown",
            publication_id=str(publication.pk),
            description=error.description[:500],
        )
    give_up(job, publication, reason=reason, params=words)


def _upload_once_more(job: Job, publication: Publication, item: StashItem, error: DeviantArtError) -> None:
    """DeviantArt knows no such item, and no call of ours can have published it: once more from the start."""
    with held(job.claim):
        item.state = StashItem.State.ABANDONED
        item.save(update_fields=["state"])
    if publication.attempts.publishing().filter(error_code=ITEM_NOT_FOUND).count() > 1:
        give_up(job, publication, reason="item_lost", params={"description": error.description[:500]})
    else:
        put_back(job.claim, reason="item_lost")


def _after_a_refused_repeat(job: Job, publication: Publication, error: DeviantArtError) -> None:
    """The same item was published again to settle an unknown outcome, and DeviantArt said no.

    If it may say yes later, it is asked again; otherwise whether the first call worked cannot be known, and a person
    has to look.
    """
    if isinstance(error, PublicationFailed):
        refusals = publication.attempts.publishing().filter(error_code=PUBLICATION_FAILED).count()
        delay = retry_delay(error, refusals)
    elif error.category in {Category.NETWORK_ERROR, Category.SERVER_ERROR}:
        delay = settings.PUBLISHER_LOOK_SECONDS[-1]
    else:
        delay = None
    if delay is not None:
        put_back(job.claim, in_seconds=delay)
    else:
        ask(job, reason="unconfirmed", params={"description": error.description[:500]})
