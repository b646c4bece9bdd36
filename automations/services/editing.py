"""An automation changed as a whole, as a page has it: what it says, its rules and its default values, all or nothing.

Made of the services for each of them, so that the same is accepted and written down as by the API.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import User
from automations.errors import FieldsRefused, ReferenceNotFound, VersionConflict
from automations.models import Automation, ScheduleRule
from automations.services.changing import automations_held, hold
from automations.services.defaults import add_default, edit_default, remove_default
from automations.services.previewing import SLOTS_MAX, Preview, preview
from automations.services.rules import add_rule, edit_rule, remove_rule
from automations.services.saving import edit_automation
from isekai.ids import new_id


@dataclass(frozen=True, slots=True)
class RuleSaid:
    """What is said of a rule, in the fields of `rules.SAID`. One with an id that is not known yet is a new one."""

    id: UUID
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DefaultSaid:
    """What is said of a default value."""

    field: str
    value: Any
    mode: str


@dataclass(frozen=True, slots=True)
class Said:
    """All that is said of an automation: ``fields`` (of `saving.SAID`), every rule and every default value."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    rules: Sequence[RuleSaid] = ()
    default_values: Sequence[DefaultSaid] = ()


def edit_as_a_whole(
    automation: Automation, said: Said, *, user: User | None, version: int | None = None, confirm_moves: bool = False
) -> Automation:
    """Have the automation say exactly what ``said`` says; rules and default values that it does not name are removed.

    Raises FieldsRefused with all reasons at their places (`rules` by id, `default_values` by field), ConfirmationNeeded
    (see `edit_automation`), LastRule, VersionConflict, Running, Gone. Nothing has changed then.
    """
    with automations_held():
        row = hold(automation)
        if version is not None and row.version != version:
            raise VersionConflict
        problems = _Problems()
        problems.of(partial(edit_automation, row, user=user, confirm_moves=confirm_moves, **said.fields))
        _edit_rules(row, said.rules, user, problems)
        _edit_defaults(row, said.default_values, user, problems)
        problems.refuse()
        return Automation.objects.select_related("account").get(pk=row.pk)


def preview_as_a_whole(
    automation: Automation, said: Said, *, user: User | None, until: datetime | None = None, most: int = SLOTS_MAX
) -> Preview:
    """What would be ahead if the automation said what ``said`` says, and were switched on; nothing is changed.

    It is changed and looked at in a transaction that is taken back, so that what is shown is what saving brings. Raises
    as `edit_as_a_whole` does, but for a zone that moves slots.
    """
    with transaction.atomic():
        try:
            row = edit_as_a_whole(automation, said, user=user, confirm_moves=True)
            return preview(row.workspace, until=until, as_if_on=row, most=most)
        finally:
            transaction.set_rollback(True)


class _Problems:
    """Reasons against parts of what is said, collected so that all are told at once."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def of(self, step: Callable[[], Any], *place: str) -> None:
        """Do a step; what it refuses is noted at its place."""
        try:
            # On its own, so that a refusal leaves no half of it behind.
            with transaction.atomic():
                step()
        except (FieldsRefused, ReferenceNotFound) as error:
            if not place:
                self.found |= error.details
                return
            kind, name = place
            self.found.setdefault(kind, {})[name] = error.details

    def refuse(self) -> None:
        if self.found:
            raise FieldsRefused(self.found)


def _edit_rules(row: Automation, said: Sequence[RuleSaid], user: User | None, problems: _Problems) -> None:
    known = {rule.pk: rule for rule in row.rules.all()}
    # Those of others are nobody's business: whoever names one gets a new rule of their own.
    ids = ScheduleRule.objects.filter(pk__in=[each.id for each in said]).values_list("pk", flat=True)
    taken = set(ids) - set(known)
    # First what is new, then what is on, so that there is always one that is.
    for each in sorted(said, key=lambda one: (one.id in known, not one.fields.get("enabled", True))):
        rule = known.get(each.id)
        if rule is not None:
            step = partial(edit_rule, rule, user=user, **each.fields)
        else:
            step = partial(add_rule, row, user=user, rule_id=new_id() if each.id in taken else each.id, **each.fields)
        problems.of(step, "rules", str(each.id))
    named = {each.id for each in said}
    for rule in known.values():
        if rule.pk not in named and not problems.found:
            remove_rule(rule, user=user)


def _edit_defaults(row: Automation, said: Sequence[DefaultSaid], user: User | None, problems: _Problems) -> None:
    known = {default.field: default for default in row.default_values.all()}
    for name in known.keys() - {each.field for each in said}:
        remove_default(known[name], user=user)
    for each in said:
        default = known.get(each.field)
        if default is not None:
            step = partial(edit_default, default, user=user, value=each.value, mode=each.mode)
        else:
            step = partial(add_default, row, user=user, field=each.field, value=each.value, mode=each.mode)
        problems.of(step, "default_values", each.field)
