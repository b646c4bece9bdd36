"""Waking the accounts that have something due. Losing any of these wake-ups costs a tick, never a work."""

from datetime import datetime
from uuid import UUID

from django.db.models import Min
from django.db.models.functions import Greatest

from accounts.models import DeviantArtAccount
from deviations.models import Deviation
from isekai import clock, queue
from publisher.services.claiming import CLAIM_AHEAD, claimable
from publisher.services.heartbeat import free_slots
from publisher.services.holds import able_accounts


def dispatch_due() -> int:
    """Wake each able account that has something due and nothing in flight, the longest due first; returns how many.

    At most twice as many as there are free slots: the rest stays in the table, where it is not lost.
    """
    account_ids = due_accounts(max(1, 2 * free_slots()))
    for account_id in account_ids:
        queue.send("publisher.publish_next", account_id)
    return len(account_ids)


def due_accounts(most: int, *, may_upload: bool = True, may_look: bool = True) -> list[UUID]:
    """Accounts of which something can be claimed now, the longest due first; conditions as in `claimable`."""
    due = claimable(may_upload=may_upload, may_look=may_look)
    longest = due.order_by().values("account_id").annotate(since=Min("due_at")).order_by("since")[:most]
    return [row["account_id"] for row in longest]


def next_due_at() -> datetime | None:
    """The next moment at which something of an able account falls due, and may be claimed then; None without one.

    What is due already has been dispatched, or waits for the work of its account that is in flight, whose end wakes it.
    """
    to_come = (
        Deviation.objects.waiting()
        .filter(account__in=DeviantArtAccount.objects.filter(able_accounts(deferred=True)))
        .annotate(claimable_at=Greatest("due_at", "account__not_before"))
        .filter(claimable_at__gt=clock.DatabaseNow() + CLAIM_AHEAD)
    )
    return to_come.aggregate(next=Min("claimable_at"))["next"]
