"""The operator's door to works: everything can be seen, nothing typed over, states change by named actions."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, DeviantArtAccount, User
from deviations.models import Deviation, DeviationFile, FileVariant, Upload
from deviations.services.scheduling import publish_now
from isekai import clock
from isekai.ids import new_id
from tests.factories import PublishVariantFactory
from tests.unchanged import everything

MakeWork = Callable[..., Deviation]
OURS = [model for model in admin.site._registry if model._meta.app_label == "deviations"]


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create_superuser("operator", "a long password of an operator")


@pytest.fixture
def desk(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


def address(model: Any, page: str, *args: object) -> str:
    return reverse(f"admin:deviations_{model._meta.model_name}_{page}", args=args)


def act(desk: Client, action: str, works: list[Deviation]) -> list[str]:
    """Pick works and do something to them; what the operator is told."""
    answer = desk.post(address(Deviation, "changelist"), {"action": action, "_selected_action": [w.pk for w in works]})
    assert answer.status_code == 302
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_every_model_of_works_is_in_the_admin() -> None:
    assert set(OURS) == {Deviation, DeviationFile, FileVariant, Upload}


def test_every_list_and_row_can_be_opened_and_no_row_can_be_changed_added_or_deleted(
    desk: Client, account: DeviantArtAccount, make_work: MakeWork, make_upload: Callable[..., Upload]
) -> None:
    work = publish_now(make_work(account, title="Dunes at noon"), user=None)
    PublishVariantFactory(file=work.files.get())
    make_upload(account.workspace)
    before = everything()
    for model in OURS:
        row = model._default_manager.all()[0]
        assert desk.get(address(model, "changelist"), {"q": "dunes"}).status_code == 200
        page = desk.get(address(model, "change", row.pk))
        assert page.status_code == 200
        assert b'name="_save"' not in page.content
        assert desk.post(address(model, "change", row.pk), {"title": "x", "status": "published"}).status_code == 403
        assert desk.get(address(model, "add")).status_code == 403
        assert desk.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert everything() == before


@pytest.mark.parametrize(
    ("before", "action", "after", "verb"),
    [
        ({"status": "failed", "reason_code": "refused"}, "retry", ("scheduled", False), "deviation.retried"),
        ({"status": "draft"}, "publish_now", ("scheduled", False), "deviation.publish_now"),
        ({"status": "failed", "reason_code": "refused"}, "cancel", ("draft", False), "deviation.cancelled"),
        ({"status": "draft"}, "trash", ("draft", True), "deviation.trashed"),
        ({"status": "draft", "trashed_at": clock.now()}, "restore", ("draft", False), "deviation.restored"),
    ],
)
def test_states_change_by_named_actions(
    desk: Client,
    operator: User,
    account: DeviantArtAccount,
    make_work: MakeWork,
    before: dict[str, Any],
    action: str,
    after: tuple[str, bool],
    verb: str,
) -> None:
    works = [make_work(account, **before) for _number in range(2)]
    assert act(desk, action, works) == ["Done: 2 works."]
    for work in Deviation.objects.all():
        assert (work.status, work.trashed_at is not None) == after
        event = AuditEvent.objects.filter(subject_id=work.pk).latest("id")
        assert (event.verb, event.user) == (verb, operator)


def test_what_cannot_be_done_is_said_and_keeps_nothing_else_back(
    desk: Client, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    good = make_work(account)
    bad = [make_work(account, title="") for _number in range(7)]
    told = act(desk, "publish_now", [good, *bad])
    assert told[0] == "Done: 1 work."
    assert len(told) == 1 + 5 + 1
    assert told[-1] == "… and 2 more."
    assert Deviation.objects.filter(status="scheduled").get() == good


def test_a_work_on_its_way_is_left_alone(desk: Client, account: DeviantArtAccount, make_work: MakeWork) -> None:
    work = publish_now(make_work(account), user=None)
    Deviation.objects.update(status="uploading", worker_id=new_id(), lease_id=new_id())
    before = everything()
    for action in ("retry", "publish_now", "cancel", "trash"):
        *_earlier, told = act(desk, action, [work])
        assert str(work.pk) in told
        assert "on its way" in told
    assert everything() == before


def test_an_operator_who_may_only_look_has_no_actions(
    client: Client, account: DeviantArtAccount, make_work: MakeWork
) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_deviation"))
    client.force_login(viewer)
    work = make_work(account)
    page = client.get(address(Deviation, "changelist"))
    assert page.status_code == 200
    assert b"publish_now" not in page.content
    client.post(address(Deviation, "changelist"), {"action": "trash", "_selected_action": [work.pk]})
    work.refresh_from_db()
    assert work.trashed_at is None
