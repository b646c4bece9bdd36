"""The work in hand, with what is needed to call DeviantArt for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings

from accounts.models import DeviantArtAccount
from accounts.services.clients import client_for
from accounts.services.tokens import Token, usable_token
from deviantart.client import Client
from deviations.models import Deviation
from isekai import faults
from publisher.errors import TooLateToSend
from publisher.services.claiming import Claim


@dataclass(slots=True)
class Job:
    """A claimed work. ``token`` is fetched when it is first needed, and again after DeviantArt refused it."""

    claim: Claim
    deviation: Deviation
    account: DeviantArtAccount
    token: Token | None = field(default=None, repr=False)

    @classmethod
    def of(cls, claim: Claim) -> "Job":
        deviation = Deviation.objects.select_related("account", "workspace").get(pk=claim.deviation_id)
        return cls(claim, deviation, DeviantArtAccount.objects.get(pk=claim.account_id))

    def client(self) -> Client:
        """Raises LoginLost or TokenUnavailable."""
        if self.token is None:
            self.token = usable_token(self.account.pk)
        return client_for(self.account, self.token)

    def renew_token(self) -> None:
        """After DeviantArt refused the token: have another one made. Raises LoginLost or TokenUnavailable."""
        rejected = self.token.version if self.token else None
        self.token = usable_token(self.account.pk, rejected_version=rejected)


def while_in_time(seconds: float, *, point: str | None = None) -> Callable[[], None]:
    """A last look at the watch, directly before a call is sent.

    Between writing the call down and sending it this process may have been stopped for longer than others wait before
    they take over; then the call must not be made any more. Raises TooLateToSend.
    """
    began = time.monotonic()

    def check() -> None:
        if point is not None:
            faults.reach(point)
        if time.monotonic() - began > seconds:
            raise TooLateToSend("This call was written down too long ago to be made now.")

    return check


def longest_wait_before_sending() -> float:
    """Seconds between an intent and its call, within which nobody else repeats it (see `settling`)."""
    return settings.PUBLISHER_REPEAT_MARGIN_SECONDS / 2
