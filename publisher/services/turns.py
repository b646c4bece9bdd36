"""An account's turn to call DeviantArt: asked for before each call, and told what became of it after.

A wait of up to a second is slept; a longer one lets the work go and defers the account, which counts as nothing.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db.models import Min

from accounts.models import DeviantArtAccount
from accounts.services.pacing import gate
from deviantart.client import Client
from deviantart.errors import DeviantArtError
from deviantart.pace import Kind, Permit, Reason
from deviantart.types import Deviation as RemoteDeviation
from deviantart.types import Metadata, Page
from deviations.models import Deviation
from isekai import clock
from publisher.errors import PublisherError

logger = structlog.get_logger(__name__)

SLEPT_SECONDS = 1.0
REASONS = {
    Reason.SPACING: "pace",
    Reason.RESERVED: "pace",
    Reason.PENALTY: "rate_limit",
    Reason.APPLICATION: "rate_limit",
    Reason.HELD: "breaker",
}


class NotYet(PublisherError):
    """The account may not call before ``seconds`` have passed; ``reason`` is a code for why."""

    code = "not_yet"

    def __init__(self, seconds: float, *, reason: str) -> None:
        super().__init__(f"Not before {seconds:.1f} s: {reason}.")
        self.seconds = seconds
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Turn:
    """One call that may start now."""

    permit: Permit

    def over(self, error: DeviantArtError | None = None) -> float | None:
        """Say what became of the call; the seconds for which nothing more may be asked, if that follows from it."""
        wait = gate().after_call(self.permit, error)
        return None if wait is None else wait.seconds


def wait_for_turn(
    account: DeviantArtAccount, kind: Kind, client: Client, *, patience_seconds: float | None = None
) -> Turn:
    """The account's turn, now or within ``patience_seconds`` (None: a second); raises NotYet when it comes later.

    A call of a work in hand is urgent whatever it is, a look-up too: what waits for it is the account's other works.
    """
    next_due = None if kind is Kind.PUBLISH else _next_due_in_seconds(account)
    left = SLEPT_SECONDS if patience_seconds is None else patience_seconds
    while True:
        answer = gate().before_call(account.pk, kind, probe=client.placebo, next_due_in_seconds=next_due)
        if isinstance(answer, Permit):
            return Turn(answer)
        if answer.seconds > left:
            raise NotYet(answer.seconds, reason=REASONS[answer.reason])
        left -= answer.seconds
        time.sleep(answer.seconds)


def _next_due_in_seconds(account: DeviantArtAccount) -> float | None:
    """When the account's next work falls due: a reading call keeps out of its way."""
    coming = Deviation.objects.waiting().filter(account=account, status=Deviation.Status.SCHEDULED)
    due: datetime | None = coming.aggregate(next=Min("due_at"))["next"]
    return None if due is None else max(0.0, (due - clock.database_now()) / timedelta(seconds=1))


class PacedReader:
    """What of a client is needed to look something up, each call of it in the account's turn.

    The first turn is taken when the reader is made, which raises NotYet when there is none; for those that follow it
    waits up to ``patience_seconds``, since a look that is broken off begins again from its first page.
    """

    def __init__(
        self, client: Client, account: DeviantArtAccount, kind: Kind, *, patience_seconds: float | None = None
    ) -> None:
        self._client = client
        self._account = account
        self._kind = kind
        self._patience_seconds = patience_seconds
        self._first: Turn | None = wait_for_turn(account, kind, client)

    def gallery_pages(self) -> Iterator[Page[RemoteDeviation]]:
        """As the client's. Raises NotYet between two pages."""
        pages = iter(self._client.gallery_pages())
        while True:
            with self._turn():
                page = next(pages, None)
            if page is None:
                return
            yield page
            if not page.has_more:
                return

    def deviation_metadata(self, ids: Sequence[str], *, ext_submission: bool = False) -> tuple[Metadata, ...]:
        with self._turn():
            return self._client.deviation_metadata(ids, ext_submission=ext_submission)

    def picture(self, url: str, max_bytes: int) -> bytes:
        """Pictures come from elsewhere, and cost the account nothing."""
        return self._client.picture(url, max_bytes)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        turn, self._first = self._first or self._next_turn(), None
        try:
            yield
        except DeviantArtError as error:
            turn.over(error)
            raise
        turn.over()

    def _next_turn(self) -> Turn:
        return wait_for_turn(self._account, self._kind, self._client, patience_seconds=self._patience_seconds)
