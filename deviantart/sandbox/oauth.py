"""OAuth 2.1 as DeviantArt does it: PKCE, rotating refresh tokens, and its own words for what goes wrong."""

import base64
import hashlib
import re
import sqlite3
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from deviantart.sandbox import pages
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.errors import ApiError, refused
from deviantart.sandbox.server import Response, json_response
from deviantart.sandbox.state import State
from deviantart.sandbox.users import USERNAME_WORDING, create_user, find_user, is_username

SCOPES = {
    "basic": "see the basics of your account",
    "user": "see who you are",
    "user.manage": "change your profile and post statuses",
    "browse": "look at galleries and deviations",
    "browse.mlt": "see similar works",
    "stash": "upload to your Sta.sh",
    "publish": "publish deviations for you",
    "gallery": "arrange your gallery folders",
    "collection": "arrange your favourites",
    "comment.post": "comment for you",
    "feed": "see your feed",
    "message": "see your notifications",
    "note": "read and send notes",
}
_PKCE = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_DENIED = "The resource owner or authorization server denied the request"
_FIRST_USERNAME = "sandbox-artist"


class _AuthorizeError(Exception):
    """Told to the application by a redirect."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


# --- authorize -------------------------------------------------------------------------------------------------------


def show_authorize(call: Call) -> Response:
    """The page with allow and deny, or at once its outcome when the profile approves by itself."""
    app = _app_of_request(call)
    if isinstance(app, Response):
        return app
    try:
        _check_authorize(call, app)
    except _AuthorizeError as error:
        return _back(call, error=error.error, error_description=error.description)
    profile = call.state.profile
    if not profile.auto_approve:
        return _consent_page(call, app)
    username = call.params.text("username") or profile.auto_approve_username
    if username is not None and not is_username(username):
        return pages.message_page(400, "The username is not valid", f"It must be {USERNAME_WORDING}.")
    with call.state.store.transaction():
        return _grant(call, app, username or _first_username(call.state))


def decide_authorize(call: Call) -> Response:
    """What the buttons of the page send."""
    app = _app_of_request(call)
    if isinstance(app, Response):
        return app
    try:
        _check_authorize(call, app)
        if call.params.text("decision") != "allow":
            raise _AuthorizeError("access_denied", _DENIED)
    except _AuthorizeError as error:
        return _back(call, error=error.error, error_description=error.description)
    username = (call.params.text("new_username") or "").strip() or call.params.text("username") or ""
    if not is_username(username):
        return _consent_page(call, app, problem=f"Choose an artist, or enter {USERNAME_WORDING}.")
    return _grant(call, app, username)


def _app_of_request(call: Call) -> sqlite3.Row | Response:
    """The application, or the page for a request that must not be redirected anywhere."""
    app = _find_app(call.state, call.params.text("client_id"))
    if app is None:
        return pages.message_page(400, "Invalid client.", "No application is registered under this client_id.")
    if not _redirect_is_allowed(app, call.params.text("redirect_uri") or ""):
        return pages.message_page(
            400, "The redirect_uri is not valid", "It is not one of those that the application has registered."
        )
    call.entry.client_id = app["client_id"]
    return app


def _check_authorize(call: Call, app: sqlite3.Row) -> None:
    params = call.params
    if params.text("response_type") != "code":
        raise _AuthorizeError("unsupported_response_type", "The response_type MUST be code.")
    if call.state.profile.unknown_scope == "refuse" and not set((params.text("scope") or "").split()) <= SCOPES.keys():
        raise _AuthorizeError("invalid_scope", "The requested scope is invalid, unknown, or malformed.")
    challenge, method = params.text("code_challenge"), params.text("code_challenge_method")
    if not challenge:
        if app["oauth"] == "2.1":
            raise _AuthorizeError("invalid_request", "The code_challenge parameter is required.")
        return
    if method != "S256":
        raise _AuthorizeError("invalid_request", "The code_challenge_method MUST be S256.")
    if not _PKCE.fullmatch(challenge):
        raise _AuthorizeError("invalid_request", "The code_challenge format is invalid.")


def _consent_page(call: Call, app: sqlite3.Row, problem: str | None = None) -> Response:
    usernames = [row["username"] for row in call.state.store.all("SELECT username FROM users ORDER BY created_at")]
    return pages.authorize_page(
        app_name=app["name"],
        scopes=[SCOPES[scope] for scope in _requested_scopes(call)],
        usernames=usernames,
        suggestion=_FIRST_USERNAME,
        query=call.request.query,
        problem=problem,
    )


def _grant(call: Call, app: sqlite3.Row, username: str) -> Response:
    state = call.state
    user = find_user(state, username) or create_user(state, username)
    call.entry.username = user["username"]
    call.entry.committed = True
    allowed = state.profile.grant_scopes
    granted = [scope for scope in _requested_scopes(call) if allowed is None or scope in allowed]
    code = state.dice.hexadecimal(40)
    state.store.insert(
        "codes",
        {
            "code": code,
            "client_id": app["client_id"],
            "userid": user["userid"],
            "redirect_uri": call.params.text("redirect_uri"),
            "scope": " ".join(granted),
            "challenge": call.params.text("code_challenge") or None,
            "expires_at": state.clock.now() + state.profile.code_seconds,
        },
    )
    return _back(call, code=code)


def _requested_scopes(call: Call) -> list[str]:
    """In DeviantArt's words; a scope that it does not have is passed over."""
    asked = (call.params.text("scope") or "basic").split()
    return [scope for scope in dict.fromkeys(asked) if scope in SCOPES]


def _back(call: Call, **outcome: str) -> Response:
    state = call.params.text("state")
    if state is not None:
        outcome["state"] = state
    outcome["iss"] = call.state.base_url
    parts = urlsplit(call.params.text("redirect_uri") or "")
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *outcome.items()])
    return Response(302, headers={"Location": urlunsplit(parts._replace(query=query)), "Cache-Control": "no-store"})


def _redirect_is_allowed(app: sqlite3.Row, uri: str) -> bool:
    """Exact for 2.1, by prefix for 2.0; an application without registered URIs may use any loopback address."""
    registered: list[str] = [value for value in app["redirect_uris"].split("\n") if value]
    if not registered:
        parts = urlsplit(uri)
        return parts.scheme in {"http", "https"} and parts.hostname in _LOOPBACK
    if app["oauth"] == "2.0":
        return any(uri.startswith(prefix) for prefix in registered)
    return uri in registered


def _first_username(state: State) -> str:
    return state.store.value("SELECT username FROM users ORDER BY created_at LIMIT 1") or _FIRST_USERNAME


# --- token -----------------------------------------------------------------------------------------------------------


def token(call: Call) -> dict[str, Any] | Response:
    grant = call.params.text("grant_type")
    call.entry.grant_type = grant
    if grant == "authorization_code":
        return _exchange_code(call, _authenticate(call))
    if grant == "refresh_token":
        return _refresh(call, _authenticate(call))
    if grant == "client_credentials":
        return _client_credentials(call, _authenticate(call))
    raise refused("Unknown grant_type")


def _authenticate(call: Call) -> sqlite3.Row:
    """The application by HTTP Basic or by the form. A public one, without a secret, is known by its id alone."""
    client_id, secret = call.params.text("client_id"), call.params.text("client_secret")
    scheme, _, encoded = call.request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            client_id = None
    app = _find_app(call.state, client_id)
    if app is None or (app["client_secret"] is not None and app["client_secret"] != secret):
        raise ApiError(401, "invalid_client", "Client authentication failed.")
    call.entry.client_id = app["client_id"]
    return app


def _exchange_code(call: Call, app: sqlite3.Row) -> dict[str, Any] | Response:
    state, params = call.state, call.params
    row = state.store.one("SELECT * FROM codes WHERE code = ?", params.text("code") or "")
    if row is None or row["used"] or row["client_id"] != app["client_id"] or row["expires_at"] <= state.clock.now():
        raise refused("Incorrect authorization code.")
    # Whatever comes of it, a code that was shown once is spent.
    state.store.run("UPDATE codes SET used = 1 WHERE code = ?", row["code"])
    if params.text("redirect_uri") != row["redirect_uri"]:
        return _spent("redirect_uri does not match authorized redirect_uri.")
    if row["challenge"] is not None:
        verifier = params.text("code_verifier")
        if not verifier:
            return _spent("The code_verifier parameter is required.")
        if not _PKCE.fullmatch(verifier) or challenge_of(verifier) != row["challenge"]:
            return _spent("The code_verifier is invalid.")
    return _issue(call, app["client_id"], row["userid"], row["scope"], family=state.dice.uuid())


def _refresh(call: Call, app: sqlite3.Row) -> dict[str, Any] | Response:
    state = call.state
    now = state.clock.now()
    invalid = ApiError(400, state.profile.refresh_error, "The refresh_token is invalid.")
    row = _find_refresh_token(state, call.params.text("refresh_token"))
    if row is None or row["client_id"] != app["client_id"] or not _may_refresh(state, row["userid"]):
        raise invalid
    in_grace = row["used_at"] is not None and now < row["used_at"] + state.profile.refresh_grace_seconds
    if row["state"] == "used" and not in_grace and state.profile.strict_reuse:
        _revoke_family(state, row["family"])
        return json_response(invalid.envelope(), 400)
    if not (row["state"] == "live" or (row["state"] == "used" and in_grace)) or row["expires_at"] <= now:
        raise invalid
    if row["state"] == "live":
        state.store.update("refresh_tokens", {"state": "used", "used_at": now}, "token = ?", row["token"])
    if state.profile.access_after_refresh == "dies":
        state.store.update("access_tokens", {"revoked": True}, "family = ?", row["family"])
    return _issue(
        call, app["client_id"], row["userid"], row["scope"], family=row["family"], granted_at=row["granted_at"]
    )


def _may_refresh(state: State, userid: str) -> bool:
    user_state = state.store.value("SELECT state FROM users WHERE userid = ?", userid)
    return not (user_state == "deleted" or (user_state == "suspended" and state.profile.suspended_user == "token_ends"))


def _client_credentials(call: Call, app: sqlite3.Row) -> dict[str, Any]:
    if "scope" in call.params:
        raise refused("Scope has not been implemented, please remove it from the request")
    call.entry.committed = True
    access = _insert_access_token(call.state, app["client_id"], None, "basic browse", call.state.dice.uuid())
    return {
        "access_token": access,
        "token_type": "Bearer",
        "expires_in": int(call.state.profile.access_token_seconds),
        "status": "success",
    }


def _spent(description: str) -> Response:
    """A refusal that keeps what was written before it."""
    return json_response(refused(description).envelope(), 400)


def _issue(
    call: Call, client_id: str, userid: str, scope: str, *, family: str, granted_at: float | None = None
) -> dict[str, Any]:
    call.entry.username = call.state.store.value("SELECT username FROM users WHERE userid = ?", userid)
    call.entry.committed = True
    return issue_tokens(call.state, client_id, userid, scope, family=family, granted_at=granted_at)


def issue_tokens(
    state: State,
    client_id: str,
    userid: str,
    scope: str,
    *,
    family: str | None = None,
    granted_at: float | None = None,
) -> dict[str, Any]:
    """A new pair; a ``family`` is every token that comes from one authorisation, which was given at ``granted_at``."""
    family = family or state.dice.uuid()
    now = state.clock.now()
    granted_at = now if granted_at is None else granted_at
    counted_from = granted_at if state.profile.refresh_expiry == "grant" else now
    refresh = state.dice.hexadecimal(40)
    state.store.insert(
        "refresh_tokens",
        {
            "token": refresh,
            "family": family,
            "client_id": client_id,
            "userid": userid,
            "scope": scope,
            "granted_at": granted_at,
            "expires_at": counted_from + state.profile.refresh_token_seconds,
        },
    )
    return {
        "access_token": _insert_access_token(state, client_id, userid, scope, family),
        "token_type": "Bearer",
        "expires_in": int(state.profile.access_token_seconds),
        "refresh_token": refresh,
        "scope": scope,
        "status": "success",
    }


def _insert_access_token(state: State, client_id: str, userid: str | None, scope: str, family: str) -> str:
    access = state.dice.hexadecimal(50)
    state.store.insert(
        "access_tokens",
        {
            "token": access,
            "family": family,
            "client_id": client_id,
            "userid": userid,
            "scope": scope,
            "expires_at": state.clock.now() + state.profile.access_token_seconds,
        },
    )
    return access


# --- revoke ----------------------------------------------------------------------------------------------------------


def revoke(call: Call) -> dict[str, Any]:
    """End everything of that user for the application, or with ``revoke_refresh_only`` that one session."""
    state = call.state
    value = call.params.text("token") or ""
    row = _find_refresh_token(state, value) or state.store.one("SELECT * FROM access_tokens WHERE token = ?", value)
    if row is None:
        raise refused("The token is invalid.")
    only_session = call.params.boolean("revoke_refresh_only", default=False)
    call.params.check()
    call.entry.client_id = row["client_id"]
    call.entry.committed = True
    if row["userid"] is not None:
        call.entry.username = state.store.value("SELECT username FROM users WHERE userid = ?", row["userid"])
    if only_session or row["userid"] is None:
        _revoke_family(state, row["family"])
    else:
        revoke_grants(state, row["userid"], row["client_id"])
    return {"status": "success"}


def revoke_grants(state: State, userid: str, client_id: str | None = None) -> None:
    """The user takes back what they allowed one application, or all of them."""
    for table, change in (("refresh_tokens", "state = 'revoked'"), ("access_tokens", "revoked = 1")):
        state.store.run(
            f"UPDATE {table} SET {change} WHERE userid = ? AND (? IS NULL OR client_id = ?)",  # noqa: S608 - see above
            userid,
            client_id,
            client_id,
        )


def _revoke_family(state: State, family: str) -> None:
    state.store.run("UPDATE refresh_tokens SET state = 'revoked' WHERE family = ?", family)
    state.store.run("UPDATE access_tokens SET revoked = 1 WHERE family = ?", family)


# --- applications ----------------------------------------------------------------------------------------------------


def register_app(
    state: State,
    *,
    client_id: str,
    client_secret: str | None,
    name: str,
    url: str = "",
    redirect_uris: list[str],
    oauth: str = "2.1",
) -> None:
    """Add an application, or replace the one with this id. No secret: a public one. No redirect URI: any loopback."""
    state.store.run("DELETE FROM apps WHERE client_id = ?", client_id)
    state.store.insert(
        "apps",
        {
            "client_id": client_id,
            "client_secret": client_secret,
            "name": name,
            "url": url,
            "redirect_uris": "\n".join(redirect_uris),
            "oauth": oauth,
        },
    )


def challenge_of(verifier: str) -> str:
    """The S256 challenge of RFC 7636."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _find_app(state: State, client_id: str | None) -> sqlite3.Row | None:
    return state.store.one("SELECT * FROM apps WHERE client_id = ?", client_id or "")


def _find_refresh_token(state: State, value: str | None) -> sqlite3.Row | None:
    return state.store.one("SELECT * FROM refresh_tokens WHERE token = ?", value or "")


def owner_of(call: Call) -> str | None:
    """Whose code or refresh token a token request carries, for the journal and the faults."""
    username: str | None = call.state.store.value(
        "SELECT username FROM users WHERE userid = coalesce((SELECT userid FROM codes WHERE code = ?),"
        " (SELECT userid FROM refresh_tokens WHERE token = ?))",
        call.params.text("code") or "",
        call.params.text("refresh_token") or "",
    )
    return username


ENDPOINTS = [
    Endpoint("GET", "/oauth2/authorize", show_authorize, scopes=None),
    Endpoint("POST", "/oauth2/authorize", decide_authorize, scopes=None, writes=True),
    Endpoint("POST", "/oauth2/token", token, scopes=None, writes=True),
    Endpoint("POST", "/oauth2/revoke", revoke, scopes=None, writes=True),
]
