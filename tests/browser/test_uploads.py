"""Dropping, pasting and choosing files; what goes wrong on the way, and what can be done about it."""

import base64
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Dialog, Locator, Page, Route, expect

from deviations.models import Deviation, Upload
from tests import pictures

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media", "account")]

DROP = """
([files, kind]) => {
  const carried = new DataTransfer();
  for (const [name, type, text] of files) {
    carried.items.add(new File([Uint8Array.from(atob(text), letter => letter.charCodeAt(0))], name, { type }));
  }
  const options = { bubbles: true, cancelable: true };
  const event = kind === "drop" ? new DragEvent("drop", { ...options, dataTransfer: carried })
    : new ClipboardEvent("paste", { ...options, clipboardData: carried });
  document.body.dispatchEvent(event);
}
"""


def bring(page: Page, kind: str, *files: tuple[str, str, bytes]) -> None:
    page.evaluate(DROP, [[[name, mime, base64.b64encode(body).decode()] for name, mime, body in files], kind])


def row(page: Page, name: str) -> Locator:
    return page.locator(".uploads li", has_text=name)


class Gate:
    """Keeps what goes to an address waiting until it is opened."""

    def __init__(self, page: Page, address: str) -> None:
        self.waiting: list[Route] = []
        self.is_open = False
        page.route(address, self.meet)

    def meet(self, route: Route) -> None:
        if self.is_open:
            route.continue_()
        else:
            self.waiting.append(route)

    def open(self) -> None:
        self.is_open = True
        for route in self.waiting:
            route.continue_()


def png(name: str, seed: int) -> tuple[str, str, bytes]:
    return name, "image/png", pictures.png(seed, size=(160, 120))


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_files_that_are_brought_become_drafts(page: Page, signed_in: str, kind: str):
    page.goto(f"{signed_in}/works/")
    expect(page.get_by_role("heading", name="Your wall is empty")).to_be_visible()
    bring(page, kind, png("one.png", 1), png("two_of-them.png", 2))
    expect(page.locator("#wall .work")).to_have_count(2)
    expect(page.get_by_role("heading", name="Your wall is empty")).to_be_hidden()
    assert sorted(Deviation.objects.values_list("title", flat=True)) == ["One", "Two of them"]
    expect(page.locator("#filter-draft .num")).to_have_text("2")
    expect(row(page, "one.png")).to_have_count(0)  # it leaves once it has been read


def test_a_file_dropped_onto_a_work_becomes_one_of_its_files(page: Page, signed_in: str, make_work):
    work = make_work("Moth")
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    bring(page, "drop", png("second.png", 1), png("third.png", 2))
    expect(page.locator("#files li")).to_have_count(3)
    assert Deviation.objects.count() == 1
    expect(page.locator("#ready")).to_contain_text("One deviation has exactly one file, and this work has 3.")


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (("scan.bmp", "image/bmp", b"BM"), "DeviantArt takes no file like scan.bmp."),
        (("empty.png", "image/png", b""), "This file is empty."),
        (("notes.png", "image/png", b"only a text"), "notes.png"),
        (("moth.jpg", "image/png", pictures.png(3)), "moth.jpg"),
    ],
)
def test_a_file_that_cannot_be_taken_says_why(page: Page, signed_in: str, problems: list[str], file, sentence):
    page.goto(f"{signed_in}/works/")
    bring(page, "drop", file)
    mine = row(page, file[0])
    expect(mine).to_have_attribute("data-status", "failed")
    expect(mine).to_contain_text(sentence)
    expect(mine.get_by_role("button", name="again")).to_be_hidden()
    assert not Deviation.objects.exists()
    mine.get_by_role("button", name=f"Take {file[0]} out").click()
    expect(mine).to_have_count(0)
    problems[:] = [problem for problem in problems if "422" not in problem]  # a refusal of the server is logged


def test_a_file_that_is_too_large_is_not_sent(page: Page, signed_in: str):
    page.goto(f"{signed_in}/works/")
    page.locator("#upload").evaluate("section => { section.dataset.limit = 100 }")
    bring(page, "drop", png("large.png", 1))
    expect(row(page, "large.png")).to_contain_text("large.png is larger than 50 MB.")
    assert not Upload.objects.exists()


def test_a_connection_that_breaks_off_is_tried_again_by_a_button(page: Page, signed_in: str, meant):
    storage = f"{settings.STORAGE_ORIGIN}/**"
    page.route(storage, lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    page.goto(f"{signed_in}/works/")
    bring(page, "drop", png("moth.png", 1))
    expect(row(page, "moth.png")).to_contain_text("The connection broke off. Nothing is lost; try it again.")
    meant("ERR_FAILED")
    page.unroute(storage)
    row(page, "moth.png").get_by_role("button", name="Try moth.png again").click()
    expect(page.locator("#wall .work")).to_have_count(1)


def test_an_upload_that_is_taken_out_stops_and_makes_no_draft(page: Page, signed_in: str):
    gate = Gate(page, "**/complete/")
    page.goto(f"{signed_in}/works/")
    bring(page, "drop", png("moth.png", 1))
    expect(row(page, "moth.png")).to_contain_text("Here. We are checking it.")
    row(page, "moth.png").get_by_role("button", name="Take moth.png out").click()
    expect(row(page, "moth.png")).to_have_count(0)
    assert len(gate.waiting) == 1
    assert not Deviation.objects.exists()


def test_three_go_up_at_once_and_the_others_wait_for_their_turn(page: Page, signed_in: str):
    gate = Gate(page, "**/complete/")
    page.goto(f"{signed_in}/works/")
    bring(page, "drop", *[png(f"{number}.png", number) for number in range(5)])
    checked = page.locator(".uploads li", has_text="We are checking it.")
    expect(checked).to_have_count(3)
    expect(page.locator(".uploads li", has_text="Waiting for its turn")).to_have_count(2)
    gate.open()
    expect(page.locator("#wall .work")).to_have_count(5)


def test_leaving_while_a_file_goes_up_asks_first(page: Page, signed_in: str):
    page.route("**/complete/", lambda _route: None)
    page.goto(f"{signed_in}/works/")
    page.locator("#q").click()  # browsers ask only where somebody has done something
    bring(page, "drop", png("moth.png", 1))
    expect(row(page, "moth.png")).to_contain_text("We are checking it.")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.close(run_before_unload=True)
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]


def test_the_button_on_a_phone_opens_the_choice_of_files(page: Page, signed_in: str, tmp_path: Path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{signed_in}/works/")
    picture = tmp_path / "phone.png"
    picture.write_bytes(pictures.png(5))
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Upload").click()
    choosing.value.set_files(picture)
    expect(page.locator("#wall .work")).to_have_count(1)
