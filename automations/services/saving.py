"""Making automations, changing what they say, and deleting them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.db import connection
from django.db.models import Max
from django.utils.translation import gettext as _

from accounts.models import DeviantArtAccount, User, Workspace
from accounts.services.audit import audit_event, record, record_all
from automations.errors import (
    ConfirmationNeeded,
    FieldsRefused,
    NothingToRun,
    ReferenceNotFound,
    VersionConflict,
)
from automations.models import Automation, AutomationQuerySet, DefaultValue, Execution, ExecutionWork, ScheduleRule
from automations.services.changing import (
    BulkResult,
    ItemResult,
    automations_held,
    change,
    hold,
    hold_many,
    ids_of,
)
from automations.services.checking import refused_by_columns
from automations.services.defaults import new_default
from automations.services.planning import plan_anew
from automations.services.rules import RULES_MAX, new_rule
from automations.services.zones import MOVES_SHOWN, moves_of, shown_move, told_moves
from deviations.services.changing import Event
from deviations.services.drafting import GALLERIES_MAX, TAGS_MAX
from isekai.ids import new_id

logger = structlog.get_logger(__name__)

Row = TypeVar("Row")

AUTOMATIONS_MAX = 500
TEMPLATES_MAX = 50
WEIGHT_MAX = 1000
FILTERS_MAX = {"filter_tags": TAGS_MAX, "filter_gallery_ids": GALLERIES_MAX, "filter_template_ids": TEMPLATES_MAX}
# What a mixture is made of.
UNMIXED = [method for method in Automation.Method if method != Automation.Method.MIXTURE]

# What somebody says of an automation; all else of it has its own service or changes by itself.
SAID = frozenset(
    {
        "account_id",
        "name",
        "description",
        "color",
        "icon",
        "valid_from",
        "valid_until",
        "zone",
        "combine",
        "method",
        "mixture",
        "filter_tags",
        "filter_tags_match",
        "filter_gallery_ids",
        "filter_template_ids",
        "filter_min_age_days",
        "filter_max_age_days",
        "filter_mature",
        "filter_orientation",
        "spacing",
        "jitter_min_seconds",
        "jitter_max_seconds",
        "stash_only",
        "add_to_sale_queue",
        "price_preset_id",
        "protect_watermark",
        "protect_display_resolution",
        "protect_no_download",
        "catch_up_seconds",
        "counter",
    }
)


def create_automation(
    workspace: Workspace,
    *,
    user: User | None,
    rules: Sequence[Mapping[str, Any]] = (),
    default_values: Sequence[Mapping[str, Any]] = (),
    enabled: bool = False,
    **fields: Any,
) -> Automation:
    """Make an automation, with its rules (fields of `rules.SAID`) and default values, at the end of the list.

    ``fields`` are those of SAID. Raises FieldsRefused with all reasons, ReferenceNotFound (the account), NothingToRun
    (``enabled`` without a rule that is).
    """
    automation = Automation(workspace=workspace, enabled=enabled)
    with automations_held():
        # Two that are made at once come one after the other.
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        others = Automation.objects.filter(workspace=workspace)
        ensure_room(others.count(), 1)
        _apply(automation, {"name": "", **fields})
        automation.position = end_of(others)
        made_rules = _all_of("rules", [dict(each) for each in rules], lambda each: new_rule(automation, each))
        if len(made_rules) > RULES_MAX:
            raise FieldsRefused({"rules": [_("An automation has at most %(most)s rules.") % {"most": RULES_MAX}]})
        made_defaults = _all_of(
            "default_values", [dict(each) for each in default_values], lambda each: new_default(automation, each)
        )
        if len({each.field for each in made_defaults}) < len(made_defaults):
            raise FieldsRefused({"default_values": [_("Each field can have one value.")]})
        if enabled and not any(rule.enabled for rule in made_rules):
            raise NothingToRun
        automation.save(force_insert=True)
        # Those of one priority go in the order in which they were said; ids of one millisecond are in none.
        for rule, pk in zip(made_rules, sorted(new_id() for _ in made_rules), strict=True):
            rule.pk = pk
        ScheduleRule.objects.bulk_create(made_rules)
        DefaultValue.objects.bulk_create(made_defaults)
        record("automation.created", automation, user=user, name=automation.name, rules=len(made_rules))
        plan_anew([automation])
    logger.info("automation_created", automation_id=str(automation.pk), rules=len(made_rules))
    return automation


def edit_automation(
    automation: Automation,
    *,
    user: User | None,
    version: int | None = None,
    confirm_moves: bool = False,
    **changes: Any,
) -> Automation:
    """Change what an automation says: any of SAID. What it has scheduled keeps its time.

    A ``zone`` that moves slots of the next weeks has to be confirmed: without ``confirm_moves`` nothing is changed, and
    ConfirmationNeeded says what would move (`moves`). Raises FieldsRefused, ReferenceNotFound (the account),
    VersionConflict, Running, Gone.
    """

    def how(row: Automation) -> list[Event]:
        zone_before = row.zone
        names = _apply(row, changes)
        if "zone" in names and not confirm_moves:
            after, row.zone = row.zone, zone_before
            moves = moves_of(row, after)
            row.zone = after
            if moves:
                raise ConfirmationNeeded(
                    "confirm_moves", told_moves(len(moves)), moves=[shown_move(move) for move in moves[:MOVES_SHOWN]]
                )
        return [Event("automation.edited", {"fields": names})] if names else []

    return change(automation, how, user=user, version=version)


def delete_automation(automation: Automation, *, user: User | None, version: int | None = None) -> None:
    """Delete an automation with its rules, default values and history. What it has scheduled stays scheduled.

    Raises VersionConflict, Gone, and Running: an automation runs while a tick holds its row to schedule works in one
    transaction; whoever finds it held for two seconds has deleted nothing. No flag says so that a crash could leave
    behind.
    """
    with automations_held():
        row = hold(automation)
        if version is not None and row.version != version:
            raise VersionConflict
        record("automation.deleted", row, user=user, name=row.name)
        _delete([row])
    logger.info("automation_deleted", automation_id=str(automation.pk))


def delete_many(automations: AutomationQuerySet, *, user: User | None, ids: Sequence[UUID]) -> BulkResult:
    """Like `delete_automation` for each of ``automations`` that ``ids`` names; one that runs is left as it is."""
    wanted, bulk_id = ids_of(automations, ids), new_id()
    results = {one: ItemResult(one) for one in wanted}
    with automations_held():
        rows = hold_many(automations, wanted, results)
        record_all(
            audit_event("automation.deleted", row, user=user, name=row.name, bulk_id=str(bulk_id)) for row in rows
        )
        _delete(rows)
        results |= {row.pk: ItemResult(row.pk, done=True) for row in rows}
    logger.info("automations_deleted", bulk_id=str(bulk_id), asked=len(wanted), deleted=len(rows))
    return BulkResult(bulk_id, list(results.values()))


def _delete(rows: Sequence[Automation]) -> None:
    ids = [row.pk for row in rows]
    executions = Execution.objects.filter(automation__in=ids)
    ExecutionWork.objects.filter(execution__in=executions).delete()
    with connection.cursor() as cursor:
        # Of years of runs nothing has to be read first; what refers to them is gone.
        cursor.execute(f"DELETE FROM {Execution._meta.db_table} WHERE automation_id = ANY(%s)", [ids])  # noqa: S608
    Automation.objects.filter(pk__in=ids).delete()


def ensure_room(have: int, more: int) -> None:
    """Raise FieldsRefused unless a workspace that has so many automations may have so many ``more``."""
    if have + more > AUTOMATIONS_MAX:
        message = _("A workspace has at most %(most)s automations. Delete one first.") % {"most": AUTOMATIONS_MAX}
        raise FieldsRefused({"name": [message]})


def end_of(automations: AutomationQuerySet) -> int:
    """The place behind all of them in the list."""
    last = automations.aggregate(last=Max("position"))["last"]
    return 0 if last is None else last + 1


def _all_of(field: str, items: Sequence[dict[str, Any]], make: Callable[[dict[str, Any]], Row]) -> list[Row]:
    """What ``make`` makes of each, or FieldsRefused with the reasons by their place."""
    made: list[Row] = []
    problems: dict[str, Any] = {}
    for place, item in enumerate(items):
        try:
            made.append(make(item))
        except FieldsRefused as error:
            problems[str(place)] = error.details
    if problems:
        raise FieldsRefused({field: problems})
    return made


# --- what an automation may say --------------------------------------------------------------------------------------
def _apply(row: Automation, changes: dict[str, Any]) -> list[str]:
    """Set what is said in memory; the names of what is different now. Raises FieldsRefused, ReferenceNotFound."""
    if unknown := sorted(set(changes) - SAID):
        raise FieldsRefused({name: [_("There is no such field to change.")] for name in unknown})
    before = {name: getattr(row, name) for name in SAID}
    for name, value in changes.items():
        setattr(row, name, _tidied(name, value))
    if row.method != Automation.Method.MIXTURE and "mixture" not in changes:
        row.mixture = None
    problems = refused_by_columns(row, changes)
    for name, reasons in () if problems else _contradictions(row):
        problems.setdefault(name, reasons)
    if problems:
        raise FieldsRefused(problems)
    account_id = changes.get("account_id")
    if account_id is not None and account_id != before["account_id"]:
        row.account = _account_of(row.workspace_id, account_id)
    return sorted(name for name in SAID if getattr(row, name) != before[name])


def _tidied(name: str, value: Any) -> Any:
    if name == "name" and isinstance(value, str):
        return " ".join(value.split())
    if name == "filter_tags" and isinstance(value, (list, tuple)):
        # As the tags of works are written.
        return list(dict.fromkeys(tag for tag in (" ".join(str(one).split()).lstrip("#") for one in value) if tag))
    if name in FILTERS_MAX and isinstance(value, (list, tuple)):
        return list(dict.fromkeys(value))
    if name == "zone" and value is None:
        return ""  # that of the workspace's owner
    return value


def _contradictions(row: Automation) -> Iterable[tuple[str, list[str]]]:
    """What does not go together, by the field to change."""
    if row.method == Automation.Method.MIXTURE or row.mixture is not None:
        yield from _of_mixture(row)
    for name, most in FILTERS_MAX.items():
        if len(getattr(row, name)) > most:
            yield name, [_("This has more than %(most)s.") % {"most": most}]
    if row.filter_max_age_days is not None and row.filter_max_age_days < (row.filter_min_age_days or 0):
        yield "filter_max_age_days", [_("No draft is that old and that young.")]
    if row.valid_from is not None and row.valid_until is not None and row.valid_until < row.valid_from:
        yield "valid_until", [_("The last day comes before the first.")]
    if row.jitter_max_seconds < row.jitter_min_seconds:
        yield "jitter_max_seconds", [_("The most delay is less than the least.")]
    if row.add_to_sale_queue and row.price_preset_id is None:
        yield "price_preset_id", [_("Choose the price at which works go into the sale queue.")]


def _of_mixture(row: Automation) -> Iterable[tuple[str, list[str]]]:
    if row.method != Automation.Method.MIXTURE:
        yield "mixture", [_("Only for the method “%(name)s”.") % {"name": Automation.Method.MIXTURE.label}]
        return
    parts = row.mixture
    if not (isinstance(parts, list) and parts and all(_is_part(part) for part in parts)):
        message = _("Name each part as {method, weight}, with a method of %(known)s and a weight of 1 to %(most)s.")
        yield "mixture", [message % {"known": ", ".join(UNMIXED), "most": WEIGHT_MAX}]
    elif len({part["method"] for part in parts}) < len(parts):
        yield "mixture", [_("Name each method once.")]


def _is_part(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and set(part) == {"method", "weight"}
        and part["method"] in UNMIXED
        and type(part["weight"]) is int  # True is a number too
        and 1 <= part["weight"] <= WEIGHT_MAX
    )


def _account_of(workspace_id: UUID, account_id: UUID) -> DeviantArtAccount:
    account = DeviantArtAccount.objects.connected().filter(workspace_id=workspace_id, pk=account_id).first()
    if account is None:
        raise ReferenceNotFound("account_id", _("There is no such connected account."))
    return account
