"""Our workers and beat: ``python -m isekai worker …`` and ``… beat …``, with the options of Celery's own commands.

The program ``celery`` loads besides whatever its other commands need, above all an interactive shell: seven MiB and
most of half a second for each process.
"""

import sys

from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

from isekai.celery import app

COMMANDS = {"worker": worker, "beat": beat}


def main(arguments: list[str]) -> None:
    """Runs until a signal comes, and ends the process."""
    name, *options = arguments or [""]
    if name not in COMMANDS:
        sys.exit(f"isekai: {name!r} is not known; expected: {' or '.join(COMMANDS)}.")
    context = CLIContext(app=app, no_color=False, workdir=None, quiet=True)
    COMMANDS[name].main(args=options, prog_name=f"isekai {name}", obj=context)


if __name__ == "__main__":
    main(sys.argv[1:])
