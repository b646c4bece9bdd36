"""Forks what the test of the rotation lets run and kills: `python -m tests.accounts.rotating <old key's id> <batch>`.

Reads a command a line and answers each with a number. Forked from a program that is loaded already, a process is there
at once, and its end can be aimed at a moment within a rotation of a second or two.

- `refresh` begins to renew tokens all the time, `refresh mixed` also as a process that has the old key in front would;
  `check` begins to read every row all the time; 0.
- `rotate <rows> <seconds>` rotates until so many rows are left under the old key, and so long after that kills the
  process; how it ended. Without numbers it may end by itself.
- `stop` ends those that began, and says how many of them had failed.
"""

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

import django

OLD_KEY, BATCH = sys.argv[1:]


def refresh_all_the_time(*, mixed: bool = False) -> None:
    """Renew token after token, of the accounts whose turn comes next in the rotation, until SIGTERM."""
    stopping = stop_on_request()
    from django.conf import settings

    from accounts.models import DeviantArtAccount
    from accounts.services.tokens import usable_token

    rng = random.Random(0)
    accounts = DeviantArtAccount.objects.order_by("pk").values_list("pk", "token_version")
    while not stopping.is_set():
        next_ones = accounts.filter(encryption_key=OLD_KEY)[:80] or accounts[:80]
        account_id, version = rng.choice(list(next_ones))
        if mixed and rng.random() < 0.5:
            settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[::-1]
        usable_token(account_id, rejected_version=version)


def check_all_the_time() -> None:
    """Read every row, all of them as they are at one moment, until SIGTERM."""
    stopping = stop_on_request()
    from tests.accounts.services.test_rotating import ROWS, all_stored

    while not stopping.wait(0.3):
        assert len(all_stored()) == ROWS


def rotate() -> None:
    from django.core.management import call_command

    call_command("rotate_secrets", "--batch", BATCH)


def stop_on_request() -> threading.Event:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_signal: stopping.set())
    return stopping


def fork(work: Callable[[], None]) -> int:
    process = os.fork()
    if process == 0:
        os.dup2(2, 1)  # what it prints is no answer of ours
        code = 0
        try:
            work()
        except Exception:  # noqa: BLE001 - it ends here, whatever it is
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)
    return process


def end_of(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_once(left: int, seconds: float, process: int) -> None:
    from django.db import connection

    from accounts.models import DeviantArtAccount

    while DeviantArtAccount.objects.filter(encryption_key=OLD_KEY).count() > left:
        time.sleep(0.002)
    connection.close()  # no process that is forked later may share it
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)


def main() -> None:
    django.setup()
    began: list[int] = []
    for line in sys.stdin:
        match line.split():
            case ["refresh"]:
                began.append(fork(refresh_all_the_time))
                answer = 0
            case ["refresh", "mixed"]:
                began.append(fork(lambda: refresh_all_the_time(mixed=True)))
                answer = 0
            case ["check"]:
                began.append(fork(check_all_the_time))
                answer = 0
            case ["rotate"]:
                answer = end_of(fork(rotate))
            case ["rotate", left, seconds]:
                process = fork(rotate)
                kill_once(int(left), float(seconds), process)
                answer = end_of(process)
            case ["stop"]:
                for process in began:
                    os.kill(process, signal.SIGTERM)
                answer = sum(end_of(process) != 0 for process in began)
                began.clear()
            case _:
                raise ValueError(line)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
