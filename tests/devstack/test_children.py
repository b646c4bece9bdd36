"""No child outlives the launcher, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isekai.devstack import PROJECT
from isekai.devstack.children import Child, LogFile, stop_together
from tests.processes import wait_until

# Starts a child that starts another one, names both, and then waits to be killed.
LAUNCHER = """
import signal, sys, time
from pathlib import Path
from isekai.devstack.children import Child, LogFile
Child("child", ["sh", "-c", sys.argv[2]], env={"PATH": "/usr/bin:/bin"}, sink=LogFile(Path(sys.argv[1])),
      orphan_signal=signal.SIGKILL)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    """Also when nobody has yet asked for its exit code."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@pytest.fixture
def log(tmp_path) -> LogFile:
    return LogFile(tmp_path / "log")


def start(log: LogFile, script: str, **options) -> Child:
    return Child("child", ["sh", "-c", script], env={"PATH": os.environ["PATH"]}, sink=log, **options)


def test_kill_9_of_the_launcher_leaves_no_child(tmp_path):
    log = tmp_path / "log"
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(log), "trap '' TERM INT; echo pid $$; while :; do sleep 0.1; done"],
        cwd=PROJECT,
    )
    line = wait_until(lambda: log.exists() and log.read_text().strip())
    child = int(line.split()[-1])
    assert not is_gone(child)
    launcher.kill()
    launcher.wait()
    wait_until(lambda: is_gone(child), what="the child is still there")


def test_a_child_that_ignores_the_request_is_killed_with_all_that_it_started(log):
    child = start(log, "trap '' TERM; sh -c 'trap \"\" TERM; echo inner $$; while :; do sleep 0.1; done' & wait")
    inner = int(wait_until(lambda: log.tail().strip()).split()[-1])
    child.stop(0.3)
    assert child.exit_code == -signal.SIGKILL
    wait_until(lambda: is_gone(inner), what="what the child started is still there")


def test_a_child_gets_the_signal_on_which_it_ends_in_order(log):
    child = start(log, "trap 'echo bye; exit 7' INT; echo up; while :; do sleep 0.05; done", stop_signal=signal.SIGINT)
    wait_until(lambda: "up" in log.tail())
    child.stop(5)
    assert child.exit_code == 7
    assert log.tail().splitlines() == ["child | up", "child | bye"]


def test_hurry_ends_the_waiting_for_all_of_them(log):
    children = [start(log, "trap '' TERM; echo up; while :; do sleep 0.05; done") for _ in range(3)]
    wait_until(lambda: log.tail().count("up") == 3)
    stop_together([(child, 600.0) for child in children], hurry=lambda: True)
    assert [child.exit_code for child in children] == [-signal.SIGKILL] * 3


def test_ctrl_c_in_the_terminal_does_not_reach_a_child_by_itself(log):
    child = start(log, "sleep 600")
    assert os.getpgid(child.pid) != os.getpgrp()
    assert os.getsid(child.pid) != os.getsid(0)
    child.stop(5)
