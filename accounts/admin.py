"""The operator's door to people, accounts and keys. Secrets are never shown; states change by named actions alone."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from redis.exceptions import RedisError
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.models import (
    ApiKey,
    AuditEvent,
    DeviantArtAccount,
    EncryptionKey,
    IdempotencyKey,
    Identity,
    Membership,
    Notification,
    User,
    Workspace,
)
from accounts.services.api_keys import revoke_api_key
from accounts.services.connecting import disconnect_account
from accounts.services.holding import pause_account, release_account
from accounts.services.pacing import breaker, pace, reset_pace
from accounts.services.signing_out import sign_out_everywhere
from accounts.services.zones import change_time_zone
from deviantart.breaker import Position
from isekai.errors import IsekaiError


class KeptAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types; also below
    """Rows that are made by services and outlive whatever refers to them."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature, also below
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        return False


class ReadOnlyAdmin(KeptAdmin):
    """Rows to look at. The right to change stays for the list's actions."""

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return obj is None and super().has_change_permission(request)


class MembershipInline(TabularInline):  # type: ignore[misc]
    model = Membership
    fields = ("user", "workspace", "role", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("user", "workspace")
    extra = 0


class IdentityInline(TabularInline):  # type: ignore[misc]
    model = Identity
    fields = ("provider", "remote_id", "created_at")
    readonly_fields = fields
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        return False


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "time_zone", "is_staff", "is_active", "created_at")
    list_filter = ("is_staff", "is_active")
    search_fields = ("username", "email")
    ordering = ("username",)
    readonly_fields = ("last_login", "created_at")
    inlines = (MembershipInline, IdentityInline)
    actions = ("sign_out",)
    fieldsets = (
        (None, {"fields": ("username", "password", "email")}),
        (_("How the pages look"), {"fields": ("time_zone", "language", "theme")}),
        (_("Rights"), {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        (_("When"), {"fields": ("last_login", "created_at")}),
    )

    @admin.action(description=_("Sign out: end their sessions everywhere"), permissions=["change"])
    def sign_out(self, request: HttpRequest, people: models.QuerySet[User]) -> None:
        for person in people:
            sign_out_everywhere(person, user=cast(User, request.user))
        self.message_user(request, _("They are signed out everywhere."), messages.SUCCESS)

    def get_inlines(self, request: HttpRequest, obj: models.Model | None) -> tuple[Any, ...]:  # noqa: ARG002
        return () if obj is None else self.inlines

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's
        zone = obj.time_zone
        if change:
            # By its own service, since others have to know.
            obj.time_zone = form.initial["time_zone"]
        super().save_model(request, obj, form, change)
        if not change:
            Workspace.objects.make_for(obj)
        elif zone != obj.time_zone:
            try:
                # Whoever operates the installation sees it in the form: the automations go by these clocks.
                change_time_zone(obj, zone, is_confirmed=True)
            except IsekaiError as error:
                self.message_user(request, str(error), messages.ERROR)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        # What people did stays theirs; access is taken away by `active`.
        return False


@admin.register(Workspace)
class WorkspaceAdmin(KeptAdmin):
    list_display = ("name", "created_at")
    search_fields = ("name", "=id")
    ordering = ("name",)
    readonly_fields = ("created_at",)
    inlines = (MembershipInline,)


@admin.register(Membership)
class MembershipAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("user", "workspace", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "workspace")
    search_fields = ("user__username", "workspace__name")
    autocomplete_fields = ("user", "workspace")
    readonly_fields = ("created_at",)


@admin.register(Identity)
class IdentityAdmin(ReadOnlyAdmin):
    list_display = ("provider", "remote_id", "user", "created_at")
    list_select_related = ("user",)
    search_fields = ("remote_id", "user__username")


def _limits() -> list[Callable[[DeviantArtAccount], str]]:
    """Columns with the pace and the breaker of each account, read from Redis once a page; none while it is away."""
    try:
        paces = {state.account: state for state in pace().states()}
        breakers = {state.account: state for state in breaker().states()}
    except RedisError:
        return []

    @admin.display(description=_("Pace"))
    def pace_of(account: DeviantArtAccount) -> str:
        state = paces.get(str(account.pk))
        return "–" if state is None else _("%(seconds).1f s") % {"seconds": state.spacing_seconds}

    @admin.display(description=_("Breaker"))
    def breaker_of(account: DeviantArtAccount) -> str:
        state = breakers.get(str(account.pk))
        return str(Position.CLOSED if state is None else state.position)

    return [pace_of, breaker_of]


@admin.register(DeviantArtAccount)
class DeviantArtAccountAdmin(ReadOnlyAdmin):
    list_display = ("username", "workspace", "state", "paused", "not_before", "access_expires_at", "connected_at")
    list_filter = ("state", "paused", "base_url")
    list_select_related = ("workspace",)
    search_fields = ("username", "remote_user_id", "=id")
    ordering = ("username",)
    actions = ("hold", "release", "reset_pace", "disconnect")
    # Named one by one, so that no ciphertext comes along with a column that is added later.
    fields = (
        "workspace",
        "username",
        "remote_user_id",
        "base_url",
        "scopes",
        "state",
        "state_reason",
        "paused",
        "not_before",
        "not_before_reason",
        "late_limit_seconds",
        "access_expires_at",
        "refresh_expires_at",
        "token_version",
        "refresh_failures",
        "refresh_retry_at",
        "connected_at",
    )

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        return (*super().get_list_display(request), *_limits())

    @admin.action(description=_("Reset the pace, and close the breaker"), permissions=["change"])
    def reset_pace(self, request: HttpRequest, accounts: models.QuerySet[DeviantArtAccount]) -> None:
        try:
            self._do(request, accounts, reset_pace)
        except RedisError:
            self.message_user(request, _("Redis does not answer, so nothing was reset."), messages.ERROR)

    @admin.action(description=_("Hold: let nothing out"), permissions=["change"])
    def hold(self, request: HttpRequest, accounts: models.QuerySet[DeviantArtAccount]) -> None:
        self._do(request, accounts, pause_account)

    @admin.action(description=_("Release: let works out again"), permissions=["change"])
    def release(self, request: HttpRequest, accounts: models.QuerySet[DeviantArtAccount]) -> None:
        self._do(request, accounts, release_account)

    @admin.action(description=_("Disconnect: erase the login, here and at DeviantArt"), permissions=["change"])
    def disconnect(self, request: HttpRequest, accounts: models.QuerySet[DeviantArtAccount]) -> None:
        for account in accounts:
            try:
                is_revoked = disconnect_account(account, user=cast(User, request.user))
            except IsekaiError as error:
                self.message_user(request, f"{account.username}: {error}", messages.ERROR)
                continue
            if is_revoked:
                text, level = _("%(username)s is disconnected."), messages.SUCCESS
            else:
                text, level = _("%(username)s is disconnected, but DeviantArt could not be told."), messages.WARNING
            self.message_user(request, text % {"username": account.username}, level)

    def _do(
        self, request: HttpRequest, accounts: models.QuerySet[DeviantArtAccount], service: Callable[..., None]
    ) -> None:
        done = 0
        for account in accounts:
            service(account, user=cast(User, request.user))
            done += 1
        text = ngettext("%(count)s account was changed.", "%(count)s accounts were changed.", done) % {"count": done}
        self.message_user(request, text, messages.SUCCESS)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = ("name", "public_id", "user", "workspace", "scopes", "expires_at", "last_used_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user", "workspace")
    search_fields = ("name", "public_id", "user__username")
    ordering = ("-created_at",)
    fields = (
        "workspace",
        "user",
        "name",
        "public_id",
        "scopes",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    actions = ("revoke",)

    @admin.action(description=_("Revoke: end them for good"), permissions=["change"])
    def revoke(self, request: HttpRequest, keys: models.QuerySet[ApiKey]) -> None:
        for key in keys:
            revoke_api_key(key, user=cast(User, request.user))
        self.message_user(request, _("These keys are no longer good."), messages.SUCCESS)


@admin.register(EncryptionKey)
class EncryptionKeyAdmin(ReadOnlyAdmin):
    list_display = ("id", "created_at", "retired_at", "in_use")
    fields = ("id", "created_at", "retired_at", "in_use")

    @admin.display(description=_("secrets under it"))
    def in_use(self, key: EncryptionKey) -> int:
        return DeviantArtAccount.objects.filter(encryption_key=key).count()


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "verb", "subject_type", "subject_id", "user", "workspace")
    list_filter = ("subject_type", "verb")
    list_select_related = ("user", "workspace")
    search_fields = ("=subject_id", "=correlation_id", "verb")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "kind", "user", "workspace", "due_at", "attempts", "sent_at")
    list_filter = ("kind", ("sent_at", admin.EmptyFieldListFilter))
    list_select_related = ("user", "workspace")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin):
    list_display = ("key", "workspace", "response_status", "created_at", "expires_at")
    list_select_related = ("workspace",)
    # What was answered may show one person's works to another.
    fields = ("workspace", "key", "response_status", "created_at", "expires_at")
