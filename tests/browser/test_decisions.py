"""Deciding about works with a real browser: by keys, on a phone, for many at once."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from deviations.models import Deviation
from publisher.services.confirming import Sighting
from tests.publisher.undecided import ask, doubtful_part

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(autouse=True)
def _nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("publisher.services.confirming.look_for", lambda *_arguments: Sighting(None))


@pytest.fixture
def make_undecided(make_work):
    def make(title: str) -> Deviation:
        work = make_work(title, hours=-2)
        doubtful_part(work, work.files.get())
        return ask(work, "unconfirmed")

    return make


@pytest.fixture
def make_late(make_work):
    def make(title: str) -> Deviation:
        return ask(make_work(title, hours=-48), "late")

    return make


def state(work: Deviation) -> str:
    return Deviation.objects.get(pk=work.pk).status


def opened(page: Page, signed_in: str, work: Deviation) -> None:
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    expect(page.get_by_role("heading", name="What we know")).to_be_visible()


def test_an_address_that_cannot_be_seen_is_confirmed_by_keys(
    page: Page, signed_in: str, make_undecided, account, meant
):
    work = make_undecided("Kite")
    opened(page, signed_in, work)
    page.get_by_label("Its address").focus()
    page.keyboard.type(f"{account.base_url}/{account.username}/art/Kite-77")
    page.keyboard.press("Enter")
    again = page.get_by_label("I see it there: it is live")
    expect(again).to_be_visible()
    meant("409")
    expect(page.get_by_label("Its address")).to_have_value(f"{account.base_url}/{account.username}/art/Kite-77")
    again.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="It is live there").press("Enter")
    expect(page.locator("#badge")).to_have_text("Published")
    assert state(work) == "published"


def test_nobody_publishes_again_without_having_said_that_it_is_not_live(page: Page, signed_in: str, make_undecided):
    work = make_undecided("Kite")
    opened(page, signed_in, work)
    page.get_by_label("Back to draft").check()
    page.get_by_role("button", name="Do that").press("Enter")
    expect(page.locator("#not-live:invalid")).to_be_visible()
    assert state(work) == "needs_decision"
    page.get_by_label("I have looked").press("Space")
    page.get_by_role("button", name="Do that").press("Enter")
    expect(page.locator("#badge")).to_have_text("Draft")
    expect(page.locator("#decision")).to_have_count(0)
    assert state(work) == "draft"


def test_the_question_fits_on_a_phone(page: Page, signed_in: str, make_undecided):
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    opened(page, signed_in, make_undecided("Kite"))
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE["width"]
    for control in page.locator("#decision button, #decision input:visible").all():
        box = control.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]


def test_picked_works_that_all_need_a_decision_are_decided_together(
    page: Page, signed_in: str, make_undecided, make_late, make_work
):
    works = [make_undecided("Kite"), make_late("Whale")]
    draft = make_work("Moth")
    page.goto(f"{signed_in}/works/")
    for title in ("Kite", "Whale", "Moth"):
        page.get_by_label(f"Pick {title}").check()
    bar = page.locator("#bulkbar")
    expect(bar.get_by_role("button", name="Decide")).to_be_hidden()
    page.get_by_label("Pick Moth").uncheck()
    expect(bar.get_by_role("button", name="Publish now")).to_be_hidden()
    bar.get_by_role("button", name="Decide").press("Enter")
    expect(page.get_by_role("heading", name="What becomes of 2 works?")).to_be_visible()
    expect(page.get_by_role("link", name="Not now")).to_be_focused()
    page.get_by_label("I have looked").check()
    page.get_by_role("dialog").get_by_label("Back to draft").check()
    page.get_by_role("button", name="Do that").press("Enter")
    expect(page.locator(".toast")).to_contain_text("2 works are drafts again")
    assert {state(work) for work in (*works, draft)} == {"draft"}


def test_all_late_works_of_an_account_are_answered_for_in_one_place(page: Page, signed_in: str, make_late):
    works = [make_late("Kite"), make_late("Whale")]
    page.goto(f"{signed_in}/works/?status=decision")
    page.get_by_role("link", name="Answer for all 2").click()
    expect(page.get_by_role("heading", name="2 late works of nightjar-atelier")).to_be_visible()
    page.get_by_label("Publish now").check()
    page.get_by_role("button", name="Do that with all 2").press("Enter")
    expect(page.locator(".toast")).to_contain_text("2 works go out now")
    assert {state(work) for work in works} == {"scheduled"}
