"""Pages and sessions go on while Redis is stopped, or hangs, for real."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache, caches
from django.test import Client
from redis import Redis

from isekai import cache as isekai_cache
from isekai.cache import CacheServer
from tests.factories import UserFactory
from tests.isekai.conftest import OwnRedis
from tests.processes import wait_until


@pytest.fixture
def redis(own_redis: OwnRedis, settings: Any) -> Iterator[OwnRedis]:
    """The caches of the settings, on a Redis that the test may stop."""
    moved = {name: dict(options) for name, options in settings.CACHES.items()}
    for number, options in enumerate(moved.values(), 1):
        options["LOCATION"] = own_redis.url.removesuffix("/0") + f"/{number}"
    settings.CACHES = moved
    yield own_redis
    CacheServer.by_location.clear()


def stop(redis: OwnRedis) -> None:
    redis.stop()


def hang(redis: OwnRedis) -> None:
    redis.signal(signal.SIGSTOP)


def stored(key: str) -> Any:
    """What the cache holds once it is believed again."""
    wait_until(lambda: not CacheServer.at(caches.settings["default"]["LOCATION"]).outage.lasts())
    return cache.get(key)


def test_a_cache_keeps_what_it_is_given(redis: OwnRedis) -> None:
    assert cache.add("a", 1) is True
    assert cache.add("a", 2) is False
    cache.set_many({"b": 2, "c": 3})
    assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": 3}
    assert cache.incr("a", 4) == 5
    assert cache.has_key("b") is True
    assert cache.touch("b", 100) is True
    assert cache.delete("b") is True
    cache.delete_many(["c"])
    assert cache.get("c", "nothing") == "nothing"
    cache.clear()
    assert cache.get("a") is None


@pytest.mark.parametrize("goes_away", [stop, hang])
def test_a_cache_without_its_server_is_empty_and_costs_little(redis: OwnRedis, goes_away: Any) -> None:
    cache.set_many({"a": 1, "b": 2})
    goes_away(redis)
    started = time.monotonic()
    for _ in range(20):
        assert cache.get("a", "nothing") == "nothing"
        assert cache.get_many(["a", "b"]) == {}
        assert cache.has_key("a") is False
        assert cache.add("a", 3) is False
        cache.set("a", 4)
        assert cache.set_many({"a": 5}) == ["a"]
        assert cache.touch("a") is False
        assert cache.delete("a") is False
        cache.delete_many(["a"])
        cache.clear()
        assert cache.get_or_set("a", lambda: 6) == 6
        with pytest.raises(ValueError, match="not found"):
            cache.incr("a")
    # It was waited for once, not two hundred times.
    assert time.monotonic() - started < 2


def test_an_outage_is_told_once(redis: OwnRedis, caplog: pytest.LogCaptureFixture) -> None:
    stop(redis)
    for _ in range(10):
        cache.get("a")
    assert caplog.text.count("server_away") == 1
    redis.start()
    wait_until(lambda: "server_back" in caplog.text or cache.get("a"))
    assert caplog.text.count("server_back") == 1


def test_what_was_changed_during_an_outage_is_not_believed_after_it(redis: OwnRedis) -> None:
    cache.set("changed", "old", None)
    cache.set("other", "kept", None)
    stop(redis)
    cache.delete("changed")
    redis.start()
    assert Redis.from_url(caches.settings["default"]["LOCATION"]).exists(cache.make_key("changed")), "it is still there"
    assert stored("changed") is None


def test_an_outage_without_changes_empties_nothing(redis: OwnRedis) -> None:
    cache.set("kept", "still", None)
    stop(redis)
    assert cache.get("kept") is None
    redis.start()
    assert stored("kept") == "still"


@pytest.mark.django_db
@pytest.mark.urls("tests.isekai.urls")
@pytest.mark.parametrize("goes_away", [stop, hang])
def test_sessions_go_on_without_redis(client: Client, redis: OwnRedis, goes_away: Any) -> None:
    user = UserFactory()
    client.force_login(user)
    assert client.get("/tests/whoami/").json()["seen"] == 1
    goes_away(redis)
    for seen in (2, 3, 4):
        answer = client.get("/tests/whoami/").json()
        assert (answer["user"], answer["seen"]) == (user.username, seen)
    # A stranger is told the same as ever, and may sign in.
    stranger = Client()
    assert stranger.get("/tests/whoami/").json()["user"] == ""
    stranger.force_login(user)
    assert stranger.get("/tests/whoami/").json()["user"] == user.username


@pytest.mark.django_db
@pytest.mark.urls("tests.isekai.urls")
def test_whoever_signed_out_during_an_outage_stays_signed_out(client: Client, redis: OwnRedis) -> None:
    client.force_login(UserFactory())
    client.get("/tests/whoami/")
    held = client.cookies[settings.SESSION_COOKIE_NAME].value
    stop(redis)
    client.logout()
    redis.start()
    client.cookies[settings.SESSION_COOKIE_NAME] = held
    location = caches.settings["sessions"]["LOCATION"]
    wait_until(lambda: not CacheServer.at(location).outage.lasts())
    assert client.get("/tests/whoami/").json()["user"] == ""


@pytest.mark.django_db
@pytest.mark.urls("tests.isekai.urls")
def test_a_session_is_cached_for_a_minute_at_most(client: Client, redis: OwnRedis) -> None:
    client.force_login(UserFactory())
    client.get("/tests/whoami/")
    held = Redis.from_url(caches.settings["sessions"]["LOCATION"])
    keys = held.keys("*")
    assert len(keys) == 1
    assert 0 < held.ttl(keys[0]) <= isekai_cache.SessionCache.longest_seconds
