"""An artist with a past: folders and works that were published before the test began."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from deviantart.sandbox import media, users
from deviantart.sandbox.browse import TOPICS
from deviantart.sandbox.dice import Rolls
from deviantart.sandbox.publish import slug_of
from deviantart.sandbox.rules import ControlError, Rule, boolean, chance, describe, integer, number, take, text
from deviantart.sandbox.state import State
from deviantart.sandbox.works import SELECT

SEED: Mapping[str, Rule] = {
    "username": text(pattern=users.is_username, wording=users.USERNAME_WORDING),
    "deviations": integer(minimum=0, maximum=10_000).optional(300),
    "folders": integer(minimum=0, maximum=240).optional(60),
    "subfolders": integer(minimum=0, maximum=10).optional(0),
    "premium_folders": integer(minimum=0, maximum=10).optional(0),
    "watchers_folders": integer(minimum=0, maximum=10).optional(0),
    "mature_share": chance().optional(0.1),
    "deleted_share": chance().optional(0.02),
    "days": number(minimum=0.01).optional(365),
}
DEVIATION: Mapping[str, Rule] = {
    "username": text(wording="the name of a user"),
    "title": text().optional(),
    "is_deleted": boolean(),
}
_ADJECTIVES = ["Quiet", "Golden", "Broken", "Distant", "Restless", "Paper", "Silver", "Wild", "Sleeping", "Last"]
_NOUNS = ["harbour", "forest", "window", "morning", "dragon", "city", "garden", "storm", "river", "lantern"]
_FOLDER_NAMES = ["Oils", "Sketches", "Commissions", "Studies", "Fan art", "Travels", "Photographs", "Experiments"]
_PICTURES = 8
_WIDTH, _HEIGHT = 480, 360
_DAY = 86_400


def seed(state: State, body: Any) -> dict[str, Any]:
    """Give a user folders and published works, drawn from the seed; how many of each there are now."""
    given = take(body, SEED)
    rolls = Rolls(state.profile.seed, f"past of {given['username'].lower()}")
    pictures = [_picture(state, rolls, number) for number in range(_PICTURES)]
    with state.store.transaction():
        user = users.find_user(state, given["username"]) or users.create_user(state, given["username"])
        folderids = _seed_folders(state, user["userid"], given)
        _seed_works(state, user["userid"], given, rolls, folderids, pictures)
    return {
        "username": user["username"],
        "folders": state.store.value("SELECT count(*) FROM folders WHERE userid = ?", user["userid"]),
        "deviations": state.store.value("SELECT count(*) FROM deviations WHERE userid = ?", user["userid"]),
    }


def change_deviation(state: State, body: Any) -> dict[str, Any]:
    """What artists do by hand on the website: delete a work, or bring it back; the newest, or the one with a title."""
    given = take(body, DEVIATION)
    work = state.store.one(
        SELECT + "WHERE u.username = ? AND (? IS NULL OR i.title = ?) ORDER BY d.published_at DESC, d.rowid DESC",
        given["username"],
        given["title"],
        given["title"],
    )
    if work is None:
        raise ControlError(
            "There is no such deviation.", field="title" if given["title"] else "username", accepted=describe(DEVIATION)
        )
    state.store.update("deviations", {"is_deleted": given["is_deleted"]}, "deviationid = ?", work["deviationid"])
    return {"deviationid": work["deviationid"], "title": work["title"], "is_deleted": given["is_deleted"]}


def _seed_folders(state: State, userid: str, given: Mapping[str, Any]) -> list[str]:
    """Featured first, then those that were there, then the new ones: public, for subscribers, for watchers."""
    names = [
        *((_numbered(_FOLDER_NAMES, number), "public") for number in range(given["folders"])),
        *((f"Subscribers {number + 1}", "premium") for number in range(given["premium_folders"])),
        *((f"Watchers {number + 1}", "watchers") for number in range(given["watchers_folders"])),
    ]
    for place, (name, access) in enumerate(names):
        subfolders = [f"Part {part + 1}" for part in range(given["subfolders"])] if place % 5 == 0 else []
        users.create_folder(state, userid, name, access=access, subfolders=subfolders)
    rows = state.store.all("SELECT folderid FROM folders WHERE userid = ? ORDER BY position, rowid", userid)
    return [row["folderid"] for row in rows]


def _seed_works(
    state: State,
    userid: str,
    given: Mapping[str, Any],
    rolls: Rolls,
    folderids: list[str],
    pictures: list[dict[str, Any]],
) -> None:
    now = state.clock.now()
    client_id = state.store.value("SELECT client_id FROM apps ORDER BY rowid LIMIT 1")
    for place in range(given["deviations"]):
        title = f"{rolls.pick(f'adjective {place}', _ADJECTIVES)} {rolls.pick(f'noun {place}', _NOUNS)} {place + 1}"
        published_at = now - given["days"] * _DAY * (given["deviations"] - place) / (given["deviations"] + 1)
        mature = rolls.happens(f"mature {place}", given["mature_share"])
        itemid, deviationid = state.dice.long_id(), state.dice.uuid()
        tags = json.dumps([rolls.pick(f"topic {place}", list(TOPICS.values())), "seeded"])
        state.store.insert(
            "items",
            {
                "itemid": itemid,
                "userid": userid,
                "client_id": client_id,
                "stackid": 0,
                "title": title,
                "artist_comments": f"The {place + 1}. work of a long past.",
                "original_url": "",
                "tags": tags,
                "is_dirty": False,
                **pictures[place % len(pictures)],
                "created_at": published_at,
                "updated_at": published_at,
                "delivered": True,
            },
        )
        state.store.insert(
            "deviations",
            {
                "deviationid": deviationid,
                "number": state.dice.page_number(),
                "slug": slug_of(title),
                "itemid": itemid,
                "userid": userid,
                "tags": tags,
                "is_mature": mature,
                "options": json.dumps(_options(mature=mature)),
                "published_at": published_at,
                "answered_at": published_at,
                "delivered": True,
                "gallery_delay": 0,
                "is_deleted": rolls.happens(f"deleted {place}", given["deleted_share"]),
                "seeded": True,
                "favourites": int(1000 * rolls.share(f"favourites {place}") ** 4),
            },
        )
        homes = {folderids[0], folderids[int(rolls.share(f"folder {place}") * len(folderids))]}
        for folderid in sorted(homes):
            state.store.insert("deviation_folders", {"folderid": folderid, "deviationid": deviationid})


def _picture(state: State, rolls: Rolls, number: int) -> dict[str, Any]:
    """A small picture on disk, as the columns of an item."""
    colours = [
        tuple(int(256 * rolls.share(f"colour {number} {corner} {part}")) for part in "rgb") for corner in range(4)
    ]
    content = media.gradient(colours, width=_WIDTH, height=_HEIGHT)
    sha256 = hashlib.sha256(content).hexdigest()
    state.store.file(sha256).write_bytes(content)
    return {
        "filename": f"picture-{number + 1}.png",
        "sha256": sha256,
        "size": len(content),
        "content_type": "image/png",
        "kind": "image",
        "width": _WIDTH,
        "height": _HEIGHT,
        "transparency": False,
    }


def _options(*, mature: bool) -> dict[str, Any]:
    return {
        "is_mature": mature,
        "mature_level": "moderate" if mature else None,
        "mature_classification": ["nudity"] if mature else [],
        "allow_comments": True,
        "allow_free_download": True,
        "license_options": {},
        "galleryids": [],
    }


def _numbered(names: list[str], number: int) -> str:
    """Each name once, then each with a 2, a 3 …"""
    rounds, place = divmod(number, len(names))
    return names[place] if rounds == 0 else f"{names[place]} {rounds + 1}"
