"""The operator's door to the publisher: everything can be seen, states change by named actions alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, DeviantArtAccount, User
from deviations.models import Deviation
from isekai import clock
from publisher.models import Attempt, GalleryCheck, InstallationHold, Publication, StashItem, Worker
from tests.factories import DueDeviationFactory, UserFactory
from tests.publisher.undecided import ask, doubtful_part, live_part, unconfirmed

pytestmark = pytest.mark.django_db
OURS = [model for model in admin.site._registry if model._meta.app_label == "publisher"]


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isekai.queue._send_now", lambda *_arguments: None)


@pytest.fixture
def desk(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator", "a long password of an operator"))
    return client


def address(model: Any, page: str, *args: object) -> str:
    return reverse(f"admin:publisher_{model._meta.model_name}_{page}", args=args)


def act(desk: Client, action: str, *works: Deviation) -> list[str]:
    """Pick the publications of works and do something to them; what the operator is told."""
    picked = Publication.objects.filter(deviation__in=works).values_list("pk", flat=True)
    answer = desk.post(address(Publication, "changelist"), {"action": action, "_selected_action": list(picked)})
    assert answer.status_code == 302
    return [str(message) for message in get_messages(answer.wsgi_request)]


def failed() -> Deviation:
    work = DueDeviationFactory()
    Publication.objects.create(deviation=work, file=work.files.get(), account=work.account, state="refused")
    Deviation.objects.filter(pk=work.pk).update(status="failed", reason_code="tried_too_often")
    return work


def status(work: Deviation) -> str:
    return Deviation.objects.get(pk=work.pk).status


def is_paused(work: Deviation) -> bool:
    return DeviantArtAccount.objects.get(pk=work.account_id).paused


def test_every_list_and_row_can_be_opened_and_no_row_can_be_changed_added_or_deleted(desk: Client):
    work = unconfirmed()
    now = clock.now()
    InstallationHold.objects.create(reason="clock")
    GalleryCheck.objects.create(account=work.account, published_after=now)
    Worker.objects.create(host="here", process_id=1, slots=1, started_at=now, alive_until=now)
    assert {Publication, StashItem, Attempt, Worker, InstallationHold, GalleryCheck} <= set(OURS)
    for model in OURS:
        rows = list(model._default_manager.values())
        row = model._default_manager.all()[0]
        assert desk.get(address(model, "changelist")).status_code == 200
        assert desk.get(address(model, "change", row.pk)).status_code == 200
        assert desk.post(address(model, "change", row.pk), {"state": "published"}).status_code == 403
        assert desk.get(address(model, "add")).status_code == 403
        assert desk.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
        assert list(model._default_manager.values()) == rows


def test_a_hold_is_shown_with_its_sentences(desk: Client):
    InstallationHold.objects.create(reason="clock")
    assert "too far apart" in desk.get(address(InstallationHold, "changelist")).content.decode()


def test_failed_works_are_tried_again_and_a_work_of_several_parts_once(desk: Client):
    work, other = failed(), failed()
    Publication.objects.create(deviation=work, file=None, account=work.account)
    assert act(desk, "retry", work, other) == ["Done: 2 works."]
    assert (status(work), status(other)) == ("scheduled", "scheduled")
    assert AuditEvent.objects.filter(verb="deviation.retried", user__username="operator").count() == 2


def test_undecided_works_are_looked_for_and_the_others_are_named(desk: Client):
    work, other = unconfirmed(), failed()
    done, refused = act(desk, "look_again", work, other)
    assert done == "Done: 1 work."
    assert refused.startswith(str(other.pk))
    assert (status(work), status(other)) == ("publishing", "failed")


def test_what_is_on_the_schedule_is_cancelled_and_what_is_in_doubt_is_not(desk: Client):
    scheduled, doubtful = DueDeviationFactory(), unconfirmed()
    doubtful_part(scheduled, scheduled.files.get(), outcome="refused")
    act(desk, "cancel", scheduled, doubtful)
    assert (status(scheduled), status(doubtful)) == ("draft", "needs_decision")


def test_accounts_are_held_and_released_by_their_works(desk: Client):
    work, untouched = unconfirmed(), unconfirmed()
    for action, paused in (("hold", True), ("release", False)):
        assert act(desk, action, work)[-1] == "Done: 1 account."
        assert (is_paused(work), is_paused(untouched)) == (paused, False)
    assert list(
        AuditEvent.objects.filter(subject_id=work.account_id).order_by("id").values_list("verb", flat=True)
    ) == [
        "account.paused",
        "account.released",
    ]


def test_a_gallery_is_read_at_once_or_not_waited_for_any_more(desk: Client):
    work, now = unconfirmed(), clock.now()
    check = GalleryCheck.objects.create(account=work.account, published_after=now, next_try_at=now + timedelta(hours=1))
    picked = {"_selected_action": [check.pk]}
    desk.post(address(GalleryCheck, "changelist"), {"action": "check_again", **picked})
    check.refresh_from_db()
    assert check.next_try_at < now + timedelta(minutes=1)
    desk.post(address(GalleryCheck, "changelist"), {"action": "lift", **picked})
    check.refresh_from_db()
    assert check.done_at is not None
    event = AuditEvent.objects.get(verb="account.gallery_check_lifted")
    assert event.user is not None
    assert event.user.username == "operator"


@pytest.mark.parametrize("action", ["retry", "look_again", "cancel", "hold", "release"])
def test_who_may_only_look_can_do_nothing(client: Client, action: str):
    viewer = UserFactory(is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_publication"))
    client.force_login(viewer, backend="django.contrib.auth.backends.ModelBackend")
    work = ask(DueDeviationFactory(), "unconfirmed")
    publication = live_part(work, work.files.get())
    client.post(address(Publication, "changelist"), {"action": action, "_selected_action": [publication.pk]})
    assert status(work) == "needs_decision"
    assert not is_paused(work)
