"""What runs on a throw-away stack: ``./dev test``, ``./dev servers``, ``./dev bench``."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from isekai.devstack import PROJECT
from isekai.devstack.environment import write_private
from isekai.devstack.errors import UsageError
from isekai.devstack.foreground import run_in_foreground
from isekai.devstack.servers import ServerEndedError
from isekai.devstack.terminal import say
from isekai.devstack.throwaway import throwaway_stack

# tests/parallel.py gives each pytest process databases of its own; Redis has room for five.
MOST_PROCESSES = 4


def run_tests(arguments: Sequence[str]) -> int:
    """pytest on a throw-away stack; its exit code. The whole suite runs in one process more than there are cores."""
    with throwaway_stack() as stack:
        command = [sys.executable, "-m", "pytest", *side_by_side(arguments), *arguments]
        return run_in_foreground(command, stack.environment)


def side_by_side(arguments: Sequence[str]) -> list[str]:
    """pytest-xdist's options for the whole suite; none where some tests are picked, or it is said how many run."""
    picks = any(not each.startswith("-") and (PROJECT / each.split("::")[0]).exists() for each in arguments)
    if picks or any(each.startswith(("-n", "-k", "-m", "--pdb", "-s")) for each in arguments):
        return []
    # A file stays in one process, since its tests share the servers that they start.
    # In our own order (tests/conftest.py), which begins with the longest, rather than with the most numerous.
    each_file = ["--dist", "loadfile", "--no-loadscope-reorder"]
    # One more than cores: the longest tests wait for what they have started.
    return ["-n", str(min((os.cpu_count() or 1) + 1, MOST_PROCESSES)), *each_file]


def keep_servers(path: Path | None) -> int:
    """Only the servers, until a signal comes; the way to them is written to a file for ``.`` in a shell."""
    with throwaway_stack() as stack:
        path = path or stack.folder / "environment.sh"
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in stack.variables.items()]
        write_private(path, "".join(exports))
        say(f"The servers run until Ctrl-C. In another terminal:  . {path}  and then  .venv/bin/pytest")
        try:
            while True:
                for server in stack.servers:
                    if server.child is not None and (code := server.child.exit_code) is not None:
                        raise ServerEndedError(server.name, code)
                time.sleep(0.2)
        finally:
            path.unlink(missing_ok=True)


def benchmarks() -> list[str]:
    """The names that ``./dev bench`` knows: the files that end in a call of ``report``."""
    return sorted(
        path.stem
        for path in (PROJECT / "benchmarks").glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
    )


def run_benchmark(arguments: Sequence[str]) -> int:
    """benchmarks/NAME.py on a throw-away stack with migrated tables and waits as in production; its exit code."""
    known = benchmarks()
    name, *options = arguments or [""]
    if name not in known or options not in ([], ["--json"]):
        raise UsageError(f"./dev bench takes a name and perhaps --json. Known names: {', '.join(known)}.")
    with throwaway_stack() as stack:
        env = {**stack.environment, "ISEKAI_TIME_SCALE": "1", "DJANGO_SETTINGS_MODULE": "isekai.settings"}
        env |= {"PYTHONPATH": str(PROJECT), "LOG_LEVEL": "WARNING"}
        migrated = run_in_foreground([sys.executable, "manage.py", "migrate", "--noinput", "--verbosity", "0"], env)
        # Without the benchmarks' own folder in front, where `automations` is the benchmark and not the app.
        return migrated or run_in_foreground([sys.executable, "-P", f"benchmarks/{name}.py", *options], env)
