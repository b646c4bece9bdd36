"""Keeping logins alive: a refresh token that nobody uses dies after three months (deviantart-api.md, section 3.4).

What has lain idle for a month is renewed, so that there are two more in which it may fail; where it keeps failing, the
owner is warned. A refresh whose answer was lost is tried once more as soon as there is no living access token to lose,
so that an artist hears of a lost login before a work is due. No schedule is touched by any of it.
"""

import time
from dataclasses import asdict, dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import Q

from accounts.errors import LoginLost, SecretUnreadable, TokenUnavailable
from accounts.models import DeviantArtAccount, Notification
from accounts.models.deviantart_accounts import DeviantArtAccountQuerySet
from accounts.services.notifying import notify
from accounts.services.tokens import usable_token
from isekai import clock, queue

logger = structlog.get_logger(__name__)

RENEW_IDLE_AFTER = timedelta(days=30)
WARN_BEFORE = timedelta(days=7)
WARN_URGENTLY_BEFORE = timedelta(days=1)

# A run ends long before its message would be given to somebody else; what is left is for the next one.
MOST_PER_RUN = 500
RUN_SECONDS = 300.0
# So many failures in a row are no matter of these accounts: DeviantArt is away, or refuses the whole installation.
MOST_FAILURES_IN_A_ROW = 3


@dataclass(slots=True)
class Upkeep:
    """What came of a run; ``is_cut_short`` when it has left accounts for the next one."""

    renewed: int = 0
    lost: int = 0
    failed: int = 0
    warned: int = 0
    is_cut_short: bool = False


def maintain_tokens() -> Upkeep:
    """Renew the tokens of accounts that have lain idle, and warn of logins that are about to end.

    May run late, twice, or in several processes at once: an account is renewed once, and each warning is given once.
    """
    upkeep = Upkeep()
    _renew(upkeep)
    _warn(upkeep)
    logger.info("tokens_maintained", **asdict(upkeep))
    return upkeep


def needing_renewal() -> DeviantArtAccountQuerySet:
    """Idle accounts, and those of which nobody knows whether their login lives, the most urgent first.

    Those that failed before come last, so that they do not keep the others waiting.
    """
    now = clock.DatabaseNow()
    lives_on = timedelta(days=settings.REFRESH_TOKEN_DAYS) - RENEW_IDLE_AFTER
    is_idle = Q(refresh_expires_at__isnull=True) | Q(refresh_expires_at__lte=now + lives_on)
    is_in_doubt = Q(refresh_in_doubt=True) | Q(refresh_lease_until__isnull=False, refresh_lease_until__lte=now)
    access_is_over = Q(access_expires_at__isnull=True) | Q(access_expires_at__lte=now)
    has_rested = Q(refresh_retry_at__isnull=True) | Q(refresh_retry_at__lte=now)
    return (
        _ours()
        .filter(has_rested, (is_idle & ~is_in_doubt) | (is_in_doubt & access_is_over))
        .order_by("refresh_failures", "refresh_expires_at", "pk")
    )


def _ours() -> DeviantArtAccountQuerySet:
    return DeviantArtAccount.objects.filter(state=DeviantArtAccount.State.ACTIVE, base_url=settings.DEVIANTART_BASE_URL)


def _renew(upkeep: Upkeep) -> None:
    ends_at = time.monotonic() + RUN_SECONDS
    failures = 0
    accounts = list(needing_renewal().values_list("pk", "token_version")[: MOST_PER_RUN + 1])
    for number, (account_id, version) in enumerate(accounts):
        if number == MOST_PER_RUN or time.monotonic() >= ends_at:
            upkeep.is_cut_short = True
            if upkeep.renewed or upkeep.lost:
                queue.send("maintenance.maintain_tokens")
            return
        if failures == MOST_FAILURES_IN_A_ROW:
            upkeep.is_cut_short = True
            return
        try:
            usable_token(account_id, rejected_version=version)
        except LoginLost:
            upkeep.lost += 1
            failures = 0
        except TokenUnavailable:
            upkeep.failed += 1
            failures += 1
        except SecretUnreadable:
            upkeep.failed += 1
            logger.error("account_token_unreadable", account_id=str(account_id))
        else:
            upkeep.renewed += 1
            failures = 0


def _warn(upkeep: Upkeep) -> None:
    now = clock.database_now()
    ending = _ours().filter(refresh_expires_at__gt=now, refresh_expires_at__lte=now + WARN_BEFORE)
    warnings = {}
    for account in ending.select_related("workspace").order_by("refresh_expires_at", "pk"):
        assert account.refresh_expires_at is not None  # noqa: S101 - for the types: those were asked for
        is_urgent = account.refresh_expires_at <= now + WARN_URGENTLY_BEFORE
        kind = "login_ends_tomorrow" if is_urgent else "login_ends_soon"
        warnings[f"{kind}:{account.pk}:{account.token_version}"] = (kind, account)
    given = Notification.objects.filter(dedupe_key__in=warnings).values_list("dedupe_key", flat=True)
    for dedupe_key in warnings.keys() - set(given):
        kind, account = warnings[dedupe_key]
        notify(
            kind,
            workspace=account.workspace,
            dedupe_key=dedupe_key,
            username=account.username,
            account_id=str(account.pk),
            ends_on=f"{account.refresh_expires_at:%Y-%m-%d}",
        )
        upkeep.warned += 1
