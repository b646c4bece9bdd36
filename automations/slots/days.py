"""What each type of rule makes of one day on the wall. All else is built of whole days, never from where one starts."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta

from automations.slots.cron import times_on
from automations.slots.drawing import draw
from automations.slots.types import Rule, Slot
from automations.slots.wall import DAY, day_span, first_instant_of, instant_on

MINUTES_OF_A_DAY = 24 * 60
# The part of its share of the window that a work of a quota is drawn in: the rest keeps two of them apart.
MIDDLE_OF_A_SHARE = 0.5
# Types whose moments are said; those of the others are drawn from a span of the day.
POINTS = ("fixed_time", "weekday_slots", "cron", "fixed_interval")


def slots_on(rule: Rule, day: date, zone: str, seed: int) -> list[Slot]:
    """The slots of a day, in order, whatever blackouts say."""
    if not is_open_on(rule, day):
        return []
    return _BY_TYPE[rule.type](rule, day, zone, seed)


def is_open_on(rule: Rule, day: date) -> bool:
    return rule.is_valid_on(day) and rule.is_on_weekday(day)


def span_of(rules: Sequence[Rule], day: date, zone: str) -> tuple[datetime, datetime] | None:
    """What the windows of all ``rules`` have in common on a day; None when that is nothing.

    A window that clocks skip altogether is not nothing but the moment at which they go on.
    """
    start = max(rule.window_start or time() for rule in rules)
    end = min((rule.window_end for rule in rules if rule.window_end is not None), default=None)
    first, last = day_span(day, zone)
    if first == last or (end is not None and end <= start):
        return None
    return (
        instant_on(day, start, zone),
        last if end is None else instant_on(day, end, zone),
    )


def draw_in_span(
    rule: Rule, day: date, span: tuple[datetime, datetime], *, count: int, seed: int, middle: float
) -> list[Slot]:
    """So many slots spread over a span: each in an equal share of it, drawn from the ``middle`` of that share."""
    start, end = span
    drawn = []
    for ordinal in range(count):
        place = (1 - middle) / 2 + middle * draw(seed, rule.id, day, ordinal, "moment")
        seconds = int((end - start).total_seconds() * (ordinal + place) / count)
        drawn.append(Slot(start + timedelta(seconds=seconds), rule.id, day, ordinal, latest=end))
    return drawn


def _fixed_time(rule: Rule, day: date, zone: str, seed: int) -> list[Slot]:  # noqa: ARG001 - as all of them
    assert rule.time_of_day is not None  # noqa: S101 - the table holds it
    return [Slot(instant_on(day, rule.time_of_day, zone), rule.id, day, 0)]


def _weekday_slots(rule: Rule, day: date, zone: str, seed: int) -> list[Slot]:  # noqa: ARG001
    return sorted(
        Slot(instant_on(day, time(*divmod(minute % MINUTES_OF_A_DAY, 60)), zone), rule.id, day, number)
        for minute, number in zip(rule.week_minutes, rule.week_numbers, strict=True)
        if minute // MINUTES_OF_A_DAY == day.weekday()
    )


def _cron(rule: Rule, day: date, zone: str, seed: int) -> list[Slot]:  # noqa: ARG001
    # Where clocks skip an hour, all that matches within it comes to the same moment: that is one slot.
    found: list[Slot] = []
    for ordinal, at in enumerate(times_on(rule.cron, day)):
        moment = instant_on(day, at, zone)
        if not found or found[-1].at != moment:
            found.append(Slot(moment, rule.id, day, ordinal))
    return found


def _daily_quota(rule: Rule, day: date, zone: str, seed: int) -> list[Slot]:
    assert rule.quota is not None  # noqa: S101
    span = span_of([rule], day, zone)
    return draw_in_span(rule, day, span, count=rule.quota, seed=seed, middle=MIDDLE_OF_A_SHARE) if span else []


def _time_window(rule: Rule, day: date, zone: str, seed: int) -> list[Slot]:
    span = span_of([rule], day, zone)
    return draw_in_span(rule, day, span, count=1, seed=seed, middle=1) if span else []


def _fixed_interval(rule: Rule, day: date, zone: str, seed: int) -> list[Slot]:  # noqa: ARG001
    """On a grid of real minutes; an interval of whole days keeps its time on the wall instead.

    Outside its window an interval that is shorter than the closed time rests, and a longer one waits for the opening.
    """
    assert rule.interval_minutes is not None  # noqa: S101
    days, rest = divmod(rule.interval_minutes, MINUTES_OF_A_DAY)
    moments = _every_so_many_days(rule, day, zone, days) if not rest else _every_so_many_minutes(rule, day, zone)
    return [Slot(moment, rule.id, day, ordinal) for ordinal, moment in enumerate(moments)]


def _every_so_many_days(rule: Rule, day: date, zone: str, days: int) -> list[datetime]:
    assert rule.anchor_local is not None  # noqa: S101
    first, at = rule.anchor_local.date(), rule.anchor_local.time()
    opens = rule.window_start or time()
    if rule.window_end is not None and at >= rule.window_end:
        first, at = first + DAY, opens
    if day < first or (day - first).days % days:
        return []
    return [instant_on(day, max(at, opens), zone)]


def _every_so_many_minutes(rule: Rule, day: date, zone: str) -> list[datetime]:
    assert rule.interval_minutes is not None  # noqa: S101
    span = span_of([rule], day, zone)
    if span is None:
        return []
    opens, closes = span
    moments = _grid(rule, opens, closes, zone)
    closed = MINUTES_OF_A_DAY - _open_minutes(rule)
    if closed and rule.interval_minutes >= closed and opens not in moments:
        before = span_of([rule], day - DAY, zone)
        shut = before[1] if before else day_span(day, zone)[0]
        if _grid(rule, shut, opens, zone):
            moments.insert(0, opens)
    return moments


def _grid(rule: Rule, start: datetime, end: datetime, zone: str) -> list[datetime]:
    """The moments of an interval from ``start`` to before ``end``."""
    assert rule.interval_minutes is not None  # noqa: S101
    assert rule.anchor_local is not None  # noqa: S101
    anchor = first_instant_of(rule.anchor_local, zone)
    step = timedelta(minutes=rule.interval_minutes)
    # Both rounded up: the first that is not before, and the first that is not within.
    first, behind = (-((anchor - moment) // step) for moment in (start, end))
    return [anchor + number * step for number in range(max(first, 0), behind)]


def _open_minutes(rule: Rule) -> int:
    start, end = rule.window_start or time(), rule.window_end
    until = MINUTES_OF_A_DAY if end is None else end.hour * 60 + end.minute
    return until - (start.hour * 60 + start.minute)


_BY_TYPE: dict[str, Callable[[Rule, date, str, int], list[Slot]]] = {
    "fixed_time": _fixed_time,
    "fixed_interval": _fixed_interval,
    "daily_quota": _daily_quota,
    "time_window": _time_window,
    "weekday_slots": _weekday_slots,
    "cron": _cron,
}
