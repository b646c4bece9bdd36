"""Rows that nothing else would clear."""

from datetime import timedelta

from django.contrib.sessions.models import Session

from accounts.models import DeviantArtAccount, IdempotencyKey
from isekai import clock

BATCH = 5000
# Whoever still refreshes after so long is gone, with what it knew.
LEASE_IS_OLD_AFTER = timedelta(minutes=30)


def forget_expired() -> int:
    """Delete idempotency keys and sessions whose time is over, a batch of each; returns how many. Harmless twice."""
    now = clock.now()
    keys = IdempotencyKey.objects.filter(expires_at__lt=now).order_by("expires_at")[:BATCH].values("pk")
    sessions = Session.objects.filter(expire_date__lt=now).order_by("expire_date")[:BATCH].values("pk")
    deleted_keys, _tables = IdempotencyKey.objects.filter(pk__in=keys).delete()
    deleted_sessions, _tables = Session.objects.filter(pk__in=sessions).delete()
    return deleted_keys + deleted_sessions


def forget_refresh_leases() -> int:
    """Clear the refresh leases that their holders left behind long ago; returns how many. Harmless twice.

    What came of such a refresh nobody knows, and that is kept. One that still ends writes by the token's version alone,
    so it needs no lease any more.
    """
    old = clock.DatabaseNow() - LEASE_IS_OLD_AFTER
    return DeviantArtAccount.objects.filter(refresh_lease_until__lt=old).update(
        refresh_lease_id=None, refresh_lease_until=None, refresh_in_doubt=True
    )
