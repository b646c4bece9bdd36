"""The people of this DeviantArt, their galleries, and what the API tells about them."""

import re
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.clock import west_coast
from deviantart.sandbox.errors import user_not_found
from deviantart.sandbox.state import State

STATES = ("active", "suspended", "inactive", "deleted")
FOLDER_ACCESS = ("public", "premium", "watchers")
TYPES = ("regular", "premium", "beta", "senior", "admin", "group")
# First segments of addresses that are not artists.
_RESERVED = {"api", "oauth2", "f", "avatars", "sandbox.css", "favicon.ico"}


def is_username(name: str) -> bool:
    """Laxer than DeviantArt, which takes 3 to 20 letters, digits and hyphens: tests like long and telling names."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}", name) is not None and name.lower() not in _RESERVED


USERNAME_WORDING = "a name of 1 to 50 letters, digits, - and _ that begins with a letter or a digit"


def find_user(state: State, username: str) -> sqlite3.Row | None:
    return state.store.one("SELECT * FROM users WHERE username = ?", username)


def create_user(
    state: State,
    username: str,
    *,
    type: str = "regular",  # noqa: A002 - DeviantArt's own word
    folders: Iterable[Mapping[str, Any]] = (),
    accepted_submission_policy: bool = True,
    accepted_tos: bool = True,
    daily_quota: int | None = None,
    publish_refusal: int | None = None,
    state_of_account: str = "active",
) -> sqlite3.Row:
    """Add a user with a Featured gallery and the given ones: ``{"name": …, "subfolders": [names], "access": …}``."""
    userid = state.dice.uuid()
    state.store.insert(
        "users",
        {
            "userid": userid,
            "username": username,
            "type": type,
            "created_at": state.clock.now(),
            "accepted_submission_policy": accepted_submission_policy,
            "accepted_tos": accepted_tos,
            "daily_quota": daily_quota,
            "publish_refusal": publish_refusal,
            "state": state_of_account,
        },
    )
    for folder in ({"name": "Featured"}, *folders):
        create_folder(
            state,
            userid,
            folder["name"],
            subfolders=folder.get("subfolders", ()),
            access=folder.get("access", "public"),
        )
    user = find_user(state, username)
    assert user is not None  # noqa: S101 - it was inserted above
    return user


def create_folder(
    state: State,
    userid: str,
    name: str,
    *,
    parent: str | None = None,
    subfolders: Iterable[str] = (),
    access: str = "public",
    description: str = "",
) -> str:
    folderid = state.dice.uuid()
    position = state.store.value(
        "SELECT coalesce(max(position) + 1, 0) FROM folders WHERE userid = ? AND parent IS ?", userid, parent
    )
    state.store.insert(
        "folders",
        {
            "folderid": folderid,
            "userid": userid,
            "parent": parent,
            "name": name,
            "position": position,
            "access": access,
            "description": description,
        },
    )
    for subfolder in subfolders:
        create_folder(state, userid, subfolder, parent=folderid)
    return folderid


def author(state: State, user: sqlite3.Row) -> dict[str, Any]:
    """A user as other objects show them; ``user`` needs the columns userid, username and type."""
    return {
        "userid": user["userid"],
        "username": user["username"],
        "usericon": f"{state.base_url}/avatars/{quote(user['username'])}.svg",
        "type": user["type"],
    }


def requested_user(call: Call) -> sqlite3.Row:
    """The user whom a list is about: ``username``, or else whoever calls. Raises ApiError when there is none."""
    username = call.params.text("username")
    if username:
        user = find_user(call.state, username)
        if user is None or user["state"] in {"deleted", "suspended"}:
            raise user_not_found(1)
        return user
    user = call.state.store.one("SELECT * FROM users WHERE userid = ?", call.userid)
    if user is None:
        raise user_not_found(1)
    return user


def whoami(call: Call) -> dict[str, Any]:
    user = call.state.store.one("SELECT * FROM users WHERE userid = ?", call.userid)
    if user is None:
        raise user_not_found(2)
    expanded = (call.params.text("expand") or "").split(",")
    parts: dict[str, dict[str, Any]] = {
        "user.details": {"sex": None, "age": None, "joindate": west_coast(user["created_at"])},
        "user.geo": {"country": "Nowhere", "countryid": 1, "timezone": "America/Los_Angeles"},
        "user.profile": _profile_parts(user),
        "user.stats": {"watchers": _count_watchers(call.state, user["userid"]), "friends": 0},
    }
    return {
        **author(call.state, user),
        **{name.removeprefix("user."): part for name, part in parts.items() if name in expanded},
    }


def profile(call: Call) -> dict[str, Any]:
    user = find_user(call.state, call.path_id or "")
    if user is None or user["state"] == "deleted":
        raise user_not_found(2)
    if user["state"] == "suspended":
        raise user_not_found(0)
    if user["state"] == "inactive":
        raise user_not_found(1)
    store = call.state.store
    watcher = call.token["userid"] if call.token is not None else None
    body = {
        "user": author(call.state, user),
        "is_watching": store.one("SELECT 1 FROM watches WHERE userid = ? AND watched = ?", watcher, user["userid"])
        is not None,
        "profile_url": f"{call.state.base_url}/{quote(user['username'])}",
        **_profile_parts(user),
        "real_name": "",
        "countryid": 1,
        "country": "Nowhere",
        "bio": "",
        "profile_pic": None,
        "last_status": None,
        "stats": {
            "user_deviations": store.value(
                "SELECT count(*) FROM deviations WHERE userid = ? AND NOT is_deleted", user["userid"]
            ),
            "user_favourites": 0,
            "user_comments": 0,
            "profile_pageviews": 0,
            "profile_comments": 0,
        },
    }
    if call.params.boolean("ext_galleries", default=False):
        rows = store.all(
            "SELECT folderid, parent, name FROM folders WHERE userid = ? ORDER BY position", user["userid"]
        )
        body["galleries"] = [dict(row) for row in rows]
    if call.params.boolean("ext_collections", default=False):
        body["collections"] = []
    return body


def whois(call: Call) -> dict[str, Any]:
    """Those of the named users whom there is; the others are left out."""
    usernames = call.params.array("usernames")
    if not usernames:
        call.params.problems["usernames"] = "usernames is required"
    call.params.check()
    found = [find_user(call.state, username) for username in usernames]
    return {"results": [author(call.state, user) for user in found if user is not None and user["state"] == "active"]}


def _profile_parts(user: sqlite3.Row) -> dict[str, Any]:
    return {
        "user_is_artist": True,
        "artist_level": "Hobbyist",
        "artist_specialty": "Digital Art",
        "tagline": f"{user['username']} draws",
        "website": "",
        "cover_photo": None,
    }


def _count_watchers(state: State, userid: str) -> int:
    return int(state.store.value("SELECT count(*) FROM watches WHERE watched = ?", userid))


def placebo(call: Call) -> dict[str, Any]:  # noqa: ARG001 - every handler takes the call
    return {"status": "success"}


ENDPOINTS = [
    Endpoint("GET", "/user/whoami", whoami, scopes=("user",), needs_user=True),
    Endpoint("GET", r"/user/profile/(?P<id>[A-Za-z0-9_-]+)", profile, scopes=("browse",)),
    Endpoint("POST", "/user/whois", whois, scopes=("browse",), needs_user=True),
    Endpoint("GET POST", "/placebo", placebo),
]
