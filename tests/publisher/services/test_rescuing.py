"""Workers that are gone, slow, or two at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from accounts.models import AuditEvent, Notification
from deviantart.errors import Unreachable
from deviantart.types import PublishReceipt, SubmitReceipt
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.errors import ClaimLost
from publisher.models import Attempt, Publication, StashItem, Worker
from publisher.services import claiming, evidence, heartbeat, publishing, rescuing, slots
from publisher.services.claiming import Claim, claim_next, end, put_back
from publisher.services.job import Job
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]


def claimed(work: Deviation, worker: Worker) -> Claim:
    assert work.account_id is not None
    claim = claim_next(work.account_id, worker.pk)
    assert claim is not None
    return claim


def part_of(claim: Claim) -> Publication:
    return publishing.prepare_publications(Job.of(claim))[0]


def bury(worker: Worker) -> None:
    Worker.objects.filter(pk=worker.pk).update(alive_until=clock.now() - timedelta(seconds=1))


def in_threads(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call it so often at the same moment, each with a database connection of its own."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Any:
        try:
            barrier.wait()
            return call(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_of_many_workers_one_claims_a_work(worker: Worker, make_due: MakeDue):
    work = make_due()
    assert work.account_id is not None
    account_id: UUID = work.account_id
    claims = in_threads(8, lambda _number: claim_next(account_id, worker.pk))
    assert len([claim for claim in claims if claim]) == 1


def test_an_account_has_one_work_in_flight_whoever_asks(worker: Worker, make_due: MakeDue):
    work = make_due(b"one")
    for number in range(5):
        make_due(str(number).encode(), account=work.account, workspace=work.workspace)
    assert work.account_id is not None
    account_id: UUID = work.account_id
    claims = in_threads(8, lambda _number: claim_next(account_id, worker.pk))
    assert len([claim for claim in claims if claim]) == 1
    assert Deviation.objects.claimed().count() == 1


def test_the_database_allows_one_claimed_work_for_each_account(worker: Worker, make_due: MakeDue):
    work = make_due()
    claimed(work, worker)
    other = make_due(b"other", account=work.account, workspace=work.workspace)
    with pytest.raises(IntegrityError), transaction.atomic():
        Deviation.objects.filter(pk=other.pk).update(status="uploading", worker_id=worker.pk, lease_id=new_id())


def test_a_living_workers_work_is_left_alone(worker: Worker, make_due: MakeDue, sent: list[Any]):
    claimed(make_due(), worker)
    assert rescuing.rescue_stuck() == 0


def test_a_dead_workers_work_goes_back_and_is_due_at_once(worker: Worker, make_due: MakeDue, sent: list[Any]):
    work = make_due()
    claimed(work, worker)
    bury(worker)
    assert rescuing.rescue_stuck() == 1
    work.refresh_from_db()
    assert (work.status, work.lease_id) == (Deviation.Status.SCHEDULED, None)
    assert work.due_at <= clock.now()
    assert ("publisher.publish_next", str(work.account_id)) in sent
    assert AuditEvent.objects.filter(subject_id=work.pk, verb="deviation.rescued").exists()


def test_rescuing_twice_at_once_rescues_once(worker: Worker, make_due: MakeDue, sent: list[Any]):
    claimed(make_due(), worker)
    bury(worker)
    assert sum(in_threads(4, lambda _number: rescuing.rescue_stuck())) == 1


def test_a_work_that_died_in_a_publish_call_is_unconfirmed_afterwards(
    worker: Worker, make_due: MakeDue, sent: list[Any]
):
    work = make_due()
    claim = claimed(work, worker)
    evidence.open_attempt(claim, part_of(claim), Attempt.Step.PUBLISH)
    bury(worker)
    rescuing.rescue_stuck()
    work.refresh_from_db()
    assert (work.status, work.lease_id) == (Deviation.Status.PUBLISHING, None)
    assert work.unconfirmed_since is not None
    assert part_crashes(work) == 1


def test_a_work_that_died_after_its_publish_was_written_down_only_needs_its_end(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    claim = claimed(work, worker)
    attempt = evidence.open_attempt(claim, part_of(claim), Attempt.Step.PUBLISH)
    evidence.close_published(attempt, PublishReceipt("ABC", "https://www.deviantart.com/x/art/1"))
    bury(worker)
    rescuing.rescue_stuck()
    Worker.objects.filter(pk=worker.pk).update(alive_until="2100-01-01T00:00:00Z")
    publishing.publish_next(claim.account_id)
    work.refresh_from_db()
    assert work.status == Deviation.Status.PUBLISHED
    assert deviantart.calls == []


def test_a_work_that_a_restored_database_knows_as_being_uploaded_is_rescued_though_it_went_out(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    claim = claimed(work, worker)
    part = part_of(claim)
    attempt = evidence.open_attempt(claim, part, Attempt.Step.PUBLISH)
    forget(work, attempt)
    with pytest.raises(ClaimLost):
        evidence.close_failed(attempt, Unreachable())
    evidence.close_published(attempt, PublishReceipt("ABC", "https://www.deviantart.com/x/art/1"))
    bury(worker)
    assert rescuing.rescue_stuck() == 1
    work.refresh_from_db()
    assert (work.status, work.lease_id) == (Deviation.Status.PUBLISHING, None)
    Worker.objects.filter(pk=worker.pk).update(alive_until="2100-01-01T00:00:00Z")
    publishing.publish_next(claim.account_id)
    work.refresh_from_db()
    assert (work.status, deviantart.calls) == (Deviation.Status.PUBLISHED, [])


def forget(work: Deviation, attempt: Attempt) -> None:
    """What a backup would know that was made directly before the call; its number is given once more."""
    Attempt.objects.filter(pk=attempt.pk).update(lease_id=new_id())
    Publication.objects.update(state=Publication.State.SUBMITTED)
    Deviation.objects.filter(pk=work.pk).update(status=Deviation.Status.UPLOADING)


def test_what_became_of_a_forgotten_call_is_not_written_over_another_that_got_its_number(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    claim = claimed(work, worker)
    attempt = evidence.open_attempt(claim, part_of(claim), Attempt.Step.PUBLISH)
    forget(work, attempt)
    for close in (
        lambda: evidence.close_failed(attempt, Unreachable()),
        lambda: evidence.close_not_made(attempt, why="too_late_to_send"),
        lambda: evidence.close_unknown(attempt, why="process_gone"),
    ):
        with pytest.raises(ClaimLost):
            close()
    evidence.close_published(attempt, PublishReceipt("ABC", "https://www.deviantart.com/x/art/1"))
    assert Attempt.objects.values_list("outcome", "remote_ids").get() == (None, {})


def test_an_answer_about_a_work_that_the_database_forgot_altogether_ends_in_a_lost_claim(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    claim = claimed(make_due(), worker)
    attempt = evidence.open_attempt(claim, part_of(claim), Attempt.Step.SUBMIT)
    Attempt.objects.all().delete()
    Publication.objects.all().delete()
    with pytest.raises(ClaimLost):
        evidence.close_submitted(attempt, SubmitReceipt(5_000_000_000_000_001), fingerprint="a")
    with pytest.raises(ClaimLost):
        evidence.close_published(attempt, PublishReceipt("ABC", "https://www.deviantart.com/x/art/1"))


def test_one_work_that_cannot_be_rescued_keeps_none_of_the_others_back(
    worker: Worker, make_due: MakeDue, sent: list[Any], monkeypatch: pytest.MonkeyPatch
):
    broken, *others = (make_due() for _ in range(3))
    for work in (broken, *others):
        claimed(work, worker)
    bury(worker)

    def break_for_one(deviation: Deviation, **how: Any) -> None:
        if deviation.pk == broken.pk:
            raise IntegrityError("a row that breaks a rule")
        claiming.let_go(deviation, **how)

    monkeypatch.setattr(rescuing, "let_go", break_for_one)
    assert rescuing.rescue_stuck() == len(others)


def part_crashes(work: Deviation) -> int:
    return work.publications.get().crashes


# --- works that kill their process ---------------------------------------------------------------------------------


def crash_at(work: Deviation, worker: Worker, step: Attempt.Step, *, alone: bool = False) -> Deviation:
    """A process claims it, begins the step, and dies."""
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=clock.now() - timedelta(seconds=1))
    claim = claimed(work, worker)
    part = part_of(claim)
    if alone:
        assert publishing._is_alone(Job.of(claim), part)
    evidence.open_attempt(claim, part, step)
    bury(worker)
    assert rescuing.rescue_stuck() == 1
    Worker.objects.filter(pk=worker.pk).update(alive_until="2100-01-01T00:00:00Z")
    work.refresh_from_db()
    return work


def test_after_two_crashes_a_work_goes_on_and_a_finished_step_forgets_them(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    for _ in range(2):
        assert crash_at(work, worker, Attempt.Step.SUBMIT).status == Deviation.Status.SCHEDULED
    assert part_crashes(work) == 2
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    part = work.publications.get()
    assert (work.status, part.crashes, part.is_alone) == (Deviation.Status.PUBLISHED, 0, False)


def test_a_crash_of_a_work_that_ran_alone_sets_it_aside_with_a_reason(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    for alone in (False, False, True):
        crash_at(work, worker, Attempt.Step.SUBMIT, alone=alone)
    other = make_due(b"other", account=work.account, workspace=work.workspace)
    assert (work.status, work.reason_code, work.lease_id) == (Deviation.Status.FAILED, "crashed", None)
    assert part_crashes(work) == 3
    assert Notification.objects.filter(kind="work_failed", params__deviation_id=str(work.pk)).count() == 1
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    other.refresh_from_db()
    assert other.status == Deviation.Status.PUBLISHED


def test_a_work_that_was_set_aside_starts_anew_when_somebody_wants_it_tried_again(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    for alone in (False, False, True):
        crash_at(work, worker, Attempt.Step.SUBMIT, alone=alone)
    Deviation.objects.filter(pk=work.pk).update(status="scheduled", reason_code="", next_attempt_at=None)
    assert crash_at(work, worker, Attempt.Step.SUBMIT).status == Deviation.Status.SCHEDULED
    assert part_crashes(work) == 1


def test_a_crash_alone_in_a_publish_call_is_a_question_and_never_failed(
    worker: Worker, make_due: MakeDue, sent: list[Any]
):
    work = make_due()
    for alone in (False, False, True, True, True):
        crash_at(work, worker, Attempt.Step.PUBLISH, alone=alone)
        # No file is read at that step, so the work is hardly to blame, and asking somebody costs more than a look.
        assert work.status == Deviation.Status.PUBLISHING
    crash_at(work, worker, Attempt.Step.PUBLISH, alone=True)
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "unconfirmed")
    assert work.unconfirmed_since is not None


def test_a_work_that_ran_alone_and_was_let_go_is_alone_no_longer(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    for _ in range(2):
        crash_at(work, worker, Attempt.Step.SUBMIT)
    deviantart.submit_answers.append(Unreachable())
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    part = work.publications.get()
    assert (part.is_alone, part.crashes) == (False, 2)


def test_a_work_that_must_run_alone_comes_back_when_the_others_take_too_long(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slots, "ALONE_SECONDS", 0.0)
    work = make_due()
    for _ in range(2):
        crash_at(work, worker, Attempt.Step.SUBMIT)
    assert work.account_id is not None
    with slots.slots().place():
        publishing.publish_next(work.account_id)
    work.refresh_from_db()
    assert (work.status, work.lease_id, deviantart.calls) == (Deviation.Status.SCHEDULED, None, [])
    assert work.next_attempt_at is not None
    assert work.next_attempt_at > clock.now()
    assert part_crashes(work) == 2


# --- the lease fences decisions -----------------------------------------------------------------------------------


def test_a_worker_without_its_lease_decides_nothing_and_starts_no_call(
    worker: Worker, make_due: MakeDue, sent: list[Any]
):
    work = make_due()
    claim = claimed(work, worker)
    part = part_of(claim)
    bury(worker)
    rescuing.rescue_stuck()
    with pytest.raises(ClaimLost):
        put_back(claim)
    with pytest.raises(ClaimLost):
        end(claim, Deviation.Status.PUBLISHED)
    with pytest.raises(ClaimLost):
        evidence.open_attempt(claim, part, Attempt.Step.PUBLISH)
    assert not Attempt.objects.exists()


def test_a_lease_that_ran_out_fences_even_before_anybody_rescues(worker: Worker, make_due: MakeDue):
    claim = claimed(make_due(), worker)
    part = part_of(claim)
    bury(worker)
    with pytest.raises(ClaimLost):
        evidence.open_attempt(claim, part, Attempt.Step.SUBMIT)


# --- and never evidence -------------------------------------------------------------------------------------------


def test_what_a_zombies_call_did_is_written_down_all_the_same(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due()
    claim = claimed(work, worker)
    attempt = evidence.open_attempt(claim, part_of(claim), Attempt.Step.PUBLISH)
    bury(worker)
    rescuing.rescue_stuck()
    evidence.close_published(attempt, PublishReceipt("ABC", "https://www.deviantart.com/x/art/1"))
    publication = work.publications.get()
    assert (publication.remote_deviation_id, publication.state) == ("ABC", Publication.State.PUBLISHED)
    Worker.objects.filter(pk=worker.pk).update(alive_until="2100-01-01T00:00:00Z")
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=clock.now())
    publishing.publish_next(claim.account_id)
    work.refresh_from_db()
    assert work.status == Deviation.Status.PUBLISHED
    assert deviantart.calls == []


def test_a_zombies_second_item_is_kept_as_abandoned(worker: Worker, make_due: MakeDue, sent: list[Any]):
    work = make_due()
    claim = claimed(work, worker)
    part = part_of(claim)
    first = evidence.open_attempt(claim, part, Attempt.Step.SUBMIT)
    second = evidence.open_attempt(claim, part, Attempt.Step.SUBMIT)
    evidence.close_submitted(second, SubmitReceipt(5_000_000_000_000_002), fingerprint="b")
    evidence.close_submitted(first, SubmitReceipt(5_000_000_000_000_001), fingerprint="a")
    states = dict(StashItem.objects.values_list("item_id", "state"))
    assert states == {5_000_000_000_000_002: "in_hand", 5_000_000_000_000_001: "abandoned"}


def test_evidence_is_written_once_the_database_is_back(
    worker: Worker, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch, sent: list[Any]
):
    claim = claimed(make_due(), worker)
    attempt = evidence.open_attempt(claim, part_of(claim), Attempt.Step.PUBLISH)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = cursor.fetchone()[0]

    def cut_off() -> None:
        with connection.cursor() as other:
            other.execute("SELECT pg_terminate_backend(%s)", [own])
        connection.close()

    thread = threading.Thread(target=cut_off)
    thread.start()
    thread.join()
    evidence.close_published(attempt, PublishReceipt("ABC", "https://www.deviantart.com/x/art/1"))
    assert Publication.objects.get().remote_deviation_id == "ABC"


# --- the heartbeat ------------------------------------------------------------------------------------------------


def test_a_beating_heart_keeps_the_row_alive(worker: Worker):
    Worker.objects.filter(pk=worker.pk).update(alive_until=clock.now() + timedelta(seconds=1))
    assert heartbeat.renew_worker(worker.pk)
    assert Worker.objects.get(pk=worker.pk).alive_until > clock.now() + timedelta(seconds=1)


def test_a_row_that_ran_out_stays_dead(worker: Worker):
    bury(worker)
    assert not heartbeat.renew_worker(worker.pk)


class Heart:
    """Lets the heart beat a few times without waiting, with the database away for the first beat."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, worker: Worker, *, slept_seconds: float) -> None:
        self.killed = 0
        self.beats = 0
        self.passed = 0.0
        self.slept_seconds = slept_seconds
        renew = heartbeat.renew_worker

        def renew_when_back(worker_id: UUID, **how: Any) -> bool:
            if self.beats == 1:
                raise OperationalError("the database is away")
            return renew(worker_id, **how)

        monkeypatch.setattr(heartbeat, "renew_worker", renew_when_back)
        monkeypatch.setattr(heartbeat, "time", self)
        monkeypatch.setattr("publisher.services.heartbeat.os.kill", self.kill)
        heartbeat.beat_for_ever(worker.pk)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, _seconds: float) -> None:
        self.beats += 1
        self.passed += self.slept_seconds
        if self.beats > 3:
            heartbeat._this_worker = None

    def kill(self, _pid: int, _signal: int) -> None:
        self.killed += 1


def test_a_row_that_ran_out_while_the_database_was_away_is_renewed(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, settings: Any
):
    bury(worker)
    heart = Heart(monkeypatch, worker, slept_seconds=settings.PUBLISHER_HEARTBEAT_SECONDS)
    assert heart.killed == 0
    assert Worker.objects.alive().filter(pk=worker.pk).exists()


def test_a_process_that_slept_longer_than_its_lease_is_ended_even_if_the_database_was_away(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, settings: Any
):
    bury(worker)
    heart = Heart(monkeypatch, worker, slept_seconds=settings.PUBLISHER_LEASE_SECONDS + 1)
    assert heart.killed > 0
    assert not Worker.objects.alive().filter(pk=worker.pk).exists()


def test_what_was_taken_over_while_the_database_was_away_stays_taken(worker: Worker, make_due: MakeDue):
    claim = claimed(make_due(), worker)
    part = part_of(claim)
    bury(worker)
    assert rescuing.rescue_stuck() == 1
    assert heartbeat.renew_worker(worker.pk, even_if_it_ran_out=True)
    with pytest.raises(ClaimLost):
        evidence.open_attempt(claim, part, Attempt.Step.PUBLISH)
    with pytest.raises(ClaimLost):
        put_back(claim)


def test_a_neighbour_whose_process_is_gone_is_buried_at_once(worker: Worker):
    gone = Worker.objects.create(
        host=worker.host, process_id=2**22, slots=1, started_at=clock.now(), alive_until="2100-01-01T00:00:00Z"
    )
    elsewhere = Worker.objects.create(
        host="other", process_id=2**22, slots=1, started_at=clock.now(), alive_until="2100-01-01T00:00:00Z"
    )
    heartbeat.expire_dead_neighbours()
    assert list(Worker.objects.alive().order_by("pk")) == [worker, elsewhere]
    assert not Worker.objects.alive().filter(pk=gone.pk).exists()


def test_workers_that_are_long_gone_are_forgotten_unless_they_hold_something(
    worker: Worker, make_due: MakeDue, sent: list[Any]
):
    claimed(make_due(), worker)
    idle = Worker.objects.create(
        host="other", process_id=1, slots=1, started_at=clock.now(), alive_until=clock.now() - timedelta(days=2)
    )
    Worker.objects.filter(pk=worker.pk).update(alive_until=clock.now() - timedelta(days=2))
    assert rescuing.forget_dead_workers() == 1
    assert not Worker.objects.filter(pk=idle.pk).exists()


def test_a_rescued_work_goes_before_what_fell_due_later(worker: Worker, make_due: MakeDue, sent: list[Any]):
    work = make_due(publish_at=clock.now() - timedelta(minutes=3))
    assert work.account is not None
    claimed(work, worker)
    make_due(account=work.account, workspace=work.workspace, publish_at=clock.now() - timedelta(minutes=1))
    bury(worker)
    assert rescuing.rescue_stuck() == 1
    Worker.objects.filter(pk=worker.pk).update(alive_until=clock.now() + timedelta(hours=1))
    again = claim_next(work.account.pk, worker.pk)
    assert again is not None
    assert again.deviation_id == work.pk


def test_what_nobody_knows_about_goes_before_the_backlog_of_its_account(
    worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt
):
    work = make_due(publish_at=clock.now() - timedelta(minutes=1))
    assert work.account is not None
    crash_at(work, worker, Attempt.Step.PUBLISH)
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=clock.now())
    make_due(b"other", account=work.account, workspace=work.workspace, publish_at=clock.now() - timedelta(minutes=9))
    first = claim_next(work.account.pk, worker.pk)
    assert first is not None
    assert first.deviation_id == work.pk


def test_without_a_share_for_looks_the_backlog_goes_on(worker: Worker, make_due: MakeDue, deviantart: FakeDeviantArt):
    work = make_due(publish_at=clock.now() - timedelta(minutes=9))
    assert work.account is not None
    crash_at(work, worker, Attempt.Step.PUBLISH)
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=clock.now())
    other = make_due(b"other", account=work.account, workspace=work.workspace)
    claim = claim_next(work.account.pk, worker.pk, may_look=False)
    assert claim is not None
    assert claim.deviation_id == other.pk
