"""Published works as rows, and as the objects that the API shows."""

import json
import sqlite3
from typing import Any
from urllib.parse import quote

from deviantart.sandbox.media import Picture
from deviantart.sandbox.state import State
from deviantart.sandbox.users import author

# A deviation shows what its item holds now: overwriting a published item changes the live work.
SELECT = (
    "SELECT d.deviationid, d.number, d.slug, d.itemid, d.userid, d.tags, d.is_mature, d.options, d.published_at,"
    " d.delivered, d.answered_at, i.title, i.artist_comments, i.original_url, i.filename, i.sha256, i.size,"
    " i.content_type, i.kind, i.width, i.height, i.transparency, i.created_at, i.client_id, i.overwrites,"
    " u.username, u.type, a.name AS app_name, a.url AS app_url"
    " FROM deviations d JOIN items i USING (itemid) JOIN users u ON u.userid = d.userid"
    " LEFT JOIN apps a ON a.client_id = i.client_id "
)
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
    """The deviation object of the reads."""
    options = json.loads(work["options"])
    picture = Picture(work["kind"], work["content_type"], work["width"], work["height"], bool(work["transparency"]))
    return {
        "deviationid": work["deviationid"],
        "printid": None,
        "url": page_url(state, work),
        "title": work["title"],
        "is_favourited": False,
        "is_deleted": False,
        "is_published": True,
        "is_blocked": False,
        "author": {**author(state, work), "is_subscribed": False},
        "stats": {"comments": 0, "favourites": 0},
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
    }


def _scaled(state: State, work: sqlite3.Row, picture: Picture, size: int) -> dict[str, Any]:
    width, height = picture.fitted(size)
    return {
        "src": scaled_url(state, work, size),
        "height": height,
        "width": width,
        "transparency": picture.transparency,
    }
