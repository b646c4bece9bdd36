"""What a page that lies open has to learn: one query finds out whether anything changed since it was drawn.

What a page has seen is a token, `<moment>.<digest>.<marks>`, with a mark for every work that was changed within ten
seconds before that moment: looking back so far, a transaction that was committed a little after a later one, or by a
host whose clock is behind, is not missed, and what the page knows already is not told again. Who changes a work sets
its ``updated_at``; nothing else of it is compared. The digest stands for the accounts.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from django.contrib import auth
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, OuterRef
from django.db.models.functions import JSONObject
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _

from accounts.models import DeviantArtAccount, User
from deviations.models import Deviation
from deviations.models.deviations import DeviationQuerySet
from deviations.web.filters import named, works_of
from deviations.web.moments import clock_time, distance, moment
from deviations.web.showing import Card, for_cards
from isekai import clock

LOOK_BACK = timedelta(seconds=10)
# Asked this often, whatever goes on: a change that was made elsewhere is seen as soon as one that was made here.
EVERY_SECONDS = 2
MOST_CHANGES = 100
# The length of a mark, in hex digits, and of the longest token that there can be.
MARK = 6
LONGEST_TOKEN = 40 + 2 * (MOST_CHANGES + 1) * MARK
NEXT_SHOWN = 3
Status = Deviation.Status
MOVING = [Status.UPLOADING, Status.PUBLISHING]


@dataclass(frozen=True, slots=True)
class Token:
    at: datetime
    digest: str
    marks: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{int(self.at.timestamp() * 1_000_000):x}.{self.digest}.{''.join(sorted(self.marks))}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """What ``str`` has written; None for anything else."""
        try:
            at, digest, marks = text[:LONGEST_TOKEN].split(".")
            moment = datetime.fromtimestamp(int(at, 16) / 1_000_000, UTC)
        except (ValueError, OverflowError, OSError):
            return None
        return cls(moment, digest, frozenset(marks[i : i + MARK] for i in range(0, len(marks), MARK)))


@dataclass(frozen=True, slots=True)
class Changes:
    """The works that were changed since, as they are now, and how often to ask for more."""

    token: Token
    works: list[dict[str, Any]]


def changes_since(user: User, seen: Token | None) -> Changes:
    """What was changed since ``seen`` (None: what a page that is drawn now has to remember)."""
    return _read(_watching(User.objects.filter(pk=user.pk), _since(seen)).get(), seen)


def poll(request: HttpRequest, seen: Token | None) -> tuple[User, Changes] | None:
    """Who asks, and what changed since ``seen``, by one query for both; None for somebody who is not signed in."""
    user_id = request.session.get(auth.SESSION_KEY)
    if user_id is None:
        return None
    user = _watching(User.objects.filter(pk=user_id, is_active=True), _since(seen)).first()
    if user is None:
        return None
    hashed = request.session.get(auth.HASH_SESSION_KEY, "")
    if not constant_time_compare(hashed, user.get_session_auth_hash()) and not auth.get_user(request).is_authenticated:
        return None
    request.user = user  # what middleware asks about afterwards would be another query
    return user, _read(user, seen)


def _since(seen: Token | None) -> datetime:
    return (seen.at if seen else clock.now()) - LOOK_BACK


def _watching(users: Any, since: datetime) -> Any:
    """Users, each with what happened to their works since then."""
    works = Deviation.objects.filter(workspace__memberships__user=OuterRef("pk"))
    accounts = DeviantArtAccount.objects.filter(workspace__memberships__user=OuterRef("pk"))
    row = JSONObject(id="pk", at="updated_at", status="status", title="title", trashed_at="trashed_at")
    return users.annotate(
        changed=ArraySubquery(
            works.kept().filter(updated_at__gt=since).order_by("-updated_at").values(row=row)[: MOST_CHANGES + 1]
        ),
        trashed=ArraySubquery(
            works.trashed().filter(trashed_at__gt=since).order_by("-trashed_at").values(row=row)[: MOST_CHANGES + 1]
        ),
        accounts=ArraySubquery(
            accounts.order_by("pk").values(
                row=JSONObject(id="pk", state="state", paused="paused", not_before="not_before")
            )
        ),
    )


def _read(user: Any, seen: Token | None) -> Changes:
    now = clock.now()
    waits = [account["not_before"] for account in user.accounts if account["not_before"]]
    facts = (
        [sorted(account.items(), key=str) for account in user.accounts],
        [datetime.fromisoformat(wait) > now for wait in waits],
    )
    digest, works = (
        _hashed(facts),
        {_hashed(sorted(work.items()))[:MARK]: work for work in [*user.changed, *user.trashed]},
    )
    known = seen.marks if seen else frozenset()
    news = [work for mark, work in works.items() if mark not in known]
    if seen is not None and not news and digest == seen.digest:
        return Changes(seen, [])
    return Changes(Token(now, digest, frozenset(works)), news)


def _hashed(facts: Any) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


# --- the strip -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Coming:
    """A work and its moment: `18:50` today, else with its day; how far ahead, and the same for machines."""

    card: Card
    at: datetime
    when: str
    ahead: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many works wait for somebody, and the name of the filter that shows them."""

    filter: str
    count: int


@dataclass(frozen=True, slots=True)
class Strip:
    token: Token
    seconds: int
    now: datetime
    moving: list[Coming]
    coming: list[Coming]
    waiting: list[Waiting]


def strip_of(user: User, changes: Changes) -> Strip:
    """What is on its way, what is next, what waits: a constant number of queries."""
    now, works = clock.now(), works_of(user).kept()
    moving = works.filter(status__in=MOVING)
    able = works.filter(status=Status.SCHEDULED, account__in=DeviantArtAccount.objects.able())
    waiting = ["decision", "failed", "held"]
    unsettled = works.filter(status__in=[Status.SCHEDULED, Status.FAILED, Status.NEEDS_DECISION])
    counts = unsettled.aggregate(**{name: Count("pk", filter=named(name).where()) for name in waiting})
    return Strip(
        token=changes.token,
        seconds=EVERY_SECONDS,
        now=now,
        moving=_coming(moving, zone=user.zone, now=now),
        coming=_coming(able, zone=user.zone, now=now),
        waiting=[Waiting(name, counts[name]) for name in waiting if counts[name]],
    )


def _coming(works: DeviationQuerySet, *, zone: ZoneInfo, now: datetime) -> list[Coming]:
    found = for_cards(works).order_by("publish_at", "pk")[:NEXT_SHOWN]
    return [
        Coming(
            Card.of(work, zone=zone, now=now),
            work.publish_at,
            _near(work.publish_at, zone=zone, now=now),
            distance(work.publish_at, now),
        )
        for work in found
        if work.publish_at is not None
    ]


def _near(at: datetime, *, zone: ZoneInfo, now: datetime) -> str:
    is_today = at.astimezone(zone).date() == now.astimezone(zone).date()
    return clock_time(at, zone) if is_today else moment(at, zone, now)


def events_of(changes: Changes) -> dict[str, Any]:
    """What the page is told, for `HX-Trigger`: an event for each work that shows itself anew, and one for them all."""
    if len(changes.works) > MOST_CHANGES:
        return {"works:many": {}, "works:changed": {"works": []}}
    told = [
        {"id": work["id"], "status": _status(work["status"]), "says": says}
        for work in changes.works
        if (says := _says(work))
    ]
    return {f"work:{work['id']}": {} for work in changes.works} | {"works:changed": {"works": told[:10]}}


def _status(status: str) -> str:
    return "decision" if status == Status.NEEDS_DECISION else status


def _says(work: dict[str, Any]) -> str:
    """One sentence for those who cannot see it: what became live, failed or needs them."""
    values = {"title": work["title"] or _("Untitled")}
    if work["trashed_at"]:
        return ""
    match work["status"]:
        case Status.PUBLISHED:
            return _("“%(title)s” is live.") % values
        case Status.FAILED:
            return _("“%(title)s” failed.") % values
        case Status.NEEDS_DECISION:
            return _("“%(title)s” needs your decision.") % values
    return ""
