"""Who gets past the network in front of DeviantArt: bad times for everybody, and limits for each."""

import math
from email.utils import formatdate
from typing import Any

from deviantart.sandbox.call import Call
from deviantart.sandbox.errors import ApiError
from deviantart.sandbox.faults import Fault, unscripted
from deviantart.sandbox.state import State

_ABSURD = ["-1", "99999999999", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "1e9", ""]
# What is known of the limiter of addresses is no more than that there is one.
_THRESHOLDS = {
    "user": ("user_api_threshold", "User request limit reached."),
    "application": ("application_api_threshold", "Client request limit reached."),
    "ip": ("application_api_threshold", "Client request limit reached."),
}


def turned_away(call: Call) -> tuple[Fault, str] | None:
    """What a call gets that may not come in, and why; None lets it in and charges it."""
    state, now = call.state, call.state.clock.now()
    if state.episodes.current(now, "waf"):
        return unscripted("html", status=403), "waf"
    if episode := state.episodes.current(now, "maintenance"):
        headers = _retry_after(call, episode.ends_at - now)
        # First the application says so itself, then nothing but the network answers.
        do = "html" if episode.second_half(now) else "status"
        return unscripted(do, status=503, headers=headers), "maintenance"
    if episode := state.episodes.current(now, "overload"):
        return _too_many(call, "user", episode.ends_at - now), "overload"
    if state.limiter is not None and call.entry.path != "/oauth2/authorize":  # people see that page, not programs
        callers = {
            "user": call.entry.username,
            "application": call.entry.client_id or call.params.text("client_id"),
            "ip": call.entry.ip,
        }
        if limited := state.limiter.admit(now, call.entry.path, callers):
            return _too_many(call, limited.scope, limited.seconds), f"{limited.scope} limit"
    return None


def server_error(call: Call) -> tuple[Fault, str] | None:
    """The 5xx of good and of bad times, by a chain of two states."""
    state = call.state
    chances = state.profile.error_chances
    bad = state.episodes.current(state.clock.now(), "errors") is not None
    if not call.rolls.happens("server error", chances["bad" if bad else "good"]):
        return None
    status = call.rolls.pick("which server error", [500, 502, 504]) if bad else 500
    committed = call.rolls.happens("server error after the commit", chances["committed"])
    return unscripted("status", status=status, after_commit=committed), "errors"


def _too_many(call: Call, scope: str, seconds: float) -> Fault:
    error, description = _THRESHOLDS[scope]
    code = 429 if call.state.profile.rate_limit_error_code else None
    body: dict[str, Any] = ApiError(429, error, description, code=code).envelope()
    return unscripted("status", status=429, body=body, headers=_retry_after(call, seconds))


def _retry_after(call: Call, seconds: float) -> dict[str, str]:
    state: State = call.state
    match state.profile.retry_after:
        case "seconds":
            return {"Retry-After": str(math.ceil(seconds))}
        case "http_date":
            return {"Retry-After": formatdate(math.ceil(state.clock.now() + seconds), usegmt=True)}
        case "absurd":
            return {"Retry-After": call.rolls.pick("Retry-After", _ABSURD)}
    return {}
