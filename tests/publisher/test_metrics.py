"""What Prometheus reads of publishing: true numbers, counted in the database or where it happens."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError

from accounts.models import DeviantArtAccount
from deviantart.errors import AnswerLost, Rejected
from deviations.models import Deviation
from isekai import clock
from isekai.metrics import exposition
from publisher.models import GalleryCheck, InstallationHold, Worker
from publisher.services import clocks, marks, publishing
from publisher.services.marks import Mark
from tests.factories import DeviationFactory, DueDeviationFactory
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    yield
    marks.forget_everything()
    clocks.forget_measures()


def number(metric: str, **labels: str) -> float | None:
    """The value of a metric with just these labels; None where there is none."""
    for line in exposition().decode().splitlines():
        if match := re.fullmatch(rf"{metric}(?:{{(.*)}})? (\S+)", line):
            found = dict(re.findall(r'(\w+)="([^"]*)"', match[1] or ""))
            if found == labels:
                return float(match[2])
    return None


def total(step: str, outcome: str, category: str = "") -> float:
    return number("publisher_attempts_total", step=step, outcome=outcome, category=category) or 0


def run(work: Deviation) -> None:
    assert work.account_id is not None
    publishing.publish_next(work.account_id)


def test_each_call_is_counted_once_by_what_came_of_it(make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt):
    before = [total("submit", "done"), total("publish", "done"), total("publish", "unknown", AnswerLost().category)]
    run(make_due())
    deviantart.publish_answers.append(AnswerLost())
    run(make_due())
    after = [total("submit", "done"), total("publish", "done"), total("publish", "unknown", AnswerLost().category)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 1]


def test_a_refusal_is_counted_by_its_category(make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt):
    error = Rejected(http_status=400)
    before = total("submit", "refused", error.category.value)
    deviantart.submit_answers.append(error)
    run(make_due())
    assert total("submit", "refused", error.category.value) == before + 1


def test_lateness_is_from_the_works_moment_to_its_first_publish_call(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt
):
    count = number("publisher_lateness_seconds_count") or 0
    late = number("publisher_lateness_seconds_sum") or 0
    run(make_due(scheduled_at=clock.now() - timedelta(seconds=100)))
    assert number("publisher_lateness_seconds_count") == count + 1
    assert 100 <= (number("publisher_lateness_seconds_sum") or 0) - late < 160


@pytest.mark.django_db(transaction=True)
def test_due_held_and_overdue_works_are_told_apart():
    a_while_ago = clock.now() - timedelta(minutes=5)
    DueDeviationFactory()
    DueDeviationFactory(scheduled_at=a_while_ago)
    paused = DueDeviationFactory(scheduled_at=a_while_ago)
    checked = DueDeviationFactory(scheduled_at=a_while_ago)
    DeviationFactory()  # a draft
    DeviantArtAccount.objects.filter(pk=paused.account_id).update(paused=True)
    GalleryCheck.objects.create(account=checked.account, published_after=clock.now())
    busy = DueDeviationFactory(scheduled_at=a_while_ago)
    DueDeviationFactory(scheduled_at=a_while_ago, account=busy.account, workspace=busy.workspace)
    Deviation.objects.filter(pk=busy.pk).update(status="uploading", worker_id=uuid4(), lease_id=uuid4())
    assert number("publisher_due") == 5
    assert number("publisher_overdue") == 1
    assert number("publisher_in_flight") == 1
    assert number("publisher_gallery_checks") == 1
    assert number("publisher_held", reason="paused") == 1
    assert number("publisher_held", reason="gallery_check") == 1


@pytest.mark.django_db(transaction=True)
def test_a_held_installation_is_the_reason_of_all():
    DueDeviationFactory()
    DueDeviationFactory()
    InstallationHold.objects.create(reason="clock")
    assert number("publisher_held", reason="clock") == 2
    assert number("publisher_overdue") == 0


@pytest.mark.django_db(transaction=True)
def test_the_age_of_the_mark_and_the_clock_are_this_process_own():
    assert number("publisher_mark_age_seconds") is None
    marks.keeper().learn(Mark((1,), clock.now() - timedelta(seconds=50)), server=marks.current_server())
    assert 50 <= (number("publisher_mark_age_seconds") or 0) < 110
    clocks.measure_host()
    assert number("publisher_clock_difference_seconds", clock="host") is not None


def test_a_database_that_is_away_leaves_no_number(monkeypatch: pytest.MonkeyPatch):
    def away() -> None:
        raise DatabaseError

    monkeypatch.setattr(Deviation.objects, "claimed", away)
    assert number("publisher_due") is None
