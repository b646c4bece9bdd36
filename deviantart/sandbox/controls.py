"""What tests, benchmarks and the curious use to look into the sandbox and to tell it how to behave."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deviantart.sandbox import faults, oauth, profile, users, works
from deviantart.sandbox.clock import iso
from deviantart.sandbox.params import parse_form
from deviantart.sandbox.rules import (
    ControlError,
    Rule,
    anything,
    boolean,
    choice,
    describe,
    integer,
    nullable,
    number,
    take,
    text,
    texts,
)
from deviantart.sandbox.server import Exchange, Response, json_response
from deviantart.sandbox.state import State

_MAX_BODY_BYTES = 4 * 1024 * 1024
_FOLDERS_WORDING = 'a list of names, or of objects {"name": "Oils", "subfolders": ["2026"]}'
_PARTS = ("requests", "items", "deviations")


def _are_folders(value: Any) -> bool:
    def is_folder(entry: Any) -> bool:
        if isinstance(entry, str):
            return bool(entry)
        return (
            isinstance(entry, dict)
            and set(entry) <= {"name", "subfolders"}
            and isinstance(entry.get("name"), str)
            and texts().check(entry.get("subfolders", []))
        )

    return isinstance(value, list) and all(is_folder(entry) for entry in value)


_USER: Mapping[str, Rule] = {
    "username": text(pattern=users.is_username, wording=users.USERNAME_WORDING),
    "type": choice(*users.TYPES).optional("regular"),
    "folders": anything(_FOLDERS_WORDING, _are_folders).optional([]),
    "accepted_submission_policy": boolean().optional(True),
    "accepted_tos": boolean().optional(True),
    "daily_quota": nullable(integer(minimum=0)).optional(),
}
_APP: Mapping[str, Rule] = {
    "client_id": text(),
    "client_secret": nullable(text()).optional(),
    "name": text().optional("Sandbox App"),
    "url": text().optional(""),
    "redirect_uris": texts().optional([]),
    "oauth": choice("2.1", "2.0").optional("2.1"),
}
_KNOWN_USERNAME = text(wording="the name of a user")
_CLOCK: Mapping[str, Rule] = {"advance_seconds": number()}
_TOKENS: Mapping[str, Rule] = {
    "username": _KNOWN_USERNAME,
    "client_id": text().optional(),
    "scopes": texts().optional(["basic", "user", "browse", "stash", "publish", "gallery"]),
}
_REVOKE: Mapping[str, Rule] = {"username": _KNOWN_USERNAME, "client_id": text().optional()}


@dataclass(frozen=True)
class _Control:
    effect: str
    run: Callable[[Any, Mapping[str, str]], Any]
    takes: Any = None
    example: Any = None
    created: bool = False  # answers 201


class Controls:
    """The paths under ``/_sandbox/``: JSON in, JSON out, no faults, no waits, no journal."""

    def __init__(
        self, state: State, register_configured_app: Callable[[], str], reset_others: Callable[[], object]
    ) -> None:
        self._state = state
        self._register_configured_app = register_configured_app
        self._reset_others = reset_others
        self._default_client_id = register_configured_app()
        self._controls: dict[tuple[str, str], _Control] = {
            ("GET", "/_sandbox/"): _Control("this page", self._documentation),
            ("GET", "/_sandbox/ledger"): _Control(
                "every request, item and deviation",
                self._ledger,
                {"?parts": "comma-separated: requests, items, deviations", "?since": "requests with a larger id only"},
                "/_sandbox/ledger?parts=deviations",
            ),
            ("GET", "/_sandbox/summary"): _Control("counts, duplicates and orphans", self._summary),
            ("GET", "/_sandbox/faults"): _Control(
                "the plan, with how often each fault was seen and applied", self._plan
            ),
            ("POST", "/_sandbox/faults"): _Control(
                "add faults to the plan; the first that has its turn applies",
                self._add_faults,
                [faults.documentation()],
                [
                    {
                        "match": {"path": "/stash/publish", "username": "someartist", "nth": 3},
                        "do": "reset_after_commit",
                    },
                    {"match": {"path": "/gallery/*"}, "do": "status", "status": 503, "times": 2},
                    {"match": {"path": "/stash/submit"}, "do": "stall", "seconds": 30, "after_commit": True},
                ],
            ),
            ("DELETE", "/_sandbox/faults"): _Control("clear the plan", self._clear_faults),
            ("GET", "/_sandbox/profile"): _Control("how the sandbox behaves", self._profile),
            ("PUT", "/_sandbox/profile"): _Control(
                "change the settings that are named, keep the others",
                self._change_profile,
                profile.documentation(),
                {"gallery_delay_seconds": 5, "latency_ms": {"/stash/publish": 300, "*": 20}, "auto_approve": True},
            ),
            ("GET", "/_sandbox/clock"): _Control("the virtual time", self._clock),
            ("POST", "/_sandbox/clock"): _Control(
                "advance the virtual time; a negative number takes it back",
                self._advance,
                describe(_CLOCK),
                {"advance_seconds": 3600},
            ),
            ("GET", "/_sandbox/users"): _Control("all users with their folders", self._users),
            ("POST", "/_sandbox/users"): _Control(
                "create a user, or change an existing one and add the folders that are missing",
                self._put_user,
                describe(_USER),
                {"username": "someartist", "type": "premium", "folders": [{"name": "Oils", "subfolders": ["2026"]}]},
                created=True,
            ),
            ("GET", "/_sandbox/apps"): _Control("the registered applications, without their secrets", self._apps),
            ("POST", "/_sandbox/apps"): _Control(
                "register an application, or replace the one with this id; no secret: a public one; no redirect URI: "
                "any loopback address",
                self._register_app,
                describe(_APP),
                {
                    "client_id": "2002",
                    "client_secret": "00112233445566778899aabbccddeeff",
                    "name": "Another",
                    "redirect_uris": ["http://127.0.0.1:4000/callback"],
                },
                created=True,
            ),
            ("POST", "/_sandbox/tokens"): _Control(
                "a token pair without the detour through the authorize page; the user is created when needed",
                self._issue_tokens,
                describe(_TOKENS),
                {"username": "someartist", "scopes": ["basic", "user"]},
                created=True,
            ),
            ("POST", "/_sandbox/revoke"): _Control(
                "the user takes back what they allowed an application, or all of them",
                self._revoke,
                describe(_REVOKE),
                {"username": "someartist"},
            ),
            ("POST", "/_sandbox/reset"): _Control("empty everything and end all other connections", self._reset),
        }

    async def answer(self, exchange: Exchange) -> Response:
        request = exchange.request
        body = bytearray()
        async for piece in exchange.body():
            if len(body) <= _MAX_BODY_BYTES:
                body += piece
        path = "/_sandbox/" if request.path == "/_sandbox" else request.path
        try:
            control = self._find(request.method, path)
            given = _parse(bytes(body)) if control.takes is not None and request.method != "GET" else None
            result = control.run(given, dict(parse_form(request.query)))
        except ControlError as error:
            problem = {"error": str(error), "field": error.field, "accepted": error.accepted}
            return json_response(problem, error.status, indent=2)
        return json_response(result, 201 if control.created else 200, indent=2 if path == "/_sandbox/" else None)

    def _find(self, method: str, path: str) -> _Control:
        if control := self._controls.get((method, path)):
            return control
        methods = [known for known, known_path in self._controls if known_path == path]
        if methods:
            raise ControlError(f"{method} is not known here.", field=None, accepted=methods, status=405)
        paths = sorted({known_path for _, known_path in self._controls})
        raise ControlError(f"There is no control at {path}.", field=None, accepted=paths, status=404)

    def _documentation(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        return {
            "what": "The controls of the DeviantArt sandbox. This is not DeviantArt.",
            "controls": [
                {
                    "call": f"{method} {path}",
                    "effect": control.effect,
                    **({"takes": control.takes} if control.takes is not None else {}),
                    **({"example": control.example} if control.example is not None else {}),
                }
                for (method, path), control in self._controls.items()
            ],
        }

    # --- looking in --------------------------------------------------------------------------------------------------

    def _ledger(self, _body: Any, query: Mapping[str, str]) -> dict[str, Any]:
        parts = query.get("parts", ",".join(_PARTS)).split(",")
        since = query.get("since", "0")
        if not set(parts) <= set(_PARTS):
            raise ControlError("parts is not accepted.", field="parts", accepted=list(_PARTS))
        if not since.isdecimal():
            raise ControlError("since is not accepted.", field="since", accepted="the id of a request")
        ledger = {}
        if "requests" in parts:
            ledger["requests"] = self._state.journal.requests(int(since))
        if "items" in parts:
            ledger["items"] = self._items()
        if "deviations" in parts:
            ledger["deviations"] = self._deviations()
        return ledger

    def _items(self) -> list[dict[str, Any]]:
        rows = self._state.store.all(
            "SELECT i.itemid, u.username, i.client_id, i.title, i.artist_comments, i.tags, i.is_ai_generated, i.noai,"
            " i.filename, i.sha256, i.size, i.content_type, i.created_at, i.overwrites, i.delivered,"
            " (SELECT count(*) FROM deviations d WHERE d.itemid = i.itemid) AS published"
            " FROM items i JOIN users u USING (userid) ORDER BY i.rowid"
        )
        return [
            {
                **dict(row),
                "tags": json.loads(row["tags"]),
                "created_at": iso(row["created_at"]),
                "delivered": bool(row["delivered"]),
            }
            for row in sorted(rows, key=lambda row: row["created_at"])
        ]

    def _deviations(self) -> list[dict[str, Any]]:
        return [
            {
                "deviationid": work["deviationid"],
                "itemid": work["itemid"],
                "username": work["username"],
                "title": work["title"],
                "sha256": work["sha256"],
                "published_at": iso(work["published_at"]),
                "delivered": bool(work["delivered"]),
                "url": works.page_url(self._state, work),
                "artist_comments": work["artist_comments"],
                "tags": works.tags_of(work),
                "client_id": work["client_id"],
                "overwrites": work["overwrites"],
                "options": json.loads(work["options"]),
            }
            for work in self._state.store.all(works.SELECT + "ORDER BY d.published_at, d.rowid")
        ]

    def _summary(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        store = self._state.store
        duplicates = store.all(
            "SELECT u.username, i.title, i.sha256, count(*) AS count FROM deviations d JOIN items i USING (itemid)"
            " JOIN users u ON u.userid = d.userid GROUP BY u.userid, i.title, i.sha256 HAVING count(*) > 1"
        )
        orphans = store.all(
            "SELECT itemid FROM items i WHERE NOT EXISTS (SELECT 1 FROM deviations d WHERE d.itemid = i.itemid)"
            " ORDER BY created_at"
        )
        return {
            "deviations": store.value("SELECT count(*) FROM deviations"),
            "items": store.value("SELECT count(*) FROM items"),
            "users": store.value("SELECT count(*) FROM users"),
            "per_title": self._deviations_per("i.title"),
            "per_item": self._deviations_per("d.itemid"),
            "per_username": self._deviations_per("u.username"),
            "published_twice": len(duplicates),
            "duplicates": [dict(row) for row in duplicates],
            "orphans": len(orphans),
            "orphan_items": [row["itemid"] for row in orphans],
        }

    def _deviations_per(self, column: str) -> dict[str, int]:
        rows = self._state.store.all(
            f"SELECT {column} AS value, count(*) AS count FROM deviations d JOIN items i USING (itemid)"  # noqa: S608 - the caller's constant
            f" JOIN users u ON u.userid = d.userid GROUP BY {column}"
        )
        return {str(row["value"]): row["count"] for row in rows}

    # --- telling it how to behave ------------------------------------------------------------------------------------

    def _plan(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        return {"faults": self._state.faults.as_json()}

    def _add_faults(self, body: Any, query: Mapping[str, str]) -> dict[str, Any]:
        self._state.faults.add(body)
        return self._plan(body, query)

    def _clear_faults(self, body: Any, query: Mapping[str, str]) -> dict[str, Any]:
        self._state.faults.clear()
        return self._plan(body, query)

    def _profile(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        return self._state.profile.as_json()

    def _change_profile(self, body: Any, query: Mapping[str, str]) -> dict[str, Any]:
        self._state.change_profile(body)
        return self._profile(body, query)

    def _clock(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        clock = self._state.clock
        return {"now": iso(clock.now()), "offset_seconds": clock.offset_seconds}

    def _advance(self, body: Any, query: Mapping[str, str]) -> dict[str, Any]:
        self._state.advance_clock(take(body, _CLOCK)["advance_seconds"])
        return self._clock(body, query)

    # --- people and applications -------------------------------------------------------------------------------------

    def _users(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        rows = self._state.store.all("SELECT username FROM users ORDER BY created_at, rowid")
        return {"users": [self._user(row["username"]) for row in rows]}

    def _user(self, username: str) -> dict[str, Any]:
        user = users.find_user(self._state, username)
        assert user is not None  # noqa: S101 - the callers have just read or made it
        rows = self._state.store.all(
            "SELECT folderid, name, parent FROM folders WHERE userid = ? ORDER BY rowid", user["userid"]
        )
        return {
            **dict(user),
            "created_at": iso(user["created_at"]),
            "accepted_submission_policy": bool(user["accepted_submission_policy"]),
            "accepted_tos": bool(user["accepted_tos"]),
            "folders": [dict(row) for row in rows],
        }

    def _put_user(self, body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        given = take(body, _USER)
        folders = [{"name": folder} if isinstance(folder, str) else folder for folder in given.pop("folders")]
        username = given.pop("username")
        with self._state.store.transaction():
            user = users.find_user(self._state, username)
            if user is None:
                users.create_user(self._state, username, folders=folders, **given)
            else:
                for column in set(given) & set(body):
                    self._state.store.run(
                        f"UPDATE users SET {column} = ? WHERE userid = ?",  # noqa: S608 - a name of _USER
                        given[column],
                        user["userid"],
                    )
                for folder in folders:
                    self._add_missing_folder(user["userid"], folder)
        return self._user(username)

    def _add_missing_folder(self, userid: str, folder: Mapping[str, Any]) -> None:
        find = "SELECT folderid FROM folders WHERE userid = ? AND parent IS ? AND name = ?"
        parent = self._state.store.value(find, userid, None, folder["name"])
        if parent is None:
            parent = users.create_folder(self._state, userid, folder["name"])
        for name in folder.get("subfolders", ()):
            if self._state.store.value(find, userid, parent, name) is None:
                users.create_folder(self._state, userid, name, parent=parent)

    def _apps(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        rows = self._state.store.all("SELECT client_id, name, url, redirect_uris, oauth FROM apps ORDER BY rowid")
        return {"apps": [{**dict(row), "redirect_uris": row["redirect_uris"].split()} for row in rows]}

    def _register_app(self, body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        given = take(body, _APP)
        with self._state.store.transaction():
            oauth.register_app(self._state, **given)
        return given

    def _issue_tokens(self, body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        given = take(body, _TOKENS)
        username = given["username"]
        if not users.is_username(username):
            raise ControlError("username is not accepted.", field="username", accepted=users.USERNAME_WORDING)
        with self._state.store.transaction():
            user = users.find_user(self._state, username) or users.create_user(self._state, username)
            client_id = given["client_id"] or self._default_client_id
            return oauth.issue_tokens(self._state, client_id, user["userid"], " ".join(given["scopes"]))

    def _revoke(self, body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        given = take(body, _REVOKE)
        user = users.find_user(self._state, given["username"])
        if user is None:
            raise ControlError("There is no user of this name.", field="username", accepted=_KNOWN_USERNAME.accepted)
        with self._state.store.transaction():
            oauth.revoke_grants(self._state, user["userid"], given["client_id"])
        return {"revoked": True}

    def _reset(self, _body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
        self._reset_others()
        self._state.empty()
        self._register_configured_app()
        return {"reset": True}


def _parse(body: bytes) -> Any:
    if len(body) > _MAX_BODY_BYTES:
        raise ControlError("The body is larger than 4 MiB.", field=None, accepted="a smaller body")
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise ControlError("The body is no JSON.", field=None, accepted="JSON, see GET /_sandbox/") from error
