"""The gallery lists: what a client finds when it looks for a work."""

import sqlite3
from typing import Any

from deviantart.sandbox import works
from deviantart.sandbox.call import UUID_IN_PATH, Call, Endpoint
from deviantart.sandbox.errors import refused
from deviantart.sandbox.users import requested_user

MAX_DEVIATIONS = 24
MAX_FOLDERS = 50
_DEFAULT_LIMIT = 10
_MAX_OFFSET = 50_000


def all_deviations(call: Call) -> dict[str, Any]:
    return _deviations(call, requested_user(call))


def folder_deviations(call: Call) -> dict[str, Any]:
    user = requested_user(call)
    folder = call.state.store.one(
        "SELECT * FROM folders WHERE folderid = ? AND userid = ?", (call.path_id or "").upper(), user["userid"]
    )
    if folder is None:
        raise refused("Folder not found.", 0)
    return {"name": folder["name"], **_deviations(call, user, folder["folderid"])}


def folders(call: Call) -> dict[str, Any]:
    """The user's folders with their subfolders; deeper levels do not exist."""
    user, params, store = requested_user(call), call.params, call.state.store
    offset, limit = _page(call, MAX_FOLDERS)
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
        folder["deviations"] = (
            [works.deviation(call.state, work) for work in _works(call, user, row["folderid"], 0, 5)] if preload else []
        )
        if not skip_empty or _size(call, row):
            results.append(folder)
    return _paged(results, has_more=len(rows) > limit, next_offset=offset + limit)


def _deviations(call: Call, user: sqlite3.Row, folderid: str | None = None) -> dict[str, Any]:
    """Newest first. Mature works are left out after the page was cut, so a page may be short and not the last."""
    offset, limit = _page(call, MAX_DEVIATIONS)
    mature = call.params.boolean("mature_content", default=False)
    call.params.check()
    rows = _works(call, user, folderid, offset, limit + 1)
    shown = [row for row in rows[:limit] if mature or not row["is_mature"]]
    return _paged(
        [works.deviation(call.state, row) for row in shown],
        has_more=len(rows) > limit,
        next_offset=offset + limit,
    )


def _works(call: Call, user: sqlite3.Row, folderid: str | None, offset: int, limit: int) -> list[sqlite3.Row]:
    delay = call.state.profile.gallery_delay_seconds
    if isinstance(delay, str):  # "never"
        return []
    where = "WHERE d.userid = ? AND d.published_at <= ? "
    values: list[Any] = [user["userid"], call.state.clock.now() - delay]
    if folderid is None:
        # Scraps are in no folder and in no list.
        where += "AND EXISTS (SELECT 1 FROM deviation_folders f WHERE f.deviationid = d.deviationid) "
    else:
        where += "AND d.deviationid IN (SELECT deviationid FROM deviation_folders WHERE folderid = ?) "
        values.append(folderid)
    return call.state.store.all(
        works.SELECT + where + "ORDER BY d.published_at DESC, d.rowid DESC LIMIT ? OFFSET ?", *values, limit, offset
    )


def _folder(call: Call, row: sqlite3.Row, *, calculate_size: bool) -> dict[str, Any]:
    folder = {
        "folderid": row["folderid"],
        "parent": row["parent"],
        "name": row["name"],
        "description": "",
        "thumb": None,
        "premium_folder_data": None,
    }
    return {**folder, "size": _size(call, row)} if calculate_size else folder


def _size(call: Call, row: sqlite3.Row) -> int:
    return int(
        call.state.store.value("SELECT count(*) FROM deviation_folders WHERE folderid = ?", row["folderid"]) or 0
    )


def _page(call: Call, maximum: int) -> tuple[int, int]:
    offset = call.params.integer("offset", 0, maximum=_MAX_OFFSET)
    limit = call.params.integer("limit", _DEFAULT_LIMIT, minimum=1, maximum=maximum)
    call.params.check()
    return offset or 0, limit or _DEFAULT_LIMIT


def _paged(results: list[dict[str, Any]], *, has_more: bool, next_offset: int) -> dict[str, Any]:
    return {"results": results, "has_more": has_more, "next_offset": next_offset if has_more else None}


ENDPOINTS = [
    Endpoint("GET", "/gallery/all", all_deviations, scopes=("browse",)),
    Endpoint("GET", "/gallery/folders", folders, scopes=("browse",)),
    Endpoint("GET", f"/gallery/{UUID_IN_PATH}", folder_deviations, scopes=("browse",)),
]
