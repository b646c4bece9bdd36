"""Child processes that never outlive the launcher."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, TextIO

PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may be imported or looked up.
LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

COLOURS = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94]


def die_with_parent(signum: int) -> Callable[[], None]:
    """A ``preexec_fn``: the kernel sends ``signum`` to the child when the thread that started it ends (Linux only).

    Everything is therefore started from the main thread. The setting is lost when a program changes its user
    (prctl(2), PR_SET_PDEATHSIG), so whatever does that must set it again afterwards.
    """
    parent = os.getpid()

    def arm() -> None:
        if LIBC is None:
            return
        LIBC.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0)
        if os.getppid() != parent:  # it died between our fork and the line above
            os._exit(1)

    return arm


class Sink(Protocol):
    """Where the lines of a child go."""

    def line(self, name: str, text: str) -> None: ...


class LogStream:
    """One stream for everybody's lines, each behind the name of who wrote it."""

    def __init__(self, out: TextIO, names: Iterable[str]) -> None:
        self._out = out
        self._lock = threading.Lock()
        known = list(names)
        self._width = max(map(len, known), default=0)
        self._colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(known)} if out.isatty() else {}

    def line(self, name: str, text: str) -> None:
        prefix = f"{name:<{self._width}} | "
        if colour := self._colours.get(name):
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        # A terminal that has gone away must not stop the stack from being ended in order.
        with self._lock, suppress(OSError, ValueError):
            self._out.write(f"{prefix}{text}\n")
            self._out.flush()


class LogFile:
    """Keeps the lines in a file, for stacks whose logs matter only when something went wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def line(self, name: str, text: str) -> None:
        # The folder may be removed while the last lines of a server are still under way.
        with self._lock, suppress(FileNotFoundError), self.path.open("a", encoding="utf-8") as out:
            out.write(f"{name} | {text}\n")

    def tail(self, lines: int = 40) -> str:
        if not self.path.exists():
            return ""
        return "\n".join(self.path.read_text(encoding="utf-8").splitlines()[-lines:])


class Child:
    """A started program: its lines go to a sink, and it ends at the latest with us."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        sink: Sink,
        cwd: Path | str | None = None,
        pass_fds: Sequence[int] = (),
        stop_signal: int = signal.SIGTERM,
        orphan_signal: int | None = None,
        user: str | None = None,
    ) -> None:
        """Start ``command``; ``orphan_signal`` (by default ``stop_signal``) is what it gets when we die without a word.

        Raises OSError where the program cannot be started.
        """
        self.name = name
        self.stop_signal = stop_signal
        self.started_at = time.monotonic()
        self._sink = sink
        self.process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            user=user,
            # A session of its own: Ctrl-C reaches the launcher alone, which then ends everything in order, and the
            # whole group can be killed at once.
            start_new_session=True,
            preexec_fn=die_with_parent(orphan_signal or stop_signal),  # noqa: PLW1509 - it only makes two system calls
        )
        if self.process.stdout is None:
            raise AssertionError("stdout=PIPE always gives a pipe")
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), name=f"log-{name}", daemon=True)
        self._reader.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for raw in pipe:
                self._sink.line(self.name, raw.decode("utf-8", "replace").rstrip("\r\n"))

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self.process.poll()

    def ask_to_stop(self) -> None:
        if self.exit_code is None:
            self.process.send_signal(self.stop_signal)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within ``seconds``."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it and all that it started, at once; also what a program that is already gone left in its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(1)

    def stop(self, seconds: float) -> None:
        """Ask it to end, and kill what is left of it after ``seconds``."""
        self.ask_to_stop()
        self.wait(seconds)
        self.kill()


def describe_exit(code: int) -> str:
    """``exited with 3`` or ``was ended by SIGKILL``."""
    if code >= 0:
        return f"exited with {code}"
    return f"was ended by {signal.Signals(-code).name}"


def stop_together(children: Iterable[tuple[Child, float]], hurry: Callable[[], bool] = lambda: False) -> None:
    """Ask all of them at once to end, each within its own seconds; kill what then still runs, all once ``hurry``."""
    asked = list(children)
    started = time.monotonic()
    for child, _seconds in asked:
        child.ask_to_stop()
    for child, seconds in asked:
        while not child.wait(0.05) and not hurry() and time.monotonic() < started + seconds:
            pass
        child.kill()
