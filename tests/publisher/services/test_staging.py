"""Uploading ahead of time: no state of a work, a lane of its own, and nothing that goes wrong in it counts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from accounts.models import DeviantArtAccount
from accounts.services.tokens import Token
from deviantart.errors import AnswerLost, ItemNotFound, RateLimited, Rejected, TokenExpired, Unreachable
from deviantart.types import SubmitReceipt
from deviations import storage
from deviations.models import Deviation, FileVariant
from deviations.services import scheduling
from isekai import clock
from publisher.errors import ClaimLost
from publisher.models import Attempt, Publication, StashItem, Worker
from publisher.services import evidence, job, publishing, rescuing, staging
from publisher.services.claiming import claim_next
from publisher.services.slots import slots
from publisher.services.staging import claim_stage, stage_due, stage_next
from tests.fakes import FakeDeviantArt
from tests.publisher.services.test_rescuing import bury, in_threads

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(autouse=True)
def stage_half_an_hour_ahead(settings: Any) -> Iterator[None]:
    settings.PUBLISHER_STAGE_AHEAD_SECONDS = 1800
    staging.agenda.cache_clear()
    yield
    staging.agenda.cache_clear()


@pytest.fixture
def make_coming(make_due: MakeDue) -> MakeDue:
    """Makes works that are due in ten minutes, or ``in_seconds``."""

    def make(*bodies: bytes, in_seconds: float = 600, **fields: Any) -> Deviation:
        moment = clock.now() + timedelta(seconds=in_seconds)
        return make_due(*bodies, scheduled_at=moment, publish_at=moment, **fields)

    return make


def account_of(work: Deviation) -> UUID:
    assert work.account_id is not None
    return work.account_id


def stage(work: Deviation) -> Deviation:
    stage_next(account_of(work))
    work.refresh_from_db()
    return work


def come(work: Deviation) -> Deviation:
    """Its moment is now."""
    moment = clock.now() - timedelta(milliseconds=1)
    Deviation.objects.filter(pk=work.pk).update(scheduled_at=moment, publish_at=moment)
    publishing.publish_next(account_of(work))
    work.refresh_from_db()
    return work


def edit(work: Deviation, **fields: Any) -> None:
    Deviation.objects.filter(pk=work.pk).update(updated_at=clock.now(), **fields)


def item_states() -> list[str]:
    return list(StashItem.objects.order_by("created_at", "item_id").values_list("state", flat=True))


# --- what it is for --------------------------------------------------------------------------------------------------


def test_a_coming_work_is_uploaded_and_at_its_moment_only_published(deviantart: FakeDeviantArt, make_coming: MakeDue):
    work = stage(make_coming())
    part = work.publications.get()
    assert (work.status, work.lease_id, work.reason_code) == (Deviation.Status.SCHEDULED, None, "")
    assert (part.state, part.stage_lease_id) == (Publication.State.SUBMITTED, None)
    assert deviantart.calls == ["submit"]
    assert come(work).status == Deviation.Status.PUBLISHED
    assert deviantart.calls == ["submit", "publish"]


def test_nothing_is_published_before_its_moment(deviantart: FakeDeviantArt, make_coming: MakeDue):
    work = stage(make_coming())
    publishing.publish_next(account_of(work))
    assert deviantart.deviations == []


def test_every_part_of_a_work_with_several_is_uploaded(deviantart: FakeDeviantArt, make_coming: MakeDue):
    work = make_coming(b"one", b"two", upload_mode=Deviation.UploadMode.MULTIPLE)
    for _ in range(3):
        stage(work)
    assert deviantart.calls == ["submit", "submit"]
    come(work)
    publishing.publish_next(account_of(work))
    assert deviantart.calls == ["submit", "submit", "publish", "publish"]


@pytest.mark.parametrize(
    "fields", [{"in_seconds": 3600}, {"in_seconds": -1}, {"in_seconds": 0.1}, {"stash_only": True}, {"status": "draft"}]
)
def test_what_is_not_to_be_uploaded_ahead_is_let_be(
    deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any], fields: dict[str, Any]
):
    work = make_coming(**fields)
    assert stage_due() == 0
    stage(work)
    assert deviantart.calls == []


def test_a_held_accounts_works_are_not_uploaded(deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any]):
    work = make_coming()
    DeviantArtAccount.objects.filter(pk=work.account_id).update(paused=True)
    assert stage_due() == 0
    stage(work)
    assert deviantart.calls == []


def test_a_work_is_never_uploaded_for_another_workspaces_account(deviantart: FakeDeviantArt, make_coming: MakeDue):
    work, strangers = make_coming(), make_coming(b"other")
    Deviation.objects.filter(pk=work.pk).update(account=strangers.account)
    Deviation.objects.filter(pk=strangers.pk).update(status="draft")
    stage_next(account_of(strangers))
    assert deviantart.calls == []


def test_the_soonest_accounts_are_woken_first_and_once(make_coming: MakeDue, sent: list[Any], worker: Worker):
    Worker.objects.filter(pk=worker.pk).update(slots=1)
    last, first, second = (make_coming(in_seconds=seconds) for seconds in (900, 300, 600))
    make_coming(b"same", account=first.account, workspace=first.workspace)
    assert stage_due() == 2
    assert sent == [("publisher.stage_next", str(each.account_id)) for each in (first, second)]
    assert last.status == Deviation.Status.SCHEDULED


def test_what_is_in_the_stash_already_is_not_looked_at_again(
    deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any]
):
    work = stage(make_coming())
    assert stage_due() == 0
    stage(work)
    assert deviantart.calls == ["submit"]


def test_a_file_without_its_copy_is_not_ready_yet(deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any]):
    work = make_coming()
    FileVariant.objects.all().delete()
    assert stage_due() == 0
    assert stage(work).status == Deviation.Status.SCHEDULED


def test_a_slot_goes_on_with_what_others_need(
    deviantart: FakeDeviantArt, make_coming: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(staging, "GO_ON_SECONDS", 600.0)
    works = [make_coming(str(number).encode()) for number in range(3)]
    stage_next(account_of(works[0]), keep_going=True)
    assert deviantart.calls == ["submit"] * 3


def test_what_finds_no_share_for_uploads_queues_nothing_in_front_of_what_is_due(
    deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any]
):
    works = [make_coming(str(number).encode()) for number in range(3)]
    with ExitStack() as uploads:
        while slots().may_upload:
            place = uploads.enter_context(slots().place())
            assert place is not None
            assert place.take_upload()
        for work in works:
            stage_next(account_of(work), keep_going=True)
        assert sent == []
    # Nor once the shares are given back: who uploads goes on by itself, and the next tick finds the rest.
    assert (deviantart.calls, sent) == ([], [])
    assert stage_due() == 3


def test_a_slot_whose_time_is_over_hands_on_to_one_other(
    deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(staging, "GO_ON_SECONDS", 0.0)
    first, second = (make_coming(each) for each in (b"one", b"two"))
    stage_next(account_of(first), keep_going=True)
    # Its time is over, and somebody has to go on: one message for one slot.
    assert [task for task, _account in sent] == ["publisher.stage_next"]
    assert (deviantart.calls, second.status) == (["submit"], Deviation.Status.SCHEDULED)


# --- the work stays the artist's -------------------------------------------------------------------------------------


def test_an_edit_after_the_upload_is_uploaded_anew_when_there_is_time(deviantart: FakeDeviantArt, make_coming: MakeDue):
    work = stage(make_coming(title="Old words"))
    edit(work, title="New words")
    stage(work)
    assert deviantart.calls == ["submit", "submit"]
    assert item_states() == ["abandoned", "in_hand"]
    come(work)
    assert [each.title for each in deviantart.deviations] == ["New words"]


def test_an_edit_after_the_upload_without_time_is_uploaded_at_its_moment(
    deviantart: FakeDeviantArt, make_coming: MakeDue
):
    work = stage(make_coming(title="Old words"))
    edit(work, title="New words")
    assert come(work).status == Deviation.Status.PUBLISHED
    assert [each.title for each in deviantart.deviations] == ["New words"]
    assert item_states() == ["abandoned", "published"]


def test_a_change_that_touches_nothing_that_was_sent_keeps_the_item_and_is_looked_at_once(
    deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any]
):
    work = stage(make_coming())
    edit(work, is_mature=True)
    assert stage_due() == 1
    stage(work)
    assert stage_due() == 0
    assert (deviantart.calls, item_states()) == (["submit"], ["in_hand"])


def test_an_edit_during_the_upload_does_not_go_out_with_the_old_words(
    deviantart: FakeDeviantArt, make_coming: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    work = make_coming(title="Old words")
    upload = deviantart.submit

    def edited_meanwhile(*arguments: Any, **options: Any) -> Any:
        receipt = upload(*arguments, **options)
        edit(work, title="New words")
        return receipt

    monkeypatch.setattr(deviantart, "submit", edited_meanwhile)
    stage(work)
    monkeypatch.setattr(deviantart, "submit", upload)
    come(work)
    assert [each.title for each in deviantart.deviations] == ["New words"]


def test_a_work_that_moved_to_another_account_is_uploaded_there(deviantart: FakeDeviantArt, make_coming: MakeDue):
    work = stage(make_coming())
    other = make_coming(b"other", workspace=work.workspace)
    Deviation.objects.filter(pk=other.pk).update(status="draft")
    edit(work, account=other.account)
    work.refresh_from_db()
    stage(work)
    assert [(item.state, item.account_id) for item in StashItem.objects.order_by("item_id")] == [
        ("abandoned", StashItem.objects.earliest("item_id").account_id),
        ("in_hand", other.account_id),
    ]
    assert come(work).status == Deviation.Status.PUBLISHED


def test_a_work_can_be_taken_back_during_the_upload_and_keeps_its_item_for_a_day(
    deviantart: FakeDeviantArt, make_coming: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    work = make_coming()
    upload = deviantart.submit

    def cancelled_meanwhile(*arguments: Any, **options: Any) -> Any:
        scheduling.cancel_schedule(Deviation.objects.get(pk=work.pk), user=None)
        return upload(*arguments, **options)

    monkeypatch.setattr(deviantart, "submit", cancelled_meanwhile)
    assert stage(work).status == Deviation.Status.DRAFT
    monkeypatch.setattr(deviantart, "submit", upload)
    assert (item_states(), staging.abandon_old_items()) == (["in_hand"], 0)
    moment = clock.now() - timedelta(milliseconds=1)
    edit(work, status="scheduled", scheduled_at=moment, publish_at=moment)
    assert come(work).status == Deviation.Status.PUBLISHED
    assert deviantart.calls == ["submit", "publish"]


def test_the_item_of_a_work_that_was_taken_back_is_let_go_after_a_day(deviantart: FakeDeviantArt, make_coming: MakeDue):
    back, coming = stage(make_coming()), stage(make_coming(b"coming"))
    two_days_ago = clock.now() - timedelta(days=2)
    StashItem.objects.update(created_at=two_days_ago)
    Deviation.objects.filter(pk=back.pk).update(status="draft", updated_at=two_days_ago)
    Deviation.objects.filter(pk=coming.pk).update(updated_at=two_days_ago)
    assert (staging.abandon_old_items(), staging.abandon_old_items()) == (1, 0)
    assert StashItem.objects.get(publication__deviation=back).state == StashItem.State.ABANDONED


# --- two lanes -------------------------------------------------------------------------------------------------------


def test_while_a_work_is_uploaded_ahead_its_accounts_others_go_out(
    deviantart: FakeDeviantArt, make_coming: MakeDue, make_due: MakeDue, worker: Worker
):
    work = make_coming()
    due = make_due(b"due", account=work.account, workspace=work.workspace)
    assert claim_stage(account_of(work), worker.pk) is not None
    publishing.publish_next(account_of(work))
    due.refresh_from_db()
    assert due.status == Deviation.Status.PUBLISHED


def test_a_work_is_not_claimed_while_it_is_uploaded_ahead_and_goes_out_when_that_ends(
    deviantart: FakeDeviantArt, make_coming: MakeDue, worker: Worker, sent: list[Any], monkeypatch: pytest.MonkeyPatch
):
    work = make_coming()
    upload = deviantart.submit

    def until_it_is_due(*arguments: Any, **options: Any) -> Any:
        assert come(work).status == Deviation.Status.SCHEDULED
        return upload(*arguments, **options)

    monkeypatch.setattr(deviantart, "submit", until_it_is_due)
    stage(work)
    assert ("publisher.publish_next", str(work.account_id)) in sent
    publishing.publish_next(account_of(work))
    work.refresh_from_db()
    assert work.status == Deviation.Status.PUBLISHED
    assert deviantart.calls == ["submit", "publish"]


def test_a_claim_that_could_not_see_the_lease_yet_lets_the_work_be(
    deviantart: FakeDeviantArt, make_coming: MakeDue, worker: Worker
):
    work = make_coming()
    claimed = claim_stage(account_of(work), worker.pk)
    assert claimed is not None
    claim, _part = claimed
    # As if it had been claimed in the moment in which the other lane's lease was not visible yet.
    Publication.objects.filter(pk=claim.publication_id).update(stage_lease_id=None, stage_worker_id=None)
    Deviation.objects.filter(pk=work.pk).update(publish_at=clock.now(), scheduled_at=clock.now())
    theirs = claim_next(account_of(work), worker.pk)
    assert theirs is not None
    Publication.objects.filter(pk=claim.publication_id).update(stage_lease_id=claim.lease_id, stage_worker_id=worker.pk)
    publishing.carry_on(job.Job.of(theirs))
    work.refresh_from_db()
    assert (work.status, work.lease_id, work.next_attempt_at) == (Deviation.Status.SCHEDULED, None, None)
    assert deviantart.calls == []


def test_a_lease_that_lost_the_work_to_a_claim_starts_no_upload(make_coming: MakeDue, worker: Worker):
    work = make_coming()
    claimed = claim_stage(account_of(work), worker.pk)
    assert claimed is not None
    claim, part = claimed
    Deviation.objects.filter(pk=work.pk).update(status="uploading", lease_id=claim.lease_id, worker_id=worker.pk)
    with pytest.raises(ClaimLost):
        evidence.open_attempt(claim, part, Attempt.Step.SUBMIT)
    assert not Attempt.objects.exists()


def test_an_account_uploads_one_work_ahead_at_a_time_whoever_asks(make_coming: MakeDue, worker: Worker):
    work = make_coming(b"one")
    for number in range(4):
        make_coming(str(number).encode(), account=work.account, workspace=work.workspace)
    claims = in_threads(6, lambda _number: claim_stage(account_of(work), worker.pk))
    assert len([claim for claim in claims if claim]) == 1


@pytest.mark.parametrize("number", range(5))
def test_of_a_claim_and_a_lease_at_once_one_goes_on(make_coming: MakeDue, worker: Worker, number: int):
    # The work falls within reach of the claim while the other lane still takes it for coming.
    work = make_coming(in_seconds=0.4)
    barrier = threading.Barrier(2)
    staged, claim = in_threads(2, lambda one: _either(one, work, worker, barrier))
    if staged and claim:
        publishing.carry_on(job.Job.of(claim))
        work.refresh_from_db()
        assert (work.status, work.lease_id) == (Deviation.Status.SCHEDULED, None)
    else:
        assert staged or claim


def _either(one: int, work: Deviation, worker: Worker, barrier: threading.Barrier) -> Any:
    barrier.wait()
    if one == 0:
        return claim_stage(account_of(work), worker.pk)
    while clock.database_now() < work.due_at - timedelta(milliseconds=250):
        pass
    return claim_next(account_of(work), worker.pk)


# --- what goes wrong counts as nothing -------------------------------------------------------------------------------


def test_an_unreachable_server_is_asked_again_later_and_nothing_is_counted(
    deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any]
):
    deviantart.submit_answers.append(Unreachable())
    work = stage(make_coming())
    part = work.publications.get()
    assert (work.status, work.reason_code, part.failures) == (Deviation.Status.SCHEDULED, "", 0)
    assert part.stage_after is not None
    assert part.stage_after > clock.now()
    assert stage_due() == 0
    Publication.objects.update(stage_after=clock.now() - timedelta(seconds=1))
    stage(work)
    assert come(work).status == Deviation.Status.PUBLISHED
    assert deviantart.calls == ["submit", "submit", "publish"]


def test_what_deviantart_refuses_is_left_for_its_moment(deviantart: FakeDeviantArt, make_coming: MakeDue):
    deviantart.submit_answers.extend([Rejected(details={"title": "no"})] * 2)
    work = stage(make_coming())
    assert work.publications.get().stage_after == work.publish_at
    assert work.status == Deviation.Status.SCHEDULED
    work = come(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "refused")


def test_a_lost_answer_is_uploaded_again(deviantart: FakeDeviantArt, make_coming: MakeDue):
    deviantart.submit_answers.append((AnswerLost(), "after"))
    work = stage(make_coming())
    assert come(work).status == Deviation.Status.PUBLISHED
    assert (len(deviantart.items), len(deviantart.deviations)) == (2, 1)


def test_a_rate_limit_acts_on_the_account_as_ever(deviantart: FakeDeviantArt, make_coming: MakeDue):
    deviantart.submit_answers.append(RateLimited(retry_after_seconds=90))
    work = stage(make_coming())
    assert DeviantArtAccount.objects.get(pk=work.account_id).not_before is not None
    assert (work.status, work.publications.get().failures) == (Deviation.Status.SCHEDULED, 0)


def test_an_expired_token_is_renewed_once(deviantart: FakeDeviantArt, make_coming: MakeDue):
    deviantart.submit_answers.append(TokenExpired())
    work = stage(make_coming())
    assert work.publications.get().state == Publication.State.SUBMITTED
    assert deviantart.calls == ["submit", "submit"]


def test_a_changed_file_is_told_at_its_moment(deviantart: FakeDeviantArt, make_coming: MakeDue):
    work = make_coming(b"y" * 300_000)
    file = work.files.get()
    storage.put(file.storage_key, b"z" * 300_000, content_type="image/png", workspace_id=work.workspace_id)
    assert stage(work).status == Deviation.Status.SCHEDULED
    work = come(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "stored_file_changed")
    assert deviantart.items == {}


def test_a_fault_of_ours_leaves_the_lane_free(
    deviantart: FakeDeviantArt, make_coming: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deviantart, "submit", lambda *_a, **_o: 1 / 0)
    work = stage(make_coming())
    part = work.publications.get()
    assert (work.status, part.stage_lease_id, part.state) == (Deviation.Status.SCHEDULED, None, "pending")


def test_the_token_outlives_the_moment_by_ten_minutes(
    deviantart: FakeDeviantArt, make_coming: MakeDue, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.ISEKAI_TIME_SCALE = 1
    asked: list[float] = []

    def usable_token(_account_id: UUID, *, must_live_seconds: float | None = None, **_options: Any) -> Token:
        assert must_live_seconds is not None
        asked.append(must_live_seconds)
        return Token("token", 1)

    monkeypatch.setattr(job, "usable_token", usable_token)
    stage(make_coming(in_seconds=600))
    assert asked == [pytest.approx(1200, abs=30)]


def test_an_item_that_deviantart_lost_after_the_upload_ahead_is_uploaded_once_more(
    deviantart: FakeDeviantArt, make_coming: MakeDue
):
    work = stage(make_coming())
    deviantart.publish_answers.append(ItemNotFound(error_code=7))
    come(work)
    publishing.publish_next(account_of(work))
    work.refresh_from_db()
    assert work.status == Deviation.Status.PUBLISHED


# --- rescue ----------------------------------------------------------------------------------------------------------


def test_the_lane_of_a_dead_worker_is_given_back_and_the_crash_counted(
    make_coming: MakeDue, worker: Worker, sent: list[Any]
):
    work = make_coming()
    claimed = claim_stage(account_of(work), worker.pk)
    assert claimed is not None
    claim, part = claimed
    evidence.open_attempt(claim, part, Attempt.Step.SUBMIT)
    assert rescuing.rescue_stuck() == 0
    bury(worker)
    assert (rescuing.rescue_stuck(), rescuing.rescue_stuck()) == (1, 0)
    part.refresh_from_db()
    assert (part.stage_lease_id, part.crashes, part.state) == (None, 1, Publication.State.PENDING)
    work.refresh_from_db()
    assert work.status == Deviation.Status.SCHEDULED


def test_two_that_rescue_a_lane_at_once_count_one_crash(make_coming: MakeDue, worker: Worker, sent: list[Any]):
    work = make_coming()
    claimed = claim_stage(account_of(work), worker.pk)
    assert claimed is not None
    evidence.open_attempt(*claimed, Attempt.Step.SUBMIT)
    bury(worker)
    assert sum(in_threads(4, lambda _number: rescuing.rescue_stuck())) == 1
    assert work.publications.get().crashes == 1


def test_a_work_that_killed_two_processes_is_not_touched_before_its_moment(
    deviantart: FakeDeviantArt, make_coming: MakeDue, sent: list[Any]
):
    work = make_coming()
    file = work.files.get()
    Publication.objects.create(deviation=work, file=file, account=work.account, crashes=2)
    stage(work)
    assert (deviantart.calls, stage_due()) == ([], 0)


def test_a_zombies_upload_is_kept_all_the_same(make_coming: MakeDue, worker: Worker, sent: list[Any]):
    work = make_coming()
    claimed = claim_stage(account_of(work), worker.pk)
    assert claimed is not None
    attempt = evidence.open_attempt(*claimed, Attempt.Step.SUBMIT)
    bury(worker)
    rescuing.rescue_stuck()
    evidence.close_submitted(attempt, SubmitReceipt(5_000_000_000_000_009), fingerprint="f")
    assert item_states() == ["in_hand"]


# --- statements ------------------------------------------------------------------------------------------------------


def test_looking_for_what_is_to_be_uploaded_takes_the_same_statements_however_much_there_is(
    make_coming: MakeDue, sent: list[Any], django_assert_num_queries: Any
):
    for number in range(5):
        make_coming(str(number).encode())
    with django_assert_num_queries(4):
        stage_due()
    assert connection.in_atomic_block is False
