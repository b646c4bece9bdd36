"""The page of one work."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, DeviantArtAccount
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.models import Publication
from tests.factories import DeviantArtAccountFactory, DeviationFileFactory, DueDeviationFactory, workspace_of

BERLIN = ZoneInfo("Europe/Berlin")


def url(name: str, work: Deviation, *more: object) -> str:
    return reverse(f"deviations:{name}", args=[work.pk, *more])


def words_of(work: Deviation, **changes: object) -> dict[str, object]:
    """Everything that the page's form sends, with some of it changed."""
    sent: dict[str, object] = {
        "title": work.title,
        "description": work.description or "",
        "tags": ", ".join(work.tags or []),
        "account_id": work.account_id or "",
        "upload_mode": work.upload_mode,
        "mature_level": work.mature_level or "",
        "display_resolution": work.display_resolution or 0,
        "version": work.version,
        "allow_comments": "on",
    }
    sent |= changes
    return {name: value for name, value in sent.items() if value is not None}


def in_a_week() -> dict[str, str]:
    there = clock.now().astimezone(BERLIN) + timedelta(days=7)
    return {"day": f"{there:%Y-%m-%d}", "time": "18:50", "jitter": "0"}


def due(account: DeviantArtAccount, **fields: object) -> Deviation:
    return DueDeviationFactory(workspace=account.workspace, account=account, **fields)


def on_its_way(account: DeviantArtAccount) -> Deviation:
    return due(account, status="uploading", worker_id=new_id(), lease_id=new_id())


# --- the page --------------------------------------------------------------------------------------------------------
def _live(account):
    return due(account, status="published", published_at=clock.now())


STATES = {
    "draft": lambda account: due(account, status="draft", scheduled_at=None, publish_at=None),
    "review": lambda account: due(account, status="review", scheduled_at=None, publish_at=None),
    "scheduled": due,
    "uploading": on_its_way,
    "unconfirmed": lambda account: due(
        account, status="publishing", next_attempt_at=clock.now(), unconfirmed_since=clock.now()
    ),
    "published": _live,
    "failed": lambda account: due(account, status="failed", reason_code="refused"),
    "late": lambda account: due(account, status="needs_decision", reason_code="late"),
    "unknown": lambda account: due(
        account, status="needs_decision", reason_code="unconfirmed", unconfirmed_since=clock.now()
    ),
    "trashed": lambda account: due(account, status="failed", reason_code="refused", trashed_at=clock.now()),
    "without an account": lambda account: DueDeviationFactory(
        workspace=account.workspace, account=None, status="draft", scheduled_at=None, publish_at=None
    ),
}
MAY = {
    "draft": {"schedule", "publish-now", "ready", "trash", "edit"},
    "review": {"trash", "edit"},
    "scheduled": {"schedule", "publish-now", "unschedule", "trash", "edit"},
    "uploading": set(),
    "unconfirmed": set(),
    "published": {"trash"},
    "failed": {"schedule", "publish-now", "retry", "trash", "edit"},
    "late": {"schedule", "publish-now", "unschedule", "trash", "edit"},
    "unknown": set(),
    "trashed": {"restore"},
    "without an account": {"schedule", "publish-now", "ready", "trash", "edit"},
}


@pytest.mark.parametrize("state", STATES)
def test_a_page_offers_what_can_be_done_and_nothing_else(plain, account, read, state):
    DeviantArtAccountFactory(workspace=account.workspace)
    work = STATES[state](account)
    page = read(plain.get(url("work", work)))
    offered = {
        name
        for name in ("schedule", "publish-now", "unschedule", "retry", "ready", "trash", "restore")
        if any(
            url(name, work) in {found.get("action"), found.get("href"), found.get("formaction")}
            for _tag, found in page.elements
        )
    }
    if not page.all("fieldset", disabled=None):
        offered.add("edit")
    assert offered == MAY[state]


@pytest.mark.parametrize("state", [state for state in STATES if MAY[state] - {"edit"}])
def test_what_a_page_offers_the_services_do(htmx, account, sent, state):
    """Nothing that is offered is refused because of the state that the work is in."""
    for action in sorted(MAY[state] - {"edit"}):
        work = STATES[state](account)
        data = in_a_week() if action == "schedule" else {}
        assert htmx.post(url(action, work), data).status_code == 200, action


ALL_URLS = [
    ("get", "work"),
    ("post", "work"),
    ("get", "state"),
    ("get", "card"),
    ("get", "publish-now"),
    *[
        ("post", name)
        for name in ("schedule", "unschedule", "publish-now", "retry", "ready", "trash", "restore", "add-file")
    ],
]


@pytest.mark.parametrize(("method", "name"), ALL_URLS)
def test_a_strangers_work_is_not_found(client_of, stranger, account, method, name):
    work = due(account)
    assert getattr(client_of(stranger), method)(url(name, work), in_a_week()).status_code == 404
    work.refresh_from_db()
    assert (work.status, work.version) == ("scheduled", 1)


@pytest.mark.parametrize(("method", "name"), [("get", "file"), ("post", "remove-file"), ("post", "move-file")])
def test_a_strangers_file_is_not_found(client_of, stranger, account, make_pictured, method, name):
    work = make_pictured(account)
    path = url(name, work, work.files.get().pk)
    assert getattr(client_of(stranger), method)(path, {"step": "1"}).status_code == 404
    assert work.files.count() == 1


@pytest.mark.parametrize(("method", "name"), ALL_URLS)
def test_nobody_acts_without_signing_in(client, account, method, name):
    work = due(account)
    response = getattr(client, method)(url(name, work))
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/sign-in/")


@pytest.mark.parametrize("name", [name for method, name in ALL_URLS if method == "post" and name not in {"work"}])
def test_nothing_is_changed_by_a_link(plain, account, name):
    work = due(account)
    assert plain.get(url(name, work)).status_code in {200, 405}
    work.refresh_from_db()
    assert (work.status, work.version) == ("scheduled", 1)


def test_nothing_is_changed_without_the_token_of_the_form(artist, account):
    client = Client(enforce_csrf_checks=True)
    client.force_login(artist)
    work = due(account)
    assert client.post(url("trash", work)).status_code == 403
    work.refresh_from_db()
    assert work.trashed_at is None


CANARY = "<img src=x onerror=alert(1)>"


def test_no_word_of_an_artist_becomes_markup(plain, account, make_pictured, read):
    work = make_pictured(account, title=CANARY, description=f"</textarea>{CANARY}", tags=[CANARY, '"><b>'])
    work.files.update(original_name=CANARY)
    Deviation.objects.update(status="failed", reason_code="refused", reason_params={"description": CANARY})
    page = read(plain.get(url("work", work)))
    assert CANARY in page.text
    assert not page.all("img", src="x")
    assert not page.all("b")


@pytest.mark.parametrize("state", STATES)
def test_a_page_that_is_open_takes_no_more_files_once_the_work_is_on_its_way(htmx, account, state):
    work = STATES[state](account)
    parts = htmx.get(url("state", work)).content.decode()
    assert ("data-fixed" in parts) is ("edit" not in MAY[state])


def test_a_live_work_links_to_itself_on_deviantart(plain, account, read):
    work = _live(account)
    Publication.objects.create(
        deviation=work,
        file=work.files.get(),
        account=account,
        state="published",
        published_at=clock.now(),
        remote_deviation_id="A1",
        url="https://www.deviantart.com/mira/art/moth-1",
    )
    page = read(plain.get(url("work", work)))
    assert page.all("a", href="https://www.deviantart.com/mira/art/moth-1")
    assert "Live since today" in page.words


def test_all_reasons_against_publishing_are_shown_at_once(plain, account, make_work, read):
    work = make_work(account, files=0, title="x" * 51, tags=[f"tag{number}" for number in range(31)])
    page = read(plain.get(url("work", work)))
    assert "Not ready yet" in page.words
    assert "titles of at most 50 characters" in page.words
    assert "at most 30 tags" in page.words
    assert "Add a file." in page.words


def test_tags_are_shown_as_deviantart_will_have_them(plain, account, make_work, read):
    work = make_work(account, tags=["Pokémon", "night tram", "мотылёк"])
    words = read(plain.get(url("work", work))).words
    assert "DeviantArt will show: Pokemon nighttram." in words
    assert "nothing is left of: мотылёк" in words


# --- words -----------------------------------------------------------------------------------------------------------
def test_words_save_themselves_and_say_when(htmx, account, make_work, read):
    work = make_work(account)
    response = htmx.post(url("work", work), words_of(work, title="The Moth Queen", tags="moth, #tea , moth"))
    work.refresh_from_db()
    assert (work.title, work.tags) == ("The Moth Queen", ["moth", "tea"])
    page = read(response)
    assert "Saved " in page.words
    assert page.all("input", id="version", value=str(work.version))
    assert page.all("h1", id="work-title")


def test_what_was_not_touched_stays_untouched(htmx, account, make_work):
    work = make_work(account)
    htmx.post(url("work", work), words_of(work, title="Moth"))
    work.refresh_from_db()
    untouched = ("tags", "description", "is_mature", "allow_comments", "is_ai_generated", "display_resolution")
    assert {name: getattr(work, name) for name in untouched} == dict.fromkeys(untouched)


def test_a_box_that_is_taken_away_is_an_explicit_no(htmx, account, make_work):
    work = make_work(account)
    htmx.post(url("work", work), words_of(work, allow_comments=None, is_mature="on", mature_level="strict"))
    work.refresh_from_db()
    assert (work.allow_comments, work.is_mature, work.mature_level) == (False, True, "strict")
    htmx.post(url("work", work), words_of(work, is_mature=None, mature_level=""))
    work.refresh_from_db()
    assert (work.allow_comments, work.is_mature, work.mature_level) == (True, False, None)


def test_kinds_of_mature_content_are_kept_and_taken_away(htmx, account, make_work):
    work = make_work(account)
    htmx.post(url("work", work), words_of(work, mature_classification=["gore", "nudity"]))
    work.refresh_from_db()
    assert work.mature_classification == ["nudity", "gore"] or work.mature_classification == ["gore", "nudity"]
    htmx.post(url("work", work), words_of(work))
    work.refresh_from_db()
    assert work.mature_classification is None


def test_a_change_that_changes_nothing_makes_no_event(htmx, account, make_work):
    work = make_work(account)
    assert htmx.post(url("work", work), words_of(work)).status_code == 200
    assert not AuditEvent.objects.exists()


def test_an_older_page_does_not_overwrite_a_newer_one(htmx, account, make_work, read):
    work = make_work(account, title="Moth")
    htmx.post(url("work", work), words_of(work, title="Newer"))
    response = htmx.post(url("work", work), words_of(work, title="Older"))
    assert response.status_code == 409
    assert "changed elsewhere" in read(response).words
    work.refresh_from_db()
    assert work.title == "Newer"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("title", "x" * 201, "at most 200 characters"),
        ("description", "x" * 60_001, "This has more than 60000."),
        ("mature_level", "nonsense", "not one of the available choices"),
        ("account_id", "01a20c2f-fee7-7cbc-940b-e4d85f8afe17", "not one of the available choices"),
    ],
)
def test_what_cannot_be_stored_is_said_beside_its_field(htmx, account, make_work, read, field, value, sentence):
    work = make_work(account)
    response = htmx.post(url("work", work), words_of(work, **{field: value}))
    assert response.status_code == 422
    page = read(response)
    assert "Not saved" in page.words
    assert sentence in page.words
    assert page.all("span", id=f"{field}-error")
    work.refresh_from_db()
    assert work.version == 1


def test_the_account_of_somebody_else_cannot_be_chosen(htmx, account, make_work, stranger):
    work = make_work(account)
    other = DeviantArtAccountFactory(workspace=workspace_of(stranger))
    assert htmx.post(url("work", work), words_of(work, account_id=other.pk)).status_code == 422
    work.refresh_from_db()
    assert work.account == account


def test_the_account_stays_while_it_is_disconnected(htmx, account, make_work):
    work = make_work(account)
    DeviantArtAccount.objects.update(state="disconnected", access_token="", refresh_token="", encryption_key=None)
    assert htmx.post(url("work", work), words_of(work, title="Moth")).status_code == 200
    work.refresh_from_db()
    assert (work.title, work.account) == ("Moth", account)


def test_a_scheduled_work_stays_one_that_deviantart_takes(htmx, account, read):
    work = due(account)
    response = htmx.post(url("work", work), words_of(work, title="x" * 51))
    assert response.status_code == 422
    assert "titles of at most 50 characters" in read(response).words
    work.refresh_from_db()
    assert (work.status, work.version) == ("scheduled", 1)


@pytest.mark.parametrize("state", ["uploading", "unconfirmed", "published", "unknown", "trashed"])
def test_words_that_can_no_longer_be_changed_are_refused(htmx, account, state):
    work = STATES[state](account)
    assert htmx.post(url("work", work), words_of(work, title="Too late")).status_code == 409
    work.refresh_from_db()
    assert work.title != "Too late"


def test_words_are_saved_without_scripts(plain, account, make_work, read):
    work = make_work(account)
    response = plain.post(url("work", work), words_of(work, title="Moth"), follow=True)
    assert response.redirect_chain == [(url("work", work), 302)]
    assert "Saved." in read(response).words
    work.refresh_from_db()
    assert work.title == "Moth"


def test_what_is_wrong_is_shown_without_scripts_with_what_was_typed(plain, account, make_work, read):
    work = make_work(account)
    response = plain.post(url("work", work), words_of(work, title="x" * 201, description="kept"))
    assert response.status_code == 422
    page = read(response)
    assert page.all("input", id="title", value="x" * 201)
    assert "kept" in page.text


# --- when ------------------------------------------------------------------------------------------------------------
def test_a_work_is_scheduled_on_the_clocks_of_its_artist(htmx, account, make_work, sent, read):
    work = make_work(account)
    when = in_a_week()
    response = htmx.post(url("schedule", work), when)
    work.refresh_from_db()
    assert work.status == Deviation.Status.SCHEDULED
    assert f"{work.publish_at.astimezone(BERLIN):%Y-%m-%d %H:%M}" == f"{when['day']} {when['time']}"
    page = read(response)
    assert "Scheduled for" in page.words
    assert page.all("input", id="version", value=str(work.version))
    assert page.all("button", data_key="z")


def test_a_scheduled_work_is_moved_and_the_move_is_undone(htmx, account, make_work, sent, read):
    work = make_work(account)
    htmx.post(url("schedule", work), in_a_week())
    work.refresh_from_db()
    before = work.publish_at
    page = read(htmx.post(url("schedule", work), {**in_a_week(), "time": "20:15"}))
    (undo,) = [found["action"] for found in page.all("form") if "/undo/" in str(found.get("action"))]
    assert htmx.post(undo, {"work": work.pk}).status_code == 200
    work.refresh_from_db()
    assert (work.status, work.publish_at) == ("scheduled", before)


def test_the_drawn_delay_stays_below_its_maximum(htmx, account, make_work, sent):
    work = make_work(account)
    htmx.post(url("schedule", work), {**in_a_week(), "jitter": "900"})
    work.refresh_from_db()
    assert 0 <= work.jitter_seconds <= 900
    assert work.publish_at - work.scheduled_at == timedelta(seconds=work.jitter_seconds)


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        ({"day": "2020-01-01", "time": "18:50"}, "That time has passed."),
        ({"day": "", "time": "18:50"}, "Choose a day."),
        ({"day": "2030-01-01", "time": ""}, "Choose a time."),
        ({"day": "nonsense", "time": "25:99"}, "Choose a time."),
        ({"day": "2020-01-01", "time": "18:50", "jitter": "7"}, "not one of the available choices"),
    ],
)
def test_a_time_that_cannot_be_is_refused_with_its_reason(htmx, account, make_work, read, when, sentence):
    work = make_work(account)
    response = htmx.post(url("schedule", work), when)
    assert response.status_code == 422
    assert sentence in read(response).words
    work.refresh_from_db()
    assert work.status == Deviation.Status.DRAFT


def _clock_change(*, back: bool) -> str:
    """The next Sunday on which the clocks of Berlin are put back (October) or forward (March)."""
    day = clock.now().astimezone(BERLIN).replace(hour=12, minute=0)
    while True:
        day += timedelta(days=1)
        before, after = (day.replace(hour=hour).utcoffset() for hour in (0, 12))
        assert before is not None
        assert after is not None
        if before != after and (before > after) == back:
            return f"{day:%Y-%m-%d}"


def test_a_time_that_comes_twice_brings_a_choice(htmx, account, make_work, sent, read):
    work = make_work(account)
    when = {"day": _clock_change(back=True), "time": "02:30", "jitter": "0"}
    response = htmx.post(url("schedule", work), when)
    assert response.status_code == 422
    page = read(response)
    assert [found["value"] for found in page.all("input", name="fold")] == ["0", "1"]
    assert page.all("input", name="day", value=when["day"])
    assert page.all("input", name="time", value="02:30")
    assert "First, CEST" in page.words
    assert "Second, CET" in page.words
    assert htmx.post(url("schedule", work), {**when, "fold": "1"}).status_code == 200
    work.refresh_from_db()
    assert f"{work.publish_at:%H:%M}" == "01:30"


def test_a_time_that_the_clocks_skip_is_refused(htmx, account, make_work, read):
    work = make_work(account)
    response = htmx.post(url("schedule", work), {"day": _clock_change(back=False), "time": "02:30"})
    assert response.status_code == 422
    assert "skip 02:30" in read(response).words


def test_what_deviantart_would_refuse_is_not_scheduled(htmx, account, make_work, read):
    work = make_work(account, files=0, title="")
    response = htmx.post(url("schedule", work), in_a_week())
    assert response.status_code == 422
    words = read(response).words
    assert "Give it a title." in words
    assert "Add a file." in words


@pytest.mark.parametrize("action", ["schedule", "unschedule", "publish-now", "retry", "trash"])
def test_what_is_already_on_its_way_is_left_alone(htmx, account, read, action):
    work = on_its_way(account)
    response = htmx.post(url(action, work), in_a_week())
    assert response.status_code == 409
    assert "already on its way" in read(response).words
    work.refresh_from_db()
    assert work.status == "uploading"


def switch_of(page) -> bool:
    (found,) = page.all("input", id="ready-switch")
    return "checked" in found


@pytest.mark.parametrize("ready", [True, False])
def test_a_draft_is_switched_ready_for_automations_or_not_and_it_is_undone(htmx, account, make_work, read, ready):
    work = make_work(account, ready_at=None if ready else clock.now())
    assert switch_of(read(htmx.get(url("work", work)))) != ready
    page = read(htmx.post(url("ready", work), {"on": "1"} if ready else {}))
    assert switch_of(page) == ready
    assert (Deviation.objects.get(pk=work.pk).ready_at is not None) == ready
    (undo,) = [found["action"] for found in page.all("form") if "/undo/" in str(found.get("action"))]
    htmx.post(undo, {"work": work.pk})
    assert (Deviation.objects.get(pk=work.pk).ready_at is not None) != ready


def test_switching_a_draft_ready_twice_is_harmless(htmx, account, make_work):
    work = make_work(account)
    for _twice in range(2):
        assert htmx.post(url("ready", work), {"on": "1"}).status_code == 200
    work.refresh_from_db()
    assert (work.ready_at is not None, work.version) == (True, 2)


def test_a_draft_is_made_ready_without_scripts(plain, account, make_work, read):
    work = make_work(account)
    response = plain.post(url("ready", work), {"on": "1"}, follow=True)
    assert response.redirect_chain == [(url("work", work), 302)]
    page = read(response)
    assert switch_of(page)
    assert "Your automations may take this draft" in page.words
    assert not switch_of(read(plain.post(url("ready", work), follow=True)))


def test_unscheduling_makes_a_draft_and_can_be_undone(htmx, account, sent, read):
    moment = clock.now() + timedelta(days=2)
    work = due(account, scheduled_at=moment, publish_at=moment)
    page = read(htmx.post(url("unschedule", work)))
    work.refresh_from_db()
    assert work.status == Deviation.Status.DRAFT
    (undo,) = [found["action"] for found in page.all("form") if "/undo/" in str(found.get("action"))]
    htmx.post(undo, {"work": work.pk})
    work.refresh_from_db()
    assert (work.status, work.publish_at) == ("scheduled", moment)


def test_publishing_now_asks_first(htmx, plain, account, make_work, read):
    work = make_work(account, title="Moth")
    for client in (htmx, plain):
        page = read(client.get(url("publish-now", work)))
        assert "Publish “Moth” now?" in page.words
        assert "cannot be undone on DeviantArt" in page.words
        assert page.all("form", action=url("publish-now", work))
    work.refresh_from_db()
    assert work.status == Deviation.Status.DRAFT


def test_publishing_now_makes_it_due_and_wakes_the_publisher(
    htmx, account, make_work, sent, django_capture_on_commit_callbacks
):
    work = make_work(account)
    with django_capture_on_commit_callbacks(execute=True):
        assert htmx.post(url("publish-now", work)).status_code == 200
    work.refresh_from_db()
    assert work.status == Deviation.Status.SCHEDULED
    assert work.publish_at <= clock.now() + timedelta(seconds=5)
    assert ("publisher.publish_next", str(account.pk)) in sent


def test_an_action_without_scripts_leads_back_to_the_page(plain, account, make_work, sent, read):
    work = make_work(account)
    response = plain.post(url("publish-now", work), follow=True)
    assert response.redirect_chain == [(url("work", work), 302)]
    assert "It goes out now." in read(response).words


def test_a_refusal_without_scripts_is_the_page_with_its_reason(plain, account, read):
    work = on_its_way(account)
    response = plain.post(url("trash", work))
    assert response.status_code == 409
    assert "already on its way" in read(response).words
    assert response.content.decode().count("<h1") == 1


def test_an_action_has_the_strip_ask_at_once(htmx, account, make_work, sent):
    response = htmx.post(url("publish-now", make_work(account)))
    assert "works:touched" in response.headers["HX-Trigger-After-Settle"]


def test_what_locks_the_words_brings_them_locked(htmx, account, make_work, read):
    work = make_work(account)
    page = read(htmx.post(url("trash", work)))
    assert page.all("form", id="words", hx_swap_oob="true")
    assert page.all("fieldset", disabled=None)


def test_the_state_brings_the_words_only_when_their_lock_has_changed(htmx, account, read):
    work = on_its_way(account)
    assert read(htmx.get(url("state", work) + "?locked=0")).all("form", id="words")
    page = read(htmx.get(url("state", work) + "?locked=1"))
    assert page.ids()[0] == "state"
    assert not page.all("form", id="words")
    assert not page.all("input", id="version")


# --- trash -----------------------------------------------------------------------------------------------------------
def test_a_scheduled_work_goes_into_the_trash_and_comes_back_with_its_time(htmx, account, sent, read):
    moment = clock.now() + timedelta(days=2)
    work = due(account, scheduled_at=moment, publish_at=moment)
    page = read(htmx.post(url("trash", work)))
    work.refresh_from_db()
    assert (work.status, work.trashed_at is None) == ("draft", False)
    (undo,) = [found["action"] for found in page.all("form") if "/undo/" in str(found.get("action"))]
    htmx.post(undo, {"work": work.pk})
    work.refresh_from_db()
    assert (work.status, work.trashed_at, work.publish_at) == ("scheduled", None, moment)


# --- files -----------------------------------------------------------------------------------------------------------
@pytest.fixture
def of_three(account, make_pictured):
    work = make_pictured(account, files=0, upload_mode="multiple")
    for name in ("a", "b", "c"):
        DeviationFileFactory(deviation=work, original_name=name)
    return work


def order(work: Deviation) -> str:
    return "".join(work.files.values_list("original_name", flat=True))


@pytest.mark.parametrize(
    ("name", "step", "expected"), [("a", "1", "bac"), ("c", "-1", "acb"), ("a", "-1", "abc"), ("c", "1", "abc")]
)
def test_files_change_places_by_buttons(htmx, of_three, name, step, expected):
    file = of_three.files.get(original_name=name)
    assert htmx.post(url("move-file", of_three, file.pk), {"step": step}).status_code == 200
    assert order(of_three) == expected


@pytest.mark.parametrize("step", ["", "2", "nonsense"])
def test_a_step_that_is_none_moves_nothing(htmx, of_three, step):
    file = of_three.files.get(original_name="a")
    assert htmx.post(url("move-file", of_three, file.pk), {"step": step}).status_code == 404
    assert order(of_three) == "abc"


def test_the_button_that_moved_a_file_keeps_its_id(htmx, of_three, read):
    file = of_three.files.get(original_name="a")
    page = read(htmx.post(url("move-file", of_three, file.pk), {"step": "1"}))
    assert f"down-{file.pk}" in page.ids()


def test_a_file_is_taken_out(htmx, of_three):
    file = of_three.files.get(original_name="b")
    assert htmx.post(url("remove-file", of_three, file.pk)).status_code == 200
    assert order(of_three) == "ac"


def test_an_upload_becomes_another_file_of_the_work(htmx, of_three, make_upload, sent, read):
    upload = make_upload(of_three.workspace, filename="d")
    page = read(htmx.post(url("add-file", of_three), {"upload": upload.pk}))
    assert order(of_three) == "abcd"
    assert page.ids()[0] == "state"
    assert page.all("section", id="files")


def test_a_file_that_cannot_be_added_is_said_in_plain_text(htmx, of_three, make_upload, stranger):
    for upload_id in (make_upload(workspace_of(stranger)).pk, "nonsense"):
        response = htmx.post(url("add-file", of_three), {"upload": upload_id})
        assert response.status_code in {404, 422}
        assert response.headers["Content-Type"].startswith("text/plain")
    assert order(of_three) == "abc"


def test_the_original_is_reached_by_an_address_that_runs_out(plain, account, make_pictured):
    work = make_pictured(account)
    response = plain.get(url("file", work, work.files.get().pk))
    assert response.status_code == 302
    assert "X-Amz-Expires" in response.headers["Location"]


def test_what_is_partly_live_keeps_its_files_and_its_account(plain, htmx, account, read):
    work = due(account, files=2, upload_mode="multiple", status="failed", reason_code="partial")
    Publication.objects.create(
        deviation=work, file=work.files.first(), account=account, state="published", published_at=clock.now()
    )
    page = read(plain.get(url("work", work)))
    assert not [found for found in page.all("form") if "/files/" in str(found.get("action"))]
    assert page.all("select", id="account", disabled=None)
    sent_without_them = words_of(work, title="Moth", account_id=None, upload_mode=None)
    assert htmx.post(url("work", work), sent_without_them).status_code == 200
    work.refresh_from_db()
    assert (work.title, work.account) == ("Moth", account)
