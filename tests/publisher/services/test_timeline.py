from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, DeviantArtAccount
from accounts.services.audit import record
from deviantart.errors import AnswerLost, Rejected
from deviations.models import Deviation
from isekai import clock
from publisher.models import Attempt, InstallationHold, Publication
from publisher.services import deciding, publishing
from publisher.services.timeline import EVENTS, timeline_of
from tests.factories import DeviationFactory, DueDeviationFactory, UserFactory
from tests.fakes import FakeDeviantArt
from tests.publisher.undecided import unconfirmed

MakeDue = Callable[..., Deviation]


def owner_of(work: Deviation) -> Any:
    return work.workspace.memberships.get().user


def publish(work: Deviation) -> Deviation:
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    return work


@pytest.mark.usefixtures("worker")
def test_a_published_works_timeline_tells_each_step_newest_first(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = publish(make_due())
    assert [entry.text for entry in timeline_of(work)] == [
        "Published",
        "DeviantArt published it",
        "The file arrived in your Sta.sh",
    ]


@pytest.mark.usefixtures("worker")
def test_a_refusal_shows_what_deviantart_answered(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(Rejected(excerpt='{"error":"invalid_request"}'))
    entries = timeline_of(publish(make_due()))
    refused = next(entry for entry in entries if entry.raw)
    assert refused.text == "DeviantArt did not publish it"
    assert refused.raw == '{"error":"invalid_request"}'


@pytest.mark.usefixtures("worker")
def test_an_unconfirmed_work_says_when_we_look_again(deviantart: FakeDeviantArt, make_due: MakeDue):
    deviantart.publish_answers.append(AnswerLost())
    work = publish(make_due())
    first = timeline_of(work)[0]
    assert first.future
    assert first.text == "We look again whether it is live"
    assert first.at == work.next_attempt_at


@pytest.mark.django_db
def test_every_verb_of_a_work_that_is_told_has_words(client: Client):
    work = DeviationFactory()
    for verb in EVENTS:
        record(verb, work, user=owner_of(work))
    assert len(timeline_of(work)) == len(EVENTS)


@pytest.mark.django_db
def test_what_only_operators_need_is_not_told():
    work = DeviationFactory()
    AuditEvent.objects.create(verb="deviation.something_internal", subject_type="deviation", subject_id=work.pk)
    assert timeline_of(work) == []


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_the_timeline(django_assert_num_queries: Any):
    work = DeviationFactory()
    for _ in range(20):
        record("deviation.scheduled", work, user=owner_of(work))
    with django_assert_num_queries(2):
        timeline_of(work)


def texts(work: Deviation) -> list[str]:
    return [entry.text for entry in timeline_of(Deviation.objects.get(pk=work.pk))]


def upload(work: Deviation, *, at: datetime, outcome: str = "done", **remote: Any) -> None:
    publication, _made = Publication.objects.get_or_create(deviation=work, file=work.files.get(), account=work.account)
    Attempt.objects.create(
        publication=publication,
        step="submit",
        started_at=at,
        ended_at=at,
        outcome=outcome,
        remote_ids=remote,
        lease_id=work.pk,
        worker_id=work.pk,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("outcome", "words"),
    [("done", "waits in your Sta.sh"), ("refused", "nothing is lost"), ("unknown", "a copy that nobody sees")],
)
def test_an_upload_before_its_moment_is_told_as_one_ahead_of_time(outcome: str, words: str):
    now = clock.now()
    work = DueDeviationFactory(scheduled_at=now + timedelta(minutes=9), publish_at=now + timedelta(minutes=9))
    record("deviation.scheduled", work, publish_at=(now + timedelta(minutes=9)).isoformat())
    upload(work, at=now + timedelta(minutes=1), outcome=outcome)
    (told,) = [text for text in texts(work) if "ahead of time" in text]
    assert words in told


@pytest.mark.django_db
def test_an_upload_at_its_moment_is_not_even_if_the_work_was_moved_later():
    now = clock.now()
    work = DueDeviationFactory()
    record("deviation.scheduled", work, publish_at=now.isoformat())
    upload(work, at=now + timedelta(seconds=1))
    record("deviation.rescheduled", work, publish_at=(now + timedelta(days=1)).isoformat())
    AuditEvent.objects.filter(verb="deviation.rescheduled").update(at=now + timedelta(hours=1))
    assert "The file arrived in your Sta.sh" in texts(work)


@pytest.mark.django_db
def test_an_upload_that_was_broken_off_says_by_what():
    work = DueDeviationFactory()
    upload(work, at=clock.now(), outcome="unknown", why="service_stopped")
    assert "being restarted" in timeline_of(work)[1].detail


@pytest.mark.django_db
def test_what_happened_to_its_account_is_told_while_it_waited():
    work = DueDeviationFactory()
    account, user = work.account, owner_of(work)
    record("account.paused", account, user=user)  # before it was scheduled
    record("deviation.scheduled", work, user=user)
    record("account.login_lost", account)
    record("account.login_recovered", account)
    record("account.pace_reset", account)
    record("deviation.published", work)
    record("account.paused", account, user=user)  # after its end
    told = [entry.text for entry in timeline_of(work) if not entry.future]
    assert told == [
        "Published",
        "Its account has its login again",
        "Its account lost its login, so it waits",
        "Scheduled",
    ]


@pytest.mark.django_db
def test_what_it_waits_for_is_told():
    work = DueDeviationFactory()
    DeviantArtAccount.objects.update(base_url=settings.DEVIANTART_BASE_URL, paused=True)
    (first, *_rest) = timeline_of(Deviation.objects.get(pk=work.pk))
    assert (first.text, first.future) == ("Waits for its account", True)
    assert "is paused" in first.detail
    InstallationHold.objects.create(reason="restored")
    (first, *_rest) = timeline_of(Deviation.objects.get(pk=work.pk))
    assert first.text == "Waits, as nothing goes out"
    assert "older than" in first.detail


@pytest.mark.django_db
def test_a_wait_after_a_failure_says_what_failed():
    work = DueDeviationFactory(reason_code="try_later")
    DeviantArtAccount.objects.update(base_url=settings.DEVIANTART_BASE_URL)
    (first, *_rest) = timeline_of(Deviation.objects.get(pk=work.pk))
    assert first.text == "We try again"
    assert "did not get through" in first.detail


@pytest.mark.django_db
def test_an_end_says_why_and_who_settled_it():
    work = unconfirmed()
    record("deviation.needs_decision", work, reason="unconfirmed")
    user = owner_of(work)
    deciding.decide(work, deciding.Way.DRAFT, user=user, not_live=True)
    entries = timeline_of(work)
    details = {entry.text: entry.detail for entry in entries}
    assert details["Needs your decision"] == "live or not?"
    assert details["Somebody looked, and said that it is not live"] == f"by {user.get_username()}"
    assert "made nothing live" in details["DeviantArt did not say whether it published it"]


@pytest.mark.django_db
def test_a_look_says_why_nothing_was_recognised():
    work = unconfirmed()
    attempt = work.publications.get().attempts.get()
    attempt.pk, attempt.step, attempt.outcome, attempt.remote_ids = None, "look_up", "done", {"found": "rivals"}
    attempt.save()
    assert any("same title could be meant" in entry.detail for entry in timeline_of(work))


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["publisher:timeline", "publisher-api:attempts"])
def test_a_stranger_finds_no_timeline(client: Client, name: str):
    work = DeviationFactory()
    client.force_login(UserFactory(), backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(reverse(name, args=[work.pk])).status_code == 404
    assert client.get(reverse(name, args=[uuid4()])).status_code == 404


@pytest.mark.usefixtures("worker")
def test_the_api_tells_attempts_and_timeline(client: Client, deviantart: FakeDeviantArt, make_due: MakeDue):
    work = publish(make_due())
    client.force_login(owner_of(work), backend="django.contrib.auth.backends.ModelBackend")
    body = client.get(f"/api/deviations/{work.pk}/attempts/").json()
    assert [(each["step"], each["outcome"]) for each in body["attempts"]] == [("submit", "done"), ("publish", "done")]
    assert body["timeline"][0]["text"] == "Published"
