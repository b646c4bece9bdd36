"""Holidays of an account: days on which no automation posts to it."""

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import structlog
from django.utils.translation import gettext as _

from accounts.models import DeviantArtAccount, User
from accounts.services.audit import record
from automations import slots
from automations.errors import FieldsRefused, ReferenceNotFound
from automations.models import Automation, Blackout
from automations.services.changing import automations_held
from automations.services.checking import refused_by_columns
from automations.services.planning import plan_anew
from deviations.models import Deviation
from isekai import clock

logger = structlog.get_logger(__name__)

BLACKOUTS_MAX = 100
DAYS_MAX = 366
SAID = frozenset({"name", "from_date", "until_date", "handling"})


def add_blackout(account: DeviantArtAccount, *, user: User | None, **fields: Any) -> Blackout:
    """Keep automations from posting to ``account`` from ``from_date`` to ``until_date``, both included.

    The days are those of each automation's own zone. What is scheduled already stays scheduled. Raises FieldsRefused,
    Running.
    """

    def how() -> Blackout:
        if Blackout.objects.filter(account=account).ending_after(clock.now().date()).count() >= BLACKOUTS_MAX:
            message = _("An account has at most %(most)s blackouts that are not over.") % {"most": BLACKOUTS_MAX}
            raise FieldsRefused({"from_date": [message]})
        blackout = Blackout(account=account)
        _apply(blackout, fields)
        blackout.save(force_insert=True)
        record("account.blackout_added", account, user=user, **_as_recorded(blackout))
        return blackout

    return _change(account, how)


def edit_blackout(blackout: Blackout, *, user: User | None, **changes: Any) -> Blackout:
    """Change any of SAID. Slots that were skipped and have passed are not made up for.

    Raises FieldsRefused, ReferenceNotFound, Running.
    """

    def how() -> Blackout:
        now = _blackout_now(blackout.pk)
        if _apply(now, changes):
            now.updated_at = clock.now()
            now.save()
            record("account.blackout_edited", now.account, user=user, **_as_recorded(now))
        return now

    return _change(blackout.account, how)


def remove_blackout(blackout: Blackout, *, user: User | None) -> None:
    """Let automations post on those days again. Raises ReferenceNotFound, Running."""

    def how() -> Blackout:
        now = _blackout_now(blackout.pk)
        record("account.blackout_removed", now.account, user=user, **_as_recorded(now))
        now.delete()
        return now

    _change(blackout.account, how)


def scheduled_within(blackouts: Collection[Blackout], *, zone: str) -> dict[UUID, int]:
    """How many works go out on days of each blackout all the same, by its id: by hand, or since before it was said.

    The days are those of ``zone``. One query for all of them.
    """
    if not blackouts:
        return {}
    start, _end = slots.day_span(min(each.from_date for each in blackouts), zone)
    _start, end = slots.day_span(max(each.until_date for each in blackouts), zone)
    works = Deviation.objects.filter(
        account__in={each.account_id for each in blackouts},
        status=Deviation.Status.SCHEDULED,
        publish_at__gte=start,
        publish_at__lt=end,
    )
    days = [
        (account_id, slots.local_date_of(at, zone))
        for account_id, at in works.values_list("account_id", "publish_at")
        if at is not None
    ]
    return {
        each.pk: sum(each.account_id == account_id and each.covers(day) for account_id, day in days)
        for each in blackouts
    }


def _change(account: DeviantArtAccount, how: Callable[[], Blackout]) -> Blackout:
    """Do ``how`` while no slots are made that it speaks of, and plan them anew."""
    with automations_held():
        # Those that name no account may post to this one as well.
        automations = Automation.objects.filter(workspace=account.workspace_id)
        rows = list(automations.select_for_update(no_key=True).order_by("pk"))
        # Without automations this alone keeps two changes apart.
        DeviantArtAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        blackout = how()
        plan_anew(rows)
    logger.info("blackout_changed", account_id=str(account.pk), blackout_id=str(blackout.pk))
    return blackout


def _blackout_now(blackout_id: UUID) -> Blackout:
    found = Blackout.objects.select_related("account").filter(pk=blackout_id).first()
    if found is None:
        raise ReferenceNotFound("blackout", _("This blackout was deleted meanwhile."))
    return found


def _apply(blackout: Blackout, changes: dict[str, Any]) -> bool:
    """Set what is said in memory; whether anything is different now. Raises FieldsRefused with all reasons."""
    if unknown := sorted(set(changes) - SAID):
        raise FieldsRefused({name: [_("There is no such field to change.")] for name in unknown})
    before = {name: getattr(blackout, name) for name in SAID}
    for name, value in changes.items():
        setattr(blackout, name, " ".join(value.split()) if name == "name" and isinstance(value, str) else value)
    problems = refused_by_columns(blackout, SAID)
    if not problems:
        days = (blackout.until_date - blackout.from_date).days + 1
        if days < 1:
            problems["until_date"] = [_("The last day comes before the first.")]
        elif days > DAYS_MAX:
            problems["until_date"] = [_("A blackout lasts at most %(most)s days.") % {"most": DAYS_MAX}]
    if problems:
        raise FieldsRefused(problems)
    return any(getattr(blackout, name) != value for name, value in before.items())


def _as_recorded(blackout: Blackout) -> dict[str, str]:
    return {
        "blackout": str(blackout.pk),
        "from": blackout.from_date.isoformat(),
        "until": blackout.until_date.isoformat(),
        "handling": blackout.handling,
    }
