"""What is done to a request: the truth, or what the plan, the limits or chance have for it instead."""

import zlib
from collections.abc import Awaitable, Callable

from deviantart.sandbox import door
from deviantart.sandbox.call import Call
from deviantart.sandbox.errors import ApiError, server_error
from deviantart.sandbox.exchange import Exchange, Request, Response, json_response
from deviantart.sandbox.faults import Fault, unscripted
from deviantart.sandbox.latency import seconds_for
from deviantart.sandbox.state import State

_COMPRESSIBLE = ("application/json", "text/")
_SPACE_SECONDS = 1.0
_NO_ANSWER = frozenset({"reset_before", "reset_after_commit", "refuse_connections"})


class Treatment:
    """``act`` gives the true answer and has then committed what it changes; ``refuse`` closes the listener."""

    def __init__(
        self, state: State, act: Callable[[Call], Awaitable[Response]], refuse: Callable[[float], None]
    ) -> None:
        self._state = state
        self._act = act
        self._refuse = refuse

    async def treat(self, exchange: Exchange, call: Call) -> None:
        if fault := self._state.faults.pick(call.entry, call.rolls):
            cause = "plan"
        elif call.is_api and call.request.is_welcome():
            if refusal := door.turned_away(call):
                await self._strike(*refusal, exchange, call)
                return
            if chosen := self._by_chance(call):
                fault, cause = chosen
        seconds = self._latency(call)
        if fault is None and self._is_answered_early(call):
            await self._answer_early(exchange, call, seconds)
            return
        await exchange.pause(seconds)
        if fault is None:
            await self._answer(exchange, call)
        elif fault.after_commit:
            await self._act_and_strike(fault, cause, exchange, call)
        else:
            await self._strike(fault, cause, exchange, call)

    def finished(self, request: Request, response: Response) -> Response:
        """With its date, and compressed for whoever takes it so."""
        response.headers["Date"] = self._state.clock.http_date()
        if response.file is None and response.content_type.startswith(_COMPRESSIBLE) and request.accepts_gzip():
            compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
            response.body = compressor.compress(response.body) + compressor.flush()
            response.headers["Content-Encoding"] = "gzip"
        return response

    # --- which fault -------------------------------------------------------------------------------------------------

    def _by_chance(self, call: Call) -> tuple[Fault, str] | None:
        if fault := self._state.drawn_faults.pick(call.entry, call.rolls):
            return fault, "drawn"
        return door.server_error(call)

    def _latency(self, call: Call) -> float:
        settings = self._state.profile.latency_ms
        if not settings:
            return 0.0
        megabytes = call.upload.size / 1_000_000 if call.upload else 0.0
        seconds = seconds_for(settings, call.entry.path, share=call.rolls.share("latency"), megabytes=megabytes)
        call.entry.latency_seconds = round(seconds, 6)
        return seconds * self._state.profile.wait_scale

    # --- the truth ---------------------------------------------------------------------------------------------------

    async def _answer(self, exchange: Exchange, call: Call) -> None:
        response = self.finished(call.request, await self._act(call))
        call.entry.status = response.status
        _note_delivery(call, delivered=await exchange.send(response), status=response.status)

    def _is_answered_early(self, call: Call) -> bool:
        threshold = self._state.profile.early_answer_bytes
        if threshold is None or call.upload is None or call.upload.size < threshold:
            return False
        try:
            call.authorise()
        except ApiError:
            return False  # who may not upload is told so by the status
        return True

    async def _answer_early(self, exchange: Exchange, call: Call, seconds: float) -> None:
        """Say 200 at once, keep the line open with spaces, and let the body tell in the end how it went."""
        early = Response(200, content_type="application/json; charset=utf-8")
        early.headers["Date"] = self._state.clock.http_date()
        call.entry.status = 200
        await exchange.send_early(early)
        step = _SPACE_SECONDS * self._state.profile.wait_scale
        while seconds > 0:
            await exchange.send_chunk(b" ")
            await exchange.pause(min(step, seconds))
            seconds -= step if step else seconds
        outcomes = self._state.profile.early_answer_outcomes
        share = call.rolls.share("early answer")
        if share < outcomes["error"]:
            fault = unscripted("status", status=200, body=server_error().envelope())
            body = fault.answer().body
        elif share < outcomes["error"] + outcomes["nothing"]:
            fault = unscripted("blank", status=200, after_commit=True)
            await self._act(call)
            body = b" " * 20
        else:
            body = (await self._act(call)).body
            await exchange.send_chunk(body)
            _note_delivery(call, delivered=await exchange.send_chunk(b""), status=200)
            return
        _note_fault(call, fault, "early answer")
        await exchange.send_chunk(body)
        await exchange.send_chunk(b"")

    # --- faults ------------------------------------------------------------------------------------------------------

    async def _act_and_strike(self, fault: Fault, cause: str, exchange: Exchange, call: Call) -> None:
        """Do what was asked, then end the exchange as the fault wants it; a call that was refused is told so."""
        response = self.finished(call.request, await self._act(call))
        entry = call.entry
        entry.status = response.status
        if response.status >= 400:
            if cause == "plan":
                self._state.faults.give_back(fault)
            _note_delivery(call, delivered=await exchange.send(response), status=response.status)
            return
        _note_fault(call, fault, cause)
        match fault.do:
            case "truncate":
                await exchange.send_cut(response, len(response.body) // 2)
            case "stall":
                if await exchange.wait(fault.options["seconds"] * self._state.profile.wait_scale):
                    entry.delivered = await exchange.send(response)
            case "drip":
                pause = self._state.profile.wait_scale / fault.options["bytes_per_second"]
                entry.delivered = await exchange.send_slowly(response, pause)
            case "close_keep_alive":
                entry.delivered = await exchange.send(response)
                exchange.reset_next = fault.options["late"]
                exchange.keep_alive = exchange.keep_alive and exchange.reset_next
            case _:
                await self._answer_falsely(fault, exchange, call)

    async def _strike(self, fault: Fault, cause: str, exchange: Exchange, call: Call) -> None:
        """End the exchange as the fault wants it; nothing happens, except after a stall."""
        _note_fault(call, fault, cause)
        match fault.do:
            case "stall":
                if await exchange.wait(fault.options["seconds"] * self._state.profile.wait_scale):
                    await self._answer(exchange, call)
            case "truncate":
                # What is seen of it must look like the beginning of a true answer.
                pretence = json_response({"status": "success", "url": f"{self._state.base_url}/{call.entry.id}"})
                response = self.finished(call.request, pretence)
                call.entry.status = response.status
                await exchange.send_cut(response, len(response.body) // 2)
            case _:
                await self._answer_falsely(fault, exchange, call)

    async def _answer_falsely(self, fault: Fault, exchange: Exchange, call: Call) -> None:
        entry = call.entry
        if fault.do in _NO_ANSWER:
            entry.status = None
            if fault.do == "refuse_connections":  # first, so that whoever sees the reset finds the door closed
                self._refuse(fault.options["seconds"] * self._state.profile.wait_scale)
            exchange.reset()
            return
        response = self.finished(call.request, fault.answer())
        entry.status = response.status
        await exchange.send(response)


def _note_fault(call: Call, fault: Fault, cause: str) -> None:
    call.entry.fault, call.entry.cause, call.entry.deed = fault.do, cause, fault.deed()


def _note_delivery(call: Call, *, delivered: bool, status: int) -> None:
    """An error that was sent although something was done is not the true answer."""
    call.entry.delivered = delivered and not (call.entry.committed and status >= 400)
