"""The operator's door to the publisher: what was sent, what came back, and who is at work."""

from typing import cast

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import TabularInline

from accounts.admin import ReadOnlyAdmin
from accounts.models import User
from deviations.models import Deviation
from publisher.models import Attempt, Publication, StashItem, Worker
from publisher.services.deciding import look_again_at_many


class AttemptsInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    model = Attempt
    fields = ("step", "started_at", "ended_at", "outcome", "category", "http_status", "error_code", "answer")
    readonly_fields = fields
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002
        return False


@admin.register(Publication)
class PublicationAdmin(ReadOnlyAdmin):
    list_display = ("deviation", "account", "state", "failures", "crashes", "url", "next_look_at", "published_at")
    list_filter = ("state", ("remote_deviation_id", admin.EmptyFieldListFilter))
    list_select_related = ("deviation", "account")
    search_fields = ("=id", "=deviation__id", "=remote_deviation_id", "deviation__title", "account__username")
    ordering = ("-created_at",)
    show_full_result_count = False
    inlines = (AttemptsInline,)
    actions = ("look_again",)

    @admin.action(description=_("Look again whether it is live"), permissions=["change"])
    def look_again(self, request: HttpRequest, publications: "models.QuerySet[Publication]") -> None:
        ids = list(publications.values_list("deviation_id", flat=True).distinct())
        result = look_again_at_many(Deviation.objects.all(), user=cast(User, request.user), ids=ids)
        refused = [item for item in result.items if item.error is not None]
        if done := len(result.items) - len(refused):
            text = ngettext("%(count)s work is looked for.", "%(count)s works are looked for.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS)
        for item in refused:
            self.message_user(request, f"{item.id}: {item.error}", messages.ERROR)


@admin.register(StashItem)
class StashItemAdmin(ReadOnlyAdmin):
    list_display = ("item_id", "publication", "account", "state", "created_at")
    list_filter = ("state",)
    list_select_related = ("publication", "account")
    search_fields = ("=item_id", "=publication__id", "account__username")
    ordering = ("-created_at",)
    show_full_result_count = False


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin):
    list_display = ("id", "publication", "step", "started_at", "ended_at", "outcome", "category", "http_status")
    list_filter = ("step", "outcome", "category")
    list_select_related = ("publication",)
    search_fields = ("=id", "=publication__id", "=publication__deviation__id", "=correlation_id")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ("host", "process_id", "slots", "started_at", "alive_until")
    ordering = ("-alive_until",)
