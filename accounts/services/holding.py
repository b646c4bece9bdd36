"""Hold an account and let it go on: its works keep their times and stay scheduled meanwhile."""

from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from accounts.models import DeviantArtAccount, User
from accounts.services.audit import record
from isekai import queue

logger = structlog.get_logger(__name__)


def pause_account(account: DeviantArtAccount, *, user: User) -> None:
    """Let nothing of ``account`` out until it is released; what is on its way already arrives."""
    _set_paused(account, user=user, paused=True)


def release_account(account: DeviantArtAccount, *, user: User) -> None:
    """Undo a pause. A wait that DeviantArt asked for stays: nobody but DeviantArt can lift it."""
    _set_paused(account, user=user, paused=False)
    queue.send("publisher.publish_next", account.pk)


def defer_account(account_id: UUID, *, until: datetime, reason: str) -> None:
    """Let nothing of the account out before ``until`` (aware); a later moment that is set already stays.

    ``reason`` is a code. No row of a work is touched, and nothing is counted as an attempt.
    """
    later = Q(not_before__isnull=True) | Q(not_before__lt=until)
    if DeviantArtAccount.objects.filter(later, pk=account_id).update(not_before=until, not_before_reason=reason):
        logger.info("account_deferred", account_id=str(account_id), until=until.isoformat(), reason=reason)


def _set_paused(account: DeviantArtAccount, *, user: User, paused: bool) -> None:
    with transaction.atomic():
        changed = DeviantArtAccount.objects.filter(pk=account.pk, paused=not paused).update(paused=paused)
        if changed:
            record("account.paused" if paused else "account.released", account, user=user)
    account.paused = paused
    if changed:
        logger.info("account_paused" if paused else "account_released", account_id=str(account.pk))
