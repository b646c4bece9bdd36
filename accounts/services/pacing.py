"""The pace and the breakers of this installation, shared by all its processes through Redis, and how to reset them."""

from functools import cache

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.models import DeviantArtAccount, User
from accounts.services.audit import record
from deviantart.breaker import Breaker, BreakerConfig
from deviantart.gate import Gate
from deviantart.pace import Pace, PaceConfig
from isekai import queue

# Callers wait for the answer, and go on carefully without one.
ANSWER_SECONDS = 1.0

# The reasons for which an account is deferred because of its pace or a breaker: such a wait ends with a reset.
_PACED = Q(not_before_reason__in=["pace", "rate_limit"]) | Q(not_before_reason__startswith="breaker")


def pace() -> Pace:
    scale, base = settings.ISEKAI_TIME_SCALE, settings.RATE_LIMITER_BASE_DELAY_SECONDS
    return _pace(
        settings.REDIS_URL,
        PaceConfig(
            enabled=settings.RATE_LIMITER_ENABLED,
            base_delay_seconds=base,
            max_delay_seconds=settings.RATE_LIMITER_MAX_DELAY_SECONDS,
            least_delay_seconds=base / 30,
            doubling_seconds=10 * scale,
            forget_seconds=3600 * scale,
            reserve_seconds=10 * scale,
            stage_seconds=10 * scale,
            longest_pause_seconds=2000 * scale,
        ),
    )


def breaker() -> Breaker:
    scale = settings.ISEKAI_TIME_SCALE
    return _breaker(
        settings.REDIS_URL,
        BreakerConfig(
            enabled=settings.CIRCUIT_BREAKER_ENABLED,
            threshold=settings.CIRCUIT_BREAKER_THRESHOLD,
            open_seconds=settings.CIRCUIT_BREAKER_OPEN_SECONDS,
            first_open_seconds=60 * scale,
            window_seconds=60 * scale,
            block_window_seconds=600 * scale,
            lease_seconds=settings.DEVIANTART_READ_DEADLINE_SECONDS + 15 * scale,
            look_again_seconds=2 * scale,
        ),
    )


def gate() -> Gate:
    """Both in their order: the way to every call to DeviantArt."""
    return Gate(pace(), breaker())


def reset_pace(account: DeviantArtAccount, *, user: User | None = None) -> None:
    """Forget what was learnt of an account's pace, its penalty and its breaker included, and let it go on.

    ``user`` is who wanted it, None at the command line. Raises RedisError when Redis is away.
    """
    pace().reset(account.pk)
    breaker().reset(account.pk)
    with transaction.atomic():
        DeviantArtAccount.objects.filter(_PACED, pk=account.pk).update(not_before=None, not_before_reason="")
        record("account.pace_reset", account, user=user)
        queue.send("publisher.publish_next", account.pk)


def reset_installation() -> None:
    """The same for the application's pace and the installation's breaker. Raises RedisError when Redis is away."""
    pace().reset(None)
    breaker().reset(None)


# One for each configuration: they remember what this process has seen.
@cache
def _pace(redis_url: str, config: PaceConfig) -> Pace:
    return Pace(_redis(redis_url), config)


@cache
def _breaker(redis_url: str, config: BreakerConfig) -> Breaker:
    return Breaker(_redis(redis_url), config)


@cache
def _redis(url: str) -> Redis:
    return Redis.from_url(
        url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
    )
