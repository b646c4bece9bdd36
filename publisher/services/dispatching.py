"""Waking the accounts that have something due. Losing any of these wake-ups costs a tick, never a work."""

from datetime import datetime
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db.models import DateTimeField, F, Min, OuterRef, Q, Subquery
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
    with prepared_cursor() as cursor:
        cursor.execute(_coming_sql(settings.DEVIANTART_BASE_URL), [])
        moment: datetime | None = cursor.fetchone()[0]
    return moment


# Asked every few moments: making these of the querysets costs more than running them. ``_base_url`` is among their
# values (see `able_accounts`).
@cache
def _due_sql(_base_url: str, *, may_upload: bool, may_look: bool) -> str:
    # Says nothing new, but is looked at first: most of the time nothing is due, and no account is read for it.
    earliest = Subquery(Deviation.objects.waiting().order_by("due_at").values("due_at")[:1])
    due = claimable(may_upload=may_upload, may_look=may_look)
    due = due.alias(earliest=earliest).filter(earliest__lte=clock.StatementNow() + CLAIM_AHEAD)
    return written_out(due.order_by().values("account_id").annotate(since=Min("due_at")).order_by("since"))


@cache
def _coming_sql(_base_url: str) -> str:
    """Of accounts that may call at that moment already, and of those that may not before some later one.

    The first are found in the order of their works, each of the others, of which there are few, by its own first work:
    none of it takes longer for more works.
    """
    soon, able = clock.StatementNow() + CLAIM_AHEAD, DeviantArtAccount.objects.filter(able_accounts(deferred=True))
    waiting = Deviation.objects.waiting().order_by("due_at")
    may_call = Q(account__not_before__isnull=True) | Q(account__not_before__lte=F("due_at"))
    by_work = waiting.filter(may_call, due_at__gt=soon, account__in=able).values("due_at")[:1]
    first = Subquery(waiting.filter(account=OuterRef("pk")).values("due_at")[:1], output_field=DateTimeField())
    deferred = able.filter(not_before__gt=soon).annotate(first=first).filter(first__isnull=False)
    by_account = deferred.annotate(moment=Greatest("first", "not_before")).order_by("moment").values("moment")[:1]
    return f"SELECT least(({written_out(by_work)}), ({written_out(by_account)}))"
