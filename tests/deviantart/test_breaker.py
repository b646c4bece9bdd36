"""The breakers, on a real Redis: when they open, and how one probe closes them."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import RedisError

from deviantart import errors
from deviantart.breaker import Breaker, BreakerConfig, Cause, Held, Position, Probe, Scope, outcome_of
from tests.deviantart.crowd import crowd, run_and_die
from tests.deviantart.limited import APPLICATION_LIMITED, LIMITED, SetClock
from tests.isekai.conftest import OwnRedis

CONFIG = BreakerConfig()
MAINTENANCE = errors.ServerFailed(http_status=503)
FAILED = errors.ServerFailed(http_status=500)
BLOCKED = errors.BlockPage(http_status=403)
EXPIRED = errors.TokenExpired(http_status=401)


def redis_of(url: str, patience_seconds: float = 0.5) -> Redis:
    return Redis.from_url(url, socket_timeout=patience_seconds, socket_connect_timeout=patience_seconds)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def make(clock: SetClock) -> Callable[..., Breaker]:
    """Breakers that share one state, each as another process would have it."""
    prefix = f"test:{uuid4()}"

    def make(host: str = "one", config: BreakerConfig = CONFIG) -> Breaker:
        return Breaker(redis_of(settings.REDIS_URL), config, host=host, prefix=prefix, clock=clock)

    return make


@pytest.fixture
def breaker(make: Callable[..., Breaker]) -> Breaker:
    return make()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.stop()


def held(breaker: Breaker, account: str = "artist", *, may_probe: bool = True) -> Held:
    found = breaker.before_call(account, may_probe=may_probe)
    assert isinstance(found, Held), found
    return found


def probe_of(breaker: Breaker, account: str = "artist") -> Probe:
    found = breaker.before_call(account, may_probe=True)
    assert isinstance(found, Probe), found
    return found


def is_closed(breaker: Breaker, account: str = "artist") -> bool:
    return breaker.before_call(account, may_probe=True) is None


def tell(breaker: Breaker, *errors_: Exception | None, account: str = "artist") -> Held | None:
    found = None
    for error in errors_:
        found = breaker.after_call(account, error)
    return found


def opened(breaker: Breaker, *errors_: Exception | None, account: str = "artist") -> Held:
    found = tell(breaker, *errors_, account=account)
    assert found is not None
    return found


# --- the breaker of an account


def test_an_account_is_held_after_several_429_in_a_row(breaker: Breaker, clock: SetClock) -> None:
    assert tell(breaker, LIMITED, LIMITED) is None
    assert is_closed(breaker)
    found = opened(breaker, LIMITED)
    assert (found.seconds, found.scope, found.cause) == (300, Scope.ACCOUNT, Cause.LIMITED)
    clock.advance(100)
    assert held(breaker).seconds == 200
    assert is_closed(breaker, "somebody else")


def test_an_answer_in_between_begins_the_count_anew(breaker: Breaker) -> None:
    assert tell(breaker, LIMITED, LIMITED, None, LIMITED, LIMITED, EXPIRED, LIMITED, LIMITED) is None
    assert is_closed(breaker)


def test_refusals_of_calls_that_were_under_way_together_are_one(breaker: Breaker, clock: SetClock) -> None:
    for started_at in (clock() - 1, clock() - 0.5, clock() - 0.2, clock() - 0.1):
        assert breaker.after_call("artist", LIMITED, started_at=started_at) is None
        clock.advance(0.01)
    assert is_closed(breaker)


@pytest.mark.parametrize("error", [APPLICATION_LIMITED, errors.Unreachable(), RuntimeError("ours"), FAILED, BLOCKED])
def test_what_is_no_429_of_the_account_does_not_hold_it(breaker: Breaker, error: Exception) -> None:
    tell(breaker, *[error] * 4)
    assert is_closed(breaker)


def test_the_threshold_and_the_duration_are_the_settings(make: Callable[..., Breaker]) -> None:
    breaker = make(config=BreakerConfig(threshold=1, open_seconds=7))
    assert opened(breaker, LIMITED).seconds == 7


def test_switched_off_nothing_is_ever_held() -> None:
    breaker = Breaker(redis_of("redis://127.0.0.1:1/0"), BreakerConfig(enabled=False))
    assert tell(breaker, *[LIMITED] * 20, *[MAINTENANCE] * 20, *[BLOCKED] * 20) is None
    assert is_closed(breaker)


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"open_seconds": 0}, {"lease_seconds": 0}])
def test_a_breaker_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="breaker"):
        BreakerConfig(**wrong)


# --- the breaker of the installation


def test_maintenance_holds_everybody(breaker: Breaker) -> None:
    found = opened(breaker, MAINTENANCE, MAINTENANCE, MAINTENANCE)
    assert (found.seconds, found.scope, found.cause) == (60, Scope.INSTALLATION, Cause.MAINTENANCE)
    assert held(breaker, "somebody else").scope is Scope.INSTALLATION


def test_one_503_among_others_is_no_maintenance(breaker: Breaker) -> None:
    assert tell(breaker, MAINTENANCE, None, MAINTENANCE, None, MAINTENANCE, None) is None
    assert is_closed(breaker)


@pytest.mark.parametrize("error", [FAILED, errors.BadAnswer(http_status=200), errors.AnswerLost()])
def test_a_burst_of_failures_holds_everybody(breaker: Breaker, error: Exception) -> None:
    assert tell(breaker, *[error] * 4) is None
    assert opened(breaker, error).cause is Cause.FAILING


def test_failures_among_many_successes_hold_nobody(breaker: Breaker) -> None:
    for _ in range(20):
        assert tell(breaker, FAILED, None, None) is None
    assert is_closed(breaker)


def test_failures_that_are_far_apart_hold_nobody(breaker: Breaker, clock: SetClock) -> None:
    for _ in range(20):
        assert tell(breaker, FAILED) is None
        clock.advance(20)
    assert is_closed(breaker)


def test_connections_that_never_stood_say_nothing_of_deviantart(breaker: Breaker) -> None:
    assert tell(breaker, *[errors.Unreachable()] * 20) is None
    assert is_closed(breaker)


def test_block_pages_hold_everybody_once_three_accounts_see_them(breaker: Breaker) -> None:
    assert tell(breaker, *[BLOCKED] * 10, account="anna") is None
    assert tell(breaker, BLOCKED, account="berta") is None
    found = opened(breaker, BLOCKED, account="clara")
    assert (found.seconds, found.cause) == (300, Cause.BLOCKED)
    assert held(breaker, "dora").cause is Cause.BLOCKED


def test_block_pages_hold_everybody_once_two_hosts_see_them(make: Callable[..., Breaker]) -> None:
    assert tell(make("one"), BLOCKED) is None
    assert opened(make("two"), BLOCKED).cause is Cause.BLOCKED


def test_block_pages_of_long_ago_do_not_count(make: Callable[..., Breaker], clock: SetClock) -> None:
    tell(make("one"), BLOCKED)
    clock.advance(CONFIG.block_window_seconds + 1)
    assert tell(make("two"), BLOCKED) is None


# --- half-open


def test_when_its_time_is_over_one_caller_probes_and_the_others_wait(
    make: Callable[..., Breaker], clock: SetClock
) -> None:
    opened(make(), *[LIMITED] * 3)
    clock.advance(300)
    place = probe_of(make())
    assert (place.scope, place.account) == (Scope.ACCOUNT, "artist")
    for _ in range(5):
        assert held(make()).seconds == CONFIG.look_again_seconds
    assert make().after_probe(place) is None
    assert is_closed(make())


def test_who_cannot_probe_waits_for_somebody_who_can(breaker: Breaker, clock: SetClock) -> None:
    opened(breaker, *[LIMITED] * 3)
    clock.advance(300)
    held(breaker, may_probe=False)
    probe_of(breaker)


def test_a_probe_that_dies_frees_its_place(make: Callable[..., Breaker], clock: SetClock) -> None:
    opened(make(), *[MAINTENANCE] * 3)
    clock.advance(60)
    dead = run_and_die(lambda: probe_of(make()))
    assert dead.scope is Scope.INSTALLATION
    held(make())
    clock.advance(CONFIG.lease_seconds)
    alive = probe_of(make(), "somebody else")
    assert make().after_probe(dead) is None  # too late to decide anything
    held(make())
    make().after_probe(alive)
    assert is_closed(make())


def test_a_probe_that_gives_way_frees_its_place_at_once(breaker: Breaker, clock: SetClock) -> None:
    opened(breaker, *[LIMITED] * 3)
    clock.advance(300)
    breaker.give_way(probe_of(breaker))
    probe_of(breaker)


ENDINGS: list[tuple[Exception | None, bool, bool]] = [
    # what the probe found, and whether it closes the breaker of an account, and of the installation
    (None, True, True),
    (EXPIRED, True, True),
    (errors.NotAuthorized(http_status=403), True, True),
    (errors.Unexpected(http_status=404), True, True),
    (APPLICATION_LIMITED, True, True),
    (LIMITED, False, True),
    (MAINTENANCE, False, False),
    (FAILED, False, False),
    (errors.BadAnswer(http_status=200), False, False),
    (BLOCKED, False, False),
    (errors.AnswerLost(), False, False),
    (errors.Unreachable(), False, False),
    (RuntimeError("ours"), False, False),
    (MemoryError(), False, False),
]


@pytest.mark.parametrize(("error", "closes_account", "closes_installation"), ENDINGS)
def test_a_probe_closes_or_opens_and_never_hangs(
    breaker: Breaker, clock: SetClock, error: Exception | None, closes_account: bool, closes_installation: bool
) -> None:
    for failures, closes, scope in (
        ([LIMITED] * 3, closes_account, Scope.ACCOUNT),
        ([MAINTENANCE] * 3, closes_installation, Scope.INSTALLATION),
    ):
        opened(breaker, *failures)
        clock.advance(300)
        place = probe_of(breaker)
        assert place.scope is scope
        answer = breaker.after_probe(place, error)
        assert (answer is None) is closes
        assert is_closed(breaker) is closes
        clock.advance(600)
        if not closes:
            assert breaker.after_probe(probe_of(breaker)) is None
        assert is_closed(breaker)


def test_the_installation_is_held_longer_each_time_that_a_probe_fails(breaker: Breaker, clock: SetClock) -> None:
    found: Held | None = opened(breaker, *[MAINTENANCE] * 3)
    waits = []
    for _ in range(5):
        assert found is not None
        waits.append(found.seconds)
        clock.advance(found.seconds)
        found = breaker.after_probe(probe_of(breaker), MAINTENANCE)
    assert waits == [60, 120, 240, 300, 300]
    assert found is not None
    clock.advance(found.seconds)
    breaker.after_probe(probe_of(breaker))
    assert opened(breaker, *[MAINTENANCE] * 3).seconds == 60


def test_calls_that_were_under_way_when_it_opened_change_nothing(breaker: Breaker, clock: SetClock) -> None:
    opened(breaker, *[LIMITED] * 3)
    assert tell(breaker, None, LIMITED) is None
    assert held(breaker).seconds == 300


def test_both_breakers_are_probed_one_after_the_other(breaker: Breaker, clock: SetClock) -> None:
    opened(breaker, *[LIMITED] * 3)
    opened(breaker, *[MAINTENANCE] * 3, account="somebody else")
    clock.advance(300)
    first = probe_of(breaker)
    assert first.scope is Scope.INSTALLATION
    breaker.after_probe(first)
    second = probe_of(breaker)
    assert second.scope is Scope.ACCOUNT
    breaker.after_probe(second)
    assert is_closed(breaker)


def test_a_closed_installation_has_forgotten_who_was_blocked(make: Callable[..., Breaker], clock: SetClock) -> None:
    tell(make("one"), BLOCKED)
    opened(make("two"), BLOCKED)
    clock.advance(300)
    make().after_probe(probe_of(make()))
    assert tell(make("one"), BLOCKED) is None


# --- the operator


def test_the_operator_sees_every_breaker_and_closes_one(breaker: Breaker, clock: SetClock) -> None:
    tell(breaker, LIMITED, account="anna")
    opened(breaker, *[LIMITED] * 3, account="berta")
    seen = {state.account: state for state in breaker.states()}
    assert {who: state.position for who, state in seen.items()} == {
        None: Position.CLOSED,
        "anna": Position.CLOSED,
        "berta": Position.OPEN,
    }
    assert (seen["anna"].failures, seen["berta"].cause, seen["berta"].is_probing) == (1, Cause.LIMITED, False)
    assert seen["berta"].opened_at is not None
    assert seen["berta"].opened_at.timestamp() == clock()
    clock.advance(300)
    probe_of(breaker, "berta")
    (berta,) = [state for state in breaker.states() if state.account == "berta"]
    assert (berta.position, berta.is_probing) == (Position.HALF_OPEN, True)
    breaker.reset("berta")
    assert is_closed(breaker, "berta")


def test_the_operator_closes_the_breaker_of_the_installation(make: Callable[..., Breaker]) -> None:
    opened(make("one"), *[MAINTENANCE] * 3)
    make("two").reset(None)
    assert is_closed(make("one"))
    assert [state.account for state in make().states()] == [None, "artist"]


# --- a Redis that restarts, is emptied, or is gone


def limit(breaker: Breaker) -> None:
    opened(breaker, *[LIMITED] * 3)


def maintain(breaker: Breaker) -> None:
    opened(breaker, *[MAINTENANCE] * 3)


def test_the_state_survives_a_restart_of_redis(own_redis: OwnRedis) -> None:
    limit(Breaker(redis_of(own_redis.url), CONFIG))
    own_redis.stop()
    own_redis.start()
    assert held(Breaker(redis_of(own_redis.url), CONFIG)).scope is Scope.ACCOUNT


@pytest.mark.parametrize("fail", [limit, maintain])
def test_who_knows_of_an_open_breaker_keeps_it_when_everything_was_lost(
    own_redis: OwnRedis, fail: Callable[[Breaker], None]
) -> None:
    breaker = Breaker(redis_of(own_redis.url), CONFIG)
    fail(breaker)
    before = held(breaker)
    own_redis.client().flushall()
    after = held(breaker)
    assert (after.scope, after.cause) == (before.scope, before.cause)
    assert after.seconds == pytest.approx(before.seconds, abs=2)
    held(Breaker(redis_of(own_redis.url), CONFIG))  # Redis knows it again


def test_an_emptied_redis_is_closed_for_who_knows_nothing_and_counts_anew(own_redis: OwnRedis) -> None:
    limit(Breaker(redis_of(own_redis.url), CONFIG))
    own_redis.client().flushall()
    breaker = Breaker(redis_of(own_redis.url), CONFIG)
    assert is_closed(breaker)
    limit(breaker)
    held(breaker)


def test_a_probe_whose_breaker_was_lost_opens_nothing_and_closes_nothing(own_redis: OwnRedis) -> None:
    brief = BreakerConfig(open_seconds=0.1)
    breaker = Breaker(redis_of(own_redis.url), brief)
    limit(breaker)
    time.sleep(0.15)
    place = probe_of(breaker)
    own_redis.client().flushall()
    answer = breaker.after_probe(place, LIMITED)
    assert answer is not None  # it failed, so its caller does not go on
    assert answer.seconds == brief.look_again_seconds
    assert is_closed(breaker)


def test_an_operator_s_reset_is_not_taken_for_lost_state(own_redis: OwnRedis) -> None:
    breaker = Breaker(redis_of(own_redis.url), CONFIG)
    limit(breaker)
    maintain(breaker)
    operator = Breaker(redis_of(own_redis.url), CONFIG)
    operator.reset("artist")
    operator.reset(None)
    assert is_closed(breaker)


@pytest.mark.parametrize("fail", [limit, maintain])
def test_what_was_open_stays_open_while_redis_is_gone(own_redis: OwnRedis, fail: Callable[[Breaker], None]) -> None:
    breaker = Breaker(redis_of(own_redis.url), CONFIG)
    fail(breaker)
    own_redis.stop()
    held(breaker)
    with pytest.raises(RedisError):
        breaker.reset("artist")
    with pytest.raises(RedisError):
        breaker.states()


@pytest.mark.parametrize(("failures", "scope"), [([LIMITED] * 3, Scope.ACCOUNT), ([FAILED] * 5, Scope.INSTALLATION)])
def test_while_redis_is_gone_a_process_opens_by_what_it_sees_and_is_not_stuck(
    own_redis: OwnRedis, failures: list[Exception], scope: Scope
) -> None:
    brief = BreakerConfig(open_seconds=0.3, lease_seconds=0.3, look_again_seconds=0.1)
    breaker = Breaker(redis_of(own_redis.url), brief)
    own_redis.stop()
    assert is_closed(breaker)
    assert tell(breaker, *failures[1:], None, *failures[1:]) is None
    assert opened(breaker, failures[0]).scope is scope
    held(breaker)
    time.sleep(0.35)
    place = probe_of(breaker)
    held(breaker)
    held(breaker, may_probe=False)
    assert breaker.after_probe(place, errors.Unreachable()) is not None
    held(breaker)
    time.sleep(0.35)
    breaker.give_way(probe_of(breaker))
    dies = probe_of(breaker)
    time.sleep(0.35)
    assert breaker.after_probe(probe_of(breaker)) is None
    assert breaker.after_probe(dies) is None
    assert is_closed(breaker)


def test_a_redis_that_answers_no_more_is_noticed_once(own_redis: OwnRedis) -> None:
    breaker = Breaker(redis_of(own_redis.url), CONFIG)
    own_redis.signal(signal.SIGSTOP)
    began = time.monotonic()
    for number in range(200):
        assert is_closed(breaker, f"artist-{number}")
        breaker.after_call(f"artist-{number}")
    assert time.monotonic() - began < 5
    own_redis.signal(signal.SIGCONT)


# --- many at once


def test_twenty_processes_share_one_state() -> None:
    """Each of them sees one refusal, and together they have opened it; then one of them probes."""
    prefix = f"test:{uuid4()}"
    config = BreakerConfig(threshold=20, open_seconds=100)

    def breaker() -> Breaker:
        return Breaker(redis_of(settings.REDIS_URL, 30), config, prefix=prefix)

    assert sum(crowd(20, lambda: breaker().after_call("artist", LIMITED) is not None)) == 1
    assert all(isinstance(found, Held) for found in crowd(20, lambda: breaker().before_call("artist", may_probe=True)))
    Redis.from_url(settings.REDIS_URL).hset(f"{prefix}:account:artist", "open_until", "1")
    found = crowd(20, lambda: breaker().before_call("artist", may_probe=True))
    (place,) = [each for each in found if isinstance(each, Probe)]
    assert sum(isinstance(each, Held) for each in found) == 19
    breaker().after_probe(place)
    assert crowd(20, lambda: breaker().before_call("artist", may_probe=True)) == [None] * 20


# --- whatever happens

ENDS = st.sampled_from([None, LIMITED, MAINTENANCE, FAILED, BLOCKED, EXPIRED, errors.Unreachable(), RuntimeError()])
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 400)),
    st.tuples(st.just("call"), st.sampled_from(["anna", "berta"]), ENDS),
    st.tuples(st.just("call"), st.just("anna"), st.sampled_from([LIMITED, MAINTENANCE])),
    st.tuples(st.just("die"), st.sampled_from(["anna", "berta"]), ENDS),
)


@given(steps=st.lists(STEPS, max_size=60))
def test_whatever_happens_it_is_never_stuck_and_only_one_probes(steps: list[tuple[Any, ...]]) -> None:
    clock = SetClock()
    breaker = Breaker(redis_of(settings.REDIS_URL), CONFIG, prefix=f"test:{uuid4()}", clock=clock)
    leases: dict[str | None, float] = {}
    for step in steps:
        if step[0] == "wait":
            clock.advance(step[1])
            continue
        what, account, error = step
        found = breaker.before_call(account, may_probe=True)
        if isinstance(found, Probe):
            who = account if found.scope is Scope.ACCOUNT else None
            assert leases.get(who, 0) <= clock()
            leases[who] = clock() + CONFIG.lease_seconds
            if what == "call":
                breaker.after_probe(found, error)
                leases.pop(who)
        elif found is None:
            breaker.after_call(account, error)
        else:
            assert 0 < found.seconds <= CONFIG.open_seconds
    # Left alone, and with DeviantArt well again, everything is closed after the longest time that it can be open.
    clock.advance(CONFIG.open_seconds + CONFIG.lease_seconds)
    for account in ("anna", "berta"):
        while isinstance(found := breaker.before_call(account, may_probe=True), Probe):
            breaker.after_probe(found)
        assert found is None


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "answered"),
        (LIMITED, "limited"),
        (APPLICATION_LIMITED, "answered"),
        (BLOCKED, "blocked"),
        (MAINTENANCE, "maintenance"),
        (errors.BadAnswer(http_status=200), "failed"),
        (errors.AnswerLost(http_status=503), "failed"),
        (errors.Rejected(http_status=400), "answered"),
        (errors.AlreadyPublished(http_status=400), "answered"),
        (errors.GrantDead(http_status=400), "answered"),
        (errors.Unreachable(), "unknown"),
        (ValueError(), "unknown"),
    ],
)
def test_what_a_call_says_about_deviantart(error: Exception | None, outcome: str) -> None:
    assert outcome_of(error) == outcome
