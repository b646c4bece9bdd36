"""Real processes of ours, against the test's own database, storage and sandbox; killed for real."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import requests
from django.conf import settings
from django.db import connection
from django.test.utils import override_settings
from redis.exceptions import RedisError

from accounts.services.pacing import reset_installation
from isekai.devstack import processes
from isekai.devstack.children import die_with_parent
from publisher.services.marks import become_another_installation
from tests.sandbox_process import SandboxProcess

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# How many publishers may lose their lease before one comes to where it is to die.
STARTS = 3


def wait_until(condition: Callable[[], Any], *, seconds: float = 30, what: str | Callable[[], str] = "") -> Any:
    """What ``condition`` returns as soon as it is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"Not within {seconds} s: {what() if callable(what) else what or condition}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def real_processes(sandbox: SandboxProcess) -> Iterator["Processes"]:
    """Real processes of ours against the ``sandbox``, emptied first, in a test whose tables are cleaned up after it."""
    sandbox.reset()
    with Processes(sandbox) as processes:
        yield processes
    # The sessions of killed processes may not have ended yet, and would block the clean-up of the tables.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


class Processes:
    """``start("publisher", "beat", …)``; the same name may be started several times. Ends them all with its block.

    ``folder`` is for their logs, and stays; None: one that goes with the block. The publisher's lease is scaled like
    all times, but how long a crowded machine lets a process sleep is not: it is longer than an installation's (20),
    since who sleeps through it ends.
    """

    publisher_slots = 4
    waits_for_web = True

    def __init__(
        self, sandbox: SandboxProcess, *, folder: Path | None = None, publisher_lease_seconds: int = 80
    ) -> None:
        self.sandbox = sandbox
        self.publisher_lease_seconds = publisher_lease_seconds
        self.folder = folder or Path(tempfile.mkdtemp(prefix="isekai-processes-"))
        self._is_kept = folder is not None
        self.faults = self.folder / "faults"
        self.faults.mkdir()
        self.running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.web_port = free_port()
        self.base_url = f"http://127.0.0.1:{self.web_port}"
        self._overridden = override_settings(
            DEVIANTART_BASE_URL=sandbox.base_url,
            DEVIANTART_CLIENT_ID=sandbox.client_id,
            DEVIANTART_CLIENT_SECRET=sandbox.client_secret,
            DEVIANTART_APPLICATION_NAME="Isekai",
        )

    def __enter__(self) -> Self:
        # What other tests of this Redis did to everybody at once must not hold these works.
        with contextlib.suppress(RedisError):
            reset_installation()
        # What they published is gone from these tables, and would be taken for forgotten.
        become_another_installation()
        self._overridden.enable()
        return self

    def __exit__(self, *_exception: object) -> None:
        for _name, process in self.running:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.terminate()
        for _name, process in self.running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        if not self._is_kept:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._overridden.disable()

    def start(self, *names: str, **environment: str) -> list[subprocess.Popen[bytes]]:
        """Start one process of each name, and return them; web is waited for."""
        return [self._start(name, environment) for name in names]

    def kill(self, name: str) -> None:
        """SIGKILL to every process of that name."""
        for process in self.alive(name):
            process.kill()
            process.wait()

    def alive(self, name: str) -> list[subprocess.Popen[bytes]]:
        return [process for each, process in self.running if each == name and process.poll() is None]

    def order_fault(self, point: str, action: str = "kill") -> None:
        """Whichever process reaches ``point`` next is killed, or stopped with ``action`` *stop*."""
        (self.faults / point).write_text(action)

    def happened(self, point: str) -> bool:
        return not (self.faults / point).exists()

    def kill_publisher_at(self, point: str, **environment: str) -> None:
        """Have a publisher die at ``point``; one that lost its lease before it came there is followed by another."""
        self.order_fault(point)
        for _ in range(STARTS):
            (publisher,) = self.start("publisher", **environment)
            wait_until(lambda publisher=publisher: publisher.poll() is not None, seconds=60, what=self.log)
            assert publisher.returncode == -signal.SIGKILL, self.log()
            if self.happened(point):
                return
            assert "lease_lost" in self.log_of(publisher), self.log()
        raise AssertionError(f"None of {STARTS} publishers came to {point}: {self.log()}")

    def log(self) -> str:
        """Everything that they wrote, for a failed test."""
        return "\n".join(file.read_text(errors="replace")[-20_000:] for file in sorted(self.folder.glob("*.log")))

    def log_of(self, process: "subprocess.Popen[bytes]") -> str:
        """Everything that this one wrote."""
        ((number, name),) = [(n, name) for n, (name, each) in enumerate(self.running) if each is process]
        return self._log_file(number, name).read_text(errors="replace")

    def _log_file(self, number: int, name: str) -> Path:
        return self.folder / f"{number:02}-{name}.log"

    def _start(self, name: str, extra: dict[str, str]) -> subprocess.Popen[bytes]:
        command = {
            "web": lambda: processes.web(f"127.0.0.1:{self.web_port}"),
            "publisher": lambda: processes.publisher(self.publisher_slots),
            "worker": processes.notifier,
            "media": processes.media,
            "beat": processes.beat,
        }[name]().command
        number = len(self.running)
        if name in {"publisher", "worker", "media"}:
            # Celery refuses two nodes of one name; `%h` alone is not enough on one host.
            command = tuple(f"{part}-{number}" if part.endswith("@%h") else part for part in command)
        log = self._log_file(number, name).open("wb")
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env={**os.environ, **self._environment(), **extra},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A pytest that is killed leaves no publisher behind; the call makes no lock and no memory of Python's.
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509
        )
        self.running.append((name, process))
        if name == "web" and self.waits_for_web:
            wait_until(lambda: self._answers(process), seconds=60, what=self.log)
        return process

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log()
        try:
            return requests.get(f"{self.base_url}/health", timeout=2).status_code == requests.codes.ok
        except requests.RequestException:  # not there yet, or too busy with starting
            return False

    def _environment(self) -> dict[str, str]:
        database = connection.settings_dict
        url = f"postgresql://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}"
        return {
            "DATABASE_URL": f"{url}/{database['NAME']}",
            "DATABASE_DIRECT_URL": f"{url}/{database['NAME']}",
            "DEVIANTART_BASE_URL": self.sandbox.base_url,
            "DEVIANTART_CLIENT_ID": self.sandbox.client_id,
            "DEVIANTART_CLIENT_SECRET": self.sandbox.client_secret,
            "DEVIANTART_APPLICATION_NAME": "Isekai",
            "ISEKAI_PUBLIC_URL": self.base_url,
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "ISEKAI_FAULTS_DIRECTORY": str(self.faults),
            "HEALTH_CHECK_PORT": str(free_port()),
            "ISEKAI_TIME_SCALE": str(settings.ISEKAI_TIME_SCALE),
            "PUBLISHER_LEASE": str(self.publisher_lease_seconds),
            "LOG_LEVEL": "INFO",
        }
