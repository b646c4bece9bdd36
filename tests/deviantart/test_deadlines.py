"""However slow the other side is, a call ends within its bounds and says whether it may have worked."""

import io
import itertools
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from deviantart import errors, oauth
from deviantart.client import Client
from deviantart.config import Config, Timeouts
from deviantart.errors import Outcome
from tests.deviantart.wire import WireServer, ends_soon, never_reading, nobody_listens, read_request, reply

SHORT = Timeouts(
    connect_seconds=0.5,
    stall_seconds=0.5,
    read_seconds=0.5,
    token_seconds=0.5,
    submit_seconds=0.5,
    publish_seconds=0.5,
)


def config(url: str, timeouts: Timeouts = SHORT) -> Config:
    return Config("1", "client-secret", base_url=url, timeouts=timeouts)


def publish(url: str, **options: Any) -> Any:
    return Client(config(url), "token").publish(5309219412345678, is_mature=False, **options)


def submit(url: str, size: int = 1000, timeouts: Timeouts = SHORT, **options: Any) -> Any:
    return Client(config(url, timeouts), "token").submit(
        io.BytesIO(b"x" * size),
        filename="a.png",
        content_type="image/png",
        size=size,
        title="Night sky",
        is_ai_generated=False,
        noai=True,
        **options,
    )


def whoami(url: str) -> Any:
    return Client(config(url), "token").whoami()


def refresh(url: str) -> Any:
    return oauth.refresh(config(url), "refresh-token")


CALLS = [publish, submit, whoami, refresh]


def dribble(pieces: bytes) -> Callable[[socket.socket], None]:
    """Reads the request, then sends one byte every 20 ms: no single read is ever slow."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        for byte in itertools.chain(pieces, itertools.cycle(b" ")):
            sock.sendall(bytes([byte]))
            time.sleep(0.02)

    return script


def silent(sock: socket.socket) -> None:
    read_request(sock)
    sock.recv(1)  # returns when the client gives up


@pytest.mark.parametrize("call", CALLS)
def test_a_silent_server_ends_as_unknown_within_the_bound(call: Callable[[str], Any]) -> None:
    with WireServer(silent) as server, ends_soon(), pytest.raises(errors.AnswerLost) as raised:
        call(server.url)
    assert raised.value.outcome is Outcome.UNKNOWN
    assert "timeout" in raised.value.description


@pytest.mark.parametrize("call", [publish, whoami])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(dribble(b"HTTP/1.1 200 OK\r\nX-Padding: "), id="one byte of a header at a time"),
        pytest.param(dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"), id="one byte of the body at a time"),
        pytest.param(dribble(b"HTTP/1.1 200 OK\r\n\r\n"), id="a body without an end"),
        pytest.param(dribble(b"HTTP/1.1 100 Continue\r\n\r\n" * 2), id="interim answers"),
    ],
)
def test_a_slow_answer_ends_as_unknown_within_the_bound(
    call: Callable[[str], Any], script: Callable[[socket.socket], None]
) -> None:
    with WireServer(script) as server, ends_soon(), pytest.raises(errors.AnswerLost) as raised:
        call(server.url)
    assert raised.value.outcome is Outcome.UNKNOWN
    assert "timeout" in raised.value.description


def test_an_upload_that_nobody_reads_ends_as_unknown_within_the_bound() -> None:
    with WireServer(never_reading) as server, ends_soon(), pytest.raises(errors.AnswerLost) as raised:
        # More than the buffers of both sides hold.
        submit(server.url, 40_000_000, Timeouts(connect_seconds=60, stall_seconds=0.5, submit_seconds=60))
    assert "timeout" in raised.value.description


def test_an_upload_that_is_read_byte_by_byte_ends_as_unknown_within_the_bound() -> None:
    def sipping(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while sock.recv(4096):
            time.sleep(0.02)

    with WireServer(sipping) as server, ends_soon(), pytest.raises(errors.AnswerLost):
        submit(server.url, 40_000_000, Timeouts(connect_seconds=60, stall_seconds=60, submit_seconds=0.5))


def test_a_file_that_comes_slowly_does_not_stretch_the_call() -> None:
    def slowly() -> Any:
        while True:
            time.sleep(0.05)
            yield b"x" * 100

    with WireServer(silent) as server, ends_soon(), pytest.raises(errors.AnswerLost):
        Client(config(server.url), "token").submit(
            slowly(),
            filename="a.png",
            content_type="image/png",
            size=1_000_000,
            title="Night sky",
            is_ai_generated=False,
            noai=True,
        )


@pytest.mark.parametrize("call", CALLS)
def test_refused_connections_did_certainly_nothing(call: Callable[[str], Any]) -> None:
    with nobody_listens() as url, pytest.raises(errors.Unreachable) as raised:
        call(url)
    assert raised.value.outcome is Outcome.NO


@pytest.mark.parametrize("call", CALLS)
def test_a_connection_that_is_never_accepted_did_certainly_nothing(call: Callable[[str], Any]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        # Fill the queue of connections that nobody accepts: from then on the kernel lets newcomers wait.
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        with ends_soon(), pytest.raises(errors.Unreachable) as raised:
            call(f"http://127.0.0.1:{address[1]}")
        for sock in waiting:
            sock.close()
    assert raised.value.outcome is Outcome.NO


def test_an_unknown_host_did_certainly_nothing() -> None:
    with pytest.raises(errors.Unreachable) as raised:
        publish("https://deviantart.invalid")
    assert raised.value.outcome is Outcome.NO
    assert "address" in raised.value.description


def test_a_slow_resolver_ends_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()

    def slow(*_args: Any, **_options: Any) -> Any:
        given_up.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with ends_soon(), pytest.raises(errors.Unreachable) as raised:
        publish("https://www.deviantart.com")
    given_up.set()
    assert raised.value.outcome is Outcome.NO


def test_a_second_address_is_tried_when_the_first_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(reply(b'{"status":"success","deviationid":"D","url":"https://www.deviantart.com/d"}'))

    with WireServer(script) as server, nobody_listens() as dead:
        alive_port, dead_port = (int(url.rpartition(":")[2]) for url in (server.url, dead))
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        addresses = [(*kind, ("127.0.0.1", dead_port)), (*kind, ("127.0.0.1", alive_port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: addresses)
        assert publish(server.url).deviation_id == "D"


def test_a_hook_that_takes_all_the_time_leaves_nothing_sent() -> None:
    received: list[bytes] = []
    with WireServer(lambda sock: received.append(sock.recv(1))) as server:
        with ends_soon(), pytest.raises(errors.Unreachable) as raised:
            publish(server.url, before_send=lambda: time.sleep(0.6))
        server.join()
    assert raised.value.outcome is Outcome.NO
    assert received == [b""]


def test_a_stall_in_a_read_ends_it_before_its_whole_time_is_over() -> None:
    patient = Timeouts(connect_seconds=1, stall_seconds=0.3, read_seconds=60)
    with WireServer(silent) as server, ends_soon(), pytest.raises(errors.AnswerLost):
        Client(config(server.url, patient), "token").whoami()


def test_a_publish_is_waited_for_beyond_a_stall() -> None:
    def late(sock: socket.socket) -> None:
        read_request(sock)
        time.sleep(0.5)
        sock.sendall(reply(b'{"status":"success","deviationid":"D"}'))

    patient = Timeouts(connect_seconds=1, stall_seconds=0.2, publish_seconds=20)
    with WireServer(late) as server:
        receipt = Client(config(server.url, patient), "token").publish(1, is_mature=False)
    assert receipt.deviation_id == "D"


def test_a_long_upload_may_be_answered_with_spaces_for_a_while() -> None:
    def spaces(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            sock.sendall(b"1\r\n \r\n")
            time.sleep(0.05)
        body = b'{"status":"success","itemid":5309219412345678}'
        sock.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    with WireServer(spaces) as server:
        assert submit(server.url).item_id == 5309219412345678


def test_bounds_are_scaled_together() -> None:
    assert Timeouts().scaled(0.1) == Timeouts(
        connect_seconds=0.5,
        stall_seconds=2.0,
        read_seconds=3.0,
        token_seconds=3.0,
        submit_seconds=30.0,
        publish_seconds=6.0,
    )
