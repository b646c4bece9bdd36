"""What happens at the same moment, on real connections: each outcome is one that an order of the two would have."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from accounts.models import AuditEvent, DeviantArtAccount, Workspace
from deviations.errors import AlreadyOnItsWay, Busy, DeviationError, UploadNotUsable, VersionConflict
from deviations.models import Deviation, DeviationFile, Upload
from deviations.services.drafting import add_files, create_draft, edit_deviation, remove_file
from deviations.services.scheduling import (
    cancel_many,
    cancel_schedule,
    publish_many_now,
    publish_now,
    schedule_deviation,
    schedule_many,
)
from deviations.services.trashing import trash_deviation
from isekai import clock
from isekai.ids import new_id
from publisher.services.claiming import Claim, claim_next
from tests.deviations.races import at_once, beside, row_held
from tests.unchanged import everything

MakeWork = Callable[..., Deviation]
ROUNDS = 8

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]


@pytest.fixture
def account(transactional_db: None, workspace: Workspace, account: DeviantArtAccount, settings: Any) -> Any:
    account.base_url = settings.DEVIANTART_BASE_URL
    account.save()
    return account


def errors_in(outcomes: list[Any]) -> list[type[DeviationError]]:
    return [type(outcome) for outcome in outcomes if isinstance(outcome, DeviationError)]


def last_event_of(work: Deviation) -> str:
    return AuditEvent.objects.filter(subject_id=work.pk).latest("id").verb


def test_of_two_who_schedule_what_they_have_seen_one_wins(make_work: MakeWork, account: DeviantArtAccount) -> None:
    for hours in range(1, ROUNDS):
        work = make_work(account)
        moments = [clock.now() + timedelta(hours=hours), clock.now() + timedelta(days=hours)]
        outcomes = at_once(
            *(partial(schedule_deviation, work, user=None, scheduled_at=at, version=1) for at in moments)
        )
        assert errors_in(outcomes) == [VersionConflict]
        (winner,) = [outcome for outcome in outcomes if isinstance(outcome, Deviation)]
        work.refresh_from_db()
        assert (work.publish_at, work.version) == (winner.publish_at, 2)
        assert AuditEvent.objects.filter(subject_id=work.pk).count() == 1


def test_of_a_cancel_and_a_publish_now_the_later_one_holds(make_work: MakeWork, account: DeviantArtAccount) -> None:
    for _round in range(ROUNDS):
        work = schedule_deviation(make_work(account), user=None, scheduled_at=clock.now() + timedelta(hours=1))
        outcomes = at_once(partial(cancel_schedule, work, user=None), partial(publish_now, work, user=None))
        assert errors_in(outcomes) == []
        work.refresh_from_db()
        expected = {"deviation.cancelled": "draft", "deviation.publish_now": "scheduled"}
        assert work.status == expected[last_event_of(work)]
        assert work.version == 4


def test_an_upload_becomes_a_file_of_one_work_alone(make_upload: Callable[..., Upload], workspace: Workspace) -> None:
    for _round in range(ROUNDS):
        upload = make_upload(workspace)
        outcomes = at_once(*[partial(create_draft, workspace, user=None, upload_ids=[upload.pk])] * 2)
        assert errors_in(outcomes) == [UploadNotUsable]
        upload.refresh_from_db()
        assert DeviationFile.objects.get(storage_key=upload.storage_key).deviation_id == upload.deviation_id


def test_files_that_are_added_at_once_all_get_a_place(make_upload: Callable[..., Upload], workspace: Workspace) -> None:
    work = create_draft(workspace, user=None)
    uploads = [make_upload(workspace) for _number in range(6)]
    outcomes = at_once(*(partial(add_files, work, user=None, upload_ids=[upload.pk]) for upload in uploads))
    assert errors_in(outcomes) == []
    assert list(work.files.values_list("position", flat=True)) == list(range(6))


@pytest.mark.parametrize(
    "late",
    [
        partial(cancel_schedule, user=None),
        partial(publish_now, user=None),
        partial(trash_deviation, user=None),
        partial(edit_deviation, user=None, title="Too late"),
        lambda work: schedule_deviation(work, user=None, scheduled_at=clock.now() + timedelta(hours=2)),
        lambda work: remove_file(work, user=None, file_id=work.files.get().pk),
    ],
)
def test_what_comes_while_a_work_is_being_claimed_comes_too_late(
    make_work: MakeWork, account: DeviantArtAccount, late: Callable[[Deviation], Deviation]
) -> None:
    work = schedule_deviation(make_work(account), user=None, scheduled_at=clock.now() + timedelta(hours=1))
    with row_held(work) as row:
        answer = beside(lambda: late(work))
        assert not answer.done(), "it waits for the claim"
        row.move_to(Deviation.Status.UPLOADING)
        row.hold(worker_id=new_id(), lease_id=new_id())
        row.save()
        before_commit = everything()
    assert isinstance(answer.result(timeout=10), AlreadyOnItsWay)
    assert everything() == before_commit


def test_a_work_is_either_cancelled_or_claimed(make_work: MakeWork, account: DeviantArtAccount) -> None:
    for _round in range(ROUNDS):
        work = publish_now(make_work(account), user=None)
        claim, cancelled = at_once(partial(claim_next, account.pk, new_id()), partial(cancel_schedule, work, user=None))
        work.refresh_from_db()
        if isinstance(claim, Claim):
            assert isinstance(cancelled, AlreadyOnItsWay)
            assert (work.status, work.lease_id) == ("uploading", claim.lease_id)
        else:
            assert claim is None
            assert isinstance(cancelled, Deviation)
            assert (work.status, work.lease_id) == ("draft", None)
        Deviation.objects.all().delete()


def test_a_row_that_somebody_holds_for_long_is_answered_as_busy(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    work = make_work(account)
    before = everything()
    with row_held(work):
        assert isinstance(beside(partial(trash_deviation, work, user=None)).result(timeout=10), Busy)
    assert everything() == before


def test_a_row_that_somebody_holds_keeps_none_of_many_back(make_work: MakeWork, account: DeviantArtAccount) -> None:
    works = [make_work(account) for _number in range(5)]
    ids = [work.pk for work in works]
    with row_held(works[2]):
        result = beside(partial(publish_many_now, Deviation.objects.all(), user=None, ids=ids)).result(timeout=10)
    assert [type(item.error) for item in result.items] == [type(None), type(None), Busy, type(None), type(None)]
    assert Deviation.objects.filter(status="scheduled").count() == 4


def test_two_who_change_the_same_many_never_block_each_other_for_good(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    ids = [make_work(account).pk for _number in range(30)]
    works, moment = Deviation.objects.all(), clock.now() + timedelta(hours=1)
    for _round in range(ROUNDS // 2):
        outcomes = at_once(
            partial(schedule_many, works, user=None, ids=ids, scheduled_at=moment),
            partial(cancel_many, works, user=None, ids=ids[::-1]),
        )
        assert all(item.error is None for outcome in outcomes for item in outcome.items)
        assert works.values_list("status", flat=True).distinct().count() == 1
