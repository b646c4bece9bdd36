"""Works that are so late that nobody would expect them any more: their owners decide what becomes of them."""

from django.db import models, transaction

from accounts.models import DeviantArtAccount
from accounts.services.audit import record
from accounts.services.notifying import notify
from deviations.models import Deviation
from isekai import clock
from publisher.services.holds import able_accounts, in_time


def ask_about_late() -> int:
    """Turn the late works of able accounts into decisions, one message for each account; returns how many works.

    A held account's works keep waiting: once it can publish again, they are asked about together.
    """
    accounts = DeviantArtAccount.objects.filter(able_accounts(), pk__in=_late().values("account_id"))
    return sum(_ask(account) for account in accounts)


def _late() -> models.QuerySet[Deviation]:
    return Deviation.objects.due(clock.DatabaseNow()).exclude(in_time())


def _ask(account: DeviantArtAccount) -> int:
    with transaction.atomic():
        late = list(_late().filter(account=account).order_by("pk").select_for_update(skip_locked=True, of=("self",)))
        for deviation in late:
            deviation.move_to(Deviation.Status.NEEDS_DECISION, reason="late")
            deviation.next_attempt_at = None
            deviation.updated_at = clock.now()
            deviation.save(update_fields=["status", "reason_code", "reason_params", "next_attempt_at", "updated_at"])
            record("deviation.needs_decision", deviation, reason="late")
        if late:
            notify(
                "works_late",
                workspace=account.workspace,
                dedupe_key=f"late:{late[0].pk}",
                account=account.username,
                count=len(late),
            )
    return len(late)
