"""What the tests of works share."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import DeviantArtAccount, User, Workspace
from deviations.models import Deviation, Upload
from isekai import clock
from isekai.ids import new_id
from tests.factories import (
    DeviantArtAccountFactory,
    DeviationFactory,
    DeviationFileFactory,
    UserFactory,
    workspace_of,
)


@pytest.fixture
def artist(db: None) -> User:
    return UserFactory(time_zone="Europe/Berlin")


@pytest.fixture
def workspace(artist: User) -> Workspace:
    return workspace_of(artist)


@pytest.fixture
def account(workspace: Workspace) -> DeviantArtAccount:
    return DeviantArtAccountFactory(workspace=workspace)


@pytest.fixture
def make_upload(db: None) -> Callable[..., Upload]:
    """Makes uploads, verified unless told otherwise."""

    def make(workspace: Workspace, **fields: Any) -> Upload:
        upload_id = new_id()
        values: dict[str, Any] = {
            "id": upload_id,
            "state": Upload.State.VERIFIED,
            "filename": "picture.png",
            "declared_content_type": "image/png",
            "declared_size": 1000,
            "storage_key": f"originals/{workspace.pk}/{upload_id}",
            "expires_at": clock.now(),
            "content_type": "image/png",
            "size": 1000,
            "width": 100,
            "height": 80,
            "sha256": upload_id.hex * 2,
        }
        return Upload.objects.create(workspace=workspace, **values | fields)

    return make


@pytest.fixture
def make_work(db: None) -> Callable[..., Deviation]:
    """Makes drafts that DeviantArt would take: a title, an account, a file."""

    def make(account: DeviantArtAccount, *, files: int = 1, **fields: Any) -> Deviation:
        work: Deviation = DeviationFactory(workspace=account.workspace, account=account, **fields)
        for _number in range(files):
            DeviationFileFactory(deviation=work)
        return work

    return make


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The wake-ups that were sent when their transaction was committed, instead of a broker."""
    wakes: list[tuple[str, ...]] = []
    monkeypatch.setattr("isekai.queue._send_now", lambda name, arguments: wakes.append((name, *arguments)))
    return wakes
