"""The strip that lies open pages learn from."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.contrib.auth import SESSION_KEY
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import DeviantArtAccount, User
from deviations.models import Deviation
from deviations.web.live import Token, changes_since
from isekai import clock
from isekai.ids import new_id
from tests.factories import DeviantArtAccountFactory, DueDeviationFactory, workspace_of

NOW = "/now/"


@pytest.fixture
def token(artist: User):
    """What a page that is drawn at this moment has to remember."""
    return lambda: str(changes_since(User.objects.get(pk=artist.pk), None).token)


def ask(client, seen: str):
    return client.get(f"{NOW}?{urlencode({'seen': seen})}")


def change(work: Deviation, **fields: object) -> None:
    Deviation.objects.filter(pk=work.pk).update(updated_at=clock.now(), **fields)


def events(response) -> dict[str, object]:
    return json.loads(response.headers["HX-Trigger"])


def scheduled(account: DeviantArtAccount, *, seconds: float, **fields: object) -> Deviation:
    moment = clock.now() + timedelta(seconds=seconds)
    return DueDeviationFactory(
        workspace=account.workspace, account=account, scheduled_at=moment, publish_at=moment, **fields
    )


# --- one query -------------------------------------------------------------------------------------------------------
def test_a_poll_without_news_is_one_query_and_no_content(htmx, account, make_work, token):
    for _ in range(5):
        make_work(account)
    seen = token()
    with CaptureQueriesContext(connection) as queries:
        response = ask(htmx, seen)
    assert (response.status_code, response.content) == (204, b"")
    assert len(queries) == 1, [query["sql"][:200] for query in queries]


def test_a_strip_asks_as_little_for_many_works_as_for_few(htmx, account):
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            assert ask(htmx, "").status_code == 200
        return len(found)

    scheduled(account, seconds=600)
    few = queries()
    for number in range(20):
        scheduled(account, seconds=600 + number)
    assert queries() == few


# --- what is news ----------------------------------------------------------------------------------------------------
def test_a_change_names_the_work_that_changed_and_no_other(htmx, account, make_work, token):
    changed, _other = make_work(account), make_work(account)
    Deviation.objects.update(updated_at=clock.now() - timedelta(minutes=1))
    seen = token()
    change(changed, title="Another one")
    response = ask(htmx, seen)
    assert response.status_code == 200
    assert set(events(response)) == {f"work:{changed.pk}", "works:changed"}


def test_news_are_told_once(htmx, account, make_work, token):
    work = make_work(account)
    seen = token()
    change(work)
    response = ask(htmx, seen)
    next_seen = response.content.decode().partition("?seen=")[2].partition('"')[0]
    assert ask(htmx, next_seen).status_code == 204


def test_what_was_committed_late_is_not_missed(htmx, account, make_work, token):
    late, early = make_work(account), make_work(account)
    began = clock.now()
    change(early)
    seen = token()
    # Its transaction was committed after the poll, with the time at which it had begun.
    Deviation.objects.filter(pk=late.pk).update(updated_at=began - timedelta(seconds=3))
    assert f"work:{late.pk}" in events(ask(htmx, seen))


def test_what_another_page_has_trashed_is_news(htmx, account, make_work, token):
    work = make_work(account)
    seen = token()
    Deviation.objects.filter(pk=work.pk).update(trashed_at=clock.now())
    assert f"work:{work.pk}" in events(ask(htmx, seen))


def test_a_held_account_is_news(htmx, account, token):
    scheduled(account, seconds=600)
    seen = token()
    DeviantArtAccount.objects.update(paused=True)
    response = ask(htmx, seen)
    assert response.status_code == 200
    assert "1 held" in " ".join(response.content.decode().split())


def test_the_works_of_others_are_no_news(htmx, make_work, stranger, token):
    theirs = make_work(DeviantArtAccountFactory(workspace=workspace_of(stranger)))
    seen = token()
    change(theirs)
    assert ask(htmx, seen).status_code == 204


def test_very_many_changes_are_told_in_one(htmx, account, make_work, token):
    for _ in range(101):
        make_work(account)
    seen = token()
    Deviation.objects.update(updated_at=clock.now())
    assert set(events(ask(htmx, seen))) == {"works:many", "works:changed"}


@pytest.mark.parametrize("seen", ["", "nonsense", "zz.zz", "ffffffffffffffffffff.0", "-1.0"])
def test_a_token_that_is_none_gets_the_strip(htmx, seen):
    response = ask(htmx, seen)
    assert response.status_code == 200
    assert 'id="now"' in response.content.decode()


def test_a_token_survives_being_written_and_read():
    token = Token(clock.now(), "abc")
    assert Token.read(str(token)) == token


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"status": "published", "published_at": clock.now()}, "published", "“Moth” is live."),
        ({"status": "failed", "reason_code": "refused"}, "failed", "“Moth” failed."),
        ({"status": "needs_decision", "reason_code": "late"}, "decision", "“Moth” needs your decision."),
    ],
)
def test_what_became_live_failed_or_needs_somebody_is_said(htmx, account, make_work, token, fields, status, sentence):
    work = make_work(account, title="Moth")
    seen = token()
    change(work, **fields)
    said = events(ask(htmx, seen))["works:changed"]
    assert said == {"works": [{"id": str(work.pk), "status": status, "says": sentence}]}


def test_an_edit_is_not_said(htmx, account, make_work, token):
    work = make_work(account)
    seen = token()
    change(work, title="Another one")
    assert events(ask(htmx, seen))["works:changed"] == {"works": []}


# --- how often -------------------------------------------------------------------------------------------------------
def rhythm(client) -> str:
    return ask(client, "").content.decode().partition('hx-trigger="every ')[2].partition(",")[0]


def _moving(account):
    return scheduled(account, seconds=-1, status="uploading", worker_id=new_id(), lease_id=new_id())


@pytest.mark.parametrize(
    "state",
    [
        lambda account: None,
        _moving,
        lambda account: scheduled(account, seconds=9),
        lambda account: scheduled(account, seconds=600),
    ],
    ids=["nothing", "on its way", "due soon", "due later"],
)
def test_the_strip_asks_every_two_seconds_whatever_goes_on(htmx, account, state):
    state(account)
    assert rhythm(htmx) == "2s"


# --- what it shows ---------------------------------------------------------------------------------------------------
def test_the_strip_says_what_moves_what_is_next_and_what_waits(htmx, account, make_work, read):
    scheduled(account, seconds=-1, title="Moth", status="uploading", worker_id=new_id(), lease_id=new_id())
    scheduled(account, seconds=3600, title="Tram")
    make_work(account, status="failed", reason_code="refused")
    make_work(account, status="needs_decision", reason_code="late")
    words = read(ask(htmx, "")).words
    assert "Moth" in words
    assert "Uploading" in words
    assert "Tram" in words
    assert "in 60 min" in words
    assert "1 failed" in words
    assert "1 needs you" in words


def test_an_idle_strip_says_that_nothing_is_on_its_way(htmx, read):
    assert "Nothing is on its way. Nothing is scheduled." in read(ask(htmx, "")).words


# --- who asks --------------------------------------------------------------------------------------------------------
def test_a_poll_of_somebody_who_signed_out_is_401(client, db):
    assert ask(client, "").status_code == 401


def test_a_poll_of_somebody_whose_access_was_taken_away_is_401(htmx, artist):
    User.objects.update(is_active=False)
    assert ask(htmx, "").status_code == 401


def test_a_poll_after_the_password_was_changed_elsewhere_is_401(htmx, artist):
    artist.set_password("another long password")
    artist.save()
    assert ask(htmx, "").status_code == 401


def test_a_poll_of_a_session_whose_user_is_gone_is_401(htmx):
    session = htmx.session
    session[SESSION_KEY] = str(new_id())
    session.save()
    assert ask(htmx, "").status_code == 401
