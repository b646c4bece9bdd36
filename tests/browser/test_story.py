"""The whole way, with everything as it runs: connect, upload, choose a time, watch it go live, see it there."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from accounts.models import User
from isekai import clock
from tests import pictures
from tests.processes import Processes, wait_until
from tests.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.django_db(transaction=True)]

BERLIN = ZoneInfo("Europe/Berlin")
SECONDS = 1000


@pytest.fixture
def system(transactional_db: None) -> Iterator[Processes]:
    with SandboxProcess(app_name="Isekai", seed=7) as sandbox:
        with Processes(sandbox) as processes:
            processes.start("web", "publisher", "worker", "media", "beat")
            yield processes
        # The sessions of killed processes may not have ended yet, and would block the clean-up of the tables.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Some megabytes, so that there is something to see of the upload."""
    path = tmp_path / "moth_queen-v9.png"
    path.write_bytes(pictures.png(9, size=(1800, 1400), compress_level=0))
    return path


def test_a_picture_goes_live_while_its_artist_watches(system: Processes, page: Page, picture: Path):
    connect(page, system.base_url)
    upload(page, picture)
    open_work(page)
    schedule_in(page, seconds=8)
    watch_it_go_live(page)
    see_it_on_deviantart(page)
    see_it_on_the_wall(page, system.base_url)


def connect(page: Page, base_url: str) -> None:
    page.goto(base_url)
    page.get_by_role("button", name="Continue with the DeviantArt sandbox").click()
    page.get_by_label("Name of your first artist").fill("nightjar-atelier")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Works")).to_be_visible()
    expect(page.get_by_role("heading", name="Your wall is empty")).to_be_visible()
    take_the_time_zone_of_the_browser(page)


def take_the_time_zone_of_the_browser(page: Page) -> None:
    expect(page.get_by_text("Times in UTC")).to_be_visible()
    page.get_by_role("button", name="Use Berlin").click()
    expect(page.get_by_text("Times in Berlin")).to_be_visible()
    assert User.objects.get().time_zone == "Europe/Berlin"


def upload(page: Page, picture: Path) -> None:
    slow = page.context.new_cdp_session(page)
    network = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4_000_000}
    slow.send("Network.emulateNetworkConditions", network)
    page.set_input_files("#upload-files", picture)
    bar = page.get_by_role("progressbar", name=picture.name)
    expect(bar).to_be_visible()
    # The page lets nobody evaluate a text, which is how the browser itself would wait for it.
    wait_until(lambda: (page.evaluate("document.querySelector('.uploads progress')?.value") or 0) > 10)
    expect(page.locator(".uploads").get_by_text("A draft of it is made.")).to_be_visible(timeout=30 * SECONDS)
    slow.detach()
    # Its picture is made meanwhile; the card brings it by itself.
    expect(page.locator("#wall img")).to_be_visible(timeout=30 * SECONDS)


def open_work(page: Page) -> None:
    page.get_by_role("link", name="Moth queen v9").click()
    expect(page.get_by_role("heading", name="Moth queen v9")).to_be_visible()
    expect(page.locator("#badge")).to_have_text("Draft")
    expect(page.get_by_text("Ready to go")).to_be_visible()


def schedule_in(page: Page, *, seconds: int) -> None:
    moment = (clock.now() + timedelta(seconds=seconds)).astimezone(BERLIN)
    # People choose minutes; a test that waited for the next one would wait for most of one.
    page.locator("#when-time").evaluate("field => { field.step = 1 }")
    page.get_by_label("Day").fill(f"{moment:%Y-%m-%d}")
    page.get_by_label("Time", exact=True).fill(f"{moment:%H:%M:%S}")
    page.get_by_role("button", name="Schedule", exact=True).click()
    expect(page.locator("#badge")).to_have_text("Scheduled, goes live by itself")
    expect(page.locator("#now")).to_contain_text("Moth queen v9")


def watch_it_go_live(page: Page) -> None:
    page.evaluate("window.wasNeverLoadedAgain = true")
    expect(page.locator("#badge")).to_have_text("Published", timeout=60 * SECONDS)
    expect(page.locator("#timeline")).to_contain_text("DeviantArt published it")
    expect(page.locator("#now")).to_contain_text("Nothing is on its way.")
    expect(page.locator("#title")).to_be_disabled()
    assert page.evaluate("window.wasNeverLoadedAgain")


def see_it_on_deviantart(page: Page) -> None:
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="See it on DeviantArt").click()
    there = opened.value
    expect(there.get_by_role("heading", name="Moth queen v9")).to_be_visible()
    shown = there.locator("main img").first
    expect(shown).to_be_visible()
    wait_until(lambda: there.evaluate("document.querySelector('main img').naturalWidth") > 0)
    there.close()


def see_it_on_the_wall(page: Page, base_url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{base_url}/works/?status=published")
    expect(page.locator("#wall li")).to_have_attribute("data-status", "published")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
