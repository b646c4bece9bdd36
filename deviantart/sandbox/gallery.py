"""The gallery lists: what a client finds when it looks for a work."""

import sqlite3
from typing import Any

from deviantart.sandbox import paging, works
from deviantart.sandbox.call import UUID_IN_PATH, Call, Endpoint
from deviantart.sandbox.errors import refused
from deviantart.sandbox.state import State
from deviantart.sandbox.users import requested_user

MAX_DEVIATIONS = 24
MAX_FOLDERS = 50


def all_deviations(call: Call) -> dict[str, Any]:
    return _deviations(call, requested_user(call))


def folder_deviations(call: Call) -> dict[str, Any]:
    user = requested_user(call)
    folder = find_folder(call.state, (call.path_id or "").upper(), user["userid"])
    if folder is None:
        raise refused("Folder not found.", 0)
    return {"name": folder["name"], **_deviations(call, user, folder["folderid"])}


def folders(call: Call) -> dict[str, Any]:
    """The user's folders with their subfolders; deeper levels do not exist."""
    user, params, store = requested_user(call), call.params, call.state.store
    offset, limit = paging.page(call, MAX_FOLDERS)
    calculate_size = params.boolean("calculate_size", default=False)
    preload = params.boolean("ext_preload", default=False)
    skip_empty = params.boolean("filter_empty_folder", default=False)
    params.check()
    rows = store.all(
        "SELECT * FROM folders WHERE userid = ? AND parent IS NULL ORDER BY position LIMIT ? OFFSET ?",
        user["userid"],
        limit + 1,
        offset,
    )
    results = []
    for row in rows[:limit]:
        folder = _folder(call, row, calculate_size=bool(calculate_size))
        subfolders = store.all("SELECT * FROM folders WHERE parent = ? ORDER BY position", row["folderid"])
        folder["has_subfolders"] = bool(subfolders)
        folder["subfolders"] = [_folder(call, sub, calculate_size=bool(calculate_size)) for sub in subfolders]
        folder["deviations"] = _preload(call, user, row["folderid"]) if preload else []
        if not skip_empty or _size(call, row):
            results.append(folder)
    return paging.paged(results, has_more=len(rows) > limit, next_offset=offset + limit)


def whole_gallery(call: Call) -> dict[str, Any]:
    """All folders together, as `gallery/` without an id."""
    mode = call.params.choice("mode", ("newest", "popular")) or "popular"
    return {"name": "All", **_deviations(call, requested_user(call), popular=mode == "popular")}


def find_folder(state: State, folderid: str, userid: str) -> sqlite3.Row | None:
    return state.store.one("SELECT * FROM folders WHERE folderid = ? AND userid = ?", folderid, userid)


def _deviations(call: Call, user: sqlite3.Row, folderid: str | None = None, *, popular: bool = False) -> dict[str, Any]:
    """A page of a user's works, by default newest first."""
    order = "d.favourites DESC, d.number" if popular else works.order_of(call.state, folder=folderid is not None)
    joined = "" if folderid is None else "JOIN deviation_folders f ON f.deviationid = d.deviationid "
    where, values = "d.userid = ?", [user["userid"]]
    if folderid is not None:
        where, values = f"{where} AND f.folderid = ?", [*values, folderid]
    return paging.deviations(call, where, values, maximum=MAX_DEVIATIONS, order=order, joined=joined)


def _preload(call: Call, user: sqlite3.Row, folderid: str) -> list[dict[str, Any]]:
    rows = works.listed(
        call.state,
        "d.userid = ? AND f.folderid = ?",
        [user["userid"], folderid],
        offset=0,
        limit=5,
        order=works.order_of(call.state, folder=True),
        joined="JOIN deviation_folders f ON f.deviationid = d.deviationid ",
    )
    return [works.deviation(call.state, work) for work in rows]


def _folder(call: Call, row: sqlite3.Row, *, calculate_size: bool) -> dict[str, Any]:
    folder = {
        "folderid": row["folderid"],
        "parent": row["parent"],
        "name": row["name"],
        "description": row["description"],
        "thumb": _thumb(call, row),
        "premium_folder_data": works.premium_folder_data(row),
    }
    return {**folder, "size": _size(call, row)} if calculate_size else folder


def _thumb(call: Call, row: sqlite3.Row) -> dict[str, Any] | None:
    """The cover that its owner has chosen."""
    work = works.find_work(call.state, row["cover"]) if row["cover"] else None
    return None if work is None else works.deviation(call.state, work)


def _size(call: Call, row: sqlite3.Row) -> int:
    return int(
        call.state.store.value("SELECT count(*) FROM deviation_folders WHERE folderid = ?", row["folderid"]) or 0
    )


ENDPOINTS = [
    Endpoint("GET", "/gallery/all", all_deviations, scopes=("browse",)),
    Endpoint("GET", "/gallery/", whole_gallery, scopes=("browse",)),
    Endpoint("GET", "/gallery/folders", folders, scopes=("browse",)),
    Endpoint("GET", f"/gallery/{UUID_IN_PATH}", folder_deviations, scopes=("browse",)),
]
