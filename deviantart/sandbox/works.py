"""Published works as rows, and as the objects that the API shows."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from deviantart.sandbox.media import Picture
from deviantart.sandbox.state import State
from deviantart.sandbox.users import author

# A deviation shows what its item holds now: overwriting a published item changes the live work.
SELECT = (
    "SELECT d.deviationid, d.number, d.slug, d.itemid, d.userid, d.tags, d.is_mature, d.options, d.published_at,"
    " d.delivered, d.answered_at, d.half_published, d.is_deleted, d.seeded, d.favourites,"
    " i.title, i.artist_comments, i.original_url, i.filename, i.sha256, i.size,"
    " i.content_type, i.kind, i.width, i.height, i.transparency, i.created_at, i.client_id, i.overwrites,"
    " u.username, u.type, a.name AS app_name, a.url AS app_url"
    " FROM deviations d JOIN items i USING (itemid) JOIN users u ON u.userid = d.userid"
    " LEFT JOIN apps a ON a.client_id = i.client_id "
)
# The delay, in seconds, of a work that never shows in the lists.
NEVER = 1e12
THUMB_SIZES = (150, 300)
PREVIEW_SIZE = 1024
_EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
}


def find_work(state: State, deviationid: str) -> sqlite3.Row | None:
    return state.store.one(SELECT + "WHERE d.deviationid = ?", deviationid.upper())


def listed(
    state: State,
    where: str,
    values: Iterable[Any],
    *,
    offset: int,
    limit: int,
    order: str = "d.published_at DESC, d.rowid DESC",
    joined: str = "",
) -> list[sqlite3.Row]:
    """Works that show in the lists by now. What is SQL here is the caller's own text, never a client's."""
    delay = state.profile.gallery_delay_seconds
    if not isinstance(delay, int | float):
        delay = NEVER if delay == "never" else 0  # where it is drawn for each work, the work has it
    return state.store.all(
        f"{SELECT}{joined} WHERE ({where}) AND NOT d.is_scrap AND d.published_at + coalesce(d.gallery_delay, ?) <= ?"
        f" ORDER BY {order} LIMIT ? OFFSET ?",
        *values,
        delay,
        state.clock.now(),
        limit,
        offset,
    )


def order_of(state: State, *, folder: bool = False) -> str:
    """How the lists of a user's works are ordered; in a folder the places that its owner has given come first."""
    if state.profile.gallery_order == "unordered":
        return "d.number"
    newest = "d.published_at DESC, d.rowid DESC"
    return f"f.position IS NOT NULL, f.position, {newest}" if folder else newest


def page_url(state: State, work: sqlite3.Row) -> str:
    return f"{state.base_url}/{quote(work['username'])}/art/{work['slug']}-{work['number']}"


def file_url(state: State, work: sqlite3.Row) -> str:
    extension = _EXTENSIONS.get(work["content_type"], "bin")
    return f"{state.base_url}/f/{work['deviationid']}/{work['slug']}.{extension}"


def scaled_url(state: State, work: sqlite3.Row, size: int) -> str:
    return f"{state.base_url}/f/{work['deviationid']}/{size}/{work['slug']}.{'png' if work['transparency'] else 'jpg'}"


def tags_of(work: sqlite3.Row) -> list[str]:
    tags: list[str] = json.loads(work["tags"])
    return tags


def deviation(state: State, work: sqlite3.Row) -> dict[str, Any]:
    """The deviation object of the reads; of a deleted work hardly more than that it is deleted."""
    if work["is_deleted"]:
        return {"deviationid": work["deviationid"], "printid": None, "is_deleted": True}
    options = json.loads(work["options"])
    picture = Picture(work["kind"], work["content_type"], work["width"], work["height"], bool(work["transparency"]))
    return {
        "deviationid": work["deviationid"],
        "printid": None,
        "url": page_url(state, work),
        "title": work["title"],
        "is_favourited": False,
        "is_deleted": False,
        "is_published": not work["half_published"],
        "is_blocked": False,
        "author": {**author(state, work), "is_subscribed": False},
        "stats": {"comments": 0, "favourites": work["favourites"]},
        "published_time": str(int(work["published_at"])),
        "allows_comments": options["allow_comments"],
        "preview": _scaled(state, work, picture, PREVIEW_SIZE),
        "content": {
            "src": file_url(state, work),
            "height": picture.height,
            "width": picture.width,
            "transparency": picture.transparency,
            "filesize": work["size"],
        },
        "thumbs": [_scaled(state, work, picture, size) for size in THUMB_SIZES],
        "is_mature": bool(work["is_mature"]),
        "is_downloadable": options["allow_free_download"],
        **_premium(state, work),
    }


def _premium(state: State, work: sqlite3.Row) -> dict[str, Any]:
    """What a work in a folder for subscribers or watchers has beside the rest."""
    folder = state.store.one(
        "SELECT * FROM folders JOIN deviation_folders USING (folderid) WHERE deviationid = ? AND access != 'public'",
        work["deviationid"],
    )
    if folder is None:
        return {}
    tier = {
        "state": "active",
        "is_user_subscribed": False,
        "can_user_subscribe": True,
        "dollar_price": 5,
        "stats": [],  # an empty object, as PHP writes it
    }
    return {
        "premium_folder_data": premium_folder_data(folder),
        "tier_access": "locked",
        **({"tier": tier} if folder["access"] == "premium" else {}),
    }


def premium_folder_data(folder: sqlite3.Row) -> dict[str, Any] | None:
    if folder["access"] == "public":
        return None
    paid = folder["access"] == "premium"
    return {
        "type": "paid" if paid else "watchers",
        "has_access": False,
        "gallery_id": folder["folderid"],
        "points_price": 400 if paid else None,
        "dollar_price": 5 if paid else None,
        "num_subscribers": 0,
        "subproductid": None,
    }


def _scaled(state: State, work: sqlite3.Row, picture: Picture, size: int) -> dict[str, Any]:
    width, height = picture.fitted(size)
    return {
        "src": scaled_url(state, work, size),
        "height": height,
        "width": width,
        "transparency": picture.transparency,
    }
