"""What `./dev` says to whoever asks, and what it does when it is interrupted."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from isekai.devstack import PROJECT
from isekai.devstack.__main__ import COMMANDS, main
from isekai.devstack.foreground import run_in_foreground, signals_interrupt
from isekai.devstack.lint import Check, run_checks
from isekai.devstack.throwaway import PREFIX, remove_abandoned, temporary_folder
from tests.processes import wait_until


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(arguments, capsys):
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS.values():
        assert f"./dev {command.usage}" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["publish"], "There is no command 'publish'."),
        (["up", "--fast"], "./dev up takes no arguments"),
        (["lint", "isekai"], "./dev lint takes no arguments"),
        (["servers", "--write"], "./dev servers takes nothing, or --write FILE."),
        (["bench"], "Known names: "),
        (["bench", "storage", "--xml"], "Known names: "),
    ],
)
def test_what_cannot_be_understood_is_said(arguments, words, capsys):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_every_check_is_run_and_one_failure_is_a_failure(capsys):
    found = [
        Check("first", ("python", "-c", "print('broken'); exit(3)")),
        Check("second", ("python", "-c", "print('not shown')")),
    ]
    assert run_checks(found) == 1
    shown = capsys.readouterr().out
    assert "FAILED  first" in shown
    assert "broken" in shown
    assert "ok      second" in shown
    assert "not shown" not in shown
    assert shown.endswith("1 checks passed, 1 failed: first\n")
    assert run_checks(found[1:]) == 0


def test_the_exit_code_of_the_program_is_ours():
    with signals_interrupt():
        assert run_in_foreground([sys.executable, "-c", "raise SystemExit(5)"], os.environ) == 5


# As `./dev test`, with a program in place of pytest that takes its time to end in order.
INTERRUPTED = """
import os, sys
from pathlib import Path
from isekai.devstack.__main__ import COMMANDS, Command, main
from isekai.devstack.foreground import run_in_foreground
from isekai.devstack.throwaway import temporary_folder

PROGRAM = "trap 'echo ended > ended; exit 0' INT; echo up > up; while :; do sleep 0.05; done"

def run(arguments):
    with temporary_folder() as folder:
        Path("folder").write_text(str(folder))
        return run_in_foreground(["sh", "-c", PROGRAM], os.environ)

COMMANDS["try"] = Command("try", "", run)
os.chdir = lambda path: None
sys.exit(main(["try"]))
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_in_order_and_removes_the_folder(tmp_path, signum):
    launcher = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
    )
    wait_until((tmp_path / "up").exists)
    launcher.send_signal(signum)
    assert launcher.wait(20) == 128 + signum
    assert (tmp_path / "ended").exists()
    assert not Path((tmp_path / "folder").read_text()).exists()


def test_what_a_killed_launcher_left_is_removed_by_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned = tmp_path / f"{PREFIX}abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    with temporary_folder() as ours:
        assert not abandoned.exists()
        remove_abandoned(tmp_path)
        assert ours.exists()
    assert list(tmp_path.iterdir()) == []
