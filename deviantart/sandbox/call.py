"""A request once it has been understood: to whom it goes, who sent it and what it carries."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deviantart.sandbox.dice import Rolls
from deviantart.sandbox.errors import ApiError, expired_token, missing_scope, no_token, unknown_token
from deviantart.sandbox.exchange import Request, Response
from deviantart.sandbox.journal import Entry
from deviantart.sandbox.multipart import Upload
from deviantart.sandbox.params import Params
from deviantart.sandbox.state import State

UUID_IN_PATH = r"(?P<id>[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"


@dataclass(frozen=True)
class Endpoint:
    """One path of the API or of OAuth.

    ``handler`` runs without an await, inside a transaction when ``writes``; it returns a JSON body, or a Response.
    ``scopes`` None: no token is asked for. ``needs_user``: an application's own token will not do.
    """

    methods: str
    path: str  # with UUID_IN_PATH where an id stands
    handler: Callable[["Call"], "dict[str, Any] | Response"]
    scopes: tuple[str, ...] | None = ()
    needs_user: bool = False
    writes: bool = False
    takes_file: bool = False


@dataclass
class Call:
    state: State
    request: Request
    endpoint: Endpoint | None
    entry: Entry
    path_id: str | None = None
    params: Params = field(default_factory=Params)
    upload: Upload | None = None
    nameless_file: bool = False
    query_token: str | None = None
    token: sqlite3.Row | None = None
    rolls: Rolls = field(default_factory=lambda: Rolls(0, ""))

    @property
    def is_api(self) -> bool:
        """True for what programs call, false for the pages that people see."""
        return self.request.path.startswith(("/api/", "/oauth2/"))

    @property
    def about(self) -> str:
        """Who asks for what, as far as it is known: what chance hangs on."""
        path = self.request.path if self.endpoint is None else self.endpoint.path
        return f"{self.request.method} {path} {self.entry.username or ''}"

    @property
    def userid(self) -> str:
        """The user of the token; only where the endpoint ``needs_user``."""
        if self.token is None or self.token["userid"] is None:
            raise expired_token()
        return str(self.token["userid"])

    def find_token(self) -> None:
        """Look the token up without judging it: the journal and the faults want to know who calls."""
        if (value := self.sent_token() or self.query_token) is None:
            return
        self.token = self.state.store.one(
            "SELECT t.*, u.username, u.state AS user_state, a.oauth FROM access_tokens t"
            " LEFT JOIN users u USING (userid) LEFT JOIN apps a USING (client_id) WHERE token = ?",
            value,
        )
        if self.token is not None:
            self.entry.username = self.token["username"]
            self.entry.client_id = self.token["client_id"]

    def sent_token(self) -> str | None:
        """The token from the header or the POST body."""
        scheme, _, token = self.request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
        return self.params.text("access_token")

    def authorise(self) -> None:
        """Raises ApiError when the token is missing, unknown, expired or not allowed to do this."""
        endpoint = self.endpoint
        if endpoint is None or endpoint.scopes is None:
            return
        token = self.token
        if self.sent_token() is None and (self.query_token is None or (token is not None and token["oauth"] != "2.0")):
            raise no_token()  # only applications of OAuth 2.0 may send it in the query
        if token is None:
            raise unknown_token()
        if token["revoked"] or token["expires_at"] <= self.state.clock.now():
            raise expired_token()
        if token["userid"] is None:
            if endpoint.needs_user:
                raise expired_token()
            return
        if token["username"] is None or token["user_state"] == "deleted":
            raise expired_token()
        if token["user_state"] == "suspended":
            self._refuse_suspended()
        granted = token["scope"].split()
        for scope in endpoint.scopes:
            if scope not in granted:
                raise missing_scope(scope, self.state.profile.missing_scope_status)

    def _refuse_suspended(self) -> None:
        match self.state.profile.suspended_user:
            case "token_ends":
                raise expired_token()
            case "unverified_account":
                raise ApiError(403, "unverified_account", "This account cannot be used.")
