from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from accounts.services.tokens import Token
from deviantart.breaker import Breaker, BreakerConfig
from deviantart.gate import Gate
from deviantart.pace import Pace, PaceConfig
from deviations.models import Deviation
from publisher.models import Worker
from publisher.services import heartbeat, job, recognising
from tests.factories import DueDeviationFactory
from tests.fakes import FakeDeviantArt
from tests.processes import Processes, real_processes
from tests.publisher.works import put
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def worker(transactional_db: None) -> Iterator[Worker]:
    """This process as a registered publisher."""
    worker_id = heartbeat.register_worker(slots=4)
    # Longer than any test: nothing here renews it.
    Worker.objects.filter(pk=worker_id).update(alive_until="2100-01-01T00:00:00Z")
    yield Worker.objects.get(pk=worker_id)
    heartbeat.retire()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The wake-ups that were sent, instead of a broker."""
    wakes: list[tuple[Any, ...]] = []
    monkeypatch.setattr("isekai.queue.send", lambda name, *ids: wakes.append((name, *map(str, ids))))
    return wakes


@pytest.fixture
def deviantart(monkeypatch: pytest.MonkeyPatch, sent: list[Any], settings: Any) -> FakeDeviantArt:
    """DeviantArt as one object; every account's login is good."""
    fake = FakeDeviantArt()
    # How calls are paced has tests of its own, against a Redis.
    open_gate = Gate(Pace(Redis(), PaceConfig(enabled=False)), Breaker(Redis(), BreakerConfig(enabled=False)))
    monkeypatch.setattr("publisher.services.turns.gate", lambda: open_gate)
    settings.DEVIANTART_APPLICATION_NAME = fake.application
    settings.DEVIANTART_BASE_URL = "http://127.0.0.1:9080"
    for module in (job, recognising):
        monkeypatch.setattr(module, "client_for", lambda _account, _token: fake)
        monkeypatch.setattr(module, "usable_token", lambda _account_id, **_options: Token("token", 1))
    return fake


@pytest.fixture
def make_due(transactional_db: None) -> Callable[..., Deviation]:
    """Makes works that are due now, with their files in storage."""

    def make(*bodies: bytes, **fields: Any) -> Deviation:
        deviation: Deviation = DueDeviationFactory(files=len(bodies) or 1, **fields)
        account = deviation.account
        assert account is not None
        account.base_url = settings.DEVIANTART_BASE_URL
        account.save()
        for file, body in zip(deviation.files.all(), bodies or (b"a picture",), strict=True):
            put(file, body)
        return deviation

    return make


@pytest.fixture
def system(transactional_db: None, sandbox: SandboxProcess) -> Iterator[Processes]:
    """Real processes of ours against the ``sandbox`` of the module that asks, emptied first."""
    with real_processes(sandbox) as processes:
        yield processes
