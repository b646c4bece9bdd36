"""Everything with the keys alone."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from deviations.models import Deviation

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def state(work: Deviation) -> str:
    return Deviation.objects.get(pk=work.pk).status


def test_works_are_picked_scheduled_and_taken_back_by_keys(page: Page, signed_in: str, make_work):
    third, second, first = (make_work(title) for title in ("Third", "Second", "First"))
    page.goto(f"{signed_in}/works/")
    for key in ("j", "x", "j", "j", "Shift+X"):
        page.keyboard.press(key)
    expect(page.locator("#bulkbar")).to_contain_text("3 picked")
    page.keyboard.press("t")
    expect(page.get_by_role("heading", name="When should they go out?")).to_be_visible()
    page.get_by_role("button", name="Schedule 3").press("Enter")
    expect(page.locator(".toast")).to_contain_text("3 works scheduled for")
    assert {state(work) for work in (first, second, third)} == {"scheduled"}
    expect(page.locator("#bulkbar")).to_be_hidden()
    page.keyboard.press("z")
    expect(page.locator(".toast").last).to_contain_text("Undone for 3 works")
    assert {state(work) for work in (first, second, third)} == {"draft"}


def test_the_cursor_opens_a_work_and_e_edits_it(page: Page, signed_in: str, make_work):
    make_work("Moth")
    page.goto(f"{signed_in}/works/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Moth")).to_be_visible()
    page.keyboard.press("e")
    expect(page.locator("#title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#title")).not_to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("w")
    expect(page.get_by_role("heading", name="Works", exact=True)).to_be_visible()


def test_the_filter_is_reached_by_a_slash_and_searches_as_one_types(page: Page, signed_in: str, make_work):
    make_work("Moth")
    make_work("Harbour")
    page.goto(f"{signed_in}/works/")
    page.keyboard.press("/")
    page.keyboard.type("moth")
    expect(page.locator("#wall .work")).to_have_count(1)
    expect(page).to_have_url(f"{signed_in}/works/?q=moth")
    page.keyboard.press("Control+A")
    page.keyboard.type("nothing")
    expect(page.get_by_role("heading", name="No work matches “nothing”")).to_be_visible()


def test_publishing_now_gives_the_safe_answer_the_focus(page: Page, signed_in: str, make_work):
    work = make_work("Moth")
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    button = page.get_by_role("button", name="Publish now")
    button.press("Enter")
    expect(page.get_by_role("link", name="Not now")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(button).to_be_focused()
    assert state(work) == "draft"
    button.press("Enter")
    page.get_by_role("button", name="Publish it").press("Enter")
    expect(page.locator("#badge")).to_have_text("Scheduled, goes live by itself")
    assert state(work) == "scheduled"


def test_works_that_refuse_are_named_in_a_question_that_closes(page: Page, signed_in: str, make_work):
    good, bad = make_work("Good"), make_work("x" * 51)
    page.goto(f"{signed_in}/works/")
    page.get_by_label("Pick Good").check()
    page.get_by_label(f"Pick {bad.title}").check()
    page.keyboard.press("t")
    page.get_by_role("button", name="Schedule 2").press("Enter")
    question = page.get_by_role("dialog", name="1 work was left as it is")
    expect(question).to_contain_text("titles of at most 50 characters")
    assert (state(good), state(bad)) == ("scheduled", "draft")
    page.get_by_role("button", name="All right").press("Enter")
    expect(question).to_be_hidden()
    expect(page.locator(".toast")).to_contain_text("1 work scheduled for")


def test_a_file_is_moved_by_its_button_which_keeps_the_focus(page: Page, signed_in: str, make_work):
    work = make_work("Set", files=3, upload_mode="multiple")
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    down = page.get_by_role("button", name="Move set-1.png back")
    down.press("Enter")
    expect(page.locator("#files li").nth(1)).to_contain_text("set-1.png")
    expect(down).to_be_focused()
    down.press("Enter")
    expect(page.locator("#files li").nth(2)).to_contain_text("set-1.png")
    assert list(work.files.values_list("original_name", flat=True)) == ["set-2.png", "set-3.png", "set-1.png"]


def test_tags_are_written_and_taken_away_by_keys(page: Page, signed_in: str, make_work):
    work = make_work("Moth", tags=["moth"])
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    field = page.get_by_placeholder("Add a tag")
    field.press_sequentially("tea,#gouache")
    field.press("Enter")
    expect(page.locator(".tagfield .chip")).to_have_text(["moth", "tea", "gouache"])
    expect(page.locator("#saved")).to_contain_text("Saved")
    field.press("Backspace")
    expect(page.locator(".tagfield .chip")).to_have_count(2)
    expect(page.locator("#tags-hint")).to_have_text("DeviantArt will show: moth tea")
    work.refresh_from_db()
    assert work.tags == ["moth", "tea"]


def test_the_first_tab_leads_past_the_navigation(page: Page, signed_in: str):
    page.goto(f"{signed_in}/works/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_keys_can_be_switched_off(page: Page, signed_in: str, make_work):
    make_work("Moth")
    page.goto(f"{signed_in}/works/")
    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.reload()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#bulkbar")).to_be_hidden()
    assert page.locator("[data-cursor]").count() == 0


def test_keys_rest_while_one_types(page: Page, signed_in: str, make_work):
    make_work("Moth")
    page.goto(f"{signed_in}/works/")
    page.locator("#q").fill("j")
    page.locator("#q").press("x")
    assert page.locator("[data-cursor]").count() == 0
