"""A small proxy in front of storage that can refuse, dawdle and lose: each request has a connection of its own."""

import asyncio
import contextlib
import threading
from urllib.parse import urlsplit

HOST = "127.0.0.1"
HEAD_BYTES = 64 * 1024
SLOW_SECONDS = 2.0
CHUNK = 64 * 1024


class StorageProxy:
    """Runs in a thread of its own. ``mode``: *well*, *unavailable* (503) or *slow*; ``lost``: keys that are 404."""

    def __init__(self, upstream: str, port: int) -> None:
        address = urlsplit(upstream)
        self._upstream = (address.hostname or HOST, address.port or 80)
        self._port = port
        self.mode = "well"
        self.lost: frozenset[str] = frozenset()
        self.asked: list[str] = []
        """The last keys that were read."""
        self.refused = 0
        # The loop itself holds its tasks only weakly.
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._begin, HOST, self._port, limit=HEAD_BYTES))
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(task)
        self._loop.close()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head, reader, writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _version = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        key = urlsplit(target).path.lstrip("/").partition("/")[2]
        if method == "GET" and key:
            self.asked = [*self.asked[-20:], key]
        if self.mode == "unavailable":
            await self._refuse(writer, 503, "SlowDown")
        elif key in self.lost and method in {"GET", "HEAD"}:
            await self._refuse(writer, 404, "NoSuchKey")
        else:
            if self.mode == "slow":
                await asyncio.sleep(SLOW_SECONDS)
            await self._pass_on(head, reader, writer)

    async def _refuse(self, writer: asyncio.StreamWriter, status: int, code: str) -> None:
        self.refused += 1
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
        head = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._upstream)
        # One request for each connection, so that each is judged by itself.
        lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
        back.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
        asking = asyncio.create_task(_pump(reader, back))
        try:
            await _pump(there, writer)
        finally:
            asking.cancel()
            back.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
