"""From a time on somebody's wall to an instant, with the two nights a year on which that is not one to one."""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django.utils.translation import gettext as _

from deviations.errors import TimeRefused


def instant_of(local: datetime, zone: str, *, fold: int | None = None) -> datetime:
    """The instant, in UTC, at which clocks in ``zone`` show ``local`` (naive).

    ``fold`` says which of the two is meant when clocks show a time twice: 0 the first, 1 the second; it is ignored on
    all other days. Raises TimeRefused for an unknown zone, for a time that those clocks skip, and for one that they
    show twice while ``fold`` is None; ``details["choices"]`` then has both, as PEP 495 tells them apart.
    """
    clocks = zone_named(zone)
    try:
        first, second = (local.replace(tzinfo=clocks, fold=which) for which in (0, 1))
        # What clocks never show does not come back from UTC as it went there.
        shown = first.astimezone(UTC).astimezone(clocks).replace(tzinfo=None, fold=0)
    except OverflowError as error:
        raise _too_far_away("local") from error
    if shown != local.replace(fold=0):
        message = _("Clocks in %(zone)s skip %(time)s on that day. Choose another time.") % {
            "zone": zone,
            "time": f"{local:%H:%M}",
        }
        raise TimeRefused(message, code="time_does_not_exist", details={"local": [message]})
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    if fold is None:
        message = _("Clocks in %(zone)s show %(time)s twice on that day. Say which of the two you mean.") % {
            "zone": zone,
            "time": f"{local:%H:%M}",
        }
        choices = [
            {"fold": which, "name": moment.tzname(), "at": moment.isoformat()}
            for which, moment in enumerate((first, second))
        ]
        raise TimeRefused(message, code="time_comes_twice", details={"fold": [message], "choices": choices})
    return (second if fold else first).astimezone(UTC)


def wall_time_of(instant: datetime, zone: str) -> datetime:
    """What clocks in ``zone`` show at an aware ``instant``: a naive datetime. Raises TimeRefused."""
    try:
        return instant.astimezone(zone_named(zone)).replace(tzinfo=None, fold=0)
    except OverflowError as error:
        raise _too_far_away("scheduled_at") from error


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name; raises TimeRefused."""
    # Asked first: ZoneInfo reads whatever file a name leads to.
    if name not in _known_zones():
        message = _("“%(zone)s” is no time zone; choose one like Europe/Berlin.") % {"zone": name[:64]}
        raise TimeRefused(message, code="unknown_time_zone", details={"zone": [message]})
    return ZoneInfo(name)


@cache
def _known_zones() -> frozenset[str]:
    """Kept, since each look walks through hundreds of files."""
    return frozenset(available_timezones())


def _too_far_away(field: str) -> TimeRefused:
    message = _("That time is too far away.")
    return TimeRefused(message, code="time_too_far_ahead", details={field: [message]})
