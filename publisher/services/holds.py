"""Whose works may go out at this moment; what is held keeps waiting with its time."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, F, Q

from accounts.models import DeviantArtAccount
from deviations.models import Deviation
from isekai import clock
from publisher.models import GalleryCheck, InstallationHold


def able_accounts(*, deferred: bool = False) -> Q:
    """Of accounts that may publish at this moment, as a condition on `DeviantArtAccount`.

    ``deferred``: also those that may as soon as DeviantArt's own wait is over.
    """
    over = Q(not_before__isnull=True) | Q(not_before__lte=clock.StatementNow())
    return Q(
        Q() if deferred else over,
        ~Exists(InstallationHold.objects.all()),
        ~galleries_unread(),
        state=DeviantArtAccount.State.ACTIVE,
        paused=False,
        # What was connected at one server is never sent to another.
        base_url=settings.DEVIANTART_BASE_URL,
    )


def galleries_unread() -> Q:
    """Of accounts whose works may be live without our knowing, as a condition on `DeviantArtAccount`.

    A work may be live in another gallery of the workspace, if it was moved in the time that is forgotten. One that
    cannot be read, as its account has no login, keeps only its own account waiting.
    """
    pending = GalleryCheck.objects.pending()
    readable = pending.filter(
        account__state=DeviantArtAccount.State.ACTIVE, account__base_url=settings.DEVIANTART_BASE_URL
    )
    # Two lists, as a rule empty. From one condition on pairs the server would expect that next to no account is able,
    # and look at the works of each account rather than at those that come next.
    return Q(pk__in=pending.values("account")) | Q(workspace__in=readable.values("account__workspace"))


def in_time() -> Q:
    """Of works that may still go out by themselves: not too late, or begun already."""
    limit = F("account__late_limit_seconds") * timedelta(seconds=1)
    return Q(publish_at__gt=clock.StatementNow() - limit) | Q(status=Deviation.Status.PUBLISHING)
