"""Publishers that start in a moment: a process that has imported everything makes each of them by fork.

A test that kills hundreds of publishers would otherwise spend all its time on importing. What is forked has opened
nothing yet: its connections, threads and registration are its own, as those of any publisher.

    python -m tests.publisher.forking LOG

reads a line each: ``start publisher`` (or ``beat``) answers with a process id, ``wait PID SECONDS`` with how it ended
(``exit``, ``killed``, ``stopped``, ``gone`` when that was told before) or with ``running``.
"""

import os
import signal
import sys
import time

from isekai.__main__ import main
from isekai.devstack import processes
from isekai.devstack.children import die_with_parent


def serve(log: str) -> None:
    _import_everything()
    started = 0
    for line in sys.stdin:
        match line.split():
            case ["start", name]:
                started += 1
                _answer(str(_start(name, started, log)))
            case ["wait", process_id, seconds]:
                _answer(_wait(int(process_id), float(seconds)))


def _import_everything() -> None:
    import kombu.transport.redis  # noqa: F401

    from isekai.celery import app

    app.loader.import_default_modules()
    app.finalize()


def _start(name: str, number: int, log: str) -> int:
    armed = die_with_parent(signal.SIGKILL)
    process_id = os.fork()
    if process_id:
        return process_id
    armed()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    command = (processes.beat() if name == "beat" else processes.publisher(4)).command
    # Celery refuses two nodes of one name.
    arguments = [f"{part}-{number}" if part.endswith("@%h") else part for part in command]
    try:
        main(arguments[arguments.index("isekai") + 1 :])
    except SystemExit as ended:
        os._exit(ended.code if isinstance(ended.code, int) else 1)
    os._exit(0)


def _wait(process_id: int, seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            changed, status = os.waitpid(process_id, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return "gone"  # its end was told before
        if changed:
            if os.WIFSTOPPED(status):
                return "stopped"
            return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else "exit"
        time.sleep(0.02)
    return "running"


def _answer(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
