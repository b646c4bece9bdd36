"""The list of automations: what each does next, on and off, their order, and all of them together."""

from datetime import timedelta

import pytest

from accounts.models import AuditEvent, Membership, User, Workspace
from automations.models import Automation, ScheduleRule
from automations.services.planning import plan_anew
from automations.web.sentences import sentence_of
from tests.automations.web.conftest import NOON
from tests.automations.web.test_editor import ALL_TYPES
from tests.factories import AutomationFactory, ScheduleRuleFactory
from tests.unchanged import everything

pytestmark = pytest.mark.django_db
both = pytest.mark.parametrize("way", ["plain", "htmx"])


@pytest.fixture
def several(automation):
    """Three of them, in their order."""
    return [
        automation,
        *(
            AutomationFactory(
                workspace=automation.workspace, account=automation.account, position=place, name=f"Number {place}"
            )
            for place in (1, 2)
        ),
    ]


def names() -> list[str]:
    return list(Automation.objects.order_by("position").values_list("name", flat=True))


# --- what is shown ---------------------------------------------------------------------------------------------------
def test_each_says_its_rules_its_next_draft_and_how_long_the_drafts_last(plain, read, automation, make_drafts):
    make_drafts("Moth", "Koi")
    page = read(plain.get("/automations/"))
    assert "Evening sketch Runs" in page.words
    assert "At 09:00 every day Tue 8 Jan, 09:00 Moth the oldest draft Drafts for 2 days" in page.words
    assert page.all("input", role="switch", checked=None)
    assert "No automation yet" not in page.words


def test_without_any_it_says_what_they_are_for(plain, read, artist):
    page = read(plain.get("/automations/"))
    assert "No automation yet" in page.words
    assert page.all("a", href="/automations/new/")


def test_those_of_others_are_not_there(plain, read, artist):
    theirs = AutomationFactory(name="Theirs")
    ScheduleRuleFactory(automation=theirs)
    assert "Theirs" not in read(plain.get("/automations/")).words
    assert "Theirs" not in read(plain.get("/automations/ahead/")).words


def test_more_rows_take_no_more_queries(plain, automation, make_drafts, django_assert_max_num_queries):
    def add() -> None:
        other = AutomationFactory(workspace=automation.workspace, account=automation.account)
        ScheduleRuleFactory(automation=other)
        plan_anew([other])

    make_drafts(*"abcdefgh")
    add()
    with django_assert_max_num_queries(60) as few:
        plain.get("/automations/")
    for _more in range(5):
        add()
    with django_assert_max_num_queries(len(few)):
        plain.get("/automations/")


def test_all_slots_of_all_automations_are_on_one_page(plain, read, several, make_drafts):
    make_drafts("Moth", "Koi")
    ScheduleRuleFactory(automation=several[1], time_of_day="10:00")
    plan_anew(several)
    page = read(plain.get("/automations/ahead/"))
    assert "Tue 8 Jan, 09:00 Evening sketch Moth" in page.words
    assert "Tue 8 Jan, 10:00 Number 1 Koi" in page.words


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("fixed_time", "At 18:30, Mon, Wed"),
        ("fixed_interval", "Every 36 hours between 10:00 and 22:00"),
        ("daily_quota", "3 a day after 10:00"),
        ("time_window", "Once a day between 14:00 and 20:00, at weekends"),
        ("weekday_slots", "Mon, Tue at 09:00"),
        ("cron", "At 09:00 on Monday through Friday"),
    ],
)
def test_each_type_of_rule_is_said_in_a_sentence(kind, sentence):
    assert sentence_of(ScheduleRule(type=kind, **ALL_TYPES[kind])) == sentence


# --- on and off ------------------------------------------------------------------------------------------------------
@both
def test_one_is_switched_off_and_on(request, automation, way):
    client = request.getfixturevalue(way)
    client.post(f"/automations/{automation.pk}/toggle/", {})
    automation.refresh_from_db()
    assert not automation.enabled
    response = client.post(
        f"/automations/{automation.pk}/toggle/", {"on": "1", "next": f"/automations/{automation.pk}/"}
    )
    automation.refresh_from_db()
    assert automation.enabled
    if way == "plain":
        assert response.url == f"/automations/{automation.pk}/"
    else:
        assert "runs" in response.content.decode()


def test_where_to_go_after_the_switch_is_a_page_of_automations(plain, automation):
    response = plain.post(f"/automations/{automation.pk}/toggle/", {"next": "https://elsewhere.example/"})
    assert response.url == "/automations/"


@both
def test_one_without_a_rule_is_not_switched_on_and_says_why(request, read, several, way):
    Automation.objects.filter(pk=several[1].pk).update(enabled=False)
    client = request.getfixturevalue(way)
    page = read(client.post(f"/automations/{several[1].pk}/toggle/", {"on": "1"}, follow=True))
    assert "Give the automation a rule that is switched on first." in page.words
    several[1].refresh_from_db()
    assert not several[1].enabled


@both
def test_all_are_paused_and_go_on(request, read, several, way):
    client = request.getfixturevalue(way)
    client.post("/automations/pause/")
    assert Automation.objects.filter(paused_at=NOON).count() == 3
    page = read(client.get("/automations/"))
    assert "All automations are paused." in page.words
    client.post("/automations/go-on/")
    assert not Automation.objects.filter(paused_at__isnull=False).exists()


def test_pausing_leaves_those_of_others_alone(plain, automation):
    theirs = AutomationFactory()
    plain.post("/automations/pause/")
    theirs.refresh_from_db()
    assert theirs.paused_at is None


# --- order -----------------------------------------------------------------------------------------------------------
@both
def test_one_is_moved_by_its_buttons(request, several, way):
    client = request.getfixturevalue(way)
    ids = [str(each.pk) for each in several]
    client.post("/automations/reorder/", {"automation": ids, "down": ids[0]})
    assert names() == ["Number 1", "Evening sketch", "Number 2"]
    client.post("/automations/reorder/", {"automation": [ids[1], ids[0], ids[2]], "up": ids[1]})
    assert names() == ["Number 1", "Evening sketch", "Number 2"]  # it is the first already


def test_an_order_that_was_dragged_is_taken_over_and_the_list_comes_back(htmx, read, several):
    ids = [str(each.pk) for each in reversed(several)]
    page = read(htmx.post("/automations/reorder/", {"automation": ids}))
    assert names() == ["Number 2", "Number 1", "Evening sketch"]
    assert page.ids()[0] == "automations"


def test_those_of_others_keep_their_place(plain, several):
    theirs = AutomationFactory(position=7)
    plain.post("/automations/reorder/", {"automation": [str(theirs.pk), "nonsense"]})
    theirs.refresh_from_db()
    assert theirs.position == 7


# --- made, copied, deleted -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ALL_TYPES)
def test_a_new_one_begins_with_a_rule_and_is_off(plain, read, artist, kind):
    assert "When does it post, to begin with" in read(plain.get("/automations/new/")).words
    response = plain.post("/automations/new/", {"name": "Fresh", "type": kind})
    made = Automation.objects.get()
    assert response.url == f"/automations/{made.pk}/"
    assert (made.name, made.enabled, made.rules.get().type) == ("Fresh", False, kind)
    assert plain.get(response.url).status_code == 200


def test_a_new_one_needs_a_name(plain, read, artist):
    response = plain.post("/automations/new/", {"name": " ", "type": "cron"})
    assert response.status_code == 422
    page = read(response)
    assert page.all("input", name="name", aria_invalid="true")
    assert page.all("input", name="type", value="cron", checked=None)
    assert not Automation.objects.exists()


@both
def test_a_copy_is_made_that_is_off(request, automation, way):
    request.getfixturevalue(way).post(f"/automations/{automation.pk}/duplicate/")
    copy = Automation.objects.exclude(pk=automation.pk).get()
    assert (copy.name, copy.enabled, copy.rules.count()) == ("Evening sketch (copy)", False, 1)


@both
def test_deleting_asks_first(request, read, automation, way):
    client = request.getfixturevalue(way)
    before = everything()
    assert "Delete Evening sketch?" in read(client.get(f"/automations/{automation.pk}/delete/")).words
    assert everything() == before
    # Its form is sent without htmx: where it was asked from may be the page of what is gone.
    assert client.post(f"/automations/{automation.pk}/delete/").url == "/automations/"
    assert not Automation.objects.exists()


# --- new drafts ------------------------------------------------------------------------------------------------------
def wishes() -> set[Workspace]:
    return set(Workspace.objects.filter(drafts_are_ready=True))


@both
def test_an_owner_switches_new_drafts_ready_at_once_and_off_again(request, plain, read, workspace, stranger, way):
    client = request.getfixturevalue(way)
    for _twice in range(2):
        client.post("/automations/new-drafts/", {"on": "1"})
        assert wishes() == {workspace}, "and not that of a stranger"
    assert read(plain.get("/automations/")).all("input", id="new-drafts-switch", checked=None)
    client.post("/automations/new-drafts/")
    assert wishes() == set()
    (switch,) = read(plain.get("/automations/")).all("input", id="new-drafts-switch")
    assert "checked" not in switch


@both
def test_a_member_who_is_no_owner_has_no_such_switch_and_is_refused(request, plain, read, artist, workspace, way):
    Membership.objects.filter(user=artist, workspace=workspace).update(role=Membership.Role.MEMBER)
    assert not read(plain.get("/automations/")).all("input", id="new-drafts-switch")
    answer = request.getfixturevalue(way).post("/automations/new-drafts/", {"on": "1"}, follow=True)
    assert "Only an owner of the workspace can change this." in read(answer).words
    assert wishes() == set()
    assert not AuditEvent.objects.exists()


def test_whoever_has_no_workspace_has_no_such_switch_either(plain, read, artist):
    Membership.objects.filter(user=artist).delete()
    assert not read(plain.get("/automations/")).all("input", id="new-drafts-switch")
    answer = plain.post("/automations/new-drafts/", {"on": "1"}, follow=True)
    assert "not a member of any workspace" in read(answer).words


def test_nobody_switches_it_who_is_not_signed_in(client, workspace):
    assert "sign-in" in client.post("/automations/new-drafts/", {"on": "1"}).url
    assert wishes() == set()


# --- the reader's own zone -------------------------------------------------------------------------------------------
def test_choosing_a_time_zone_shows_what_moves(htmx, read, automation, artist):
    page = read(htmx.get("/zone/?next=/works/"))
    assert page.all("select", id="time-zone", hx_get="/automations/moves/")
    page = read(htmx.get("/automations/moves/?time_zone=Asia/Tokyo"))
    assert "28 slots of the next four weeks move Evening sketch Tue 8 Jan, 09:00 becomes Tue 8 Jan, 01:00" in page.words
    for harmless in ("Europe/Berlin", "Nowhere/Land", ""):
        assert htmx.get(f"/automations/moves/?time_zone={harmless}").content.strip() == b""
    assert User.objects.get(pk=artist.pk).time_zone == "Europe/Berlin"
    assert ScheduleRule.objects.get().next_slot_at == NOON + timedelta(hours=21)


def test_a_time_zone_that_moves_slots_is_not_taken_before_the_reader_has_seen_which(plain, read, automation, artist):
    answer = plain.post("/time-zone/", {"time_zone": "Asia/Tokyo", "next": "/works/"})
    assert answer.url == "/automations/moves/?time_zone=Asia%2FTokyo&next=%2Fworks%2F"
    assert User.objects.get(pk=artist.pk).time_zone == "Europe/Berlin"
    question = read(plain.get(answer.url))
    assert "Have all times be those of Tokyo?" in question.words
    assert "28 slots of the next four weeks move" in question.words
    said = {"time_zone": "Asia/Tokyo", "next": "/works/", "confirm_moves": "Asia/Tokyo"}
    assert all(question.all("input", type="hidden", name=name, value=value) for name, value in said.items())
    answer = plain.post("/time-zone/", said)
    assert answer.url == "/works/"
    assert User.objects.get(pk=artist.pk).time_zone == "Asia/Tokyo"
    assert ScheduleRule.objects.get().next_slot_at == NOON + timedelta(hours=13)


def test_the_word_for_one_time_zone_is_none_for_another(plain, automation, artist):
    answer = plain.post("/time-zone/", {"time_zone": "Asia/Tokyo", "confirm_moves": "America/New_York"})
    assert answer.url.startswith("/automations/moves/")
    assert User.objects.get(pk=artist.pk).time_zone == "Europe/Berlin"


def test_the_page_of_what_moves_leads_to_the_choice_where_no_zone_is_named(plain, artist):
    for wrong in ("", "?time_zone=Nowhere/Land"):
        assert plain.get(f"/automations/moves/{wrong}").url == "/zone/"
    assert (
        "Leave it" in plain.get("/automations/moves/?time_zone=Asia/Tokyo&next=https://else.example/").content.decode()
    )


def test_the_way_to_them_is_in_the_navigation(plain, read, artist):
    page = read(plain.get("/works/"))
    assert len(page.all("a", href="/automations/")) == 2
    assert read(plain.get("/automations/")).all("a", href="/automations/", aria_current="page")
