"""A process of ours that ends is started again; the page on its port says what is going on."""

import http.client
import json
import os
import signal
import socket
import sys

import pytest

from isekai.devstack import PROJECT
from isekai.devstack.children import LogFile
from isekai.devstack.placeholder import Placeholder
from isekai.devstack.ports import HOST
from isekai.devstack.supervisor import SETTLED_SECONDS, Service, answers_http, stop_services
from tests.processes import wait_until

# Answers "web" on the listening socket that it has inherited, as gunicorn does with -b fd://N.
WEB = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "3"); self.end_headers(); self.wfile.write(b"web")
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever(0.02)
"""


@pytest.fixture
def log(tmp_path) -> LogFile:
    return LogFile(tmp_path / "log")


def service(log: LogFile, command: list[str], **options) -> Service:
    return Service("part", command, env=dict(os.environ), cwd=PROJECT, sink=log, **options)


def run_until_ended(part: Service, now: float) -> None:
    part.look(now)
    assert part.child is not None
    part.child.process.wait(10)
    # As if it had been started at `now`: the clock of the test is not the machine's.
    part.child.started_at = now
    part.look(now)


def test_a_process_that_keeps_ending_is_started_again_after_growing_pauses(log):
    part = service(log, ["sh", "-c", "exit 3"], first_pause=1.0)
    now = 0.0
    for pause in (1, 2, 4, 8, 16, 30, 30):
        run_until_ended(part, now)
        assert log.tail(1) == f"part | exited with 3; starts again in {pause} s"
        part.look(now + pause - 0.1)
        assert part.child is None, "started again too early"
        now += pause


def test_a_process_that_ran_for_long_starts_again_after_the_first_pause(log):
    part = service(log, ["sh", "-c", "exit 0"], first_pause=1.0)
    run_until_ended(part, 0.0)
    run_until_ended(part, 1.0)
    assert log.tail(1).endswith("in 2 s")
    part.look(3.0)
    assert part.child is not None
    part.child.process.wait(10)
    part.child.started_at = 3.0
    part.look(3.0 + SETTLED_SECONDS)
    assert log.tail(1) == "part | exited with 0; starts again in 1 s"


def test_a_killed_process_is_named_with_its_signal_and_comes_back(log):
    part = service(log, ["sleep", "600"], first_pause=0.0)
    part.look(0.0)
    assert part.child is not None
    first = part.child.pid
    os.kill(first, signal.SIGKILL)
    part.child.process.wait(10)
    part.look(0.0)
    assert "was ended by SIGKILL" in log.tail()
    part.look(0.0)
    assert part.child is not None
    assert part.child.pid != first
    stop_services([part], lambda: False)


def test_a_program_that_is_not_there_is_said_and_tried_again(log):
    part = service(log, ["/nowhere/at-all"], first_pause=1.0)
    part.look(0.0)
    assert log.tail() == "part | could not be started (No such file or directory); starts again in 1 s"


def test_the_web_port_always_answers_first_the_page_then_web(log):
    states = {"postgres": "ready", "web": "starting"}
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen(16)
        port = listening.getsockname()[1]
        page = Placeholder(listening, lambda: states)
        web = service(
            log,
            [sys.executable, "-c", WEB, str(listening.fileno())],
            answers=lambda: answers_http(port, "/health"),
            held=[listening.fileno()],
            first_pause=0.0,
        )

        def get(accept: str) -> tuple[int, str, str]:
            connection = http.client.HTTPConnection(HOST, port, timeout=10)
            connection.request("GET", "/", headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Security-Policy", ""), answer.read().decode()

        try:
            page.show()
            status, policy, body = get("text/html")
            assert status == 503
            assert policy.startswith("default-src 'none'")
            assert "Not ready yet: web." in body
            assert '<li class="ready"><b>postgres</b> ready</li>' in body
            status, _, body = get("application/json")
            assert (status, json.loads(body)["details"]) == (503, states)
            assert not answers_http(port, "/health"), "the page was taken for web"

            def look() -> bool:
                web.look(0.0)
                return web.ready

            wait_until(look)
            page.hide()
            assert get("text/html")[::2] == (200, "web")

            assert web.child is not None
            os.kill(web.child.pid, signal.SIGKILL)
            web.child.process.wait(10)
            web.look(0.0)
            page.show()
            assert get("text/html")[0] == 503
        finally:
            page.hide()
            stop_services([web], lambda: False)
