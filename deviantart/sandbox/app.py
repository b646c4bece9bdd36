"""From a request to its answer: read it, find out who asks, act. What is done to it meanwhile is the treatment's."""

import re
import traceback
from collections.abc import AsyncIterator, Callable, Iterable

from deviantart.sandbox import authorize, browse, deviation, folders, gallery, oauth, pages, publish, submit, users
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.clock import iso
from deviantart.sandbox.controls import Controls
from deviantart.sandbox.dice import Rolls
from deviantart.sandbox.errors import ApiError, cloudfront_page, endpoint_not_found, server_error, unknown_version
from deviantart.sandbox.exchange import ClientGone, Exchange, Request, Response, json_response
from deviantart.sandbox.faults import Fault
from deviantart.sandbox.files import Files
from deviantart.sandbox.multipart import MAX_FIELDS_BYTES, MultipartParser, Upload, boundary_of
from deviantart.sandbox.params import Params, parse_form
from deviantart.sandbox.state import State
from deviantart.sandbox.treatment import Treatment

API_BASE = "/api/v1/oauth2"
MINOR_VERSIONS = frozenset(
    {
        "20240701", "20210526", "20200519", "20200317", "20160316", "20151202", "20151014", "20150824", "20150416",
        "20150406", "20150217", "20150106", "20141204", "20141114",
    }
)  # fmt: skip
_UNKNOWN_KEYS = ["experimental_flags", "rollout_group", "x_hint", "experience_version"]


class Sandbox:
    """Everything behind the HTTP server."""

    def __init__(self, state: State, controls: Controls, refuse: Callable[[float], None]) -> None:
        self.state = state
        self._controls = controls
        self._files = Files(state)
        self._treatment = Treatment(state, self._act, refuse)
        self._exact: dict[tuple[str, str], Endpoint] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Endpoint]] = []
        for module in (authorize, oauth):
            self._register("", module.ENDPOINTS)
        for module in (users, submit, publish, gallery, folders, deviation, browse):
            self._register(API_BASE, module.ENDPOINTS)

    async def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path == "/_sandbox" or request.path.startswith("/_sandbox/"):
            response = await self._controls.answer(exchange)
            await exchange.send(self._treatment.finished(request, response))
            return
        entry = self.state.journal.begin(time=iso(self.state.clock.now()), method=request.method, path=request.path)
        entry.ip = exchange.ip
        endpoint, path_id = self._find(request)
        call = Call(self.state, request, endpoint, entry, path_id=path_id)
        try:
            call.find_token()
            await self._read(exchange, call)
            self._identify(call)
            await self._treatment.treat(exchange, call)
        finally:
            if call.upload is not None:
                call.upload.discard()
            self._settle(call)
            self.state.journal.end(entry, time=iso(self.state.clock.now()))

    # --- understanding -----------------------------------------------------------------------------------------------

    def _register(self, base: str, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            for method in endpoint.methods.split():
                if "(?P<id>" in endpoint.path:
                    self._patterns.append((method, re.compile(base + endpoint.path), endpoint))
                else:
                    self._exact[method, base + endpoint.path] = endpoint

    def _find(self, request: Request) -> tuple[Endpoint | None, str | None]:
        if endpoint := self._exact.get((request.method, request.path)):
            return endpoint, None
        for method, pattern, endpoint in self._patterns:
            if method == request.method and (match := pattern.fullmatch(request.path)):
                return endpoint, match["id"]
        return None, None

    async def _read(self, exchange: Exchange, call: Call) -> None:
        """Read the whole body, whatever will become of it: DeviantArt judges even the token only afterwards.

        Raises ClientGone when it, or a fault, has ended the connection meanwhile.
        """
        request = exchange.request
        query = parse_form(request.query)
        call.query_token = next((value for name, value in query if name == "access_token"), None)
        pairs = [(name, value) for name, value in query if name != "access_token"]
        if boundary := boundary_of(request.content_type):
            pairs += await self._read_multipart(exchange, call, boundary)
        else:
            pairs += await self._read_form(exchange, call)
        call.params = Params(pairs)

    async def _read_multipart(self, exchange: Exchange, call: Call, boundary: str) -> list[tuple[str, str]]:
        takes_file = call.endpoint is not None and call.endpoint.takes_file
        parser = MultipartParser(boundary, self._open_upload if takes_file else None)
        resets_oversize = self.state.profile.oversize == "reset"
        try:
            async for piece in self._body(exchange, call):
                parser.feed(piece)
                if resets_oversize and parser.upload is not None and parser.upload.too_large:
                    call.entry.fault, call.entry.cause = "reset_in_body", "oversize"
                    exchange.reset()
                    raise ClientGone
        finally:
            if not parser.complete:
                parser.discard()
        if not parser.complete:
            return []  # as PHP has it: a body that breaks the rules is an empty one
        call.upload, call.nameless_file = parser.upload, parser.nameless_file
        return parser.fields

    async def _read_form(self, exchange: Exchange, call: Call) -> list[tuple[str, str]]:
        body = bytearray()
        async for piece in self._body(exchange, call):
            if len(body) <= MAX_FIELDS_BYTES:
                body += piece
        is_form = exchange.request.content_type.startswith("application/x-www-form-urlencoded")
        return parse_form(body.decode("utf-8", "replace")) if is_form and len(body) <= MAX_FIELDS_BYTES else []

    async def _body(self, exchange: Exchange, call: Call) -> AsyncIterator[bytes]:
        """The body as fast as the connection is, with the fault that strikes it on its way."""
        fault = self._body_fault(call) if exchange.announced_bytes else None
        received = 0
        async for piece in exchange.body(self._bytes_per_second(exchange.connection_number)):
            received += len(piece)
            if fault is not None and received >= fault.options["share"] * exchange.announced_bytes:
                if fault.do == "reset_in_body":
                    self.state.faults.count(call.entry)
                    exchange.reset()
                    raise ClientGone
                await exchange.pause(fault.options["seconds"] * self.state.profile.wait_scale)
                fault = None
            yield piece

    def _body_fault(self, call: Call) -> Fault | None:
        plan, drawn = self.state.faults, self.state.drawn_faults
        if not (plan.strikes_bodies() or drawn.strikes_bodies()):
            return None
        rolls = self.state.rolls(f"body of {call.about}")
        if fault := plan.pick(call.entry, rolls, in_body=True):
            call.entry.cause = "plan"
        elif fault := drawn.pick(call.entry, rolls, in_body=True):
            call.entry.cause = "drawn"
        if fault is not None:
            call.entry.fault, call.entry.deed = fault.do, fault.deed()
        return fault

    def _bytes_per_second(self, connection_number: int) -> float | None:
        setting, scale = self.state.profile.bandwidth_bytes_per_second, self.state.profile.wait_scale
        if setting is None or scale == 0:
            return None
        if isinstance(setting, dict):
            share = Rolls(self.state.profile.seed, f"connection {connection_number}").share("bandwidth")
            setting = setting["min"] * (setting["max"] / setting["min"]) ** share
        return float(setting / scale)

    def _open_upload(self, filename: str, content_type: str) -> Upload:
        return Upload(
            self.state.store.uploads,
            filename=filename,
            content_type=content_type,
            max_bytes=self.state.profile.max_file_bytes,
        )

    def _identify(self, call: Call) -> None:
        """Find out who asks and about what, so that the journal and the faults know it even of refused calls."""
        entry, params = call.entry, call.params
        if call.token is None:
            call.find_token()  # it may stand in the body
        if entry.path.startswith("/oauth2/"):
            entry.username = oauth.owner_of(call)
            entry.grant_type = params.text("grant_type")
        elif entry.path.endswith(("/stash/submit", "/stash/publish")):
            entry.title = params.text("title")
            if call.upload is not None:
                entry.sha256 = call.upload.sha256
            itemid = params.text("itemid") or ""
            if itemid.isascii() and itemid.isdecimal() and len(itemid) <= 18:
                entry.itemid = int(itemid)
                if entry.title is None:
                    entry.title = self.state.store.value("SELECT title FROM items WHERE itemid = ?", entry.itemid)
        call.rolls = self.state.rolls(call.about)

    # --- acting ------------------------------------------------------------------------------------------------------

    async def _act(self, call: Call) -> Response:
        """The true answer. Everything that it changes is committed when this returns."""
        request = call.request
        if not call.is_api:
            if request.method not in {"GET", "HEAD"}:
                return pages.not_found()
            return await self._files.show(request.path) or pages.show(self.state, request.path, call.params)
        if not request.is_welcome():
            return cloudfront_page(403)
        try:
            if request.path.startswith("/api/"):
                self._check_version(request)
            if call.endpoint is None:
                raise endpoint_not_found()
            call.find_token()  # again: it may have been revoked while this call waited
            call.authorise()
            if call.endpoint.writes:
                with self.state.store.transaction():
                    answer = call.endpoint.handler(call)
            else:
                answer = call.endpoint.handler(call)
        except ApiError as error:
            call.entry.committed = False
            call.entry.error, call.entry.error_code = error.error, error.code
            return json_response(error.envelope(), error.status)
        except Exception:  # noqa: BLE001 - a bug of the sandbox: shown on stderr, and the client gets a 500
            traceback.print_exc()
            call.entry.committed = False
            return json_response(server_error().envelope(), 500)
        if isinstance(answer, Response):
            return answer
        if call.rolls.happens("extra key", self.state.profile.extra_key_chance):
            answer = {**answer, call.rolls.pick("which extra key", _UNKNOWN_KEYS): None}
        return json_response(answer)

    def _check_version(self, request: Request) -> None:
        minor = request.headers.get("da-minor-version")
        if minor is not None and minor not in MINOR_VERSIONS:
            raise unknown_version(minor)

    def _settle(self, call: Call) -> None:
        """Write down whether the answer about a new item or deviation arrived."""
        entry = call.entry
        if not entry.committed:
            return
        if entry.deviationid is not None:
            self.state.store.run(
                "UPDATE deviations SET delivered = ?, answered_at = ?, answered_before = ? WHERE deviationid = ?",
                entry.delivered,
                self.state.clock.now(),
                self.state.journal.next_id,
                entry.deviationid,
            )
        elif entry.itemid is not None:
            self.state.store.run("UPDATE items SET delivered = ? WHERE itemid = ?", entry.delivered, entry.itemid)
