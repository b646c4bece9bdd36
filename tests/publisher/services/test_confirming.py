import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections

from accounts.models import AuditEvent, DeviantArtAccount
from accounts.services.clients import client_for
from accounts.services.tokens import Token, usable_token
from deviantart.errors import AnswerLost
from deviantart.types import Deviation as Shown
from deviations.errors import (
    AddressTaken,
    ConfirmationNeeded,
    DeviationError,
    FieldsRefused,
    InvalidTransition,
    ReferenceNotFound,
)
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.models import Publication, StashItem
from publisher.services import confirming, publishing, settling
from publisher.services.confirming import confirm_live
from publisher.services.turns import NotYet
from tests import pictures
from tests.connecting import connected_account
from tests.factories import DeviantArtAccountFactory, UserFactory
from tests.fakes import FakeDeviantArt
from tests.publisher.undecided import ask, doubtful_part, late, live_part, partly_live, unconfirmed
from tests.publisher.works import make_works
from tests.sandbox_process import SandboxProcess

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker", "sent")


@pytest.fixture
def gallery(deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch) -> FakeDeviantArt:
    monkeypatch.setattr(confirming, "client_for", lambda _account, _token: deviantart)
    monkeypatch.setattr(confirming, "usable_token", lambda _account_id: Token("token", 1))
    return deviantart


def address(work: Deviation, number: int = 77, *, username: str = "") -> str:
    assert work.account is not None
    return f"{work.account.base_url}/{username or work.account.username}/art/Kite-{number}"


def show(gallery: FakeDeviantArt, work: Deviation, number: int = 77) -> Shown:
    shown = Shown(f"DEVIATION-{number}", work.title, address(work, number), clock.now())
    gallery.deviations.append(shown)
    return shown


def verbs(work: Deviation) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=work.pk).order_by("id").values_list("verb", flat=True))


# --- it is seen there ------------------------------------------------------------------------------------------------
def test_what_the_gallery_shows_there_is_published_with_its_id_and_address(gallery: FakeDeviantArt, make_due: MakeDue):
    work, user = unconfirmed(make_due), UserFactory()
    shown = show(gallery, work)
    confirm_live(work, user=user, url=address(work) + "?utm_source=mail")
    work.refresh_from_db()
    assert (work.status, work.unconfirmed_since, work.published_at) == ("published", None, shown.published_at)
    publication = Publication.objects.get(deviation=work)
    assert (publication.state, publication.remote_deviation_id) == ("published", "DEVIATION-77")
    assert (publication.url, publication.next_look_at) == (address(work), None)
    assert StashItem.objects.get(publication=publication).state == StashItem.State.PUBLISHED
    event = AuditEvent.objects.get(subject_id=work.pk, verb="deviation.confirmed_live")
    assert (event.user, event.params["url"]) == (user, address(work))
    assert gallery.calls == ["gallery"]


@pytest.mark.parametrize("reason", ["late", "restored"])
def test_what_was_never_sent_can_be_live_all_the_same(gallery: FakeDeviantArt, make_due: MakeDue, reason: str):
    work = ask(make_due(), reason)
    show(gallery, work)
    assert confirm_live(work, user=None, url=address(work)).status == Deviation.Status.PUBLISHED


def test_no_transaction_is_open_while_deviantart_is_asked(
    gallery: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    work = unconfirmed(make_due)
    inside: list[bool] = []

    def look(*_arguments: Any) -> confirming.Sighting:
        inside.append(connection.in_atomic_block)
        return confirming.Sighting(None)

    monkeypatch.setattr(confirming, "look_for", look)
    confirm_live(work, user=None, url=address(work), by_hand=True)
    assert inside == [False]


def test_only_the_newest_pages_are_read(gallery: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch):
    work = unconfirmed(make_due)
    pages: list[int] = []

    class Endless:
        placebo = None

        def gallery_pages(self) -> Any:
            for number in range(100):
                pages.append(number)
                yield type("Page", (), {"results": (), "has_more": True, "date": None})

    monkeypatch.setattr(confirming, "client_for", lambda _account, _token: Endless())
    with pytest.raises(ConfirmationNeeded, match="could not see it there"):
        confirm_live(work, user=None, url=address(work))
    assert len(pages) == confirming.PAGES_MOST


# --- it is not seen there --------------------------------------------------------------------------------------------
def test_what_cannot_be_seen_there_is_asked_about_twice_and_then_marked_by_hand(
    gallery: FakeDeviantArt, make_due: MakeDue
):
    work, user = unconfirmed(make_due), UserFactory()
    with pytest.raises(ConfirmationNeeded, match="could not see it there") as refusal:
        confirm_live(work, user=user, url=address(work))
    assert (refusal.value.code, list(refusal.value.details)) == ("confirmation_needed", ["confirm_by_hand"])
    assert Deviation.objects.get(pk=work.pk).status == Deviation.Status.NEEDS_DECISION
    assert confirm_live(work, user=user, url=address(work), by_hand=True).status == Deviation.Status.PUBLISHED
    publication = Publication.objects.get(deviation=work)
    assert (publication.remote_deviation_id, publication.url, publication.next_look_at) == (None, address(work), None)
    assert verbs(work) == ["deviation.confirmed_by_hand", "deviation.published"]
    calls = len(gallery.calls)
    settling.find_urls()
    assert len(gallery.calls) == calls  # nobody looks it up later


@pytest.mark.parametrize("failure", [AnswerLost(), NotYet(60, reason="pace")])
def test_while_deviantart_cannot_be_read_it_says_so(
    gallery: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    work = unconfirmed(make_due)

    def refuse(*_arguments: Any) -> Any:
        raise failure

    monkeypatch.setattr(confirming, "PacedReader", refuse)
    with pytest.raises(ConfirmationNeeded, match="does not let us look"):
        confirm_live(work, user=None, url=address(work))
    assert confirm_live(work, user=None, url=address(work), by_hand=True).status == Deviation.Status.PUBLISHED


@pytest.mark.parametrize("fields", [{"state": "reauth_required"}, {"base_url": "https://elsewhere.example"}])
def test_an_account_that_cannot_be_asked_is_not_asked(gallery: FakeDeviantArt, make_due: MakeDue, fields: Any):
    work = unconfirmed(make_due)
    DeviantArtAccount.objects.filter(pk=work.account_id).update(**fields)
    work.refresh_from_db()
    with pytest.raises(ConfirmationNeeded, match="does not let us look"):
        confirm_live(work, user=None, url=address(work))
    assert gallery.calls == []


def test_a_deviantart_that_hangs_is_not_waited_for(
    gallery: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    work, answered = unconfirmed(make_due), threading.Event()
    threads: list[threading.Thread] = []

    def hang(*_arguments: Any) -> Any:
        threads.append(threading.current_thread())
        answered.wait(60)
        raise AnswerLost

    monkeypatch.setattr(confirming, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(confirming, "PacedReader", hang)
    try:
        with pytest.raises(ConfirmationNeeded, match="does not let us look"):
            confirm_live(work, user=None, url=address(work))
        assert not answered.is_set()
    finally:
        answered.set()
        for thread in threads:
            thread.join()


# --- addresses -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", ["", "moth", "https://evil.example/x/art/Kite-77", "javascript:alert(1)"])
def test_what_is_no_address_of_a_work_is_refused_before_anybody_is_asked(
    gallery: FakeDeviantArt, make_due: MakeDue, url: str
):
    work = unconfirmed(make_due)
    with pytest.raises(FieldsRefused) as refusal:
        confirm_live(work, user=None, url=url, by_hand=True)
    assert list(refusal.value.details) == ["url"]
    assert gallery.calls == []


def test_a_work_of_another_artist_is_not_ours(gallery: FakeDeviantArt, make_due: MakeDue):
    work = unconfirmed(make_due)
    with pytest.raises(FieldsRefused, match=None) as refusal:
        confirm_live(work, user=None, url=address(work, username="somebody-else"), by_hand=True)
    assert "somebody-else" in str(refusal.value.details["url"][0])


@pytest.mark.parametrize("seen", [True, False])
def test_an_address_belongs_to_one_work_in_all_workspaces(gallery: FakeDeviantArt, make_due: MakeDue, seen: bool):
    other = make_due()
    assert other.account is not None
    publication = live_part(other, other.files.get(), url=address(other))
    DeviantArtAccount.objects.filter(pk=other.account_id).update(
        state="disconnected", access_token="", refresh_token="", encryption_key=None
    )
    again = DeviantArtAccountFactory(
        username=other.account.username, remote_user_id=other.account.remote_user_id, base_url=other.account.base_url
    )
    work = unconfirmed(make_due, account=again, workspace=again.workspace)
    if seen:
        show(gallery, work)
        Publication.objects.filter(pk=publication.pk).update(remote_deviation_id="DEVIATION-77")
    with pytest.raises(AddressTaken):
        confirm_live(work, user=None, url=address(work), by_hand=True)
    assert Deviation.objects.get(pk=work.pk).status == Deviation.Status.NEEDS_DECISION


def test_of_two_people_who_name_one_address_at_once_one_is_right(gallery: FakeDeviantArt, make_due: MakeDue):
    first = unconfirmed(make_due)
    second = unconfirmed(make_due, account=first.account, workspace=first.workspace)
    start = threading.Barrier(2)
    answers: list[Any] = []

    def say(work: Deviation) -> None:
        start.wait()
        try:
            answers.append(confirm_live(work, user=None, url=address(first), by_hand=True).status)
        except DeviationError as error:
            answers.append(error.code)
        finally:
            connections.close_all()

    people = [threading.Thread(target=say, args=(work,)) for work in (first, second)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert sorted(answers) == ["address_taken", "published"]


# --- a part of it ----------------------------------------------------------------------------------------------------
def test_once_the_doubtful_part_is_known_to_be_live_the_rest_goes_on_by_itself(
    gallery: FakeDeviantArt, make_due: MakeDue
):
    work = partly_live(make_due, b"one", b"two", b"three")
    second, third = confirming.open_parts(work)
    confirm_live(work, user=None, url=address(work), file_id=second.pk, by_hand=True)
    work.refresh_from_db()
    assert (work.status, work.unconfirmed_since) == ("publishing", None)
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    assert work.status == Deviation.Status.PUBLISHED
    assert [item["body"] for item in gallery.items.values()] == [b"three"]
    assert Publication.objects.get(file=third).is_live


def test_a_work_of_several_parts_asks_which_one(gallery: FakeDeviantArt, make_due: MakeDue):
    work = partly_live(make_due, b"one", b"two", b"three")
    with pytest.raises(FieldsRefused) as refusal:
        confirm_live(work, user=None, url=address(work), by_hand=True)
    assert list(refusal.value.details) == ["file_id"]


@pytest.mark.parametrize("reason", ["late", "restored"])
def test_one_part_that_is_live_says_nothing_of_the_others_where_none_was_sent(
    gallery: FakeDeviantArt, make_due: MakeDue, reason: str
):
    work = ask(make_due(b"one", b"two", upload_mode="multiple"), reason)
    first = confirming.open_parts(work)[0]
    confirm_live(work, user=None, url=address(work), file_id=first.pk, by_hand=True)
    work.refresh_from_db()
    assert (work.status, work.reason_code) == ("needs_decision", reason)
    assert len(confirming.open_parts(work)) == 1


def test_a_part_that_is_live_already_or_no_part_at_all_cannot_be_named(gallery: FakeDeviantArt, make_due: MakeDue):
    work = partly_live(make_due, b"one", b"two")
    live = Publication.objects.live().get(deviation=work).file_id
    with pytest.raises(InvalidTransition):
        confirm_live(work, user=None, url=address(work), file_id=live, by_hand=True)
    with pytest.raises(ReferenceNotFound):
        confirm_live(work, user=None, url=address(work), file_id=new_id(), by_hand=True)


# --- in the stash ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("url", ["", "https://sta.sh/01abcdefgh"])
def test_what_lies_in_the_stash_only_its_owner_can_see(gallery: FakeDeviantArt, make_due: MakeDue, url: str):
    work = ask(make_due(stash_only=True), "stash_unconfirmed")
    with pytest.raises(ConfirmationNeeded, match="Nobody but you"):
        confirm_live(work, user=None, url=url)
    confirm_live(work, user=None, url=url, by_hand=True)
    assert Deviation.objects.get(pk=work.pk).status == Deviation.Status.PUBLISHED
    assert Publication.objects.get(deviation=work).url == url
    assert gallery.calls == []


# --- what asks nothing -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", ["draft", "scheduled", "failed"])
def test_only_an_undecided_work_can_be_confirmed(gallery: FakeDeviantArt, make_due: MakeDue, status: str):
    work = make_due()
    Deviation.objects.filter(pk=work.pk).update(status=status, reason_code="refused")
    work.refresh_from_db()
    with pytest.raises(InvalidTransition):
        confirm_live(work, user=None, url=address(work), by_hand=True)


def test_what_was_decided_while_the_gallery_was_read_stays_as_it_was_decided(
    gallery: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    work = late(make_due)

    def meanwhile(*_arguments: Any) -> confirming.Sighting:
        Deviation.objects.filter(pk=work.pk).update(status="draft", reason_code="")
        return confirming.Sighting(None)

    monkeypatch.setattr(confirming, "look_for", meanwhile)
    with pytest.raises(InvalidTransition):
        confirm_live(work, user=None, url=address(work), by_hand=True)
    assert not Publication.objects.filter(deviation=work).exists()


# --- over the wire ---------------------------------------------------------------------------------------------------
@pytest.mark.processes
def test_a_real_server_is_read_back_by_the_address_that_it_gives_out(transactional_db: None, settings: Any):
    with SandboxProcess(app_name="Isekai", seed=5) as sandbox:
        settings.DEVIANTART_BASE_URL = sandbox.base_url
        settings.DEVIANTART_CLIENT_ID, settings.DEVIANTART_CLIENT_SECRET = sandbox.client_id, sandbox.client_secret
        account = connected_account(sandbox, "nightjar")
        (work_id,) = make_works(account, 1, title="Red Kite, Low Sun", seed=5)
        work = Deviation.objects.get(pk=work_id)
        doubtful_part(work, work.files.get())
        ask(work, "unconfirmed")
        client = client_for(account, usable_token(account.pk))
        body = pictures.png(5)
        item = client.submit(
            [body],
            filename="work.png",
            content_type="image/png",
            size=len(body),
            title=work.title,
            is_ai_generated=False,
            noai=False,
        )
        receipt = client.publish(item.item_id, is_mature=False)
        assert receipt.url is not None
        with pytest.raises(ConfirmationNeeded, match="could not see it there"):
            confirm_live(work, user=None, url=receipt.url.replace(receipt.url.rpartition("-")[2], "1"))
        confirm_live(work, user=None, url=receipt.url)
    publication = Publication.objects.get(deviation=work)
    assert (publication.remote_deviation_id, publication.url) == (receipt.deviation_id, receipt.url)
    assert Deviation.objects.get(pk=work_id).status == Deviation.Status.PUBLISHED
