"""Uploading into the stash and publishing from it."""

import json
import re
import sqlite3
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from deviantart.sandbox import media
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.errors import ApiError, refused, server_error
from deviantart.sandbox.faults import publish_refusal
from deviantart.sandbox.params import Params
from deviantart.sandbox.profile import Profile
from deviantart.sandbox.server import Response, json_response
from deviantart.sandbox.works import find_work, page_url

MAX_TITLE = 50
MAX_TAGS = 30
_MATURE_LEVELS = ("strict", "moderate")
_MATURE_CLASSES = ("nudity", "sexual", "gore", "language", "ideology")
_SHARING = ("allow", "hide_share_buttons", "hide_and_members_only")
_SUBJECT_TAG_TYPES = ("1", "3", "4", "5")
# What each display_resolution but 0, the original, scales the width to.
_RESOLUTION_WIDTHS = (0, 400, 600, 800, 900, 1024, 1280, 1600, 1920)
# A few of the categories that DeviantArt had; the ones with a False took no deviations of their own.
_CATEGORIES = {
    "digitalart": False,
    "digitalart/paintings": False,
    "digitalart/paintings/other": True,
    "photography": False,
    "photography/nature": True,
    "scraps": True,
}


# --- submit ----------------------------------------------------------------------------------------------------------


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
        "title": _limited(PurePath(upload.filename).stem or "Untitled", state.profile),
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


def _texts(params: Params, profile: Profile) -> dict[str, Any]:
    """The columns that the request sets; what it leaves out stays as it is."""
    columns: dict[str, Any] = {}
    if title := (params.text("title") or "").strip():
        if profile.title_limit == "refuse" and _limited(title, profile, cut_always=True) != title:
            params.refuse("title")
        columns["title"] = _limited(title, profile)
    if (comments := params.text("artist_comments")) is not None:
        columns["artist_comments"] = comments
    if (original := params.text("original_url")) is not None:
        if original and urlsplit(original).scheme not in {"http", "https"}:
            params.refuse("original_url")
        columns["original_url"] = original
    if tags := _tags(params, profile):
        columns["tags"] = json.dumps(tags)
    for name in ("is_ai_generated", "noai", "is_dirty"):
        if (value := params.boolean(name)) is not None:
            columns[name] = value
    return columns


def _limited(title: str, profile: Profile, *, cut_always: bool = False) -> str:
    """At most 50 characters or, when DeviantArt counts so, 50 bytes of UTF-8."""
    if profile.title_limit == "allow" and not cut_always:
        return title
    if profile.title_limit_unit == "bytes":
        return title.encode()[:MAX_TITLE].decode(errors="ignore")
    return title[:MAX_TITLE]


def _tags(params: Params, profile: Profile) -> list[str]:
    tags = params.array("tags")
    clean = [re.sub(r"[^A-Za-z0-9_]", "", tag) for tag in tags]
    if len(tags) > MAX_TAGS or (profile.tags == "refuse" and clean != tags):
        params.refuse("tags")
    return list(dict.fromkeys(tag for tag in clean if tag))


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
    assignments = ", ".join(f"{name} = ?" for name in changes)
    store.run(f"UPDATE items SET {assignments} WHERE itemid = ?", *changes.values(), item["itemid"])  # noqa: S608 - our columns
    if "tags" in changes:
        store.run("UPDATE deviations SET tags = ? WHERE itemid = ?", changes["tags"], item["itemid"])
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


# --- publish ---------------------------------------------------------------------------------------------------------


def publish(call: Call) -> dict[str, Any]:
    """Make an item a deviation, once."""
    state, params = call.state, call.params
    params.required("itemid")
    itemid = params.integer("itemid", minimum=1)
    options = _options(params)
    tags = _tags(params, state.profile)
    for folderid in options["galleryids"]:
        if not state.store.one("SELECT 1 FROM folders WHERE folderid = ? AND userid = ?", folderid, call.userid):
            params.problems.setdefault("galleryids", "failed to validate galleryids")
    params.check()

    item = state.store.one("SELECT * FROM items WHERE itemid = ? AND userid = ?", itemid, call.userid)
    if item is None:
        raise _refusal(7)
    _refuse_a_second_publish(call, item)
    _check_policies(call)
    _check_item(item, options, state.profile)
    _check_quota(call)

    deviationid = state.dice.uuid()
    state.store.insert(
        "deviations",
        {
            "deviationid": deviationid,
            "number": state.dice.page_number(),
            "slug": re.sub(r"[^A-Za-z0-9]+", "-", item["title"]).strip("-") or "Untitled",
            "itemid": item["itemid"],
            "userid": call.userid,
            "tags": json.dumps(tags) if tags else item["tags"],
            "is_mature": options["is_mature"],
            "options": json.dumps(options),
            "published_at": state.clock.now(),
        },
    )
    _put_into_folders(call, deviationid, options)
    call.entry.deviationid = deviationid
    call.entry.sha256 = item["sha256"]
    call.entry.committed = True
    work = find_work(state, deviationid)
    assert work is not None  # noqa: S101 - it was inserted above
    return {"status": "success", "url": page_url(state, work), "deviationid": deviationid}


def _refusal(code: int) -> ApiError:
    return refused(publish_refusal(code), code)


def _options(params: Params) -> dict[str, Any]:
    """Every field that publish knows, validated; unknown fields were never seen to fail."""
    params.required("is_mature")
    mature = params.boolean("is_mature", default=False)
    level = params.choice("mature_level", _MATURE_LEVELS)
    if mature and level is None:
        params.problems.setdefault("mature_level", "mature_level is required")
    options: dict[str, Any] = {
        "is_mature": mature,
        "mature_level": level,
        "mature_classification": params.choices("mature_classification", _MATURE_CLASSES),
        "feature": params.boolean("feature", default=True),
        "allow_comments": params.boolean("allow_comments", default=True),
        "request_critique": params.boolean("request_critique", default=False),
        "display_resolution": params.integer("display_resolution", 0, minimum=-(2**63)),
        "add_watermark": params.boolean("add_watermark", default=False),
        "sharing": params.choice("sharing", _SHARING),
        "license_options": params.mapping("license_options"),
        "galleryids": params.uuids("galleryids"),
        "allow_free_download": params.boolean("allow_free_download", default=True),
        "location_tag": params.text("location_tag"),
        "subject_tags": params.array("subject_tags"),
        "subject_tag_types": params.choices("subject_tag_types", _SUBJECT_TAG_TYPES),
        "groups": params.uuids("groups"),
        "group_folders": params.uuids("group_folders"),
        "is_ai_generated": params.boolean("is_ai_generated"),
        "noai": params.boolean("noai"),
        "catpath": params.text("catpath"),
    }
    if options["add_watermark"] and not options["display_resolution"]:
        params.refuse("add_watermark")
    for one, other in (("subject_tags", "subject_tag_types"), ("groups", "group_folders")):
        if len(options[one]) != len(options[other]):
            params.problems.setdefault(other, f"failed to validate {other}")
    return options


def _refuse_a_second_publish(call: Call, item: sqlite3.Row) -> None:
    earlier = call.state.store.all("SELECT answered_at, delivered FROM deviations WHERE itemid = ?", item["itemid"])
    if not earlier:
        return
    # The mutation that a client must survive being tested with: DeviantArt itself was never observed here.
    if call.state.profile.concurrent_publish == "both_succeed" and any(
        work["answered_at"] is None or not work["delivered"] or work["answered_at"] >= call.arrived_at
        for work in earlier
    ):
        return
    raise _refusal(9)


def _check_policies(call: Call) -> None:
    """Codes 0 and 1; what the request agrees to is kept for the user."""
    user = call.state.store.one("SELECT * FROM users WHERE userid = ?", call.userid)
    assert user is not None  # noqa: S101 - the token is theirs
    policies = (("accepted_submission_policy", "agree_submission", 0), ("accepted_tos", "agree_tos", 1))
    agreed = {parameter: call.params.boolean(parameter, default=False) for _, parameter, _ in policies}
    call.params.check()
    for column, parameter, code in policies:
        if not user[column] and not agreed[parameter]:
            raise _refusal(code)
    call.state.store.run(
        "UPDATE users SET accepted_submission_policy = 1, accepted_tos = 1 WHERE userid = ?", call.userid
    )


def _check_item(item: sqlite3.Row, options: dict[str, Any], profile: Profile) -> None:
    """Codes 8, 5, 4 and, as of old, 2 and 3."""
    if item["kind"] != "image" and not (item["kind"] == "video" and profile.videos == "publish"):
        raise _refusal(8)
    resolution = options["display_resolution"]
    if not 0 <= resolution < len(_RESOLUTION_WIDTHS):
        raise _refusal(5)
    if item["kind"] == "image" and _RESOLUTION_WIDTHS[resolution] > item["width"]:
        raise _refusal(5)
    licence = options["license_options"]
    if (
        licence.get("commercial", "no") not in {"yes", "no"}
        or licence.get("modify", "no") not in {"yes", "no", "share"}
        or licence.get("creative_commons", "no").lower() not in {"true", "false", "1", "0", "yes", "no"}
    ):
        raise _refusal(4)
    category = options["catpath"]
    if profile.legacy_categories and category:
        if category not in _CATEGORIES:
            raise _refusal(2)
        if not _CATEGORIES[category]:
            raise _refusal(3)


def _check_quota(call: Call) -> None:
    store = call.state.store
    own = store.value("SELECT daily_quota FROM users WHERE userid = ?", call.userid)
    quota = call.state.profile.daily_quota if own is None else own
    if quota is None:
        return
    today = store.value(
        "SELECT count(*) FROM deviations WHERE userid = ? AND published_at >= ?", call.userid, call.state.clock.day()
    )
    if today >= quota:
        raise refused("Publication failed. You have reached your daily submission limit.", 6)


def _put_into_folders(call: Call, deviationid: str, options: dict[str, Any]) -> None:
    if options["catpath"] == "scraps":
        return
    folders = list(dict.fromkeys(options["galleryids"]))
    if options["feature"] or not folders:
        featured = call.state.store.value(
            "SELECT folderid FROM folders WHERE userid = ? AND parent IS NULL ORDER BY position LIMIT 1", call.userid
        )
        folders = list(dict.fromkeys([featured, *folders]))
    for folderid in folders:
        call.state.store.insert("deviation_folders", {"folderid": folderid, "deviationid": deviationid})


ENDPOINTS = [
    Endpoint("POST", "/stash/submit", submit, scopes=("stash",), needs_user=True, writes=True, takes_file=True),
    Endpoint("POST", "/stash/publish", publish, scopes=("stash", "publish"), needs_user=True, writes=True),
]
