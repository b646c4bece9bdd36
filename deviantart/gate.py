"""The one way to a call: first the breaker, then the pace; afterwards both hear what became of it."""

import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError

from deviantart import breaker as breakers
from deviantart import pace as paces
from deviantart.breaker import Breaker, Held, Probe
from deviantart.errors import DeviantArtError
from deviantart.pace import Kind, Pace, Permit, Reason, Wait

# Both scripts in one round trip, and at one moment. The pace is asked only where the breakers are closed; what became
# of a call is told to both.
_BOTH = f"""
local function breaker(KEYS, ARGV)
{breakers.SCRIPT}
end
local function pace(KEYS, ARGV)
{paces.SCRIPT}
end
local found = breaker({{ KEYS[1], KEYS[2], KEYS[3], KEYS[4] }}, {{ ARGV[1], ARGV[2] }})
if ARGV[1] == 'ask' and found[1] ~= 'closed' then
  return {{ found }}
end
return {{ found, pace({{ KEYS[5], KEYS[6], KEYS[7] }}, {{ ARGV[3], ARGV[4] }}) }}
"""


class Gate:
    """``before_call``, the call, ``after_call``, whatever happened in between."""

    def __init__(self, pace: Pace, breaker: Breaker) -> None:
        self.pace = pace
        self.breaker = breaker
        self._both = pace.redis.register_script(_BOTH)

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
        account = str(account)
        answers = self._ask_both(account, kind, may_probe=probe is not None, next_due_in_seconds=next_due_in_seconds)
        if answers is None:
            found = self.breaker.before_call(account, may_probe=probe is not None)
        elif isinstance(answers, Permit | Wait):
            return answers
        else:
            found = answers
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
        started_at = None if permit.is_local else permit.started_at
        to_breaker = self.breaker.report(permit.account, error, started_at=started_at)
        to_pace = self.pace.report(permit, error)
        answers = self._run(to_breaker, to_pace)
        if answers is None:
            held = self.breaker.after_call(permit.account, error, started_at=started_at)
            wait = self.pace.after_call(permit, error)
        else:
            held = self.breaker.told(permit.account, answers[0])
            wait = self.pace.told(permit, error, answers[1])
        waits = [each for each in (wait, _as_wait(held) if held else None) if each is not None]
        return max(waits, key=lambda each: each.seconds, default=None)

    def _ask_both(
        self, account: str, kind: Kind, *, may_probe: bool, next_due_in_seconds: float | None
    ) -> Permit | Wait | Held | Probe | None:
        """What both say; None where they have to be asked one after the other."""
        token = secrets.token_hex(8) if may_probe else None
        answers = self._run(
            self.breaker.question(account, token),
            self.pace.question(account, kind, next_due_in_seconds=next_due_in_seconds),
        )
        if answers is None:
            return None
        found = self.breaker.found(account, token, answers[0])
        return self.pace.found(account, kind, answers[1]) if found is None else found

    def _run(self, to_breaker: breakers.Question | None, to_pace: paces.Question | None) -> list[Any] | None:
        """The answers of both scripts; None where one of them is not to be asked, or Redis is away."""
        if to_breaker is None or to_pace is None or self.breaker.redis is not self.pace.redis:
            return None
        (breaker_keys, breaker_args), (pace_keys, pace_args) = to_breaker, to_pace
        try:
            answers: list[Any] = self._both(keys=breaker_keys + pace_keys, args=breaker_args + pace_args)
        except (RedisError, OSError) as error:
            for each in (self.breaker, self.pace):
                each.redis_is_away(error)
            return None
        return answers

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
