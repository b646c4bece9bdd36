"""What is to be done next in this process: read once for many, and shared by its threads."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from uuid import UUID

# A look that brought nothing is not repeated sooner: whoever finishes meanwhile asks for its own account.
PAUSE_SECONDS = 0.1


class Agenda:
    """Accounts that have something to be done; ``refill`` reads some of them with one query, the most urgent ones."""

    def __init__(self, refill: Callable[[], Sequence[UUID]]) -> None:
        self._refill = refill
        self._lock = threading.Lock()
        self._batch: list[UUID] = []
        self._in_hand: set[UUID] = set()
        self._pause_until = 0.0
        self._was_fruitful = True

    def next(self) -> UUID | None:
        """An account for this thread, until it says that it is ``done``; None when there is none at the moment."""
        with self._lock:
            if not self._batch and time.monotonic() >= self._pause_until:
                self._read()
            while self._batch:
                account_id = self._batch.pop()
                if account_id not in self._in_hand:
                    self._in_hand.add(account_id)
                    return account_id
            return None

    def found(self) -> None:
        """Something of what was read could be taken up; where nothing can, looking again at once is no use."""
        self._was_fruitful = True

    def done(self, account_id: UUID) -> None:
        """The account may be handed out again."""
        with self._lock:
            self._in_hand.discard(account_id)

    def _read(self) -> None:
        if not self._was_fruitful:
            self._was_fruitful = True
            self._pause_until = time.monotonic() + PAUSE_SECONDS
            return
        self._batch = [each for each in self._refill() if each not in self._in_hand]
        self._was_fruitful = not self._batch
        # Two processes that read the same seldom meet then.
        random.shuffle(self._batch)
        if not self._batch:
            self._pause_until = time.monotonic() + PAUSE_SECONDS


def work_off(agenda: Agenda, first: UUID, *, do: Callable[[UUID], bool], go_on: Callable[[], bool]) -> UUID | None:
    """Do ``first``, then what is on the agenda, for as long as ``go_on`` says; returns whose turn it would be then.

    ``do`` says whether there was something to be done: then the same account may have more of it.
    """
    account_id: UUID | None = first
    while account_id is not None:
        following = None
        try:
            found = do(account_id)
            following = agenda.next()
        finally:
            agenda.done(account_id)
        account_id = following or (account_id if found else None)
        if not go_on():
            break
    if account_id is not None:
        agenda.done(account_id)
    return account_id
