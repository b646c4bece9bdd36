"""The commands of ``./dev``."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from isekai.devstack import PROJECT, chaos, lint, testing, up
from isekai.devstack.errors import DevstackError, Interrupted, UsageError
from isekai.devstack.foreground import signals_interrupt
from isekai.devstack.terminal import say


@dataclass(frozen=True)
class Command:
    usage: str
    help: str
    run: Callable[[Sequence[str]], int]


def servers(arguments: Sequence[str]) -> int:
    match arguments:
        case []:
            return testing.keep_servers(None)
        case ["--write", path]:
            return testing.keep_servers(Path(path))
        case _:
            raise UsageError("./dev servers takes nothing, or --write FILE.")


COMMANDS = {
    "up": Command("up", "run the whole system here, until Ctrl-C", up.up),
    "manage": Command("manage COMMAND …", "a management command against the running stack", up.manage),
    "test": Command("test [pytest arguments]", "run the tests on a throw-away stack", testing.run_tests),
    "lint": Command("lint", "everything else that must hold before a commit", lint.lint),
    "bench": Command("bench NAME [--json]", "measure something on a throw-away stack", testing.run_benchmark),
    "chaos": Command("chaos [--seed N …]", "the whole system with everything breaking; docs/chaos.md", chaos.run_chaos),
    "servers": Command("servers [--write FILE]", "keep the servers of one up, to run pytest many times", servers),
}


def usage() -> str:
    width = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"  ./dev {command.usage:<{width}}  {command.help}" for command in COMMANDS.values()]
    return "\n".join(["Usage:", *lines, "", "docs/local-stack.md says more."])


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 when all is well, 2 when the command line cannot be understood, else what it exits with."""
    name, *rest = arguments or ["--help"]
    if name in {"--help", "-h", "help"}:
        print(usage())
        return 0
    os.chdir(PROJECT)
    try:
        if name not in COMMANDS:
            raise UsageError(f"There is no command {name!r}.\n\n{usage()}")
        with signals_interrupt():
            return COMMANDS[name].run(rest)
    except DevstackError as error:
        say(str(error))
        return 2 if isinstance(error, UsageError) else 1
    except Interrupted as interrupted:
        return 128 + interrupted.signum


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
