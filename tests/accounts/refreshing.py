"""Forks processes that all want the token of one account at the same moment, and says what each of them got.

`python -m tests.accounts.refreshing <account id> <how many>`; one JSON object a line.
"""

import hashlib
import json
import multiprocessing
import sys
from multiprocessing.synchronize import Barrier
from uuid import UUID

import django


def ask(account_id: UUID, everyone: Barrier, said: "multiprocessing.Queue[dict[str, object]]") -> None:
    from accounts.services.tokens import usable_token
    from isekai.errors import IsekaiError

    everyone.wait(60)
    try:
        token = usable_token(account_id)
    except IsekaiError as error:
        said.put({"error": error.code})
    else:
        said.put({"version": token.version, "digest": hashlib.sha256(token.value.encode()).hexdigest()})


def main(account_id: str, count: str) -> None:
    django.setup()
    context = multiprocessing.get_context("fork")  # no connection is open yet
    everyone, said = context.Barrier(int(count)), context.Queue()
    processes = [context.Process(target=ask, args=(UUID(account_id), everyone, said)) for _ in range(int(count))]
    for process in processes:
        process.start()
    for _process in processes:
        print(json.dumps(said.get(timeout=60)), flush=True)
    for process in processes:
        process.join(10)


if __name__ == "__main__":
    main(*sys.argv[1:])
