"""Times as a person says them, on the clocks of whoever reads them."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

A_WEEK = 7


def moment(at: datetime, zone: ZoneInfo, now: datetime) -> str:
    """`today 18:50`, `Thu 08:00` within six days, else `31 Jan, 18:30`, with the year where it is another one."""
    there, today = at.astimezone(zone), now.astimezone(zone).date()
    days = (there.date() - today).days
    values = {"time": clock_time(at, zone), "day": date_format(there, "D"), "date": date_format(there, "j M")}
    if days == 0:
        return _("today %(time)s") % values
    if days == 1:
        return _("tomorrow %(time)s") % values
    if days == -1:
        return _("yesterday %(time)s") % values
    if 1 < days < A_WEEK:
        return _("%(day)s %(time)s") % values
    if there.year == today.year:
        return _("%(date)s, %(time)s") % values
    return _("%(date)s, %(time)s") % {**values, "date": date_format(there, "j M Y")}


def clock_time(at: datetime, zone: ZoneInfo, *, seconds: bool = False) -> str:
    """`18:50`, with ``seconds`` `18:50:00`."""
    return f"{at.astimezone(zone):%H:%M:%S}" if seconds else f"{at.astimezone(zone):%H:%M}"


def distance(at: datetime, now: datetime) -> str:
    """`in 24 min`: how far ahead a moment is, rounded to what helps; `now` for what has come."""
    seconds = round((at - now).total_seconds())
    if seconds <= 0:
        return _("now")
    if seconds < 90:
        return _("in %(count)s s") % {"count": seconds}
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("in %(count)s min") % {"count": minutes}
    hours = round(seconds / 3600)
    if hours < 36:
        return _("in %(count)s h") % {"count": hours}
    days = round(seconds / 86_400)
    return ngettext("in %(count)s day", "in %(count)s days", days) % {"count": days}


def zone_place(zone: ZoneInfo) -> str:
    """`Berlin` for Europe/Berlin."""
    return zone.key.rsplit("/", 1)[-1].replace("_", " ")


def zone_offset(zone: ZoneInfo, at: datetime) -> str:
    """`CEST (UTC+2)`, or only `UTC+2` where the zone has no letters of its own; empty for UTC itself."""
    there = at.astimezone(zone)
    minutes = int((there.utcoffset() or timedelta()).total_seconds() // 60)
    if zone.key == "UTC":
        return ""
    sign = "+" if minutes >= 0 else "-"
    hours, rest = divmod(abs(minutes), 60)
    offset = f"UTC{sign}{hours}" + (f":{rest:02}" if rest else "") if minutes else "UTC"
    name = there.tzname() or ""
    return f"{name} ({offset})" if name.isalpha() and name != offset else offset


def zone_choices() -> list[tuple[str, str]]:
    """Every time zone that people live in, by name."""
    places = (name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "SystemV/")))
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in sorted(places))]
