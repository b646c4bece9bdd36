"""What DeviantArt tells us, as typed values: unknown keys are ignored, missing optional ones are None or empty."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SubmitReceipt:
    """An upload that arrived. ``date`` is DeviantArt's clock (aware, UTC), None when it did not say."""

    item_id: int
    stack_id: int | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class PublishReceipt:
    """A work that is live; ``url`` is None when DeviantArt did not name it. ``date`` as in SubmitReceipt."""

    deviation_id: str
    url: str | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class User:
    user_id: str
    username: str
    icon_url: str | None = None
    type: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    url: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Deviation:
    """A work in a gallery. One that was deleted has little more than its id."""

    deviation_id: str
    title: str = ""
    url: str | None = None
    published_at: datetime | None = None
    author: User | None = None
    is_deleted: bool = False
    is_mature: bool = False
    preview: Picture | None = None
    content: Picture | None = None
    thumbnails: tuple[Picture, ...] = ()
    is_published: bool | None = None
    """False for what is visible and cannot be opened (section 7); None when it was not said."""
    is_downloadable: bool = False
    allows_comments: bool = True
    is_locked: bool = False
    """It belongs to a tier that the one who asks has no access to."""
    favourites: int | None = None
    comments: int | None = None
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A gallery folder; ``size`` is None unless it was asked for."""

    folder_id: str
    name: str
    parent_id: str | None = None
    description: str = ""
    size: int | None = None
    is_premium: bool = False
    thumbnail: Picture | None = None
    subfolders: "tuple[Folder, ...]" = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """More about a work; what was submitted with which application is there only if it was asked for."""

    deviation_id: str
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    is_mature: bool = False
    mature_level: str | None = None
    mature_classification: tuple[str, ...] = ()
    created_at: datetime | None = None
    submitted_with: str | None = None
    submitted_with_url: str | None = None
    author: User | None = None
    license: str = ""
    allows_comments: bool = True


@dataclass(frozen=True, slots=True)
class Profile:
    """What somebody says of themselves; counts are None when DeviantArt did not give them."""

    user: User
    url: str | None = None
    is_watching: bool = False
    is_artist: bool = False
    level: str = ""
    specialty: str = ""
    real_name: str = ""
    tagline: str = ""
    country: str = ""
    website: str | None = None
    bio: str = ""
    cover_url: str | None = None
    deviations: int | None = None
    favourites: int | None = None
    comments: int | None = None
    pageviews: int | None = None


@dataclass(frozen=True, slots=True)
class Download:
    """Where the file of a work lies, for a while; ``size`` in bytes."""

    url: str
    filename: str = ""
    width: int | None = None
    height: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic by the name that is shown and the one that is asked for, with a few of its works."""

    name: str
    canonical_name: str
    examples: tuple[Deviation, ...] = ()


@dataclass(frozen=True, slots=True)
class MoreLikeThis:
    seed: str
    author: User | None = None
    of_artist: tuple[Deviation, ...] = ()
    of_others: tuple[Deviation, ...] = ()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, which goes on at an offset or at a cursor, or ends. It may be short although more follow."""

    results: tuple[T, ...]
    next_offset: int | None = None
    date: datetime | None = None
    next_cursor: str | None = None
    name: str = ""

    @property
    def has_more(self) -> bool:
        return self.next_offset is not None or self.next_cursor is not None


class UnreadablePayload(ValueError):
    """A success that lacks what it must contain."""


def submit_receipt(payload: Mapping[str, Any], date: datetime | None) -> SubmitReceipt:
    item_id = identifier(payload.get("itemid"))
    if item_id is None:
        raise UnreadablePayload("itemid")
    return SubmitReceipt(item_id, identifier(payload.get("stackid")), date)


def publish_receipt(payload: Mapping[str, Any], date: datetime | None) -> PublishReceipt:
    return PublishReceipt(required(payload, "deviationid"), link(payload.get("url")), date)


def user(payload: Mapping[str, Any]) -> User:
    return User(
        user_id=required(payload, "userid"),
        username=required(payload, "username"),
        icon_url=link(payload.get("usericon")),
        type=text(payload.get("type")),
    )


def deviation(payload: Mapping[str, Any]) -> Deviation:
    return Deviation(
        deviation_id=required(payload, "deviationid"),
        title=text(payload.get("title")),
        url=link(payload.get("url")),
        published_at=moment(payload.get("published_time")),
        author=optional(payload.get("author"), user),
        is_deleted=payload.get("is_deleted") is True,
        is_mature=payload.get("is_mature") is True,
        preview=optional(payload.get("preview"), picture),
        content=optional(payload.get("content"), picture),
        thumbnails=many(payload.get("thumbs"), picture),
        is_published=flag(payload.get("is_published")),
        is_downloadable=payload.get("is_downloadable") is True,
        allows_comments=payload.get("allows_comments") is not False,
        is_locked=payload.get("tier_access") in {"locked", "locked-subscribed"},
        favourites=count(mapping(payload.get("stats")).get("favourites")),
        comments=count(mapping(payload.get("stats")).get("comments")),
        excerpt=text(payload.get("excerpt")),
    )


def folder(payload: Mapping[str, Any]) -> Folder:
    return Folder(
        folder_id=required(payload, "folderid"),
        name=text(payload.get("name")),
        parent_id=text(payload.get("parent")) or None,
        description=text(payload.get("description")),
        size=count(payload.get("size")),
        is_premium=bool(payload.get("premium_folder_data")),
        thumbnail=optional(payload.get("thumb"), lambda thumb: deviation(thumb).preview or _first_thumbnail(thumb)),
        subfolders=many(payload.get("subfolders"), folder),
    )


def _first_thumbnail(payload: Mapping[str, Any]) -> Picture:
    thumbnails = many(payload.get("thumbs"), picture)
    if not thumbnails:
        raise UnreadablePayload("thumbs")
    return thumbnails[0]


def metadata(payload: Mapping[str, Any]) -> Metadata:
    submission = mapping(payload.get("submission"))
    application = mapping(submission.get("submitted_with"))
    return Metadata(
        deviation_id=required(payload, "deviationid"),
        title=text(payload.get("title")),
        description=text(payload.get("description")),
        tags=tuple(name for tag in sequence(payload.get("tags")) if (name := text(mapping(tag).get("tag_name")))),
        is_mature=payload.get("is_mature") is True,
        mature_level=text(payload.get("mature_level")) or None,
        mature_classification=tuple(filter(None, map(text, sequence(payload.get("mature_classification"))))),
        created_at=moment(submission.get("creation_time")),
        submitted_with=text(application.get("app")) or None,
        submitted_with_url=link(application.get("url")),
        author=optional(payload.get("author"), user),
        license=text(payload.get("license")),
        allows_comments=payload.get("allows_comments") is not False,
    )


def metadata_list(payload: Mapping[str, Any]) -> tuple[Metadata, ...]:
    if not isinstance(payload.get("metadata"), list):
        raise UnreadablePayload("metadata")
    return many(payload["metadata"], metadata)


def profile(payload: Mapping[str, Any]) -> Profile:
    stats = mapping(payload.get("stats"))
    return Profile(
        user=user(mapping(payload.get("user"))),
        url=link(payload.get("profile_url")),
        is_watching=payload.get("is_watching") is True,
        is_artist=payload.get("user_is_artist") is True,
        level=text(payload.get("artist_level")),
        specialty=text(payload.get("artist_specialty")),
        real_name=text(payload.get("real_name")),
        tagline=text(payload.get("tagline")),
        country=text(payload.get("country")),
        website=link(payload.get("website")),
        bio=text(payload.get("bio")),
        cover_url=link(payload.get("cover_photo")),
        deviations=count(stats.get("user_deviations")),
        favourites=count(stats.get("user_favourites")),
        comments=count(stats.get("user_comments")),
        pageviews=count(stats.get("profile_pageviews")),
    )


def download(payload: Mapping[str, Any]) -> Download:
    url = link(payload.get("src"))
    if url is None:
        raise UnreadablePayload("src")
    return Download(
        url,
        filename=text(payload.get("filename")),
        width=identifier(payload.get("width")),
        height=identifier(payload.get("height")),
        size=count(payload.get("filesize")),
    )


def topic(payload: Mapping[str, Any]) -> Topic:
    """A topic; its works come as ``example_deviations`` or as ``deviations``, depending on the list."""
    return Topic(
        name=text(payload.get("name")) or required(payload, "canonical_name"),
        canonical_name=required(payload, "canonical_name"),
        examples=many(payload.get("example_deviations") or payload.get("deviations"), deviation),
    )


def more_like_this(payload: Mapping[str, Any]) -> MoreLikeThis:
    return MoreLikeThis(
        seed=required(payload, "seed"),
        author=optional(payload.get("author"), user),
        of_artist=many(payload.get("more_from_artist"), deviation),
        of_others=many(payload.get("more_from_da"), deviation),
    )


def tag_names(payload: Mapping[str, Any]) -> tuple[str, ...]:
    found = results(payload, lambda each: required(each, "tag_name"))
    return tuple(dict.fromkeys(found))


def success(payload: Mapping[str, Any], _date: datetime | None) -> None:
    """The answer of a simple change. Raises UnreadablePayload unless it says that it was done."""
    if payload.get("success") is not True and payload.get("status") != "success":
        raise UnreadablePayload("success")


def picture(payload: Mapping[str, Any]) -> Picture:
    url = link(payload.get("src"))
    if url is None:
        raise UnreadablePayload("src")
    return Picture(url, identifier(payload.get("width")), identifier(payload.get("height")))


def results(payload: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    """The entries of a list without pages. Raises UnreadablePayload without a list."""
    if not isinstance(payload.get("results"), list):
        raise UnreadablePayload("results")
    return many(payload["results"], read)


def page(payload: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], date: datetime | None) -> Page[T]:
    """A page of results, and where the next one begins: at ``next_cursor`` or ``cursor``, else at ``next_offset``.

    Raises UnreadablePayload without a list, or when more follows and nobody says where.
    """
    next_offset = next_cursor = None
    if payload.get("has_more") is True:
        next_cursor = text(payload.get("next_cursor")) or text(payload.get("cursor")) or None
        next_offset = None if next_cursor else identifier(payload.get("next_offset"))
        if next_cursor is None and next_offset is None:
            raise UnreadablePayload("next_offset")
    return Page(results(payload, read), next_offset, date, next_cursor, text(payload.get("name")))


def moment(value: Any) -> datetime | None:
    """A time as DeviantArt writes it, aware, in UTC: epoch seconds as text or number, or ISO (section 9)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,15}(\.\d+)?", value.strip(), re.ASCII):
        value = float(value)
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def identifier(value: Any) -> int | None:
    """A positive whole number, which may come as text; ids have 16 digits and must never pass through a float."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,19}", value, re.ASCII):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def count(value: Any) -> int | None:
    """A whole number from 0, None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def link(value: Any) -> str | None:
    """An absolute web address, None for anything else: it will be shown as a link."""
    if not isinstance(value, str):
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    return value if parts.scheme in {"https", "http"} and parts.netloc else None


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def required(payload: Mapping[str, Any], key: str) -> str:
    value = payload.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UnreadablePayload(key)
    return value


def optional(value: Any, read: Callable[[Mapping[str, Any]], T]) -> T | None:
    """What ``read`` makes of an object, None if there is none or it lacks what it needs."""
    try:
        return read(value) if isinstance(value, dict) else None
    except UnreadablePayload:
        return None


def many(value: Any, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    """What ``read`` makes of each object of a list; an entry that lacks what it needs is left out, not the list."""
    return tuple(entry for each in sequence(value) if (entry := optional(each, read)) is not None)
