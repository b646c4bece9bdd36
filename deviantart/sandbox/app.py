"""From a request to its answer: read it, find out who asks, apply what the plan has for it, act, answer."""

import asyncio
import re
import traceback
import zlib
from collections.abc import Iterable

from deviantart.sandbox import deviation, gallery, media, oauth, pages, stash, users, works
from deviantart.sandbox.call import Call, Endpoint
from deviantart.sandbox.clock import iso
from deviantart.sandbox.controls import Controls
from deviantart.sandbox.errors import ApiError, cloudfront_page, endpoint_not_found, server_error, unknown_version
from deviantart.sandbox.faults import Fault, path_matches
from deviantart.sandbox.multipart import MAX_FIELDS_BYTES, MultipartParser, Upload, boundary_of
from deviantart.sandbox.params import Params, parse_form
from deviantart.sandbox.server import Exchange, Request, Response, json_response
from deviantart.sandbox.state import State

API_BASE = "/api/v1/oauth2"
MINOR_VERSIONS = frozenset(
    {
        "20240701", "20210526", "20200519", "20200317", "20160316", "20151202", "20151014", "20150824", "20150416",
        "20150406", "20150217", "20150106", "20141204", "20141114",
    }
)  # fmt: skip
_UNKNOWN_KEYS = ["experimental_flags", "rollout_group", "x_hint", "experience_version"]
_COMPRESSIBLE = ("application/json", "text/")
_FILE_PATH = re.compile(r"/f/(?P<id>[0-9A-Fa-f-]{36})/(?:(?P<size>\d{2,4})/)?[^/]+")


class Sandbox:
    """Everything behind the HTTP server."""

    def __init__(self, state: State, controls: Controls) -> None:
        self.state = state
        self._controls = controls
        self._scaling = asyncio.Lock()
        self._exact: dict[tuple[str, str], Endpoint] = {}
        self._patterns: list[tuple[str, re.Pattern[str], Endpoint]] = []
        self._register("", oauth.ENDPOINTS)
        for module in (users, stash, gallery, deviation):
            self._register(API_BASE, module.ENDPOINTS)

    async def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path == "/_sandbox" or request.path.startswith("/_sandbox/"):
            await exchange.send(self._finished(request, await self._controls.answer(exchange)))
            return
        now = self.state.clock.now()
        entry = self.state.journal.begin(time=iso(now), method=request.method, path=request.path)
        endpoint, path_id = self._find(request)
        call = Call(self.state, request, endpoint, entry, arrived_at=now, path_id=path_id)
        try:
            await self._read(exchange, call)
            self._identify(call)
            await self._wait(call)
            await self._treat(exchange, call)
        finally:
            if call.upload is not None:
                call.upload.discard()
            self._settle(call)
            self.state.journal.end(entry)

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
        """Read the whole body, whatever will become of it: DeviantArt judges even the token only afterwards."""
        request = exchange.request
        query = parse_form(request.query)
        call.query_token = next((value for name, value in query if name == "access_token"), None)
        pairs = [(name, value) for name, value in query if name != "access_token"]
        if boundary := boundary_of(request.content_type):
            pairs += await self._read_multipart(exchange, call, boundary)
        else:
            pairs += await self._read_form(exchange)
        call.params = Params(pairs)

    async def _read_multipart(self, exchange: Exchange, call: Call, boundary: str) -> list[tuple[str, str]]:
        takes_file = call.endpoint is not None and call.endpoint.takes_file
        parser = MultipartParser(boundary, self._open_upload if takes_file else None)
        try:
            async for piece in exchange.body(self.state.profile.bandwidth_bytes_per_second):
                parser.feed(piece)
        finally:
            if not parser.complete:
                parser.discard()
        if not parser.complete:
            return []  # as PHP has it: a body that breaks the rules is an empty one
        call.upload, call.nameless_file = parser.upload, parser.nameless_file
        return parser.fields

    async def _read_form(self, exchange: Exchange) -> list[tuple[str, str]]:
        body = bytearray()
        async for piece in exchange.body(self.state.profile.bandwidth_bytes_per_second):
            if len(body) <= MAX_FIELDS_BYTES:
                body += piece
        is_form = exchange.request.content_type.startswith("application/x-www-form-urlencoded")
        return parse_form(body.decode("utf-8", "replace")) if is_form and len(body) <= MAX_FIELDS_BYTES else []

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
        call.find_token()
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

    async def _wait(self, call: Call) -> None:
        waits = self.state.profile.latency_ms
        for pattern in sorted(waits, key=lambda pattern: ("*" in pattern, -len(pattern))):
            if path_matches(pattern, call.entry.path):
                await asyncio.sleep(waits[pattern] / 1000)
                return

    # --- acting ------------------------------------------------------------------------------------------------------

    async def _treat(self, exchange: Exchange, call: Call) -> None:
        entry = call.entry
        fault = self.state.faults.pick(method=entry.method, path=entry.path, username=entry.username, title=entry.title)
        if fault is not None and not fault.after_commit:
            entry.fault = fault.do
            if fault.do != "stall":
                # Only a truncated answer shows something of this one, and it must look like the true one.
                pretence = json_response({"status": "success", "url": f"{self.state.base_url}/{entry.id}"})
                await self._apply(fault, exchange, call, self._finished(call.request, pretence))
                return
            if not await self._stall(fault, exchange):
                return
        response = self._finished(call.request, await self._act(call))
        entry.status = response.status
        if fault is not None and fault.after_commit:
            if response.status < 400:
                entry.fault = fault.do
                await self._apply(fault, exchange, call, response)
                return
            self.state.faults.give_back(fault)
        entry.delivered = await exchange.send(response)

    async def _act(self, call: Call) -> Response:
        """The true answer. Everything that it changes is committed when this returns."""
        path = call.request.path
        if not path.startswith(("/api/", "/oauth2/")):
            return await self._show(call)
        if not call.request.headers.get("user-agent") or not call.request.accepts_gzip():
            return cloudfront_page(403)
        try:
            if path.startswith("/api/"):
                self._check_version(call.request)
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
        if self.state.dice.happens(self.state.profile.extra_key_chance):
            answer = {**answer, self.state.dice.pick(_UNKNOWN_KEYS): None}
        return json_response(answer)

    def _check_version(self, request: Request) -> None:
        minor = request.headers.get("da-minor-version")
        if minor is not None and minor not in MINOR_VERSIONS:
            raise unknown_version(minor)

    async def _show(self, call: Call) -> Response:
        """What a browser sees: pages and pictures."""
        request = call.request
        if request.method not in {"GET", "HEAD"}:
            return pages.not_found()
        if match := _FILE_PATH.fullmatch(request.path):
            return await self._file(match["id"], int(match["size"]) if match["size"] else None)
        return pages.show(self.state, request.path, call.params)

    async def _file(self, deviationid: str, size: int | None) -> Response:
        """An uploaded file, or a smaller copy of it; what is no picture has none and is sent as it is."""
        work = works.find_work(self.state, deviationid)
        if work is None or size not in {None, *works.THUMB_SIZES, works.PREVIEW_SIZE}:
            return pages.not_found()
        original = self.state.store.file(work["sha256"])
        # No content of strangers runs in the sandbox's origin.
        headers = {
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        }
        if size is not None and work["kind"] == "image":
            copy = self.state.store.thumbnail(work["sha256"], size)
            try:
                async with self._scaling:
                    if not copy.exists():
                        await asyncio.get_running_loop().run_in_executor(None, media.scale, original, copy, size)
            except (OSError, ValueError, SyntaxError):
                pass  # a picture that cannot be decoded is shown as it is
            else:
                content_type = "image/png" if media.is_png(copy) else "image/jpeg"
                return Response(content_type=content_type, headers=headers, file=copy)
        if work["kind"] == "other":
            headers["Content-Disposition"] = "attachment"
        return Response(content_type=work["content_type"], headers=headers, file=original)

    # --- answering ---------------------------------------------------------------------------------------------------

    def _finished(self, request: Request, response: Response) -> Response:
        response.headers["Date"] = self.state.clock.http_date()
        if response.file is None and response.content_type.startswith(_COMPRESSIBLE) and request.accepts_gzip():
            compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
            response.body = compressor.compress(response.body) + compressor.flush()
            response.headers["Content-Encoding"] = "gzip"
        return response

    async def _apply(self, fault: Fault, exchange: Exchange, call: Call, true_answer: Response) -> None:
        """End the exchange as the fault wants it; the client never gets the true answer, except after a stall."""
        entry = call.entry
        match fault.do:
            case "reset_before" | "reset_after_commit":
                entry.status = None
                exchange.reset()
            case "truncate":
                entry.status = true_answer.status
                await exchange.send_cut(true_answer, len(true_answer.body) // 2)
            case "stall":
                if await self._stall(fault, exchange):
                    entry.delivered = await exchange.send(true_answer)
            case _:
                response = self._finished(call.request, fault.answer())
                entry.status = response.status
                await exchange.send(response)

    async def _stall(self, fault: Fault, exchange: Exchange) -> bool:
        """Wait. False when the client went away meanwhile."""
        try:
            await asyncio.wait_for(exchange.gone.wait(), fault.options["seconds"])
        except TimeoutError:
            return True
        exchange.keep_alive = False
        return False

    def _settle(self, call: Call) -> None:
        """Write down whether the answer about a new item or deviation arrived."""
        entry = call.entry
        if not entry.committed:
            return
        if entry.deviationid is not None:
            self.state.store.run(
                "UPDATE deviations SET delivered = ?, answered_at = ? WHERE deviationid = ?",
                entry.delivered,
                self.state.clock.now(),
                entry.deviationid,
            )
        elif entry.itemid is not None:
            self.state.store.run("UPDATE items SET delivered = ? WHERE itemid = ?", entry.delivered, entry.itemid)
