"""Keeps processes running: starts them again with a growing pause, and says what each of them is doing."""

import http.client
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from isekai.devstack.children import Child, Sink, describe_exit, stop_together
from isekai.devstack.placeholder import STARTING_HEADER
from isekai.devstack.ports import HOST

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# One that has run so long has got over what made it end before.
SETTLED_SECONDS = 60.0
PROBE_SECONDS = 0.5


def answers_http(port: int, path: str) -> bool:
    """Whether a program, and not the page that stands in for it, answers there; any status counts."""
    connection = http.client.HTTPConnection(HOST, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}", "Connection": "close"})
        return connection.getresponse().getheader(STARTING_HEADER) is None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Service:
    """One process that is to run all the time."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        sink: Sink,
        answers: Callable[[], bool] = lambda: True,
        stop_seconds: float = 10.0,
        held: Sequence[int] = (),
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        """``answers`` tells whether it can be used; ``held`` are descriptors that it keeps open, whatever it does."""
        self.name = name
        self.command = list(command)
        self.stop_seconds = stop_seconds
        self.child: Child | None = None
        self.ready = False
        self._env = dict(env)
        self._cwd = cwd
        self._sink = sink
        self._answers = answers
        self._held = list(held)
        self._first_pause = first_pause
        self._pause = first_pause
        self._start_at = 0.0

    @property
    def state(self) -> str:
        if self.ready:
            return "ready"
        if self.child is not None:
            return "starting"
        return "ended, starts again" if self._start_at else "waiting"

    def look(self, now: float) -> None:
        """Start it when it is time, notice that it has ended, and whether it can be used by now."""
        if self.child is None:
            if now >= self._start_at:
                self._start(now)
            return
        code = self.child.exit_code
        if code is not None:
            self._ended(describe_exit(code), ran_seconds=now - self.child.started_at, now=now)
        elif not self.ready:
            self.ready = self._answers()

    def _start(self, now: float) -> None:
        try:
            self.child = Child(
                self.name,
                self.command,
                env=self._env,
                cwd=self._cwd,
                sink=self._sink,
                pass_fds=self._held,
                # Without us its servers are gone as well: finishing in order would only hang.
                orphan_signal=signal.SIGKILL,
            )
        except OSError as error:
            self._ended(f"could not be started ({error.strerror})", ran_seconds=0, now=now)

    def _ended(self, how: str, *, ran_seconds: float, now: float) -> None:
        if self.child is not None:
            self.child.kill()  # what it has started itself goes with it
        self.child, self.ready = None, False
        if ran_seconds >= SETTLED_SECONDS:
            self._pause = self._first_pause
        self._start_at = now + self._pause
        self._sink.line(self.name, f"{how}; starts again in {self._pause:g} s")
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)


def stop_services(services: Iterable[Service], hurry: Callable[[], bool]) -> None:
    """Ask all at once; each has its own time to end, and none once ``hurry`` says so."""
    stop_together([(service.child, service.stop_seconds) for service in services if service.child is not None], hurry)
