from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent
from accounts.services.audit import record
from deviantart.errors import AnswerLost, Rejected
from deviations.models import Deviation
from publisher.services import publishing
from publisher.services.timeline import EVENTS, timeline_of
from tests.factories import DeviationFactory, UserFactory
from tests.fakes import FakeDeviantArt

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
