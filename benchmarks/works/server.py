"""A DeviantArt that costs next to nothing: the calls of a publisher, answered after fixed times, each arrival noted.

One asyncio protocol without a framework, so that the server is not what a benchmark measures. It has no limits unless
it is told to, takes every token and every item, and publishes an item once. Times are this machine's, which is the
database's clock too. ``python -m benchmarks.works.server`` prints the address that it listens at.
"""

import asyncio
import gc
import json
import sys
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

from deviantart.sandbox.limits import Limiter

API = "/api/v1/oauth2/"
KINDS = {
    f"{API}stash/submit": "submit",
    f"{API}stash/publish": "publish",
    f"{API}gallery/all": "look",
    f"{API}placebo": "placebo",
    "/oauth2/token": "token",
}
STALL_SECONDS = 3600.0
LIMITS: dict[str, Any] = {
    "application": None,
    "ip": None,
    "penalty_seconds": 4,
    "penalty_factor": 2,
    "penalty_max_seconds": 1800,
    "penalty_decay_seconds": 60,
    "weights": {},
}


@dataclass
class State:
    """What all connections share."""

    seconds: dict[str, float] = field(default_factory=lambda: {"submit": 0.3, "publish": 0.2})
    stalled: set[str] = field(default_factory=set)
    limiter: Limiter | None = None
    calls: list[tuple[str, str, int, float, int]] = field(default_factory=list)
    """Kind, account, item (0 for none), when its first byte arrived, and the status that it is answered with."""
    published: set[int] = field(default_factory=set)
    # Never the same as those of a server before, whose works are in the tables still.
    last_item: int = field(default_factory=lambda: time.time_ns() // 1000)

    def answer(self, kind: str, account: str, body: bytes, arrived_at: float) -> tuple[int, dict[str, Any], float]:
        """The status, the body, and the seconds to wait before it is sent."""
        item, status, answer = 0, 200, {"status": "success"}
        if self.limiter and self.limiter.admit(arrived_at, KIND_PATHS.get(kind, "/"), _callers(account)):
            status = 429
            answer = {"status": "error", "error": "user_api_threshold", "error_description": "User request limit."}
        elif kind == "submit":
            self.last_item += 1
            item = self.last_item
            answer |= {"itemid": item, "stackid": item}  # type: ignore[dict-item]
        elif kind == "publish":
            item = int(parse_qs(body.decode())["itemid"][0])
            status, answer = self._publish(item)
        elif kind == "look":
            answer = {"results": [], "has_more": False}  # type: ignore[dict-item]
        elif kind == "token":
            answer |= {"access_token": f"access-{account}", "refresh_token": "refresh-again", "expires_in": 86_400}  # type: ignore[dict-item]
        self.calls.append((kind, account, item, arrived_at, status))
        seconds = STALL_SECONDS if account in self.stalled else self.seconds.get(kind, 0.0)
        return status, answer, seconds if status == 200 else 0.0

    def _publish(self, item: int) -> tuple[int, dict[str, Any]]:
        if item in self.published:
            words = {"error": "invalid_request", "error_description": "Already published.", "error_code": 9}
            return 400, {"status": "error", **words}
        self.published.add(item)
        name = f"{item:032X}"
        deviation_id = f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"
        url = f"https://www.deviantart.com/artist/art/Work-{item}"
        return 200, {"status": "success", "deviationid": deviation_id, "url": url}

    def control(self, path: str, body: bytes) -> dict[str, Any]:
        match path:
            case "/_benchmark/calls":
                return {"calls": self.calls}
            case "/_benchmark/counts":
                kinds: dict[str, int] = {}
                for kind, _account, _item, _at, status in self.calls:
                    name = kind if status == 200 else str(status)
                    kinds[name] = kinds.get(name, 0) + 1
                return kinds
            case "/_benchmark/profile":
                wanted = json.loads(body)
                self.seconds |= wanted.get("seconds", {})
                self.stalled = set(wanted.get("stalled", self.stalled))
                if "user_limit" in wanted:
                    limit = wanted["user_limit"]
                    self.limiter = limit and Limiter({**LIMITS, "user": {**limit, "steps": []}}, time.time())
                return {}
            case "/_benchmark/reset":
                self.calls, self.stalled, self.limiter = [], set(), None
                return {}
        return {"error": "not_found"}


KIND_PATHS = {kind: path for path, kind in KINDS.items()}


def _callers(account: str) -> dict[str, str | None]:
    return {"user": account, "application": None, "ip": None}


class Connection(asyncio.Protocol):
    """One connection; its requests one after the other. Bodies of uploads are counted and thrown away."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._transport: asyncio.Transport
        self._head = b""
        self._kept = bytearray()
        self._left = -1  # of the body; -1 while the head is not complete
        self._arrived_at = 0.0
        self._path = self._account = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if self._left < 0:
                data = self._take_head(data)
                if self._left < 0:
                    return
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            if len(self._kept) < 64 * 1024 and not self._path.endswith("/submit"):
                self._kept += piece
            if self._left == 0:
                self._answer()

    def _take_head(self, data: bytes) -> bytes:
        if not self._head:
            self._arrived_at = time.time()
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return b""
        lines = head.decode("latin-1").split("\r\n")
        self._path = lines[0].split(" ")[1].partition("?")[0]
        self._left, self._account = 0, ""
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                self._left = int(value)
            elif name.lower() == "authorization":
                self._account = value.strip().removeprefix("Bearer access-")
        self._head, self._kept = b"", bytearray()
        if self._left == 0:
            self._answer()
        return rest

    def _answer(self) -> None:
        self._left = -1
        kind = KINDS.get(self._path)
        if kind is None:
            self._send(200, self._state.control(self._path, bytes(self._kept)))
            return
        status, answer, seconds = self._state.answer(kind, self._account, bytes(self._kept), self._arrived_at)
        if seconds:
            # From the arrival of the whole request on: how long it took to get here is no time of DeviantArt's.
            asyncio.get_running_loop().call_later(seconds, self._send, status, answer)
        else:
            self._send(status, answer)

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if not self._transport.is_closing():
            self._transport.write(f"{head}Date: {formatdate(usegmt=True)}\r\n\r\n".encode() + body)


async def serve() -> None:
    state = State()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(state), "127.0.0.1", 0, backlog=2048)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    # A collection over all the notes would be a pause in the middle of a measurement.
    gc.freeze()
    gc.disable()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
