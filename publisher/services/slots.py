"""How the slots of this process are shared out: uploads never take all of them, look-ups one, the rest publishes.

A share is held around its step alone. Who finds none free lets the row be, which stays due, and is woken when one is
given back; what is only to be uploaded ahead is not: those who upload go on with it by themselves. All of it is the
memory of one process, shared by its threads.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.conf import settings

from isekai import queue

PUBLISH_NEXT = "publisher.publish_next"
# What there may be too little of.
PLACE, UPLOAD, LOOK_UP = "place", "upload", "look_up"
# A process died so often while it was at a step of a work: from then on the work runs alone.
CRASHES_BEFORE_ALONE = 2
# How long a work that must run alone lets nothing else start while it waits for the others to end.
ALONE_SECONDS = 10.0
# Accounts that are remembered as turned away; the dispatcher finds the others by itself.
MOST_TURNED_AWAY = 1000


class Slots:
    """The places of one process: ``total`` of them, of which uploads and look-ups get no more than their share."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.most_uploads = max(1, min(math.ceil(total * 2 / 3), total - 1))
        self.most_look_ups = 1
        self._changed = threading.Condition()
        self._running = 0
        self._taken = {UPLOAD: 0, LOOK_UP: 0}
        self._most = {UPLOAD: self.most_uploads, LOOK_UP: self.most_look_ups}
        self._alone: Place | None = None
        # Who waits for what.
        self._waiting: dict[str, OrderedDict[UUID, None]] = {share: OrderedDict() for share in (PLACE, UPLOAD, LOOK_UP)}

    @contextmanager
    def place(self) -> "Iterator[Place | None]":
        """A place for one work; None while another one runs alone. Whatever share it still has is given back."""
        with self._changed:
            if self._alone is not None:
                yielded = None
            else:
                self._running += 1
                yielded = Place(self)
        try:
            yield yielded
        finally:
            if yielded is not None:
                yielded.let_upload_go()
                yielded.let_look_up_go()
                self._leave(yielded)

    @property
    def may_upload(self) -> bool:
        return self._is_free(UPLOAD)

    @property
    def may_look(self) -> bool:
        return self._is_free(LOOK_UP)

    @property
    def place_is_free(self) -> bool:
        """Whether something may start now."""
        return self._alone is None

    @property
    def running(self) -> int:
        return self._running

    def turn_away(self, account_id: UUID, *shares: str) -> None:
        """Remember that what is due of the account waits for one of ``shares``: it is woken as soon as one is free."""
        with self._changed:
            # What was given back in the meantime would wake nobody any more.
            free = [share for share in shares if self._is_free(share)]
            for share in [] if free else shares:
                waiting = self._waiting[share]
                if len(waiting) < MOST_TURNED_AWAY:
                    waiting[account_id] = None
        if free:
            _wake([account_id])

    def _is_free(self, share: str) -> bool:
        return self._alone is None if share == PLACE else self._taken[share] < self._most[share]

    def _to_wake(self, share: str, most: int = 1) -> list[UUID]:
        """Who is to be woken now that ``share`` is free; called with the lock held."""
        waiting = self._waiting[share]
        return [waiting.popitem(last=False)[0] for _ in range(min(most, len(waiting)))]

    def _leave(self, place: "Place") -> None:
        with self._changed:
            self._running -= 1
            woken: list[UUID] = []
            if self._alone is place:
                self._alone = None
                woken = self._to_wake(PLACE, self.total)
            self._changed.notify_all()
        _wake(woken)

    def give_share_back(self, share: str) -> None:
        """See `Place.let_upload_go`."""
        with self._changed:
            self._taken[share] -= 1
            woken = self._to_wake(share)
        _wake(woken)

    def take_share(self, share: str) -> bool:
        """See `Place.take_upload`."""
        with self._changed:
            is_free = self._taken[share] < self._most[share]
            if is_free:
                self._taken[share] += 1
        return is_free

    def wait_to_be_alone(self, place: "Place", seconds: float) -> bool:
        """See `Place.be_alone`."""
        give_up_at = time.monotonic() + seconds
        with self._changed:
            if self._alone is not None:
                return self._alone is place
            self._alone = place
            while self._running > 1 and (left := give_up_at - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._running == 1:
                return True
            self._alone = None
            woken = self._to_wake(PLACE, self.total)
        _wake(woken)
        return False


class Place:
    """Where one work runs, with the shares that it has at the moment."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.has_upload = False
        self.has_look_up = False

    def take_upload(self) -> bool:
        """Whether an upload may begin now."""
        self.has_upload = self.has_upload or self._slots.take_share(UPLOAD)
        return self.has_upload

    def let_upload_go(self) -> None:
        """The upload is over, or not needed: somebody else may."""
        if self.has_upload:
            self.has_upload = False
            self._slots.give_share_back(UPLOAD)

    def take_look_up(self) -> bool:
        """Whether a look-up may begin now."""
        self.has_look_up = self.has_look_up or self._slots.take_share(LOOK_UP)
        return self.has_look_up

    def let_look_up_go(self) -> None:
        if self.has_look_up:
            self.has_look_up = False
            self._slots.give_share_back(LOOK_UP)

    def turn_away(self, account_id: UUID, *shares: str) -> None:
        """As that of the slots."""
        self._slots.turn_away(account_id, *shares)

    def be_alone(self) -> bool:
        """Wait until nothing else runs in this process, and let nothing start until this place is left.

        False when the others took too long, or one of them waits for the same.
        """
        return self._slots.wait_to_be_alone(self, ALONE_SECONDS * settings.ISEKAI_TIME_SCALE)


def _wake(account_ids: list[UUID]) -> None:
    for account_id in account_ids:
        queue.send(PUBLISH_NEXT, account_id)


_slots: Slots | None = None


def share_out(total: int) -> Slots:
    """Give this process so many slots; before that it has those of the settings."""
    global _slots  # noqa: PLW0603 - one process, one set of slots
    _slots = Slots(total)
    return _slots


def slots() -> Slots:
    """Those of this process."""
    return _slots if _slots is not None else share_out(settings.PUBLISHER_CONCURRENCY)
