"""What runs on a throw-away stack: ``./dev test``, ``./dev servers``, ``./dev bench``."""

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from isekai.devstack.environment import write_private
from isekai.devstack.foreground import run_in_foreground
from isekai.devstack.servers import ServerEndedError
from isekai.devstack.terminal import say
from isekai.devstack.throwaway import throwaway_stack


def run_tests(arguments: Sequence[str]) -> int:
    """pytest on a throw-away stack; its exit code."""
    with throwaway_stack() as stack:
        return run_in_foreground([sys.executable, "-m", "pytest", *arguments], stack.environment)


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
