"""The pace, on a real Redis: what may start when, and what is learnt from the answers."""

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
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
from deviantart.pace import Kind, Pace, PaceConfig, Permit, Reason, Wait
from tests.deviantart.crowd import crowd, run_and_die
from tests.deviantart.limited import APPLICATION_LIMITED, LIMITED, LeakyBucket, SetClock, keep_calling
from tests.isekai.conftest import OwnRedis

CONFIG = PaceConfig()


def redis_of(url: str, patience_seconds: float = 0.5) -> Redis:
    return Redis.from_url(url, socket_timeout=patience_seconds, socket_connect_timeout=patience_seconds)


def known_for_long(pace: Pace, clock: SetClock) -> None:
    """Let the pace's Redis remember everything that there ever was."""
    pace.before_call("somebody", Kind.READ)
    clock.advance(CONFIG.max_delay_seconds)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def pace(clock: SetClock) -> Pace:
    made = Pace(redis_of(settings.REDIS_URL), CONFIG, prefix=f"test:{uuid4()}", clock=clock)
    known_for_long(made, clock)
    return made


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path)
    server.start()
    yield server
    server.stop()


def allowed(pace: Pace, account: str = "artist", kind: Kind = Kind.PUBLISH, **options: Any) -> Permit:
    answer = pace.before_call(account, kind, **options)
    assert isinstance(answer, Permit), answer
    return answer


def refused(pace: Pace, account: str = "artist", kind: Kind = Kind.PUBLISH, **options: Any) -> Wait:
    answer = pace.before_call(account, kind, **options)
    assert isinstance(answer, Wait), answer
    return answer


def burst(pace: Pace, account: str = "artist") -> None:
    """Use up the burst."""
    for _ in range(CONFIG.burst):
        pace.after_call(allowed(pace, account))


def limited(pace: Pace, account: str = "artist") -> float:
    """A call that is answered 429; seconds until the next one."""
    answer = pace.after_call(allowed(pace, account), LIMITED)
    assert answer is not None
    return answer.seconds


def spacing_of(pace: Pace, account: str | None = "artist") -> float:
    return next(state.spacing_seconds for state in pace.states() if state.account == account)


# --- burst and spacing


def test_a_burst_is_followed_by_calls_at_a_distance(pace: Pace, clock: SetClock) -> None:
    burst(pace)
    wait = refused(pace)
    assert (wait.seconds, wait.reason) == (3.0, Reason.SPACING)
    assert wait.until.timestamp() == clock() + 3
    clock.advance(2.999)
    assert refused(pace).seconds == pytest.approx(0.001)
    clock.advance(0.001)
    allowed(pace)
    assert refused(pace).seconds == pytest.approx(3, abs=0.5)


def test_asking_again_and_again_changes_nothing(pace: Pace, clock: SetClock) -> None:
    burst(pace)
    waits = {refused(pace).until for _ in range(50)}
    assert len(waits) == 1
    clock.advance(3)
    allowed(pace)


def test_the_burst_comes_back_with_time(pace: Pace, clock: SetClock) -> None:
    burst(pace)
    clock.advance(CONFIG.burst * 3)
    burst(pace)
    refused(pace)


def test_accounts_do_not_wait_for_each_other(pace: Pace) -> None:
    burst(pace, "anna")
    limited_wait = pace.after_call(Permit("anna", Kind.PUBLISH, time.time() * 2), LIMITED)
    assert limited_wait is not None
    burst(pace, "berta")


def test_switched_off_everything_may_start_at_once_without_any_redis() -> None:
    nowhere = redis_of("redis://127.0.0.1:1/0")
    pace = Pace(nowhere, PaceConfig(enabled=False))
    for _ in range(100):
        assert pace.after_call(allowed(pace), LIMITED) is None
    pace.reserve("artist", 0)
    pace.hold("artist", 100)
    allowed(pace, kind=Kind.READ)


@pytest.mark.parametrize(
    "wrong",
    [{"base_delay_seconds": 0}, {"max_delay_seconds": 2}, {"least_delay_seconds": 4}, {"burst": 1}, {"factor": 1}],
)
def test_a_pace_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pace"):
        PaceConfig(**wrong)


# --- who comes first


def test_a_reader_leaves_one_call_of_the_burst_to_the_publisher(pace: Pace) -> None:
    for _ in range(CONFIG.burst - 1):
        allowed(pace, kind=Kind.READ)
    refused(pace, kind=Kind.READ)
    allowed(pace, kind=Kind.PUBLISH)


def test_nobody_else_starts_within_one_spacing_before_a_work_is_due(pace: Pace, clock: SetClock) -> None:
    pace.reserve("artist", 10)
    clock.advance(6.9)
    allowed(pace, kind=Kind.READ)
    clock.advance(0.2)
    wait = refused(pace, kind=Kind.READ)
    assert wait.reason is Reason.RESERVED
    assert wait.seconds == pytest.approx(2.9 + 3)  # one spacing after the work
    clock.advance(2.9)
    allowed(pace)
    clock.advance(3)
    allowed(pace, kind=Kind.READ)


def test_an_upload_ahead_of_its_time_keeps_further_away_from_a_due_work(pace: Pace, clock: SetClock) -> None:
    allowed(pace, kind=Kind.STAGE, next_due_in_seconds=15)
    clock.advance(5.1)
    assert refused(pace, kind=Kind.STAGE).reason is Reason.RESERVED
    allowed(pace, kind=Kind.READ)


def test_a_reader_that_would_come_too_close_to_a_due_work_is_told_to_come_after_it(pace: Pace, clock: SetClock) -> None:
    burst(pace)
    assert refused(pace, kind=Kind.READ).seconds == pytest.approx(6)
    pace.reserve("artist", 7)
    assert refused(pace, kind=Kind.READ).seconds == pytest.approx(10)


def test_a_work_that_is_late_still_comes_first_for_a_while(pace: Pace, clock: SetClock) -> None:
    pace.reserve("artist", 1)
    clock.advance(1 + CONFIG.reserve_seconds - 0.1)
    assert refused(pace, kind=Kind.READ).reason is Reason.RESERVED
    clock.advance(0.2)
    allowed(pace, kind=Kind.READ)  # whoever kept the place is gone


def test_a_work_that_is_no_longer_due_keeps_no_place(pace: Pace, clock: SetClock) -> None:
    pace.reserve("artist", 1)
    refused(pace, kind=Kind.READ)
    pace.reserve("artist", None)
    allowed(pace, kind=Kind.READ)


def test_nobody_takes_the_place_of_a_publisher_that_was_told_to_wait(pace: Pace, clock: SetClock) -> None:
    burst(pace)
    moment = refused(pace).seconds
    for _ in range(30):
        refused(pace, kind=Kind.READ)
        refused(pace, kind=Kind.STAGE)
        clock.advance(moment / 30)
    allowed(pace)


# --- what is learnt


def test_nothing_starts_inside_a_penalty(pace: Pace, clock: SetClock) -> None:
    wait = limited(pace)
    assert 12 <= wait <= 13.2
    for _ in range(20):
        clock.advance(wait / 21)
        assert refused(pace).reason is Reason.PENALTY
        assert refused(pace, kind=Kind.READ).reason is Reason.PENALTY
    clock.advance(wait / 21 + 0.001)
    allowed(pace)
    refused(pace)  # and no burst


def test_a_pause_grows_with_each_refusal_that_ends_it(pace: Pace, clock: SetClock) -> None:
    waits = []
    for _ in range(8):
        waits.append(limited(pace))
        clock.advance(waits[-1] + 0.001)
    expected = [12, 48, 192, 300, 600, 1200, 2000, 2000]
    for wait, least in zip(waits, expected, strict=True):
        assert least <= wait <= least * 1.11


def test_pauses_of_accounts_that_were_refused_together_end_apart(pace: Pace) -> None:
    assert len({limited(pace, f"artist-{number}") for number in range(20)}) > 10


def test_the_next_pause_is_as_long_as_the_penalty_must_have_been_at_first(pace: Pace, clock: SetClock) -> None:
    for _ in range(3):
        clock.advance(limited(pace) + 0.001)
    pace.after_call(allowed(pace))
    clock.advance(60)
    assert limited(pace) == pytest.approx(192 / 4, rel=0.11)


def test_the_spacing_grows_by_a_factor_when_nothing_was_measured(pace: Pace) -> None:
    limited(pace)
    assert spacing_of(pace) == 6


def test_the_spacing_becomes_what_was_accepted_in_truth(pace: Pace, clock: SetClock) -> None:
    limited(pace)
    accepted, began = 0, clock()
    while accepted < 10:
        answer = pace.before_call("artist", Kind.PUBLISH)
        if isinstance(answer, Permit):
            pace.after_call(answer)
            accepted += 1
        else:
            clock.advance(answer.seconds)
    clock.advance(refused(pace).seconds)
    limited(pace)
    assert spacing_of(pace) == pytest.approx((clock() - began) / 10.5)


def test_the_spacing_never_grows_beyond_its_greatest(pace: Pace, clock: SetClock) -> None:
    for _ in range(20):
        clock.advance(limited(pace) + 1)
        pace.after_call(allowed(pace))
        clock.advance(2000)
    assert spacing_of(pace) <= CONFIG.max_delay_seconds


def test_calls_that_come_seldom_do_not_shorten_the_spacing(pace: Pace, clock: SetClock) -> None:
    for _ in range(50):
        pace.after_call(allowed(pace))
        clock.advance(30)
    assert spacing_of(pace) == 3


def test_calls_that_had_to_wait_and_were_accepted_shorten_it(pace: Pace, clock: SetClock) -> None:
    bucket = LeakyBucket(clock, burst=1000, per_second=1000)
    keep_calling(pace, clock, bucket, 40)
    assert spacing_of(pace) < 1
    keep_calling(pace, clock, bucket, 100)
    assert spacing_of(pace) == CONFIG.least_delay_seconds
    assert bucket.refused == []


def test_an_answer_other_than_429_counts_as_accepted(pace: Pace, clock: SetClock) -> None:
    pace.after_call(allowed(pace), LIMITED)
    clock.advance(14)
    pace.after_call(allowed(pace), errors.ServerFailed(http_status=500))
    clock.advance(14)
    assert limited(pace) == pytest.approx(24, rel=0.11)  # the first refusal of its own, not the second in a row


@pytest.mark.parametrize("error", [errors.Unreachable(), RuntimeError("ours")])
def test_a_call_that_never_left_teaches_nothing(pace: Pace, clock: SetClock, error: Exception) -> None:
    pace.after_call(allowed(pace), LIMITED)
    clock.advance(14)
    pace.after_call(allowed(pace), error)
    clock.advance(14)
    assert limited(pace) == pytest.approx(48, rel=0.11)


def test_refusals_of_calls_that_were_under_way_together_count_as_one(pace: Pace, clock: SetClock) -> None:
    permits = [allowed(pace) for _ in range(4)]
    clock.advance(1)
    for permit in permits:
        pace.after_call(permit, LIMITED)
        clock.advance(0.1)
    assert spacing_of(pace) == 6
    (state,) = [state for state in pace.states() if state.account == "artist"]
    assert (state.refused_in_a_row, state.refused) == (1, 4)
    assert refused(pace).seconds >= 5.9  # from the last of them


def test_a_success_that_was_sent_before_a_refusal_does_not_lift_it(pace: Pace, clock: SetClock) -> None:
    early, late = allowed(pace), allowed(pace)
    clock.advance(1)
    pace.after_call(late, LIMITED)
    pace.after_call(early)
    assert refused(pace).reason is Reason.PENALTY
    (state,) = [state for state in pace.states() if state.account == "artist"]
    assert state.refused_in_a_row == 1


@pytest.mark.parametrize(("asked", "waited"), [(90.0, 90.0), (0.0, 6.0), (3600.0, 3600.0)])
def test_what_deviantart_asks_to_wait_is_waited(pace: Pace, clock: SetClock, asked: float, waited: float) -> None:
    answer = pace.after_call(allowed(pace), errors.RateLimited(error="user_api_threshold", retry_after_seconds=asked))
    assert answer is not None
    assert answer.seconds == waited
    clock.advance(waited - 0.1)
    refused(pace)
    clock.advance(0.2)
    allowed(pace)


def test_what_was_learnt_is_forgotten_after_an_hour(pace: Pace, clock: SetClock) -> None:
    clock.advance(limited(pace))
    clock.advance(CONFIG.forget_seconds + 1)
    burst(pace)
    assert spacing_of(pace) == 3
    assert limited_again(pace, clock) == pytest.approx(12, rel=0.11)


def limited_again(pace: Pace, clock: SetClock) -> float:
    clock.advance(60)
    return limited(pace)


def test_an_account_that_is_used_now_and_then_loses_a_long_spacing_after_an_hour(pace: Pace, clock: SetClock) -> None:
    clock.advance(limited(pace))
    for _ in range(14):
        clock.advance(300)
        pace.after_call(allowed(pace))
    assert spacing_of(pace) == 3


@pytest.mark.parametrize(("penalty_seconds", "hours"), [(4, 1), (10, 1), (30, 2), (60, 4)])
def test_a_penalty_that_doubles_with_each_question_is_overtaken(
    pace: Pace, clock: SetClock, penalty_seconds: float, hours: int
) -> None:
    bucket = LeakyBucket(clock, burst=5, per_second=0.5, penalty_seconds=penalty_seconds)
    keep_calling(pace, clock, bucket, hours * 3600)
    lately = [at for at in bucket.accepted if at > clock() - 1800]
    assert len(lately) > 0.5 * 0.5 * 1800
    assert bucket.inside_penalty <= 10


@pytest.mark.parametrize("per_second", [0.25, 1, 4])
def test_an_unknown_limit_is_found(pace: Pace, clock: SetClock, per_second: float) -> None:
    bucket = LeakyBucket(clock, burst=20, per_second=per_second)
    began = clock()
    keep_calling(pace, clock, bucket, max(400, 600 / per_second))
    later = [at for at in bucket.accepted if at > began + 60]
    assert len(later) > 0.9 * per_second * (clock() - began - 60)
    assert len(bucket.refused) < 0.025 * len(bucket.accepted)
    assert bucket.inside_penalty == 0


# --- the application


def test_the_application_is_open_until_it_is_told_to_slow_down(pace: Pace, clock: SetClock) -> None:
    for number in range(200):
        pace.after_call(allowed(pace, f"artist-{number}"))
    answer = pace.after_call(allowed(pace, "anna"), APPLICATION_LIMITED)
    assert answer is not None
    assert answer.reason is Reason.APPLICATION
    clock.advance(answer.seconds / 2)
    assert refused(pace, "berta").reason is Reason.APPLICATION
    clock.advance(answer.seconds / 2 + 0.001)
    allowed(pace, "berta")
    assert spacing_of(pace, "anna") == 3  # it was not her fault


def test_the_application_halves_its_own_rate(pace: Pace, clock: SetClock) -> None:
    for number in range(300):
        pace.after_call(allowed(pace, f"artist-{number}"))
        clock.advance(0.1)
    pace.after_call(allowed(pace, "anna"), APPLICATION_LIMITED)
    assert spacing_of(pace, None) == pytest.approx(0.2, rel=0.1)


def test_an_application_that_is_refused_at_once_starts_like_one_account(pace: Pace) -> None:
    pace.after_call(allowed(pace, "anna"), APPLICATION_LIMITED)
    assert spacing_of(pace, None) == 3


def test_the_application_is_open_again_after_an_hour_without_a_refusal(pace: Pace, clock: SetClock) -> None:
    answer = pace.after_call(allowed(pace, "anna"), APPLICATION_LIMITED)
    assert answer is not None
    clock.advance(answer.seconds + CONFIG.forget_seconds + 1)
    for number in range(50):
        allowed(pace, f"artist-{number}")
    assert spacing_of(pace, None) == 0


# --- the operator


def test_the_operator_sees_every_account_and_resets_one(pace: Pace, clock: SetClock) -> None:
    wait = limited(pace, "anna")
    pace.after_call(allowed(pace, "berta"))
    pace.reserve("berta", 60)
    seen = {state.account: state for state in pace.states()}
    assert seen.keys() == {None, "anna", "berta", "somebody"}
    anna, berta = seen["anna"], seen["berta"]
    assert (anna.spacing_seconds, anna.is_penalty) == (6, True)
    assert anna.wait_seconds == pytest.approx(wait)
    assert (anna.accepted, anna.refused, anna.refused_in_a_row) == (0, 1, 1)
    assert (berta.accepted, berta.wait_seconds, berta.is_penalty) == (1, 0, False)
    assert berta.last_call_at is not None
    assert berta.next_due_at == berta.last_call_at + timedelta(seconds=60)
    pace.reset("anna")
    burst(pace, "anna")
    assert spacing_of(pace, "anna") == 3


def test_the_operator_resets_the_application(pace: Pace) -> None:
    pace.after_call(allowed(pace, "anna"), APPLICATION_LIMITED)
    refused(pace, "berta")
    pace.reset(None)
    allowed(pace, "berta")


def test_a_wait_that_is_known_from_elsewhere_is_kept(pace: Pace, clock: SetClock) -> None:
    pace.hold("artist", 100)
    clock.advance(99.9)
    assert refused(pace).reason is Reason.PENALTY
    clock.advance(0.2)
    allowed(pace)
    refused(pace)


# --- a Redis that restarts, is emptied, or is gone


def test_the_state_survives_a_restart_of_redis(own_redis: OwnRedis, clock: SetClock) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG, clock=clock)
    known_for_long(pace, clock)
    wait = limited(pace)
    own_redis.stop()
    own_redis.start()
    somebody_else = Pace(redis_of(own_redis.url), CONFIG, clock=clock)
    assert refused(somebody_else).seconds == pytest.approx(wait)


def test_lost_state_starts_without_a_burst(own_redis: OwnRedis, clock: SetClock) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG, clock=clock)
    known_for_long(pace, clock)
    burst(pace, "anna")
    own_redis.client().flushall()
    allowed(pace, "berta")
    assert refused(pace, "berta").seconds == 3
    clock.advance(CONFIG.max_delay_seconds)
    burst(pace, "clara")  # by now Redis would know if there had been anything


def test_an_answer_that_comes_after_everything_was_lost_gives_no_burst(own_redis: OwnRedis, clock: SetClock) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG, clock=clock)
    known_for_long(pace, clock)
    permit = allowed(pace)
    own_redis.client().flushall()
    pace.after_call(permit)
    allowed(pace)
    refused(pace)


def test_who_saw_a_penalty_keeps_it_when_everything_was_lost(own_redis: OwnRedis) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG)
    wait = limited(pace)
    own_redis.client().flushall()
    assert refused(pace).seconds == pytest.approx(wait, abs=1)
    somebody_else = Pace(redis_of(own_redis.url), CONFIG)
    assert refused(somebody_else).seconds == pytest.approx(wait, abs=1)  # who was told by Redis, which knows again


def test_an_operator_s_reset_is_not_taken_for_lost_state(own_redis: OwnRedis) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG)
    limited(pace)
    Pace(redis_of(own_redis.url), CONFIG).reset("artist")
    allowed(pace)


def test_while_redis_is_gone_each_process_paces_carefully_by_itself(own_redis: OwnRedis) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG)
    wait = limited(pace, "anna")
    own_redis.stop()
    assert refused(pace, "anna").seconds == pytest.approx(wait, abs=2)
    allowed(pace, "berta")
    answer = refused(pace, "berta")
    assert answer.reason is Reason.SPACING
    assert answer.seconds == pytest.approx(3, abs=1)
    allowed(pace, "clara")


def test_a_refusal_that_redis_does_not_hear_of_is_remembered_and_told_it_later(own_redis: OwnRedis) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG)
    own_redis.stop()
    permit = allowed(pace)
    first = pace.after_call(permit, LIMITED)
    assert first is not None
    assert first.seconds == 6
    assert refused(pace).reason is Reason.PENALTY
    second = pace.after_call(permit, LIMITED)
    assert second is not None
    assert second.seconds == 24
    own_redis.start()
    time.sleep(2.1)  # how long an outage is believed in
    assert refused(pace).seconds == pytest.approx(22, abs=2)
    somebody_else = Pace(redis_of(own_redis.url), CONFIG)
    assert refused(somebody_else).reason is Reason.PENALTY


def test_a_redis_that_answers_no_more_is_noticed_once(own_redis: OwnRedis) -> None:
    pace = Pace(redis_of(own_redis.url), CONFIG)
    allowed(pace)
    own_redis.signal(signal.SIGSTOP)
    began = time.monotonic()
    for number in range(200):
        allowed(pace, f"artist-{number}")
    assert time.monotonic() - began < 5
    with pytest.raises(RedisError):
        pace.reset("artist")
    own_redis.signal(signal.SIGCONT)


# --- many at once


def test_twenty_processes_keep_one_pace() -> None:
    prefix, brisk = f"test:{uuid4()}", PaceConfig(base_delay_seconds=0.2, doubling_calls=10_000)

    def work() -> list[float]:
        pace = Pace(redis_of(settings.REDIS_URL, 30), brisk, prefix=prefix)
        started: list[float] = []
        end = time.monotonic() + 3
        while time.monotonic() < end:
            answer = pace.before_call("artist", Kind.PUBLISH)
            if isinstance(answer, Permit):
                assert not answer.is_local
                started.append(answer.started_at)
                pace.after_call(answer)
            else:
                time.sleep(min(answer.seconds, 0.05))
        return started

    started = sorted(at for each in crowd(20, work) for at in each)
    assert len(started) > 2 * brisk.burst
    for first, last in zip(started, started[brisk.burst :], strict=False):
        assert last - first > 0.19  # the spacing: the burst and one more do not fit into less


def test_twenty_processes_hear_of_one_refusal() -> None:
    prefix, patient = f"test:{uuid4()}", PaceConfig(base_delay_seconds=100)
    pace = Pace(redis_of(settings.REDIS_URL), patient, prefix=prefix)
    wait = run_and_die(lambda: limited(pace))

    def work() -> float:
        return refused(Pace(redis_of(settings.REDIS_URL, 30), patient, prefix=prefix)).seconds

    assert all(0 < seconds <= wait for seconds in crowd(20, work))


# --- whatever happens

STEPS = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 20)),
    st.tuples(
        st.just("call"), st.sampled_from(Kind), st.sampled_from(["ok", "limited", "application", "lost", "dies"])
    ),
    st.tuples(st.just("call"), st.just(Kind.PUBLISH), st.just("ok")),
    st.tuples(st.just("reserve"), st.none() | st.floats(-5, 30)),
    st.tuples(st.just("hold"), st.floats(0, 10)),
)
ANSWERS: dict[str, Exception | None] = {
    "ok": None,
    "lost": errors.AnswerLost(),
    "limited": LIMITED,
    "application": APPLICATION_LIMITED,
}


@given(steps=st.lists(STEPS, max_size=60))
def test_whatever_happens_the_pace_keeps_its_promises(steps: list[tuple[Any, ...]]) -> None:
    clock = SetClock()
    pace = Pace(redis_of(settings.REDIS_URL), CONFIG, prefix=f"test:{uuid4()}", clock=clock)
    began = clock()
    started: list[float] = []
    held_until = due_at = 0.0
    for step in steps:
        if step[0] == "wait":
            clock.advance(step[1])
        elif step[0] == "reserve":
            due_at = 0.0 if step[1] is None else clock() + step[1]
            pace.reserve("artist", step[1])
        elif step[0] == "hold":
            held_until = max(held_until, clock() + step[1])
            pace.hold("artist", step[1])
        else:
            _, kind, what = step
            answer = pace.before_call("artist", kind)
            if isinstance(answer, Wait):
                assert 0 < answer.seconds <= CONFIG.longest_pause_seconds * 1.1 + 20
                clock.advance(answer.seconds + 0.000_002)
                if kind is Kind.PUBLISH:  # who is told a moment may go then
                    assert pace.before_call("artist", kind).allowed
                    started.append(clock())
                continue
            assert clock() >= held_until - 0.000_01
            if kind is not Kind.PUBLISH and due_at > clock():
                assert clock() <= due_at - CONFIG.least_delay_seconds
            started.append(clock())
            if what != "dies" and (wait := pace.after_call(answer, ANSWERS[what])) is not None:
                held_until = max(held_until, clock() + wait.seconds)
    for state in pace.states():
        assert 0 <= state.spacing_seconds <= CONFIG.max_delay_seconds
        assert state.account is None or state.spacing_seconds >= CONFIG.least_delay_seconds
    for first, last in zip(started, started[CONFIG.burst :], strict=False):
        assert last - first >= CONFIG.least_delay_seconds - 0.000_01
    assert len(started) <= CONFIG.burst + (clock() - began) / CONFIG.least_delay_seconds
