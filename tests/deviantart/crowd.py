"""Many processes at one thing."""

import multiprocessing
import os
import queue
from collections.abc import Callable
from typing import Any

_CONTEXT = multiprocessing.get_context("fork")  # the work needs no pickling; it opens its own connections


def crowd(size: int, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` returned in each of so many processes, which begin together."""
    start = _CONTEXT.Barrier(size)
    said: multiprocessing.Queue[Any] = _CONTEXT.Queue()

    def run() -> None:
        start.wait(60)
        said.put(work())

    processes = [_CONTEXT.Process(target=run, daemon=True) for _ in range(size)]
    for process in processes:
        process.start()
    try:
        return [said.get(timeout=60) for _ in processes]
    except queue.Empty:
        codes = [process.exitcode for process in processes]
        raise AssertionError(f"Not everybody has answered; they ended with {codes}.") from None
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def run_and_die(work: Callable[[], Any]) -> Any:
    """What ``work`` returned in a process that then died, without any cleaning up."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)

    def run() -> None:
        theirs.send(work())
        os._exit(1)

    process = _CONTEXT.Process(target=run, daemon=True)
    process.start()
    assert ours.poll(60)
    found = ours.recv()
    process.join(10)
    assert process.exitcode == 1
    return found
