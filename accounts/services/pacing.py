"""The pace and the breakers of this installation, shared by all its processes through Redis."""

from functools import cache

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deviantart.breaker import Breaker, BreakerConfig
from deviantart.pace import Pace, PaceConfig

# Callers wait for the answer, and go on carefully without one.
ANSWER_SECONDS = 1.0


@cache
def pace() -> Pace:
    return Pace(
        _redis(),
        PaceConfig(
            enabled=settings.RATE_LIMITER_ENABLED,
            base_delay_seconds=settings.RATE_LIMITER_BASE_DELAY_SECONDS,
            max_delay_seconds=settings.RATE_LIMITER_MAX_DELAY_SECONDS,
            least_delay_seconds=0.1 * settings.ISEKAI_TIME_SCALE,
        ),
    )


@cache
def breaker() -> Breaker:
    return Breaker(
        _redis(),
        BreakerConfig(
            enabled=settings.CIRCUIT_BREAKER_ENABLED,
            threshold=settings.CIRCUIT_BREAKER_THRESHOLD,
            open_seconds=settings.CIRCUIT_BREAKER_OPEN_SECONDS,
            first_open_seconds=60 * settings.ISEKAI_TIME_SCALE,
            window_seconds=60 * settings.ISEKAI_TIME_SCALE,
            block_window_seconds=600 * settings.ISEKAI_TIME_SCALE,
        ),
    )


def _redis() -> Redis:
    return Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
