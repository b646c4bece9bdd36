"""The proxy in front of storage passes everything on, unless it is told to refuse or to lose something."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.chaos.proxy import StorageProxy
from tests.processes import free_port


class Storage(BaseHTTPRequestHandler):
    """Answers with the path, and with what was put there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self.path.encode())

    def do_PUT(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Silence."""


@pytest.fixture
def proxy() -> Iterator[StorageProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Storage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = StorageProxy(f"http://127.0.0.1:{server.server_address[1]}", free_port())
    proxy.start()
    yield proxy
    proxy.stop()
    server.shutdown()
    server.server_close()


def test_what_is_asked_is_passed_on_both_ways(proxy: StorageProxy):
    body = b"x" * 300_000
    # Each on a connection of its own: the proxy closes one after its answer.
    assert requests.put(f"{proxy.url}/bucket/key", data=body, timeout=10).content == body
    assert requests.get(f"{proxy.url}/bucket/key?x=1", timeout=10).text == "/bucket/key?x=1"


def test_a_lost_object_is_not_found_and_the_others_are(proxy: StorageProxy):
    proxy.lost = frozenset({"originals/one"})
    missing = requests.get(f"{proxy.url}/bucket/originals/one", timeout=10)
    assert (missing.status_code, "NoSuchKey" in missing.text) == (404, True)
    assert requests.get(f"{proxy.url}/bucket/originals/two", timeout=10).ok


def test_storage_that_is_away_refuses_whatever_is_asked_until_it_is_well(proxy: StorageProxy):
    proxy.mode = "unavailable"
    assert requests.put(f"{proxy.url}/bucket/key", data=b"x", timeout=10).status_code == 503
    proxy.mode = "well"
    assert requests.put(f"{proxy.url}/bucket/key", data=b"x", timeout=10).ok
