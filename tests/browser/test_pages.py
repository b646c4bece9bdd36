"""Every page, narrow and wide, light and dark: nothing that axe finds, no sideways scroll, no error."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page, expect

from accounts.models import DeviantArtAccount
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.models import Publication
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    ExecutionWorkFactory,
    ScheduleRuleFactory,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WIDE, NARROW, NARROWEST = (1440, 900), (390, 844), (320, 640)
# WCAG 2.2 AA and what axe calls best practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
STANDARD = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}


@pytest.fixture
def studio(signed_in: str, account: DeviantArtAccount, make_work: Callable[..., Deviation]) -> dict[str, str]:
    """A work in every state, and the addresses of all pages."""
    url = reverse
    works = {
        "draft": make_work("Orchard of Satellites", tags=["moth", "мотылёк"], size=(360, 480)),
        "scheduled": make_work("The Moth Queen Takes Tea", hours=0.4),
        "several": make_work("Crystal Adopts, set 7", files=3, hours=50, upload_mode="multiple", size=(400, 400)),
        "failed": make_work(
            "Last Tram to Vesper Hill",
            status="failed",
            reason_code="refused",
            reason_params={"description": "Tags may only contain letters and numbers."},
        ),
        "decision": make_work(
            "Red Kite, Low Sun",
            status="needs_decision",
            reason_code="unconfirmed",
            unconfirmed_since=clock.now(),
            size=(600, 240),
        ),
        "uploading": make_work(
            "Tidewater Cathedral", hours=-0.01, status="uploading", worker_id=new_id(), lease_id=new_id()
        ),
        "published": make_work("W" * 50, status="published", published_at=clock.now()),
        "trashed": make_work("Fern Study in Gouache", trashed_at=clock.now()),
    }
    Publication.objects.create(
        deviation=works["published"],
        file=works["published"].files.get(),
        account=account,
        state="published",
        published_at=clock.now(),
        remote_deviation_id="A1",
        url="https://www.deviantart.com/nightjar-atelier/art/w-1",
    )
    pages = {f"work {name}": url("deviations:work", args=[work.pk]) for name, work in works.items()}
    pages |= {
        "wall": "/works/",
        "list": "/works/?view=list",
        "scheduled": "/works/?status=scheduled&view=wall",
        "trash": "/works/?status=trash",
        "nothing found": "/works/?q=nothing",
        "accounts": "/connect/",
        "time zone": "/zone/",
        "publish now": url("deviations:publish-now", args=[works["draft"].pk]),
        "dead link": "/nowhere/",
        **_pages_of_automations(account),
    }
    return {name: f"{signed_in}{path}" for name, path in pages.items()}


def _pages_of_automations(account: DeviantArtAccount) -> dict[str, str]:
    """Of one with a rule of some types, a value that is filled in, and a run."""
    automation = AutomationFactory(workspace=account.workspace, account=account, name="Evening sketch", color="#0f766e")
    rule = ScheduleRuleFactory(automation=automation, weekdays=[0, 2], quiet_hours=6)
    ScheduleRuleFactory(
        automation=automation, type="weekday_slots", time_of_day=None, week_minutes=[540], week_numbers=[0]
    )
    DefaultValueFactory(automation=automation)
    BlackoutFactory(account=account)
    ExecutionWorkFactory(execution__rule=rule, execution__slot_at=clock.now())
    rest = {"editor": "", "history": "history/", "run": "run/", "test": "test/", "delete": "delete/"}
    pages = {f"automation {name}": f"/automations/{automation.pk}/{path}" for name, path in rest.items()}
    return pages | {"automations": "/automations/", "ahead": "/automations/ahead/", "new": "/automations/new/"}


# All colours come from tokens, and every pair of those is computed by isekai.devstack.contrast, light and dark.


def assert_accessible(page: Page, name: str) -> None:
    # What fades in is not there yet for a moment; axe judges what stays.
    page.evaluate("Promise.allSettled(document.getAnimations().map(animation => animation.finished))")
    found = Axe().run(page, options=STANDARD)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"


def assert_fits(page: Page, name: str) -> None:
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{name} is {wider} px too wide"


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def test_every_page_is_accessible_and_fits(page: Page, studio: dict[str, str], meant, size, scheme):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    for name, url in studio.items():
        page.goto(url)
        if name.startswith("work "):
            expect(
                page.locator("#timeline time").first.or_(page.get_by_text("Nothing has happened yet."))
            ).to_be_visible()
        assert_accessible(page, f"{name}, {size[0]} px, {scheme}")
        assert_fits(page, f"{name}, {size[0]} px")
    meant("404")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def test_the_door_and_the_first_steps_are_accessible(page: Page, live_server, signed_in: str, size, scheme):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    for address in ("/connect/", "/works/"):  # of somebody who has nothing yet
        page.goto(f"{signed_in}{address}")
        assert_accessible(page, address)
        assert_fits(page, address)
    page.context.clear_cookies()
    page.goto(f"{live_server.url}/sign-in/")
    assert_accessible(page, "the door")
    assert_fits(page, "the door")


def test_no_page_scrolls_sideways_on_the_smallest_phone(page: Page, studio: dict[str, str], meant):
    page.set_viewport_size({"width": NARROWEST[0], "height": NARROWEST[1]})
    for name, url in studio.items():
        page.goto(url)
        assert_fits(page, f"{name}, 320 px")
    meant("404")


def test_sheets_menus_questions_and_toasts_are_accessible(page: Page, studio: dict[str, str]):
    page.goto(studio["wall"])
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    assert_accessible(page, "keys")
    page.keyboard.press("Escape")
    page.get_by_label("Pick Orchard of Satellites").check()
    assert_accessible(page, "bulk bar")
    page.get_by_role("button", name="Schedule T").click()
    assert_accessible(page, "bulk schedule")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Publish now").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_accessible(page, "publish now")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Take off the schedule").click()
    expect(page.locator(".toast")).to_be_visible()
    assert_accessible(page, "toast")


def test_targets_are_large_enough_for_a_finger(page: Page, studio: dict[str, str]):
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.goto(studio["wall"])
    for control in page.locator(".topbar :is(a, button), .tabs :is(a, button), .segmented a").all():
        box = control.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 40, control.inner_text()


def test_a_page_mirrors_itself_for_scripts_from_right_to_left(page: Page, studio: dict[str, str]):
    page.goto(studio["wall"])
    page.evaluate("document.documentElement.dir = 'rtl'")
    side, main = (page.locator(name).bounding_box() for name in (".side", "#main"))
    assert side is not None
    assert main is not None
    assert side["x"] > main["x"]
    assert_fits(page, "mirrored")
