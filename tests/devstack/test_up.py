"""`./dev up`, for real: the whole system, killed in every way, in a folder and on ports of its own."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isekai.devstack import PROJECT, up
from isekai.devstack.children import LogStream
from isekai.devstack.environment import settings_names
from isekai.devstack.errors import DevstackError
from isekai.devstack.ports import HOST, free_ports
from tests.processes import wait_until

PARTS = ["postgres", "redis", "s3", "sandbox", "web", "publisher", "worker", "media", "beat"]
REMEMBER = """
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django_celery_beat.models import IntervalSchedule
IntervalSchedule.objects.create(every=4711, period="days")
default_storage.save("kept.txt", ContentFile(b"kept in the bucket"))
"""
RECALL = """
from django.core.files.storage import default_storage
from django_celery_beat.models import IntervalSchedule
print(IntervalSchedule.objects.filter(every=4711).count(), default_storage.open("kept.txt").read().decode())
"""


class Launcher:
    """`./dev up` in its own folder; its lines are in ``log``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        # Not those of the developer whose own stack may run beside the tests.
        self.ports = dict(zip(up.WANTED_PORTS, free_ports(len(up.WANTED_PORTS)), strict=True))
        (folder / "ports.json").write_text(json.dumps(self.ports))

    def environment(self) -> dict[str, str]:
        # An empty value counts as unset, in the environment of the tests and in a .env that lies here.
        return {**os.environ, **dict.fromkeys(settings_names(), ""), "ISEKAI_VAR": str(self.folder)}

    def start(self) -> None:
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "isekai.devstack", "up"],
                cwd=PROJECT,
                env=self.environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def says(self, text: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None or text in self.lines(), f"it ended:\n{self.lines()}"
        return text in self.lines()

    def lines(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.says("dev: Ready after"), seconds=120, what=f"the stack is not ready\n{self.lines()}")

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "isekai.devstack", "manage", *arguments],
            cwd=PROJECT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def children(self) -> dict[int, str]:
        """The command lines of what it has started itself, by process id."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                if parent == self.pid:
                    found[int(stat.parent.name)] = (stat.parent / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def child(self, words: str) -> int | None:
        return next((pid for pid, command in self.children().items() if words in command), None)

    def nothing_is_left(self) -> bool:
        """Whether every process that it has ever started is gone: each keeps the lock open."""
        lock = up._lock(self.folder / "children.lock")
        if lock is None:
            return False
        lock.close()
        return True

    def get(self, port: str, path: str, accept: str = "text/html") -> tuple[int, str]:
        connection = http.client.HTTPConnection(HOST, self.ports[port], timeout=10)
        connection.request("GET", path, headers={"Accept": accept, "Host": f"localhost:{self.ports[port]}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture
def launcher(tmp_path) -> Iterator[Launcher]:
    started = Launcher(tmp_path)
    yield started
    if started.process is not None and started.process.poll() is None:
        started.process.kill()
        started.process.wait()
        wait_until(started.nothing_is_left)


@pytest.mark.processes
def test_the_whole_system_comes_up_survives_what_dies_and_keeps_its_data(launcher):
    launcher.start()
    wait_until(lambda: launcher.says("dev: Starting; http://localhost:"))
    status, page = launcher.get("web", "/")
    assert status == 503
    assert "Isekai is starting" in page
    launcher.wait_until_ready()

    assert launcher.get("web", "/health")[0] == 200
    assert launcher.get("sandbox", "/")[0] == 200
    for part in ("publisher", "worker", "media"):
        assert launcher.get(part, "/health")[0] == 200, part
    assert f"dev: In place of DeviantArt: http://127.0.0.1:{launcher.ports['sandbox']}" in launcher.lines()

    remembered = launcher.manage("shell", "-c", REMEMBER)
    assert remembered.returncode == 0, remembered.stderr

    # A process of ours that is killed comes back.
    beat = launcher.child("-m isekai beat")
    assert beat is not None
    os.kill(beat, signal.SIGKILL)
    wait_until(lambda: launcher.child("-m isekai beat") not in {None, beat}, seconds=20)
    assert "was ended by SIGKILL; starts again in 0.5 s" in launcher.lines()

    # Killed itself, it leaves nothing behind.
    os.kill(launcher.pid, signal.SIGKILL)
    assert launcher.process is not None
    launcher.process.wait()
    wait_until(launcher.nothing_is_left, seconds=20)
    gone = launcher.manage("check")
    assert gone.returncode == 1
    assert gone.stderr == "dev: No stack runs here. Start it in another terminal: ./dev up\n"

    # The second start finds everything where it was.
    launcher.start()
    launcher.wait_until_ready()
    recalled = launcher.manage("shell", "-c", RECALL)
    assert recalled.stdout.splitlines()[-1:] == ["1 kept in the bucket"], recalled.stderr
    kept = json.loads((launcher.folder / "ports.json").read_text())
    assert {name: kept[name] for name in launcher.ports} == launcher.ports

    # An embedded server that is killed ends the stack.
    postgres = launcher.child("bin/postgres -D")
    assert postgres is not None
    os.kill(postgres, signal.SIGKILL)
    assert launcher.process.wait(60) == 1
    assert launcher.lines().splitlines()[-1] == "dev: postgres was ended by SIGKILL."
    wait_until(launcher.nothing_is_left)


@pytest.mark.processes
def test_a_request_to_end_ends_everything_in_order(launcher):
    launcher.start()
    wait_until(lambda: launcher.says("sandbox ready on"), seconds=60)
    assert launcher.process is not None
    launcher.process.terminate()
    assert launcher.process.wait(60) == 0
    assert launcher.nothing_is_left()
    lines = launcher.lines()
    assert "database system is shut down" in lines
    assert "Traceback" not in lines


# --- without starting anything ---------------------------------------------------------------------------------------
@pytest.fixture
def given() -> dict[str, str]:
    return {}


@pytest.fixture
def stack(tmp_path, given) -> Iterator[up.Stack]:
    Launcher(tmp_path)
    with up.only_stack(tmp_path) as held:
        made = up.Stack(tmp_path, LogStream(sys.stdout, []), given, held)
        yield made
        made.web_socket.close()


def test_everything_is_embedded_where_nothing_is_given(stack):
    variables = stack.variables(stack.add_servers())
    assert [server.name for server in stack.servers] == ["postgres", "redis", "s3"]
    assert variables["DEVIANTART_BASE_URL"] == f"http://{HOST}:{stack.ports.take('sandbox')}"
    assert variables["ISEKAI_PUBLIC_URL"] == f"http://localhost:{stack.web_port}"
    assert stack.web_port == json.loads((stack.folder / "ports.json").read_text())["web"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"DATABASE_URL": "postgresql://elsewhere/isekai"}, ["redis", "s3"]),
        ({"REDIS_URL": "redis://elsewhere"}, ["postgres", "s3"]),
        ({"S3_ENDPOINT": "https://elsewhere"}, ["postgres", "redis"]),
    ],
)
def test_what_the_environment_names_replaces_its_embedded_part(stack, given, left):
    variables = stack.variables(stack.add_servers())
    assert [server.name for server in stack.servers] == left
    assert set(given).isdisjoint(variables)


@pytest.mark.parametrize("given", [{"DEVIANTART_CLIENT_ID": "1", "DEVIANTART_CLIENT_SECRET": "of the application"}])
def test_credentials_of_deviantart_replace_the_sandbox(stack, given):
    variables = stack.variables(stack.add_servers())
    assert not {name for name in variables if name.startswith("DEVIANTART_")}


@pytest.mark.parametrize("given", [{"SECRET_KEY": "mine", "ISEKAI_PUBLIC_URL": "https://tunnel.invalid"}])
def test_what_is_given_is_never_replaced(stack, given):
    variables = stack.variables(stack.add_servers())
    assert {name: variables[name] for name in given} == given
    assert "tunnel.invalid" in variables["ALLOWED_HOSTS"].split(",")


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path):
    with up.only_stack(tmp_path):
        assert up.stack_runs_in(tmp_path)
        with pytest.raises(DevstackError, match=r"runs from .* already"), up.only_stack(tmp_path):
            pass
    assert not up.stack_runs_in(tmp_path)


def test_a_start_waits_for_the_processes_of_one_that_was_killed(tmp_path, capsys):
    with up.only_stack(tmp_path) as held:
        survivor = subprocess.Popen(["sleep", "0.5"], pass_fds=[held])
    with up.only_stack(tmp_path):
        assert survivor.poll() == 0 or survivor.wait(1) == 0
    assert "Waiting for the processes of a former start to end" in capsys.readouterr().err


def test_settings_are_kept_for_manage_and_nothing_else_of_the_shell(tmp_path):
    up.remember_environment(tmp_path, {"DATABASE_URL": "postgresql://here", "AWS_SESSION_TOKEN": "no business of ours"})
    kept = tmp_path / "environment.json"
    assert json.loads(kept.read_text()) == {"DATABASE_URL": "postgresql://here"}
    assert kept.stat().st_mode & 0o077 == 0
