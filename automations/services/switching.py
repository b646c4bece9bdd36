"""Automations on and off: each by itself, many, or all of a workspace paused for a while."""

from collections.abc import Sequence
from uuid import UUID

from accounts.models import User
from automations.errors import NothingToRun
from automations.models import Automation, AutomationQuerySet
from automations.services.changing import BulkResult, change, change_many
from deviations.services.changing import Event
from isekai import clock

_FIELDS = ("enabled", "paused_at")


def switch_on(automation: Automation, *, user: User | None, version: int | None = None) -> Automation:
    """Let an automation schedule works from its next slot on; one that was paused with all others goes on too.

    Raises NothingToRun without a rule that is switched on, VersionConflict, Running, Gone.
    """
    return change(automation, _switch_on, user=user, version=version)


def switch_off(automation: Automation, *, user: User | None, version: int | None = None) -> Automation:
    """Let an automation make no more slots; what it has scheduled stays scheduled. Raises as `switch_on` does."""
    return change(automation, _switch_off, user=user, version=version)


def switch_many_on(automations: AutomationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(automations, _switch_on, fields=_FIELDS, user=user, ids=ids)


def switch_many_off(automations: AutomationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    return change_many(automations, _switch_off, fields=_FIELDS, user=user, ids=ids)


def pause_many(automations: AutomationQuerySet, *, user: User | None, ids: Sequence[UUID] | None = None) -> BulkResult:
    """Stop those of ``automations`` that ``ids`` names, or all of them, and remember which were switched on.

    What they have scheduled stays scheduled. Slots that pass meanwhile are not made up for. One that somebody holds
    keeps none of the others back and is told in the result.
    """
    return change_many(automations, _pause, fields=_FIELDS, user=user, ids=ids)


def go_on_many(automations: AutomationQuerySet, *, user: User | None, ids: Sequence[UUID] | None = None) -> BulkResult:
    """Undo `pause_many`: what is switched on makes slots again, from the next one on."""
    return change_many(automations, _go_on, fields=_FIELDS, user=user, ids=ids)


def _switch_on(row: Automation) -> list[Event]:
    if not any(rule.enabled for rule in row.rules.all()):
        raise NothingToRun
    if row.is_active:
        return []
    row.enabled, row.paused_at = True, None
    return [Event("automation.switched_on")]


def _switch_off(row: Automation) -> list[Event]:
    if not row.enabled:
        return []
    row.enabled = False
    return [Event("automation.switched_off")]


def _pause(row: Automation) -> list[Event]:
    if row.paused_at is not None:
        return []
    row.paused_at = clock.now()
    return [Event("automation.paused")]


def _go_on(row: Automation) -> list[Event]:
    if row.paused_at is None:
        return []
    row.paused_at = None
    return [Event("automation.went_on")]
