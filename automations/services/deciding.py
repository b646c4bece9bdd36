"""What becomes of slots: whether their conditions hold, which drafts they take, and what is written into these.

One way for all who ask: a run, which holds the rows and then acts, a preview, which only looks, and a test. Slots are
decided in the order in which they come, each knowing what the earlier ones of its workspace do. As many queries are
needed for a hundred slots as for one.
"""

import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, prefetch_related_objects

from accounts.models import DeviantArtAccount
from automations import slots
from automations.models import Automation, Blackout, DefaultValue, Execution, ExecutionWork, ScheduleRule
from automations.services import texts
from automations.services.defaulting import Earlier, Filling, changes_by, fill, said_by_the_artist
from automations.services.picking import FEW_LEFT, NONE_LEFT, OPEN, SPACING, Pick, Want, pick
from automations.services.planning import first_owners
from deviations.errors import DeviationError
from deviations.models import Deviation
from deviations.services.readiness import ensure_publishable
from deviations.services.scheduling import Appointment, Wish, fill_in
from deviations.services.wall_time import wall_time_of

Outcome = Execution.Outcome

# So often it is asked again without the drafts that turned out not to be had.
ROUNDS = 6
SECOND = timedelta(seconds=1)
SEVEN_DAYS = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A slot whose turn it is."""

    automation: Automation
    # Those whose conditions have to hold: the one whose slot it is first. None for a run by hand.
    rules: tuple[ScheduleRule, ...]
    slot: slots.Slot
    zone: str
    # How many works it wants, and how many it has had before, if some of them were taken back.
    count: int
    had: int = 0
    # Those that it had, which it is not to take again.
    never: frozenset[UUID] = frozenset()
    # When a tick will decide it, for a preview; None: now.
    decided_at: datetime | None = None

    @property
    def publish_at(self) -> datetime:
        """When its first work goes out, with its delay."""
        return self.slot.at + timedelta(seconds=self.delay(self.had))

    def delay(self, number: int) -> int:
        """The drawn delay of one of its works, in seconds; it does not lead beyond where the rule says to end."""
        least, most = self.automation.jitter_min_seconds, self.automation.jitter_max_seconds
        if self.slot.latest is not None:
            most = min(most, max(0, int((self.slot.latest - self.slot.at - SECOND).total_seconds())))
            least = min(least, most)
        what = f"delay {number}" if number else "delay"
        drawn = slots.draw(self.automation.seed, self.slot.rule_id, self.slot.local_date, self.slot.ordinal, what)
        return least + int(drawn * (most - least + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """A draft that a turn takes, and what is done with it."""

    draft: Deviation  # as it was read; nothing is written into it yet
    method: Automation.Method
    appointment: Appointment
    values_before: dict[str, Any]
    counter: int | None  # the number that stands in one of its texts

    @property
    def publish_at(self) -> datetime:
        return self.appointment.wish.at + timedelta(seconds=self.appointment.jitter_seconds)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a turn, and why as a code with parameters."""

    turn: Turn
    outcome: Execution.Outcome
    reason_code: str = ""
    reason_params: dict[str, Any] = field(default_factory=dict)
    takes: tuple[Take, ...] = ()


def decide(
    turns: Sequence[Turn], *, now: datetime, hold: bool, counters: dict[UUID, int] | None = None
) -> list[Decision]:
    """What becomes of ``turns``, in their order, which is that of `in_order`.

    ``hold``: lock the drafts that are taken, and pass over those that somebody else holds. ``counters`` has by
    automation what `{counter}` is next, and is counted up.
    """
    if not turns:
        return []
    return _Deciding(turns, now=now, hold=hold).run({} if counters is None else counters)


def in_order(turns: Iterable[Turn]) -> list[Turn]:
    """In the order in which they are decided: by moment, by the place of their automation, by priority."""
    return sorted(
        turns,
        key=lambda turn: (
            turn.slot.at,
            turn.automation.position,
            turn.automation.pk,
            turn.rules[0].priority if turn.rules else 0,
            turn.slot.key,
        ),
    )


class _Deciding:
    def __init__(self, turns: Sequence[Turn], *, now: datetime, hold: bool) -> None:
        self.turns, self.now, self.hold = turns, now, hold
        automations = {turn.automation.pk: turn.automation for turn in turns}
        workspaces = {each.workspace_id for each in automations.values()}
        self.fillings = _fillings_of(automations.values())
        self.accounts = _accounts_of(workspaces)
        self.connected = {
            workspace_id: [each for each in accounts if each.state != each.State.DISCONNECTED]
            for workspace_id, accounts in self.accounts.items()
        }
        self.blackouts = _blackouts_of(turns, self.connected)
        self.languages = _languages_of(workspaces) if any(each.defaults for each in self.fillings.values()) else {}
        self.last_out = _last_out(turns)
        self.of_week = _works_of_weeks(turns)
        # What is found out about drafts: held by others or changed meanwhile, and refused by what is written into them.
        self.gone: set[UUID] = set()
        self.refused: dict[UUID, dict[UUID, DeviationError]] = defaultdict(dict)
        self.drafts: dict[UUID, Deviation] = {}
        self.earlier: dict[UUID, Earlier] = {}

    def run(self, counters: dict[UUID, int]) -> list[Decision]:
        """Decide, and decide again without the drafts that were not to be had."""
        empty: set[int] = set()  # turns that nothing was found for, which therefore stand in nobody's way
        for round_left in reversed(range(ROUNDS)):
            stopped = dict(self._conditions(empty))
            wants = [
                (place, want) for place in range(len(self.turns)) if place not in stopped for want in self._wants(place)
            ]
            picks = pick([want for _place, want in wants], now=self.now, taken=self.gone)
            self._load({each.deviation_id for each in picks if each.deviation_id is not None})
            counted = dict(counters)
            takes: dict[int, list[Take]] = defaultdict(list)
            misses: dict[int, Pick] = {}
            again = False
            for (place, want), picked in zip(wants, picks, strict=True):
                if picked.deviation_id is None:
                    misses.setdefault(place, picked)
                elif take := self._take(self.turns[place], want, picked, counted):
                    takes[place].append(take)
                else:
                    again = True
            found_empty = {place for place in misses if not takes[place]}
            again = again or bool(found_empty - empty and self._matters())
            if not again or not round_left:
                counters.update(counted)
                return [
                    self._decision(place, stopped, takes[place], misses.get(place)) for place in range(len(self.turns))
                ]
            empty |= found_empty
        raise AssertionError("the last round returns")

    def _matters(self) -> bool:
        """Whether a turn asks what the ones before it do."""
        return any(rule.quiet_hours or rule.max_per_week for turn in self.turns for rule in turn.rules)

    # --- conditions ---------------------------------------------------------------------------------------------------
    def _conditions(self, empty: Collection[int]) -> Iterator[tuple[int, Decision]]:
        """The turns that take nothing whatever there is, as far as is known before anything is picked."""
        going: dict[UUID, list[Turn]] = defaultdict(list)
        works: dict[tuple[UUID, date], int] = dict(self.of_week)
        for place, turn in enumerate(self.turns):
            decision = self._no_account(turn) or self._not_quiet(turn, going) or self._week_is_full(turn, works)
            if decision is not None:
                yield place, decision
            elif place not in empty:
                going[turn.automation.workspace_id].append(turn)
                if turn.rules:
                    week = _week_of(turn)
                    works[week] = works.get(week, 0) + turn.count

    def _no_account(self, turn: Turn) -> Decision | None:
        automation = turn.automation
        accounts = self.connected[automation.workspace_id]
        if automation.account_id is not None:
            if not any(each.pk == automation.account_id for each in accounts):
                return Decision(turn, Outcome.NOT_TAKEN, "account_disconnected")
            return None
        if not accounts:
            return Decision(turn, Outcome.NOT_TAKEN, "no_account")
        if not self._open_accounts(turn):
            return Decision(turn, Outcome.BLACKOUT, "blackout")
        return None

    def _not_quiet(self, turn: Turn, going: Mapping[UUID, Sequence[Turn]]) -> Decision | None:
        hours = max((rule.quiet_hours or 0 for rule in turn.rules), default=0)
        if not hours:
            return None
        before = [
            each.publish_at
            for each in going[turn.automation.workspace_id]
            if each.publish_at < turn.slot.at and _share_an_account(each.automation, turn.automation)
        ]
        if (known := self.last_out.get(turn.slot.key)) is not None:
            before.append(known)
        last = max(before, default=None)
        if last is None or last <= turn.slot.at - timedelta(hours=hours):
            return None
        return Decision(turn, Outcome.CONDITION, "not_quiet", {"hours": hours, "last_at": last.isoformat()})

    def _week_is_full(self, turn: Turn, works: Mapping[tuple[UUID, date], int]) -> Decision | None:
        most = _most_a_week(turn)
        if most is None or works.get(_week_of(turn), 0) + turn.count <= most:
            return None
        return Decision(turn, Outcome.CONDITION, "week_is_full", {"most": most})

    # --- drafts -------------------------------------------------------------------------------------------------------
    def _wants(self, place: int) -> Iterator[Want]:
        turn = self.turns[place]
        automation = turn.automation
        least = max((rule.min_drafts_left or 0 for rule in turn.rules), default=0)
        for number in range(turn.had, turn.had + turn.count):
            yield Want(
                automation=automation,
                filling=self.fillings[automation.pk],
                slot=turn.slot,
                zone=turn.zone,
                number=number,
                accounts=tuple(each.pk for each in self._open_accounts(turn)),
                connected=len(self.connected[automation.workspace_id]),
                least_left=least or None,
                never=turn.never | self.refused[automation.pk].keys(),
                decided_at=turn.decided_at,
            )

    def _open_accounts(self, turn: Turn) -> list[DeviantArtAccount]:
        """Where drafts that say so themselves may go on that day; by hand, on any."""
        black = self.blackouts if turn.rules else {}
        day = turn.slot.local_date if turn.slot.moved_from is None else slots.local_date_of(turn.slot.at, turn.zone)
        return [
            each
            for each in self.connected[turn.automation.workspace_id]
            if not any(one.covers(day) for one in black.get(each.pk, ()))
        ]

    def _load(self, ids: Collection[UUID]) -> None:
        """Read the drafts that were not read yet, lock them if that is wanted, and note which are not to be had."""
        wanted = set(ids) - self.drafts.keys()
        if not wanted:
            return
        drafts = Deviation.objects.ready_for_automations().filter(pk__in=wanted).order_by("pk")
        if self.hold:
            free = Q(opened_at__isnull=True) | Q(opened_at__lte=self.now - OPEN)
            drafts = drafts.filter(free).select_for_update(of=("self",), skip_locked=True)
        found = {draft.pk: draft for draft in drafts}
        prefetch_related_objects(list(found.values()), "files", "account", "workspace__deviantart_accounts")
        self.drafts |= found
        self.gone |= wanted - found.keys()
        works = ExecutionWork.objects.filter(deviation__in=found).exclude(values_before={})
        latest = works.order_by("deviation_id", "-pk").distinct("deviation_id")
        self.earlier |= dict(latest.values_list("deviation_id", "values_before"))

    def _take(self, turn: Turn, want: Want, picked: Pick, counters: dict[UUID, int]) -> Take | None:
        """The draft with what is to be written into it; None, which is noted, if it is not to be had like this."""
        assert picked.deviation_id is not None  # noqa: S101 - whoever calls has looked
        draft = self.drafts.get(picked.deviation_id)
        if draft is None:
            return None
        automation, earlier = turn.automation, self.earlier.get(draft.pk, {})
        number = counters.get(automation.pk, automation.counter)
        delay = turn.delay(want.number)
        going_out_at = wall_time_of(turn.slot.at + timedelta(seconds=delay), turn.zone)
        first = next(iter(draft.files.all()), None)
        facts = texts.Facts(
            title=said_by_the_artist(draft, "title", earlier),
            at=going_out_at,
            counter=number,
            filename=first.original_name if first else "",
            exif=first.exif if first else {},
            language=self.languages.get(automation.workspace_id, "en"),
        )
        filled = fill(self.fillings[automation.pk], draft, facts, earlier=earlier)
        appointment = Appointment(
            Wish(wall_time_of(turn.slot.at, turn.zone), turn.zone, turn.slot.at),
            jitter_seconds=delay,
            account=self._account_for(automation, draft),
            words=filled.words,
            params={"automation": automation.name, "automation_id": str(automation.pk)},
        )
        as_it_would_be = copy.copy(draft)
        try:
            fill_in(as_it_would_be, appointment)
            ensure_publishable(as_it_would_be)
        except DeviationError as error:
            self.refused[automation.pk][draft.pk] = error
            return None
        if filled.counted:
            counters[automation.pk] = number + 1
        return Take(
            draft=draft,
            method=picked.method,
            appointment=appointment,
            values_before=changes_by(draft, appointment, earlier=earlier),
            counter=number if filled.counted else None,
        )

    def _account_for(self, automation: Automation, draft: Deviation) -> DeviantArtAccount | None:
        if automation.account_id is None or draft.account_id is not None:
            return None
        return next(each for each in self.accounts[automation.workspace_id] if each.pk == automation.account_id)

    # --- the outcome -------------------------------------------------------------------------------------------------
    def _decision(
        self, place: int, stopped: Mapping[int, Decision], takes: Sequence[Take], miss: Pick | None
    ) -> Decision:
        turn = self.turns[place]
        if place in stopped:
            return stopped[place]
        if takes:
            params = {} if len(takes) == turn.count else {"wanted": turn.count, "taken": len(takes)}
            return Decision(turn, Outcome.SCHEDULED, "fewer" if params else "", params, tuple(takes))
        if miss is None:
            return Decision(turn, Outcome.NOT_TAKEN, "busy")
        if miss.reason == FEW_LEFT:
            least = max(rule.min_drafts_left or 0 for rule in turn.rules)
            return Decision(turn, Outcome.CONDITION, FEW_LEFT, {"least": least})
        if miss.reason == SPACING:
            return Decision(turn, Outcome.CONDITION, SPACING, {"by": turn.automation.spacing})
        if refused := self.refused[turn.automation.pk]:
            deviation_id, error = next(iter(refused.items()))
            why = {"deviation_id": str(deviation_id), "code": error.code, "works": len(refused)}
            return Decision(turn, Outcome.NOT_TAKEN, "refused", why)
        return Decision(turn, Outcome.NONE_LEFT, NONE_LEFT)


# --- what is read for all of them together ---------------------------------------------------------------------------
def _fillings_of(automations: Iterable[Automation]) -> dict[UUID, Filling]:
    by_id = {each.pk: each for each in automations}
    defaults: dict[UUID, list[DefaultValue]] = defaultdict(list)
    for each in DefaultValue.objects.filter(automation__in=by_id):
        defaults[each.automation_id].append(each)
    return {pk: Filling.of(automation, defaults[pk]) for pk, automation in by_id.items()}


def _accounts_of(workspaces: Collection[UUID]) -> dict[UUID, list[DeviantArtAccount]]:
    """All accounts, also those that are not connected any more."""
    found: dict[UUID, list[DeviantArtAccount]] = {each: [] for each in workspaces}
    for account in DeviantArtAccount.objects.filter(workspace__in=workspaces).order_by("pk"):
        found[account.workspace_id].append(account)
    return found


def _blackouts_of(
    turns: Sequence[Turn], connected: Mapping[UUID, Sequence[DeviantArtAccount]]
) -> dict[UUID, list[Blackout]]:
    """Those of accounts that drafts name themselves; where there is one account, the slots have left them out."""
    asked = {
        account.pk
        for turn in turns
        if turn.automation.account_id is None and len(connected[turn.automation.workspace_id]) > 1
        for account in connected[turn.automation.workspace_id]
    }
    found: dict[UUID, list[Blackout]] = defaultdict(list)
    if asked:
        first = min(turn.slot.local_date for turn in turns)
        for blackout in Blackout.objects.filter(account__in=asked).ending_after(first):
            found[blackout.account_id].append(blackout)
    return found


def _languages_of(workspaces: Collection[UUID]) -> dict[UUID, str]:
    """That of each workspace's owner."""
    return dict(first_owners(workspaces).values_list("workspace_id", "user__language"))


def _share_an_account(one: Automation, other: Automation) -> bool:
    """Whether both may post to the same account; one that names none may post to all."""
    return one.account_id is None or other.account_id is None or one.account_id == other.account_id


_LAST_OUT = """
    SELECT asked.no, greatest(
        (
            SELECT max(publish_at) FROM deviations_deviation
            WHERE workspace_id = asked.workspace_id AND status IN ('scheduled', 'uploading', 'publishing')
                AND publish_at < asked.slot_at
                AND account_id IN (
                    SELECT id FROM accounts_deviantartaccount AS account
                    WHERE account.workspace_id = asked.workspace_id
                        AND (asked.account_id IS NULL OR account.id = asked.account_id)
                )
        ), (
            SELECT max(last.published_at) FROM accounts_deviantartaccount AS account, LATERAL (
                SELECT published_at FROM deviations_deviation
                WHERE account_id = account.id AND status = 'published' AND published_at < asked.slot_at
                ORDER BY published_at DESC LIMIT 1
            ) AS last
            WHERE account.workspace_id = asked.workspace_id
                AND (asked.account_id IS NULL OR account.id = asked.account_id)
        )
    )
    FROM unnest(%s::integer[], %s::uuid[], %s::uuid[], %s::timestamptz[])
        AS asked (no, workspace_id, account_id, slot_at)
"""


def _last_out(turns: Sequence[Turn]) -> dict[tuple[UUID, date, int], datetime]:
    """By the key of the slot when something last went out, or will, before it; of those who ask for quiet."""
    asking = [turn for turn in turns if any(rule.quiet_hours for rule in turn.rules)]
    if not asking:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            _LAST_OUT,
            [
                list(range(len(asking))),
                [turn.automation.workspace_id for turn in asking],
                [turn.automation.account_id for turn in asking],
                [turn.slot.at for turn in asking],
            ],
        )
        return {asking[no].slot.key: at for no, at in cursor.fetchall() if at is not None}


def _works_of_weeks(turns: Sequence[Turn]) -> dict[tuple[UUID, date], int]:
    """How many works the rules that ask for it have scheduled, by rule and the Monday of the week."""
    asking = {_week_of(turn) for turn in turns if _most_a_week(turn) is not None}
    if not asking:
        return {}
    found: dict[tuple[UUID, date], int] = defaultdict(int)
    works = ExecutionWork.objects.filter(
        execution__rule__in={rule_id for rule_id, _monday in asking},
        execution__local_date__gte=min(monday for _rule, monday in asking),
        execution__local_date__lt=max(monday for _rule, monday in asking) + SEVEN_DAYS,
        released_at__isnull=True,
    )
    for rule_id, day in works.values_list("execution__rule_id", "execution__local_date"):
        found[rule_id, _monday_of(day)] += 1
    return found


def _most_a_week(turn: Turn) -> int | None:
    return min((rule.max_per_week for rule in turn.rules if rule.max_per_week is not None), default=None)


def _week_of(turn: Turn) -> tuple[UUID, date]:
    return turn.slot.rule_id, _monday_of(turn.slot.local_date)


def _monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())
