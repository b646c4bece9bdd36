"""What is done to many works at once, and how it is taken back."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse

from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from tests.factories import DeviantArtAccountFactory, DueDeviationFactory, workspace_of

BERLIN = ZoneInfo("Europe/Berlin")


def url(name: str) -> str:
    return reverse(f"deviations:bulk-{name}")


def in_a_week() -> dict[str, str]:
    there = clock.now().astimezone(BERLIN) + timedelta(days=7)
    return {"day": f"{there:%Y-%m-%d}", "time": "18:50", "jitter": "0"}


def picked(*works: Deviation) -> dict[str, object]:
    return {"work": [work.pk for work in works]}


def states(*works: Deviation) -> list[str]:
    return [Deviation.objects.get(pk=work.pk).status for work in works]


def scheduled(account, days: float = 2, **fields) -> Deviation:
    moment = clock.now() + timedelta(days=days)
    return DueDeviationFactory(
        workspace=account.workspace, account=account, scheduled_at=moment, publish_at=moment, **fields
    )


def undo_of(page) -> str:
    (action,) = [str(found["action"]) for found in page.all("form") if "/undo/" in str(found.get("action"))]
    return action


# --- scheduling ------------------------------------------------------------------------------------------------------
def test_all_picked_works_are_scheduled_and_their_cards_are_changed(htmx, account, make_work, sent, read):
    works = [make_work(account) for _ in range(3)]
    response = htmx.post(url("schedule"), in_a_week() | picked(*works))
    assert states(*works) == ["scheduled"] * 3
    page = read(response)
    assert "3 works scheduled for" in page.words
    assert {found["id"] for found in page.all("li", hx_swap_oob="true")} == {f"w-{work.pk}" for work in works}


def test_a_work_that_refuses_keeps_none_of_the_others_back_and_is_named(htmx, account, make_work, sent, read):
    good, bad = make_work(account), make_work(account, title="", files=0)
    page = read(htmx.post(url("schedule"), in_a_week() | picked(good, bad)))
    assert states(good, bad) == ["scheduled", "draft"]
    assert "1 work scheduled for" in page.words
    assert "1 work was left as it is" in page.words
    assert "Give it a title. Add a file." in page.words
    assert page.all("a", href=reverse("deviations:work", args=[bad.pk]))


def test_scheduling_many_can_be_undone(htmx, account, make_work, sent, read):
    draft, moved = make_work(account), scheduled(account)
    before = moved.publish_at
    page = read(htmx.post(url("schedule"), in_a_week() | picked(draft, moved)))
    response = htmx.post(undo_of(page), picked(draft, moved))
    assert "Undone for 2 works" in read(response).words
    assert states(draft, moved) == ["draft", "scheduled"]
    moved.refresh_from_db()
    assert moved.publish_at == before


def test_a_time_that_has_passed_is_refused_for_all_and_the_form_says_why(htmx, account, make_work, read):
    works = [make_work(account) for _ in range(2)]
    response = htmx.post(url("schedule"), {"day": "2020-01-01", "time": "18:50"} | picked(*works))
    assert response.status_code == 422
    page = read(response)
    assert page.ids()[0] == "bulk-when"
    assert "That time has passed." in page.words
    assert states(*works) == ["draft"] * 2


@pytest.mark.parametrize("when", [{"day": "", "time": "18:50"}, {"day": "2030-01-01", "time": "x"}])
def test_a_time_that_is_none_is_refused(htmx, account, make_work, when):
    work = make_work(account)
    assert htmx.post(url("schedule"), when | picked(work)).status_code == 422
    assert states(work) == ["draft"]


# --- taking off the schedule -----------------------------------------------------------------------------------------
def test_many_are_taken_off_the_schedule_and_get_their_times_back(htmx, account, sent, read):
    works = [scheduled(account, days) for days in (1, 2, 3)]
    before = [work.publish_at for work in works]
    page = read(htmx.post(url("unschedule"), picked(*works)))
    assert "3 works taken off the schedule" in page.words
    assert states(*works) == ["draft"] * 3
    response = htmx.post(undo_of(page), picked(*works))
    assert response.headers["HX-Trigger"] == "works:many"
    assert [Deviation.objects.get(pk=work.pk).publish_at for work in works] == before


def test_what_was_already_on_its_way_is_named_and_the_rest_is_taken_off(htmx, account, sent, read):
    waiting = scheduled(account)
    going = scheduled(account, -1, status="uploading", worker_id=new_id(), lease_id=new_id())
    page = read(htmx.post(url("unschedule"), picked(waiting, going)))
    assert states(waiting, going) == ["draft", "uploading"]
    assert "already on its way" in page.words


def test_what_has_passed_meanwhile_does_not_come_back_and_says_so(htmx, account, sent, read):
    late, early = scheduled(account), scheduled(account)
    page = read(htmx.post(url("unschedule"), picked(late, early)))
    Deviation.objects.filter(pk=late.pk).update(previous_publish_at=clock.now() - timedelta(seconds=1))
    answer = read(htmx.post(undo_of(page), picked(late, early)))
    assert states(late, early) == ["draft", "scheduled"]
    assert "Undone for 1 work" in answer.words
    assert "That time has passed." in answer.words


# --- publishing now --------------------------------------------------------------------------------------------------
def test_publishing_many_now_asks_with_their_number(htmx, account, make_work, read):
    works = [make_work(account) for _ in range(3)]
    page = read(htmx.get(url("publish-now"), picked(*works)))
    assert "Publish 3 works now?" in page.words
    assert [found["value"] for found in page.all("input", name="work")] == [str(work.pk) for work in works]
    assert states(*works) == ["draft"] * 3


def test_publishing_many_now_makes_all_of_them_due(htmx, account, make_work, sent, read):
    works = [make_work(account) for _ in range(3)]
    page = read(htmx.post(url("publish-now"), picked(*works)))
    assert states(*works) == ["scheduled"] * 3
    assert "3 works go out now" in page.words
    assert not page.all("button", data_key="z")  # DeviantArt takes nothing back


# --- ready for automations -------------------------------------------------------------------------------------------
def ready_ones() -> set[object]:
    return set(Deviation.objects.filter(ready_at__isnull=False).values_list("pk", flat=True))


def test_many_are_made_ready_for_automations_and_it_is_taken_back(htmx, account, make_work, read):
    works = [make_work(account) for _ in range(2)]
    page = read(htmx.post(url("ready"), picked(*works)))
    assert "2 works are ready for automations" in page.words
    assert ready_ones() == {work.pk for work in works}
    assert "Undone for 2 works" in read(htmx.post(undo_of(page), picked(*works))).words
    assert ready_ones() == set()


def test_many_are_kept_from_automations_and_it_is_taken_back(htmx, account, make_work, read):
    works = [make_work(account, ready_at=clock.now()) for _ in range(2)]
    page = read(htmx.post(url("not-ready"), picked(*works)))
    assert "2 works are kept from automations" in page.words
    assert ready_ones() == set()
    htmx.post(undo_of(page), picked(*works))
    assert ready_ones() == {work.pk for work in works}


@pytest.mark.parametrize(("action", "versions"), [("ready", [2, 1]), ("not-ready", [1, 2])])
def test_making_them_ready_or_not_twice_changes_nothing(htmx, account, make_work, action, versions):
    works = [make_work(account), make_work(account, ready_at=clock.now())]
    for _twice in range(2):
        assert htmx.post(url(action), picked(*works)).status_code == 200
        assert [Deviation.objects.get(pk=work.pk).version for work in works] == versions


def test_the_bar_offers_both_but_not_in_the_trash(plain, account, make_work, read):
    make_work(account)
    for query, there in (("", True), ("?status=trash", False)):
        page = read(plain.get(reverse("deviations:works") + query))
        for action in ("ready", "not-ready"):
            assert bool(page.all("button", hx_post=url(action))) == there


# --- the trash -------------------------------------------------------------------------------------------------------
def test_many_go_into_the_trash_vanish_and_come_back_as_they_were(htmx, account, make_work, sent, read):
    draft, timed = make_work(account), scheduled(account)
    before = timed.publish_at
    page = read(htmx.post(url("trash"), picked(draft, timed)))
    assert {found["id"] for found in page.all("li", hx_swap_oob="delete")} == {f"w-{draft.pk}", f"w-{timed.pk}"}
    assert not Deviation.objects.kept().exists()
    htmx.post(undo_of(page), picked(draft, timed))
    assert states(draft, timed) == ["draft", "scheduled"]
    timed.refresh_from_db()
    assert (timed.publish_at, timed.trashed_at) == (before, None)


def test_many_are_restored(htmx, account, make_work, read):
    works = [make_work(account, trashed_at=clock.now()) for _ in range(2)]
    page = read(htmx.post(url("restore"), picked(*works)))
    assert "2 works restored" in page.words
    assert Deviation.objects.kept().count() == 2


# --- who, and what is no list ----------------------------------------------------------------------------------------
ACTIONS = ["schedule", "unschedule", "publish-now", "ready", "not-ready", "trash", "restore"]


@pytest.mark.parametrize("action", ACTIONS)
def test_the_works_of_others_are_left_alone(htmx, make_work, stranger, action):
    theirs = scheduled(DeviantArtAccountFactory(workspace=workspace_of(stranger)))
    before = theirs.publish_at
    response = htmx.post(url(action), in_a_week() | picked(theirs))
    assert "Nothing was changed." in response.content.decode()
    theirs.refresh_from_db()
    assert (theirs.status, theirs.publish_at, theirs.version) == ("scheduled", before, 1)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("works", [[], ["nonsense"], [str(new_id()) for _ in range(501)]])
def test_a_list_that_is_none_is_refused(htmx, account, action, works):
    response = htmx.post(url(action), in_a_week() | {"work": works})
    assert response.status_code == 422
    assert b"toast" in response.content


def test_only_whoever_did_it_can_undo_it(htmx, client_of, account, stranger, sent, read):
    work = scheduled(account)
    page = read(htmx.post(url("unschedule"), picked(work)))
    client_of(stranger).post(undo_of(page), picked(work))
    assert states(work) == ["draft"]


def test_a_change_that_never_was_cannot_be_undone(htmx, account, read):
    work = scheduled(account)
    answer = read(htmx.post(reverse("deviations:undo", args=[new_id()]), picked(work)))
    assert "There is nothing to undo." in answer.words
    assert states(work) == ["scheduled"]


def test_many_are_changed_without_scripts(plain, account, make_work, sent, read):
    works = [make_work(account) for _ in range(2)]
    response = plain.post(url("schedule"), in_a_week() | picked(*works), follow=True)
    assert response.redirect_chain == [("/works/", 302)]
    assert "2 works scheduled for" in read(response).words
    assert states(*works) == ["scheduled"] * 2
