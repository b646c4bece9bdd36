"""``python -m isekai``: what starts the workers and beat."""

import subprocess
import sys

import pytest

from tests.processes import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("arguments", [(), ("shell",), ("--help",)])
def test_anything_but_a_worker_or_beat_is_an_error_that_says_so(arguments: tuple[str, ...]):
    done = run("-m", "isekai", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected: worker or beat" in done.stderr


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_the_options_are_celerys(name: str):
    assert "--loglevel" in run("-m", "isekai", name, "--help").stdout
    wrong = run("-m", "isekai", name, "--no-such-option")
    assert wrong.returncode == 2
    assert "No such option" in wrong.stderr


def test_no_interactive_shell_is_loaded_with_them():
    done = run("-c", "import sys, isekai.__main__; print('prompt_toolkit' in sys.modules, 'celery' in sys.modules)")
    assert done.stdout.split() == ["False", "True"]
