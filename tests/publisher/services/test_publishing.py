import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from accounts.errors import LoginLost
from accounts.models import AuditEvent, DeviantArtAccount, Notification
from deviantart.errors import (
    AnswerLost,
    ItemNotFound,
    PublicationFailed,
    RateLimited,
    Rejected,
    ServerFailed,
    TokenExpired,
    Unreachable,
)
from deviations import storage
from deviations.errors import StorageUnavailable, StoredFileMissing
from deviations.models import Deviation, FileVariant
from isekai import clock
from publisher.models import Attempt, Publication, StashItem, Worker
from publisher.services import failing, job, publishing, steps
from publisher.services.job import longest_wait_before_sending
from tests.factories import DueDeviationFactory
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker")


def outcomes(deviation: Deviation) -> list[tuple[str, str | None]]:
    return list(Attempt.objects.filter(publication__deviation=deviation).order_by("id").values_list("step", "outcome"))


def run(deviation: Deviation) -> Deviation:
    assert deviation.account_id is not None
    publishing.publish_next(deviation.account_id)
    deviation.refresh_from_db()
    return deviation


def make_due_again(deviation: Deviation) -> None:
    Deviation.objects.filter(pk=deviation.pk).update(next_attempt_at=clock.now() - timedelta(seconds=1))


def test_a_due_work_is_uploaded_and_published_with_its_bytes(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = run(make_due(b"x" * 200_000, title="Pool", tags=["blue water"], is_mature=True, mature_level="strict"))
    (item,) = deviantart.items.values()
    assert work.status == Deviation.Status.PUBLISHED
    assert work.lease_id is None
    assert (item["body"], item["title"], item["tags"]) == (b"x" * 200_000, "Pool", ("bluewater",))
    assert item["fields"]["mature_level"] == "strict"
    publication = work.publications.get()
    assert publication.remote_deviation_id == deviantart.deviations[0].deviation_id
    assert publication.url == deviantart.deviations[0].url
    assert outcomes(work) == [("submit", "done"), ("publish", "done")]
    assert publication.stash_items.get().state == StashItem.State.PUBLISHED


def test_the_end_of_a_work_wakes_its_accounts_next(deviantart: FakeDeviantArt, make_due: MakeDue, sent: list[Any]):
    work = run(make_due())
    assert ("publisher.publish_next", str(work.account_id)) in sent


def test_nothing_is_claimed_before_its_time(deviantart: FakeDeviantArt, make_due: MakeDue):
    later = clock.now() + timedelta(seconds=5)
    work = run(make_due(scheduled_at=later, publish_at=later))
    assert work.status == Deviation.Status.SCHEDULED
    assert deviantart.calls == []


def test_what_falls_due_in_a_moment_is_waited_for(deviantart: FakeDeviantArt, make_due: MakeDue):
    due = clock.database_now() + timedelta(milliseconds=200)
    called_at: list[datetime] = []
    deviantart.before_publish = lambda: called_at.append(clock.database_now())
    work = run(make_due(scheduled_at=due, publish_at=due))
    assert work.status == Deviation.Status.PUBLISHED
    assert called_at[0] >= due


def test_a_work_for_the_stash_alone_is_not_there_before_its_moment(deviantart: FakeDeviantArt, make_due: MakeDue):
    due = clock.database_now() + timedelta(milliseconds=200)
    work = run(make_due(scheduled_at=due, publish_at=due, stash_only=True))
    assert work.status == Deviation.Status.PUBLISHED
    attempt = Attempt.objects.get(publication__deviation=work)
    assert attempt.ended_at is not None
    assert attempt.ended_at >= due


def test_an_upload_goes_on_where_storage_broke_off(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    body = bytes(range(256)) * 2000
    opened: list[int] = []

    class Breaking(storage.Stream):
        def read(self, size: int = -1) -> bytes:
            if len(opened) == 1 and self.read_once:
                raise StorageUnavailable
            self.read_once = True
            return super().read(size)

        read_once = False

    def open_stream(key: str, *, offset: int, **options: Any) -> storage.Stream:
        opened.append(offset)
        stream = whole(key, offset=offset, **options)
        stream.__class__ = Breaking
        return stream

    whole = storage.open_stream
    monkeypatch.setattr(storage, "open_stream", open_stream)
    work = run(make_due(body))
    (item,) = deviantart.items.values()
    assert (work.status, item["body"] == body) == (Deviation.Status.PUBLISHED, True)
    assert opened == [0, 100_000]


@pytest.mark.parametrize(
    "state",
    [
        {"state": DeviantArtAccount.State.REAUTH_REQUIRED},
        {"paused": True},
        {"not_before": clock.now() + timedelta(hours=1)},
        {"base_url": "http://127.0.0.1:1"},
    ],
)
def test_a_held_accounts_works_keep_waiting(deviantart: FakeDeviantArt, make_due: MakeDue, state: dict[str, Any]):
    work = make_due()
    DeviantArtAccount.objects.filter(pk=work.account_id).update(**state)
    work = run(work)
    assert (work.status, deviantart.calls) == (Deviation.Status.SCHEDULED, [])


def test_a_work_is_never_published_to_another_workspaces_account(deviantart: FakeDeviantArt, make_due: MakeDue):
    work, strangers = make_due(), make_due(b"other")
    Deviation.objects.filter(pk=work.pk).update(account=strangers.account)
    Deviation.objects.filter(pk=strangers.pk).update(status="draft")
    assert run(Deviation.objects.get(pk=work.pk)).status == Deviation.Status.SCHEDULED
    assert deviantart.calls == []


def test_a_file_of_another_workspace_is_never_sent(deviantart: FakeDeviantArt, make_due: MakeDue):
    work, strangers = make_due(b"mine"), make_due(b"theirs")
    stolen = FileVariant.objects.get(file__deviation=strangers)
    FileVariant.objects.filter(file__deviation=work).update(storage_key=stolen.storage_key, sha256=stolen.sha256)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "stored_file_missing")
    assert deviantart.items == {}


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """While there is something in it, storage says of every file that it has none."""
    is_lost, whole = [True], storage.open_stream

    def open_stream(*key: Any, **options: Any) -> storage.Stream:
        if is_lost:
            raise StoredFileMissing
        return whole(*key, **options)

    monkeypatch.setattr(storage, "open_stream", open_stream)
    return is_lost


def test_a_file_that_storage_lacks_is_looked_for_again_before_the_work_fails(
    deviantart: FakeDeviantArt, make_due: MakeDue, lost: list[bool]
):
    work = make_due()
    for wait in steps.LOOKED_FOR_AGAIN_SECONDS:
        work = run(work)
        assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "stored_file_not_found")
        assert work.next_attempt_at is not None
        seconds = (work.next_attempt_at - clock.database_now()).total_seconds() / failing.scaled(1)
        assert wait - 5 < seconds <= wait
        make_due_again(work)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "stored_file_missing")
    assert (deviantart.items, work.publications.get().failures) == ({}, 0)


def test_a_file_that_is_there_again_goes_out(deviantart: FakeDeviantArt, make_due: MakeDue, lost: list[bool]):
    work = run(make_due())
    lost.clear()
    make_due_again(work)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.PUBLISHED, "")


def test_what_storage_lacked_long_ago_says_nothing_of_today(
    deviantart: FakeDeviantArt, make_due: MakeDue, lost: list[bool]
):
    work = make_due()
    for _ in steps.LOOKED_FOR_AGAIN_SECONDS:
        make_due_again(run(work))
    Attempt.objects.update(ended_at=clock.now() - timedelta(hours=1), started_at=clock.now() - timedelta(hours=1))
    assert run(work).reason_code == "stored_file_not_found"


def test_a_late_work_is_not_published(deviantart: FakeDeviantArt, make_due: MakeDue):
    long_ago = clock.now() - timedelta(hours=25)
    work = run(make_due(scheduled_at=long_ago, publish_at=long_ago))
    assert (work.status, deviantart.calls) == (Deviation.Status.SCHEDULED, [])


def test_a_trashed_work_is_not_published(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = make_due()
    Deviation.objects.filter(pk=work.pk).update(status="draft", trashed_at=clock.now())
    assert run(work).status == Deviation.Status.DRAFT
    assert deviantart.calls == []


def test_the_earliest_due_work_goes_first(deviantart: FakeDeviantArt, make_due: MakeDue):
    second = make_due(title="second")
    early = clock.now() - timedelta(minutes=1)
    first = make_due(b"other", title="first", account=second.account, workspace=second.workspace, publish_at=early)
    run(first)
    assert [item["title"] for item in deviantart.items.values()] == ["first"]


def test_multiple_mode_makes_one_deviation_for_each_file(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = make_due(b"one", b"two", b"three", upload_mode=Deviation.UploadMode.MULTIPLE)
    for _ in range(3):
        run(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert [item["body"] for item in deviantart.items.values()] == [b"one", b"two", b"three"]
    assert work.publications.live().exclude(remote_deviation_id=None).count() == 3


def test_between_two_files_an_earlier_due_work_goes_first(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = run(make_due(b"one", b"two", upload_mode=Deviation.UploadMode.MULTIPLE))
    assert (work.status, work.lease_id) == (Deviation.Status.PUBLISHING, None)
    early = clock.now() - timedelta(hours=1)
    other = make_due(b"urgent", account=work.account, workspace=work.workspace, publish_at=early)
    run(other)
    assert [item["body"] for item in deviantart.items.values()] == [b"one", b"urgent"]


def test_the_retry_of_a_partial_work_does_only_the_rest(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = run(make_due(b"one", b"two", upload_mode=Deviation.UploadMode.MULTIPLE))
    deviantart.submit_answers.append(Rejected(details={"tags": "failed to validate tags"}))
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "partial")
    Deviation.objects.filter(pk=work.pk).update(status="scheduled", reason_code="")
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert [item["body"] for item in deviantart.items.values()] == [b"one", b"two"]


def test_a_stash_only_work_ends_in_the_stash(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = run(make_due(stash_only=True))
    assert work.status == Deviation.Status.PUBLISHED
    assert deviantart.calls == ["submit"]


# --- definite failures --------------------------------------------------------------------------------------------


def test_a_refused_work_fails_at_once_with_deviantarts_words(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(
        Rejected(description="Request field validation failed.", details={"tags": "failed to validate tags"})
    )
    work = run(make_due())
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "refused")
    assert work.reason_params["fields"] == {"tags": "failed to validate tags"}
    assert Notification.objects.filter(kind="work_failed", params__deviation_id=str(work.pk)).count() == 1


def test_a_rate_limited_account_is_deferred_and_nothing_is_counted(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(RateLimited(retry_after_seconds=90))
    work = run(make_due())
    account = DeviantArtAccount.objects.get(pk=work.account_id)
    assert work.status == Deviation.Status.SCHEDULED
    assert account.not_before is not None
    assert timedelta(seconds=85) < account.not_before - clock.now() <= timedelta(seconds=90)
    assert work.publications.get().failures == 0


def test_an_unreachable_server_is_asked_again_after_a_growing_wait(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.submit_answers.extend([Unreachable(), Unreachable()])
    work = run(make_due())
    assert work.next_attempt_at is not None
    first = work.next_attempt_at - clock.now()
    make_due_again(work)
    work = run(work)
    assert work.next_attempt_at is not None
    assert work.next_attempt_at - clock.now() > first
    make_due_again(work)
    assert run(work).status == Deviation.Status.PUBLISHED
    assert work.publications.get().failures == 2


def test_a_server_that_stays_away_ends_as_failed_with_a_reason(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.submit_answers.extend([Unreachable()] * 7)
    work = make_due()
    for _ in range(7):
        make_due_again(work)
        work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "tried_too_often")


def test_a_lost_upload_is_uploaded_again(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.submit_answers.append((AnswerLost(), "after"))
    work = run(make_due())
    assert work.status == Deviation.Status.SCHEDULED
    make_due_again(work)
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert (len(deviantart.items), len(deviantart.deviations)) == (2, 1)


def test_a_lost_upload_of_a_stash_only_work_is_a_decision(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.submit_answers.append((AnswerLost(), "after"))
    work = run(make_due(stash_only=True))
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "stash_unconfirmed")


def test_an_expired_token_is_renewed_once_and_the_call_repeated(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(TokenExpired())
    work = run(make_due())
    assert work.status == Deviation.Status.PUBLISHED
    assert outcomes(work) == [("submit", "done"), ("publish", "refused"), ("publish", "done")]


def test_a_token_refused_twice_holds_the_account_and_keeps_the_time(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.extend([TokenExpired(), TokenExpired()])
    work = make_due()
    publish_at = work.publish_at
    work = run(work)
    assert (work.status, work.publish_at) == (Deviation.Status.SCHEDULED, publish_at)
    assert DeviantArtAccount.objects.get(pk=work.account_id).state == DeviantArtAccount.State.REAUTH_REQUIRED


def test_a_lost_login_puts_the_work_back(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    def lost(*_arguments: Any, **_options: Any) -> None:
        raise LoginLost

    monkeypatch.setattr(job, "usable_token", lost)
    work = run(make_due())
    assert (work.status, work.reason_code, work.lease_id) == (Deviation.Status.SCHEDULED, "login_lost", None)


def test_an_item_that_deviantart_lost_is_uploaded_once_more(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(ItemNotFound(error_code=7))
    work = run(make_due())
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert [item.state for item in StashItem.objects.order_by("id")] == ["abandoned", "published"]


def test_an_item_that_is_lost_twice_fails(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.extend([ItemNotFound(error_code=7)] * 2)
    work = run(make_due())
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "item_lost")


def test_code_6_is_tried_twice_more(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.extend([PublicationFailed(error_code=6)] * 3)
    work = make_due()
    for _ in range(3):
        make_due_again(work)
        work = run(work)
    assert work.status == Deviation.Status.FAILED
    assert deviantart.calls.count("submit") == 1


def test_what_the_artist_published_by_hand_counts_as_published(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.before_publish = lambda: next(iter(deviantart.items.values())).update(published=True)
    work = run(make_due())
    assert work.status == Deviation.Status.PUBLISHED
    assert AuditEvent.objects.filter(subject_id=work.pk, verb="deviation.published_by_hand").exists()
    assert work.publications.get().next_look_at is not None


def test_a_changed_file_is_never_sent(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = make_due(b"y" * 300_000)
    file = work.files.get()
    storage.put(file.storage_key, b"z" * 300_000, content_type="image/png", workspace_id=work.workspace_id)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "stored_file_changed")
    assert deviantart.items == {}


def test_a_file_without_its_variant_waits_for_the_media_worker(
    deviantart: FakeDeviantArt, make_due: MakeDue, sent: list[Any]
):
    work = make_due()
    FileVariant.objects.all().delete()
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "file_not_ready")
    assert ("media.make_variants", str(work.files.get().pk)) in sent
    assert work.publications.get().failures == 0


def test_an_edit_after_the_upload_abandons_the_item(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(Unreachable())
    work = run(make_due(title="Old words"))
    Deviation.objects.filter(pk=work.pk).update(title="New words")
    make_due_again(work)
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert [each.title for each in deviantart.deviations] == ["New words"]
    assert sorted(item.state for item in StashItem.objects.all()) == ["abandoned", "published"]


def test_an_item_in_hand_is_published_and_not_uploaded_again(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(Unreachable())
    work = run(make_due())
    make_due_again(work)
    run(work)
    assert deviantart.calls == ["submit", "publish", "publish"]


# --- faults of our own --------------------------------------------------------------------------------------------


def test_a_fault_of_ours_before_a_call_lets_the_work_go_and_tries_again(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deviantart, "submit", lambda *_a, **_o: 1 / 0)
    work = run(make_due())
    assert (work.status, work.reason_code, work.lease_id) == (Deviation.Status.SCHEDULED, "our_fault", None)
    for _ in range(3):
        make_due_again(work)
        work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "our_fault")


def test_a_fault_of_ours_during_a_publish_call_leaves_the_work_unconfirmed(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deviantart, "publish", lambda *_a, **_o: 1 / 0)
    work = run(make_due())
    assert work.status == Deviation.Status.PUBLISHING
    assert work.unconfirmed_since is not None
    assert work.next_attempt_at is not None


def test_a_server_error_at_the_upload_is_tried_again(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.submit_answers.append(ServerFailed(http_status=500))
    work = run(make_due())
    assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "try_later")


def test_single_mode_refuses_to_pretend(deviantart: FakeDeviantArt, worker: Worker):
    work = run(DueDeviationFactory(files=2, account__base_url="http://127.0.0.1:9080"))
    assert (work.status, deviantart.calls) == (Deviation.Status.SCHEDULED, [])
    assert not Publication.objects.exists()


def test_a_database_that_goes_away_again_and_again_is_no_fault_of_the_work(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    def lose_the_connection(*_arguments: Any, **_options: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(deviantart, "submit", lose_the_connection)
        work = make_due()
        for _ in range(6):
            work = run(work)
            assert (work.status, work.reason_code, work.lease_id) == (Deviation.Status.SCHEDULED, "", None)
            make_due_again(work)
    assert run(work).status == Deviation.Status.PUBLISHED


# --- a process that sleeps between writing a call down and making it --------------------------------------------------
@pytest.mark.parametrize(("point", "step"), [("submit_intended", "submit"), ("publish_intended", "publish")])
def test_a_call_that_was_written_down_too_long_ago_is_not_made(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch, point: str, step: str
):
    slept: list[str] = []

    def sleep_there(name: str) -> None:
        if name == point and not slept:
            slept.append(name)
            time.sleep(longest_wait_before_sending() + 0.05)

    monkeypatch.setattr("isekai.faults.reach", sleep_there)
    work = run(make_due())
    assert not (deviantart.items if step == "submit" else deviantart.deviations)
    attempt = Attempt.objects.get(step=step)
    assert (attempt.outcome, attempt.remote_ids) == (Attempt.Outcome.REFUSED, {"why": "too_late_to_send"})
    make_due_again(work)
    assert run(work).status == Deviation.Status.PUBLISHED
    assert (len(deviantart.items), len(deviantart.deviations)) == (1, 1)
