"""What follows from a call that did not succeed. Each of these lets the work go, and returns False to say so."""

from datetime import timedelta
from typing import Any, Literal

import structlog
from django.conf import settings

from accounts.services.holding import defer_account
from accounts.services.notifying import notify
from accounts.services.tokens import lose_login
from deviantart.errors import Category, DeviantArtError, ItemNotFound, Outcome, ScopeMissing
from deviations.models import Deviation
from isekai import clock
from publisher.models import Publication, StashItem
from publisher.services.backoff import retry_delay
from publisher.services.claiming import end, held, put_back
from publisher.services.job import Job

logger = structlog.get_logger(__name__)

QUOTA_SECONDS = 24 * 3600
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
        end(job.claim, Deviation.Status.NEEDS_DECISION, reason="stash_unconfirmed")
    elif not _concerns_the_account(job, error, pause):
        _try_later_or_give_up(job, publication, error)
    return False


def after_publish(
    job: Job, publication: Publication, item: StashItem, error: DeviantArtError, *, pause: float | None = None
) -> Literal[False]:
    """A publish call did not succeed: an unknown outcome is looked for, a definite one repeated later or given up.

    ``pause`` is for how many seconds the account may not call.
    """
    unsettled = publication.attempts.publishing().unsettled().count()
    if unsettled >= settings.PUBLISHER_MAX_ATTEMPTS:
        end(job.claim, Deviation.Status.NEEDS_DECISION, reason="unconfirmed")
    elif error.outcome is Outcome.UNKNOWN:
        put_back(job.claim, in_seconds=settings.PUBLISHER_LOOK_SECONDS[0])
    elif _concerns_the_account(job, error, pause):
        pass
    elif unsettled:
        _after_a_refused_repeat(job, error)
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


def give_up(job: Job, publication: Publication, *, reason: str, params: dict[str, Any] | None = None) -> Literal[False]:
    """This publication will not be tried again by itself: the work failed, as a whole or in a part."""
    with held(job.claim):
        publication.state = Publication.State.REFUSED
        publication.save(update_fields=["state"])
    partly_live = job.deviation.publications.live().exists()
    end(
        job.claim,
        Deviation.Status.FAILED,
        reason="partial" if partly_live else reason,
        params={**(params or {}), "cause": reason} if partly_live else params,
    )
    return False


def _concerns_the_account(job: Job, error: DeviantArtError, pause: float | None = None) -> bool:
    """Whether it is no matter of this work: then the account is held, and the work keeps its time and its counters."""
    account_id = job.account.pk
    now = clock.database_now()
    match error.category:
        case Category.RATE_LIMIT:
            # Without the pace nobody else remembers what DeviantArt asked for.
            pause = pause or error.retry_after_seconds or settings.RATE_LIMITER_BASE_DELAY_SECONDS
            defer_account(account_id, until=now + timedelta(seconds=pause), reason="rate_limit")
            put_back(job.claim, reason="rate_limit")
        case Category.QUOTA_EXCEEDED:
            until = now + timedelta(seconds=scaled(QUOTA_SECONDS))
            defer_account(account_id, until=until, reason="quota")
            notify(
                "account_quota",
                workspace=job.deviation.workspace,
                dedupe_key=f"{account_id}:quota:{now.date()}",
                account=job.account.username,
            )
            put_back(job.claim, reason="quota")
        case Category.AUTH_ERROR | Category.TOKEN_EXPIRED:
            version = job.token.version if job.token else job.account.token_version
            reason = _why_lost(error)
            lose_login(account_id, token_version=version, reason=reason)
            put_back(job.claim, reason="login_lost")
        case _:
            return False
    return True


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


def _after_a_refused_repeat(job: Job, error: DeviantArtError) -> None:
    """The same item was published again to settle an unknown outcome, and DeviantArt said no.

    If it may say yes later, it is asked again; otherwise whether the first call worked cannot be known, and a person
    has to look.
    """
    if error.category in {Category.NETWORK_ERROR, Category.SERVER_ERROR}:
        put_back(job.claim, in_seconds=settings.PUBLISHER_LOOK_SECONDS[-1])
    else:
        end(
            job.claim,
            Deviation.Status.NEEDS_DECISION,
            reason="unconfirmed",
            params={"description": error.description[:500]},
        )
