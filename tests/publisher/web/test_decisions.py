"""Decisions on pages, with and without scripts; what follows from them is tested at the services."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEvent
from deviantart import types
from deviations.models import Deviation
from isekai import clock
from publisher.models import InstallationHold, StashItem
from publisher.services.confirming import Sighting
from tests.factories import DueDeviationFactory, UserFactory
from tests.publisher.undecided import ask, late, partly_live, unconfirmed

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
both = pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isekai.queue._send_now", lambda *_arguments: None)


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> list[types.Deviation]:
    """What is seen at the address that is asked for: nothing, unless a test puts something there."""
    shown: list[types.Deviation] = []
    look = "publisher.services.confirming.look_for"
    monkeypatch.setattr(look, lambda *_arguments: Sighting(shown[0] if shown else None))
    return shown


def owner_of(work: Deviation) -> Any:
    return work.workspace.memberships.get().user


def signed_in(client: Client, work: Deviation) -> Client:
    client.force_login(owner_of(work), backend="django.contrib.auth.backends.ModelBackend")
    return client


def address(work: Deviation) -> str:
    assert work.account is not None
    return f"{work.account.base_url}/{work.account.username}/art/Kite-77"


def status(work: Deviation) -> str:
    return Deviation.objects.get(pk=work.pk).status


def several(reason: str = "partial") -> Deviation:
    work = partly_live(lambda *_bodies, **fields: DueDeviationFactory(files=2, **fields))
    return ask(work, reason)


# --- what is shown ---------------------------------------------------------------------------------------------------
@both
def test_the_question_says_what_is_known_what_not_and_the_ways_out(client: Client, headers: dict[str, str]):
    work = unconfirmed()
    answer = signed_in(client, work).get(f"/works/{work.pk}/decision/", headers=headers)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert ("<html" in text) == (not headers)
    for words in ("did not say whether it did", "What we do not know", "Its file lies in your Sta.sh"):
        assert words in text
    for path in ("look-again/", "decision/live/", "decision/not-live/"):
        assert f'action="/works/{work.pk}/{path}"' in text


def test_each_part_is_told_of_by_itself(client: Client):
    work = several()
    text = signed_in(client, work).get(f"/works/{work.pk}/decision/").content.decode()
    assert "It is live since" in text
    assert "did not say whether it did" in text
    assert 'name="file"' not in text  # only one is open


def test_an_item_that_was_given_up_is_not_told_of(client: Client):
    work = unconfirmed()
    StashItem.objects.update(state="abandoned")
    text = signed_in(client, work).get(f"/works/{work.pk}/decision/").content.decode()
    assert "lies in your Sta.sh" not in text


def test_a_work_for_the_stash_is_asked_about_in_its_words(client: Client):
    work = ask(DueDeviationFactory(stash_only=True), "stash_unconfirmed")
    text = signed_in(client, work).get(f"/works/{work.pk}/decision/").content.decode()
    assert "Look into your Sta.sh" in text
    assert "It is not in the Sta.sh" in text


def test_a_late_work_was_not_sent_and_the_others_are_near(client: Client):
    work = late()
    late(workspace=work.workspace, account=work.account)
    text = signed_in(client, work).get(f"/works/{work.pk}/decision/").content.decode()
    assert "Answer for all 2 late works" in text
    assert "decision/not-live/" not in text
    assert f"/works/late/{work.account_id}/" in text


@both
def test_what_asks_nothing_has_no_question(client: Client, headers: dict[str, str]):
    work = DueDeviationFactory()
    answer = signed_in(client, work).get(f"/works/{work.pk}/decision/", headers=headers)
    assert (answer.status_code, answer.content) == (200 if headers else 302, b"")


# --- it is live ------------------------------------------------------------------------------------------------------
@both
def test_what_is_seen_there_is_live(client: Client, gallery: list[types.Deviation], headers: dict[str, str]):
    work = unconfirmed()
    gallery.append(types.Deviation("ID-77", url=address(work), published_at=clock.now()))
    answer = signed_in(client, work).post(f"/works/{work.pk}/decision/live/", {"url": address(work)}, headers=headers)
    assert answer.status_code == (200 if headers else 302)
    assert status(work) == "published"
    if headers:
        assert answer["HX-Retarget"] == "#state-box"


@both
def test_what_is_not_seen_there_is_asked_once_more_with_the_address_kept(
    client: Client, gallery: list[types.Deviation], headers: dict[str, str]
):
    work = unconfirmed()
    path = f"/works/{work.pk}/decision/live/"
    first = signed_in(client, work).post(path, {"url": address(work)}, headers=headers)
    text = first.content.decode()
    assert first.status_code == 409
    assert "could not see it there" in text
    assert f'value="{address(work)}"' in text
    assert 'name="by_hand"' in text
    assert status(work) == "needs_decision"
    client.post(path, {"url": address(work), "by_hand": "1"}, headers=headers)
    assert status(work) == "published"
    assert AuditEvent.objects.get(verb="deviation.confirmed_by_hand").user == owner_of(work)


@both
@pytest.mark.parametrize("url", ["", "moth", "https://evil.example/a/art/b-1", "x" * 600])
def test_what_is_no_address_is_refused_in_the_question(
    client: Client, gallery: list[types.Deviation], url: str, headers: dict[str, str]
):
    work = unconfirmed()
    answer = signed_in(client, work).post(f"/works/{work.pk}/decision/live/", {"url": url}, headers=headers)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert status(work) == "needs_decision"


# --- it is not live --------------------------------------------------------------------------------------------------
@both
@pytest.mark.parametrize(("way", "then"), [("publish_now", "scheduled"), ("draft", "draft")])
def test_what_is_not_live_goes_on(client: Client, way: str, then: str, headers: dict[str, str]):
    work = unconfirmed()
    path = f"/works/{work.pk}/decision/not-live/"
    answer = signed_in(client, work).post(path, {"way": way, "not_live": "1"}, headers=headers)
    assert answer.status_code == (200 if headers else 302)
    assert status(work) == then
    assert AuditEvent.objects.get(verb="deviation.settled_by_hand").user == owner_of(work)


@both
def test_without_the_tick_nothing_goes_on(client: Client, headers: dict[str, str]):
    work = unconfirmed()
    path = f"/works/{work.pk}/decision/not-live/"
    answer = signed_in(client, work).post(path, {"way": "publish_now"}, headers=headers)
    assert answer.status_code == 409
    assert "may appear twice" in answer.content.decode()
    assert status(work) == "needs_decision"


def test_another_time_is_on_the_artists_clocks_and_can_be_undone(client: Client):
    work = unconfirmed()
    at = clock.now() + timedelta(days=3)
    body = {"way": "schedule", "not_live": "1", "day": f"{at:%Y-%m-%d}", "time": "18:30", "jitter": "0"}
    answer = signed_in(client, work).post(f"/works/{work.pk}/decision/not-live/", body, headers=HTMX)
    work.refresh_from_db()
    assert (work.status, f"{work.scheduled_local:%H:%M}") == ("scheduled", "18:30")
    assert "/undo/" in answer.content.decode()


@both
@pytest.mark.parametrize("time", [{}, {"day": "2020-01-01", "time": "10:00", "jitter": "0"}])
def test_a_time_that_cannot_be_is_refused_in_the_question(client: Client, time: Any, headers: dict[str, str]):
    work = unconfirmed()
    body = {"way": "schedule", "not_live": "1", **time}
    answer = signed_in(client, work).post(f"/works/{work.pk}/decision/not-live/", body, headers=headers)
    assert answer.status_code == 422
    assert 'id="decide-errors"' in answer.content.decode()
    assert status(work) == "needs_decision"


def test_a_way_that_there_is_not_is_refused(client: Client):
    work = unconfirmed()
    path = f"/works/{work.pk}/decision/not-live/"
    assert signed_in(client, work).post(path, {"way": "burn", "not_live": "1"}).status_code == 422


@both
def test_who_comes_second_sees_what_was_decided(client: Client, headers: dict[str, str]):
    work = unconfirmed()
    Deviation.objects.filter(pk=work.pk).update(status="draft", reason_code="", unconfirmed_since=None)
    path = f"/works/{work.pk}/decision/not-live/"
    answer = signed_in(client, work).post(path, {"way": "publish_now", "not_live": "1"}, headers=headers)
    assert answer.status_code == 409
    assert "does not wait for a decision any more" in answer.content.decode()
    assert 'id="state"' in answer.content.decode()


# --- many ------------------------------------------------------------------------------------------------------------
@both
def test_picked_works_are_asked_about_together_and_decided(client: Client, headers: dict[str, str]):
    work = unconfirmed()
    other = late(workspace=work.workspace, account=work.account)
    picked = {"work": [str(work.pk), str(other.pk)]}
    question = signed_in(client, work).get("/works/decide/", picked, headers=headers).content.decode()
    assert "What becomes of 2 works?" in question
    assert 'name="not_live"' in question
    client.post("/works/decide/", {**picked, "way": "draft", "not_live": "1"}, headers=headers)
    assert (status(work), status(other)) == ("draft", "draft")


def test_late_works_alone_need_no_tick(client: Client):
    work = late()
    question = signed_in(client, work).get("/works/decide/", {"work": [str(work.pk)]}, headers=HTMX)
    assert 'name="not_live"' not in question.content.decode()


def test_of_many_those_that_refuse_are_named(client: Client):
    work = unconfirmed()
    other = late(workspace=work.workspace, account=work.account)
    body = {"work": [str(work.pk), str(other.pk)], "way": "draft"}
    text = signed_in(client, work).post("/works/decide/", body, headers=HTMX).content.decode()
    assert "1 work was left as it is" in text
    assert work.title in text
    assert (status(work), status(other)) == ("needs_decision", "draft")


@pytest.mark.parametrize("body", [{"way": "schedule"}, {"way": "schedule", "day": "2020-01-01", "time": "10:00"}, {}])
def test_a_question_about_many_that_was_not_answered_is_asked_again(client: Client, body: dict[str, str]):
    work = late()
    answer = signed_in(client, work).post("/works/decide/", {"work": [str(work.pk)], **body}, headers=HTMX)
    assert (answer.status_code, answer["HX-Retarget"]) == (422, "#dialog")
    assert f'value="{work.pk}"' in answer.content.decode()
    assert status(work) == "needs_decision"


@both
def test_picked_works_are_looked_for_again(client: Client, headers: dict[str, str]):
    work = unconfirmed()
    signed_in(client, work).post("/works/look-again/", {"work": [str(work.pk)]}, headers=headers)
    assert status(work) == "publishing"


@both
@pytest.mark.parametrize("path", ["/works/decide/", "/works/look-again/"])
def test_nothing_picked_is_nothing_done(client: Client, path: str, headers: dict[str, str]):
    answer = signed_in(client, late()).post(path, {"way": "draft"}, headers=headers)
    assert answer.status_code == (422 if headers else 302)


# --- all late works of an account ------------------------------------------------------------------------------------
def test_the_list_of_undecided_works_leads_to_one_answer_for_all_late_ones(client: Client):
    work = late()
    late(workspace=work.workspace, account=work.account)
    late()  # somebody else's
    assert 'hx-get="/works/late/"' in signed_in(client, work).get("/works/?status=decision").content.decode()
    banner = client.get("/works/late/").content.decode()
    assert "Answer for all 2" in banner
    assert banner.count("/works/late/") == 1
    page = client.get(f"/works/late/{work.account_id}/").content.decode()
    assert "2 late works of" in page
    assert work.title in page


@pytest.mark.parametrize(("way", "then"), [("publish_now", "scheduled"), ("draft", "draft")])
def test_one_answer_is_enough(client: Client, way: str, then: str):
    work = late()
    other = late(workspace=work.workspace, account=work.account)
    doubtful = unconfirmed(workspace=work.workspace, account=work.account)
    answer = signed_in(client, work).post(f"/works/late/{work.account_id}/", {"way": way}, follow=True)
    assert "2 works" in answer.content.decode()
    assert (status(work), status(other), status(doubtful)) == (then, then, "needs_decision")


@pytest.mark.parametrize("body", [{}, {"way": "schedule"}, {"way": "schedule", "day": "2020-01-01", "time": "10:00"}])
def test_an_answer_for_all_that_is_none_is_asked_for_again(client: Client, body: dict[str, str]):
    work = late()
    assert signed_in(client, work).post(f"/works/late/{work.account_id}/", body).status_code == 422
    assert status(work) == "needs_decision"


def test_those_that_cannot_go_out_are_counted(client: Client):
    work = late()
    bad = late(workspace=work.workspace, account=work.account, title="x" * 60)
    answer = signed_in(client, work).post(f"/works/late/{work.account_id}/", {"way": "publish_now"}, follow=True)
    assert "1 was left as it is." in answer.content.decode()
    assert (status(work), status(bad)) == ("scheduled", "needs_decision")


def test_when_no_work_is_late_any_more_there_is_nothing_to_answer(client: Client):
    work = unconfirmed()
    assert signed_in(client, work).get(f"/works/late/{work.account_id}/").status_code == 302


# --- the installation ------------------------------------------------------------------------------------------------
def test_everybody_is_told_while_nothing_goes_out(client: Client):
    work = late()
    signed_in(client, work)
    assert 'hx-get="/holds/"' in client.get("/works/").content.decode()
    assert "Nothing goes out" not in client.get("/holds/").content.decode()
    InstallationHold.objects.create(reason="clock")
    assert "Nothing goes out at the moment: The clocks" in client.get("/holds/").content.decode()


def test_who_is_not_signed_in_is_told_nothing_of_the_installation(client: Client):
    InstallationHold.objects.create(reason="clock")
    answer = client.get("/holds/")
    assert (answer.status_code, answer.content) == (204, b"")


# --- strangers -------------------------------------------------------------------------------------------------------
def test_a_stranger_finds_nothing_and_changes_nothing(client: Client, gallery: list[types.Deviation]):
    work, other = unconfirmed(), late()
    client.force_login(UserFactory(), backend="django.contrib.auth.backends.ModelBackend")
    said = {"way": "draft", "not_live": "1", "url": address(work), "by_hand": "1"}
    assert client.get(f"/works/{work.pk}/decision/").status_code == 404
    for path in ("live", "not-live"):
        assert client.post(f"/works/{work.pk}/decision/{path}/", said).status_code == 404
    assert client.get(f"/works/late/{other.account_id}/").status_code == 404
    assert client.post(f"/works/late/{other.account_id}/", said).status_code == 404
    assert "late" not in client.get("/works/late/").content.decode().replace('id="late"', "")
    for path in ("decide", "look-again"):
        client.post(f"/works/{path}/", {**said, "work": [str(work.pk), str(other.pk)]})
    assert (status(work), status(other)) == ("needs_decision", "needs_decision")


@pytest.mark.parametrize(
    "path", ["decision/", "decision/live/", "decision/not-live/", "../late/", "../decide/", "../look-again/"]
)
def test_whoever_is_not_signed_in_is_led_to_the_door(client: Client, path: str):
    work = unconfirmed()
    where = f"/works/{work.pk}/{path}" if not path.startswith("..") else f"/works/{path[3:]}"
    for method in (client.get, client.post):
        assert method(where).status_code in {302, 405}
    assert status(work) == "needs_decision"
