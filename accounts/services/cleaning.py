"""Rows that nothing else would clear."""

from django.contrib.sessions.models import Session

from accounts.models import IdempotencyKey
from isekai import clock

BATCH = 5000


def forget_expired() -> int:
    """Delete idempotency keys and sessions whose time is over, a batch of each; returns how many. Harmless twice."""
    now = clock.now()
    keys = IdempotencyKey.objects.filter(expires_at__lt=now).order_by("expires_at")[:BATCH].values("pk")
    sessions = Session.objects.filter(expire_date__lt=now).order_by("expire_date")[:BATCH].values("pk")
    deleted_keys, _tables = IdempotencyKey.objects.filter(pk__in=keys).delete()
    deleted_sessions, _tables = Session.objects.filter(pk__in=sessions).delete()
    return deleted_keys + deleted_sessions
