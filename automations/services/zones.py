"""What moves when automations go by the clocks of another time zone; shown before anything does."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils.translation import ngettext

from accounts.errors import ZoneNotConfirmed
from accounts.models import Membership, User
from accounts.models.users import validate_time_zone
from accounts.services.zones import ask_before_zone_change, on_zone_change
from automations import slots
from automations.errors import FieldsRefused
from automations.models import Automation, AutomationQuerySet, Execution
from automations.services.changing import automations_held
from automations.services.planning import owners_of, plan_anew, plans_of, zones_of_owners
from isekai import clock

# How far ahead a person is shown what moves, and how much of it.
MOVES_AHEAD = timedelta(weeks=4)
MOVES_SHOWN = 100


def zone_named(name: str) -> str:
    """``name``, which is a known time zone. Raises FieldsRefused."""
    try:
        validate_time_zone(name)
    except ValidationError as error:
        raise FieldsRefused({"zone": error.messages}) from error
    return name


def moves_of(automation: Automation, zone: str) -> list[slots.Move]:
    """Which slots of the next four weeks are at another moment by the clocks of ``zone``, in order.

    An empty ``zone`` is that of the workspace's owner. What is off or paused has no slots; what was scheduled stays.
    """
    zone = zone or zones_of_owners([automation.workspace_id])[automation.workspace_id]
    return moves_of_many([automation], zone)[automation.pk]


def moves_of_many(automations: Collection[Automation], zone: str) -> dict[UUID, list[slots.Move]]:
    """The same of each, by its id, in as many queries as for one; ``zone`` is not empty."""
    now = clock.database_now()
    plans = plans_of(automations)
    made = set(
        Execution.objects.filter(automation__in=automations, slot_at__gt=now - timedelta(days=2)).values_list(
            "rule_id", "local_date", "ordinal"
        )
    )
    found: dict[UUID, list[slots.Move]] = {}
    for each in automations:
        moves = slots.moves(plans[each.pk], zone, now, now + MOVES_AHEAD) if each.is_active else []
        found[each.pk] = [
            move for move in moves if not any(slot and slot.key in made for slot in (move.before, move.after))
        ]
    return found


def moves_with_owner(
    automations: AutomationQuerySet, *, user: User, zone: str
) -> list[tuple[Automation, list[slots.Move]]]:
    """What moves of those of ``automations`` that go by the clocks of ``user``, if these become those of ``zone``."""
    if zone == user.time_zone:
        return []
    rows = list(_by_clocks_of(user, automations).order_by("position", "pk"))
    moves = moves_of_many(rows, zone)
    return [(each, moves[each.pk]) for each in rows if moves[each.pk]]


def shown_move(move: slots.Move) -> dict[str, Any]:
    """A move as JSON: the rule, and the moments before and after (None: there is no such slot)."""
    before, after = (slot and slot.at.isoformat() for slot in (move.before, move.after))
    rule_id = next(slot.rule_id for slot in (move.before, move.after) if slot is not None)
    return {"rule_id": str(rule_id), "before": before, "after": after}


def told_moves(count: int) -> str:
    """How many slots another zone moves, as a sentence."""
    text = ngettext(
        "This moves %(count)s slot of the next weeks.", "This moves %(count)s slots of the next weeks.", count
    )
    return text % {"count": count}


@ask_before_zone_change
def ask_about_moves(user: User, zone: str) -> None:
    """Raise ZoneNotConfirmed if slots move when the clocks of ``user`` become those of ``zone``."""
    count = sum(len(moves) for _automation, moves in moves_with_owner(Automation.objects.all(), user=user, zone=zone))
    if count:
        raise ZoneNotConfirmed(told_moves(count))


@on_zone_change
def plan_in_new_zone(user: User) -> None:
    """Find the next slots of the automations that go by the clocks of ``user``, which show another time now.

    Raises Running.
    """
    with automations_held():
        rows = _by_clocks_of(user, Automation.objects.all())
        plan_anew(list(rows.select_for_update(of=("self",), no_key=True).order_by("pk")))


def _by_clocks_of(user: User, automations: AutomationQuerySet) -> AutomationQuerySet:
    """Those of ``automations`` without a zone of their own in workspaces where the clocks of ``user`` are meant."""
    owned = Membership.objects.filter(user=user, role=Membership.Role.OWNER).values_list("workspace_id", flat=True)
    theirs = [workspace for workspace, (owner, _zone) in owners_of(owned).items() if owner == user.pk]
    return automations.filter(zone="", workspace__in=theirs)
