"""The shell script `dev`: it finds or fetches uv with a Python that really runs, and hands over."""

import shutil
import subprocess
from pathlib import Path

import pytest

from isekai.devstack import PROJECT

# What the script itself calls, and no Python.
TOOLS = ["sh", "dirname", "mkdir", "cp"]


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copy(PROJECT / "dev", tmp_path / "dev")
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / "path").mkdir(exist_ok=True)
        (tmp_path / "path" / tool).symlink_to(found)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(folder / "dev"), *arguments],
        env={"PATH": str(folder / "path"), "HOME": str(folder)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("command", "bare"), [("up", True), ("manage", True), ("--help", True), ("test", False), ("lint", False)]
)
def test_it_installs_what_the_command_needs_and_becomes_the_launcher(folder, command, bare):
    program(folder / "path" / "uv", "echo uv $*")
    program(folder / ".venv" / "bin" / "python", 'echo "python $*; pid $$"')
    done = subprocess.Popen(
        [str(folder / "dev"), command, "two words"],
        env={"PATH": str(folder / "path")},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = done.communicate(timeout=30)
    installs, becomes = out.splitlines()
    assert installs.startswith("uv sync --locked --inexact")
    assert ("--no-default-groups --group servers" in installs) == bare
    # The same process: a signal for ./dev is a signal for the launcher.
    assert becomes == f"python -m isekai.devstack {command} two words; pid {done.pid}"


def test_a_python_that_does_not_run_is_passed_over_and_uv_comes_from_one_that_does(folder):
    program(folder / "path" / "python3.13", "echo 'pyenv: 3.13 is not installed' >&2; exit 127")
    # 3.11 when it is asked; makes a "venv", whose pip "installs" a uv.
    made = folder / "made"
    program(
        folder / "path" / "python3.11", f'[ "$1" = -c ] || {{ mkdir -p "$3/bin"; cp {made}/python "$3/bin/python"; }}'
    )
    program(made / "python", f"cp {made}/uv .tools/bin/uv")
    program(made / "uv", "echo fetched uv $*, UV_PYTHON=$UV_PYTHON")
    program(folder / ".venv" / "bin" / "python", "echo launched $*")
    done = run(folder, "up")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "dev: fetching uv into .tools/ …\n"
    fetched, launched = done.stdout.splitlines()
    assert fetched.startswith("fetched uv sync --locked")
    assert fetched.endswith("UV_PYTHON=python3.11")
    assert launched == "launched -m isekai.devstack up"
    # The second time it is there.
    assert run(folder, "up").stderr == ""


def test_a_machine_without_a_python_is_told_so(folder):
    program(folder / "path" / "python3", "exit 1")  # an old one
    done = run(folder, "up")
    assert done.returncode == 1
    assert done.stderr == "dev: Python 3.11 or newer is needed, and none was found on the PATH.\n"
    assert not (folder / ".tools").exists()
