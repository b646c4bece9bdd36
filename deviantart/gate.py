"""The one way to a call: first the breaker, then the pace; afterwards both hear what became of it."""

from collections.abc import Callable
from uuid import UUID

from deviantart.breaker import Breaker, Held, Probe
from deviantart.errors import DeviantArtError
from deviantart.pace import Kind, Pace, Permit, Reason, Wait


class Gate:
    """``before_call``, the call, ``after_call``, whatever happened in between."""

    def __init__(self, pace: Pace, breaker: Breaker) -> None:
        self.pace = pace
        self.breaker = breaker

    def before_call(
        self,
        account: UUID | str,
        kind: Kind,
        *,
        probe: Callable[[], object] | None = None,
        next_due_in_seconds: float | None = None,
    ) -> Permit | Wait:
        """Whether a call of an account may start now, else when to come back.

        ``probe`` (the client's ``placebo``) is called when a breaker that was open wants to know whether it may close;
        without one somebody else has to find that out. It raises what is no DeviantArtError. The rest is as in
        ``Pace.before_call``.
        """
        found = self.breaker.before_call(account, may_probe=probe is not None)
        while isinstance(found, Probe) and probe is not None:
            answer = self._send(found, probe)
            if answer is not None:
                return answer
            # Closed; that of the account may be half-open as well.
            found = self.breaker.before_call(account, may_probe=True)
        if isinstance(found, Held):
            return _as_wait(found)
        return self.pace.before_call(account, kind, next_due_in_seconds=next_due_in_seconds)

    def after_call(self, permit: Permit, error: BaseException | None = None) -> Wait | None:
        """Say what became of a call; the longer Wait when that means one for its account, or for everybody."""
        held = self.breaker.after_call(permit.account, error, started_at=None if permit.is_local else permit.started_at)
        wait = self.pace.after_call(permit, error)
        waits = [each for each in (wait, _as_wait(held) if held else None) if each is not None]
        return max(waits, key=lambda each: each.seconds, default=None)

    def _send(self, place: Probe, probe: Callable[[], object]) -> Wait | None:
        """Send the probe; None when it closed its breaker."""
        permit = self.pace.before_call(place.account, Kind.PUBLISH)
        if isinstance(permit, Wait):
            self.breaker.give_way(place)
            return permit
        try:
            probe()
        except BaseException as error:
            self.pace.after_call(permit, error)
            held = self.breaker.after_probe(place, error)
            if not isinstance(error, DeviantArtError):
                raise
        else:
            self.pace.after_call(permit)
            held = self.breaker.after_probe(place)
        return None if held is None else _as_wait(held)


def _as_wait(held: Held) -> Wait:
    return Wait(held.seconds, held.until, Reason.HELD)
