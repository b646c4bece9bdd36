"""Each call in its account's turn, with a real Redis."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from accounts.models import DeviantArtAccount
from deviantart.breaker import Breaker, BreakerConfig
from deviantart.errors import AnswerLost, RateLimited, ServerFailed
from deviantart.gate import Gate
from deviantart.pace import Kind, Pace, PaceConfig
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.services import dispatching, publishing, turns
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as redis:
        yield redis


@pytest.fixture
def pace(redis: Redis, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch) -> Pace:
    """A pace of two calls, then one in five seconds; nobody else's."""
    config = PaceConfig(base_delay_seconds=5, max_delay_seconds=60, burst=2)
    pace = Pace(redis, config, prefix=f"test:{new_id()}")
    # What a Redis that has just begun does not know was perhaps bad; this one has known for long.
    redis.set(f"{pace._prefix}:remembers_since", 0)
    monkeypatch.setattr(turns, "gate", lambda: Gate(pace, Breaker(redis, BreakerConfig(enabled=False))))
    return pace


@pytest.fixture
def breaker(redis: Redis, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch) -> Breaker:
    breaker = Breaker(redis, BreakerConfig(threshold=1, open_seconds=60), prefix=f"test:{new_id()}")
    monkeypatch.setattr(turns, "gate", lambda: Gate(Pace(redis, PaceConfig(enabled=False)), breaker))
    return breaker


def run(work: Deviation) -> Deviation:
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    return work


def account_of(work: Deviation) -> DeviantArtAccount:
    return DeviantArtAccount.objects.get(pk=work.account_id)


def test_a_longer_wait_defers_the_account_and_counts_as_nothing(
    deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace
):
    first = make_due(b"one", title="one")
    second = make_due(b"two", title="two", account=first.account, workspace=first.workspace)
    assert run(first).status == Deviation.Status.PUBLISHED
    second = run(second)
    assert (second.status, second.reason_code) == (Deviation.Status.SCHEDULED, "pace")
    assert second.publications.get().failures == 0
    until = account_of(second).not_before
    assert until is not None
    assert timedelta(seconds=1) < until - clock.now() <= timedelta(seconds=5)
    assert deviantart.calls == ["submit", "publish"]


def test_the_dispatcher_wakes_for_the_end_of_a_deferral(deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace):
    work = make_due()
    until = clock.now() + timedelta(seconds=30)
    DeviantArtAccount.objects.filter(pk=work.account_id).update(not_before=until)
    assert dispatching.next_due_at() == until


def test_a_short_wait_is_slept(
    deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace, monkeypatch: pytest.MonkeyPatch
):
    slept: list[float] = []
    first = make_due(b"one")

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        pace.reset(account_of(first).pk)

    monkeypatch.setattr(turns, "SLEPT_SECONDS", 6.0)
    monkeypatch.setattr("publisher.services.turns.time.sleep", sleep)
    run(first)
    second = run(make_due(b"two", account=first.account, workspace=first.workspace))
    assert second.status == Deviation.Status.PUBLISHED
    assert len(slept) == 1


def test_a_look_up_does_not_wait_for_the_works_that_wait_for_it(
    deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace
):
    deviantart.publish_answers.append((AnswerLost(), "after"))
    work = run(make_due())
    make_due(b"due too", account=work.account, workspace=work.workspace, publish_at=clock.now())
    pace.reset(account_of(work).pk)
    early = clock.now() - timedelta(hours=1)
    Deviation.objects.filter(pk=work.pk).update(publish_at=early, next_attempt_at=early)
    run(work)
    assert deviantart.calls == ["submit", "publish", "gallery"]


def test_another_account_does_not_wait(deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace):
    run(make_due(b"one"))
    assert run(make_due(b"two")).status == Deviation.Status.PUBLISHED


def test_a_429_is_not_followed_by_another_call(deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace):
    deviantart.publish_answers.append(RateLimited())
    work = run(make_due())
    assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "rate_limit")
    DeviantArtAccount.objects.filter(pk=work.account_id).update(not_before=None)
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=None)
    work = run(work)
    assert work.reason_code == "rate_limit"
    assert deviantart.calls == ["submit", "publish"]


def test_a_look_up_waits_for_its_turn_and_leaves_no_attempt(deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace):
    deviantart.publish_answers.append(AnswerLost())
    work = run(make_due())
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=clock.now())
    work = run(work)
    assert (work.status, work.unconfirmed_since is not None) == (Deviation.Status.PUBLISHING, True)
    assert deviantart.calls == ["submit", "publish"]
    assert work.publications.get().attempts.filter(step="look_up").count() == 0


def test_an_open_breaker_holds_the_account_and_a_probe_closes_it(
    deviantart: FakeDeviantArt, make_due: MakeDue, breaker: Breaker, monkeypatch: pytest.MonkeyPatch
):
    deviantart.submit_answers.append(RateLimited())
    work = run(make_due())
    DeviantArtAccount.objects.filter(pk=work.account_id).update(not_before=None)
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=None)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "breaker")
    assert deviantart.calls == ["submit"]
    breaker.reset(work.account_id)
    DeviantArtAccount.objects.filter(pk=work.account_id).update(not_before=None)
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=None)
    assert run(work).status == Deviation.Status.PUBLISHED


def test_a_probe_is_a_harmless_call_and_never_a_work(
    deviantart: FakeDeviantArt, make_due: MakeDue, breaker: Breaker, monkeypatch: pytest.MonkeyPatch
):
    work = make_due()
    assert work.account_id is not None
    moment = [1_000_000.0]
    watched = Breaker(breaker._redis, breaker.config, prefix=breaker._prefix, clock=lambda: moment[0])
    gate = Gate(Pace(breaker._redis, PaceConfig(enabled=False)), watched)
    monkeypatch.setattr(turns, "gate", lambda: gate)
    watched.after_call(work.account_id, RateLimited())
    moment[0] += 120
    deviantart.placebo_answers.append(ServerFailed(http_status=500))
    work = run(work)
    assert work.status == Deviation.Status.SCHEDULED
    assert deviantart.calls == ["placebo"]


def test_a_reader_keeps_out_of_the_way_of_a_work_that_is_about_to_go_out(
    deviantart: FakeDeviantArt, make_due: MakeDue, pace: Pace
):
    soon = clock.now() + timedelta(seconds=2)
    work = make_due(scheduled_at=soon, publish_at=soon)
    client: Any = deviantart
    with pytest.raises(turns.NotYet):
        turns.wait_for_turn(account_of(work), Kind.READ, client)
    assert turns.wait_for_turn(account_of(work), Kind.PUBLISH, client)
