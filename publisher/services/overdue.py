"""Works that are so late that nobody would expect them any more: their owners decide what becomes of them."""

from uuid import UUID

from django.db import models, transaction

from accounts.models import DeviantArtAccount
from accounts.services.audit import record
from accounts.services.notifying import notify
from deviations.models import Deviation
from isekai import clock
from publisher.services.holds import able_accounts, in_time

# So many are locked at once.
SOME = 500


def ask_about_late() -> int:
    """Turn the late works of able accounts into decisions, one message for each account; returns how many works.

    A held account's works keep waiting: once it can publish again, they are asked about together. Harmless when run
    twice, also at the same time.
    """
    accounts = DeviantArtAccount.objects.filter(able_accounts(), pk__in=_late().values("account_id"))
    return sum(_ask_all(account_id) for account_id in accounts.order_by("pk").values_list("pk", flat=True))


def _late() -> models.QuerySet[Deviation]:
    return Deviation.objects.due(clock.DatabaseNow()).exclude(in_time())


def _ask_all(account_id: UUID) -> int:
    asked = _ask(account_id, told=False)
    total = asked
    while asked == SOME:
        asked = _ask(account_id, told=True)
        total += asked
    return total


def _ask(account_id: UUID, *, told: bool) -> int:
    """Ask about some of the account's late works; the message, unless its owners are ``told``, counts all of them."""
    with transaction.atomic():
        # Who holds the account's row asks; a second one would write a second message.
        able = DeviantArtAccount.objects.filter(able_accounts(), pk=account_id)
        account = able.select_for_update(of=("self",), no_key=True, skip_locked=True).first()
        if account is None:
            return 0
        works = _late().filter(account=account)
        count = 0 if told else works.count()
        late = list(works.order_by("pk").select_for_update(skip_locked=True, of=("self",))[:SOME])
        for deviation in late:
            deviation.move_to(Deviation.Status.NEEDS_DECISION, reason="late")
            deviation.next_attempt_at = None
            deviation.updated_at = clock.now()
            deviation.save(update_fields=["status", "reason_code", "reason_params", "next_attempt_at", "updated_at"])
            record("deviation.needs_decision", deviation, reason="late")
        if late and not told:
            # Without a key: a work that is late once more after its owner chose another time is asked about again.
            notify(
                "works_late",
                workspace=account.workspace,
                account=account.username,
                account_id=str(account.pk),
                count=max(count, len(late)),
            )
    return len(late)
