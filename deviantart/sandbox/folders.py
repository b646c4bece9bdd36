"""Arranging one's gallery: making, changing, ordering and removing folders, and what is in them."""

import sqlite3
from typing import Any

from deviantart.sandbox.call import UUID_IN_PATH, Call, Endpoint
from deviantart.sandbox.errors import ApiError, refused, server_error
from deviantart.sandbox.gallery import find_folder
from deviantart.sandbox.params import is_uuid
from deviantart.sandbox.users import create_folder

MAX_FOLDERS = 250
_MAX_NAME = 50
_SUCCESS = {"success": True}


def create(call: Call) -> dict[str, Any]:
    name = _name(call, "folder")
    parent = _folder(call, "parent_folderid", required=False)
    call.params.check()
    if parent is not None and parent["parent"] is not None:
        call.params.refuse("parent_folderid")  # there are two levels and no more
        call.params.check()
    count = call.state.store.value("SELECT count(*) FROM folders WHERE userid = ?", call.userid)
    if count >= MAX_FOLDERS:
        raise refused("You have reached the maximum number of folders.", 1)
    folderid = create_folder(
        call.state,
        call.userid,
        name,
        parent=None if parent is None else parent["folderid"],
        description=call.params.text("description") or "",
    )
    call.entry.committed = True
    return {"folderid": folderid, "name": name}


def update(call: Call) -> dict[str, Any]:
    """Change what the request names."""
    folder = _folder(call, "folderid")
    changes: dict[str, Any] = {}
    if "name" in call.params:
        changes["name"] = _name(call, "name")
    if (description := call.params.text("description")) is not None:
        changes["description"] = description
    if cover := call.params.text("cover_deviationid"):
        if not is_uuid(cover):
            call.params.problems["cover_deviationid"] = "cover_deviationid is not a valid UUID"
        elif not _own_works(call, [cover.upper()]):
            call.params.refuse("cover_deviationid")
        changes["cover"] = cover.upper()
    call.params.check()
    assert folder is not None  # noqa: S101 - required, and checked above
    if changes:
        call.state.store.update("folders", changes, "folderid = ?", folder["folderid"])
    return _done(call)


def update_order(call: Call) -> dict[str, Any]:
    """Put a folder at a place, counted from 0, among those beside it; Featured stays first."""
    folder = _folder(call, "folderid")
    position = _position(call)
    call.params.check()
    assert folder is not None  # noqa: S101 - required, and checked above
    if _is_featured(call, folder):
        call.params.refuse("folderid")
        call.params.check()
    beside = [row["folderid"] for row in _siblings(call, folder)]
    beside.remove(folder["folderid"])
    beside.insert(position if folder["parent"] else max(1, position), folder["folderid"])
    for place, folderid in enumerate(beside):
        call.state.store.update("folders", {"position": place}, "folderid = ?", folderid)
    return _done(call)


def update_deviation_order(call: Call) -> dict[str, Any]:
    """Put a work at a place, counted from 0, in a folder; all others get the places that they have now."""
    folder = _folder(call, "folderid")
    deviationid = call.params.required("deviationid").upper()
    position = _position(call)
    call.params.check()
    assert folder is not None  # noqa: S101 - required, and checked above
    store = call.state.store
    rows = store.all(
        "SELECT deviationid FROM deviation_folders f JOIN deviations d USING (deviationid) WHERE folderid = ?"
        " ORDER BY f.position IS NOT NULL, f.position, d.published_at DESC, d.rowid DESC",
        folder["folderid"],
    )
    order = [row["deviationid"] for row in rows]
    if deviationid not in order:
        raise refused("Deviation not found.", 0)
    order.remove(deviationid)
    order.insert(position, deviationid)
    for place, each in enumerate(order):
        store.update(
            "deviation_folders", {"position": place}, "folderid = ? AND deviationid = ?", folder["folderid"], each
        )
    return _done(call)


def move(call: Call) -> dict[str, Any]:
    """Make a folder a subfolder of another."""
    folder, target = _folder(call, "folderid"), _folder(call, "to_folderid")
    call.params.check()
    assert folder is not None  # noqa: S101 - required, and checked above
    assert target is not None  # noqa: S101 - required, and checked above
    store = call.state.store
    has_subfolders = store.one("SELECT 1 FROM folders WHERE parent = ?", folder["folderid"])
    if has_subfolders or _is_featured(call, folder) or target["parent"] or target["folderid"] == folder["folderid"]:
        call.params.refuse("to_folderid")
        call.params.check()
    place = store.value("SELECT count(*) FROM folders WHERE parent = ?", target["folderid"])
    store.update("folders", {"parent": target["folderid"], "position": place}, "folderid = ?", folder["folderid"])
    return _done(call)


def remove(call: Call) -> dict[str, Any]:
    """Remove a folder with its subfolders; the works in them stay in the gallery."""
    folder = find_folder(call.state, (call.path_id or "").upper(), call.userid)
    if folder is None:
        raise refused("Folder not found.", 0)
    if _is_featured(call, folder):
        raise server_error()  # as it was recorded
    store = call.state.store
    for folderid in [folder["folderid"], *_subfolderids(call, folder)]:
        store.run("DELETE FROM deviation_folders WHERE folderid = ?", folderid)
        store.run("DELETE FROM folders WHERE folderid = ?", folderid)
    return _done(call)


def copy_deviations(call: Call) -> dict[str, Any]:
    """Put works into a folder; a folder that is not one's own takes nothing, and the answer is success all the same."""
    deviationids = _deviationids(call)
    target = _known_folder(call, "target_folderid")
    call.params.check()
    if target is not None:
        _put(call, target, deviationids)
    return _done(call)


def move_deviations(call: Call) -> dict[str, Any]:
    deviationids = _deviationids(call)
    source, target = _folder(call, "source_folderid"), _known_folder(call, "target_folderid")
    call.params.check()
    assert source is not None  # noqa: S101 - required, and checked above
    if target is not None:
        _put(call, target, deviationids)
        _take_out(call, source, deviationids)
    return _done(call)


def remove_deviations(call: Call) -> dict[str, Any]:
    """Take works out of a folder; they stay in the gallery."""
    deviationids = _deviationids(call)
    folder = _folder(call, "folderid")
    call.params.check()
    assert folder is not None  # noqa: S101 - required, and checked above
    _take_out(call, folder, deviationids)
    return _done(call)


def _done(call: Call) -> dict[str, Any]:
    call.entry.committed = True
    return dict(_SUCCESS)


def _name(call: Call, field: str) -> str:
    name = call.params.required(field).strip()
    if len(name) > _MAX_NAME:
        call.params.refuse(field)
    return name


def _position(call: Call) -> int:
    call.params.required("position")
    return call.params.integer("position") or 0


def _folder(call: Call, field: str, *, required: bool = True) -> sqlite3.Row | None:
    """One's own folder; None when there is none, which is then noted in the parameters."""
    params = call.params
    folderid = params.required(field) if required else params.text(field)
    if not folderid:
        return None
    if not is_uuid(folderid):
        params.problems[field] = f"{field} is not a valid UUID"
        return None
    folder = find_folder(call.state, folderid.upper(), call.userid)
    if folder is None:
        params.refuse(field)
    return folder


def _known_folder(call: Call, field: str) -> sqlite3.Row | None:
    """One's own folder; None also for somebody else's, about which nothing is noted."""
    folder = _folder(call, field)
    if folder is None and call.params.problems.get(field) == f"failed to validate {field}":
        del call.params.problems[field]
    return folder


def _deviationids(call: Call) -> list[str]:
    """Works of one's own. Raises ApiError when another is among them."""
    deviationids = call.params.uuids("deviationids")
    if not deviationids:
        call.params.problems.setdefault("deviationids", "deviationids is required")
    call.params.check()
    if not _own_works(call, deviationids):
        raise ApiError(400, "invalid_request", "Deviation not found.", code=0)
    return list(dict.fromkeys(deviationids))


def _own_works(call: Call, deviationids: list[str]) -> bool:
    return all(
        call.state.store.one("SELECT 1 FROM deviations WHERE deviationid = ? AND userid = ?", deviationid, call.userid)
        for deviationid in deviationids
    )


def _put(call: Call, folder: sqlite3.Row, deviationids: list[str]) -> None:
    for deviationid in deviationids:
        call.state.store.run(
            "INSERT OR IGNORE INTO deviation_folders (folderid, deviationid) VALUES (?, ?)",
            folder["folderid"],
            deviationid,
        )
        # What hung between two states is whole again once it was put elsewhere.
        call.state.store.update("deviations", {"half_published": False}, "deviationid = ?", deviationid)


def _take_out(call: Call, folder: sqlite3.Row, deviationids: list[str]) -> None:
    for deviationid in deviationids:
        call.state.store.run(
            "DELETE FROM deviation_folders WHERE folderid = ? AND deviationid = ?", folder["folderid"], deviationid
        )


def _siblings(call: Call, folder: sqlite3.Row) -> list[sqlite3.Row]:
    return call.state.store.all(
        "SELECT folderid FROM folders WHERE userid = ? AND parent IS ? ORDER BY position, rowid",
        call.userid,
        folder["parent"],
    )


def _is_featured(call: Call, folder: sqlite3.Row) -> bool:
    return folder["parent"] is None and _siblings(call, folder)[0]["folderid"] == folder["folderid"]


def _subfolderids(call: Call, folder: sqlite3.Row) -> list[str]:
    rows = call.state.store.all("SELECT folderid FROM folders WHERE parent = ?", folder["folderid"])
    return [row["folderid"] for row in rows]


_SCOPES = ("browse", "gallery")
ENDPOINTS = [
    *(
        Endpoint("POST", f"/gallery/folders/{name}", handler, scopes=_SCOPES, needs_user=True, writes=True)
        for name, handler in (
            ("create", create),
            ("update", update),
            ("update_order", update_order),
            ("move", move),
            ("copy_deviations", copy_deviations),
            ("move_deviations", move_deviations),
            ("remove_deviations", remove_deviations),
        )
    ),
    Endpoint(
        "POST",
        "/gallery/folders/update_deviation_order",
        update_deviation_order,
        scopes=("stash", "publish"),
        needs_user=True,
        writes=True,
    ),
    Endpoint(
        "GET POST", f"/gallery/folders/remove/{UUID_IN_PATH}", remove, scopes=_SCOPES, needs_user=True, writes=True
    ),
]
