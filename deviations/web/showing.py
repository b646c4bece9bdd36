"""How a work looks in a list: its status in words, its picture, and the one line under its title."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Count, Exists, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce, JSONObject
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deviations import storage
from deviations.models import Deviation, DeviationFile, FileVariant
from deviations.models.deviations import DeviationQuerySet
from deviations.services.reasons import reason_of
from deviations.web.moments import moment

# `data-status` and the icon have the same name; the words are those of the interface, not of the table.
STATUS_WORDS = {
    "review": gettext_lazy("In review"),
    "draft": gettext_lazy("Draft"),
    "scheduled": gettext_lazy("Scheduled"),
    "staged": gettext_lazy("Staged"),
    "uploading": gettext_lazy("Uploading"),
    "publishing": gettext_lazy("Publishing"),
    "published": gettext_lazy("Published"),
    "failed": gettext_lazy("Failed"),
    "decision": gettext_lazy("Needs your decision"),
    "held": gettext_lazy("Held"),
}
# Up to which width / height a picture counts as tall, square, wide; what is wider is a panorama.
SHAPES = [(0.87, "tall"), (1.15, "square"), (1.72, "wide")]
NO_PICTURE = (4, 3)


def for_cards(works: DeviationQuerySet) -> DeviationQuerySet:
    """Everything that a card needs of each work, in one query."""
    first_thumbnail = (
        FileVariant.objects.filter(file__deviation=OuterRef("pk"), kind=FileVariant.Kind.THUMBNAIL)
        .order_by("file__position")
        .values(picture=JSONObject(key="storage_key", type="content_type", width="width", height="height"))[:1]
    )
    files = DeviationFile.objects.filter(deviation=OuterRef("pk")).order_by()
    counted = files.values("deviation").annotate(count=Count("pk")).values("count")
    in_hand = Deviation.objects.filter(pk=OuterRef("pk"), publications__stash_items__state="in_hand")
    return works.select_related("account").annotate(
        picture=Subquery(first_thumbnail),
        file_count=Coalesce(Subquery(counted, output_field=IntegerField()), 0),
        is_being_prepared=Exists(files.filter(media_state=DeviationFile.MediaState.PENDING)),
        is_staged=Exists(in_hand),
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """``url`` is signed and runs out; a page that outlives it fetches the part with the picture again."""

    url: str
    width: int
    height: int

    @property
    def shape(self) -> str:
        return shape_of(self.width, self.height)


def shape_of(width: int, height: int) -> str:
    return next((name for limit, name in SHAPES if width / height < limit), "pano")


def picture_of(work: Deviation) -> Picture | None:
    """The thumbnail of its first file, once it is made."""
    found: dict[str, Any] | None = getattr(work, "picture", None)
    if not found:
        return None
    url = storage.presigned_url(found["key"], content_type=found["type"], workspace_id=work.workspace_id)
    return Picture(url, found["width"] or NO_PICTURE[0], found["height"] or NO_PICTURE[1])


def status_of(work: Deviation) -> str:
    """The `data-status` of a work; *held* and *staged* are read from its rows, they are no states of their own."""
    match work.status:
        case Deviation.Status.NEEDS_DECISION:
            return "decision"
        case Deviation.Status.SCHEDULED if work.account is not None and work.account.is_held:
            return "held"
        case Deviation.Status.SCHEDULED if getattr(work, "is_staged", False):
            return "staged"
        case status:
            return status


@dataclass(frozen=True, slots=True)
class Card:
    id: UUID
    title: str
    status: str
    line: str
    account: str
    shape: str
    picture: Picture | None
    file_count: int
    is_being_prepared: bool
    is_trashed: bool

    @property
    def word(self) -> str:
        return str(STATUS_WORDS[self.status])

    @classmethod
    def of(cls, work: Deviation, *, zone: ZoneInfo, now: datetime) -> Self:
        """``work`` comes from ``for_cards``."""
        picture = picture_of(work)
        return cls(
            id=work.pk,
            title=work.title or _("Untitled"),
            status=status_of(work),
            line=line_of(work, zone=zone, now=now),
            account=work.account.username if work.account else "",
            shape=picture.shape if picture else shape_of(*NO_PICTURE),
            picture=picture,
            file_count=getattr(work, "file_count", 0),
            is_being_prepared=getattr(work, "is_being_prepared", False),
            is_trashed=work.trashed_at is not None,
        )


def line_of(work: Deviation, *, zone: ZoneInfo, now: datetime) -> str:
    """What is most worth knowing beside the status: a time, or a reason."""
    reason = reason_of(work, when=lambda at: moment(at, zone, now))
    match work.status:
        case Deviation.Status.SCHEDULED | Deviation.Status.UPLOADING if work.publish_at is not None:
            when = moment(work.publish_at, zone, now)
            return _("%(when)s, %(reason)s") % {"when": when, "reason": reason.short} if reason else when
        case Deviation.Status.PUBLISHED if work.published_at is not None:
            return moment(work.published_at, zone, now)
        case Deviation.Status.DRAFT if getattr(work, "file_count", 1) == 0:
            return _("no file yet")
        case Deviation.Status.DRAFT if work.ready_at is not None:
            return _("ready, edited %(when)s") % {"when": moment(work.updated_at, zone, now)}
        case Deviation.Status.DRAFT | Deviation.Status.REVIEW:
            return _("edited %(when)s") % {"when": moment(work.updated_at, zone, now)}
    return reason.short if reason else ""
