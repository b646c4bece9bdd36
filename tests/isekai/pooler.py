"""A transaction pooler in miniature: each transaction of a client runs on whichever server connection is free.

It speaks just enough of PostgreSQL's protocol (version 3) for psycopg without TLS.
"""

import os
import queue
import socket
import struct
import threading
from typing import Any, Self

import psycopg

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
READY = b"Z\x00\x00\x00\x05I"


class TransactionPooler:
    def __init__(self, url: str, idle: "queue.Queue[socket.socket]", *, servers: int = 2) -> None:
        """``idle`` decides which free connection is taken next."""
        self._idle = idle
        # libpq signs in; then its socket is used without it.
        self._connections: list[psycopg.Connection[Any]] = [
            psycopg.connect(url, autocommit=True) for _ in range(servers)
        ]
        for connection in self._connections:
            server = socket.socket(fileno=os.dup(connection.pgconn.socket))
            server.setblocking(True)
            self._idle.put(server)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listening.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            self._greet(client)
            server: socket.socket | None = None
            while (message := read_message(client)) is not None:
                kind = message[:1]
                if kind == b"X":
                    return
                server = server or self._idle.get()
                server.sendall(message)
                if kind in b"QS" and relay_until_ready(server, client):
                    self._idle.put(server)
                    server = None

    def _greet(self, client: socket.socket) -> None:
        while True:
            length, code = struct.unpack("!II", read_exactly(client, 8))
            read_exactly(client, length - 8)
            if code not in {SSL_REQUEST, GSS_REQUEST}:
                break
            client.sendall(b"N")
        client.sendall(b"R" + struct.pack("!II", 8, 0))
        for name, value in {"server_version": "18.0", "client_encoding": "UTF8"}.items():
            body = f"{name}\0{value}\0".encode()
            client.sendall(b"S" + struct.pack("!I", len(body) + 4) + body)
        client.sendall(READY)


def relay_until_ready(server: socket.socket, client: socket.socket) -> bool:
    """Pass answers on until the server is ready; whether it is outside a transaction then."""
    while True:
        message = read_message(server)
        assert message is not None
        client.sendall(message)
        if message[:1] == b"Z":
            return message == READY


def read_message(source: socket.socket) -> bytes | None:
    """The next message with its head; None at the end."""
    try:
        head = read_exactly(source, 5)
        return head + read_exactly(source, struct.unpack("!I", head[1:])[0] - 4)
    except (EOFError, OSError):
        return None


def read_exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = source.recv(size - len(found))
        if not part:
            raise EOFError
        found += part
    return found
