"""What tests, benchmarks and the curious use to look into the sandbox and to tell it how to behave."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deviantart.sandbox import episodes, faults, ledger, people, profile, seeding
from deviantart.sandbox.clock import iso
from deviantart.sandbox.exchange import Exchange, Response, json_response
from deviantart.sandbox.params import parse_form
from deviantart.sandbox.questions import QUESTIONS
from deviantart.sandbox.rules import ControlError, Rule, boolean, describe, number, take
from deviantart.sandbox.state import State

_MAX_BODY_BYTES = 4 * 1024 * 1024
_CLOCK: Mapping[str, Rule] = {"advance_seconds": number()}
_CLOCK_STATE: Mapping[str, Rule] = {"advance_seconds": number().optional(0), "frozen": boolean()}
_NETWORK: Mapping[str, Rule] = {"refuse_seconds": number(minimum=0)}


@dataclass(frozen=True)
class _Control:
    """``run`` gets the body and the query."""

    effect: str
    run: Callable[[Any, Mapping[str, str]], Any]
    takes: Any = None
    example: Any = None
    created: bool = False  # answers 201


class Controls:
    """The paths under ``/_sandbox/``: JSON in, JSON out, no faults, no waits, no journal."""

    def __init__(
        self,
        state: State,
        register_configured_app: Callable[[], str],
        *,
        reset_others: Callable[[], object],
        refuse: Callable[[float], None],
    ) -> None:
        self._state = state
        self._register_configured_app = register_configured_app
        self._reset_others = reset_others
        self._refuse = refuse
        self._default_client_id = register_configured_app()
        self._controls = {
            **self._looking_in(),
            **self._faults(),
            **self._behaviour(),
            **self._people(),
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
        # Connections that the control has reset end in the next turn of the loop; nobody shall hear of it before.
        await asyncio.sleep(0)
        return json_response(result, 201 if control.created else 200, indent=2 if path == "/_sandbox/" else None)

    def _find(self, method: str, path: str) -> _Control:
        if control := self._controls.get((method, path)):
            return control
        methods = [known for known, known_path in self._controls if known_path == path]
        if methods:
            raise ControlError(f"{method} is not known here.", field=None, accepted=methods, status=405)
        paths = sorted({known_path for _, known_path in self._controls})
        raise ControlError(f"There is no control at {path}.", field=None, accepted=paths, status=404)

    def _documentation(self) -> dict[str, Any]:
        settings = profile.documentation()
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
            "open_questions": [
                {"question": question, "settings": {name: settings[name]["accepted"] for name in names}}
                for question, names in QUESTIONS.items()
            ],
        }

    # --- what there is -----------------------------------------------------------------------------------------------

    def _looking_in(self) -> dict[tuple[str, str], _Control]:
        state = self._state
        return {
            ("GET", "/_sandbox/"): _Control("this page", lambda _body, _query: self._documentation()),
            ("GET", "/_sandbox/ledger"): _Control(
                "every request, item and deviation",
                lambda _body, query: ledger.ledger(state, query),
                {"?parts": "comma-separated: requests, items, deviations", "?since": "requests with a larger id only"},
                "/_sandbox/ledger?parts=deviations",
            ),
            ("GET", "/_sandbox/summary"): _Control(
                "counts, duplicates and orphans; how often each path was answered how, and which faults were applied",
                lambda _body, _query: ledger.summary(state),
            ),
            ("GET", "/_sandbox/limits"): _Control(
                "calls accepted and limited, by user, application and address",
                lambda _body, _query: self._limits(),
            ),
        }

    def _faults(self) -> dict[tuple[str, str], _Control]:
        state = self._state

        def plan(_body: Any, _query: Mapping[str, str]) -> dict[str, Any]:
            return {"faults": state.faults.as_json()}

        def add(body: Any, query: Mapping[str, str]) -> dict[str, Any]:
            state.faults.add(body)
            return plan(body, query)

        def clear(body: Any, query: Mapping[str, str]) -> dict[str, Any]:
            state.faults.clear()
            return plan(body, query)

        return {
            ("GET", "/_sandbox/faults"): _Control("the plan, with how often each fault was seen and applied", plan),
            ("POST", "/_sandbox/faults"): _Control(
                "add faults to the plan; the first that has its turn applies",
                add,
                [faults.documentation()],
                [
                    {
                        "match": {"path": "/stash/publish", "username": "someartist", "nth": 3},
                        "do": "reset_after_commit",
                    },
                    {"match": {"path": "/gallery/*"}, "do": "status", "status": 503, "times": 2},
                    {"match": {"path": "/stash/submit"}, "do": "stall", "seconds": 30, "after_commit": True},
                    {"match": {"path": "/stash/publish"}, "do": "html", "status": 504, "times": None, "chance": 0.1},
                ],
            ),
            ("DELETE", "/_sandbox/faults"): _Control("clear the plan", clear),
            ("GET", "/_sandbox/faults/applied"): _Control(
                "every fault that was applied so far, whoever wanted it, as a plan that can be posted again",
                lambda _body, _query: state.journal.applied_plan(),
            ),
        }

    # --- how it behaves ----------------------------------------------------------------------------------------------

    def _behaviour(self) -> dict[tuple[str, str], _Control]:
        return {
            ("GET", "/_sandbox/profile"): _Control(
                "how the sandbox behaves", lambda _body, _query: self._state.profile.as_json()
            ),
            ("PUT", "/_sandbox/profile"): _Control(
                "change the settings that are named, keep the others",
                lambda body, _query: self._change_profile(body),
                profile.documentation(),
                {"profile": "hostile", "seed": 3, "wait_scale": 0.1, "auto_approve": True},
            ),
            ("GET", "/_sandbox/clock"): _Control("the virtual time", lambda _body, _query: self._clock()),
            ("POST", "/_sandbox/clock"): _Control(
                "advance the virtual time; a negative number takes it back; frozen: it moves only by this control",
                lambda body, _query: self._move_clock(body),
                describe({**_CLOCK, "frozen": boolean().optional()}),
                {"advance_seconds": 3600, "frozen": False},
            ),
            ("GET", "/_sandbox/episodes"): _Control(
                "the bad times that are on", lambda _body, _query: self._episodes()
            ),
            ("POST", "/_sandbox/episodes"): _Control(
                "let bad times come, by the virtual clock",
                lambda body, _query: self._add_episode(body),
                describe(episodes.REQUEST),
                {"kind": "maintenance", "seconds": 120, "in_seconds": 0},
            ),
            ("DELETE", "/_sandbox/episodes"): _Control(
                "end those that were asked for", lambda _body, _query: self._clear_episodes()
            ),
            ("POST", "/_sandbox/network"): _Control(
                "for so many real seconds refuse new connections and end idle ones, the controls' too",
                lambda body, _query: self._change_network(body),
                describe(_NETWORK),
                {"refuse_seconds": 0},
            ),
        }

    def _limits(self) -> dict[str, Any]:
        limiter = self._state.limiter
        return {} if limiter is None else limiter.as_json(self._state.clock.now())

    def _change_profile(self, body: Any) -> dict[str, Any]:
        self._state.change_profile(body)
        return self._state.profile.as_json()

    def _clock(self) -> dict[str, Any]:
        clock = self._state.clock
        return {
            "now": iso(clock.now()),
            "offset_seconds": clock.offset_seconds,
            "frozen": clock.frozen_at is not None,
        }

    def _move_clock(self, body: Any) -> dict[str, Any]:
        freezes = isinstance(body, dict) and "frozen" in body
        given = take(body, _CLOCK_STATE if freezes else _CLOCK)
        if freezes:
            self._state.freeze_clock(frozen=given["frozen"])
        self._state.advance_clock(given["advance_seconds"])
        return self._clock()

    def _episodes(self) -> dict[str, Any]:
        now = self._state.clock.now()
        current = (self._state.episodes.current(now, kind) for kind in episodes.KINDS)
        return {
            "episodes": [
                {"kind": each.kind, "starts_at": iso(each.starts_at), "ends_at": iso(each.ends_at)}
                for each in current
                if each is not None
            ]
        }

    def _add_episode(self, body: Any) -> dict[str, Any]:
        given = take(body, episodes.REQUEST)
        starts_at = self._state.clock.now() + given["in_seconds"]
        self._state.episodes.add(given["kind"], starts_at, given["seconds"])
        return self._episodes()

    def _clear_episodes(self) -> dict[str, Any]:
        self._state.episodes.clear()
        return self._episodes()

    def _change_network(self, body: Any) -> dict[str, Any]:
        given = take(body, _NETWORK)
        if given["refuse_seconds"]:
            self._refuse(given["refuse_seconds"])
        return given

    # --- who there is ------------------------------------------------------------------------------------------------

    def _people(self) -> dict[tuple[str, str], _Control]:
        state = self._state
        return {
            ("GET", "/_sandbox/users"): _Control(
                "all users with their folders", lambda _body, _query: people.all_users(state)
            ),
            ("POST", "/_sandbox/users"): _Control(
                "create a user, or change what is named of an existing one and add the folders that are missing; "
                "publish_refusal: the code that each of their publishes gets",
                lambda body, _query: people.put_user(state, body),
                describe(people.USER),
                {"username": "someartist", "type": "premium", "folders": [{"name": "Oils", "subfolders": ["2026"]}]},
                created=True,
            ),
            ("POST", "/_sandbox/seed"): _Control(
                "give a user, created when needed, a past: folders and published works",
                lambda body, _query: seeding.seed(state, body),
                describe(seeding.SEED),
                {"username": "oldmaster", "deviations": 30, "folders": 6, "premium_folders": 1, "days": 90},
                created=True,
            ),
            ("POST", "/_sandbox/deviations"): _Control(
                "delete a work as its artist would on the website, or bring it back: the newest, or the one of a title",
                lambda body, _query: seeding.change_deviation(state, body),
                describe(seeding.DEVIATION),
                {"username": "oldmaster", "is_deleted": True},
            ),
            ("GET", "/_sandbox/apps"): _Control(
                "the registered applications, without their secrets", lambda _body, _query: people.all_apps(state)
            ),
            ("POST", "/_sandbox/apps"): _Control(
                "register an application, or replace the one with this id; no secret: a public one; no redirect URI: "
                "any loopback address",
                lambda body, _query: people.register_app(state, body),
                describe(people.APP),
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
                lambda body, _query: people.issue_tokens(state, body, default_client_id=self._default_client_id),
                describe(people.TOKENS),
                {"username": "someartist", "scopes": ["basic", "user"]},
                created=True,
            ),
            ("POST", "/_sandbox/revoke"): _Control(
                "the user takes back what they allowed an application, or all of them",
                lambda body, _query: people.revoke(state, body),
                describe(people.REVOKE),
                {"username": "someartist"},
            ),
        }

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
