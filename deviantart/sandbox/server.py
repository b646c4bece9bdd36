"""Accepts connections and takes one request after the other from each.

One event loop serves every connection, so whatever runs between two awaits is atomic.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from urllib.parse import unquote

from deviantart.sandbox.exchange import (
    ClientGone,
    Connection,
    Exchange,
    MalformedRequest,
    Request,
    reset_connection,
)

MAX_HEAD_BYTES = 64 * 1024
IDLE_SECONDS = 75
_REOPEN_SECONDS = 0.05


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


class HttpServer:
    """Accepts connections and hands each request to a handler, which answers, resets or leaves it unanswered."""

    def __init__(self) -> None:
        self._connections: dict[asyncio.Task[None], Connection] = {}
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
                reset_connection(connection.writer)
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(seconds))

    def reset_others(self) -> list[asyncio.Task[None]]:
        """Reset every connection but the caller's own, give up what was being done for them, and return the rests."""
        others = {task: each for task, each in self._connections.items() if task is not asyncio.current_task()}
        for task, connection in others.items():
            reset_connection(connection.writer)
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
                connection = Connection(next(self._numbers), writer, protocol.gone)
                task = loop.create_task(_serve(reader, connection, self._handle))
                self._connections[task] = connection
                task.add_done_callback(self._connections.pop)

            protocol = _Protocol(reader, connected)
            return protocol

        self._listener = await loop.create_server(connection, self._host, self._port, backlog=1024)
        self._port = int(self._listener.sockets[0].getsockname()[1])


async def _serve(
    reader: asyncio.StreamReader, connection: Connection, handle: Callable[[Exchange], Awaitable[None]]
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
                reset_connection(writer)
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


def _no_delay(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
