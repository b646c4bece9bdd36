"""The list of automations: its order, and another one like this."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import structlog
from django.db import connection
from django.db.models import prefetch_related_objects
from django.utils.translation import gettext as _

from accounts.models import User, Workspace
from accounts.services.audit import audit_event, record_all
from automations.errors import FieldsRefused, ReferenceNotFound
from automations.models import Automation, AutomationQuerySet, DefaultValue, ScheduleRule
from automations.models.automations import new_seed
from automations.services.changing import BulkResult, ItemResult, automations_held, hold, hold_many, ids_of
from automations.services.saving import end_of, ensure_room
from isekai.ids import new_id

logger = structlog.get_logger(__name__)

NAME_MAX = 100


def reorder(automations: AutomationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> list[UUID]:
    """Put ``automations`` into the order of ``ids``, each of which is one of them; return those whose place changed.

    Those that ``ids`` does not name come behind, in the order that they had. The place in the list is no part of what
    an automation says, so that its version stays. Raises ReferenceNotFound for an id of nobody's or somebody else's,
    FieldsRefused for one that comes twice or more than 500, Running.
    """
    if len(ids_of(automations, ids)) < len(ids):
        raise FieldsRefused({"ids": [_("Name each automation once.")]})
    with automations_held():
        rows = list(automations.select_for_update(of=("self",), no_key=True).order_by("pk"))
        places = {row.pk: row.position for row in rows}
        if not set(ids) <= set(places):
            raise ReferenceNotFound("ids", _("There is no such automation."))
        rest = sorted(set(places) - set(ids), key=lambda pk: (places[pk], pk))
        wanted = {pk: place for place, pk in enumerate([*ids, *rest])}
        moved = [row for row in rows if row.position != wanted[row.pk]]
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {Automation._meta.db_table} AS automation SET position = new.position "  # noqa: S608
                "FROM unnest(%s::uuid[], %s::int[]) AS new (id, position) WHERE automation.id = new.id",
                [[row.pk for row in moved], [wanted[row.pk] for row in moved]],
            )
        record_all(audit_event("automation.moved", row, user=user, place=wanted[row.pk]) for row in moved)
    logger.info("automations_reordered", named=len(ids), moved=len(moved))
    return [row.pk for row in moved]


def duplicate(automation: Automation, *, user: User | None) -> Automation:
    """Make another one that says the same, with its rules and default values, at the end of the list.

    It is switched off, draws by a seed of its own, and counts from 1. Raises Gone, Running, FieldsRefused when the
    workspace has no room for it.
    """
    with automations_held():
        _hold_workspaces([automation.workspace_id])
        row = hold(automation)
        (copy,) = _copies([row], user=user)
    logger.info("automation_duplicated", automation_id=str(row.pk), copy_id=str(copy.pk))
    return copy


def duplicate_many(automations: AutomationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    """Like `duplicate` for each of ``automations`` that ``ids`` names; the result has the copies."""
    wanted, bulk_id = ids_of(automations, ids), new_id()
    results = {one: ItemResult(one) for one in wanted}
    with automations_held():
        named = automations.filter(pk__in=wanted)
        _hold_workspaces(named.values_list("workspace_id", flat=True))
        rows = sorted(hold_many(named, wanted, results), key=lambda row: (row.position, row.pk))
        copies = _copies(rows, user=user, bulk_id=str(bulk_id))
        results |= {row.pk: ItemResult(row.pk, copy, done=True) for row, copy in zip(rows, copies, strict=True)}
    logger.info("automations_duplicated", bulk_id=str(bulk_id), asked=len(wanted), made=len(copies))
    return BulkResult(bulk_id, list(results.values()))


def _hold_workspaces(ids: Iterable[UUID]) -> None:
    """Have those who make automations there come one after the other."""
    list(Workspace.objects.select_for_update(no_key=True).filter(pk__in=set(ids)).order_by("pk"))


def _copies(rows: Sequence[Automation], *, user: User | None, **params: Any) -> list[Automation]:
    prefetch_related_objects(rows, "rules", "default_values")
    copies: list[Automation] = []
    ends: dict[UUID, int] = {}
    for row in rows:
        if row.workspace_id not in ends:
            others = Automation.objects.filter(workspace=row.workspace_id)
            ensure_room(others.count(), sum(each.workspace_id == row.workspace_id for each in rows))
            ends[row.workspace_id] = end_of(others)
        copy = Automation(**_said_by(row))
        copy.name = _name_of_copy(row.name)
        copy.enabled, copy.paused_at, copy.seed, copy.counter = False, None, new_seed(), 1
        copy.position, ends[row.workspace_id] = ends[row.workspace_id], ends[row.workspace_id] + 1
        copies.append(copy)
    Automation.objects.bulk_create(copies)
    pairs = list(zip(rows, copies, strict=True))
    _copy_rules(pairs)
    DefaultValue.objects.bulk_create(
        DefaultValue(**_said_by(default) | {"automation_id": copy.pk})
        for row, copy in pairs
        for default in row.default_values.all()
    )
    record_all(
        audit_event("automation.created", copy, user=user, name=copy.name, copy_of=str(row.pk), **params)
        for row, copy in pairs
    )
    return copies


def _copy_rules(pairs: Sequence[tuple[Automation, Automation]]) -> None:
    """Give each copy the rules of its original, in their order, by which those of one priority go."""
    rules = [(copy, rule) for row, copy in pairs for rule in sorted(row.rules.all(), key=lambda rule: rule.pk)]
    # Those of one millisecond are in no order by themselves.
    ids = sorted(new_id() for _ in rules)
    ScheduleRule.objects.bulk_create(
        ScheduleRule(**_said_by(rule) | {"id": pk, "automation_id": copy.pk, "next_slot_at": None})
        for pk, (copy, rule) in zip(ids, rules, strict=True)
    )


def _said_by(row: Automation | ScheduleRule | DefaultValue) -> dict[str, Any]:
    """All columns but those that tell this row from others."""
    own = {"id", "created_at", "updated_at", "version"}
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if field.name not in own}


def _name_of_copy(name: str) -> str:
    most = NAME_MAX - len(_("%(name)s (copy)") % {"name": ""})
    return _("%(name)s (copy)") % {"name": name[:most]}
