"""Single deviations: reading them and their metadata, downloading and editing them."""

import json
import sqlite3
from typing import Any

from deviantart.sandbox import texts, works
from deviantart.sandbox.call import UUID_IN_PATH, Call, Endpoint
from deviantart.sandbox.clock import west_coast
from deviantart.sandbox.errors import refused
from deviantart.sandbox.params import is_uuid
from deviantart.sandbox.publish import MATURE_CLASSES, MATURE_LEVELS, check_folders, check_licence, slug_of
from deviantart.sandbox.users import author

MAX_METADATA = 50
MAX_EXTENDED_METADATA = 10
_EXTENSIONS = ("ext_submission", "ext_camera", "ext_stats", "ext_collection", "ext_gallery")


def one(call: Call) -> dict[str, Any]:
    work = works.find_work(call.state, call.path_id or "")
    if work is None:
        raise refused("Deviation not found.", 0)
    return works.deviation(call.state, work)


def metadata(call: Call) -> dict[str, Any]:
    """What the works hold beyond their objects; ids that are not known are left out."""
    params = call.params
    wanted = {name for name in _EXTENSIONS if params.boolean(name, default=False)}
    deviationids = params.uuids("deviationids")
    if not deviationids:
        params.problems.setdefault("deviationids", "deviationids is required")
    params.check()
    if len(deviationids) > (MAX_EXTENDED_METADATA if wanted else MAX_METADATA):
        raise refused("Too many deviations requested.", 0)
    found = [works.find_work(call.state, deviationid) for deviationid in dict.fromkeys(deviationids)]
    return {
        "metadata": [_metadata(call, work, wanted) for work in found if work is not None and not work["is_deleted"]]
    }


def content(call: Call) -> dict[str, Any]:
    """Texts have content of their own; all works here are pictures or videos, which have none."""
    deviationid = call.params.required("deviationid")
    if deviationid and not is_uuid(deviationid):
        call.params.problems["deviationid"] = "deviationid is not a valid UUID"
    call.params.check()
    if works.find_work(call.state, deviationid) is None:
        raise refused("Deviation not found.", 0)
    raise refused("Deviation type is not supported.", 1)


def download(call: Call) -> dict[str, Any]:
    """Where the original lies, when its artist lets it be taken."""
    work = works.find_work(call.state, call.path_id or "")
    if work is None or work["is_deleted"]:
        raise refused("Deviation not found.", 1)
    if not json.loads(work["options"])["allow_free_download"]:
        raise refused("Deviation is not downloadable.", 2)
    if not call.state.store.file(work["sha256"]).exists():
        raise refused("File not found.", 3)
    return {
        "src": works.file_url(call.state, work),
        "filename": work["filename"],
        "width": work["width"],
        "height": work["height"],
        "filesize": work["size"],
    }


def edit(call: Call) -> dict[str, Any]:
    """Change a published work. What the request leaves out is cleared, as DeviantArt does it."""
    state, params = call.state, call.params
    work = works.find_work(state, call.path_id or "")
    if work is None or work["is_deleted"]:
        raise refused("Deviation not found.", 0)
    if work["userid"] != call.userid:
        raise refused("Deviation is not owned by this user.", 1)
    title = texts.title_of(params, state.profile) or "Untitled"
    tags = texts.tags_of(params, state.profile)
    mature = params.boolean("is_mature", default=False)
    level = params.choice("mature_level", MATURE_LEVELS)
    if mature and level is None:
        params.problems.setdefault("mature_level", "mature_level is required")
    options = {
        **json.loads(work["options"]),
        "is_mature": mature,
        "mature_level": level,
        "mature_classification": params.choices("mature_classification", MATURE_CLASSES),
        "allow_comments": params.boolean("allow_comments", default=False),
        "allow_free_download": params.boolean("allow_free_download", default=False),
        "add_watermark": params.boolean("add_watermark", default=False),
        "license_options": params.mapping("license_options"),
        "galleryids": params.uuids("galleryids"),
    }
    check_folders(call, options["galleryids"])
    params.check()
    check_licence(options["license_options"])
    state.store.update("items", {"title": title}, "itemid = ?", work["itemid"])
    changes = {"tags": json.dumps(tags), "is_mature": mature, "options": json.dumps(options), "slug": slug_of(title)}
    state.store.update("deviations", changes, "deviationid = ?", work["deviationid"])
    state.store.run("DELETE FROM deviation_folders WHERE deviationid = ?", work["deviationid"])
    for folderid in dict.fromkeys(options["galleryids"]):
        state.store.insert("deviation_folders", {"folderid": folderid, "deviationid": work["deviationid"]})
    call.entry.committed = True
    changed = works.find_work(state, work["deviationid"])
    assert changed is not None  # noqa: S101 - it was just changed
    return {"status": "success", "url": works.page_url(state, changed), "deviationid": work["deviationid"]}


def _metadata(call: Call, work: sqlite3.Row, wanted: set[str]) -> dict[str, Any]:
    options = json.loads(work["options"])
    entry: dict[str, Any] = {
        "deviationid": work["deviationid"],
        "printid": None,
        "author": author(call.state, work),
        "is_watching": False,
        "title": work["title"],
        "description": work["artist_comments"],
        "license": _licence(options["license_options"]),
        "allows_comments": options["allow_comments"],
        "tags": [{"tag_name": tag, "sponsored": False, "sponsor": ""} for tag in works.tags_of(work)],
        "is_favourited": False,
        "is_mature": bool(work["is_mature"]),
        "can_post_comment": options["allow_comments"],
    }
    if work["is_mature"]:
        entry["mature_level"] = options["mature_level"]
        entry["mature_classification"] = options["mature_classification"]
    if "ext_submission" in wanted:
        entry["submission"] = {
            "creation_time": west_coast(work["created_at"]),
            "category": "",
            "file_size": _file_size(work["size"]),
            "resolution": f"{work['width']}x{work['height']}",
            "submitted_with": {"app": work["app_name"] or "", "url": work["app_url"] or ""},
        }
    if "ext_stats" in wanted:
        names = ("views", "views_today", "favourites", "comments", "downloads", "downloads_today")
        entry["stats"] = dict.fromkeys(names, 0)
    if "ext_camera" in wanted:
        entry["camera"] = {}
    if "ext_collection" in wanted:
        entry["collections"] = []
    if "ext_gallery" in wanted:
        entry["galleries"] = [
            dict(row)
            for row in call.state.store.all(
                "SELECT folderid, name, parent FROM folders JOIN deviation_folders USING (folderid)"
                " WHERE deviationid = ? ORDER BY folders.position",
                work["deviationid"],
            )
        ]
    return entry


def _licence(options: dict[str, str]) -> str:
    if options.get("creative_commons", "no").lower() not in {"true", "1", "yes"}:
        return "No License"
    noncommercial = "" if options.get("commercial") == "yes" else "-Noncommercial"
    changes = {"yes": "", "share": "-Share Alike"}.get(options.get("modify", "no"), "-No Derivative Works")
    return f"Creative Commons Attribution{noncommercial}{changes} 3.0 License"


def _file_size(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{size / 1_000:.1f} KB"


ENDPOINTS = [
    Endpoint("GET", f"/deviation/{UUID_IN_PATH}", one, scopes=("browse",)),
    # At least one client in use asks by POST.
    Endpoint("GET POST", "/deviation/metadata", metadata, scopes=("browse",)),
    Endpoint("GET", "/deviation/content", content, scopes=("browse",)),
    Endpoint("GET", f"/deviation/download/{UUID_IN_PATH}", download, scopes=("browse",)),
    Endpoint(
        "POST", f"/deviation/edit/{UUID_IN_PATH}", edit, scopes=("stash", "publish"), needs_user=True, writes=True
    ),
]
