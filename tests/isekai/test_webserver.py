"""gunicorn as it is started in production."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from isekai.devstack import processes
from tests.processes import BIN, ROOT, free_port, wait_until

pytestmark = pytest.mark.processes


class Web:
    def __init__(self, folder: Path, database_url: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "web.log"
        command = processes.web(f"127.0.0.1:{port}").command
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": database_url, "LOG_JSON": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return requests.get(f"{self.url}/health", timeout=30).ok
        except requests.ConnectionError:
            return False


@pytest.fixture
def web(tmp_path: Path, database_url: str) -> Iterator[Web]:
    web = Web(tmp_path, database_url)
    try:
        wait_until(web.answers, seconds=60, what=web.log)
        yield web
    finally:
        web.process.terminate()
        web.process.wait(30)


def test_web_tells_nothing_about_its_server_and_logs_nothing_but_events(web: Web) -> None:
    for path in ("/health", "/ready", "/metrics", "/nowhere/", "/static/admin/css/base.css"):
        got, head = requests.get(web.url + path, timeout=15), requests.head(web.url + path, timeout=15)
        assert got.headers["Server"] == head.headers["Server"] == "isekai"
        assert (head.status_code, head.content) == (got.status_code, b"")
    web.process.terminate()
    assert web.process.wait(30) == 0
    lines = [json.loads(line) for line in web.log().splitlines()]
    messages = [line["message"] for line in lines]
    assert "request_finished" in messages
    assert any(message.startswith("Listening at") for message in messages)
    assert all({"timestamp", "level", "message", "logger"} <= line.keys() for line in lines)
    assert not any("/health" in json.dumps(line) for line in lines)
