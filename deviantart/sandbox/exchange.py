"""One request and the ways in which it can be answered, or not: HTTP/1.1 by hand.

A stand-in must be able to do what no web server would, such as reset or break off. Bodies are read only as fast as they
are consumed and never collected here.
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHUNK_BYTES = 64 * 1024
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
class Connection:
    """``number`` counts connections from 1; ``busy`` while a request is on its way through."""

    number: int
    writer: asyncio.StreamWriter
    gone: asyncio.Event
    busy: bool = False


class Exchange:
    """One request on one connection, and the ways in which it can be answered, or not."""

    def __init__(self, request: Request, reader: asyncio.StreamReader, connection: Connection) -> None:
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
        reset_connection(self._writer)

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


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits.isalnum():  # int() would also take a sign
        raise MalformedRequest("a chunk has no size")
    try:
        return int(digits, 16)
    except ValueError as error:
        raise MalformedRequest("a chunk has no size") from error


def reset_connection(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    if not writer.is_closing():
        # A linger of zero seconds turns the close into an RST.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
