"""Faults: what may go wrong with a request, scripted for the nth of its kind or drawn by chance."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deviantart.sandbox.dice import Rolls
from deviantart.sandbox.errors import ApiError, cloudfront_page, expired_token, publish_refusal, server_error
from deviantart.sandbox.exchange import Response, json_response
from deviantart.sandbox.journal import Entry
from deviantart.sandbox.paths import path_matches
from deviantart.sandbox.rules import (
    ControlError,
    Rule,
    anything,
    boolean,
    chance,
    choice,
    integer,
    nullable,
    number,
    take,
    text,
)

_MATCH: Mapping[str, Rule] = {
    "path": text(wording='a path such as "/stash/publish", "/oauth2/token" or "/gallery/*"'),
    "method": choice("GET", "POST").optional(),
    "username": text().optional(),
    "title": text().optional(),
    "grant_type": text().optional(),
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
_SHARE = chance().optional(0.5)

# What each fault takes beside `match`, `do`, `times` and `chance`.
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
    "html": {
        "status": _STATUS.optional(403),
        "body": text().optional(),
        "headers": _HEADERS,
        "after_commit": _AFTER_COMMIT,
    },
    "blank": {"status": _STATUS.optional(200), "after_commit": _AFTER_COMMIT},
    "truncate": {"after_commit": _AFTER_COMMIT},
    "drip": {"bytes_per_second": number(minimum=0.01).optional(1)},
    "reset_in_body": {"share": _SHARE},
    "stall_in_body": {"share": _SHARE, "seconds": number(minimum=0).optional(120)},
    "close_keep_alive": {"late": boolean().optional(False)},
    "refuse_connections": {"seconds": number(minimum=0).optional(5), "after_commit": _AFTER_COMMIT},
}
MEANINGS: Mapping[str, str] = {
    "reset_before": "read the request, do nothing, reset the connection",
    "reset_after_commit": "do everything, then reset the connection instead of answering",
    "status": "answer with this status; body, headers and error_code as given, else as DeviantArt words it",
    "stall": "answer only after so many seconds (120 when left out); ends when the client goes away",
    "html": "answer with a page of the network in front of DeviantArt (403 when no status is given)",
    "blank": "answer with nothing but spaces",
    "truncate": "announce the whole answer and break off in the middle",
    "drip": "answer, and send the body of the answer so slowly (one byte a second when left out)",
    "reset_in_body": "reset the connection when this share of the request's body has come (half when left out)",
    "stall_in_body": "stop reading the request's body at this share for so many seconds (120), then go on",
    "close_keep_alive": "answer, and close the connection that was promised to stay; late: reset it as the next "
    "request arrives on it",
    "refuse_connections": "reset the connection, and for so many seconds (5) refuse new ones and end idle ones, the "
    "controls' too",
}
# These strike while the body is read, when only the path, the method and the owner of the header's token are known.
_IN_BODY = frozenset({"reset_in_body", "stall_in_body"})
_WITH_THE_TRUE_ANSWER = frozenset({"reset_after_commit", "close_keep_alive", "drip"})


@dataclass
class Fault:
    """``times`` None: always. ``chance``: how often it strikes when it has its turn."""

    path: str
    method: str | None
    username: str | None
    title: str | None
    grant_type: str | None
    nth: int
    do: str
    times: int | None
    chance: float = 1
    options: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    applied: int = 0

    @property
    def after_commit(self) -> bool:
        return self.do in _WITH_THE_TRUE_ANSWER or bool(self.options.get("after_commit"))

    @property
    def in_body(self) -> bool:
        return self.do in _IN_BODY

    def matches(self, entry: Entry) -> bool:
        return (
            path_matches(self.path, entry.path)
            and self.method in {None, entry.method}
            and (self.username is None or self.username.lower() == (entry.username or "").lower())
            and self.title in {None, entry.title}
            and self.grant_type in {None, entry.grant_type}
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
            response = cloudfront_page(status) if body is None else Response(status, body.encode())
        elif body is None:
            response = _status_answer(status, self.options.get("error_code"))
        else:
            response = _given(status, body)
        response.headers.update(self.options.get("headers") or {})
        return response

    def deed(self) -> dict[str, Any]:
        """What it does, as a plan would have it, without whom it strikes."""
        return {"do": self.do, **{name: value for name, value in self.options.items() if value is not None}}

    def as_json(self) -> dict[str, Any]:
        names = ("path", "method", "username", "title", "grant_type")
        match = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {
            "match": match | {"nth": self.nth},
            **self.deed(),
            "times": self.times,
            "chance": self.chance,
            "seen": self.seen,
            "applied": self.applied,
        }


def unscripted(do: str, **options: Any) -> Fault:
    """A fault that is no part of a plan: of a limiter, an episode, the state of a folder …"""
    return Fault("*", None, None, None, None, 1, do, None, options=options)


class FaultPlan:
    """The faults in force, in the order in which they were posted; the first that has its turn applies."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, plan: Any) -> None:
        """Add a list of faults. Raises ControlError, and then adds none of them."""
        if not isinstance(plan, list):
            raise ControlError("The plan must be a list of faults.", field=None, accepted=documentation())
        self._faults += [_parse(fault, f"[{index}]") for index, fault in enumerate(plan)]

    def clear(self) -> None:
        self._faults.clear()

    def pick(self, entry: Entry, rolls: Rolls, *, in_body: bool = False) -> Fault | None:
        """Count this request with every fault that it matches, and take one turn of the first that has one."""
        chosen = None
        for index, fault in enumerate(self._faults):
            if fault.in_body is in_body and fault.matches(entry):
                fault.seen += 1
                if chosen is None and fault.has_turn() and rolls.happens(f"plan {index}", fault.chance):
                    fault.applied += 1
                    chosen = fault
        return chosen

    def count(self, entry: Entry) -> None:
        """Count a request that ended while its body was read; no other fault can strike it any more."""
        for fault in self._faults:
            fault.seen += not fault.in_body and fault.matches(entry)

    def strikes_bodies(self) -> bool:
        return any(fault.in_body for fault in self._faults)

    def give_back(self, fault: Fault) -> None:
        """The request was refused, so there was no commit after which the fault could have come."""
        fault.applied -= 1

    def as_json(self) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self._faults]


class DrawnFaults:
    """Faults by chance. Of those that match a request at most one strikes, each as often as its own chance says."""

    def __init__(self, settings: Iterable[Mapping[str, Any]]) -> None:
        faults = [_parse(fault, "drawn_faults") for fault in settings]
        self._faults = {in_body: [fault for fault in faults if fault.in_body is in_body] for in_body in (False, True)}

    def pick(self, entry: Entry, rolls: Rolls, *, in_body: bool = False) -> Fault | None:
        if not self._faults[in_body]:
            return None
        share = rolls.share("drawn")
        for fault in self._faults[in_body]:
            if fault.matches(entry):
                if share < fault.chance:
                    return fault
                share -= fault.chance
        return None

    def strikes_bodies(self) -> bool:
        return bool(self._faults[True])


def _parse_drawn(value: Any, name: str) -> list[Any]:
    for index, fault in enumerate(value):
        within = f"{name}[{index}]"
        _parse(fault, within)
        if "chance" not in fault:
            raise ControlError(f"{within}.chance is required.", field=f"{within}.chance", accepted=chance().accepted)
    return list(value)


DRAWN_FAULTS = Rule(
    "a list of faults as POST /_sandbox/faults takes them, each with its chance from 0 to 1",
    lambda value: isinstance(value, list),
    parse=_parse_drawn,
)


def documentation() -> dict[str, Any]:
    return {
        "match": {name: rule.accepted for name, rule in _MATCH.items()},
        "do": {
            name: {"effect": MEANINGS[name], "takes": {option: rule.accepted for option, rule in options.items()}}
            for name, options in OPTIONS.items()
        },
        "times": "how often, 1 when left out, null for always",
        "chance": "how likely it strikes when it has its turn, 1 when left out; drawn from the seed",
        "nth": "the first time with the nth matching request since the plan was posted",
    }


def _parse(value: Any, within: str) -> Fault:
    if not isinstance(value, dict):
        raise ControlError(f"{within} must be a JSON object.", field=within, accepted=documentation())
    do_rule = choice(*OPTIONS)
    do = take({"do": value["do"]} if "do" in value else {}, {"do": do_rule}, within=within)["do"]
    rules = {"match": _ANY_MATCH, "do": do_rule, "times": _TIMES, "chance": chance().optional(1), **OPTIONS[do]}
    taken = take(value, rules, within=within)
    match = take(taken.pop("match"), _MATCH, within=f"{within}.match")
    kind, times, likelihood = taken.pop("do"), taken.pop("times"), taken.pop("chance")
    return Fault(**match, do=kind, times=times, chance=likelihood, options=taken)


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
