"""The page of one automation: saved as a whole, looked at before it is, with errors at their fields."""

from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from accounts.models import AuditEvent
from automations.models import Automation, DefaultValue, Execution, ScheduleRule
from deviations.models import Deviation
from tests.automations.web.conftest import NOON
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    DeviationFactory,
    DueDeviationFactory,
    ExecutionWorkFactory,
    ScheduleRuleFactory,
)
from tests.unchanged import everything

pytestmark = pytest.mark.django_db


def address(automation: Automation, rest: str = "") -> str:
    return f"/automations/{automation.pk}/{rest}"


def rule_field(automation: Automation, name: str) -> str:
    return f"rule-{automation.rules.get().pk}-{name}"


ALL_TYPES: dict[str, dict[str, Any]] = {
    "fixed_time": {"time_of_day": time(18, 30), "weekdays": [0, 2]},
    "fixed_interval": {
        "interval_minutes": 36 * 60,
        "anchor_local": NOON.replace(tzinfo=None),
        "window_start": time(10),
        "window_end": time(22),
    },
    "daily_quota": {"quota": 3, "window_start": time(10)},
    "time_window": {"window_start": time(14), "window_end": time(20), "weekdays": [5, 6]},
    "weekday_slots": {"week_minutes": [540, 1980], "week_numbers": [0, 1]},
    "cron": {"cron": "0 9 * * MON-FRI"},
}


# --- saving ----------------------------------------------------------------------------------------------------------
def test_saving_what_is_shown_changes_nothing_whatever_the_automation_says(plain, typed, account):
    automation = AutomationFactory(
        workspace=account.workspace,
        account=account,
        description="Each evening",
        color="#123456",
        icon="S",
        method="mixture",
        mixture=[{"method": "fifo", "weight": 30}, {"method": "random", "weight": 70}],
        filter_tags=["fox", "tea"],
        filter_min_age_days=2,
        filter_mature="never",
        spacing="series",
        jitter_min_seconds=90,
        jitter_max_seconds=600,
        catch_up_seconds=1800,
        counter=12,
        combine="all",
        zone="Asia/Tokyo",
        valid_from=NOON.date(),
    )
    for priority, (kind, fields) in enumerate(ALL_TYPES.items()):
        of_type = {"time_of_day": None} | fields
        ScheduleRuleFactory(
            automation=automation, type=kind, priority=priority, quiet_hours=3, on_blackout="move", **of_type
        )
    ScheduleRuleFactory(automation=automation, enabled=False, works_per_slot=3, min_drafts_left=5, max_per_week=4)
    values: dict[str, Any] = {
        "title": "{title} {counter}",
        "description": "Two\nlines",
        "tags": ["fox", "red fox"],
        "is_mature": False,
        "mature_level": "strict",
        "mature_classification": ["nudity", "gore"],
        "allow_comments": True,
        "display_resolution": 0,
        "upload_mode": "multiple",
        "gallery_ids": ["00000000-0000-0000-0000-000000000001"],
    }
    for name, value in values.items():
        mode = "always" if name == "upload_mode" else "untouched"
        DefaultValueFactory(automation=automation, field=name, value=value, mode=mode)
    before = everything()
    response = plain.post(address(automation), typed(plain.get(address(automation))))
    assert response.status_code == 302
    assert AuditEvent.objects.values_list("verb", "params").first() is None
    assert everything() == before


def test_what_was_typed_is_saved_and_the_page_says_so(plain, typed, automation, artist):
    page = plain.get(address(automation))
    new = typed(
        page, name="Morning", method="random", jitter_max="10", **{rule_field(automation, "time_of_day"): "07:30"}
    )
    response = plain.post(address(automation), new, follow=True)
    assert "Saved." in response.content.decode()
    automation.refresh_from_db()
    assert (automation.name, automation.method, automation.jitter_max_seconds) == ("Morning", "random", 600)
    assert automation.rules.get().time_of_day == time(7, 30)


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_a_rule_of_each_type_is_added_and_saved(plain, typed, automation, kind):
    shown = plain.post(address(automation), typed(plain.get(address(automation)), do="add-rule", new_rule=kind))
    assert shown.status_code == 200
    assert automation.rules.count() == 1  # nothing is saved yet
    response = plain.post(address(automation), typed(shown))
    assert response.status_code == 302
    assert set(automation.rules.values_list("type", flat=True)) == {"fixed_time", kind}
    assert all(rule.next_slot_at is not None for rule in automation.rules.all())


def test_parts_are_taken_out_without_anything_else_that_was_typed_being_lost(plain, typed, read, automation):
    other = ScheduleRuleFactory(automation=automation, time_of_day=time(21))
    DefaultValueFactory(automation=automation)
    sent = typed(plain.get(address(automation)), name="Renamed", do=f"remove-rule:{other.pk}")
    shown = plain.post(address(automation), sent)
    page = read(shown)
    assert page.all("input", name="name", value="Renamed")
    assert len(page.all("input", name="rule")) == 1
    assert page.all("form", id="editor", data_unsaved="typed")
    shown = plain.post(address(automation), typed(shown, do="remove-default:tags"))
    assert automation.rules.count() == 2
    plain.post(address(automation), typed(shown))
    assert automation.rules.count() == 1
    assert not automation.default_values.exists()
    automation.refresh_from_db()
    assert automation.name == "Renamed"


@pytest.mark.parametrize("name", [each for each in DefaultValue.Field.values if each != "gallery_ids"])
def test_every_field_can_be_filled_in(plain, typed, automation, name):
    good = {
        "title": "{title}",
        "description": "x",
        "tags": "fox, tea",
        "mature_level": "strict",
        "mature_classification": ["nudity"],
        "display_resolution": "4",
        "upload_mode": "multiple",
    }
    shown = plain.post(address(automation), typed(plain.get(address(automation)), do="add-default", new_default=name))
    sent = typed(shown, **{f"default-{name}-value": good.get(name, "no")})
    assert plain.post(address(automation), sent).status_code == 302
    value = automation.default_values.get().value
    expected = {"tags": ["fox", "tea"], "mature_classification": ["nudity"], "display_resolution": 4}
    assert value == expected.get(name, good.get(name, False))


# --- refusals --------------------------------------------------------------------------------------------------------
def test_what_cannot_be_used_is_said_at_its_field_and_what_was_typed_stays(plain, typed, read, automation):
    DefaultValueFactory(automation=automation, field="title", value="x")
    before = everything()
    time_of_day = rule_field(automation, "time_of_day")
    wrong = {"name": " ", "jitter_min": "10", "jitter_max": "5", time_of_day: "", "default-title-value": "{nonsense}"}
    response = plain.post(address(automation), typed(plain.get(address(automation)), **wrong))
    assert response.status_code == 422
    page = read(response)
    assert page.all("input", name="name", aria_invalid="true")
    assert "Give it a name." in page.words
    assert page.all("input", name="default-title-value", value="{nonsense}")
    assert everything() == before
    # What only the services know.
    response = plain.post(address(automation), typed(response, name="Sketch"))
    page = read(response)
    for name in ("default-title-value", "jitter_max", time_of_day):
        assert page.all("input", name=name, aria_invalid="true")
    assert "There is no variable {nonsense}." in page.words
    assert everything() == before


def test_a_week_that_cannot_be_read_is_said_at_its_day(plain, typed, read, automation):
    shown = plain.post(
        address(automation), typed(plain.get(address(automation)), do="add-rule", new_rule="weekday_slots")
    )
    (name,) = [name for name in typed(shown) if name.endswith("-week_2")]
    response = plain.post(address(automation), typed(shown, **{name: "9, noon"}))
    page = read(response)
    assert page.all("input", name=name, value="9, noon", aria_invalid="true")
    assert "“noon” is no time of day." in page.words


def test_an_older_page_is_told_and_keeps_what_was_typed(plain, typed, read, automation):
    sent = typed(plain.get(address(automation)), name="Older")
    Automation.objects.update(version=5)
    response = plain.post(address(automation), sent)
    assert response.status_code == 409
    page = read(response)
    assert "changed elsewhere" in page.words
    assert page.all("input", name="name", value="Older")


def test_the_last_rule_of_one_that_is_on_stays(plain, typed, read, automation):
    shown = plain.post(
        address(automation), typed(plain.get(address(automation)), do=f"remove-rule:{automation.rules.get().pk}")
    )
    response = plain.post(address(automation), typed(shown))
    assert "last rule that is switched on" in read(response).words
    assert automation.rules.count() == 1


def test_a_zone_says_what_it_moves_before_it_moves(plain, typed, read, automation):
    sent = typed(plain.get(address(automation)), zone="Asia/Tokyo")
    response = plain.post(address(automation), sent)
    assert response.status_code == 409
    page = read(response)
    assert "This moves 28 slots of the next weeks." in page.words
    assert "becomes Tue 8 Jan, 09:00" in page.words
    automation.refresh_from_db()
    assert automation.zone == ""
    assert plain.post(address(automation), typed(response, confirm_moves="1")).status_code == 302
    automation.refresh_from_db()
    assert automation.zone == "Asia/Tokyo"


# --- preview ---------------------------------------------------------------------------------------------------------
def test_the_next_slots_are_beside_it_with_their_drafts(plain, read, automation, make_drafts):
    make_drafts("Moth", "Koi")
    page = read(plain.get(address(automation)))
    assert "Tue 8 Jan, 09:00 Moth the oldest draft Wed 9 Jan, 09:00 Koi" in page.words
    assert "Drafts for 2 days" in page.words
    assert "No draft is left that it may take." in page.words
    assert "Oldest first: a draft that you add comes last." in page.words


def test_what_is_typed_is_looked_at_without_being_saved(htmx, plain, typed, read, automation, make_drafts):
    make_drafts("Moth")
    before = everything()
    sent = typed(plain.get(address(automation)), **{rule_field(automation, "time_of_day"): "07:30"})
    response = htmx.post(address(automation, "preview/"), sent)
    page = read(response)
    assert page.ids()[0] == "preview"
    assert "Tue 8 Jan, 07:30 Moth" in page.words
    assert "as typed, not saved" in page.words
    assert everything() == before


def test_what_cannot_be_looked_at_says_why(htmx, plain, typed, read, automation):
    sent = typed(plain.get(address(automation)), name="", jitter_min="7", jitter_max="1")
    page = read(htmx.post(address(automation, "preview/"), sent))
    assert "This cannot be used as it is." in page.words
    assert "Name: Give it a name." in page.words


def test_one_that_is_off_shows_what_it_would_do(plain, read, automation, make_drafts):
    make_drafts("Moth")
    Automation.objects.update(enabled=False)
    ScheduleRule.objects.update(next_slot_at=None)
    page = read(plain.get(address(automation)))
    assert "It is off; this is what would go out." in page.words
    assert "Tue 8 Jan, 09:00 Moth" in page.words


# --- run, test, undo -------------------------------------------------------------------------------------------------
def test_running_it_asks_first_with_the_drafts_and_is_undone_from_the_toast(plain, htmx, read, automation, make_drafts):
    (draft, _other) = make_drafts("Moth", "Koi")
    question = read(htmx.get(address(automation, "run/")))
    assert "Run Evening sketch now? 1 draft goes out at once: Moth" in question.words
    assert not Execution.objects.exists()
    response = htmx.post(address(automation, "run/"))
    page = read(response)
    assert "1 work goes out, today 12:00" in page.words
    assert "automation:changed" in response.headers["HX-Trigger-After-Settle"]
    draft.refresh_from_db()
    assert draft.status == "scheduled"
    (undo,) = page.all("form", method="post")
    response = htmx.post(undo["action"])
    assert "1 work is a draft again." in read(response).words
    draft.refresh_from_db()
    assert draft.status == "draft"


def test_without_scripts_it_is_run_and_undone_too(plain, read, automation, make_drafts):
    make_drafts("Moth")
    assert "Run Evening sketch now?" in read(plain.get(address(automation, "run/"))).words
    page = read(plain.post(address(automation, "run/"), follow=True))
    assert "1 work goes out" in page.words
    (undo,) = [form for form in page.all("form", method="post") if str(form["action"]).endswith("/undo/")]
    page = read(plain.post(undo["action"], follow=True))
    assert "1 work is a draft again." in page.words
    assert "There is nothing to undo" in read(plain.post(undo["action"], follow=True)).words


def test_running_where_nothing_is_left_says_so(htmx, read, automation):
    assert "nothing would go out" in read(htmx.get(address(automation, "run/"))).words
    assert "No draft is left" in read(htmx.post(address(automation, "run/"))).words


@pytest.mark.parametrize("way", ["plain", "htmx"])
def test_a_test_says_which_rules_fire(request, read, automation, make_drafts, way):
    make_drafts("Moth")
    ScheduleRuleFactory(automation=automation, time_of_day=time(12))
    page = read(request.getfixturevalue(way).get(address(automation, "test/")))
    assert "At 12:00 every day fires It takes “Moth”." in page.words
    assert "At 09:00 every day does not fire The rule has no slot in this minute. Next: Tue 8 Jan, 09:00" in page.words


# --- history ---------------------------------------------------------------------------------------------------------
def test_the_history_says_what_each_slot_did_and_why_not(plain, read, automation, make_drafts):
    (draft,) = make_drafts("Moth")
    plain.post(address(automation, "run/"))
    plain.post(address(automation, "run/"))
    page = read(plain.get(address(automation, "history/")))
    assert "No draft left run by hand No draft is left that it may take." in page.words
    assert "Scheduled run by hand" in page.words
    assert page.all("a", href=f"/works/{draft.pk}/")


def test_a_long_history_has_pages(plain, read, automation, monkeypatch):
    monkeypatch.setattr("automations.web.views.editor.RUNS_A_PAGE", 1)
    for ordinal in range(2):
        ExecutionWorkFactory(
            execution__rule=automation.rules.get(),
            execution__ordinal=ordinal,
            deviation=DeviationFactory(workspace=automation.workspace, title=f"Nr. {ordinal}"),
        )
    page = read(plain.get(address(automation, "history/")))
    assert page.all("a", href="?page=2")
    assert "Nr. 0" in read(plain.get(address(automation, "history/?page=2"))).words


# --- holidays --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["plain", "htmx"])
def test_holidays_are_added_and_removed(request, read, automation, make_drafts, way):
    make_drafts("Moth")
    client = request.getfixturevalue(way)
    said = {
        "account": automation.account_id,
        "name": "Skiing",
        "from_date": "2030-01-08",
        "until_date": "2030-01-09",
        "handling": "skip",
    }
    page = read(client.post(address(automation, "holidays/"), said, follow=True))
    assert "Skiing 8 Jan – 9 Jan 2030" in page.words
    assert "This day is in the holidays" in read(client.get(address(automation))).words
    (blackout,) = automation.account.blackouts.all()
    client.post(address(automation, f"holidays/{blackout.pk}/remove/"))
    assert not automation.account.blackouts.exists()


def test_holidays_tell_of_what_goes_out_on_them_all_the_same(htmx, read, automation, make_drafts):
    account = automation.account
    BlackoutFactory(account=account, from_date=date(2030, 1, 8), until_date=date(2030, 1, 9))
    assert "all the same" not in read(htmx.get(address(automation))).words
    for day, hour in ((7, 22), (7, 23), (9, 22), (9, 23)):  # of Berlin's days the 7th, the 8th, the 9th and the 10th
        at = datetime(2030, 1, day, hour, 30, tzinfo=UTC)
        DueDeviationFactory(workspace=account.workspace, account=account, scheduled_at=at, publish_at=at)
    page = read(htmx.get(address(automation)))
    assert "2 works go out all the same" in page.words
    assert page.all("a", href="/works/?status=scheduled")


@pytest.mark.parametrize("way", ["plain", "htmx"])
def test_holidays_that_end_before_they_begin_are_refused_at_their_field(request, read, automation, way):
    said = {"account": automation.account_id, "from_date": "2030-01-09", "until_date": "2030-01-08", "handling": "skip"}
    response = request.getfixturevalue(way).post(address(automation, "holidays/"), said)
    assert response.status_code == 422
    page = read(response)
    assert page.all("input", name="until_date", value="2030-01-08", aria_invalid="true")
    assert "The last day comes before the first." in page.words


# --- strangers -------------------------------------------------------------------------------------------------------
def test_what_belongs_to_others_is_not_there(plain, make_drafts):
    theirs = AutomationFactory()
    blackout = BlackoutFactory(account=theirs.account)
    before = everything()
    for rest in ("", "runs/", "history/", "run/", "test/", "delete/"):
        assert plain.get(address(theirs, rest)).status_code == 404, rest
    posts = ["", "preview/", "run/", "toggle/", "duplicate/", "delete/", "holidays/"]
    for rest in (*posts, f"holidays/{blackout.pk}/remove/", f"runs/{theirs.pk}/undo/"):
        assert plain.post(address(theirs, rest), {"on": "1"}).status_code == 404, rest
    assert everything() == before


def test_holidays_of_others_are_not_removed_through_ones_own(plain, automation):
    theirs = BlackoutFactory()
    assert plain.post(address(automation, f"holidays/{theirs.pk}/remove/")).status_code == 404
    assert (
        plain.post(
            address(automation, "holidays/"),
            {"account": theirs.account_id, "from_date": "2030-01-08", "until_date": "2030-01-09", "handling": "skip"},
        ).status_code
        == 422
    )
    assert theirs.account.blackouts.count() == 1


def test_whoever_is_not_signed_in_is_led_to_the_door(client, automation):
    for rest in ("", "history/", "run/"):
        assert client.get(address(automation, rest)).status_code == 302
    assert client.get("/automations/").status_code == 302
    assert Deviation.objects.count() == 0
