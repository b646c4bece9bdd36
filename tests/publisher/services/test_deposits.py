"""What is put into a stash for good is remembered in the bucket, before it is done and after."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from deviantart.errors import AnswerLost, Rejected
from deviations import storage
from deviations.errors import StorageUnavailable
from deviations.models import Deviation
from isekai import clock
from publisher.models import StashItem, Worker
from publisher.services import deposits, marks, publishing
from publisher.services.deposits import Deposit, deposits_since
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def installation(transactional_db: None) -> Iterator[str]:
    """One that no other test has left deposits of."""
    yield marks.become_another_installation()
    marks.forget_everything()


@pytest.fixture
def work(make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt) -> Deviation:
    return make_due(stash_only=True)


def run(work: Deviation) -> Deviation:
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    return work


def known(work: Deviation, *, since: timedelta = HOUR) -> list[Deposit]:
    assert work.account_id is not None
    return deposits_since(work.account_id, clock.now() - since)


def folder_of(work: Deviation) -> str:
    assert work.account_id is not None
    return storage.deposits_folder(marks.installation_name(), work.account_id)


def test_an_upload_that_arrived_is_known_with_its_item(work: Deviation):
    run(work)
    (deposit,) = known(work)
    item = StashItem.objects.get()
    assert (deposit.file_id, deposit.item_id) == (work.files.get().pk, item.item_id)
    assert deposit.fingerprint == item.fingerprint


def test_it_is_written_down_before_anything_leaves(
    work: Deviation, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    seen = []
    submit = deviantart.submit

    def watched(*arguments: Any, **fields: Any) -> Any:
        seen.extend(known(work))
        return submit(*arguments, **fields)

    monkeypatch.setattr(deviantart, "submit", watched)
    run(work)
    assert [each.item_id for each in seen] == [None]


def test_without_the_bucket_nothing_leaves_and_the_work_keeps_its_turn(
    work: Deviation, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    def away(*_arguments: Any) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(storage, "write_note", away)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "storage_unavailable")
    assert deviantart.calls == []


def test_a_bucket_that_goes_away_after_the_call_changes_nothing_for_the_work(
    work: Deviation, monkeypatch: pytest.MonkeyPatch
):
    def away(*_arguments: Any) -> None:
        raise StorageUnavailable

    begin = deposits.begin

    def begin_then_away(*arguments: Any, **options: Any) -> deposits.Begun:
        begun = begin(*arguments, **options)
        monkeypatch.setattr(storage, "write_note", away)
        return begun

    monkeypatch.setattr(deposits, "begin", begin_then_away)
    assert run(work).status == Deviation.Status.PUBLISHED
    assert [each.item_id for each in known(work)] == [None]


def test_an_upload_without_an_answer_stays_one_of_which_nobody_knows(work: Deviation, deviantart: FakeDeviantArt):
    deviantart.submit_answers.append((AnswerLost(), "after"))
    run(work)
    assert [each.item_id for each in known(work)] == [None]


def test_an_upload_that_was_refused_is_taken_back(work: Deviation, deviantart: FakeDeviantArt):
    deviantart.submit_answers.append(Rejected(description="No."))
    run(work)
    assert known(work) == []


def test_what_one_lease_takes_back_another_one_still_knows(work: Deviation, deviantart: FakeDeviantArt):
    deviantart.submit_answers.extend([(AnswerLost(), "after"), Rejected(description="No.")])
    run(work)
    Deviation.objects.filter(pk=work.pk).update(status="scheduled", reason_code="", next_attempt_at=None)
    work.publications.get().attempts.update(outcome="refused", ended_at=clock.now())
    run(work)
    assert deviantart.calls == ["submit", "submit"]
    assert [each.item_id for each in known(work)] == [None]


def test_works_that_are_to_be_published_need_no_deposit(make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt):
    assert known(run(make_due())) == []


def test_older_ones_are_not_read(work: Deviation):
    run(work)
    assert known(work, since=-HOUR) == []


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"item_id": "x", "fingerprint": ""}'])
def test_one_that_cannot_be_read_says_that_it_was_begun(work: Deviation, body: bytes):
    run(work)
    (deposit,) = known(work)
    folder = folder_of(work)
    for note in storage.read_notes(folder):
        storage.write_note(folder, note.name, body)
    assert [(each.file_id, each.item_id) for each in known(work)] == [(deposit.file_id, None)]


def test_deposits_of_files_that_are_gone_are_forgotten(work: Deviation, monkeypatch: pytest.MonkeyPatch):
    run(work)
    folder = folder_of(work)
    storage.write_note(folder, f"{work.pk}.x", b"{}")  # no file has this id
    storage.write_note(folder, "no-id", b"{}")
    assert deposits.forget_gone() == 0  # they are young
    monkeypatch.setattr(deposits, "FORSAKEN", timedelta(0))
    assert (deposits.forget_gone(), deposits.forget_gone()) == (2, 0)
    assert len(known(work)) == 1
