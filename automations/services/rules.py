"""When an automation posts: its rules, made, changed and taken out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from accounts.models import User
from automations import slots
from automations.errors import CronRefused, FieldsRefused, LastRule, ReferenceNotFound
from automations.models import Automation, Execution, ScheduleRule
from automations.models.rules import MINUTES_OF_A_WEEK, WEEKDAYS
from automations.services.changing import change
from automations.services.checking import refused_by_columns
from automations.services.planning import zone_of
from deviations.services.changing import Event
from isekai import clock

RULES_MAX = 50
# A table of the week has at most one entry every half hour.
WEEK_MINUTES_MAX = 7 * 48
# Of a cron expression: as many as an interval of five minutes makes.
CRON_A_DAY_MAX = 24 * 60 // 5
MINUTES_OF_A_DAY = 24 * 60
# What a type needs and nobody has to say.
_FOUND_OUT = ("anchor_local", "week_numbers")

# A table of the week as people say it: by day, 0 (Monday) to 6, the times on the wall.
Week = Mapping[int, Sequence[time]]

# What somebody says of a rule. ``type`` is said once, when it is made; ``week`` is what the rows keep as minutes.
SAID = frozenset(
    {
        "type",
        "week",
        *(name for name in ScheduleRule.OF_A_TYPE if not name.startswith("week_")),
        "works_per_slot",
        "priority",
        "enabled",
        "valid_from",
        "valid_until",
        "on_blackout",
        "quiet_hours",
        "max_per_week",
        "min_drafts_left",
    }
)


def add_rule(
    automation: Automation,
    *,
    user: User | None,
    version: int | None = None,
    rule_id: UUID | None = None,
    **fields: Any,
) -> ScheduleRule:
    """Give the automation another rule; ``fields`` are those of SAID, ``type`` and what it needs among them.

    ``rule_id``: the id that it gets, one that no rule has; its times by chance are drawn from that. An interval is
    counted from midnight of its first day, unless ``anchor_local`` says from when. Raises FieldsRefused,
    VersionConflict (of the automation), Running, Gone.
    """
    made: list[ScheduleRule] = []

    def how(row: Automation) -> list[Event]:
        if row.rules.count() >= RULES_MAX:
            raise FieldsRefused({"type": [_("An automation has at most %(most)s rules.") % {"most": RULES_MAX}]})
        rule = new_rule(row, fields)
        if rule_id is not None:
            rule.pk = rule_id
        rule.save(force_insert=True)
        made.append(rule)
        return [Event("automation.rule_added", {"rule": str(rule.pk), "type": rule.type})]

    row = change(automation, how, user=user, version=version)
    return _as_planned(made[0], row)


def edit_rule(rule: ScheduleRule, *, user: User | None, version: int | None = None, **changes: Any) -> ScheduleRule:
    """Change what a rule says: any of SAID but ``type``; None takes back a day filter, a window or a condition.

    What was scheduled by it keeps its time; a slot that was made today and is only moved is not made again. Raises
    FieldsRefused, LastRule (switching off the last one of an automation that is on), ReferenceNotFound,
    VersionConflict (of the automation), Running, Gone; nothing has changed then.
    """
    changed: list[ScheduleRule] = []

    def how(row: Automation) -> list[Event]:
        now = _rule_of(row, rule.pk)
        changed.append(now)
        was_on = now.enabled
        names = _apply(now, changes, row)
        if was_on and not now.enabled:
            now.next_slot_at = None
            _ensure_another(row, now)
        if not names:
            return []
        now.updated_at = clock.now()
        now.save()
        return [Event("automation.rule_edited", {"rule": str(now.pk), "fields": names})]

    row = change(rule.automation, how, user=user, version=version)
    return _as_planned(changed[0], row)


def remove_rule(rule: ScheduleRule, *, user: User | None, version: int | None = None) -> Automation:
    """Take a rule out; what was scheduled by it stays scheduled, and its history stays the automation's.

    Raises LastRule, ReferenceNotFound, VersionConflict (of the automation), Gone, and Running: while a tick makes its
    slots, it holds the automation.
    """

    def how(row: Automation) -> list[Event]:
        now = _rule_of(row, rule.pk)
        if now.enabled:
            _ensure_another(row, now)
        now.delete()
        return [Event("automation.rule_removed", {"rule": str(rule.pk), "type": now.type})]

    return change(rule.automation, how, user=user, version=version)


def new_rule(automation: Automation, fields: dict[str, Any]) -> ScheduleRule:
    """A rule of ``automation`` that is not saved yet. Raises FieldsRefused."""
    if fields.get("type") not in ScheduleRule.Type.values:
        raise FieldsRefused({"type": [_("Choose one of: %(known)s.") % {"known": ", ".join(ScheduleRule.Type)}]})
    rule = ScheduleRule(automation=automation, type=fields["type"])
    _apply(rule, fields, automation)
    return rule


def _as_planned(rule: ScheduleRule, automation: Automation) -> ScheduleRule:
    rule.refresh_from_db(fields=["next_slot_at"])
    rule.automation = automation
    return rule


def _rule_of(automation: Automation, rule_id: UUID) -> ScheduleRule:
    rule = ScheduleRule.objects.filter(automation=automation, pk=rule_id).first()
    if rule is None:
        raise ReferenceNotFound("rule", _("This rule was deleted meanwhile."))
    return rule


def _ensure_another(automation: Automation, rule: ScheduleRule) -> None:
    """Raise LastRule if the automation is on and ``rule`` is the only one of it that is."""
    if automation.enabled and not automation.rules.filter(enabled=True).exclude(pk=rule.pk).exists():
        raise LastRule


# --- what a rule may say ---------------------------------------------------------------------------------------------
def _apply(rule: ScheduleRule, changes: dict[str, Any], automation: Automation) -> list[str]:
    """Set what is said in memory; the names of what is different now. Raises FieldsRefused with all reasons."""
    if unknown := sorted(set(changes) - SAID):
        raise FieldsRefused({name: [_("There is no such field to change.")] for name in unknown})
    if "week" in changes:
        changes = {_COLUMNS.get(name, name): value for name, value in changes.items()}
        changes["week_minutes"] = _minutes_of(changes["week_minutes"])
    if changes.get("type", rule.type) != rule.type:
        raise FieldsRefused({"type": [_("A rule keeps its type. Add one of the other type and delete this one.")]})
    kind = ScheduleRule.Type(rule.type)
    allowed = {*ScheduleRule.NEEDS[kind], *ScheduleRule.MAY_HAVE[kind]}
    problems = {
        name: [_("Only for rules of the type %(types)s.") % {"types": _types_with(name)}]
        for name, value in changes.items()
        if name in ScheduleRule.OF_A_TYPE and name not in allowed and value is not None
    }
    before = {name: getattr(rule, name) for name in changes}
    week_before = dict(zip(rule.week_minutes or (), rule.week_numbers or (), strict=True))
    for name, value in changes.items():
        if name not in problems:
            setattr(rule, name, _tidied(name, value))
    refused = _refused_values(rule, changes)
    problems |= refused
    for name in ScheduleRule.NEEDS[kind]:
        if name not in _FOUND_OUT and getattr(rule, name) in (None, ""):
            problems.setdefault(name, [_("A rule of the type “%(type)s” needs this.") % {"type": kind.label}])
    for name, reasons in () if refused else _contradictions(rule):
        problems.setdefault(name, reasons)
    if problems:
        raise FieldsRefused({_said_as(name): reasons for name, reasons in problems.items()})
    if kind == ScheduleRule.Type.FIXED_INTERVAL and rule.anchor_local is None:
        rule.anchor_local = _midnight_of_its_first_day(rule, automation)
    if rule.week_minutes is not None and list(week_before) != rule.week_minutes:
        rule.week_numbers = _numbers(week_before, rule.week_minutes, used=_used_numbers(rule))
    return [_said_as(name) for name in changes if getattr(rule, name) != before[name]]


def _tidied(name: str, value: Any) -> Any:
    if name == "weekdays" and isinstance(value, Iterable):
        return sorted(set(value))
    if name == "cron" and isinstance(value, str):
        return " ".join(value.split())
    return value


def _refused_values(rule: ScheduleRule, changes: Iterable[str]) -> dict[str, list[str]]:
    """What the columns themselves do not take, or not as it is."""
    said = {name for name in changes if name != "type"}
    problems = refused_by_columns(rule, said)
    for name in said - set(problems):
        value = getattr(rule, name)
        if isinstance(value, (time, datetime)) and (value.second or value.microsecond):
            problems[name] = [_whole_minutes()]
    return problems


def _contradictions(rule: ScheduleRule) -> Iterable[tuple[str, list[str]]]:
    """What does not go together, by the field to change."""
    if rule.weekdays is not None and not (rule.weekdays and set(rule.weekdays) <= set(WEEKDAYS)):
        yield "weekdays", [_("Name at least one day, 0 (Monday) to 6 (Sunday), or none at all for every day.")]
    if rule.week_minutes is not None:
        if not rule.week_minutes or not all(0 <= minute < MINUTES_OF_A_WEEK for minute in rule.week_minutes):
            yield "week_minutes", [_("Name at least one time of the week.")]
        elif len(rule.week_minutes) > WEEK_MINUTES_MAX:
            yield "week_minutes", [_("A week has at most %(most)s times.") % {"most": WEEK_MINUTES_MAX}]
    if rule.window_end == time():
        yield "window_end", [_("Leave the end open for a window that lasts until midnight.")]
    elif rule.window_end is not None and (rule.window_start or time()) >= rule.window_end:
        yield "window_end", [_("The window has to end after it begins, on the same day.")]
    if rule.type == ScheduleRule.Type.DAILY_QUOTA and rule.works_per_slot != 1:
        yield "works_per_slot", [_("A quota says itself how many a day, so this is 1.")]
    if rule.valid_from is not None and rule.valid_until is not None and rule.valid_until < rule.valid_from:
        yield "valid_until", [_("The last day comes before the first.")]
    if rule.cron:
        try:
            parsed = slots.parse_cron(rule.cron)
        except CronRefused as error:
            yield "cron", error.details["cron"]
        else:
            if len(parsed.hours) * len(parsed.minutes) > CRON_A_DAY_MAX:
                yield "cron", [_("This is more than %(most)s times a day.") % {"most": CRON_A_DAY_MAX}]


def _whole_minutes() -> str:
    return _("Rules know whole minutes, like 18:30.")


def _types_with(name: str) -> str:
    """The types of rules that have a field, as texts."""
    return ", ".join(
        f"“{kind.label}”"
        for kind in ScheduleRule.Type
        if name in ScheduleRule.NEEDS[kind] or name in ScheduleRule.MAY_HAVE[kind]
    )


def _midnight_of_its_first_day(rule: ScheduleRule, automation: Automation) -> datetime:
    zone = zone_of(automation)
    first = rule.valid_from or automation.valid_from or slots.local_date_of(clock.now(), zone)
    return datetime.combine(first, time())


# --- the table of a week ---------------------------------------------------------------------------------------------
_COLUMNS = {"week": "week_minutes"}


def _said_as(column: str) -> str:
    return next((said for said, name in _COLUMNS.items() if name == column), column)


def week_of(rule: ScheduleRule) -> dict[int, list[time]] | None:
    """The table of the week of a rule, every day in it; None: it has none."""
    if rule.week_minutes is None:
        return None
    week: dict[int, list[time]] = {day: [] for day in WEEKDAYS}
    for minute in rule.week_minutes:
        day, minute_of_day = divmod(minute, MINUTES_OF_A_DAY)
        week[day].append(time(*divmod(minute_of_day, 60)))
    return week


def _minutes_of(week: Week | None) -> list[int] | None:
    """What a table of the week is kept as. Raises FieldsRefused."""
    if week is None:
        return None
    if any(at.second or at.microsecond for times in week.values() for at in times):
        raise FieldsRefused({"week": [_whole_minutes()]})
    return sorted({day * MINUTES_OF_A_DAY + at.hour * 60 + at.minute for day, times in week.items() for at in times})


def _numbers(before: dict[int, int], minutes: Sequence[int], *, used: set[int]) -> list[int]:
    """By which number each of ``minutes`` is known on its day.

    One that was there keeps its number, and one that takes the place of another gets the other's, so that a slot that
    is moved on its day stays the same slot. A new one gets a number that no slot of these days was ``used`` by.
    """
    numbers = {minute: before[minute] for minute in minutes if minute in before}
    for day in WEEKDAYS:
        gone = [minute for minute in before if minute // MINUTES_OF_A_DAY == day and minute not in numbers]
        new = [minute for minute in minutes if minute // MINUTES_OF_A_DAY == day and minute not in numbers]
        numbers |= {minute: before[was] for was, minute in zip(gone, new, strict=False)}
        taken = used | {number for minute, number in before.items() if minute // MINUTES_OF_A_DAY == day}
        for minute in new[len(gone) :]:
            number = next(number for number in range(len(taken) + 1) if number not in taken)
            taken.add(number)
            numbers[minute] = number
    return [numbers[minute] for minute in minutes]


def _used_numbers(rule: ScheduleRule) -> set[int]:
    """By which numbers slots of today, or of later, were made."""
    since = clock.now().date() - timedelta(days=1)  # today by UTC may be yesterday somewhere
    made = Execution.objects.filter(rule=rule, local_date__gte=since)
    return set(made.values_list("ordinal", flat=True).distinct())
