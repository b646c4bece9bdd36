"""A DeviantArt sandbox in a process of its own, with its controls as methods."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

_ROOT = Path(__file__).resolve().parent.parent
_READY = "sandbox ready on "
# A sandbox may refuse connections for some seconds and end idle ones, the controls' too: what was never sent can be
# sent again, and so can GET, PUT and DELETE.
_WAITS_FOR_THE_LISTENER = Retry(total=None, connect=25, read=2, status=0, other=0, backoff_factor=0.05, backoff_max=0.4)


class SandboxProcess:
    """Started by ``start`` or a ``with`` on a free port (chosen once: ``restart`` keeps it), ended by ``stop``.

    ``profile_name`` is quiet or hostile.

    ``data`` None forgets everything at its end; ``seed`` None draws another one each time. Without ``redirect_uris``
    any loopback address is allowed. The controls raise AssertionError with the sandbox's words when it refuses.
    """

    client_id = "1001"
    client_secret = "7f3c9a1e5b8d4f60a2c4e6b8d0f1a3c5"

    def __init__(
        self,
        *,
        data: Path | None = None,
        port: int = 0,
        seed: int | None = None,
        redirect_uris: Sequence[str] = (),
        app_name: str = "Isekai",
        profile_name: str = "quiet",
    ) -> None:
        self._data = data
        self._port = port
        self._seed = seed
        self._redirect_uris = redirect_uris
        self._app_name = app_name
        self._profile_name = profile_name
        self._process: subprocess.Popen[str] | None = None
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(max_retries=_WAITS_FOR_THE_LISTENER))
        self.base_url = ""

    def start(self) -> Self:
        """Return once it answers."""
        command = [sys.executable, "-m", "deviantart.sandbox", "--port", str(self._port), "--app-name", self._app_name]
        command += [
            "--profile",
            self._profile_name,
            "--client-id",
            self.client_id,
            "--client-secret",
            self.client_secret,
        ]
        if self._data is not None:
            command += ["--data", str(self._data)]
        if self._seed is not None:
            command += ["--seed", str(self._seed)]
        for uri in self._redirect_uris:
            command += ["--redirect-uri", uri]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(_READY):
            self.stop()
            raise AssertionError(f"The sandbox did not start; it said {line!r} and what stands on stderr.")
        self.base_url = line.removeprefix(_READY).strip()
        self._port = int(self.base_url.rpartition(":")[2])
        return self

    def stop(self) -> None:
        """Ask it to end, and wait until it has. Nothing happens when it is not running."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it without asking (SIGKILL)."""
        self._end(kill=True)

    @property
    def pid(self) -> int:
        """The id of the process. Raises AssertionError when none is running."""
        assert self._process is not None, "The sandbox is not running."
        return self._process.pid

    def restart(self) -> None:
        """Stop and start on the same port, with the same data when it has a folder for them."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # --- looking in --------------------------------------------------------------------------------------------------

    def ledger(self) -> dict[str, list[dict[str, Any]]]:
        """``requests``, ``items`` and ``deviations``, each in the order in which they came."""
        return self._control("GET", "ledger")

    def summary(self) -> dict[str, Any]:
        """Counts: deviations, items, per title and item, ``published_twice``, orphans, answers and faults."""
        return self._control("GET", "summary")

    def limits(self) -> dict[str, Any]:
        """Calls ``accepted`` and ``limited``, by scope (user, application, ip) and name; empty without limits."""
        return self._control("GET", "limits")

    def applied_faults(self) -> list[dict[str, Any]]:
        """Every fault that was applied, whoever wanted it, as a plan for ``faults``."""
        return self._control("GET", "faults/applied")

    # --- telling it how to behave ------------------------------------------------------------------------------------

    def faults(self, plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add faults to the plan, and return the whole plan."""
        return self._control("POST", "faults", plan)["faults"]

    def plan(self) -> list[dict[str, Any]]:
        """The faults in force, with how often each was ``seen`` and ``applied``."""
        return self._control("GET", "faults")["faults"]

    def clear_faults(self) -> None:
        self._control("DELETE", "faults")

    def profile(self, **settings: Any) -> dict[str, Any]:
        """Change the named settings, and return all of them."""
        return self._control("PUT", "profile", settings)

    def advance(self, seconds: float) -> dict[str, Any]:
        """Move the sandbox's clock; it moves no other clock."""
        return self._control("POST", "clock", {"advance_seconds": seconds})

    def freeze(self, *, frozen: bool = True) -> dict[str, Any]:
        """Stop the sandbox's clock, so that it moves by ``advance`` alone; or let it go on."""
        return self._control("POST", "clock", {"frozen": frozen})

    def episode(self, kind: str, seconds: float, *, in_seconds: float = 0) -> list[dict[str, Any]]:
        """Bad times of the virtual clock: waf, maintenance, overload or errors; what is on now."""
        return self._control("POST", "episodes", {"kind": kind, "seconds": seconds, "in_seconds": in_seconds})[
            "episodes"
        ]

    def end_episodes(self) -> None:
        self._control("DELETE", "episodes")

    def refuse_connections(self, seconds: float) -> None:
        """For real seconds nobody can connect; the controls of this class wait for the end of it."""
        self._control("POST", "network", {"refuse_seconds": seconds})

    def seed(self, username: str, **settings: Any) -> dict[str, Any]:
        """Give a user a past: ``deviations``, ``folders``, ``premium_folders``, ``mature_share`` …"""
        return self._control("POST", "seed", {"username": username, **settings})

    def delete_deviation(self, username: str, title: str | None = None, *, is_deleted: bool = True) -> dict[str, Any]:
        """As the artist would by hand: the newest work, or the one with a title."""
        body = {"username": username, "is_deleted": is_deleted, **({"title": title} if title else {})}
        return self._control("POST", "deviations", body)

    def users(self, username: str, **settings: Any) -> dict[str, Any]:
        """Create a user, or change an existing one: type, folders, accepted_tos, daily_quota …"""
        return self._control("POST", "users", {"username": username, **settings})

    def apps(self, client_id: str, **settings: Any) -> dict[str, Any]:
        """Register an application beside the configured one."""
        return self._control("POST", "apps", {"client_id": client_id, **settings})

    def tokens(self, username: str, **settings: Any) -> dict[str, Any]:
        """A token pair of a user (created when needed) without the authorize page: ``scopes``, ``client_id``."""
        return self._control("POST", "tokens", {"username": username, **settings})

    def revoke(self, username: str) -> None:
        """The user takes back what they allowed the applications."""
        self._control("POST", "revoke", {"username": username})

    def reset(self) -> None:
        """Empty everything: users, tokens, works, journal, faults, settings, the advanced clock."""
        self._control("POST", "reset", {})

    def _control(self, method: str, name: str, body: Any = None) -> Any:
        answer = self._session.request(method, f"{self.base_url}/_sandbox/{name}", json=body, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        self._session.close()
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
