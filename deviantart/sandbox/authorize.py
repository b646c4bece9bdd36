"""The page on which a user lets an application in, and what comes of it: a code."""

import sqlite3
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from deviantart.sandbox import pages
from deviantart.sandbox.apps import find_app
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.exchange import Response
from deviantart.sandbox.pkce import PKCE
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
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_DENIED = "The resource owner or authorization server denied the request"
_FIRST_USERNAME = "sandbox-artist"


class _AuthorizeError(Exception):
    """Told to the application by a redirect."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


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
    app = find_app(call.state, call.params.text("client_id"))
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
    if not PKCE.fullmatch(challenge):
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


ENDPOINTS = [
    Endpoint("GET", "/oauth2/authorize", show_authorize, scopes=None),
    Endpoint("POST", "/oauth2/authorize", decide_authorize, scopes=None, writes=True),
]
