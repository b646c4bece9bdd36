"""Chromium at our pages, served by this process or by real ones; every page has to stay free of errors."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from accounts.models import DeviantArtAccount, User, Workspace
from deviations import storage
from deviations.models import Deviation, DeviationFile, FileVariant
from deviations.services.uploading import read_upload
from deviations.services.variants import make_variants
from isekai import clock
from isekai.ids import new_id
from tests import pictures
from tests.factories import (
    DeviantArtAccountFactory,
    DeviationFactory,
    DeviationFileFactory,
    UserFactory,
    workspace_of,
)
from tests.processes import wait_until

# Playwright's loop runs in the thread of the tests, which ask the database all the same, one after another.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"

# What is waited for comes much sooner; this is for machines that do other things as well.
PATIENCE = 20_000
expect.set_options(timeout=PATIENCE)

WATCH = """
document.addEventListener("securitypolicyviolation", event =>
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Debian's Chromium, which asks nobody on the network about anything."""
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
    return {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox", "--disable-gpu", *quiet]}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"viewport": {"width": 1440, "height": 900}, "timezone_id": "Europe/Berlin", "locale": "en-GB"}


@pytest.fixture
def undisturbed(transactional_db: None) -> Iterator[None]:
    """Emptying the tables waits until the last request of this process has been answered, and never for another."""
    under_way: set[int] = set()

    def begin(**_signal: Any) -> None:
        under_way.add(threading.get_ident())

    def end(**_signal: Any) -> None:
        under_way.discard(threading.get_ident())

    request_started.connect(begin)
    request_finished.connect(end)
    yield
    wait_until(lambda: not under_way, what="no request under way")
    request_started.disconnect(begin)
    request_finished.disconnect(end)


@pytest.fixture
def problems(context: BrowserContext) -> Iterator[list[str]]:
    """What went wrong in any page: errors of scripts, violations of the policy. A test takes out what it meant."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.append(f"{message.text} ({message.location.get('url', '')})")

    context.on("console", note)
    context.on("weberror", lambda error: found.append(str(error.error)))
    context.add_init_script(WATCH)
    yield found
    assert found == []


@pytest.fixture
def meant(problems: list[str]) -> Callable[[str], None]:
    """Takes errors out that the test has brought about; there must be one."""

    def take(part: str) -> None:
        mine = [problem for problem in problems if part in problem]
        assert mine, problems
        problems[:] = [problem for problem in problems if problem not in mine]

    return take


@pytest.fixture
def page(undisturbed: None, context: BrowserContext, problems: list[str]) -> Iterator[Page]:
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    # An open page goes on asking.
    for each in context.pages:
        each.close()


# --- who is there ----------------------------------------------------------------------------------------------------
@pytest.fixture
def artist(transactional_db: None) -> User:
    return UserFactory(username="mira", time_zone="Europe/Berlin")


@pytest.fixture
def workspace(artist: User) -> Workspace:
    return workspace_of(artist)


@pytest.fixture
def account(workspace: Workspace) -> DeviantArtAccount:
    return DeviantArtAccountFactory(
        workspace=workspace, username="nightjar-atelier", base_url=settings.DEVIANTART_BASE_URL
    )


@pytest.fixture
def signed_in(context: BrowserContext, live_server: Any, artist: User) -> str:
    """The artist has signed in; the address of the server."""
    client = Client()
    client.force_login(artist)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
    return str(live_server.url)


# --- what they have made ---------------------------------------------------------------------------------------------
@pytest.fixture
def media(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the media worker would do is done at once, in this process."""
    tasks = {"media.read_upload": read_upload, "media.make_variants": make_variants}

    def do(name: str, arguments: list[str]) -> None:
        if name in tasks:
            tasks[name](UUID(arguments[0]))

    monkeypatch.setattr("isekai.queue._send_now", do)


@pytest.fixture
def make_work(account: DeviantArtAccount) -> Callable[..., Deviation]:
    """Makes works with real pictures: drafts, unless ``hours`` says when they are to appear."""

    def make(
        title: str, *, files: int = 1, hours: float | None = None, size: tuple[int, int] = (480, 360), **fields: Any
    ) -> Deviation:
        work: Deviation = DeviationFactory(workspace=account.workspace, account=account, title=title)
        for number in range(files):
            _add_file(work, f"{title.lower().replace(' ', '-')}-{number + 1}.png", size)
        if hours is not None:
            moment = clock.now() + timedelta(hours=hours)
            when = {"scheduled_at": moment, "publish_at": moment, "scheduled_zone": "Europe/Berlin"}
            fields = {"status": Deviation.Status.SCHEDULED, **when, **fields}
        Deviation.objects.filter(pk=work.pk).update(**fields, updated_at=clock.now())
        work.refresh_from_db()
        return work

    return make


def _add_file(work: Deviation, name: str, size: tuple[int, int]) -> None:
    """A file with its copies, which are all one picture: what makes them is tested elsewhere."""
    body = pictures.png(new_id().int % 100_000, size=size)
    key = storage.original_key(work.workspace_id, new_id())
    storage.put(key, body, content_type="image/png", workspace_id=work.workspace_id)
    facts: dict[str, Any] = {
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "width": size[0],
        "height": size[1],
        "content_type": "image/png",
    }
    file: DeviationFile = DeviationFileFactory(deviation=work, original_name=name, storage_key=key, **facts)
    for kind in FileVariant.Kind:
        copy = key
        if kind != FileVariant.Kind.PUBLISH:
            copy = storage.variant_key(work.workspace_id, new_id())
            storage.put(copy, body, content_type="image/png", workspace_id=work.workspace_id)
        FileVariant.objects.create(file=file, kind=kind, storage_key=copy, **facts)
