"""A limiter as DeviantArt may have one, for trying a pace against it without any network."""

import math

from deviantart.errors import RateLimited
from deviantart.pace import Kind, Pace, Permit

LIMITED = RateLimited(error="user_api_threshold", http_status=429)
APPLICATION_LIMITED = RateLimited(error="application_api_threshold", http_status=429)


class SetClock:
    """A clock that stands still until it is moved, by whole microseconds as those of Redis."""

    def __init__(self) -> None:
        self._micros = 2_000_000_000_000_000

    def __call__(self) -> float:
        return self._micros / 1_000_000

    def advance(self, seconds: float) -> None:
        """By at least so much."""
        self._micros += math.ceil(round(seconds * 1_000_000, 3))


class LeakyBucket:
    """Lets so many calls through at once, then so many a second; a refusal closes it, longer with each call inside."""

    def __init__(self, clock: SetClock, *, burst: float, per_second: float, penalty_seconds: float = 4) -> None:
        self._clock = clock
        self._burst = burst
        self._tokens = burst
        self._at = clock()
        self._penalty_seconds = penalty_seconds
        self._penalty = penalty_seconds
        self._closed_until = 0.0
        self.per_second = per_second
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.inside_penalty = 0

    def takes(self) -> bool:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if now >= self._closed_until and self._tokens >= 1:
            self._tokens -= 1
            self.accepted.append(now)
            return True
        inside = now < self._closed_until
        self._penalty = min(1800, self._penalty * 2) if inside else self._penalty_seconds
        self._closed_until = now + self._penalty
        self.inside_penalty += inside
        self.refused.append(now)
        return False


def keep_calling(pace: Pace, clock: SetClock, bucket: LeakyBucket, seconds: float, account: str = "artist") -> None:
    """Call as soon as the pace lets us, for so long."""
    end = clock() + seconds
    while clock() < end:
        answer = pace.before_call(account, Kind.PUBLISH)
        if isinstance(answer, Permit):
            pace.after_call(answer, None if bucket.takes() else LIMITED)
        else:
            clock.advance(answer.seconds)
