"""What is known of an undecided work, part by part, for the person who has to say what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count
from django.utils.translation import gettext as _

from accounts.models import DeviantArtAccount, User
from deviations.models import Deviation, DeviationFile
from deviations.services.changing import LATE
from deviations.services.readiness import account_for
from deviations.services.reasons import Reason, explain
from deviations.web.moments import moment
from publisher.models import Attempt, Publication, StashItem
from publisher.services.deciding import can_look_again, late_of


@dataclass(frozen=True, slots=True)
class Part:
    """One deviation that shall exist. ``knows`` are sentences; ``url`` is where it is live."""

    file_id: UUID
    name: str
    is_live: bool
    knows: list[str]
    url: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that the question shows. ``is_certain``: the work was not sent, so nobody has to look."""

    id: UUID
    title: str
    reason: Reason
    parts: list[Part]
    is_certain: bool
    is_for_the_stash: bool
    can_look_again: bool
    # Its own time, while that lies ahead.
    own_time: str
    gallery_url: str
    example: str
    account: DeviantArtAccount | None
    # How many works of the account are late, this one included.
    late_count: int

    @property
    def open_parts(self) -> list[Part]:
        return [part for part in self.parts if not part.is_live]

    @classmethod
    def of(cls, work: Deviation, *, zone: ZoneInfo, now: datetime) -> Self:
        account = account_for(work)
        is_certain = work.reason_code == LATE and work.unconfirmed_since is None
        late = late_of(Deviation.objects.filter(workspace=work.workspace_id), account.pk) if account else None
        ahead = work.publish_at if work.publish_at is not None and work.publish_at > now else None
        home = f"{account.base_url}/{account.username}" if account else settings.DEVIANTART_BASE_URL
        return cls(
            id=work.pk,
            title=work.title or _("Untitled"),
            reason=explain(work.reason_code, work.reason_params, title=work.title, status=work.status),
            parts=_parts(work, zone=zone, now=now),
            is_certain=is_certain,
            is_for_the_stash=bool(work.stash_only),
            can_look_again=can_look_again(work),
            own_time=moment(ahead, zone, now) if ahead else "",
            gallery_url=f"{settings.DEVIANTART_BASE_URL}/stash" if work.stash_only else f"{home}/gallery",
            example=f"{home}/art/…",
            account=account,
            late_count=late.count() if late is not None and is_certain else 0,
        )


def _parts(work: Deviation, *, zone: ZoneInfo, now: datetime) -> list[Part]:
    publications = {
        publication.file_id: publication
        for publication in Publication.objects.filter(deviation=work).prefetch_related("attempts", "stash_items")
    }
    return [
        _part(file, publications.get(file.pk), zone=zone, now=now)
        for file in DeviationFile.objects.filter(deviation=work).order_by("position")
    ]


def _part(file: DeviationFile, publication: Publication | None, *, zone: ZoneInfo, now: datetime) -> Part:
    if publication is None:
        return Part(file.pk, file.original_name, is_live=False, knows=[_("Nothing of it was sent.")], url="")
    if publication.is_live:
        when = moment(publication.published_at, zone, now) if publication.published_at else ""
        knows = [_("It is live since %(when)s.") % {"when": when}]
        return Part(file.pk, file.original_name, is_live=True, knows=knows, url=publication.url)
    attempts = sorted(publication.attempts.all(), key=lambda attempt: attempt.pk)
    knows = _sent(attempts, zone=zone, now=now)
    if any(item.state == StashItem.State.IN_HAND for item in publication.stash_items.all()):
        knows.insert(0, _("Its file lies in your Sta.sh."))
    return Part(file.pk, file.original_name, is_live=False, knows=knows, url="")


def _sent(attempts: Sequence[Attempt], *, zone: ZoneInfo, now: datetime) -> list[str]:
    """What the calls tell: when DeviantArt was asked without a clear answer, and what looking brought."""
    steps, unclear = Attempt.Step, {None, Attempt.Outcome.UNKNOWN}
    calls = [each for each in attempts if each.outcome in unclear and each.settled_at is None]
    published = [each for each in calls if each.step == steps.PUBLISH]
    uploaded = [each for each in calls if each.step == steps.SUBMIT]
    looks = [each for each in attempts if each.step == steps.LOOK_UP]
    knows = []
    if published:
        when = moment(published[-1].started_at, zone, now)
        text = _("DeviantArt was asked to publish it %(when)s, and did not say whether it did.")
        knows.append(text % {"when": when})
    elif uploaded:
        when = moment(uploaded[-1].started_at, zone, now)
        knows.append(_("It was uploaded %(when)s, and DeviantArt did not say whether it arrived.") % {"when": when})
    else:
        knows.append(_("We did not ask DeviantArt to publish it."))
    if looks:
        when = moment(looks[-1].started_at, zone, now)
        knows.append(_("We last looked %(when)s, and did not recognise it in your gallery.") % {"when": when})
    return knows


@dataclass(frozen=True, slots=True)
class LateWorks:
    """The one question about all late works of an account."""

    account_id: UUID
    username: str
    count: int


def all_late(user: User) -> list[LateWorks]:
    """The accounts of ``user`` with late works, those with the most first."""
    late = Deviation.objects.owned_by(user).kept().filter(status=Deviation.Status.NEEDS_DECISION, reason_code=LATE)
    counted = late.order_by().values("account_id", "account__username").annotate(count=Count("pk"))
    return [
        LateWorks(row["account_id"], row["account__username"], row["count"])
        for row in counted.order_by("-count", "account_id")
    ]
