"""The caches: what they hold may vanish at any moment, and so may Redis itself."""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

logger = structlog.get_logger(__name__)
T = TypeVar("T")


def _forgive(call: Callable[[], T], otherwise: T) -> T:
    try:
        return call()
    except (RedisError, OSError) as error:
        logger.warning("cache_unavailable", error=type(error).__name__)
        return otherwise


class ForgivingRedisCache(RedisCache):
    """Django's Redis cache, which answers as if it were empty while Redis is away.

    Sessions then come from the database, and pages compute what they would have looked up.
    """

    def add(self, *args: Any, **options: Any) -> bool:
        return _forgive(lambda: super(ForgivingRedisCache, self).add(*args, **options), otherwise=False)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return _forgive(lambda: super(ForgivingRedisCache, self).get(key, default, version), otherwise=default)

    def set(self, *args: Any, **options: Any) -> None:
        _forgive(lambda: super(ForgivingRedisCache, self).set(*args, **options), otherwise=None)

    def touch(self, *args: Any, **options: Any) -> bool:
        return _forgive(lambda: super(ForgivingRedisCache, self).touch(*args, **options), otherwise=False)

    def delete(self, *args: Any, **options: Any) -> bool:
        return _forgive(lambda: super(ForgivingRedisCache, self).delete(*args, **options), otherwise=False)

    def has_key(self, *args: Any, **options: Any) -> bool:
        return _forgive(lambda: super(ForgivingRedisCache, self).has_key(*args, **options), otherwise=False)
