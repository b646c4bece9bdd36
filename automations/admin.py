"""The operator's door to automations: when they run, what they choose and what became of each slot."""

from collections.abc import Callable
from typing import cast

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import TabularInline

from accounts.admin import ReadOnlyAdmin
from accounts.models import User
from automations.models import (
    Automation,
    AutomationQuerySet,
    Blackout,
    DefaultValue,
    Execution,
    ExecutionWork,
    ScheduleRule,
)
from automations.services.changing import BulkResult
from automations.services.switching import go_on_many, pause_many, switch_many_off
from deviations.admin import tell_refused
from deviations.services.changing import BULK_MAX


class LookingInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:  # noqa: ARG002 - Django's signature
        return False


class RulesInline(LookingInline):
    model = ScheduleRule
    fields = (
        "type",
        "time_of_day",
        "interval_minutes",
        "quota",
        "window_start",
        "window_end",
        "week_minutes",
        "cron",
        "weekdays",
        "works_per_slot",
        "priority",
        "enabled",
        "next_slot_at",
    )
    readonly_fields = fields
    ordering = ("priority", "id")
    show_change_link = True


class DefaultValuesInline(LookingInline):
    model = DefaultValue
    fields = ("field", "value", "mode")
    readonly_fields = fields
    ordering = ("field",)


@admin.register(Automation)
class AutomationAdmin(ReadOnlyAdmin):
    list_display = ("name", "workspace", "account", "enabled", "paused_at", "method", "combine", "next_slot_at")
    list_filter = ("enabled", ("paused_at", admin.EmptyFieldListFilter), "method", "combine", "stash_only")
    list_select_related = ("workspace", "account")
    search_fields = ("=id", "name", "account__username", "workspace__name")
    ordering = ("-updated_at", "-id")
    show_full_result_count = False
    inlines = (RulesInline, DefaultValuesInline)
    actions = ("pause", "go_on", "switch_off")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Automation]:
        rules = ScheduleRule.objects.filter(automation=models.OuterRef("pk")).order_by("next_slot_at")
        first = models.Subquery(rules.values("next_slot_at")[:1])
        return super().get_queryset(request).annotate(first_slot_at=first)

    @admin.display(description=_("Next slot"), ordering="first_slot_at")
    def next_slot_at(self, automation: Automation) -> object:
        return getattr(automation, "first_slot_at")  # noqa: B009 - no field of the model

    @admin.action(description=_("Pause: make no slots until they go on"), permissions=["change"])
    def pause(self, request: HttpRequest, automations: AutomationQuerySet) -> None:
        self._do(request, automations, pause_many)

    @admin.action(description=_("Go on: undo a pause"), permissions=["change"])
    def go_on(self, request: HttpRequest, automations: AutomationQuerySet) -> None:
        self._do(request, automations, go_on_many)

    @admin.action(description=_("Switch off"), permissions=["change"])
    def switch_off(self, request: HttpRequest, automations: AutomationQuerySet) -> None:
        self._do(request, automations, switch_many_off)

    def _do(self, request: HttpRequest, automations: AutomationQuerySet, service: Callable[..., BulkResult]) -> None:
        ids = list(automations.order_by("pk").values_list("pk", flat=True))
        items = [
            item
            for start in range(0, len(ids), BULK_MAX)
            for item in service(
                Automation.objects.all(), user=cast(User, request.user), ids=ids[start : start + BULK_MAX]
            ).items
        ]
        if done := sum(item.done for item in items):
            text = ngettext("Done: %(count)s automation.", "Done: %(count)s automations.", done) % {"count": done}
            self.message_user(request, text, messages.SUCCESS)
        tell_refused(self, request, {item.id: item.error for item in items if item.error is not None})


@admin.register(ScheduleRule)
class ScheduleRuleAdmin(ReadOnlyAdmin):
    list_display = ("id", "automation", "type", "priority", "enabled", "next_slot_at")
    list_filter = ("type", "enabled", ("next_slot_at", admin.EmptyFieldListFilter))
    list_select_related = ("automation",)
    search_fields = ("=id", "=automation__id", "automation__name")
    ordering = ("next_slot_at", "id")
    show_full_result_count = False


class WorksInline(LookingInline):
    model = ExecutionWork
    fields = ("deviation", "method", "publish_at", "counter", "released_at", "released_because")
    readonly_fields = fields
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ExecutionWork]:
        return super().get_queryset(request).select_related("deviation")


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    list_display = ("id", "automation", "kind", "local_date", "ordinal", "slot_at", "outcome", "reason_code", "made_at")
    list_filter = ("outcome", "kind", "reason_code")
    list_select_related = ("automation",)
    search_fields = ("=automation__id", "=rule__id", "=run_id", "automation__name")
    ordering = ("-id",)
    show_full_result_count = False
    inlines = (WorksInline,)


@admin.register(Blackout)
class BlackoutAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "account", "from_date", "until_date", "handling")
    list_filter = ("handling",)
    list_select_related = ("account",)
    search_fields = ("=id", "name", "account__username")
    ordering = ("-until_date", "-id")
    show_full_result_count = False
