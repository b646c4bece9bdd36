"""Whose works may go out at this moment; what is held keeps waiting with its time."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q

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
        ~Exists(GalleryCheck.objects.pending().filter(account=OuterRef("pk"))),
        state=DeviantArtAccount.State.ACTIVE,
        paused=False,
        # What was connected at one server is never sent to another.
        base_url=settings.DEVIANTART_BASE_URL,
    )


def in_time() -> Q:
    """Of works that may still go out by themselves: not too late, or begun already."""
    limit = F("account__late_limit_seconds") * timedelta(seconds=1)
    return Q(publish_at__gt=clock.StatementNow() - limit) | Q(status=Deviation.Status.PUBLISHING)
