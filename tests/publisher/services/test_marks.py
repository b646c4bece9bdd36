"""What was published is remembered outside the database, and a database that has forgotten some is noticed."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisAway

from accounts.models import AuditEvent, DeviantArtAccount
from deviations import storage
from deviations.errors import StorageUnavailable
from isekai import clock
from publisher.models import Attempt, Publication
from publisher.services import marks
from publisher.services.marks import Keeper, Mark, MarkUnknown
from tests.factories import DueDeviationFactory

NOW = clock.now()
ids = st.lists(st.integers(1, 10_000), unique=True, max_size=200)


@pytest.fixture(autouse=True)
def installation(transactional_db: None) -> Iterator[str]:
    """One that no other test has left marks of."""
    yield marks.become_another_installation()
    marks.flush(5)
    marks.forget_everything()


@pytest.fixture
def keeper() -> Keeper:
    """This process, after it has compared a database that knows everything."""
    keeper = marks.keeper()
    keeper.learn(Mark(), server=marks.current_server())
    return keeper


def published(count: int = 1) -> list[int]:
    """Attempts of works that the database knows to be live."""
    work = DueDeviationFactory()
    part = Publication.objects.create(deviation=work, file=work.files.get(), account=work.account)
    now = clock.now()
    made = [
        Attempt.objects.create(
            publication=part,
            step="publish",
            outcome="done",
            started_at=now,
            ended_at=now,
            lease_id=uuid4(),
            worker_id=uuid4(),
        )
        for _number in range(count)
    ]
    return [each.pk for each in made]


def another_process(installation: str) -> Keeper:
    return Keeper(installation)


@given(ids, ids)
def test_two_marks_together_are_the_latest_of_both(one: list[int], other: list[int]):
    both = Mark(tuple(sorted(one))) | Mark(tuple(sorted(other)))
    assert both.attempt_ids == tuple(sorted({*one, *other})[-marks.KEPT :])
    assert both.greatest == max([*one, *other], default=0)


def test_a_database_that_knows_every_publish_is_not_behind(keeper: Keeper):
    for attempt_id in published(3):
        marks.raise_mark(attempt_id)
    assert not marks.database_is_behind()
    assert not marks.has_changed()


def test_one_missing_publish_is_noticed_although_later_ones_are_there(keeper: Keeper):
    first, second, third = published(3)
    for attempt_id in (first, second, third):
        marks.raise_mark(attempt_id)
    Attempt.objects.filter(pk=second).delete()
    assert marks.missing(marks.known_mark()) == (second,)


def test_a_publish_whose_evidence_is_gone_is_missing_although_its_attempt_is_there(keeper: Keeper):
    (attempt_id,) = published()
    marks.raise_mark(attempt_id)
    Attempt.objects.filter(pk=attempt_id).update(outcome=None, ended_at=None)
    assert marks.database_is_behind()


def test_what_was_dealt_with_is_no_longer_missing(keeper: Keeper):
    marks.raise_mark(77)
    assert marks.database_is_behind()
    AuditEvent.objects.create(
        verb=marks.FORGOTTEN, subject_type="installation", subject_id=marks.INSTALLATION_ID, params={"attempt_id": 80}
    )
    assert not marks.database_is_behind()
    marks.raise_mark(81)
    assert marks.database_is_behind()


def test_a_process_that_begins_learns_the_mark_from_redis_and_from_the_bucket(keeper: Keeper, installation: str):
    marks.raise_mark(5, NOW)
    assert marks.flush(10)
    assert another_process(installation).read() == Mark((5,), NOW)


def test_a_redis_that_was_emptied_loses_nothing(keeper: Keeper, installation: str):
    marks.raise_mark(5, NOW)
    assert marks.flush(10)
    marks._redis().delete(marks._redis_key(installation), marks._redis_key(installation) + ":at")
    assert another_process(installation).read() == Mark((5,), NOW)


def test_a_bucket_that_is_away_delays_nothing_and_is_written_once_it_is_back(
    keeper: Keeper, installation: str, monkeypatch: pytest.MonkeyPatch
):
    def away(*_arguments: Any) -> None:
        raise StorageUnavailable

    write = storage.write_note
    monkeypatch.setattr(marks, "REPEAT_SECONDS", 0.05)
    monkeypatch.setattr(storage, "write_note", away)
    monkeypatch.setattr(storage, "read_notes", away)
    marks.raise_mark(5, NOW)
    assert not marks.flush(0.3)
    assert another_process(installation).read() == Mark((5,), NOW)  # Redis has it
    monkeypatch.setattr(storage, "write_note", write)
    assert marks.flush(10)
    monkeypatch.undo()
    (stored,) = storage.read_notes(storage.marks_folder(installation))
    assert json.loads(stored.body)["attempt_ids"] == [5]


def test_a_redis_that_is_away_leaves_the_bucket_to_tell(
    keeper: Keeper, installation: str, monkeypatch: pytest.MonkeyPatch
):
    marks.raise_mark(5, NOW)
    assert marks.flush(10)

    def away() -> None:
        raise RedisAway

    monkeypatch.setattr(marks, "_redis", type("Away", (), {"pipeline": staticmethod(away)}))
    assert another_process(installation).read() == Mark((5,), NOW)


def test_without_redis_and_bucket_nobody_knows_and_nothing_is_assumed(
    installation: str, monkeypatch: pytest.MonkeyPatch
):
    def away(*_arguments: Any) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(storage, "read_notes", away)
    # An empty Redis may just have been emptied.
    with pytest.raises(MarkUnknown):
        another_process(installation).read()


def test_two_processes_never_lower_each_others_mark(keeper: Keeper, installation: str):
    other = another_process(installation)
    marks.raise_mark(9, NOW)
    other.raise_to(Mark((3,), NOW - timedelta(hours=1)))
    assert marks.flush(10)
    assert other.flush(10)
    assert another_process(installation).read() == Mark((3, 9), NOW)


def test_the_object_of_a_process_that_is_long_gone_is_taken_over(
    keeper: Keeper, installation: str, monkeypatch: pytest.MonkeyPatch
):
    marks.raise_mark(9, NOW)
    assert marks.flush(10)
    monkeypatch.setattr(marks, "FORSAKEN", timedelta(0))
    successor = another_process(installation)
    assert successor.read().greatest == 9
    (left,) = storage.read_notes(storage.marks_folder(installation))
    assert (left.name, json.loads(left.body)["attempt_ids"]) == (successor._name, [9])


def test_an_object_that_cannot_be_read_hides_no_other(keeper: Keeper, installation: str):
    storage.write_note(storage.marks_folder(installation), "broken", b"{")
    marks.raise_mark(9, NOW)
    assert marks.flush(10)
    assert another_process(installation).read().greatest == 9


def test_marks_of_another_installation_say_nothing(keeper: Keeper):
    marks.raise_mark(9, NOW)
    assert marks.flush(10)
    assert another_process(marks.become_another_installation()).read() == Mark()


def test_a_process_that_is_no_publisher_remembers_nothing():
    marks.raise_mark(5)
    assert marks.known_mark() == Mark()


def test_raising_asks_the_database_nothing(keeper: Keeper):
    with CaptureQueriesContext(connection) as queries:
        marks.raise_mark(5)
    assert len(queries) == 0


# --- the condition that claims carry ---------------------------------------------------------------------------------
def holds() -> bool:
    """The condition as a queryset and as a statement that is written out; both say the same."""
    DueDeviationFactory()
    by_queryset = DeviantArtAccount.objects.filter(marks.mark_condition()).exists()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {marks.MARK_SQL}", marks.mark_params())
        (by_statement,) = cursor.fetchone()
    assert by_queryset == by_statement
    return by_queryset


def test_a_process_that_has_not_compared_carries_no_condition():
    assert holds()


def test_a_database_that_knows_the_latest_publish_may_be_claimed_from(keeper: Keeper):
    assert holds()
    (attempt_id,) = published()
    marks.raise_mark(attempt_id)
    assert holds()


def test_a_database_that_lacks_the_latest_publish_is_never_claimed_from(keeper: Keeper):
    marks.raise_mark(4711)
    assert not holds()


def test_another_database_is_not_claimed_from_before_it_was_compared(keeper: Keeper):
    keeper.learn(Mark(), server="another/00000001/1/1")
    assert not holds()
    assert marks.has_changed()


def test_tables_that_were_filled_anew_are_another_database(keeper: Keeper):
    before = marks.current_server()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE publisher_attempt")
    assert marks.current_server() != before
    assert not holds()


def test_ids_of_attempts_go_on_behind_what_was_forgotten(installation: str):
    (before,) = published()
    marks.move_attempts_past(before + 500)
    marks.move_attempts_past(before + 100)  # never back
    assert published()[0] > before + 500
