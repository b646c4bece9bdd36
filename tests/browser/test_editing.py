"""Words save themselves; what goes wrong loses none of them."""

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page, Route, expect

from accounts.models import User
from deviations.models import Deviation
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def work(make_work) -> Deviation:
    return make_work("Moth")


@pytest.fixture
def opened(page: Page, signed_in: str, work: Deviation) -> Page:
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    return page


def write(page: Page, label: str, text: str) -> None:
    field = page.get_by_label(label)
    field.fill(text)
    field.blur()


def title(work: Deviation) -> str:
    return Deviation.objects.get(pk=work.pk).title


def test_a_title_saves_itself_and_the_page_follows(opened: Page, work: Deviation):
    opened.get_by_label("Title").press_sequentially("s")
    expect(opened.locator("[data-count=title]")).to_have_text("5")
    write(opened, "Title", "The Moth Queen")
    expect(opened.locator("#saved")).to_contain_text("Saved")
    expect(opened.get_by_role("heading", name="The Moth Queen")).to_be_visible()
    write(opened, "Description", "She only visits on damp evenings.")
    opened.get_by_label("Comments allowed").uncheck()
    opened.get_by_label("Mature content").check()
    opened.get_by_label("How mature").select_option("strict")
    opened.get_by_label("Nudity").check()
    expect(opened.locator("#ready")).to_contain_text("Ready to go")
    wait_until(lambda: Deviation.objects.get(pk=work.pk).mature_classification)
    work.refresh_from_db()
    assert (work.title, work.description) == ("The Moth Queen", "She only visits on damp evenings.")
    assert (work.allow_comments, work.is_mature, work.mature_level) == (False, True, "strict")
    assert work.mature_classification == ["nudity"]


def test_what_is_typed_quickly_is_saved_in_its_order(opened: Page, work: Deviation):
    for text in ("One", "Two", "Three"):
        write(opened, "Title", text)
        opened.wait_for_timeout(450)  # the pause after which a change is sent
    expect(opened.get_by_role("heading", name="Three")).to_be_visible()
    assert title(work) == "Three"
    expect(opened.locator("#words-error")).to_be_empty()


def test_what_cannot_be_saved_is_said_beside_its_field_and_stays(make_work, page: Page, signed_in: str, meant):
    work = make_work("Moth", hours=5)
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    write(page, "Title", "x" * 51)
    expect(page.locator("#title-error")).to_contain_text("titles of at most 50 characters")
    expect(page.get_by_label("Title")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Title")).to_have_value("x" * 51)
    expect(page.locator("#saved")).to_have_text("Not saved")
    meant("422")
    write(page, "Title", "Moths")
    expect(page.locator("#title-error")).to_be_empty()
    expect(page.get_by_label("Title")).not_to_have_attribute("aria-invalid", "true")
    assert title(work) == "Moths"


def test_an_older_page_is_told_and_its_words_stay_to_be_copied(opened: Page, work: Deviation, meant):
    Deviation.objects.update(title="Newer", version=2)
    write(opened, "Title", "Older")
    expect(opened.locator("#words-error")).to_contain_text("changed elsewhere")
    expect(opened.get_by_label("Title")).to_have_value("Older")
    assert title(work) == "Newer"
    meant("409")
    opened.get_by_role("link", name="Load it again").click()
    expect(opened.get_by_label("Title")).to_have_value("Newer")


def test_without_a_connection_words_stay_and_are_saved_later(opened: Page, work: Deviation, problems: list[str]):
    opened.context.set_offline(True)
    write(opened, "Title", "Typed on a train")
    expect(opened.get_by_text("No connection to this server.")).to_be_visible()
    expect(opened.get_by_label("Title")).to_have_value("Typed on a train")
    opened.context.set_offline(False)
    expect(opened.locator("#saved")).to_contain_text("Saved")
    expect(opened.get_by_text("No connection to this server.")).to_be_hidden()
    assert title(work) == "Typed on a train"
    problems[:] = [
        problem for problem in problems if "ERR_INTERNET_DISCONNECTED" not in problem and "htmx" not in problem
    ]


def test_a_fault_of_the_server_is_said_and_the_words_are_saved_later(
    opened: Page, work: Deviation, problems: list[str]
):
    def fail(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(status=500, body="")
        else:
            route.continue_()

    address = f"**{reverse('deviations:work', args=[work.pk])}"
    opened.route(address, fail)
    write(opened, "Title", "Moths")
    expect(opened.get_by_text("This server made a mistake.")).to_be_visible()
    opened.unroute(address)
    expect(opened.locator("#saved")).to_contain_text("Saved")
    expect(opened.get_by_text("This server made a mistake.")).to_be_hidden()
    assert title(work) == "Moths"
    problems[:] = [problem for problem in problems if "500" not in problem and "htmx" not in problem]


def test_whoever_is_signed_out_meanwhile_keeps_their_words(
    opened: Page, signed_in: str, work: Deviation, artist: User, problems: list[str]
):
    opened.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    write(opened, "Title", "Moths")
    expect(opened.get_by_text("You are signed out.")).to_be_visible()
    expect(opened.get_by_label("Title")).to_have_value("Moths")
    assert title(work) == "Moth"
    client = Client()
    client.force_login(artist)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    opened.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": signed_in}])
    expect(opened.get_by_text("You are signed out.")).to_be_hidden(timeout=15_000)
    write(opened, "Title", "Moths again")
    expect(opened.get_by_role("heading", name="Moths again")).to_be_visible()
    problems[:] = [problem for problem in problems if not any(part in problem for part in ("401", "403", "htmx"))]


def test_a_time_that_comes_twice_is_asked_about(opened: Page, work: Deviation, meant):
    opened.get_by_label("Day").fill("2027-10-31")
    opened.get_by_label("Time", exact=True).fill("02:30")
    opened.get_by_role("button", name="Schedule", exact=True).click()
    opened.get_by_text("Second, CET").click()
    opened.get_by_role("button", name="Schedule", exact=True).click()
    expect(opened.locator(".slotline time")).to_have_text("31 Oct 2027, 02:30")
    work.refresh_from_db()
    assert f"{work.publish_at:%H:%M}" == "01:30"
    meant("422")


def test_scheduling_is_undone_from_its_toast(opened: Page, work: Deviation):
    opened.get_by_role("button", name="Schedule", exact=True).click()
    expect(opened.locator("#badge")).to_have_text("Scheduled, goes live by itself")
    opened.locator(".toast").get_by_role("button", name="Undo").click()
    expect(opened.locator("#badge")).to_have_text("Draft")
    work.refresh_from_db()
    assert work.status == "draft"


def test_a_toast_leaves_by_itself_but_not_while_it_is_pointed_at(page: Page, signed_in: str, work: Deviation):
    page.clock.install()
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    page.get_by_role("button", name="Schedule", exact=True).click()
    toast = page.locator(".toast")
    expect(toast).to_be_visible()
    toast.hover()
    page.clock.run_for(20_000)
    expect(toast).to_be_visible()
    page.mouse.move(10, 10)
    page.clock.run_for(12_000)
    expect(toast).to_have_count(0)


def test_the_theme_changes_at_once_and_stays(opened: Page, artist: User):
    def ground() -> str:
        return str(opened.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    light = ground()
    opened.locator(".side").get_by_title("Dark").click()
    opened.wait_for_url(opened.url)
    expect(opened.locator("html")).to_have_attribute("data-theme", "dark")
    assert ground() != light
    artist.refresh_from_db()
    assert artist.theme == "dark"


def test_a_time_zone_that_was_declined_is_not_offered_again(page: Page, signed_in: str, artist: User):
    User.objects.update(time_zone="Asia/Tokyo")
    page.goto(f"{signed_in}/works/")
    page.get_by_role("button", name="Keep Tokyo").click()
    expect(page.get_by_role("button", name="Use Berlin")).to_be_hidden()
    page.reload()
    expect(page.get_by_text("Times in Tokyo")).to_be_visible()
    expect(page.get_by_role("button", name="Use Berlin")).to_be_hidden()
    artist.refresh_from_db()
    assert artist.time_zone == "Asia/Tokyo"


def test_the_tale_of_a_work_is_copied_for_whoever_helps(opened: Page):
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    expect(opened.locator("#timeline")).to_contain_text("Nothing has happened yet.")
    opened.get_by_role("button", name="Copy for support").click()
    expect(opened.locator("#announcer")).to_have_text("Copied")
    assert "Nothing has happened yet." in opened.evaluate("navigator.clipboard.readText()")
