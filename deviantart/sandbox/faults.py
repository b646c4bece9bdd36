"""Scripted faults: which request is to be treated how, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from deviantart.sandbox.errors import ApiError, cloudfront_page, expired_token, server_error
from deviantart.sandbox.rules import (
    ControlError,
    Rule,
    anything,
    boolean,
    choice,
    integer,
    nullable,
    number,
    take,
    text,
)
from deviantart.sandbox.server import Response, json_response

_MATCH: Mapping[str, Rule] = {
    "path": text(wording='a path such as "/stash/publish", "/oauth2/token" or "/gallery/*"'),
    "method": choice("GET", "POST").optional(),
    "username": text().optional(),
    "title": text().optional(),
    "nth": integer(minimum=1).optional(1),
}
_AFTER_COMMIT = boolean().optional(False)
_STATUS = integer(minimum=200, maximum=599)
_HEADERS = anything(
    "an object of texts",
    lambda value: isinstance(value, dict) and all(isinstance(text, str) for text in value.values()),
).optional()
_BODY = anything("a text, or a JSON object or list", lambda value: isinstance(value, str | dict | list)).optional()
_TIMES = nullable(integer(minimum=1)).optional(1)
_ANY_MATCH = anything("an object", lambda _: True)

# What each fault takes beside `match`, `do` and `times`.
OPTIONS: Mapping[str, Mapping[str, Rule]] = {
    "reset_before": {},
    "reset_after_commit": {},
    "status": {
        "status": _STATUS,
        "error_code": integer(minimum=0).optional(),
        "body": _BODY,
        "headers": _HEADERS,
        "after_commit": _AFTER_COMMIT,
    },
    "stall": {"seconds": number(minimum=0).optional(120), "after_commit": _AFTER_COMMIT},
    "html": {"status": _STATUS.optional(403), "body": text().optional(), "after_commit": _AFTER_COMMIT},
    "blank": {"status": _STATUS.optional(200), "after_commit": _AFTER_COMMIT},
    "truncate": {"after_commit": _AFTER_COMMIT},
}
MEANINGS: Mapping[str, str] = {
    "reset_before": "read the request, do nothing, reset the connection",
    "reset_after_commit": "do everything, then reset the connection instead of answering",
    "status": "answer with this status; body, headers and error_code as given, else as DeviantArt words it",
    "stall": "answer only after so many seconds (120 when left out); ends when the client goes away",
    "html": "answer with a page of the network in front of DeviantArt (403 when no status is given)",
    "blank": "answer with nothing but spaces",
    "truncate": "announce the whole answer and break off in the middle",
}
_PUBLISH_REFUSALS = {
    0: "Must accept the submission policy.",
    1: "Must accept the terms of service.",
    2: "Category not found.",
    3: "Category invalid or not allowed.",
    4: "Invalid license configuration.",
    5: "Invalid display resolution.",
    6: "Publication failed.",
    7: "Deviation not found.",
    8: "Preview image required.",
    9: "Deviation already published.",
}


def publish_refusal(code: int) -> str:
    """DeviantArt's words for a refused publish; those of 0 to 7 are not known verbatim."""
    return _PUBLISH_REFUSALS.get(code, "The request was refused.")


@dataclass
class Fault:
    path: str
    method: str | None
    username: str | None
    title: str | None
    nth: int
    do: str
    times: int | None
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    applied: int = 0

    @property
    def after_commit(self) -> bool:
        return self.do == "reset_after_commit" or bool(self.options.get("after_commit"))

    def matches(self, *, method: str, path: str, username: str | None, title: str | None) -> bool:
        return (
            path_matches(self.path, path)
            and self.method in {None, method}
            and (self.username is None or self.username.lower() == (username or "").lower())
            and self.title in {None, title}
        )

    def has_turn(self) -> bool:
        return self.seen >= self.nth and (self.times is None or self.applied < self.times)

    def answer(self) -> Response:
        """What the client gets instead of the true answer; for `status`, `html` and `blank`."""
        status = self.options["status"]
        if self.do == "blank":
            return Response(status, b" " * 20, "application/json; charset=utf-8")
        body = self.options.get("body")
        if self.do == "html":
            return cloudfront_page(status) if body is None else Response(status, body.encode())
        response = _status_answer(status, self.options["error_code"]) if body is None else _given(status, body)
        response.headers.update(self.options["headers"] or {})
        return response

    def as_json(self) -> dict[str, Any]:
        match = {"path": self.path, "method": self.method, "username": self.username, "title": self.title}
        return {
            "match": {name: value for name, value in match.items() if value is not None} | {"nth": self.nth},
            "do": self.do,
            "times": self.times,
            **{name: value for name, value in self.options.items() if value is not None},
            "seen": self.seen,
            "applied": self.applied,
        }


class FaultPlan:
    """The faults in force, in the order in which they were posted; the first that has its turn applies."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, plan: Any) -> None:
        """Add a list of faults. Raises ControlError, and then adds none of them."""
        if not isinstance(plan, list):
            raise ControlError("The plan must be a list of faults.", field=None, accepted=documentation())
        self._faults += [_parse(fault, index) for index, fault in enumerate(plan)]

    def clear(self) -> None:
        self._faults.clear()

    def pick(self, *, method: str, path: str, username: str | None, title: str | None) -> Fault | None:
        """Count this request with every fault that it matches, and take one turn of the first that has one."""
        chosen = None
        for fault in self._faults:
            if fault.matches(method=method, path=path, username=username, title=title):
                fault.seen += 1
                if chosen is None and fault.has_turn():
                    fault.applied += 1
                    chosen = fault
        return chosen

    def give_back(self, fault: Fault) -> None:
        """The request was refused, so there was no commit after which the fault could have come."""
        fault.applied -= 1

    def as_json(self) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self._faults]


def path_matches(pattern: str, path: str) -> bool:
    """True for the whole path, or for its end: ``/stash/publish`` is ``/api/v1/oauth2/stash/publish``."""
    if "*" in pattern:
        return fnmatchcase(path, pattern) or fnmatchcase(path, "*/" + pattern.lstrip("/"))
    return path == pattern or path.endswith("/" + pattern.lstrip("/"))


def documentation() -> dict[str, Any]:
    return {
        "match": {name: rule.accepted for name, rule in _MATCH.items()},
        "do": {
            name: {"effect": MEANINGS[name], "takes": {option: rule.accepted for option, rule in options.items()}}
            for name, options in OPTIONS.items()
        },
        "times": "how often, 1 when left out, null for always",
        "nth": "the first time with the nth matching request since the plan was posted",
    }


def _parse(value: Any, index: int) -> Fault:
    within = f"[{index}]"
    if not isinstance(value, dict):
        raise ControlError(f"{within} must be a JSON object.", field=within, accepted=documentation())
    do_rule = choice(*OPTIONS)
    do = take({"do": value["do"]} if "do" in value else {}, {"do": do_rule}, within=within)["do"]
    taken = take(value, {"match": _ANY_MATCH, "do": do_rule, "times": _TIMES, **OPTIONS[do]}, within=within)
    match = take(taken.pop("match"), _MATCH, within=f"{within}.match")
    return Fault(**match, do=taken.pop("do"), times=taken.pop("times"), options=taken)


def _given(status: int, body: Any) -> Response:
    return Response(status, body.encode()) if isinstance(body, str) else json_response(body, status)


def _status_answer(status: int, error_code: int | None) -> Response:
    """The answer that DeviantArt is known to give with a status, when the plan does not spell one out."""
    known = {
        401: expired_token(),
        429: ApiError(429, "user_api_threshold", "User request limit reached."),
        500: server_error(),
        503: ApiError(503, "server_error", "Service temporarily unavailable."),
    }
    if status in {403, 502, 504}:
        return cloudfront_page(status)
    error = known.get(status) or ApiError(status, "invalid_request", publish_refusal(-1))
    if error_code is not None:
        error = ApiError(status, error.error, publish_refusal(error_code), code=error_code)
    return json_response(error.envelope(), status)
