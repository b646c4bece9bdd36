"""Home: all works, as a wall or a list."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import DeviantArtAccount
from deviations.models import Deviation, Upload
from isekai import clock
from tests.factories import DeviantArtAccountFactory, DueDeviationFactory, workspace_of

WORKS = "/works/"
CANARY = "<img src=x onerror=alert(1)>\"'&"


def on_its_way(account: DeviantArtAccount, **fields: object) -> Deviation:
    return DueDeviationFactory(workspace=account.workspace, account=account, **fields)


def cards(page) -> list[str]:
    return [str(found["id"]).removeprefix("w-") for found in page.all("li", data_shape=None)]


# --- who sees it -----------------------------------------------------------------------------------------------------
def test_home_leads_to_the_works(plain):
    response = plain.get("/")
    assert (response.status_code, response.headers["Location"]) == (302, WORKS)


def test_nobody_sees_works_without_signing_in(client, db):
    response = client.get(WORKS)
    assert (response.status_code, response.headers["Location"]) == (302, f"/sign-in/?next={WORKS}")


def test_the_wall_shows_the_works_of_the_workspace_and_no_others(plain, account, make_work, stranger, read):
    mine = make_work(account)
    make_work(DeviantArtAccountFactory(workspace=workspace_of(stranger)), title="Not yours")
    page = read(plain.get(WORKS))
    assert cards(page) == [str(mine.pk)]
    assert "Not yours" not in page.words


def test_a_strangers_card_is_not_found(client_of, stranger, account, make_work):
    work = make_work(account)
    assert client_of(stranger).get(reverse("deviations:card", args=[work.pk])).status_code == 404


# --- what it says ----------------------------------------------------------------------------------------------------
def test_an_empty_wall_says_what_to_do_next(plain, read):
    page = read(plain.get(WORKS))
    assert "Your wall is empty" in page.words
    assert "Drop pictures anywhere on this page" in page.words
    assert "No DeviantArt account yet" in page.words
    assert page.all("a", href="/connect/")


def test_whoever_has_an_account_is_not_asked_to_connect_one(plain, account, read):
    assert "No DeviantArt account yet" not in read(plain.get(WORKS)).words


def test_a_picture_has_its_words_its_size_and_loads_when_it_is_needed(plain, account, make_pictured, read):
    make_pictured(account, title="Moth", size=(640, 400))
    (picture,) = read(plain.get(WORKS)).all("img", alt="Moth")
    assert (picture["width"], picture["height"], picture["loading"]) == ("640", "400", "lazy")


@pytest.mark.parametrize(
    ("size", "shape"),
    [((300, 640), "tall"), ((640, 640), "square"), ((640, 400), "wide"), ((640, 200), "pano")],
)
def test_the_shape_follows_the_picture(plain, account, make_pictured, read, size, shape):
    make_pictured(account, size=size)
    assert len(read(plain.get(WORKS)).all("li", data_shape=shape)) == 1


def test_a_picture_that_is_being_prepared_is_asked_for_again(plain, account, pending, read):
    work = pending(account)
    page = read(plain.get(WORKS))
    (card,) = page.all("li", id=f"w-{work.pk}")
    assert str(card["hx-trigger"]).startswith("every 2s")
    assert "Being prepared" in page.words


def test_the_address_of_a_picture_stays_the_same_when_the_page_is_drawn_again(plain, account, make_pictured, read):
    make_pictured(account, title="Moth")
    first, second = (read(plain.get(WORKS)).all("img", alt="Moth")[0]["src"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("title", [CANARY, "</script><script>alert(1)</script>", "{{ 7|add:7 }}"])
def test_no_word_of_an_artist_becomes_markup(plain, account, make_work, read, title):
    make_work(account, title=title, tags=[title])
    DeviantArtAccount.objects.update(username=title[:100])
    response = plain.get(WORKS)
    assert title in read(response).text
    assert title.encode() not in response.content or "<" not in title
    assert not read(response).all("img", src="x")


def test_a_status_has_its_word_and_its_icon(plain, account, make_work, read):
    make_work(account)
    response = plain.get(WORKS)
    assert read(response).all("span", class_="status", data_status="draft")
    assert b"icons.svg#i-draft" in response.content


def test_the_works_of_a_held_account_are_held(plain, account, read):
    on_its_way(account)
    DeviantArtAccount.objects.update(state=DeviantArtAccount.State.REAUTH_REQUIRED)
    page = read(plain.get(f"{WORKS}?status=held"))
    assert len(page.all("li", data_status="held")) == 1
    assert "login lost" in page.words


def test_a_time_is_told_on_the_clocks_of_its_reader(plain, artist, account, read):
    moment = clock.now().replace(microsecond=0) + timedelta(days=30)
    on_its_way(account, scheduled_at=moment, publish_at=moment)
    there = moment.astimezone(artist.zone)
    page = read(plain.get(WORKS))
    assert f"{there:%H:%M}" in page.words
    assert "Times in Berlin" in page.words


# --- narrowing it down -----------------------------------------------------------------------------------------------
def test_a_filter_shows_its_works_and_how_many_each_has(plain, account, make_work, read):
    draft = make_work(account)
    on_its_way(account)
    make_work(account, trashed_at=clock.now())
    page = read(plain.get(f"{WORKS}?status=draft"))
    assert cards(page) == [str(draft.pk)]
    assert "All 2" in page.words
    assert "Drafts 1" in page.words
    assert "Scheduled 1" in page.words
    assert "Trash 1" in page.words


def test_drafts_that_automations_may_take_say_so_and_have_a_filter(plain, account, make_work, read):
    make_work(account)
    assert not read(plain.get(WORKS)).all("a", id="filter-ready")
    ready = make_work(account, ready_at=clock.now())
    page = read(plain.get(f"{WORKS}?status=ready"))
    assert cards(page) == [str(ready.pk)]
    assert "Ready 1" in page.words
    assert "Draft ready, edited" in page.words


def test_what_is_in_the_trash_is_only_there(plain, account, make_work, read):
    gone = make_work(account, trashed_at=clock.now())
    assert cards(read(plain.get(f"{WORKS}?status=trash"))) == [str(gone.pk)]
    assert cards(read(plain.get(WORKS))) == []


def test_an_unknown_filter_shows_everything(plain, account, make_work, read):
    work = make_work(account)
    assert cards(read(plain.get(f"{WORKS}?status=nonsense"))) == [str(work.pk)]


@pytest.mark.parametrize("query", ["moth", "QUEEN", "мотылёк"])
def test_search_finds_titles_and_tags(plain, account, make_work, read, query):
    found = make_work(account, title="The Moth Queen", tags=["мотылёк"])
    make_work(account, title="Harbour")
    assert cards(read(plain.get(f"{WORKS}?{urlencode({'q': query})}"))) == [str(found.pk)]


def test_a_search_without_a_hit_says_so_and_shows_the_way_back(plain, account, make_work, read):
    make_work(account)
    page = read(plain.get(f"{WORKS}?{urlencode({'q': CANARY})}"))
    assert f"No work matches “{CANARY}”" in page.text
    assert page.all("a", href=WORKS)


def test_a_search_of_htmx_is_answered_by_the_list_alone(htmx, account, make_work, read):
    make_work(account, title="Moth")
    page = read(htmx.get(f"{WORKS}?q=moth"))
    assert page.ids()[0] == "list"
    assert not page.all("html")


def test_the_layout_stays_as_it_was_chosen(plain, account, make_work, read):
    make_work(account)
    assert read(plain.get(WORKS)).all("ol", data_layout="wall")
    plain.get(f"{WORKS}?view=list")
    assert read(plain.get(WORKS)).all("ol", data_layout="list")
    plain.get(f"{WORKS}?view=nonsense")
    assert read(plain.get(WORKS)).all("ol", data_layout="list")


# --- many ------------------------------------------------------------------------------------------------------------
def test_a_wall_of_fifty_asks_as_little_as_a_wall_of_one(plain, account, make_pictured):
    def queries() -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as found:
            assert plain.get(WORKS).status_code == 200
        return [query["sql"] for query in found.captured_queries]

    make_pictured(account)
    on_its_way(account)
    plain.get(WORKS)  # what is looked up once in the life of a process
    few = queries()
    for _ in range(48):
        make_pictured(account, files=2)
    assert len(queries()) == len(few)


def test_the_next_page_begins_behind_the_last_work_whatever_was_changed(plain, htmx, account, make_work, read):
    works = [make_work(account) for _ in range(60)]
    first = read(plain.get(WORKS))
    (more,) = first.all("li", id="more-works")
    Deviation.objects.filter(pk=works[0].pk).update(updated_at=clock.now())
    second = read(htmx.get(str(more["hx-get"])))
    assert len(cards(first)) == 50
    assert len(cards(second)) == 9
    assert not set(cards(first)) & set(cards(second))
    assert not second.all("li", id="more-works")


@pytest.mark.parametrize(
    "after", ["nonsense", "2030-01-01,x", "2030-01-01T00:00:00,01a20c2f-fee7-7cbc-940b-e4d85f8afe17"]
)
def test_a_place_that_is_none_is_the_beginning(plain, account, make_work, read, after):
    work = make_work(account)
    assert cards(read(plain.get(f"{WORKS}?{urlencode({'after': after})}"))) == [str(work.pk)]


# --- drafts of uploads -----------------------------------------------------------------------------------------------
NEW = "/works/new/"


def test_an_upload_becomes_a_draft_with_a_title_from_its_name(htmx, account, make_upload, sent, read):
    upload = make_upload(account.workspace, filename="moth_queen-v9.png")
    response = htmx.post(NEW, {"upload": upload.pk})
    work = Deviation.objects.get()
    assert (work.title, work.status, work.account) == ("Moth queen v9", "draft", account)
    assert cards(read(response)) == [str(work.pk)]
    upload.refresh_from_db()
    assert upload.state == Upload.State.USED


def test_a_strangers_upload_makes_no_draft(htmx, make_upload, stranger):
    upload = make_upload(workspace_of(stranger))
    response = htmx.post(NEW, {"upload": upload.pk})
    assert response.status_code == 404
    assert not Deviation.objects.exists()


@pytest.mark.parametrize("state", [Upload.State.ISSUED, Upload.State.READING])
def test_an_upload_that_is_not_verified_makes_no_draft(htmx, workspace, make_upload, state):
    upload = make_upload(workspace, state=state)
    response = htmx.post(NEW, {"upload": upload.pk})
    assert response.status_code == 409
    assert response.headers["Content-Type"].startswith("text/plain")
    assert not Deviation.objects.exists()


def test_an_upload_that_is_no_id_is_refused(htmx):
    assert htmx.post(NEW, {"upload": "nonsense"}).status_code == 422
