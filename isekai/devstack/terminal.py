"""What the launcher itself says. Logs and results go to stdout; this goes to stderr."""

import sys
from contextlib import suppress


def say(text: str) -> None:
    with suppress(OSError):  # a terminal that has gone away must not stop the clean-up
        print(f"dev: {text}", file=sys.stderr, flush=True)
