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


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_offset`` is None at its end. A page may be short although more follow."""

    results: tuple[T, ...]
    next_offset: int | None = None
    date: datetime | None = None

    @property
    def has_more(self) -> bool:
        return self.next_offset is not None


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
    )


def folder(payload: Mapping[str, Any]) -> Folder:
    size = payload.get("size")
    return Folder(
        folder_id=required(payload, "folderid"),
        name=text(payload.get("name")),
        parent_id=text(payload.get("parent")) or None,
        description=text(payload.get("description")),
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
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
    )


def metadata_list(payload: Mapping[str, Any]) -> tuple[Metadata, ...]:
    if not isinstance(payload.get("metadata"), list):
        raise UnreadablePayload("metadata")
    return many(payload["metadata"], metadata)


def picture(payload: Mapping[str, Any]) -> Picture:
    url = link(payload.get("src"))
    if url is None:
        raise UnreadablePayload("src")
    return Picture(url, identifier(payload.get("width")), identifier(payload.get("height")))


def page(payload: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T], date: datetime | None) -> Page[T]:
    """A page of results. Raises UnreadablePayload without a list, or when more follows and nobody says where."""
    results = payload.get("results")
    if not isinstance(results, list):
        raise UnreadablePayload("results")
    next_offset = None
    if payload.get("has_more") is True:
        next_offset = identifier(payload.get("next_offset"))
        if next_offset is None:
            raise UnreadablePayload("next_offset")
    return Page(many(results, read), next_offset, date)


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
