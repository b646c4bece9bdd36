"""stash/publish: make an item a deviation, once."""

import json
import re
import sqlite3
from bisect import bisect_right
from itertools import accumulate
from typing import Any

from deviantart.sandbox import texts
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.errors import ApiError, publish_refusal, refused, server_error
from deviantart.sandbox.exchange import Response, json_response
from deviantart.sandbox.faults import unscripted
from deviantart.sandbox.params import Params
from deviantart.sandbox.profile import Profile
from deviantart.sandbox.works import NEVER, find_work, page_url

MATURE_LEVELS = ("strict", "moderate")
MATURE_CLASSES = ("nudity", "sexual", "gore", "language", "ideology")
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


def publish(call: Call) -> dict[str, Any] | Response:
    """Make an item a deviation, once."""
    state, params = call.state, call.params
    params.required("itemid")
    itemid = params.integer("itemid", minimum=1)
    options = _options(params, state.profile)
    tags = texts.tags_of(params, state.profile)
    check_folders(call, options["galleryids"])
    params.check()

    item = state.store.one("SELECT * FROM items WHERE itemid = ? AND userid = ?", itemid, call.userid)
    if item is None:
        raise _refusal(7)
    if (first := _earlier_publish(call, item)) is not None:
        return first
    _check_user(call)
    _check_age(call, item)
    _check_item(item, options, state.profile)
    _check_quota(call)

    deviationid = state.dice.uuid()
    half_published = _is_half_published(call, options["galleryids"])
    state.store.insert(
        "deviations",
        {
            "deviationid": deviationid,
            "number": state.dice.page_number(),
            "slug": slug_of(item["title"]),
            "itemid": item["itemid"],
            "userid": call.userid,
            "tags": json.dumps(tags) if tags else item["tags"],
            "is_mature": options["is_mature"],
            "options": json.dumps(options),
            "published_at": state.clock.now(),
            "gallery_delay": _gallery_delay(call),
            "half_published": half_published,
            "is_scrap": options["catpath"] == "scraps",
        },
    )
    _put_into_folders(call, deviationid, options)
    call.entry.deviationid = deviationid
    call.entry.sha256 = item["sha256"]
    call.entry.committed = True
    if half_published:
        fault = unscripted("status", status=500, after_commit=True)
        call.entry.fault, call.entry.cause, call.entry.deed = fault.do, "protected folder", fault.deed()
        return json_response(server_error().envelope(), 500)
    return _receipt(call, deviationid)


def slug_of(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-") or "Untitled"


def check_folders(call: Call, folderids: list[str]) -> None:
    """Note it in the parameters when one of the folders is not the caller's own."""
    for folderid in folderids:
        if not call.state.store.one("SELECT 1 FROM folders WHERE folderid = ? AND userid = ?", folderid, call.userid):
            call.params.problems.setdefault("galleryids", "failed to validate galleryids")


def _receipt(call: Call, deviationid: str) -> dict[str, Any]:
    work = find_work(call.state, deviationid)
    assert work is not None  # noqa: S101 - the caller has just read or inserted it
    return {"status": "success", "url": page_url(call.state, work), "deviationid": deviationid}


def _refusal(code: int) -> ApiError:
    return refused(publish_refusal(code), code)


def _options(params: Params, profile: Profile) -> dict[str, Any]:
    """Every field that publish knows, validated; unknown fields were never seen to fail."""
    if profile.is_mature == "required":
        params.required("is_mature")
    mature = params.boolean("is_mature", default=False)
    level = params.choice("mature_level", MATURE_LEVELS)
    if mature and level is None:
        params.problems.setdefault("mature_level", "mature_level is required")
    options: dict[str, Any] = {
        "is_mature": mature,
        "mature_level": level,
        "mature_classification": params.choices("mature_classification", MATURE_CLASSES),
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


def _earlier_publish(call: Call, item: sqlite3.Row) -> dict[str, Any] | None:
    """None when the item may be published: it never was, or the profile lets it happen again.

    Raises ApiError; or returns the answer that the first publish had, when the profile wants that.
    """
    earlier = call.state.store.all(
        "SELECT deviationid, answered_at, answered_before, delivered FROM deviations WHERE itemid = ?", item["itemid"]
    )
    if not earlier:
        return None
    profile = call.state.profile
    # By the order of the requests, since the virtual clock may stand still.
    overlaps = any(work["answered_at"] is None or (work["answered_before"] or 0) > call.entry.id for work in earlier)
    # The mutation that a client must survive being tested with: DeviantArt itself was never observed here.
    if profile.concurrent_publish == "both_succeed" and (overlaps or any(not work["delivered"] for work in earlier)):
        return None
    if profile.concurrent_publish == "overlapping_succeed" and overlaps:
        return None
    if profile.concurrent_publish == "second_fails" and overlaps:
        raise server_error()
    if profile.second_publish == "same_answer":
        return _receipt(call, earlier[0]["deviationid"])
    if profile.second_publish == "server_error":
        raise server_error()
    raise _refusal(int(profile.second_publish.removeprefix("code_")))


def _check_user(call: Call) -> None:
    """Codes 0 and 1, and whatever this user is meant to get; what the request agrees to is kept for the user."""
    user = call.state.store.one("SELECT * FROM users WHERE userid = ?", call.userid)
    assert user is not None  # noqa: S101 - the token is theirs
    policies = (("accepted_submission_policy", "agree_submission", 0), ("accepted_tos", "agree_tos", 1))
    agreed = {parameter: call.params.boolean(parameter, default=False) for _, parameter, _ in policies}
    call.params.check()
    for column, parameter, code in policies:
        if not user[column] and not agreed[parameter] and call.state.profile.policies == "enforced":
            raise _refusal(code)
    if user["state"] == "suspended":
        raise _refusal(6)
    if user["publish_refusal"] is not None:
        raise _refusal(user["publish_refusal"])
    agreement = {column: True for column, parameter, _ in policies if agreed[parameter]}
    if agreement:
        call.state.store.update("users", agreement, "userid = ?", call.userid)


def _check_age(call: Call, item: sqlite3.Row) -> None:
    lifetime = call.state.profile.item_lifetime_seconds
    if lifetime is not None and call.state.clock.now() >= item["updated_at"] + lifetime:
        raise _refusal(7)


def _check_item(item: sqlite3.Row, options: dict[str, Any], profile: Profile) -> None:
    """Codes 8, 5, 4 and, as of old, 2 and 3."""
    if item["kind"] != "image" and not (item["kind"] == "video" and profile.videos == "publish"):
        raise _refusal(8)
    resolution = options["display_resolution"]
    if not 0 <= resolution < len(_RESOLUTION_WIDTHS):
        raise _refusal(5)
    if item["kind"] == "image" and _RESOLUTION_WIDTHS[resolution] > item["width"]:
        raise _refusal(5)
    check_licence(options["license_options"])
    category = options["catpath"]
    if profile.legacy_categories and category:
        if category not in _CATEGORIES:
            raise _refusal(2)
        if not _CATEGORIES[category]:
            raise _refusal(3)


def check_licence(licence: dict[str, str]) -> None:
    if (
        licence.get("commercial", "no") not in {"yes", "no"}
        or licence.get("modify", "no") not in {"yes", "no", "share"}
        or licence.get("creative_commons", "no").lower() not in {"true", "false", "1", "0", "yes", "no"}
    ):
        raise _refusal(4)


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
        if call.state.profile.quota_answer == "new_code":
            raise refused("You have reached your daily submission limit.", 10)
        raise refused("Publication failed. You have reached your daily submission limit.", 6)


def _is_half_published(call: Call, folderids: list[str]) -> bool:
    if call.state.profile.protected_folders == "publish":
        return False
    return any(
        call.state.store.value("SELECT access FROM folders WHERE folderid = ?", folderid) != "public"
        for folderid in folderids
    )


def _gallery_delay(call: Call) -> float | None:
    """How long this work stays out of the lists, when the profile draws that for each; else None."""
    weights = call.state.profile.gallery_delay_seconds
    if not isinstance(weights, dict):
        return None
    places = list(accumulate(weights.values()))
    drawn = bisect_right(places, call.rolls.share("gallery delay") * places[-1])
    delay = list(weights)[drawn]
    return NEVER if delay == "never" else float(delay)


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
    Endpoint("POST", "/stash/publish", publish, scopes=("stash", "publish"), needs_user=True, writes=True),
]
