"""HTTP/1.1 by hand, on asyncio: a stand-in must be able to do what no web server would, such as reset or break off.

One event loop serves every connection, so whatever runs between two awaits is atomic. Bodies are read only as fast as
they are consumed and never collected here.
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

CHUNK_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
IDLE_SECONDS = 75
_REOPEN_SECONDS = 0.05
REASONS = {
    200: "OK",
    302: "Found",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class MalformedRequest(Exception):
    """The bytes on the wire are no request; the connection ends after a 400."""


class ClientGone(Exception):
    """The client closed or reset the connection before its request was complete."""


@dataclass
class Response:
    status: int = 200
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None  # sent instead of the body, piece by piece


def json_response(payload: Any, status: int = 200, *, indent: int | None = None) -> Response:
    body = json.dumps(payload, indent=indent, ensure_ascii=False).encode()
    return Response(status, body, "application/json; charset=utf-8")


@dataclass
class Request:
    method: str
    path: str  # unquoted, without the query
    query: str  # as it came
    headers: dict[str, str]  # names in lower case

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def accepts_gzip(self) -> bool:
        for offer in self.headers.get("accept-encoding", "").lower().split(","):
            coding, _, weight = offer.partition(";")
            if coding.strip() == "gzip":
                return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
        return False

    def is_welcome(self) -> bool:
        """What the network in front of DeviantArt lets pass: a client that names itself and takes gzip."""
        return bool(self.headers.get("user-agent")) and self.accepts_gzip()


@dataclass(eq=False)
class _Connection:
    """``number`` counts connections from 1; ``busy`` while a request is on its way through."""

    number: int
    writer: asyncio.StreamWriter
    gone: asyncio.Event
    busy: bool = False


class _Protocol(asyncio.StreamReaderProtocol):
    """Streams, plus an event for "the other side has gone", which a stalled answer waits for."""

    def __init__(
        self, reader: asyncio.StreamReader, connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
    ) -> None:
        super().__init__(reader, connected)
        self.gone = asyncio.Event()

    def eof_received(self) -> bool | None:
        self.gone.set()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        super().connection_lost(exc)


class Exchange:
    """One request on one connection, and the ways in which it can be answered, or not."""

    def __init__(self, request: Request, reader: asyncio.StreamReader, connection: _Connection) -> None:
        self.request = request
        self.gone = connection.gone
        self.connection_number = connection.number
        self.keep_alive = request.headers.get("connection", "").lower() != "close"
        self.reset_next = False  # reset the connection as the next request comes on it
        self._reader = reader
        self._writer = connection.writer
        self._body_read = False

    @property
    def ip(self) -> str:
        peer = self._writer.get_extra_info("peername")
        return str(peer[0]) if peer else ""  # it may have gone before it was accepted

    @property
    def announced_bytes(self) -> int:
        """The length of the body as the head has it; 0 when it does not say."""
        length = self.request.headers.get("content-length", "")
        return int(length) if length.isdecimal() else 0

    async def body(self, bytes_per_second: float | None = None) -> AsyncIterator[bytes]:
        """The body in pieces of at most 64 KiB. Raises ClientGone when it ends before its announced length."""
        self._body_read = True
        headers = self.request.headers
        if headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        loop = asyncio.get_running_loop()
        started, received = loop.time(), 0
        try:
            async for piece in self._pieces():
                received += len(piece)
                if bytes_per_second is not None:
                    await asyncio.sleep(started + received / bytes_per_second - loop.time())
                yield piece
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ClientGone from error

    async def _pieces(self) -> AsyncIterator[bytes]:
        headers = self.request.headers
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := _chunk_size(await self._line()):
                async for piece in self._exactly(size):
                    yield piece
                await self._reader.readexactly(2)
            while await self._line():
                pass  # trailers
        elif length := headers.get("content-length"):
            if not length.isdecimal():
                raise MalformedRequest("Content-Length is no number")
            async for piece in self._exactly(int(length)):
                yield piece

    async def _exactly(self, length: int) -> AsyncIterator[bytes]:
        while length:
            piece = await self._reader.read(min(length, CHUNK_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", length)
            length -= len(piece)
            yield piece

    async def _line(self) -> bytes:
        try:
            return (await self._reader.readuntil(b"\r\n"))[:-2]
        except asyncio.LimitOverrunError as error:
            raise MalformedRequest("a chunk has no size") from error

    async def finish_body(self) -> None:
        """Read what nobody asked for, so that the next request on this connection starts where it should."""
        if not self._body_read:
            async for _ in self.body():
                pass

    async def send(self, response: Response) -> bool:
        """Answer. True when every byte was handed over to a client that was still there."""
        if self.gone.is_set():
            self.keep_alive = False
            return False
        try:
            bodyless = self.request.method == "HEAD"
            self._writer.write(self._head(response) + (b"" if bodyless or response.file else response.body))
            if response.file is not None and not bodyless:
                with response.file.open("rb") as file:
                    while piece := file.read(CHUNK_BYTES):
                        self._writer.write(piece)
                        await self._writer.drain()
            await self._writer.drain()
        except ConnectionError:
            self.keep_alive = False
            return False
        return not self._writer.is_closing()

    async def send_slowly(self, response: Response, seconds_per_byte: float) -> bool:
        """Answer, the head at once and the body byte by byte. True when all of it went to a client that was there."""
        try:
            self._writer.write(self._head(response))
            for place in range(len(response.body)):
                if not await self.wait(seconds_per_byte):
                    return False
                self._writer.write(response.body[place : place + 1])
                await self._writer.drain()
        except ConnectionError:
            self.keep_alive = False
            return False
        return not self._writer.is_closing()

    async def send_early(self, response: Response) -> bool:
        """Begin an answer whose body comes later, in chunks. False when the client has gone."""
        head = self._head(response).replace(
            f"Content-Length: {len(response.body)}\r\n".encode(), b"Transfer-Encoding: chunked\r\n"
        )
        return await self._write(head)

    async def send_chunk(self, piece: bytes) -> bool:
        """A part of an early answer; an empty one ends it. False when the client has gone."""
        return await self._write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")

    async def _write(self, data: bytes) -> bool:
        if self.gone.is_set():
            self.keep_alive = False
            return False
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            self.keep_alive = False
            return False
        return not self._writer.is_closing()

    async def pause(self, seconds: float) -> None:
        """Let real time pass, whether or not the client stays."""
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def wait(self, seconds: float) -> bool:
        """Let real time pass. False, and at once, when the client goes away meanwhile."""
        try:
            await asyncio.wait_for(self.gone.wait(), seconds)
        except TimeoutError:
            return True
        self.keep_alive = False
        return False

    async def send_cut(self, response: Response, body_bytes: int) -> None:
        """Announce the whole answer, send its first bytes and end the connection."""
        self._writer.write(self._head(response) + response.body[:body_bytes])
        self.keep_alive = False

    def reset(self) -> None:
        """End the connection with RST: the client sees "connection reset by peer"."""
        self.keep_alive = False
        _reset(self._writer)

    def _head(self, response: Response) -> bytes:
        length = response.file.stat().st_size if response.file else len(response.body)
        lines = [
            f"HTTP/1.1 {response.status} {REASONS.get(response.status, 'Status')}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        if not self.keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class HttpServer:
    """Accepts connections and hands each request to a handler, which answers, resets or leaves it unanswered."""

    def __init__(self) -> None:
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._numbers = count(1)
        self._listener: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._handle: Callable[[Exchange], Awaitable[None]] | None = None
        self._host = ""
        self._port = 0

    async def start(self, host: str, port: int, handle: Callable[[Exchange], Awaitable[None]]) -> int:
        """Listen, and return the port (the chosen one when it was 0)."""
        self._host, self._port, self._handle = host, port, handle
        await self._listen()
        return self._port

    async def stop(self) -> None:
        """Stop listening, reset what is still open, and wait until nothing runs any more."""
        if self._reopening is not None:
            self._reopening.cancel()
        if self._listener is not None:
            self._listener.close()
        await asyncio.gather(*self.reset_others(), return_exceptions=True)

    def refuse(self, seconds: float) -> None:
        """For so many real seconds refuse new connections, and end those on which nothing is under way."""
        if self._listener is None or self._reopening is not None:
            return
        self._listener.close()
        for connection in self._connections.values():
            if not connection.busy:
                _reset(connection.writer)
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(seconds))

    def reset_others(self) -> list[asyncio.Task[None]]:
        """Reset every connection but the caller's own, give up what was being done for them, and return the rests."""
        others = {task: each for task, each in self._connections.items() if task is not asyncio.current_task()}
        for task, connection in others.items():
            _reset(connection.writer)
            task.cancel()
        return list(others)

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while True:
            try:
                await self._listen()
                break
            except OSError:  # somebody else has taken the port meanwhile, most likely as their own end of a connection
                await asyncio.sleep(_REOPEN_SECONDS)
        self._reopening = None

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()

        def connection() -> _Protocol:
            protocol: _Protocol
            reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES, loop=loop)

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                assert self._handle is not None  # noqa: S101 - set by start, before anybody can connect
                connection = _Connection(next(self._numbers), writer, protocol.gone)
                task = loop.create_task(_serve(reader, connection, self._handle))
                self._connections[task] = connection
                task.add_done_callback(self._connections.pop)

            protocol = _Protocol(reader, connected)
            return protocol

        self._listener = await loop.create_server(connection, self._host, self._port, backlog=1024)
        self._port = int(self._listener.sockets[0].getsockname()[1])


async def _serve(
    reader: asyncio.StreamReader, connection: _Connection, handle: Callable[[Exchange], Awaitable[None]]
) -> None:
    """Take one request after the other from a connection, until either side ends it."""
    loop = asyncio.get_running_loop()
    writer = connection.writer
    _no_delay(writer)
    try:
        keep_alive, reset_next = True, False
        while keep_alive:
            idle = loop.call_later(IDLE_SECONDS, writer.close)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            finally:
                idle.cancel()
            if reset_next:
                _reset(writer)
                return
            connection.busy = True
            exchange = Exchange(_parse_head(head), reader, connection)
            await handle(exchange)
            if not writer.is_closing():
                await exchange.finish_body()
            connection.busy = False
            keep_alive, reset_next = exchange.keep_alive and not writer.is_closing(), exchange.reset_next
    except (asyncio.IncompleteReadError, ConnectionError, ClientGone):
        pass  # the client left, between two requests or in the middle of one
    except (MalformedRequest, asyncio.LimitOverrunError) as error:
        body = f"400 Bad Request: {error}\n".encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        writer.write(head + body)
    finally:
        writer.close()


def _parse_head(head: bytes) -> Request:
    request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, version = request_line.split(" ")
    except ValueError as error:
        raise MalformedRequest("the request line has not three parts") from error
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise MalformedRequest("only HTTP/1.1 and HTTP/1.0 are spoken here")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedRequest("a header has no colon")
        headers[name.lower()] = value.strip()
    if version == "HTTP/1.0":
        headers["connection"] = "close"
    path, _, query = target.partition("?")
    return Request(method, unquote(path), query, headers)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits.isalnum():  # int() would also take a sign
        raise MalformedRequest("a chunk has no size")
    try:
        return int(digits, 16)
    except ValueError as error:
        raise MalformedRequest("a chunk has no size") from error


def _no_delay(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    if not writer.is_closing():
        # A linger of zero seconds turns the close into an RST.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
