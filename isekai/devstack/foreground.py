"""Signals as exceptions, and one program that has the terminal while we wait for it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from isekai.devstack.children import die_with_parent
from isekai.devstack.errors import DevstackError, Interrupted

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FINISH_SECONDS = 15


def _heard() -> list[signal.Signals]:
    # nohup has SIGHUP ignored, and means it.
    return [ending for ending in ENDING if ending != signal.SIGHUP or signal.getsignal(ending) != signal.SIG_IGN]


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Within it a signal that asks us to end raises Interrupted, once: what cleans up afterwards is left in peace."""

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        for ending in ENDING:
            signal.signal(ending, signal.SIG_IGN)
        raise Interrupted(signum)

    former = {ending: signal.signal(ending, interrupt) for ending in _heard()}
    try:
        yield
    finally:
        for ending, handler in former.items():
            signal.signal(ending, handler)


@contextmanager
def signals_counted() -> Iterator[list[int]]:
    """Within it such signals interrupt nothing: they are gathered in a list for whoever wants to look."""
    signals: list[int] = []
    former = {ending: signal.signal(ending, lambda signum, _frame: signals.append(signum)) for ending in ENDING}
    try:
        yield signals
    finally:
        for ending, handler in former.items():
            signal.signal(ending, handler)


def terminal_has_sent_it(signum: int) -> bool:
    """Ctrl-C reaches every program in the foreground by itself; a second SIGINT from us would cut its ending short."""
    if signum != signal.SIGINT or not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False


def run_in_foreground(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Its exit code. It shares our terminal and our process group, so that a debugger in it can be used.

    On Interrupted it gets SIGINT and some seconds to finish in order, is killed after that, and Interrupted goes on.
    Raises DevstackError when the program cannot be started.
    """
    try:
        program = subprocess.Popen(
            command,
            env=dict(env),
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it only makes two system calls
        )
    except OSError as error:
        raise DevstackError(f"{command[0]} cannot be started: {error.strerror}.") from error
    try:
        return program.wait()
    except Interrupted as interrupted:
        if not terminal_has_sent_it(interrupted.signum):
            program.send_signal(signal.SIGINT)
        try:
            program.wait(FINISH_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        raise
