"""Breaker and pace together, as whoever calls DeviantArt meets them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from redis import Redis

from deviantart import errors
from deviantart.breaker import Breaker, BreakerConfig
from deviantart.client import Client
from deviantart.config import Config
from deviantart.gate import Gate
from deviantart.pace import Kind, Pace, PaceConfig, Permit, Reason, Wait
from tests.deviantart.limited import LIMITED, SetClock
from tests.sandbox_process import SandboxProcess

MAINTENANCE = errors.ServerFailed(http_status=503)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def gate(clock: SetClock) -> Gate:
    redis = Redis.from_url(settings.REDIS_URL, socket_timeout=5)
    prefix = f"test:{uuid4()}"
    made = Gate(
        Pace(redis, PaceConfig(), prefix=f"{prefix}:pace", clock=clock),
        Breaker(redis, BreakerConfig(), prefix=f"{prefix}:breaker", clock=clock),
    )
    made.pace.hold("somebody", 1)
    clock.advance(PaceConfig().max_delay_seconds)  # a Redis that was not emptied lately
    return made


class Asked:
    """A probe that counts how often it was sent, and ends as it was told."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        if self.error is not None:
            raise self.error


def permit(gate: Gate, account: str = "artist", **options: Any) -> Permit:
    answer = gate.before_call(account, Kind.PUBLISH, **options)
    assert isinstance(answer, Permit), answer
    return answer


def wait(gate: Gate, account: str = "artist", **options: Any) -> Wait:
    answer = gate.before_call(account, Kind.PUBLISH, **options)
    assert isinstance(answer, Wait), answer
    return answer


def fail(gate: Gate, clock: SetClock, error: Exception, times: int = 3) -> Wait:
    found = None
    for _ in range(times):
        clock.advance(100)
        found = gate.after_call(permit(gate), error)
    assert found is not None
    return found


def test_a_call_is_let_through_and_ended(gate: Gate) -> None:
    for _ in range(3):
        assert gate.after_call(permit(gate)) is None


def test_a_call_has_to_wait_for_its_pace(gate: Gate, clock: SetClock) -> None:
    while isinstance(gate.before_call("artist", Kind.PUBLISH), Permit):
        pass
    assert wait(gate).reason is Reason.SPACING


def test_after_a_429_the_longer_wait_counts(gate: Gate, clock: SetClock) -> None:
    first = gate.after_call(permit(gate), LIMITED)
    assert first is not None
    assert first.reason is Reason.PENALTY
    found = None
    for _ in range(2):
        clock.advance(100)
        found = gate.after_call(permit(gate), LIMITED)
    assert found is not None
    assert (found.reason, found.seconds) == (Reason.HELD, 300)
    assert wait(gate).reason is Reason.HELD


def test_what_is_held_is_not_charged_to_the_pace(gate: Gate, clock: SetClock) -> None:
    fail(gate, clock, MAINTENANCE)
    for _ in range(20):
        assert wait(gate).reason is Reason.HELD
    gate.breaker.reset(None)
    for _ in range(3):
        permit(gate)


def test_a_probe_goes_first_and_the_call_follows_when_it_went_well(gate: Gate, clock: SetClock) -> None:
    fail(gate, clock, MAINTENANCE)
    clock.advance(60)
    asked = Asked()
    permit(gate, probe=asked)
    permit(gate, probe=asked)
    assert asked.times == 1


@pytest.mark.parametrize("error", [MAINTENANCE, errors.Unreachable(), errors.AnswerLost(), errors.BlockPage()])
def test_the_call_does_not_follow_a_probe_that_failed(gate: Gate, clock: SetClock, error: Exception) -> None:
    fail(gate, clock, MAINTENANCE)
    clock.advance(60)
    asked = Asked(error)
    assert wait(gate, probe=asked).reason is Reason.HELD
    assert wait(gate, probe=asked).reason is Reason.HELD
    assert asked.times == 1


def test_without_a_probe_somebody_else_has_to_find_out(gate: Gate, clock: SetClock) -> None:
    fail(gate, clock, MAINTENANCE)
    clock.advance(60)
    assert wait(gate).seconds == 2
    permit(gate, "somebody else", probe=Asked())
    permit(gate)


def test_an_error_of_ours_while_probing_comes_through_and_hangs_nothing(gate: Gate, clock: SetClock) -> None:
    fail(gate, clock, MAINTENANCE)
    clock.advance(60)
    with pytest.raises(KeyboardInterrupt):
        gate.before_call("artist", Kind.PUBLISH, probe=Asked(KeyboardInterrupt()))
    clock.advance(60)
    permit(gate, probe=Asked())


def test_a_probe_keeps_the_pace_of_its_account(gate: Gate, clock: SetClock) -> None:
    fail(gate, clock, MAINTENANCE)
    clock.advance(60)
    gate.pace.hold("artist", 100)
    asked = Asked()
    assert wait(gate, probe=asked).reason is Reason.PENALTY
    assert asked.times == 0
    permit(gate, "somebody else", probe=asked)  # the place was free for another
    assert asked.times == 1


def test_both_breakers_are_probed_before_a_call_follows(gate: Gate, clock: SetClock) -> None:
    fail(gate, clock, LIMITED)
    for _ in range(3):
        gate.breaker.after_call("somebody else", MAINTENANCE)
    clock.advance(2000)
    asked = Asked()
    permit(gate, probe=asked)
    assert asked.times == 2


def test_maintenance_of_the_sandbox_costs_each_artist_nothing_but_time(
    gate: Gate, clock: SetClock, sandbox: SandboxProcess
) -> None:
    """Only placebo calls are made while it lasts, one each time that the breaker looks."""
    config = Config(sandbox.client_id, sandbox.client_secret, base_url=sandbox.base_url)
    clients = {name: Client(config, sandbox.tokens(name)["access_token"]) for name in ("anna", "berta", "clara")}
    sandbox.episode("maintenance", 600)

    def call(name: str, what: Callable[[Client], object]) -> bool:
        client = clients[name]
        answer = gate.before_call(name, Kind.PUBLISH, probe=client.placebo)
        if isinstance(answer, Wait):
            return False
        try:
            what(client)
        except errors.DeviantArtError as error:
            gate.after_call(answer, error)
            return False
        gate.after_call(answer)
        return True

    for _ in range(300):
        for name in clients:
            call(name, Client.whoami)
        clock.advance(1)
    paths = [request["path"].rpartition("/")[2] for request in sandbox.ledger()["requests"]]
    assert paths == ["whoami"] * 3 + ["placebo"] * 2  # after 60 and after another 120 seconds
    sandbox.end_episodes()
    clock.advance(300)
    assert all(call(name, Client.whoami) for name in clients)
