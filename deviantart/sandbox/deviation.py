"""Reading single deviations and their metadata."""

import json
import sqlite3
from typing import Any

from deviantart.sandbox import works
from deviantart.sandbox.call import UUID_IN_PATH, Call, Endpoint
from deviantart.sandbox.clock import west_coast
from deviantart.sandbox.errors import refused
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
    return {"metadata": [_metadata(call, work, wanted) for work in found if work is not None]}


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
                " WHERE deviationid = ? ORDER BY position",
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
    Endpoint("GET", "/deviation/metadata", metadata, scopes=("browse",)),
]
