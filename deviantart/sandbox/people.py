"""The controls for who there is: users with their folders, applications, tokens."""

from collections.abc import Mapping
from typing import Any

from deviantart.sandbox import apps, oauth, users
from deviantart.sandbox.clock import iso
from deviantart.sandbox.rules import (
    ControlError,
    Rule,
    anything,
    boolean,
    choice,
    integer,
    nullable,
    take,
    text,
    texts,
)
from deviantart.sandbox.state import State

_FOLDERS_WORDING = (
    'a list of names, or of objects {"name": "Oils", "subfolders": ["2026"], "access": "public, premium or watchers"}'
)


def _are_folders(value: Any) -> bool:
    def is_folder(entry: Any) -> bool:
        if isinstance(entry, str):
            return bool(entry)
        return (
            isinstance(entry, dict)
            and set(entry) <= {"name", "subfolders", "access"}
            and isinstance(entry.get("name"), str)
            and texts().check(entry.get("subfolders", []))
            and entry.get("access", "public") in users.FOLDER_ACCESS
        )

    return isinstance(value, list) and all(is_folder(entry) for entry in value)


USER: Mapping[str, Rule] = {
    "username": text(pattern=users.is_username, wording=users.USERNAME_WORDING),
    "type": choice(*users.TYPES).optional("regular"),
    "folders": anything(_FOLDERS_WORDING, _are_folders).optional([]),
    "accepted_submission_policy": boolean().optional(True),
    "accepted_tos": boolean().optional(True),
    "daily_quota": nullable(integer(minimum=0)).optional(),
    "publish_refusal": nullable(integer(minimum=0, maximum=9)).optional(),
    "state": choice(*users.STATES).optional("active"),
    "watches": texts().optional([]),
}
APP: Mapping[str, Rule] = {
    "client_id": text(),
    "client_secret": nullable(text()).optional(),
    "name": text().optional("Sandbox App"),
    "url": text().optional(""),
    "redirect_uris": texts().optional([]),
    "oauth": choice("2.1", "2.0").optional("2.1"),
}
KNOWN_USERNAME = text(wording="the name of a user")
TOKENS: Mapping[str, Rule] = {
    "username": KNOWN_USERNAME,
    "client_id": text().optional(),
    "scopes": texts().optional(["basic", "user", "browse", "stash", "publish", "gallery"]),
}
REVOKE: Mapping[str, Rule] = {"username": KNOWN_USERNAME, "client_id": text().optional()}


def all_users(state: State) -> dict[str, Any]:
    rows = state.store.all("SELECT username FROM users ORDER BY created_at, rowid")
    return {"users": [_user(state, row["username"]) for row in rows]}


def put_user(state: State, body: Any) -> dict[str, Any]:
    """Create a user, or change what the body names; folders and watched users are added."""
    given = take(body, USER)
    folders = [{"name": folder} if isinstance(folder, str) else folder for folder in given.pop("folders")]
    username, watches = given.pop("username"), given.pop("watches")
    with state.store.transaction():
        user = users.find_user(state, username)
        if user is None:
            state_of_account = given.pop("state")
            user = users.create_user(state, username, folders=folders, state_of_account=state_of_account, **given)
        else:
            if changes := {column: given[column] for column in given if column in body}:
                state.store.update("users", changes, "userid = ?", user["userid"])
            for folder in folders:
                _put_folder(state, user["userid"], folder)
        for watched in watches:
            _watch(state, user["userid"], watched)
    return _user(state, username)


def known_user(state: State, username: str) -> Any:
    """The row of a user. Raises ControlError when there is none."""
    user = users.find_user(state, username)
    if user is None:
        raise ControlError("There is no user of this name.", field="username", accepted=KNOWN_USERNAME.accepted)
    return user


def all_apps(state: State) -> dict[str, Any]:
    rows = state.store.all("SELECT client_id, name, url, redirect_uris, oauth FROM apps ORDER BY rowid")
    return {"apps": [{**dict(row), "redirect_uris": row["redirect_uris"].split()} for row in rows]}


def register_app(state: State, body: Any) -> dict[str, Any]:
    given = take(body, APP)
    with state.store.transaction():
        apps.register_app(state, **given)
    return given


def issue_tokens(state: State, body: Any, *, default_client_id: str) -> dict[str, Any]:
    given = take(body, TOKENS)
    username = given["username"]
    if not users.is_username(username):
        raise ControlError("username is not accepted.", field="username", accepted=users.USERNAME_WORDING)
    with state.store.transaction():
        user = users.find_user(state, username) or users.create_user(state, username)
        client_id = given["client_id"] or default_client_id
        return oauth.issue_tokens(state, client_id, user["userid"], " ".join(given["scopes"]))


def revoke(state: State, body: Any) -> dict[str, Any]:
    given = take(body, REVOKE)
    user = known_user(state, given["username"])
    with state.store.transaction():
        oauth.revoke_grants(state, user["userid"], given["client_id"])
    return {"revoked": True}


def _user(state: State, username: str) -> dict[str, Any]:
    user = users.find_user(state, username)
    assert user is not None  # noqa: S101 - the callers have just read or made it
    folders = state.store.all(
        "SELECT folderid, name, parent, access FROM folders WHERE userid = ? ORDER BY rowid", user["userid"]
    )
    watches = state.store.all(
        "SELECT username FROM watches JOIN users ON users.userid = watched WHERE watches.userid = ? ORDER BY username",
        user["userid"],
    )
    return {
        **dict(user),
        "created_at": iso(user["created_at"]),
        "accepted_submission_policy": bool(user["accepted_submission_policy"]),
        "accepted_tos": bool(user["accepted_tos"]),
        "folders": [dict(row) for row in folders],
        "watches": [row["username"] for row in watches],
    }


def _put_folder(state: State, userid: str, folder: Mapping[str, Any]) -> None:
    find = "SELECT folderid FROM folders WHERE userid = ? AND parent IS ? AND name = ?"
    parent = state.store.value(find, userid, None, folder["name"])
    if parent is None:
        parent = users.create_folder(state, userid, folder["name"], access=folder.get("access", "public"))
    elif "access" in folder:
        state.store.update("folders", {"access": folder["access"]}, "folderid = ?", parent)
    for name in folder.get("subfolders", ()):
        if state.store.value(find, userid, parent, name) is None:
            users.create_folder(state, userid, name, parent=parent)


def _watch(state: State, userid: str, watched: str) -> None:
    other = users.find_user(state, watched)
    if other is None:
        raise ControlError(
            "watches names nobody who is here.", field="watches", accepted="a list of the names of users"
        )
    state.store.run("INSERT OR IGNORE INTO watches VALUES (?, ?)", userid, other["userid"])
