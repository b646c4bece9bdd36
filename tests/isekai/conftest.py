import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from django.db import connection
from redis import Redis
from redis.exceptions import RedisError

from isekai.devstack import processes
from isekai.devstack.servers import valkey_binary
from tests.isekai.waiting import app
from tests.processes import BIN, ROOT, free_port, wait_until


class OwnRedis:
    """A Valkey of one test, which may be stopped, frozen and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = uuid4().hex
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        options = {"port": self._port, "bind": "127.0.0.1", "dir": self._folder, "requirepass": self._password}
        options |= {"appendonly": "yes", "save": "", "logfile": "redis.log"}
        arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen([valkey_binary(), *arguments])
        wait_until(self._answers, what="Valkey does not answer")

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except RedisError:
            return False

    def stop(self) -> None:
        """What it has is there when it starts again."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait()
            self._process = None

    def signal(self, signum: int) -> None:
        assert self._process is not None
        self._process.send_signal(signum)

    def client(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=5)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.stop()


class WorkerProcess:
    """A real worker of ours, and what its health server says."""

    def __init__(self, process: processes.Process, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self._log = folder / f"worker-{self.port}.log"
        command = [part.replace("@%h", f"-{self.port}@%h") for part in process.command]
        command[command.index("isekai")] = "tests.isekai.waiting"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=ROOT,
                env={**os.environ, "HEALTH_CHECK_PORT": str(self.port), "LOG_JSON": "1", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=15)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return self.get("/health").ok
        except requests.ConnectionError:
            return False

    def wait_for(self, path: str, status: int) -> Any:
        """The JSON that ``path`` answers once it answers with ``status``."""

        def answer() -> Any:
            assert self.process.poll() is None, self.log()
            try:
                response = self.get(path)
            except requests.ConnectionError:
                return None
            return response.json() if response.status_code == status else None

        return wait_until(answer, seconds=60, what=self.log)

    def exit_code(self) -> int:
        return self.process.wait(60)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        """Ends what it has started, too."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.process.wait()


StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The way to the database of the tests, for other processes."""
    database = connection.settings_dict
    address = f"{database['HOST']}:{database['PORT']}"
    return f"postgresql://{database['USER']}:{database['PASSWORD']}@{address}/{database['NAME']}"


@pytest.fixture
def start_worker(database_url: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers, by default on the database of the tests, with the commands of production."""
    with ExitStack() as ending:

        def start(process: processes.Process, redis_url: str, **environment: str) -> WorkerProcess:
            defaults = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "DATABASE_DIRECT_URL": database_url}
            worker = WorkerProcess(process, tmp_path, {**defaults, **environment})
            ending.callback(worker.end)
            return worker

        yield start


class Wait:
    """The task that waits, as the test that sent it sees it."""

    def __init__(self, redis: OwnRedis, queue: str) -> None:
        self._redis = redis.client()
        self._key = uuid4().hex
        with app.connection_for_write(redis.url) as broker:
            app.send_task("tests.wait", args=[self._key], queue=queue, connection=broker)

    def until_running(self) -> int:
        """The process in which it runs."""
        running, seen = f"{self._key}:running", f"{self._key}:seen"
        # In short waits, each within the client's own time-out: a crowded machine takes its time to start a task.
        return int(wait_until(lambda: self._redis.brpoplpush(running, seen, timeout=2), what="the task does not run"))

    def go(self) -> None:
        self._redis.rpush(f"{self._key}:go", "go")
