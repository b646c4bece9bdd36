"""How the slots of a process are shared out, and how a slot that was woken goes on."""

import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deviantart.errors import AnswerLost
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.models import Publication, StashItem
from publisher.services import draining, publishing
from publisher.services import slots as slots_module
from publisher.services.agenda import Agenda, work_off
from publisher.services.sending import submission_of
from publisher.services.slots import PLACE, UPLOAD, Slots
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]

# One work with one file, the begin and the end of each transaction included.
MOST_QUERIES_UNSTAGED = 16
MOST_QUERIES_STAGED = 10


@pytest.fixture
def use_slots(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Slots]]:
    """Gives this process so many slots, and an agenda of its own."""

    def use(total: int) -> Slots:
        own = Slots(total)
        monkeypatch.setattr(publishing, "slots", lambda: own)
        publishing.agenda.cache_clear()
        return own

    yield use
    publishing.agenda.cache_clear()


def account_of(work: Deviation) -> UUID:
    assert work.account_id is not None
    return work.account_id


def queries_of(run: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        run()
    return len(queries)


# --- shares ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("total", "uploads"), [(1, 1), (2, 1), (3, 2), (4, 3), (16, 11), (50, 34)])
def test_uploads_take_at_most_two_thirds_and_never_all_of_several_slots(total: int, uploads: int):
    slots = Slots(total)
    taken = 0
    with slots.place() as first:
        assert first is not None
        while first.take_upload():
            taken += 1
            first.has_upload = False
    assert taken == uploads


def test_a_share_is_there_again_once_its_place_is_left(sent: list[Any]):
    slots = Slots(2)
    with slots.place() as place:
        assert place is not None
        assert place.take_upload()
        assert place.take_look_up()
        assert (slots.may_upload, slots.may_look) == (False, False)
    assert (slots.may_upload, slots.may_look, slots.running) == (True, True, 0)


def test_who_was_turned_away_is_woken_as_soon_as_a_share_is_free(sent: list[Any]):
    slots, account_id = Slots(2), new_id()
    with slots.place() as place:
        assert place is not None
        place.take_upload()
        slots.turn_away(account_id, UPLOAD)
        assert sent == []
        place.let_upload_go()
        assert sent == [("publisher.publish_next", str(account_id))]
        place.take_upload()
    assert len(sent) == 1


def test_who_is_turned_away_after_everything_was_given_back_is_woken_at_once(sent: list[Any]):
    slots, account_id = Slots(2), new_id()
    slots.turn_away(account_id, UPLOAD)
    assert sent == [("publisher.publish_next", str(account_id))]


def test_a_work_alone_waits_for_the_others_and_lets_nothing_start(sent: list[Any]):
    slots, account_id = Slots(4), new_id()
    other_runs, other_may_end, alone = threading.Event(), threading.Event(), threading.Event()

    def run_other() -> None:
        with slots.place():
            other_runs.set()
            other_may_end.wait(10)

    def run_alone() -> None:
        with slots.place() as place:
            assert place is not None
            assert place.be_alone()
            alone.set()
            assert slots.running == 1

    threads = [threading.Thread(target=run_other), threading.Thread(target=run_alone)]
    threads[0].start()
    other_runs.wait(10)
    threads[1].start()
    while slots.place_is_free:
        pass
    with slots.place() as refused:
        assert refused is None
    slots.turn_away(account_id, PLACE)
    assert not alone.is_set()
    other_may_end.set()
    for thread in threads:
        thread.join(10)
    assert alone.is_set()
    assert ("publisher.publish_next", str(account_id)) in sent
    with slots.place() as place:
        assert place is not None


def test_who_cannot_be_alone_in_time_lets_the_others_go_on(sent: list[Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slots_module, "ALONE_SECONDS", 0.0)
    slots = Slots(4)
    with slots.place() as place, slots.place():
        assert place is not None
        assert not place.be_alone()
        with slots.place() as third:
            assert third is not None


# --- the claim and the shares ----------------------------------------------------------------------------------------


def test_without_a_free_upload_only_what_is_in_the_stash_goes_out(
    worker: Any, deviantart: FakeDeviantArt, make_due: MakeDue, use_slots: Callable[[int], Slots], sent: list[Any]
):
    slots = use_slots(2)
    staged, unstaged = make_due(b"one"), make_due(b"two")
    put_into_the_stash(staged, deviantart)
    with slots.place() as other:
        assert other is not None
        other.take_upload()
        publishing.publish_next(account_of(unstaged))
        publishing.publish_next(account_of(staged))
        assert [each.title for each in deviantart.deviations] == [staged.title]
        unstaged.refresh_from_db()
        assert (unstaged.status, unstaged.reason_code) == (Deviation.Status.SCHEDULED, "")
    assert ("publisher.publish_next", str(unstaged.account_id)) in sent
    publishing.publish_next(account_of(unstaged))
    unstaged.refresh_from_db()
    assert unstaged.status == Deviation.Status.PUBLISHED


def test_a_work_whose_item_no_longer_fits_is_left_as_it_was_when_no_upload_is_free(
    worker: Any, deviantart: FakeDeviantArt, make_due: MakeDue, use_slots: Callable[[int], Slots], sent: list[Any]
):
    slots = use_slots(2)
    work = make_due()
    put_into_the_stash(work, deviantart)
    Deviation.objects.filter(pk=work.pk).update(title="New words")
    with slots.place() as other:
        assert other is not None
        other.take_upload()
        publishing.publish_next(account_of(work))
    work.refresh_from_db()
    assert (work.status, work.lease_id, work.next_attempt_at) == (Deviation.Status.SCHEDULED, None, None)
    assert work.publications.get().failures == 0
    assert ("publisher.publish_next", str(work.account_id)) in sent


def test_while_something_is_looked_up_other_doubtful_works_wait_and_are_woken(
    worker: Any, deviantart: FakeDeviantArt, make_due: MakeDue, use_slots: Callable[[int], Slots], sent: list[Any]
):
    slots = use_slots(4)
    work, other = make_due(), make_due(b"other")
    deviantart.publish_answers.append((AnswerLost(), "after"))
    publishing.publish_next(account_of(work))
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=clock.now())
    with slots.place() as place:
        assert place is not None
        place.take_look_up()
        publishing.publish_next(account_of(work))
        publishing.publish_next(account_of(other))
        assert "gallery" not in deviantart.calls
        other.refresh_from_db()
        assert other.status == Deviation.Status.PUBLISHED
        wakes_before = len(sent)
        assert ("publisher.publish_next", str(work.account_id)) not in sent[1:]
    assert sent[wakes_before:] == [("publisher.publish_next", str(work.account_id))]
    publishing.publish_next(account_of(work))
    assert "gallery" in deviantart.calls


def test_the_upload_share_is_free_while_the_publish_call_runs(
    worker: Any, deviantart: FakeDeviantArt, make_due: MakeDue, use_slots: Callable[[int], Slots]
):
    slots = use_slots(2)
    seen: list[bool] = []
    deviantart.before_publish = lambda: seen.append(slots.may_upload)
    publishing.publish_next(account_of(make_due()))
    assert seen == [True]


def put_into_the_stash(work: Deviation, deviantart: FakeDeviantArt) -> StashItem:
    """As if it had been uploaded ahead of its time."""
    file = work.files.get()
    part = Publication.objects.create(deviation=work, file=file, account=work.account, state="submitted")
    submission = submission_of(part, work, file.variants.get(kind="publish"))
    receipt = deviantart._keep(b"a picture", {"title": work.title})
    return StashItem.objects.create(
        publication=part,
        account=work.account,
        item_id=receipt.item_id,
        fingerprint=submission.fingerprint(work.account_id),
    )


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_woken_slot_goes_on_with_whatever_is_due(
    worker: Any,
    deviantart: FakeDeviantArt,
    make_due: MakeDue,
    use_slots: Callable[[int], Slots],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(publishing, "GO_ON_SECONDS", 600.0)
    use_slots(4)
    works = [make_due(str(number).encode()) for number in range(5)]
    make_due(b"same", account=works[0].account, workspace=works[0].workspace)
    publishing.publish_next(account_of(works[0]), keep_going=True)
    assert len(deviantart.deviations) == 6
    assert not Deviation.objects.exclude(status=Deviation.Status.PUBLISHED).exists()


def test_a_slot_whose_time_is_over_wakes_the_next(
    worker: Any,
    deviantart: FakeDeviantArt,
    make_due: MakeDue,
    use_slots: Callable[[int], Slots],
    sent: list[Any],
    monkeypatch: pytest.MonkeyPatch,
):
    use_slots(4)
    monkeypatch.setattr(publishing, "GO_ON_SECONDS", 0.0)
    works = [make_due(str(number).encode()) for number in range(3)]
    publishing.publish_next(account_of(works[0]), keep_going=True)
    left = Deviation.objects.filter(status=Deviation.Status.SCHEDULED)
    assert left.count() == 2
    assert len(sent) == 1
    assert sent[0][1] in {str(work.account_id) for work in left}


def test_a_process_that_is_to_end_claims_nothing_more(
    worker: Any,
    deviantart: FakeDeviantArt,
    make_due: MakeDue,
    use_slots: Callable[[int], Slots],
    monkeypatch: pytest.MonkeyPatch,
):
    use_slots(4)
    monkeypatch.setattr(draining, "stopping", lambda: bool(deviantart.deviations))
    works = [make_due(str(number).encode()) for number in range(3)]
    publishing.publish_next(account_of(works[0]), keep_going=True)
    assert len(deviantart.deviations) == 1


def test_an_agenda_hands_an_account_to_one_thread_at_a_time():
    account_id = new_id()
    agenda = Agenda(lambda: [account_id])
    assert agenda.next() == account_id
    agenda.found()
    assert agenda.next() is None


def test_an_agenda_that_was_empty_is_read_again_after_a_moment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("publisher.services.agenda.PAUSE_SECONDS", 0.0)
    account_id = new_id()
    batches = [[], [account_id]]
    agenda = Agenda(lambda: batches.pop(0))
    assert (agenda.next(), agenda.next()) == (None, account_id)


def test_an_agenda_of_which_nothing_can_be_taken_up_is_not_read_again_at_once():
    reads: list[int] = []

    def read() -> list[UUID]:
        reads.append(1)
        return [new_id()]

    agenda = Agenda(read)
    first = agenda.next()
    assert first is not None
    agenda.done(first)
    assert (agenda.next(), agenda.next(), len(reads)) == (None, None, 1)


def test_an_account_is_handed_out_again_after_its_turn_broke_off():
    account_id, other = new_id(), new_id()
    agenda = Agenda(lambda: [account_id])
    with pytest.raises(ZeroDivisionError):
        work_off(agenda, other, do=lambda each: each == other or 1 / 0 > 1, go_on=lambda: True)
    agenda.found()
    assert agenda.next() == account_id


# --- statements ------------------------------------------------------------------------------------------------------


def test_a_work_takes_few_statements_however_many_others_there_are(
    worker: Any, deviantart: FakeDeviantArt, make_due: MakeDue
):
    def once(body: bytes) -> int:
        work = make_due(body)
        return queries_of(lambda: publishing.publish_next(account_of(work)))

    once(b"warm")  # what is remembered for the process
    alone = once(b"alone")
    for number in range(20):
        make_due(f"other {number}".encode())
    assert once(b"among others") == alone <= MOST_QUERIES_UNSTAGED


def test_a_staged_work_takes_few_statements_however_many_others_there_are(
    worker: Any, deviantart: FakeDeviantArt, make_due: MakeDue
):
    def once(body: bytes) -> int:
        work = make_due(body)
        put_into_the_stash(work, deviantart)
        return queries_of(lambda: publishing.publish_next(account_of(work)))

    alone = once(b"alone")
    for number in range(20):
        make_due(f"other {number}".encode())
    assert once(b"among others") == alone <= MOST_QUERIES_STAGED
