"""Taking back what was just done."""

from datetime import timedelta

import pytest

from deviations.models import Deviation
from deviations.services.readying import set_many_ready
from deviations.services.scheduling import cancel_many, publish_many_now, schedule_many
from deviations.services.trashing import trash_many
from deviations.services.undoing import undo_change
from isekai import clock
from isekai.ids import new_id
from tests.factories import DueDeviationFactory, UserFactory


@pytest.fixture
def works():
    return Deviation.objects.all()


@pytest.fixture
def timed(account, sent):
    moment = clock.now() + timedelta(days=2)
    return DueDeviationFactory(workspace=account.workspace, account=account, scheduled_at=moment, publish_at=moment)


def undo(works, user, result):
    return undo_change(works, user=user, bulk_id=result.id, ids=[item.id for item in result.items])


def test_what_was_cancelled_gets_its_moment_back(works, artist, timed):
    result = cancel_many(works, user=artist, ids=[timed.pk])
    (item,) = undo(works, artist, result).items
    assert item.error is None
    assert (item.deviation.status, item.deviation.publish_at) == ("scheduled", timed.publish_at)


def test_what_was_scheduled_becomes_a_draft(works, artist, account, make_work, sent):
    work = make_work(account)
    result = schedule_many(works, user=artist, ids=[work.pk], scheduled_at=clock.now() + timedelta(days=1))
    (item,) = undo(works, artist, result).items
    assert (item.deviation.status, item.deviation.publish_at) == ("draft", None)


@pytest.mark.parametrize("ready", [True, False])
def test_what_was_made_ready_or_kept_from_automations_is_so_no_more(works, artist, account, make_work, ready):
    work = make_work(account, ready_at=None if ready else clock.now())
    result = set_many_ready(works, user=artist, ids=[work.pk], ready=ready)
    (item,) = undo(works, artist, result).items
    assert item.error is None
    assert (Deviation.objects.get(pk=work.pk).ready_at is not None) != ready


def test_what_was_ready_before_stays_so_when_others_are_taken_back(works, artist, account, make_work):
    draft, ready = make_work(account), make_work(account, ready_at=clock.now())
    result = set_many_ready(works, user=artist, ids=[draft.pk, ready.pk], ready=True)
    undo(works, artist, result)
    assert list(works.filter(ready_at__isnull=False)) == [ready]


def test_what_was_moved_goes_back(works, artist, timed):
    result = schedule_many(works, user=artist, ids=[timed.pk], scheduled_at=clock.now() + timedelta(days=9))
    (item,) = undo(works, artist, result).items
    assert item.deviation.publish_at == timed.publish_at


def test_what_was_trashed_comes_back_as_it_was(works, artist, account, make_work, timed):
    draft = make_work(account)
    result = trash_many(works, user=artist, ids=[timed.pk, draft.pk])
    items = undo(works, artist, result).items
    assert [item.error for item in items] == [None, None]
    assert {item.deviation.status for item in items} == {"scheduled", "draft"}
    assert not works.trashed().exists()


def test_a_work_that_went_out_meanwhile_is_left_alone(works, artist, account, make_work, timed):
    other = make_work(account)
    result = schedule_many(works, user=artist, ids=[timed.pk, other.pk], scheduled_at=clock.now() + timedelta(days=1))
    Deviation.objects.filter(pk=timed.pk).update(status="uploading", worker_id=new_id(), lease_id=new_id())
    first, second = undo(works, artist, result).items
    assert (first.deviation, first.error.code) == (None, "already_on_its_way")
    assert second.deviation.status == "draft"


def test_publishing_now_cannot_be_undone(works, artist, timed):
    result = publish_many_now(works, user=artist, ids=[timed.pk])
    (item,) = undo(works, artist, result).items
    assert item.error.code == "invalid_transition"
    timed.refresh_from_db()
    assert timed.status == "scheduled"


def test_only_whoever_did_it_undoes_it(works, artist, timed):
    result = cancel_many(works, user=artist, ids=[timed.pk])
    (item,) = undo(works, UserFactory(), result).items
    assert item.error.code == "invalid_transition"
    timed.refresh_from_db()
    assert timed.status == "draft"


def test_works_that_may_not_be_seen_are_not_undone(works, artist, timed):
    result = cancel_many(works, user=artist, ids=[timed.pk])
    (item,) = undo(works.none(), artist, result).items
    assert (item.deviation, item.error) == (None, None)
    timed.refresh_from_db()
    assert timed.status == "draft"
