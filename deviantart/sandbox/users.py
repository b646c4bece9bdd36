"""The people of this DeviantArt, their galleries, and what the API tells about them."""

import re
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.errors import user_not_found
from deviantart.sandbox.state import State

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
) -> sqlite3.Row:
    """Add a user with a Featured gallery and the given ones: ``{"name": …, "subfolders": [names]}``."""
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
        },
    )
    for folder in ({"name": "Featured"}, *folders):
        create_folder(state, userid, folder["name"], subfolders=folder.get("subfolders", ()))
    user = find_user(state, username)
    assert user is not None  # noqa: S101 - it was inserted above
    return user


def create_folder(
    state: State, userid: str, name: str, *, parent: str | None = None, subfolders: Iterable[str] = ()
) -> str:
    folderid = state.dice.uuid()
    position = state.store.value("SELECT count(*) FROM folders WHERE userid = ? AND parent IS ?", userid, parent)
    state.store.insert(
        "folders",
        {"folderid": folderid, "userid": userid, "parent": parent, "name": name, "position": position},
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
        if user is None:
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
    return author(call.state, user)


def placebo(call: Call) -> dict[str, Any]:  # noqa: ARG001 - every handler takes the call
    return {"status": "success"}


ENDPOINTS = [
    Endpoint("GET", "/user/whoami", whoami, scopes=("user",), needs_user=True),
    Endpoint("GET POST", "/placebo", placebo),
]
