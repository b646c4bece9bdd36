"""The workers' health server in this process, where its clients can be as bad as they like."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from isekai import probes
from isekai.probes import ProbeServer, service_name
from tests.processes import wait_until


class Worker:
    """What the server asks; ``ready`` waits until it may."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked = 0

    def health(self) -> probes.Answer:
        return 200, "application/json", b'{"status": "healthy"}'

    def ready(self) -> probes.Answer:
        self.asked += 1
        assert self.may_answer.wait(30)
        return 503, "application/json", b'{"status": "not_ready"}'

    def metrics(self) -> probes.Answer:
        raise RuntimeError("the registry is broken")


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def server(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProbeServer]:
    monkeypatch.setattr(probes, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(probes.ProbeHandler, "timeout", 0.5)
    server: Any = ProbeServer(("127.0.0.1", 0), worker)  # type: ignore[arg-type] # answers as a Service does
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    worker.may_answer.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


def url(server: ProbeServer, path: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def say(server: ProbeServer, request: bytes) -> bytes:
    """All that the server answers until it hangs up, be it in the midst of a request that is too long for it."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        with contextlib.suppress(OSError):  # it has hung up
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    return answer


def test_a_probe_is_answered_as_json_without_details(server: ProbeServer) -> None:
    response = requests.get(url(server, "/health?from=probe"), timeout=5)
    assert response.status_code == 200
    assert response.json() == {"status": "healthy"}
    assert response.headers["Server"] == "isekai"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Python" not in str(response.headers)


def test_head_has_the_headers_of_get_and_no_body(server: ProbeServer) -> None:
    got, head = requests.get(url(server, "/health"), timeout=5), requests.head(url(server, "/health"), timeout=5)
    assert head.status_code == 200
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert say(server, b"HEAD /health HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/healthz", "/health/", "/../etc/passwd", "/%2e%2e/ready"])
def test_other_paths_are_not_found(server: ProbeServer, path: str) -> None:
    answer = say(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 ")
    assert answer.endswith(b'{"code": "not_found"}')


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_not_allowed(server: ProbeServer, method: str) -> None:
    answer = say(server, f"{method} /health HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi".encode())
    assert answer.startswith(b"HTTP/1.0 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hunter2\r\n\r\n",
        b"GET /health hunter2 HTTP/1.1\r\n\r\n",
        b"GET /" + b"hunter2" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X-Hunter2: hunter2\r\n" * 500 + b"\r\n",
        b"GET /health HTTP/hunter2\r\n\r\n",
        b"\x16\x03\x01hunter2",
        b"",
    ],
)
def test_what_cannot_be_understood_is_neither_quoted_nor_logged(
    server: ProbeServer, request_bytes: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = say(server, request_bytes)
    assert b"hunter2" not in answer
    assert b" 200 " not in answer
    assert requests.get(url(server, "/health"), timeout=5).ok
    assert "hunter2" not in caplog.text


def test_a_slow_client_is_hung_up_on(server: ProbeServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as silent:
        assert silent.recv(1) == b""
    with socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10) as trickling:
        # Each byte comes before the timeout of a single read.
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    trickling.sendall(b"G")
                except OSError:
                    return

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            assert trickling.recv(1) == b""
        except ConnectionResetError:
            pass
        finally:
            stop.set()
            sender.join()


def test_a_crowd_does_not_keep_the_worker_from_anything(
    server: ProbeServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "REQUEST_SECONDS", 30)
    crowd = []
    for _ in range(40):
        crowd.append(socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=10))
        crowd[-1].sendall(b"GET /ready HTTP/1.0\r\n\r\n")
    wait_until(lambda: worker.asked == probes.MOST_REQUESTS_AT_ONCE, seconds=5, what=lambda: str(worker.asked))
    turned_away = [member for member in crowd if hung_up(member)]
    assert len(turned_away) == 40 - probes.MOST_REQUESTS_AT_ONCE
    worker.may_answer.set()
    served = [member for member in crowd if member not in turned_away]
    assert all(member.recv(4096).startswith(b"HTTP/1.0 503 ") for member in served)
    for member in crowd:
        member.close()
    assert requests.get(url(server, "/health"), timeout=5).ok


def hung_up(member: socket.socket) -> bool:
    member.settimeout(0.3)
    try:
        return member.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    finally:
        member.settimeout(10)


def test_a_failing_probe_is_logged_and_the_next_is_answered(
    server: ProbeServer, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(url(server, "/metrics"), timeout=5)
    assert requests.get(url(server, "/health"), timeout=5).ok
    assert "probe_failed" in caplog.text


def test_the_name_of_a_service_is_what_it_consumes() -> None:
    assert service_name({"publisher"}) == "publisher"
    assert service_name({"publisher", "canary.0198"}) == "publisher"
    assert service_name({"media"}) == "media"
    assert service_name({"notifications", "analytics", "maintenance"}) == "worker"
    assert service_name({"publisher", "media", "maintenance"}) == "worker"


def test_a_service_tells_what_its_worker_does() -> None:
    class Blueprint:
        state = 1  # RUN
        started = 2

    class Consumer:
        blueprint = Blueprint()
        connection: object | None = object()
        steps = (1, 2)

    class Celery:
        class amqp:  # noqa: N801 - Celery's name
            class queues:  # noqa: N801
                consume_from = ("media",)

    class Controller:
        app = Celery()
        blueprint = Blueprint()
        consumer: Consumer | None = None

    controller = Controller()
    service = probes.Service(controller)
    assert service.consuming() is False, "it has no consumer yet"
    controller.consumer = Consumer()
    assert service.consuming() is True
    controller.consumer.connection = None
    assert service.consuming() is False, "it has lost the broker"
    controller.consumer.connection = object()
    controller.consumer.blueprint.started = 1
    assert service.consuming() is False, "it connects, and does not read yet"
    status, content_type, body = service.health()
    assert (status, content_type) == (200, "application/json")
    assert json.loads(body)["service"] == "isekai-media"
