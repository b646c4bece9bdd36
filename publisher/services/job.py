"""The work in hand, with what is needed to call DeviantArt for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from accounts.models import DeviantArtAccount
from accounts.services.clients import client_for
from accounts.services.tokens import Token, usable_token
from deviantart.client import Client
from deviations.models import Deviation
from isekai import clock, faults
from isekai.compiled import Compiled
from publisher.errors import TooLateToSend
from publisher.services.claiming import Claim, StageClaim
from publisher.services.slots import Place

# What was read with the work is news for so long, by this process's clock.
READ_JUST_NOW_SECONDS = 1.0
_works = Compiled(
    lambda pk: Deviation.objects.filter(pk=pk).select_related("account").annotate(now=clock.DatabaseNow())
)


@dataclass(slots=True)
class Job:
    """A claimed work. ``token`` is fetched when it is first needed, and again after DeviantArt refused it.

    ``place`` is where it runs among the slots of this process, None outside of them. ``due_in`` is read off this
    process's own clock, which the database's was compared with when the work was read.
    """

    claim: Claim
    deviation: Deviation
    account: DeviantArtAccount
    token: Token | None = field(default=None, repr=False)
    place: Place | None = None
    due_at_monotonic: float = 0.0
    read_at: datetime | None = None
    read_at_monotonic: float = 0.0

    @classmethod
    def of(cls, claim: Claim, *, place: Place | None = None) -> "Job":
        asked_at = time.monotonic()
        for deviation in _works(claim.deviation_id):
            # The database's clock was read before its answer came, so what is counted from here is never early.
            now: datetime = deviation.now  # type: ignore[attr-defined]  # an annotation
            due = time.monotonic() + (claim.due_at - now).total_seconds()
            if deviation.account is None:
                raise ValueError("A constraint: what is on its way has an account.")
            return cls(claim, deviation, deviation.account, None, place, due, now, asked_at)
        raise Deviation.DoesNotExist

    def client(self) -> Client:
        """Raises LoginLost or TokenUnavailable."""
        if self.token is None:
            is_news = time.monotonic() - self.read_at_monotonic < READ_JUST_NOW_SECONDS
            read = (self.account, self.read_at) if is_news and self.read_at is not None else None
            self.token = usable_token(self.account.pk, just_read=read)
        return client_for(self.account, self.token)

    def renew_token(self) -> None:
        """After DeviantArt refused the token: have another one made. Raises LoginLost or TokenUnavailable."""
        rejected = self.token.version if self.token else None
        self.token = usable_token(self.account.pk, rejected_version=rejected)

    def wait_until_due(self) -> None:
        """Sleep what is left of the work's last moments before its time: nothing is public earlier."""
        while (early := self.due_at_monotonic - time.monotonic()) > 0:
            time.sleep(early)

    def let_upload_share_go(self) -> None:
        if self.place is not None:
            self.place.let_upload_go()


@dataclass(slots=True)
class StageJob:
    """A publication that is being uploaded ahead of its time, with what is needed for that."""

    claim: StageClaim
    deviation: Deviation
    account: DeviantArtAccount
    token: Token | None = field(default=None, repr=False)
    # So long the token must live: beyond the moment at which the work goes out.
    must_live_seconds: float | None = None

    def client(self) -> Client:
        """Raises LoginLost or TokenUnavailable."""
        if self.token is None:
            self.token = usable_token(self.account.pk, must_live_seconds=self.must_live_seconds)
        return client_for(self.account, self.token)

    def renew_token(self) -> None:
        """As that of `Job`."""
        rejected = self.token.version if self.token else None
        self.token = usable_token(self.account.pk, rejected_version=rejected)


def while_in_time(
    seconds: float, *, point: str | None = None, wait: Callable[[], None] | None = None
) -> Callable[[], None]:
    """A last look at the watch, directly before a call is sent; first ``wait``, for a moment that has not come yet.

    Made before the call is written down, as the watch runs from then on. Between writing the call down and sending it
    this process may have been stopped for longer than others wait before they take over; then the call must not be made
    any more. Raises TooLateToSend.
    """
    began = time.monotonic()

    def check() -> None:
        if wait is not None:
            wait()
        if point is not None:
            faults.reach(point)
        if time.monotonic() - began > seconds:
            raise TooLateToSend("This call was written down too long ago to be made now.")

    return check


def longest_wait_before_sending() -> float:
    """Seconds between an intent and its call, within which nobody else repeats it (see `settling`)."""
    return settings.PUBLISHER_REPEAT_MARGIN_SECONDS / 2
