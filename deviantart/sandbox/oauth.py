"""Tokens as DeviantArt gives and takes them: rotating refresh tokens, and its own words for what goes wrong."""

import base64
import sqlite3
from typing import Any

from deviantart.sandbox.apps import find_app
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.errors import ApiError, refused
from deviantart.sandbox.exchange import Response, json_response
from deviantart.sandbox.pkce import PKCE, challenge_of
from deviantart.sandbox.state import State


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
    app = find_app(call.state, client_id)
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
        if not PKCE.fullmatch(verifier) or challenge_of(verifier) != row["challenge"]:
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
    Endpoint("POST", "/oauth2/token", token, scopes=None, writes=True),
    Endpoint("POST", "/oauth2/revoke", revoke, scopes=None, writes=True),
]
