"""Waking the accounts that have something due. Losing any of these wake-ups costs a tick, never a work."""

from datetime import datetime
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, Min
from django.db.models.functions import Greatest

from accounts.models import DeviantArtAccount
from deviations.models import Deviation
from isekai import clock, queue
from isekai.prepared import prepared_cursor, written_out
from publisher.services.claiming import CLAIM_AHEAD, claimable
from publisher.services.holds import able_accounts

# How many works all live publishers together can take now, as `free_slots` counts them.
FREE_SLOTS = f"""
    (SELECT coalesce(sum(slots), 0) FROM publisher_worker WHERE alive_until > {clock.SQL_NOW})
    - (SELECT count(*) FROM deviations_deviation WHERE lease_id IS NOT NULL)
"""  # noqa: S608 - constants alone


def dispatch_due() -> int:
    """Wake each able account that has something due and nothing in flight, the longest due first; returns how many.

    At most twice as many as there are free slots: the rest stays in the table, where it is not lost.
    """
    sql = _due_sql(settings.DEVIANTART_BASE_URL, may_upload=True, may_look=True)
    with prepared_cursor() as cursor:
        cursor.execute(f"{sql} LIMIT greatest(1, 2 * ({FREE_SLOTS}))", [])
        account_ids = [row[0] for row in cursor.fetchall()]
    for account_id in account_ids:
        queue.send("publisher.publish_next", account_id)
    return len(account_ids)


def due_accounts(most: int, *, may_upload: bool = True, may_look: bool = True) -> list[UUID]:
    """Accounts of which something can be claimed now, the longest due first; conditions as in `claimable`."""
    sql = _due_sql(settings.DEVIANTART_BASE_URL, may_upload=may_upload, may_look=may_look)
    with prepared_cursor() as cursor:
        cursor.execute(f"{sql} LIMIT %s", [most])
        return [row[0] for row in cursor.fetchall()]


def next_due_at() -> datetime | None:
    """The next moment at which something of an able account falls due, and may be claimed then; None without one.

    What is due already has been dispatched, or waits for the work of its account that is in flight, whose end wakes it.
    """
    sql = _coming_sql(settings.DEVIANTART_BASE_URL)
    with prepared_cursor() as cursor:
        cursor.execute(f"SELECT min(claimable_at) FROM ({sql}) coming", [])  # noqa: S608 - made below
        moment: datetime | None = cursor.fetchone()[0]
    return moment


# Asked every few moments: making these of the querysets costs more than running them. ``_base_url`` is among their
# values (see `able_accounts`).
@cache
def _due_sql(_base_url: str, *, may_upload: bool, may_look: bool) -> str:
    due = claimable(may_upload=may_upload, may_look=may_look).filter(
        # Says nothing new, but is looked at first: most of the time nothing is due, and no account is read for it.
        Exists(Deviation.objects.due(clock.StatementNow() + CLAIM_AHEAD))
    )
    return written_out(due.order_by().values("account_id").annotate(since=Min("due_at")).order_by("since"))


@cache
def _coming_sql(_base_url: str) -> str:
    coming = (
        Deviation.objects.waiting()
        .filter(account__in=DeviantArtAccount.objects.filter(able_accounts(deferred=True)))
        .annotate(claimable_at=Greatest("due_at", "account__not_before"))
        .filter(claimable_at__gt=clock.StatementNow() + CLAIM_AHEAD)
    )
    return written_out(coming.order_by().values("claimable_at"))
