"""A publisher compares before its first claim, and again whenever another database answers."""

import threading
from collections.abc import Callable, Iterator

import pytest

from deviations import storage
from deviations.errors import StorageUnavailable
from deviations.models import Deviation
from isekai import clock
from publisher.models import GalleryCheck, Worker
from publisher.services import clocks, guarding, marks, publishing
from publisher.services.marks import Mark
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]


@pytest.fixture(autouse=True)
def fresh_process(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    marks.become_another_installation()
    # The thread that goes on watching would outlive its test.
    monkeypatch.setattr(guarding, "_watch_for_ever", lambda: None)
    monkeypatch.setattr(guarding, "REPEAT_SECONDS", 0.05)
    yield
    marks.forget_everything()
    clocks.forget_measures()


def run(work: Deviation) -> str:
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    return work.status


def test_a_process_that_begins_on_a_complete_database_publishes_and_remembers(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt
):
    guarding.begin()
    assert run(make_due()) == Deviation.Status.PUBLISHED
    assert marks.flush(10)
    known = marks.Keeper(marks.installation_name()).read()
    assert known.attempt_ids
    assert not marks.database_is_behind(known)
    guarding.end()


def test_a_stash_only_work_is_remembered_as_well(make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt):
    guarding.begin()
    assert run(make_due(stash_only=True)) == Deviation.Status.PUBLISHED
    assert len(marks.known_mark().attempt_ids) == 1


def test_it_does_not_begin_while_nobody_can_say_what_was_published(monkeypatch: pytest.MonkeyPatch):
    answered = threading.Event()
    read = storage.read_notes

    def away(folder: str) -> list[storage.Note]:
        if not answered.is_set():
            raise StorageUnavailable
        return read(folder)

    monkeypatch.setattr(storage, "read_notes", away)
    begun = threading.Thread(target=guarding.begin)
    begun.start()
    begun.join(0.5)
    assert begun.is_alive()
    answered.set()
    begun.join(30)
    assert not begun.is_alive()


def test_after_another_database_answers_nothing_is_claimed_until_it_was_compared(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt
):
    guarding.begin()
    marks.keeper().server = "another"
    work = make_due()
    assert run(work) == Deviation.Status.SCHEDULED
    guarding.watch()
    assert run(work) == Deviation.Status.PUBLISHED


def test_a_running_process_that_finds_its_database_behind_has_the_galleries_read(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt
):
    work = make_due()
    guarding.begin()
    marks.keeper().raise_to(Mark((4711,), clock.now()))
    assert run(work) == Deviation.Status.SCHEDULED
    guarding.watch()
    assert GalleryCheck.objects.pending().filter(account=work.account).exists()
    assert run(work) == Deviation.Status.SCHEDULED
    GalleryCheck.objects.update(done_at=clock.now())
    assert run(work) == Deviation.Status.PUBLISHED
    assert not marks.has_changed()
