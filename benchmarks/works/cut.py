"""A way to the database that can be cut: a relay on a port of its own."""

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit, urlunsplit

CHUNK = 64 * 1024


class Relay:
    """Passes bytes on to the database of ``url``; ``url`` of the relay leads through it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._target = (parts.hostname, parts.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._sockets: list[socket.socket] = []
        host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@{host}"))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.cut()

    def cut(self) -> None:
        """End all connections, and take no new ones any more."""
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _address = self._listener.accept()
                far = socket.create_connection(self._target)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [near, far]
                threading.Thread(target=self._pass_on, args=[near, far], daemon=True).start()
                threading.Thread(target=self._pass_on, args=[far, near], daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
