"""An automation is built, looked at and let run; what was shown is what happens."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import time_machine
from django.db import connection
from playwright.sync_api import Page, expect

from accounts.models import User
from automations.models import Automation, Execution, ScheduleRule
from automations.services.materialising import lead, schedule_due
from automations.services.planning import plan_anew
from deviations.models import Deviation
from isekai import clock
from tests.factories import AutomationFactory, ScheduleRuleFactory
from tests.processes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

Shown = list[tuple[str, datetime]]


@pytest.fixture(autouse=True)
def _an_hour_ahead(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600
    monkeypatch.setattr("isekai.queue._send_now", lambda *_arguments: None)


@pytest.fixture
def drafts(make_work: Callable[..., Deviation]) -> list[Deviation]:
    """The oldest first; all of them ready."""
    made = [make_work(title, ready_at=clock.now()) for title in ("Moth", "Koi", "Fern", "Garden")]
    for number, draft in enumerate(made):
        Deviation.objects.filter(pk=draft.pk).update(created_at=clock.now() - timedelta(days=10 - number))
    return made


@pytest.fixture
def automation(account) -> Automation:
    made: Automation = AutomationFactory(workspace=account.workspace, account=account, name="Evening sketch")
    ScheduleRuleFactory(automation=made)
    plan_anew([made])
    return made


def preview_of(page: Page) -> Shown:
    """The slots beside the editor that have a draft: its title, and the moment."""
    found: Shown = []
    for slot in page.locator("#preview .preview > li:has(.title)").all():
        moment = datetime.fromisoformat(slot.locator("time").get_attribute("datetime") or "")
        found.append((slot.locator(".title").inner_text(), moment))
    return found


def test_an_automation_of_two_rules_does_what_its_preview_has_shown(
    page: Page, signed_in: str, drafts: list[Deviation], account
):
    page.goto(f"{signed_in}/works/")
    page.get_by_role("navigation", name="Main", exact=True).get_by_role("link", name="Automations").click()
    expect(page.get_by_role("heading", name="No automation yet")).to_be_visible()
    page.get_by_role("link", name="Make one").click()
    page.get_by_label("Name").fill("Evening sketch")
    page.get_by_label("At a time of day").check()
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Evening sketch")).to_be_visible()
    add_a_second_rule(page)
    typed = look_at_what_is_typed(page)
    page.get_by_role("button", name="Save", exact=True).first.click()
    expect(page.locator("#toasts")).to_contain_text("Saved.")
    assert preview_of(page) == typed
    page.get_by_role("switch", name="Evening sketch runs").check()
    expect(page.locator("#toasts")).to_contain_text("“Evening sketch” runs.")
    wait_until(lambda: Automation.objects.get().enabled)
    page.reload()
    shown = preview_of(page)
    assert shown == typed
    assert [title for title, _at in shown] == ["Moth", "Koi", "Fern", "Garden"]
    page.goto("about:blank")
    let_it_run(until=shown[-1][1])
    assert happened() == shown
    see_them_scheduled(page, signed_in)


def add_a_second_rule(page: Page) -> None:
    page.locator("#new-rule").select_option("time_window")
    page.get_by_role("button", name="Add a rule").click()
    expect(page.locator("#rules .rule")).to_have_count(2)
    window = page.locator("#rules .rule").nth(1)
    window.get_by_label("From", exact=True).fill("08:00")
    window.get_by_label("Until", exact=True).fill("11:00")
    window.get_by_label("Until", exact=True).blur()


def look_at_what_is_typed(page: Page) -> Shown:
    """The preview follows what is typed, and nothing of it is saved."""
    preview = page.locator("#preview")
    for name in ("jitter_min", "jitter_max"):
        page.locator(f"[name={name}]").fill("0")
    page.locator("#rules .rule").nth(0).get_by_label("Time", exact=True).fill("19:30")
    page.locator("#rules .rule").nth(0).get_by_label("Time", exact=True).blur()
    expect(preview).to_contain_text("as typed, not saved")
    expect(preview.locator("time", has_text="19:30").first).to_be_visible()
    # Each of these draws lies in its window, also before it is saved.
    expect(preview.locator("time", has_text=re.compile(r", (08|09|10):\d\d"))).not_to_have_count(0)
    page.wait_for_load_state("networkidle")
    assert ScheduleRule.objects.count() == 1
    return preview_of(page)


def let_it_run(*, until: datetime) -> None:
    """Ticks by a clock that is moved to each moment at which there is something to do."""
    for _tick in range(20):
        due = ScheduleRule.objects.due(until + lead()).order_by("next_slot_at").first()
        if due is None or due.next_slot_at is None or due.next_slot_at > until:
            break
        moment = due.next_slot_at - lead() + timedelta(seconds=30)
        with time_machine.travel(moment, tick=False), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('isekai.now', %s, false)", [moment.isoformat()])
            schedule_due()
            cursor.execute("RESET isekai.now")


def happened() -> Shown:
    works = Deviation.objects.filter(status="scheduled").order_by("publish_at")
    return [(work.title, work.publish_at) for work in works if work.publish_at is not None]


def see_them_scheduled(page: Page, address: str) -> None:
    page.goto(f"{address}/works/?status=scheduled")
    for title in ("Moth", "Koi", "Fern", "Garden"):
        expect(page.locator("#wall")).to_contain_text(title)
    page.goto(f"{address}/automations/{Automation.objects.get().pk}/history/")
    expect(page.locator(".timeline > li")).to_have_count(Execution.objects.count())
    expect(page.locator(".timeline")).to_contain_text("At 19:30 every day")


def test_what_was_typed_is_not_lost_by_leaving_or_by_a_mistake(
    page: Page, signed_in: str, automation: Automation, meant
):
    page.goto(f"{signed_in}/automations/{automation.pk}/")
    page.locator("#id_name").fill("Renamed")
    page.locator("#id_name").blur()
    with page.expect_event("dialog") as asked:
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.get_by_role("link", name="Automations").first.click()
    assert asked.value.type == "beforeunload"
    expect(page.locator("#id_name")).to_have_value("Renamed")
    page.locator("[name=jitter_max]").fill("1")
    page.locator("[name=jitter_min]").fill("5")
    page.get_by_role("button", name="Save", exact=True).first.click()
    expect(page.locator("#id_jitter_max_error")).to_contain_text("less than the least")
    meant("422")
    expect(page.locator("#id_name")).to_have_value("Renamed")
    page.locator("[name=jitter_max]").fill("9")
    page.keyboard.press("Enter")  # saves, and adds no rule
    expect(page.locator("#toasts")).to_contain_text("Saved.")
    automation.refresh_from_db()
    assert (automation.name, automation.jitter_max_seconds, automation.rules.count()) == ("Renamed", 540, 1)


def test_a_run_by_hand_is_undone_from_its_toast_and_the_page_follows(
    page: Page, signed_in: str, automation: Automation, drafts: list[Deviation]
):
    Automation.objects.update(jitter_min_seconds=3600, jitter_max_seconds=3600)
    page.goto(f"{signed_in}/automations/{automation.pk}/")
    page.get_by_role("link", name="Run now").click()
    dialog = page.get_by_role("dialog", name="Run Evening sketch now?")
    expect(dialog).to_contain_text("Moth")
    dialog.get_by_role("button", name="Publish 1").click()
    expect(page.locator("#toasts")).to_contain_text("1 work goes out")
    expect(dialog).to_be_hidden()
    expect(page.locator("#last-runs")).to_contain_text("1 work")
    assert Deviation.objects.get(title="Moth").status == "scheduled"
    page.keyboard.press("z")
    expect(page.locator("#toasts")).to_contain_text("1 work is a draft again.")
    expect(page.locator("#last-runs")).to_contain_text("Undone")
    assert Deviation.objects.get(title="Moth").status == "draft"


def test_rows_change_places_by_hand_and_by_keys(page: Page, signed_in: str, automation: Automation):
    for place in (1, 2):
        AutomationFactory(
            workspace=automation.workspace, account=automation.account, name=f"Number {place}", position=place
        )

    names = page.locator(".automationrow h2")
    page.goto(f"{signed_in}/automations/")
    expect(names).to_have_text(["Evening sketch", "Number 1", "Number 2"])
    page.get_by_role("button", name="Move Number 2 up").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".automationrow h2").nth(1)).to_have_text("Number 2")
    expect(page.get_by_role("button", name="Move Number 2 up")).to_be_focused()
    grip, first = page.locator("[data-grip]").nth(2), page.locator(".automationrow").first
    start, end = grip.bounding_box(), first.bounding_box()
    assert start is not None
    assert end is not None
    page.mouse.move(start["x"] + 5, start["y"] + 5)
    page.mouse.down()
    page.mouse.move(start["x"] + 5, start["y"] - 40, steps=4)
    page.mouse.move(start["x"] + 5, end["y"] + 4, steps=8)
    page.mouse.up()
    wait_until(lambda: Automation.objects.get(name="Number 1").position == 0)
    expect(names.first).to_have_text("Number 1")
    expect(names).to_have_text(list(Automation.objects.order_by("position").values_list("name", flat=True)))


def test_pages_of_automations_fit_a_phone(page: Page, signed_in: str, automation: Automation, drafts):
    Automation.objects.update(name="W" * 90)
    page.set_viewport_size({"width": 320, "height": 700})
    for rest in ("", "new/", "ahead/", f"{automation.pk}/", f"{automation.pk}/history/", f"{automation.pk}/run/"):
        page.goto(f"{signed_in}/automations/{rest}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), rest


def test_choosing_another_time_zone_shows_what_moves(page: Page, signed_in: str, automation: Automation):
    page.goto(f"{signed_in}/automations/")
    page.get_by_role("link", name="Change the time zone").click()
    page.get_by_role("dialog").get_by_label("Time zone").select_option("Asia/Tokyo")
    expect(page.locator("#zone-moves")).to_contain_text(re.compile("2[89] slots of the next four weeks move"))
    page.get_by_role("dialog").get_by_role("link", name="Leave it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert User.objects.get().time_zone == "Europe/Berlin"
    page.get_by_role("link", name="Change the time zone").click()
    page.get_by_role("dialog").get_by_label("Time zone").select_option("Asia/Tokyo")
    expect(page.locator("#zone-moves")).to_contain_text(re.compile("2[89] slots of the next four weeks move"))
    page.get_by_role("dialog").get_by_role("button", name="Use it").click()
    wait_until(lambda: User.objects.get().time_zone == "Asia/Tokyo")
    # And back, by what the page itself offers: the browser's clock is another one again.
    page.get_by_role("button", name="Use Berlin").click()
    expect(page.get_by_role("heading", name="Have all times be those of Berlin?")).to_be_visible()
    expect(page.locator("main")).to_contain_text("slots of the next four weeks move")
    assert User.objects.get().time_zone == "Asia/Tokyo"
    page.get_by_role("button", name="Use it").click()
    wait_until(lambda: User.objects.get().time_zone == "Europe/Berlin")
    expect(page).to_have_url(re.compile("/automations/$"))
