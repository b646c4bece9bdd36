"""How one work looks on its own page, and what can be done with it there at this moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Prefetch
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import DeviantArtAccount
from deviantart.rules import tag_as_shown, tags_as_shown
from deviations import storage
from deviations.models import Deviation, DeviationFile, FileVariant
from deviations.services.readiness import account_for, reasons_against
from deviations.services.reasons import Reason, reason_of
from deviations.web.moments import distance, moment
from deviations.web.showing import Card, Picture

Status = Deviation.Status
# What the badge adds to the word: who has the next move.
BADGES = {
    "review": gettext_lazy("In review"),
    "draft": gettext_lazy("Draft"),
    "scheduled": gettext_lazy("Scheduled, goes live by itself"),
    "staged": gettext_lazy("Staged, goes live by itself"),
    "uploading": gettext_lazy("Uploading to DeviantArt"),
    "publishing": gettext_lazy("Publishing"),
    "published": gettext_lazy("Published"),
    "failed": gettext_lazy("Failed"),
    "decision": gettext_lazy("Needs your decision"),
    "held": gettext_lazy("Held, keeps its time"),
}


@dataclass(frozen=True, slots=True)
class FileRow:
    id: UUID
    name: str
    facts: str
    thumbnail: Picture | None
    is_pending: bool
    is_first: bool
    is_last: bool


@dataclass(frozen=True, slots=True)
class Live:
    """A part of the work that is on DeviantArt; without a url while that is not known yet."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Easel:
    """What stands on the easel: a picture, or a video by its own address."""

    picture: Picture | None
    video_url: str
    file_id: UUID
    facts: str
    is_pending: bool


@dataclass(frozen=True, slots=True)
class Detail:
    card: Card
    badge: str
    reason: Reason | None
    easel: Easel | None
    files: list[FileRow]
    live: list[Live]
    account: DeviantArtAccount | None
    # The tags that DeviantArt will show, and those of which nothing is left there.
    tags_shown: list[str]
    tags_lost: list[str]
    is_partly_live: bool
    publish_at: datetime | None
    when: str
    ahead: str
    jitter_minutes: int
    published: str
    trashed: str
    # Everything that DeviantArt would refuse, in sentences; None where that is no question any more.
    reasons_against: list[str] | None
    is_free: bool
    is_locked: bool
    is_for_automations: bool
    status: str

    @property
    def id(self) -> UUID:
        return self.card.id

    @property
    def has_fixed_files(self) -> bool:
        return self.is_locked or self.is_partly_live

    @property
    def can_schedule(self) -> bool:
        return self.is_free and self.status in {
            Status.DRAFT,
            Status.SCHEDULED,
            Status.FAILED,
            Status.NEEDS_DECISION,
        }

    @property
    def can_unschedule(self) -> bool:
        return self.is_free and self.status in {Status.SCHEDULED, Status.NEEDS_DECISION}

    @property
    def can_retry(self) -> bool:
        return self.is_free and self.status == Status.FAILED

    @property
    def is_free_draft(self) -> bool:
        return self.is_free and self.status == Status.DRAFT

    @property
    def is_scheduled(self) -> bool:
        return self.status == Status.SCHEDULED

    @classmethod
    def of(cls, work: Deviation, *, zone: ZoneInfo, now: datetime) -> Self:
        """``work`` comes from ``for_cards``."""
        files = list(work.files.prefetch_related(Prefetch("variants", FileVariant.objects.order_by("kind"))))
        publications = list(work.publications.all())
        live = [Live(one.url, one.title or work.title) for one in publications if one.state == "published"]
        is_free = _is_free(work)
        card = Card.of(work, zone=zone, now=now)
        asks = is_free and work.status != Status.PUBLISHED
        account = account_for(work)
        return cls(
            card=card,
            badge=str(BADGES[card.status]),
            reason=reason_of(work, when=lambda at: moment(at, zone, now)),
            easel=_easel(work, files[0]) if files else None,
            files=[_row(work, file, index, len(files)) for index, file in enumerate(files)],
            live=live,
            account=account,
            tags_shown=tags_as_shown(work.tags or []),
            tags_lost=[tag for tag in work.tags or [] if not tag_as_shown(tag)],
            is_partly_live=bool(live),
            publish_at=work.publish_at,
            when=moment(work.publish_at, zone, now) if work.publish_at else "",
            ahead=distance(work.publish_at, now) if work.publish_at else "",
            jitter_minutes=round(work.jitter_seconds / 60),
            published=moment(work.published_at, zone, now) if work.published_at else "",
            trashed=moment(work.trashed_at, zone, now) if work.trashed_at else "",
            reasons_against=[text for found in reasons_against(work).values() for text in found] if asks else None,
            is_free=is_free,
            is_locked=is_locked(work),
            is_for_automations=work.ready_at is not None,
            status=work.status,
        )


def is_locked(work: Deviation) -> bool:
    """Whether its words can no longer be changed here."""
    return not _is_free(work) or work.status == Status.PUBLISHED


def _is_free(work: Deviation) -> bool:
    """Whether the services would let anybody change it: it is not on its way, in question, or in the trash."""
    if work.is_claimed or work.trashed_at is not None or work.unconfirmed_since is not None:
        return False
    return work.status != Status.NEEDS_DECISION or work.reason_code == "late"


def _variant(work: Deviation, file: DeviationFile, *kinds: FileVariant.Kind) -> Picture | None:
    """The first of ``kinds`` that there is."""
    found = {variant.kind: variant for variant in file.variants.all()}
    variant = next((found[kind] for kind in kinds if kind in found), None)
    if variant is None or not variant.width or not variant.height:
        return None
    url = storage.presigned_url(variant.storage_key, content_type=variant.content_type, workspace_id=work.workspace_id)
    return Picture(url, variant.width, variant.height)


def _easel(work: Deviation, file: DeviationFile) -> Easel:
    is_video = file.content_type.startswith("video/")
    url = ""
    if is_video:
        url = storage.presigned_url(file.storage_key, content_type=file.content_type, workspace_id=work.workspace_id)
    return Easel(
        picture=_variant(work, file, FileVariant.Kind.PREVIEW, FileVariant.Kind.THUMBNAIL),
        video_url=url,
        file_id=file.pk,
        facts=_facts(file),
        is_pending=file.media_state == DeviationFile.MediaState.PENDING,
    )


def _row(work: Deviation, file: DeviationFile, index: int, count: int) -> FileRow:
    return FileRow(
        id=file.pk,
        name=file.original_name,
        facts=_facts(file),
        thumbnail=_variant(work, file, FileVariant.Kind.THUMBNAIL),
        is_pending=file.media_state == DeviationFile.MediaState.PENDING,
        is_first=index == 0,
        is_last=index == count - 1,
    )


def _facts(file: DeviationFile) -> str:
    values = {
        "width": file.width,
        "height": file.height,
        "type": file.content_type.rsplit("/", 1)[-1].upper(),
        "size": filesizeformat(file.size),
    }
    if file.width and file.height:
        return _("%(width)s × %(height)s, %(type)s, %(size)s") % values
    return _("%(type)s, %(size)s") % values
