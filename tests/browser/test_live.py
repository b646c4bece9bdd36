"""Pages that lie open learn what changes, by themselves and within two seconds."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TWO_SECONDS = 2000
# Its request, its answer, and the card that is fetched by it, on a busy machine.
ROOM = 3000


def change(work: Deviation, **fields: object) -> None:
    Deviation.objects.filter(pk=work.pk).update(updated_at=clock.now(), **fields)


def set_off(work: Deviation) -> None:
    change(work, status="uploading", worker_id=new_id(), lease_id=new_id())


def arrive(work: Deviation) -> None:
    change(work, status="published", published_at=clock.now(), worker_id=None, lease_id=None)


def requests_to(page: Page, part: str) -> list[str]:
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if part in request.url else None)
    return found


def test_only_the_card_that_changed_is_fetched_and_within_two_seconds(page: Page, signed_in: str, make_work):
    moving, _still = make_work("Moth", hours=-0.001), make_work("Harbour")
    set_off(moving)
    page.goto(f"{signed_in}/works/")
    page.evaluate("window.wasNeverLoadedAgain = true")
    fetched = requests_to(page, "/card/")
    arrive(moving)
    card = page.locator(f"#w-{moving.pk}")
    expect(card).to_have_attribute("data-status", "published", timeout=TWO_SECONDS + ROOM)
    assert {url.split("/works/")[1] for url in fetched} == {f"{moving.pk}/card/"}
    expect(page.locator("#announcer")).to_have_text("“Moth” is live.")
    expect(page.locator("#filter-published .num")).to_have_text("1")
    assert page.evaluate("window.wasNeverLoadedAgain")


def test_a_strip_without_news_is_not_drawn_again(page: Page, signed_in: str, make_work):
    moving = make_work("Moth", hours=-0.001)
    set_off(moving)
    page.goto(f"{signed_in}/works/")
    page.locator("#now").evaluate("strip => { strip.wasNeverDrawnAgain = true }")
    with page.expect_response(lambda response: "/now/" in response.url and response.status == 204):
        pass
    assert page.locator("#now").evaluate("strip => strip.wasNeverDrawnAgain")


def test_a_hidden_tab_asks_nothing_and_asks_at_once_when_it_is_seen_again(page: Page, signed_in: str, make_work):
    moving = make_work("Moth", hours=-0.001)
    set_off(moving)
    page.goto(f"{signed_in}/works/")
    with page.expect_response("**/now/*"):
        pass
    hide(page, hidden=True)
    asked = requests_to(page, "/now/")
    arrive(moving)
    page.wait_for_timeout(2 * TWO_SECONDS)  # as long as two polls: that nothing happens cannot be waited for otherwise
    assert asked == []
    hide(page, hidden=False)
    expect(page.locator(f"#w-{moving.pk}")).to_have_attribute("data-status", "published", timeout=ROOM)


def hide(page: Page, *, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_the_page_of_a_work_follows_it_and_keeps_what_is_being_typed(page: Page, signed_in: str, make_work):
    work = make_work("Moth", hours=-0.001)
    page.goto(signed_in + reverse("deviations:work", args=[work.pk]))
    time = page.locator("#when-time")
    time.fill("18:50")
    time.focus()
    set_off(work)
    expect(page.locator("#now")).to_contain_text("Uploading", timeout=TWO_SECONDS + ROOM)
    expect(time).to_have_value("18:50")
    time.blur()
    arrive(work)
    expect(page.locator("#badge")).to_have_text("Published", timeout=TWO_SECONDS + ROOM)
    expect(page.locator("#title")).to_be_disabled()
    expect(page.get_by_role("heading", name="Live since")).to_be_visible()


def test_countdowns_go_on_between_two_answers(page: Page, signed_in: str, make_work):
    make_work("Moth", hours=30 / 3600)
    page.goto(f"{signed_in}/works/")
    ahead = page.locator("#now [data-until]")
    first = ahead.inner_text()
    assert first.startswith("in ")
    assert first.endswith(" s")
    expect(ahead).not_to_have_text(first)


def test_a_work_that_another_page_trashed_leaves_the_wall(page: Page, signed_in: str, make_work):
    moving, other = make_work("Moth", hours=-0.001), make_work("Harbour")
    set_off(moving)
    page.goto(f"{signed_in}/works/")
    Deviation.objects.filter(pk=other.pk).update(trashed_at=clock.now(), updated_at=clock.now())
    expect(page.locator(f"#w-{other.pk}")).to_have_count(0, timeout=TWO_SECONDS + ROOM)


def test_a_picture_whose_address_has_run_out_is_fetched_anew(page: Page, signed_in: str, make_work):
    work = make_work("Moth")
    page.goto(f"{signed_in}/works/")
    picture = page.locator(f"#w-{work.pk} img")
    expect(picture).to_be_visible()
    address = picture.get_attribute("src")
    with page.expect_response("**/card/"):
        picture.evaluate("picture => { picture.src = picture.src.replace('X-Amz-Signature=', 'X-Amz-Signature=0') }")
    expect(picture).to_have_attribute("src", str(address))


def test_a_change_that_was_made_elsewhere_is_seen_within_two_seconds(page: Page, signed_in: str, make_work):
    work = make_work("Moth")
    page.goto(f"{signed_in}/works/")
    expect(page.locator("#now")).to_have_attribute("hx-trigger", "every 2s, seen, works:touched from:body")
    Deviation.objects.filter(pk=work.pk).update(title="Tram", updated_at=clock.now())
    expect(page.locator(f"#w-{work.pk}")).to_contain_text("Tram", timeout=2_000 + ROOM)
