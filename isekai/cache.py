"""The caches: what they hold may vanish at any moment, and so may Redis itself."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from isekai.outage import Outage

T = TypeVar("T")


class CacheServer:
    """What the threads of a process know together about one cache."""

    by_location: dict[str, "CacheServer"] = {}

    def __init__(self) -> None:
        self.outage = Outage("cache")
        self.outdated = False
        """A change has not reached it: what it holds may have been replaced or deleted meanwhile."""

    @classmethod
    def at(cls, location: str) -> "CacheServer":
        return cls.by_location.setdefault(location, cls())


class ForgivingRedisCache(RedisCache):
    """Django's Redis cache, which answers as if it were empty while Redis is away.

    Sessions then come from the database, and pages compute what they would have looked up. A cache that missed a
    change is emptied before it is believed again: it may still hold the session of somebody who has signed out.
    """

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._shared = CacheServer.at(server)

    def _ask(self, call: Callable[[], T], otherwise: T) -> T:
        return self._forgive(call, otherwise, changes=False)

    def _change(self, call: Callable[[], T], otherwise: T) -> T:
        return self._forgive(call, otherwise, changes=True)

    def _forgive(self, call: Callable[[], T], otherwise: T, *, changes: bool) -> T:
        shared = self._shared
        if shared.outage.lasts():
            shared.outdated |= changes
            return otherwise
        try:
            if shared.outdated:
                super().clear()
                shared.outdated = False
            answer = call()
        except (RedisError, OSError) as error:
            shared.outage.noticed(error)
            shared.outdated |= changes
            return otherwise
        shared.outage.over()
        return answer

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._change(lambda: super(ForgivingRedisCache, self).add(key, value, timeout, version), otherwise=False)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self._ask(lambda: super(ForgivingRedisCache, self).get(key, default, version), otherwise=default)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._change(lambda: super(ForgivingRedisCache, self).set(key, value, timeout, version), otherwise=None)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._change(lambda: super(ForgivingRedisCache, self).touch(key, timeout, version), otherwise=False)

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self._change(lambda: super(ForgivingRedisCache, self).delete(key, version), otherwise=False)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        return self._ask(lambda: super(ForgivingRedisCache, self).get_many(keys, version), otherwise={})

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._ask(lambda: super(ForgivingRedisCache, self).has_key(key, version), otherwise=False)

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Raises ValueError where there is no such key, also while Redis is away."""
        value = self._change(lambda: super(ForgivingRedisCache, self).incr(key, delta, version), otherwise=None)
        if value is None:
            raise ValueError(f"Key {key!r} not found.")
        return value

    def set_many(self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> list[Any]:
        """The keys that could not be set: all of them while Redis is away."""
        return self._change(
            lambda: super(ForgivingRedisCache, self).set_many(data, timeout, version), otherwise=list(data)
        )

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        self._change(lambda: super(ForgivingRedisCache, self).delete_many(keys, version), otherwise=None)

    def clear(self) -> None:
        self._change(super().clear, otherwise=None)


class SessionCache(ForgivingRedisCache):
    """Forgets soon what it holds, whatever it is told: the database has it.

    A process that ended a session while Redis was away may itself have ended before it could empty the cache.
    """

    longest_seconds = 60

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> int:
        seconds = super().get_backend_timeout(timeout)
        return self.longest_seconds if seconds is None else min(int(seconds), self.longest_seconds)
