from datetime import date, datetime, time
from functools import lru_cache

from cronsim import CronSim, CronSimError
from django.utils.translation import gettext as _

from automations.errors import CronRefused

FIELDS = 5
LONGEST = 100
# Only what the expression says is used, never where cronsim stands.
_ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - times on the wall


@lru_cache(maxsize=1024)
def parse_cron(expression: str) -> CronSim:
    """Read a cron expression of five fields; raises CronRefused, which says what is wrong with it."""
    if len(expression) > LONGEST:
        raise CronRefused(_("A cron expression has at most %(most)s characters.") % {"most": LONGEST})
    if len(expression.split()) != FIELDS:
        raise CronRefused(
            _("A cron expression has five fields: minute, hour, day of the month, month, day of the week.")
        )
    try:
        return CronSim(expression, _ANY_DAY)
    # Besides its own error, cronsim trips over fields such as `MON#1/2`.
    except (CronSimError, AssertionError, TypeError, ValueError) as error:
        raise CronRefused(_refusal(expression)) from error


def explain_cron(expression: str) -> str:
    """The expression in words, in English; raises CronRefused."""
    return parse_cron(expression).explain()


def times_on(expression: str, day: date) -> list[time]:
    """When the expression matches on a day, on the wall, in order."""
    parsed = parse_cron(expression)
    if day.month not in parsed.months or not parsed.match_day(day):
        return []
    minutes = sorted(parsed.minutes)
    return [time(hour, minute) for hour in sorted(parsed.hours) for minute in minutes]


def _refusal(expression: str) -> str:
    """Which field cannot be read, and what it takes."""
    parts = expression.split()
    accepted = (
        _("The minute is 0 to 59, or like 0,30 or */15."),
        _("The hour is 0 to 23, or like 9,18 or 8-20."),
        _("The day of the month is 1 to 31, or L for its last."),
        _("The month is 1 to 12, or like JAN or MAR-MAY."),
        _("The day of the week is 0 to 7 (0 and 7 are Sunday), or like MON-FRI or SUN#1."),
    )
    for place, meaning in enumerate(accepted):
        alone = ["*"] * FIELDS
        alone[place] = parts[place]
        try:
            CronSim(" ".join(alone), _ANY_DAY)
        except (CronSimError, AssertionError, TypeError, ValueError):
            return _("“%(field)s” cannot be read. %(accepted)s") % {"field": parts[place], "accepted": meaning}
    return _("No month has such a day.")
