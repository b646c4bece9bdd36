"""A server that speaks raw bytes, for what no well-behaved server would do."""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

# Far above the bounds that tests set, far below the minutes for which their servers would go on.
SOON_SECONDS = 8.0

Script = Callable[[socket.socket], None]


class WireServer:
    """Accepts connections on a free port of this machine and runs ``script`` with each, in a thread of its own.

    Leaving the ``with`` block closes every connection, so that a script that still waits or dribbles ends.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self.stopping = threading.Event()

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        return len(self._connections)

    def accepted(self) -> int:
        """Wait for a connection; how many there have been then."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.connections, timeout=10)
            return self.connections

    def join(self) -> None:
        """Wait until the scripts of all connections have ended, at least one."""
        self.accepted()
        for thread in self._threads[1:]:
            thread.join(timeout=10)
            assert not thread.is_alive()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        for sock in [self._listener, *self._connections]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._connections.append(sock)
                self._start(self._serve, sock)
                self._changed.notify_all()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            stream = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            with stream:
                self._script(stream)


def read_request(sock: socket.socket) -> tuple[bytes, bytes]:
    """The head and the whole body of a request with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(sock)
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += _some(sock)
    return head, body


def _some(sock: socket.socket) -> bytes:
    chunk = sock.recv(65536)
    if not chunk:
        raise OSError("The client went away.")
    return chunk


def reply(body: bytes, *, status: str = "200 OK", headers: dict[str, str] | None = None) -> bytes:
    """An answer with a right Content-Length."""
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def answering(answer: bytes) -> Script:
    """A script that reads the request and sends these bytes."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(answer)

    return script


def never_reading(sock: socket.socket) -> None:
    """A script that takes nothing off the wire until the client hangs up."""
    hang_up = select.poll()
    hang_up.register(sock, select.POLLRDHUP)
    hang_up.poll()


def reset(sock: socket.socket) -> None:
    """Close so that the other side sees a reset, not an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    sock.close()


@contextlib.contextmanager
def ends_soon() -> Iterator[None]:
    """Fails when what is inside takes longer than any bound that it was given."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SOON_SECONDS


@contextlib.contextmanager
def nobody_listens() -> Iterator[str]:
    """The url of a port that is taken and refuses connections."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound but not listening: refused, and nobody else can take it
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
