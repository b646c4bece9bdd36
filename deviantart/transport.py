"""One HTTP request on a connection of its own, which ends in time whatever the other side does.

HTTP libraries bound each single read; a server that sends one byte a second stays within that bound for ever. Here
each write and each read of the socket, those of the TLS handshake and of the headers included, gets what is left of the
time of the whole call.
"""

import contextlib
import functools
import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, cast
from urllib.parse import urlencode

import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds for one call: to be connected, for one write, for one read, for everything together."""

    connect: float
    write: float
    read: float
    call: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, with its body decoded; ``oversized`` if there was more of it than was wanted."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    oversized: bool = False

    @property
    def date(self) -> datetime | None:
        """The other side's clock when it answered, aware, in UTC; None when it did not say."""
        return parse_http_date(self.headers.get("Date", ""))


class Reason(StrEnum):
    """Where a call ended that brought no answer."""

    ADDRESS = "address"  # the name could not be resolved
    CONNECT = "connect"  # refused, unreachable, or too slow
    TLS = "tls"  # no handshake, or a certificate that is not to be trusted
    TIMEOUT = "timeout"  # a bound passed
    LOST = "lost"  # the connection broke, or what came was no HTTP


class NoAnswer(Exception):
    """The call ended without a complete answer.

    ``sent`` is False only if certainly not one byte of the request left. ``status`` is set when the headers of the
    answer came and its body did not.
    """

    def __init__(self, reason: Reason, *, sent: bool, detail: str = "", status: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.sent = sent
        self.detail = detail
        self.status = status


class Exchange:
    """One call under way: when it has to end, whether the request began to leave, and what of ours went wrong in it.

    Its time starts here. ``before_send`` runs when the connection stands and nothing has been written yet; what it
    raises ends the call with nothing sent.
    """

    def __init__(self, bounds: Bounds, before_send: Callable[[], None] | None = None) -> None:
        now = time.monotonic()
        self.bounds = bounds
        self.before_send = before_send
        self.ends_at = now + bounds.call
        self.connects_until = min(self.ends_at, now + bounds.connect)
        self.sent = False
        self.status: int | None = None
        self.own_error: BaseException | None = None

    def left(self, bound: float) -> float:
        """Seconds for the next step, at most ``bound``; raises TimeoutError when the call's time is over."""
        return _positive(min(bound, self.ends_at - time.monotonic()))

    def check(self) -> None:
        """Raises TimeoutError when the call's time is over."""
        self.left(self.bounds.call)

    def left_to_connect(self) -> float:
        return _positive(self.connects_until - time.monotonic())

    def begin(self) -> None:
        """Called with each piece that is about to be written; the first one runs ``before_send``."""
        if self.sent:
            return
        if self.before_send is not None:
            with self.ours():
                self.before_send()
            self.check()  # it may have taken long, and still nothing has been sent
        # From here on the other side may have got the request, even if the very first write fails.
        self.sent = True

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Remember what is raised inside: it is the caller's own error and must reach it unchanged.

        Without this a time-out of the storage that feeds an upload would look like one of DeviantArt.
        """
        try:
            yield
        except BaseException as error:
            self.own_error = error
            raise


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise TimeoutError("The time of this call is over.")
    return seconds


class _BoundedSocket(socket.socket):
    """A socket whose every operation gets what is left of the call's time."""

    exchange: Exchange

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.exchange.left(self.exchange.bounds.read))
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.exchange.left(self.exchange.bounds.write))
        return super().sendall(*args, **kwargs)


class _BoundedTLSSocket(ssl.SSLSocket):
    """The same over TLS; its handshake is over before it knows its exchange, within the plain socket's time-out."""

    exchange: Exchange

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.exchange.left(self.exchange.bounds.read))
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.exchange.left(self.exchange.bounds.write))
        return super().send(*args, **kwargs)


@functools.cache
def _tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """One context for the whole process: reading the certificates anew would cost each call about 10 ms of CPU."""
    context = ssl.create_default_context(cafile=ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    context.sslsocket_class = _BoundedTLSSocket
    return context


# So long an answer of the resolver is good for the other calls of this process, as long as connections come about.
RESOLVED_SECONDS = 5.0
_resolved: dict[tuple[str, int], tuple[float, list[Address]]] = {}


def _resolve(host: str, port: int, exchange: Exchange) -> list[Address]:
    """The addresses of ``host``, within the time to connect.

    The system's resolver takes no time-out and cannot be broken off, so it is asked in a thread that is left behind
    when it is too slow.
    """
    good_until, addresses = _resolved.get((host, port), (0.0, []))
    if time.monotonic() < good_until:
        return addresses
    answer: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=ask, name="deviantart-resolve", daemon=True).start()
    try:
        result = answer.get(timeout=exchange.left_to_connect())
    except (queue.Empty, TimeoutError):
        raise NoAnswer(Reason.ADDRESS, sent=False, detail="the address was not found in time") from None
    if isinstance(result, Exception):
        raise NoAnswer(Reason.ADDRESS, sent=False, detail=str(result)) from None
    _resolved[host, port] = time.monotonic() + RESOLVED_SECONDS, result
    return result


def _connect(host: str, port: int, exchange: Exchange) -> _BoundedSocket:
    """A connected socket within the time to connect, all addresses of the host together."""
    addresses = _resolve(host, port, exchange)
    detail = "no address"
    for position, (family, kind, protocol, _, address) in enumerate(addresses, start=1):
        sock = _BoundedSocket(family, kind, protocol)
        try:
            left = exchange.left_to_connect()
            # A dead first address (a broken IPv6 route, say) must leave time for the next one.
            sock.settimeout(left if position == len(addresses) else left / 2)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(exchange.left_to_connect())  # for the TLS handshake
        except OSError as error:
            sock.close()
            _resolved.pop((host, port), None)
            detail = str(error)
        else:
            sock.exchange = exchange
            return sock
    raise NoAnswer(Reason.CONNECT, sent=False, detail=detail)


class _Connection(HTTPConnection):
    """Knows its exchange: connects within its bounds and tells it when the first byte leaves.

    One for each call, never taken from a pool, never tried again: a kept-alive connection that the server has just
    closed fails only after the request was written to it, and then nobody knows whether it was read. Reuse would make
    an unknown outcome out of nothing, and so would a retry that nobody asked for.
    """

    exchange: Exchange

    def _new_conn(self) -> socket.socket:
        return _connect(self.host, self.port, self.exchange)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.exchange.begin()
        super().send(data)


class _TLSConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        cast(_BoundedTLSSocket, self.sock).exchange = self.exchange


def perform(
    exchange: Exchange,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    max_bytes: int,
    params: Sequence[tuple[str, str]] = (),
    data: Any = None,
    ca_bundle: str | None = None,
) -> Answer:
    """Send one request and read its answer, of which at most ``max_bytes`` decoded bytes are kept.

    ``data`` is a list of form fields or an object with ``read`` and ``len``. Redirects are not followed, and neither a
    proxy of the environment nor a .netrc is heeded. Raises NoAnswer; what the exchange remembers as the caller's own
    error comes through unchanged.
    """
    connection, target = _prepare(url, params, ca_bundle)
    connection.exchange = exchange
    body, about_body = _encode(method, data)
    try:
        with contextlib.closing(connection):
            connection.request(
                method,
                target,
                body=body,
                headers={**headers, **about_body, "Connection": "close"},
                preload_content=False,
                decode_content=False,
            )
            with contextlib.closing(connection.getresponse()) as response:
                exchange.status = response.status
                content, oversized = _read_body(response, max_bytes)
                return Answer(response.status, response.headers, content, oversized)
    except NoAnswer:
        raise
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        if exchange.own_error is not None:
            raise exchange.own_error from None
        # Not chained: what was raised may hold the whole request, with its Authorization header.
        raise NoAnswer(
            _reason(error, exchange), sent=exchange.sent, detail=_detail(error), status=exchange.status
        ) from None


def _prepare(url: str, params: Sequence[tuple[str, str]], ca_bundle: str | None) -> tuple[_Connection, str]:
    """A connection that is not open yet, and what is asked of it."""
    parts = urllib3.util.parse_url(url)
    query = "&".join(each for each in (parts.query, urlencode(params)) if each)
    target = f"{parts.path or '/'}{'?' if query else ''}{query}"
    host = (parts.host or "").strip("[]")
    if parts.scheme == "https":
        return _TLSConnection(host, parts.port, ssl_context=_tls_context(ca_bundle)), target
    return _Connection(host, parts.port), target


def _encode(method: str, data: Any) -> tuple[Any, dict[str, str]]:
    """The body and the headers that tell of it."""
    if hasattr(data, "read"):
        return data, {"Content-Length": str(data.len)}
    if data:
        return urlencode(data).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    return None, {} if method in {"GET", "HEAD"} else {"Content-Length": "0"}


def _read_body(raw: Any, max_bytes: int) -> tuple[bytes, bool]:
    body = bytearray()
    while len(body) <= max_bytes:
        # Decoding stops at the amount asked for, so that a few kB of gzip cannot become gigabytes.
        chunk = raw.read(64 * 1024, decode_content=True)
        if not chunk:
            return bytes(body), False
        body += chunk
    return bytes(body[:max_bytes]), True


def _reason(error: BaseException, exchange: Exchange) -> Reason:
    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError) for cause in causes):
        return Reason.TIMEOUT
    if not exchange.sent and any(isinstance(cause, ssl.SSLError) for cause in causes):
        return Reason.TLS
    return Reason.LOST if exchange.sent else Reason.CONNECT


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made of: urllib3 wraps what the socket raised."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]


def _detail(error: BaseException) -> str:
    innermost = list(_causes(error))[-1]
    return f"{type(innermost).__name__}: {innermost}"[:200]


def parse_http_date(text: str) -> datetime | None:
    """An HTTP date as an aware datetime in UTC, None if it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
