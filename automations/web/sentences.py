"""Rules and ways to choose, as a person says them."""

from collections.abc import Iterable
from datetime import time

from django.utils.dates import WEEKDAYS_ABBR
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from automations import slots
from automations.errors import CronRefused
from automations.models import Automation, ScheduleRule

Type = ScheduleRule.Type
HOUR, DAY = 60, 24 * 60
WORKING_DAYS, WEEKEND = [0, 1, 2, 3, 4], [5, 6]

# How a draft was chosen.
CHOSEN = {
    Automation.Method.FIFO: gettext_lazy("the oldest draft"),
    Automation.Method.LIFO: gettext_lazy("the newest draft"),
    Automation.Method.RANDOM: gettext_lazy("drawn by chance"),
    Automation.Method.PRIORITY: gettext_lazy("as you sorted them"),
    Automation.Method.TITLE: gettext_lazy("the first by title"),
}


def chosen(method: str) -> str:
    return str(CHOSEN.get(Automation.Method(method), ""))


def sentence_of(rule: ScheduleRule) -> str:
    """`2 a day between 10:00 and 22:00, Mon, Wed`."""
    said = _BY_TYPE[Type(rule.type)](rule)
    if rule.works_per_slot > 1:
        each = ngettext("%(count)s work at once", "%(count)s works at once", rule.works_per_slot)
        said = _("%(when)s, %(works)s") % {"when": said, "works": each % {"count": rule.works_per_slot}}
    return capfirst(said)


def days_of(weekdays: Iterable[int]) -> str:
    """`Mon, Wed, Fri`, or what several days are called together."""
    days = sorted(weekdays)
    if days == WORKING_DAYS:
        return _("on weekdays")
    if days == WEEKEND:
        return _("at weekends")
    return ", ".join(str(WEEKDAYS_ABBR[day]) for day in days)


def _fixed_time(rule: ScheduleRule) -> str:
    return _on_its_days(rule, _("at %(time)s") % {"time": _clock(rule.time_of_day)}, daily=True)


def _fixed_interval(rule: ScheduleRule) -> str:
    minutes = rule.interval_minutes or 0
    if minutes % DAY == 0:
        said = ngettext("every day", "every %(count)s days", minutes // DAY) % {"count": minutes // DAY}
    elif minutes % HOUR == 0:
        said = ngettext("every hour", "every %(count)s hours", minutes // HOUR) % {"count": minutes // HOUR}
    else:
        said = ngettext("every minute", "every %(count)s minutes", minutes) % {"count": minutes}
    return _on_its_days(rule, _within(rule, said))


def _daily_quota(rule: ScheduleRule) -> str:
    said = ngettext("%(count)s a day", "%(count)s a day", rule.quota or 0) % {"count": rule.quota}
    return _on_its_days(rule, _within(rule, said))


def _time_window(rule: ScheduleRule) -> str:
    return _on_its_days(rule, _within(rule, _("once a day")))


def _weekday_slots(rule: ScheduleRule) -> str:
    of_days: dict[str, list[int]] = {}
    for day in range(7):
        times = [time(*divmod(minute % DAY, HOUR)) for minute in rule.week_minutes or () if minute // DAY == day]
        if times:
            of_days.setdefault(", ".join(map(_clock, times)), []).append(day)
    parts = [_("%(days)s at %(times)s") % {"days": days_of(days), "times": times} for times, days in of_days.items()]
    return "; ".join(parts)


def _cron(rule: ScheduleRule) -> str:
    try:
        return slots.explain_cron(rule.cron or "")
    except CronRefused:
        return rule.cron or ""


def _within(rule: ScheduleRule, said: str) -> str:
    values = {"said": said, "start": _clock(rule.window_start), "end": _clock(rule.window_end)}
    if rule.window_start and rule.window_end:
        return _("%(said)s between %(start)s and %(end)s") % values
    if rule.window_start:
        return _("%(said)s after %(start)s") % values
    if rule.window_end:
        return _("%(said)s before %(end)s") % values
    return said


def _on_its_days(rule: ScheduleRule, said: str, *, daily: bool = False) -> str:
    if rule.weekdays is None:
        return _("%(said)s every day") % {"said": said} if daily else said
    return _("%(said)s, %(days)s") % {"said": said, "days": days_of(rule.weekdays)}


def _clock(at: time | None) -> str:
    return f"{at:%H:%M}" if at else ""


_BY_TYPE = {
    Type.FIXED_TIME: _fixed_time,
    Type.FIXED_INTERVAL: _fixed_interval,
    Type.DAILY_QUOTA: _daily_quota,
    Type.TIME_WINDOW: _time_window,
    Type.WEEKDAY_SLOTS: _weekday_slots,
    Type.CRON: _cron,
}
