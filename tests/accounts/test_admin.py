"""The operator's door: everything can be looked at, no secret is shown, states change by named actions."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts.errors import AccountBusy
from accounts.models import ApiKey, AuditEvent, DeviantArtAccount, EncryptionKey, Notification, User, Workspace
from accounts.services import connecting
from accounts.services.api_keys import create_api_key
from accounts.services.audit import record
from accounts.services.notifying import notify
from tests.factories import DeviantArtAccountFactory, UserFactory, workspace_of

OURS = [model for model in admin.site._registry if model._meta.app_label in {"accounts", "axes", "auth"}]
BEATS = [model for model in admin.site._registry if model._meta.app_label == "django_celery_beat"]


@pytest.fixture
def operator(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("operator", "a long password of an operator"))
    return client


def address(model: Any, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def test_every_model_is_in_the_admin_and_dressed_alike():
    from unfold.admin import ModelAdmin

    assert {model.__name__ for model in OURS} >= {
        "User",
        "Workspace",
        "Membership",
        "Identity",
        "DeviantArtAccount",
        "ApiKey",
        "EncryptionKey",
        "AuditEvent",
        "Notification",
        "IdempotencyKey",
        "Group",
        "AccessAttempt",
    }
    assert len(BEATS) == 5
    for model in (*OURS, *BEATS):
        assert isinstance(admin.site._registry[model], ModelAdmin), model


@pytest.mark.parametrize("model", [*OURS, *BEATS], ids=lambda model: model.__name__)
def test_every_list_and_form_can_be_opened(operator, model):
    user = UserFactory()
    create_api_key(workspace_of(user), user=user, name="key", scopes=[ApiKey.Scope.READ])
    DeviantArtAccountFactory(workspace=workspace_of(user))
    record("user.registered", user, user=user)
    notify("client_refused", workspace=None)
    assert operator.get(address(model, "changelist"), {"q": "x"}).status_code == 200
    if (row := model._default_manager.first()) is not None:
        assert operator.get(address(model, "change", row.pk)).status_code == 200
    if admin.site._registry[model].has_add_permission(_request(operator)):
        assert operator.get(address(model, "add")).status_code == 200


def _request(client: Client) -> Any:
    request = client.get("/admin/").wsgi_request
    assert request.user.is_superuser
    return request


def test_the_form_of_a_periodic_task_offers_the_tasks_that_there_are(operator):
    page = operator.get(reverse("admin:django_celery_beat_periodictask_add")).content.decode()
    assert re.search(r'<option value="notifications.send_due"', page)


@pytest.mark.parametrize(
    "model", [DeviantArtAccount, ApiKey, EncryptionKey, AuditEvent, Notification], ids=lambda model: model.__name__
)
def test_what_services_make_can_be_neither_added_nor_typed_over_nor_deleted(operator, model):
    user = UserFactory()
    create_api_key(workspace_of(user), user=user, name="key", scopes=[ApiKey.Scope.READ])
    DeviantArtAccountFactory(workspace=workspace_of(user))
    notify("client_refused", workspace=None)
    row = model._default_manager.first()
    before = model._default_manager.filter(pk=row.pk).values().get()
    assert operator.get(address(model, "add")).status_code == 403
    assert operator.post(address(model, "change", row.pk), {"state": "disconnected"}).status_code == 403
    assert operator.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=row.pk).values().get() == before


def test_no_secret_is_shown(operator):
    user = UserFactory()
    key, raw = create_api_key(workspace_of(user), user=user, name="key", scopes=[ApiKey.Scope.READ])
    account = DeviantArtAccountFactory(
        workspace=workspace_of(user), access_token="v1:testkey:canary-one", refresh_token="v1:testkey:canary-two"
    )
    pages = [
        operator.get(address(type(row), page, *args)).content.decode()
        for row in (key, account, account.encryption_key)
        for page, args in (("changelist", ()), ("change", (row.pk,)))
    ]
    for secret in ("canary-one", "canary-two", key.secret_digest, raw[20:60], account.encryption_key.sentinel):
        assert not any(secret in page for page in pages), secret
    assert any(key.public_id in page for page in pages)


def test_accounts_are_held_and_released_by_actions(operator):
    account = DeviantArtAccountFactory()
    for action, paused in (("hold", True), ("release", False)):
        body = {"action": action, "_selected_action": [str(account.pk)]}
        assert operator.post(address(DeviantArtAccount, "changelist"), body).status_code == 302
        account.refresh_from_db()
        assert account.paused is paused
    events = AuditEvent.objects.filter(subject_id=account.pk)
    assert {event.verb for event in events} == {"account.paused", "account.released"}
    assert {event.user.username for event in events if event.user} == {"operator"}


def test_accounts_are_disconnected_by_an_action_and_their_owners_told(operator, sandbox, connect, monkeypatch):
    account, busy = connect("mira"), connect("nightjar")

    def refuse(each: DeviantArtAccount, _user: User) -> None:
        if each == busy:
            raise AccountBusy

    monkeypatch.setattr(connecting, "_BEFORE_DISCONNECT", [refuse])
    body = {"action": "disconnect", "_selected_action": [str(account.pk), str(busy.pk)]}
    page = operator.post(address(DeviantArtAccount, "changelist"), body, follow=True).content.decode()
    assert "mira is disconnected." in page
    assert "nightjar: A work of this account is on its way" in page
    account.refresh_from_db()
    busy.refresh_from_db()
    assert (account.state, account.refresh_token, busy.state) == ("disconnected", "", "active")
    assert [each["path"] for each in sandbox.ledger()["requests"]][-1] == "/oauth2/revoke"
    notification = Notification.objects.get()
    assert (notification.kind, notification.workspace) == ("account_disconnected", account.workspace)


def test_people_are_signed_out_by_an_action(operator):
    user = UserFactory()
    browser = Client()
    browser.force_login(user)
    operator.post(address(User, "changelist"), {"action": "sign_out", "_selected_action": [user.pk]})
    assert browser.get("/api/me/").status_code in {401, 403}
    assert operator.get(address(User, "changelist")).status_code == 200
    event = AuditEvent.objects.get(verb="user.signed_out_everywhere")
    assert (event.subject_id, event.user) == (user.pk, User.objects.get(username="operator"))


def test_keys_are_revoked_by_an_action(operator):
    user = UserFactory()
    key, _raw = create_api_key(workspace_of(user), user=user, name="key", scopes=[ApiKey.Scope.READ])
    operator.post(address(ApiKey, "changelist"), {"action": "revoke", "_selected_action": [str(key.pk)]})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_a_user_that_an_operator_makes_has_a_workspace(operator):
    body = {
        "username": "nightjar",
        "password1": "a long password of somebody",
        "password2": "a long password of somebody",
        "usable_password": "true",
    }
    answer = operator.post(address(User, "add"), body)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert Workspace.objects.of(User.objects.get(username="nightjar")).count() == 1


def test_people_are_not_deleted_but_made_inactive(operator):
    user = UserFactory()
    assert operator.post(address(User, "delete", user.pk), {"post": "yes"}).status_code == 403
    assert User.objects.filter(pk=user.pk).exists()


def test_only_operators_come_in(client, db):
    client.force_login(UserFactory())
    assert client.get("/admin/").status_code == 302
    assert client.get(address(DeviantArtAccount, "changelist")).status_code == 302


def test_the_first_operator_is_made_by_a_command(db, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "a long password of an operator")
    call_command("createsuperuser", "--noinput", "--username", "operator", "--email", "operator@example.org")
    operator = User.objects.get()
    assert operator.is_staff
    assert Workspace.objects.of(operator).count() == 1
    client = Client()
    assert (
        client.post("/sign-in/", {"username": "operator", "password": "a long password of an operator"}).status_code
        == 302
    )
