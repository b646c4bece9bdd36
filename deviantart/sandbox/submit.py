"""stash/submit: keep a file as an item, or overwrite one."""

import json
import sqlite3
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from deviantart.sandbox import media, texts
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.errors import endpoint_not_found, refused, server_error
from deviantart.sandbox.exchange import Response, json_response
from deviantart.sandbox.params import Params
from deviantart.sandbox.profile import Profile

# What the stash could do until 2024.
_REMOVED_GET = "space|delta|publish/userdata|publish/categorytree|[0-9]+|[0-9]+/contents|item/[0-9]+"
_REMOVED_POST = "delete|update/[0-9]+|move/[0-9]+|position/[0-9]+"


def submit(call: Call) -> dict[str, Any] | Response:
    """Keep a file as a new item, or overwrite an item: a published one changes live."""
    state, params, upload = call.state, call.params, call.upload
    itemid = params.integer("itemid", minimum=1)
    if call.nameless_file:
        raise server_error()
    if upload is None and itemid is None:
        raise refused("Please include content to submit.", 1)
    if upload is not None and upload.too_large:
        # The status line of a large upload is on its way before the outcome is known.
        return json_response(refused("The file is too large.").envelope(), 200)
    item = None
    if itemid is not None:
        item = state.store.one("SELECT * FROM items WHERE itemid = ? AND userid = ?", itemid, call.userid)
        if item is None:
            params.check(2)
            raise refused("Item not found.", 1)
    stackid = params.integer("stackid", minimum=1)
    if stackid is not None and not _own_stack(call, stackid):
        params.refuse("stackid")
    text = _texts(params, state.profile)
    params.check(2)
    if upload is not None and state.profile.duplicate_files == "refuse" and _is_published(call, upload.sha256):
        raise refused("This file has already been submitted.", 1)
    content = {} if upload is None else _keep_file(call)
    if item is not None:
        return _overwrite(call, item, text, content)

    stack = _stack(call, stackid)
    assert upload is not None  # noqa: S101 - a new item without a file was refused above
    now = state.clock.now()
    row = {
        "itemid": state.dice.long_id(),
        "userid": call.userid,
        "client_id": call.entry.client_id,
        "stackid": stack["stackid"],
        "title": texts.limited(PurePath(upload.filename).stem or "Untitled", state.profile),
        "artist_comments": "",
        "original_url": "",
        "tags": "[]",
        "is_ai_generated": None,
        "noai": None,
        "is_dirty": False,
        **text,
        **content,
        "created_at": now,
        "updated_at": now,
    }
    state.store.insert("items", row)
    _note(call, row)
    return {"status": "success", "itemid": row["itemid"], "stack": stack["name"], "stackid": stack["stackid"]}


def removed(call: Call) -> dict[str, Any]:
    if call.state.profile.removed_endpoints == "not_found":
        raise endpoint_not_found()
    return {}


def _texts(params: Params, profile: Profile) -> dict[str, Any]:
    """The columns that the request sets; what it leaves out stays as it is."""
    columns: dict[str, Any] = {}
    if (title := texts.title_of(params, profile)) is not None:
        columns["title"] = title
    if (comments := params.text("artist_comments")) is not None:
        columns["artist_comments"] = texts.description_of(comments, profile)
    if (original := params.text("original_url")) is not None:
        if original and urlsplit(original).scheme not in {"http", "https"}:
            params.refuse("original_url")
        columns["original_url"] = original
    if tags := texts.tags_of(params, profile):
        columns["tags"] = json.dumps(tags)
    for name in ("is_ai_generated", "noai", "is_dirty"):
        if (value := params.boolean(name)) is not None:
            columns[name] = value
    return columns


def _is_published(call: Call, sha256: str) -> bool:
    found = call.state.store.one(
        "SELECT 1 FROM deviations d JOIN items i USING (itemid)"
        " WHERE d.userid = ? AND i.sha256 = ? AND NOT d.is_deleted",
        call.userid,
        sha256,
    )
    return found is not None


def _keep_file(call: Call) -> dict[str, Any]:
    upload = call.upload
    assert upload is not None  # noqa: S101 - called only when there is one
    picture = media.inspect(upload.path)
    file = call.state.store.file(upload.sha256)
    if not file.exists():
        upload.path.replace(file)
    return {
        "filename": upload.filename,
        "sha256": upload.sha256,
        "size": upload.size,
        "content_type": picture.content_type,
        "kind": picture.kind,
        "width": picture.width,
        "height": picture.height,
        "transparency": picture.transparency,
    }


def _overwrite(call: Call, item: sqlite3.Row, text: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    store = call.state.store
    changes = {**text, **content, "updated_at": call.state.clock.now(), "overwrites": item["overwrites"] + 1}
    store.update("items", changes, "itemid = ?", item["itemid"])
    if "tags" in changes:
        store.update("deviations", {"tags": changes["tags"]}, "itemid = ?", item["itemid"])
    _note(call, {**dict(item), **changes})
    answer = {"status": "success", "itemid": item["itemid"]}
    if store.value("SELECT count(*) FROM deviations WHERE itemid = ?", item["itemid"]):
        return answer  # a published item is in no stack any more
    name = store.value("SELECT name FROM stacks WHERE stackid = ?", item["stackid"])
    return {**answer, "stack": name, "stackid": item["stackid"]}


def _note(call: Call, item: dict[str, Any]) -> None:
    call.entry.itemid = item["itemid"]
    call.entry.title = item["title"]
    call.entry.sha256 = item["sha256"]
    call.entry.committed = True


def _own_stack(call: Call, stackid: int) -> sqlite3.Row | None:
    return call.state.store.one("SELECT * FROM stacks WHERE stackid = ? AND userid = ?", stackid, call.userid)


def _stack(call: Call, stackid: int | None) -> sqlite3.Row:
    """The stack with that id, else the one with the name that the request gives, made when it is new."""
    store = call.state.store
    if stackid is not None and (stack := _own_stack(call, stackid)):
        return stack
    name = (call.params.text("stack") or "").strip() or "Sta.sh Uploads"
    if stack := store.one("SELECT * FROM stacks WHERE userid = ? AND name = ?", call.userid, name):
        return stack
    store.insert("stacks", {"stackid": call.state.dice.long_id(), "userid": call.userid, "name": name})
    return _stack(call, None)


ENDPOINTS = [
    Endpoint("POST", "/stash/submit", submit, scopes=("stash",), needs_user=True, writes=True, takes_file=True),
    Endpoint("GET", f"/stash/(?P<id>{_REMOVED_GET})", removed, scopes=None),
    Endpoint("POST", f"/stash/(?P<id>{_REMOVED_POST})", removed, scopes=None),
]
