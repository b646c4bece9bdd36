"""What the tests of automations share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime

import pytest
import time_machine
from django.db import connection

from accounts.models import DeviantArtAccount, User, Workspace
from tests.factories import DeviantArtAccountFactory, UserFactory, workspace_of

SetClock = Callable[[datetime], None]


@pytest.fixture
def artist(db: None) -> User:
    return UserFactory(time_zone="Europe/Berlin")


@pytest.fixture
def stranger(db: None) -> User:
    """The owner of another workspace."""
    return UserFactory()


@pytest.fixture
def workspace(artist: User) -> Workspace:
    return workspace_of(artist)


@pytest.fixture
def account(workspace: Workspace) -> DeviantArtAccount:
    return DeviantArtAccountFactory(workspace=workspace)


@pytest.fixture
def set_clock(db: None) -> Iterator[SetClock]:
    """Stops both clocks at a moment (aware): that of this process, and that of this connection's database."""
    with ExitStack() as travels:

        def stop_at(moment: datetime) -> None:
            travels.close()
            travels.enter_context(time_machine.travel(moment, tick=False))
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('isekai.now', %s, false)", [moment.isoformat()])

        yield stop_at
        with connection.cursor() as cursor:
            cursor.execute("RESET isekai.now")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The wake-ups that were sent when their transaction was committed, instead of a broker."""
    wakes: list[tuple[str, ...]] = []
    monkeypatch.setattr("isekai.queue._send_now", lambda name, arguments: wakes.append((name, *arguments)))
    return wakes
