"""The processes of a benchmark, and what they cost: the server, publishers, and their use of CPU and memory."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import psycopg
import requests
from django.conf import settings
from django.db import connection
from redis import Redis

from isekai.devstack import processes
from isekai.devstack.children import die_with_parent
from tests.processes import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
TICKS = os.sysconf("SC_CLK_TCK")
Call = tuple[str, str, int, float, int]


def wait_for(condition: Callable[[], Any], *, seconds: float, every: float = 0.05, what: str) -> Any:
    """What ``condition`` returns as soon as it is true. Raises RuntimeError after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(every)
    raise RuntimeError(f"Not within {seconds:.0f} s: {what}.")


class Server:
    """benchmarks/works/server.py in a process of its own."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.works.server"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it makes no lock and no memory of Python's
        )
        assert self.process.stdout is not None
        self.base_url = self.process.stdout.readline().strip()
        self._session = requests.Session()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._session.close()
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def calls(self, *kinds: str) -> list[Call]:
        """Each call: its kind, account, item, when it arrived and its status, in their order; all kinds, or some."""
        calls = self._control("calls")["calls"]
        return [tuple(call) for call in calls if not kinds or call[0] in kinds]

    def counts(self) -> dict[str, int]:
        """How many calls of each kind were answered 200, and how many with another status."""
        return self._control("counts")

    def profile(self, **wanted: Any) -> None:
        self._control("profile", wanted)

    def reset(self) -> None:
        """Forget the calls and whatever `profile` has set, but for the seconds."""
        self._control("reset", {})

    def measured_rate(self, *, seconds: float = 2.0, at_once: int = 32) -> float:
        """Requests a second that it answers at once, each on a connection of its own, as the client has it."""
        return asyncio.run(_hammer(self.base_url, seconds, at_once))

    def _control(self, name: str, body: Any = None) -> Any:
        answer = self._session.post(f"{self.base_url}/_benchmark/{name}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()


async def _hammer(base_url: str, seconds: float, at_once: int) -> float:
    host, _, port = base_url.removeprefix("http://").partition(":")
    request = f"GET /api/v1/oauth2/placebo HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer access-0\r\n\r\n".encode()
    began = time.monotonic()
    answered = 0

    async def line() -> None:
        nonlocal answered
        while time.monotonic() - began < seconds:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(request)
            await reader.readuntil(b"}")
            writer.close()
            answered += 1

    await asyncio.gather(*(line() for _ in range(at_once)))
    return answered / (time.monotonic() - began)


class Publishers:
    """Real publisher processes of ours, with the commands that production has; ended with the block."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._folder = Path(tempfile.mkdtemp(prefix="isekai-benchmark-"))
        self._number = 0
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self.running:
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, concurrency: int, *, ready: bool = True, **environment: str) -> subprocess.Popen[bytes]:
        """Start one; with ``ready`` return once its dispatching thread runs and it takes messages."""
        self._number += 1
        command = processes.publisher(concurrency).command
        command = tuple(f"{part}-{self._number}" if part.endswith("@%h") else part for part in command)
        port = free_port()
        process = self._run(command, PUBLISHER_CONCURRENCY=str(concurrency), HEALTH_CHECK_PORT=str(port), **environment)
        if ready:
            wait_for(lambda: self._is_ready(process, port), seconds=60, what=f"a ready publisher\n{self.log()}")
        return process

    def start_beat(self) -> None:
        self._number += 1
        self._run(processes.beat().command)

    def _run(self, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{self._number}.log").open("wb")
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            # As in the image of production.
            env={"MALLOC_ARENA_MAX": "2", **os.environ, "DEVIANTART_BASE_URL": self._server.base_url, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - as above
        )
        self.running.append(process)
        return process

    def log(self) -> str:
        return "\n".join(file.read_text(errors="replace")[-3000:] for file in sorted(self._folder.glob("*.log")))

    def _is_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"The publisher ended.\n{self.log()}")
        try:
            return requests.get(f"http://127.0.0.1:{port}/ready", timeout=2).ok
        except requests.RequestException:
            return False


# --- memory ----------------------------------------------------------------------------------------------------------
def rss_mib(pid: int) -> float:
    """What the process has in memory (VmRSS); 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


# --- CPU -------------------------------------------------------------------------------------------------------------
class CpuUse:
    """Seconds of CPU from its making on, of our publishers, the server and the three servers of the stack."""

    def __init__(self, named: dict[str, Sequence[int]]) -> None:
        self._groups = {**_stack_processes(), **{name: list(pids) for name, pids in named.items()}}
        self._began = time.monotonic()
        self._before = {name: self._seconds(name) for name in self._groups}

    def shares(self) -> dict[str, float]:
        """CPU seconds for each second that passed, so that 1 is one core, by name."""
        passed = time.monotonic() - self._began
        return {name: round((self._seconds(name) - before) / passed, 3) for name, before in self._before.items()}

    def _seconds(self, name: str) -> float:
        # PostgreSQL has a process for each connection: those that ended have been added to their parent.
        pids = self._groups[name]
        ticks = sum(_ticks(pid, reaped=name == "postgres") for pid in pids)
        if name == "postgres":
            ticks += sum(_ticks(child) for pid in pids for child in _children(pid))
        return ticks / TICKS


def _stack_processes() -> dict[str, list[int]]:
    """The servers of the stack by their names, as far as they run beside us."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    found: dict[str, list[int]] = {}
    with contextlib.suppress(OSError, IndexError):
        found["postgres"] = [int(_stat(backend)[1])]
    for name, comm in (("valkey", "valkey-server"), ("seaweedfs", "weed")):
        mine = [pid for pid in _descendants(os.getppid()) if _comm(pid) == comm]
        if mine:
            found[name] = mine
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _comm(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _ticks(pid: int, *, reaped: bool = False) -> int:
    with contextlib.suppress(OSError):
        user, system, reaped_user, reaped_system = map(int, _stat(pid)[11:15])
        return user + system + (reaped_user + reaped_system if reaped else 0)
    return 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int(_stat(int(each.name))[1]) == pid:
                    found.append(int(each.name))
    return found


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


# --- between two parts -----------------------------------------------------------------------------------------------
_TAKE_BACK = """
UPDATE deviations_deviation SET status = 'draft', lease_id = NULL, worker_id = NULL, next_attempt_at = NULL,
  unconfirmed_since = NULL, scheduled_at = NULL, publish_at = NULL, reason_code = ''
WHERE status IN ('scheduled', 'uploading', 'publishing', 'failed', 'needs_decision')
"""


def tidy(server: Server) -> None:
    """Nothing of one part of a benchmark is left for the next; what was published stays, and so do its accounts."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as direct:
        direct.execute(_TAKE_BACK)
        direct.execute("UPDATE publisher_publication SET stage_lease_id = NULL, stage_worker_id = NULL")
        direct.execute("DELETE FROM publisher_worker")
        direct.execute("VACUUM (ANALYZE) deviations_deviation, publisher_publication, publisher_attempt")
    with redis() as broker:
        broker.delete("publisher")
        remember_since_ever(broker)
    server.reset()


def redis() -> Redis:
    return Redis.from_url(settings.REDIS_URL, socket_timeout=10)


def remember_since_ever(broker: Redis) -> None:
    """As a Redis that was not emptied lately: else the pace of an account that is new to it begins without a burst."""
    broker.set("isekai:pace:remembers_since", 0)
