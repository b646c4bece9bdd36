"""How the slots of this process are shared out: uploads never take all of them, look-ups one, the rest publishes.

A share is held around its step alone. Who finds none free lets the row be, which stays due, and is woken when one is
given back. All of it is the memory of one process, shared by its threads.
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
STAGE_NEXT = "publisher.stage_next"
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
        self._uploads = 0
        self._look_ups = 0
        self._alone: Place | None = None
        self._turned_away: dict[str, OrderedDict[UUID, None]] = {PUBLISH_NEXT: OrderedDict(), STAGE_NEXT: OrderedDict()}

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
        return self._uploads < self.most_uploads

    @property
    def may_look(self) -> bool:
        return self._look_ups < self.most_look_ups

    @property
    def place_is_free(self) -> bool:
        """Whether something may start now."""
        return self._alone is None

    @property
    def running(self) -> int:
        return self._running

    def turn_away(self, account_id: UUID, task: str = PUBLISH_NEXT) -> None:
        """Remember that the account has something to be done for which there was no share: it is woken for it."""
        with self._changed:
            waiting = self._turned_away[task]
            if len(waiting) < MOST_TURNED_AWAY:
                waiting[account_id] = None
            # If everything was given back in the meantime, nobody else would wake it.
            wakes = self._to_wake() if self._is_idle() else []
        _send(wakes)

    def _is_idle(self) -> bool:
        return self._alone is None and self._uploads == 0 and self._look_ups == 0

    def _to_wake(self, most: int = 1) -> list[tuple[str, UUID]]:
        """Who is to be woken now, works whose time has come first; called with the lock held."""
        wakes: list[tuple[str, UUID]] = []
        for task, waiting in self._turned_away.items():
            while waiting and len(wakes) < most:
                wakes.append((task, waiting.popitem(last=False)[0]))
        return wakes

    def _leave(self, place: "Place") -> None:
        with self._changed:
            self._running -= 1
            wakes: list[tuple[str, UUID]] = []
            if self._alone is place:
                self._alone = None
                wakes = self._to_wake(self.total)
            self._changed.notify_all()
        _send(wakes)

    def give_share_back(self, name: str) -> None:
        """See `Place.let_upload_go`."""
        with self._changed:
            setattr(self, name, getattr(self, name) - 1)
            wakes = self._to_wake()
        _send(wakes)

    def take_share(self, name: str, most: int) -> bool:
        """See `Place.take_upload`."""
        with self._changed:
            taken = getattr(self, name) < most
            if taken:
                setattr(self, name, getattr(self, name) + 1)
        return taken

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
            wakes = self._to_wake(self.total)
        _send(wakes)
        return False


class Place:
    """Where one work runs, with the shares that it has at the moment."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.has_upload = False
        self.has_look_up = False

    def take_upload(self) -> bool:
        """Whether an upload may begin now."""
        self.has_upload = self.has_upload or self._slots.take_share("_uploads", self._slots.most_uploads)
        return self.has_upload

    def let_upload_go(self) -> None:
        """The upload is over, or not needed: somebody else may."""
        if self.has_upload:
            self.has_upload = False
            self._slots.give_share_back("_uploads")

    def take_look_up(self) -> bool:
        """Whether a look-up may begin now."""
        self.has_look_up = self.has_look_up or self._slots.take_share("_look_ups", self._slots.most_look_ups)
        return self.has_look_up

    def let_look_up_go(self) -> None:
        if self.has_look_up:
            self.has_look_up = False
            self._slots.give_share_back("_look_ups")

    def turn_away(self, account_id: UUID) -> None:
        """As that of the slots."""
        self._slots.turn_away(account_id)

    def be_alone(self) -> bool:
        """Wait until nothing else runs in this process, and let nothing start until this place is left.

        False when the others took too long, or one of them waits for the same.
        """
        return self._slots.wait_to_be_alone(self, ALONE_SECONDS * settings.ISEKAI_TIME_SCALE)


def _send(wakes: list[tuple[str, UUID]]) -> None:
    for task, account_id in wakes:
        queue.send(task, account_id)


_slots: Slots | None = None


def share_out(total: int) -> Slots:
    """Give this process so many slots; before that it has those of the settings."""
    global _slots  # noqa: PLW0603 - one process, one set of slots
    _slots = Slots(total)
    return _slots


def slots() -> Slots:
    """Those of this process."""
    return _slots if _slots is not None else share_out(settings.PUBLISHER_CONCURRENCY)
