"""The operator's door to works: everything can be seen, nothing typed over; states change by named actions alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast
from uuid import UUID

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import TabularInline

from accounts.admin import ReadOnlyAdmin
from accounts.models import User
from deviations.models import Deviation, DeviationFile, DeviationQuerySet, FileVariant, Upload
from deviations.services.changing import BULK_MAX, BulkResult, ItemResult
from deviations.services.scheduling import cancel_many, publish_many_now, retry_many
from deviations.services.trashing import restore_many, trash_many
from isekai.errors import IsekaiError

REASONS_SHOWN = 5


def do_to_works(
    page: ReadOnlyAdmin, request: HttpRequest, ids: Sequence[UUID], service: Callable[..., BulkResult]
) -> None:
    """Do it to all these works, and say on ``page`` how many went well and why the others did not."""
    items: list[ItemResult] = []
    for start in range(0, len(ids), BULK_MAX):
        chunk = ids[start : start + BULK_MAX]
        items += service(Deviation.objects.all(), user=cast(User, request.user), ids=chunk).items
    refused = {item.id: item.error for item in items if item.error is not None}
    if done := len(items) - len(refused):
        text = ngettext("Done: %(count)s work.", "Done: %(count)s works.", done) % {"count": done}
        page.message_user(request, text, messages.SUCCESS)
    tell_refused(page, request, refused)


def tell_refused(page: ReadOnlyAdmin, request: HttpRequest, refused: Mapping[UUID, IsekaiError]) -> None:
    """Say on ``page`` why something could not be done to these, as far as there is room."""
    for pk, error in list(refused.items())[:REASONS_SHOWN]:
        page.message_user(request, f"{pk}: {error}", messages.ERROR)
    if (more := len(refused) - REASONS_SHOWN) > 0:
        text = ngettext("… and %(count)s more.", "… and %(count)s more.", more) % {"count": more}
        page.message_user(request, text, messages.ERROR)


class FilesInline(TabularInline):  # type: ignore[misc]  # unfold has no types; also below
    model = DeviationFile
    fields = ("position", "original_name", "content_type", "size", "width", "height", "media_state", "sha256")
    readonly_fields = fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002 - Django's signature
        return False


@admin.register(Deviation)
class DeviationAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "workspace", "account", "status", "reason_code", "publish_at", "due_at", "trashed_at")
    list_filter = ("status", "kind", "reason_code", ("trashed_at", admin.EmptyFieldListFilter))
    list_select_related = ("workspace", "account")
    search_fields = ("=id", "title", "account__username")
    ordering = ("-updated_at", "-id")
    show_full_result_count = False
    inlines = (FilesInline,)
    actions = ("retry", "publish_now", "cancel", "trash", "restore")

    @admin.action(description=_("Try again"), permissions=["change"])
    def retry(self, request: HttpRequest, works: DeviationQuerySet) -> None:
        self._do(request, works, retry_many)

    @admin.action(description=_("Publish now"), permissions=["change"])
    def publish_now(self, request: HttpRequest, works: DeviationQuerySet) -> None:
        self._do(request, works, publish_many_now)

    @admin.action(description=_("Cancel: take off the schedule"), permissions=["change"])
    def cancel(self, request: HttpRequest, works: DeviationQuerySet) -> None:
        self._do(request, works, cancel_many)

    @admin.action(description=_("Put into the trash"), permissions=["change"])
    def trash(self, request: HttpRequest, works: DeviationQuerySet) -> None:
        self._do(request, works, trash_many)

    @admin.action(description=_("Restore from the trash"), permissions=["change"])
    def restore(self, request: HttpRequest, works: DeviationQuerySet) -> None:
        self._do(request, works, restore_many)

    def _do(self, request: HttpRequest, works: DeviationQuerySet, service: Callable[..., BulkResult]) -> None:
        do_to_works(self, request, list(works.values_list("pk", flat=True)), service)


class VariantsInline(TabularInline):  # type: ignore[misc]
    model = FileVariant
    fields = ("kind", "content_type", "size", "width", "height", "sha256", "perceptual_hash")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        return False


@admin.register(DeviationFile)
class DeviationFileAdmin(ReadOnlyAdmin):
    list_display = ("original_name", "deviation", "content_type", "size", "media_state", "media_reason_code")
    list_filter = ("media_state", "content_type")
    list_select_related = ("deviation",)
    search_fields = ("=id", "=deviation__id", "original_name", "=sha256")
    ordering = ("-created_at",)
    show_full_result_count = False
    inlines = (VariantsInline,)


@admin.register(FileVariant)
class FileVariantAdmin(ReadOnlyAdmin):
    list_display = ("id", "file", "kind", "content_type", "size", "created_at")
    list_filter = ("kind", "content_type")
    list_select_related = ("file",)
    search_fields = ("=id", "=file__id", "=sha256")
    ordering = ("-created_at",)
    show_full_result_count = False


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin):
    list_display = ("filename", "workspace", "state", "reason_code", "declared_content_type", "size", "created_at")
    list_filter = ("state", "reason_code")
    list_select_related = ("workspace",)
    search_fields = ("=id", "filename", "=sha256")
    ordering = ("-created_at",)
    show_full_result_count = False
