"""A publisher that is asked to end: it takes up nothing new, finishes what fits, and puts back what does not."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from accounts.models import AuditEvent
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.models import Attempt, Publication, Worker
from publisher.services import breaking_off, draining
from publisher.services.timeline import timeline_of
from tests.connecting import connected_account
from tests.factories import DueDeviationFactory
from tests.processes import Processes, wait_until
from tests.publisher.works import make_works
from tests.sandbox_process import SandboxProcess


@pytest.fixture(autouse=True)
def _nobody_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_begun_at", None)


# --- the flag ---------------------------------------------------------------------------------------------------------
def test_a_process_stops_from_the_moment_that_it_was_asked_to(settings: Any) -> None:
    settings.PUBLISHER_DRAIN_SECONDS = 75
    assert not draining.stopping()
    assert draining.fits(10_000)
    draining.begin()
    assert draining.stopping()
    assert draining.fits(60)
    assert not draining.fits(76)


def test_asking_again_gives_no_more_time(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PUBLISHER_DRAIN_SECONDS = 75
    monkeypatch.setattr(draining, "_begun_at", time.monotonic() - 74)
    draining.begin()
    assert draining.seconds_left() <= 1


def test_jobs_are_waited_for_until_they_end() -> None:
    draining.begin()
    ended = threading.Event()
    threading.Timer(0.2, ended.set).start()
    assert draining.wait_for_jobs(lambda: not ended.is_set())
    assert ended.is_set()


def test_jobs_are_not_waited_for_longer_than_the_drain(settings: Any) -> None:
    settings.PUBLISHER_DRAIN_SECONDS = 0.1
    draining.begin()
    assert not draining.wait_for_jobs(lambda: 1)


# --- what is left -----------------------------------------------------------------------------------------------------
def held_work(worker: Worker, step: Attempt.Step, **fields: Any) -> tuple[Deviation, Attempt]:
    """A work in the hands of ``worker``, in an open call."""
    is_publishing = step == Attempt.Step.PUBLISH
    lease_id = new_id()
    work: Deviation = DueDeviationFactory(
        status=Deviation.Status.PUBLISHING if is_publishing else Deviation.Status.UPLOADING,
        worker_id=worker.pk,
        lease_id=lease_id,
        **fields,
    )
    part = Publication.objects.create(
        deviation=work,
        file=work.files.get(),
        account=work.account,
        state=Publication.State.PUBLISHING if is_publishing else Publication.State.SUBMITTING,
    )
    attempt = Attempt.objects.create(
        publication=part, step=step, lease_id=lease_id, worker_id=worker.pk, started_at="2030-01-01T00:00:00Z"
    )
    return work, attempt


def test_an_upload_is_broken_off_as_unknown_and_the_work_is_due_again(worker: Worker) -> None:
    work, attempt = held_work(worker, Attempt.Step.SUBMIT)
    assert breaking_off.break_off() == 1
    work.refresh_from_db()
    attempt.refresh_from_db()
    assert (work.status, work.lease_id, work.reason_code) == ("scheduled", None, "service_stopped")
    assert (attempt.outcome, attempt.remote_ids) == ("unknown", {"why": "service_stopped"})
    part = Publication.objects.get()
    assert (part.state, part.crashes, part.failures) == ("pending", 0, 0)
    assert Deviation.objects.due(clock.DatabaseNow()).filter(pk=work.pk).exists()
    assert breaking_off.break_off() == 0


def test_the_timeline_tells_that_the_service_stopped(worker: Worker) -> None:
    work, _attempt = held_work(worker, Attempt.Step.SUBMIT)
    breaking_off.break_off()
    work.refresh_from_db()
    told = [f"{entry.text} {entry.detail}" for entry in timeline_of(work)]
    assert any("goes on from the same place" in line for line in told), told
    assert any("restarted before DeviantArt had answered" in line for line in told), told
    assert AuditEvent.objects.filter(verb="deviation.broken_off", subject_id=work.pk).exists()


def test_a_publish_call_that_is_broken_off_leaves_the_work_unconfirmed(worker: Worker) -> None:
    work, attempt = held_work(worker, Attempt.Step.PUBLISH)
    breaking_off.break_off()
    work.refresh_from_db()
    attempt.refresh_from_db()
    assert (work.status, work.lease_id, attempt.outcome) == ("publishing", None, "unknown")
    assert work.unconfirmed_since is not None
    assert work.next_attempt_at is not None
    assert attempt.ended_at is not None
    assert work.next_attempt_at > attempt.ended_at


def test_the_upload_of_a_work_for_the_stash_alone_stays_in_doubt(worker: Worker) -> None:
    """Closed, it would be sent a second time."""
    work, attempt = held_work(worker, Attempt.Step.SUBMIT, stash_only=True)
    breaking_off.break_off()
    work.refresh_from_db()
    attempt.refresh_from_db()
    assert (work.lease_id, attempt.outcome) == (None, None)


def test_an_upload_ahead_of_its_time_is_given_back(worker: Worker) -> None:
    work: Deviation = DueDeviationFactory()
    part = Publication.objects.create(
        deviation=work,
        file=work.files.get(),
        account=work.account,
        state=Publication.State.SUBMITTING,
        stage_worker_id=worker.pk,
        stage_lease_id=new_id(),
    )
    assert breaking_off.let_uploads_go() == 1
    part.refresh_from_db()
    assert (part.state, part.stage_lease_id, part.stage_worker_id) == ("pending", None, None)
    assert breaking_off.let_uploads_go() == 0


def test_another_workers_works_are_left_alone(worker: Worker) -> None:
    other = Worker.objects.create(
        host="elsewhere", process_id=1, slots=1, started_at=worker.started_at, alive_until=worker.alive_until
    )
    work, attempt = held_work(other, Attempt.Step.SUBMIT)
    assert breaking_off.break_off() == 0
    work.refresh_from_db()
    attempt.refresh_from_db()
    assert (work.worker_id, attempt.outcome) == (other.pk, None)


def test_a_work_that_is_done_in_this_moment_is_not_put_back(worker: Worker) -> None:
    work, attempt = held_work(worker, Attempt.Step.SUBMIT)
    Deviation.objects.filter(pk=work.pk).update(status="draft", lease_id=None, worker_id=None)
    assert breaking_off.break_off() == 0
    attempt.refresh_from_db()
    assert attempt.outcome is None


# --- real processes ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(app_name="Isekai", seed=11) as sandbox:
        yield sandbox


def all_published() -> bool:
    return not Deviation.objects.exclude(status=Deviation.Status.PUBLISHED).exists()


def in_a_call(step: str) -> bool:
    return Attempt.objects.filter(step=step, ended_at__isnull=True).exists()


def once(sandbox: SandboxProcess, works: int) -> bool:
    summary = sandbox.summary()
    return (len(sandbox.ledger()["deviations"]), summary["published_twice"]) == (works, 0)


@pytest.mark.processes
def test_an_upload_that_does_not_fit_is_broken_off_and_the_next_process_publishes_once(
    system: Processes, sandbox: SandboxProcess
) -> None:
    make_works(connected_account(sandbox, "ash"), 1, title="Pool", seed=1)
    sandbox.faults([{"match": {"path": "/stash/submit", "nth": 1}, "do": "stall", "seconds": 600}])
    (publisher,) = system.start("publisher", DEVIANTART_SUBMIT_DEADLINE_SECONDS="500")
    wait_until(lambda: in_a_call("submit"), seconds=60, what=system.log)
    publisher.terminate()
    assert publisher.wait(settings.PUBLISHER_DRAIN_SECONDS + 60) == 0, system.log()
    work, attempt = Deviation.objects.get(), Attempt.objects.get()
    assert (work.status, work.lease_id, work.reason_code) == ("scheduled", None, "service_stopped")
    assert (attempt.outcome, attempt.remote_ids["why"]) == ("unknown", "service_stopped")
    assert not Worker.objects.alive().exists()
    system.start("publisher")
    wait_until(all_published, seconds=60, what=system.log)
    assert once(sandbox, 1)


@pytest.mark.processes
def test_a_publish_call_in_flight_is_waited_for_and_nothing_new_is_taken_up(
    system: Processes, sandbox: SandboxProcess
) -> None:
    make_works(connected_account(sandbox, "ash"), 3, title="Pool", seed=1)
    sandbox.faults([{"match": {"path": "/stash/publish", "nth": 1}, "do": "stall", "seconds": 3}])
    (publisher,) = system.start("publisher")
    wait_until(lambda: in_a_call("publish"), seconds=60, what=system.log)
    publisher.terminate()
    assert publisher.wait(90) == 0, system.log()
    assert Deviation.objects.get(status="published").pk == Publication.objects.get().deviation_id
    assert Deviation.objects.filter(status="scheduled", lease_id=None).count() == 2
    assert Attempt.objects.get(step="publish").outcome == "done"
    system.start("publisher")
    wait_until(all_published, seconds=60, what=system.log)
    assert once(sandbox, 3)


@pytest.mark.processes
def test_a_second_signal_ends_it_at_once_and_its_work_is_rescued(system: Processes, sandbox: SandboxProcess) -> None:
    make_works(connected_account(sandbox, "ash"), 1, title="Pool", seed=1)
    sandbox.faults([{"match": {"path": "/stash/submit", "nth": 1}, "do": "stall", "seconds": 600}])
    (publisher,) = system.start("publisher", PUBLISHER_DRAIN="3000", DEVIANTART_SUBMIT_DEADLINE_SECONDS="500")
    wait_until(lambda: in_a_call("submit"), seconds=60, what=system.log)
    publisher.terminate()
    wait_until(lambda: "draining_begun" in system.log(), what=system.log)
    publisher.terminate()
    assert publisher.wait(90) == 128 + signal.SIGTERM
    assert Deviation.objects.claimed().exists()
    system.start("publisher")
    wait_until(all_published, seconds=60, what=system.log)
    assert once(sandbox, 1)


@pytest.mark.processes
def test_another_process_leads_at_once_when_the_leading_one_is_to_end(
    system: Processes, sandbox: SandboxProcess
) -> None:
    account = connected_account(sandbox, "ash")
    make_works(account, 1, title="Pool", seed=1)
    sandbox.faults([{"match": {"path": "/stash/submit", "nth": 1}, "do": "stall", "seconds": 600}])
    (leader,) = system.start("publisher", PUBLISHER_DRAIN="3000", DEVIANTART_SUBMIT_DEADLINE_SECONDS="500")
    wait_until(lambda: in_a_call("submit"), seconds=60, what=system.log)
    system.start("publisher")
    wait_until(lambda: Worker.objects.alive().count() == 2, seconds=60, what=system.log)
    leader.terminate()
    wait_until(lambda: "draining_begun" in system.log(), what=system.log)
    make_works(connected_account(sandbox, "birch"), 1, title="Lake", seed=2)
    wait_until(lambda: Deviation.objects.filter(status="published").exists(), seconds=60, what=system.log)
    assert leader.poll() is None, "it still drains"
    os.kill(leader.pid, signal.SIGKILL)
