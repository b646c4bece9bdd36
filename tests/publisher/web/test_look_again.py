from typing import Any

import pytest
from django.test import Client

from deviations.models import Deviation
from isekai import clock
from publisher.models import Attempt, Publication
from tests.factories import DeviantArtAccountFactory, DeviationFactory, DeviationFileFactory, UserFactory, workspace_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def undecided() -> Deviation:
    """A work of which nobody could find out whether it is live."""
    workspace = workspace_of(UserFactory(username="ash"))
    now = clock.now()
    work: Deviation = DeviationFactory(
        workspace=workspace,
        account=DeviantArtAccountFactory(workspace=workspace),
        status="needs_decision",
        reason_code="unconfirmed",
        unconfirmed_since=now,
        scheduled_at=now,
        publish_at=now,
    )
    publication = Publication.objects.create(
        deviation=work, file=DeviationFileFactory(deviation=work), account=work.account, state="publishing"
    )
    Attempt.objects.create(
        publication=publication,
        step="publish",
        started_at=now,
        ended_at=now,
        outcome="unknown",
        lease_id=work.pk,
        worker_id=work.pk,
    )
    return work


def sign_in(client: Client, work: Deviation) -> None:
    client.force_login(work.workspace.memberships.get().user, backend="django.contrib.auth.backends.ModelBackend")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    sent: list[Any] = []
    monkeypatch.setattr("isekai.queue.send", lambda *what: sent.append(what))
    return sent


def test_the_page_of_an_undecided_work_leads_to_another_look(client: Client, undecided: Deviation):
    sign_in(client, undecided)
    page = client.get(f"/works/{undecided.pk}/").content.decode()
    assert f'hx-get="/works/{undecided.pk}/decision/"' in page
    question = client.get(f"/works/{undecided.pk}/decision/").content.decode()
    assert f'action="/works/{undecided.pk}/look-again/"' in question


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_another_look_makes_the_work_unconfirmed_again(client: Client, undecided: Deviation, headers: dict[str, str]):
    sign_in(client, undecided)
    answer = client.post(f"/works/{undecided.pk}/look-again/", headers=headers)
    assert answer.status_code in {200, 302}
    undecided.refresh_from_db()
    assert undecided.status == Deviation.Status.PUBLISHING
    assert undecided.next_attempt_at is not None


def test_a_work_that_needs_no_look_says_so(client: Client, undecided: Deviation):
    Deviation.objects.filter(pk=undecided.pk).update(status="draft", reason_code="", unconfirmed_since=None)
    sign_in(client, undecided)
    answer = client.post(f"/works/{undecided.pk}/look-again/", headers={"HX-Request": "true"})
    assert answer.status_code == 409
    assert "nothing about this work" in answer.content.decode()


def test_a_stranger_finds_nothing_to_look_at(client: Client, undecided: Deviation):
    client.force_login(UserFactory(), backend="django.contrib.auth.backends.ModelBackend")
    assert client.post(f"/works/{undecided.pk}/look-again/").status_code == 404
    assert client.get(f"/works/{undecided.pk}/look-again/").status_code == 405
