"""The libraries' rows in the clothes of our admin: whatever is registered without unfold looks unstyled beside it."""

from typing import Any

from axes.admin import AccessAttemptAdmin, AccessFailureLogAdmin, AccessLogAdmin
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group
from django_celery_beat.admin import (
    ClockedScheduleAdmin,
    CrontabScheduleAdmin,
    PeriodicTaskAdmin,
    PeriodicTaskForm,
    PeriodicTaskInline,
    TaskSelectWidget,
)
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

for model in (
    Group,
    AccessAttempt,
    AccessLog,
    AccessFailureLog,
    PeriodicTask,
    IntervalSchedule,
    CrontabSchedule,
    ClockedSchedule,
    SolarSchedule,
):
    admin.site.unregister(model)


@admin.register(Group)
class UnfoldGroupAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types; also below
    pass


@admin.register(AccessAttempt)
class UnfoldAccessAttemptAdmin(AccessAttemptAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(AccessLog)
class UnfoldAccessLogAdmin(AccessLogAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(AccessFailureLog)
class UnfoldAccessFailureLogAdmin(AccessFailureLogAdmin, ModelAdmin):  # type: ignore[misc]
    pass


class UnfoldTaskSelectWidget(UnfoldAdminSelectWidget, TaskSelectWidget):  # type: ignore[misc]
    """The names of the tasks that Celery knows, which the library's widget finds."""


class UnfoldPeriodicTaskForm(PeriodicTaskForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = UnfoldTaskSelectWidget()


class TasksInline(PeriodicTaskInline, TabularInline):  # type: ignore[misc]
    pass


@admin.register(PeriodicTask)
class UnfoldPeriodicTaskAdmin(PeriodicTaskAdmin, ModelAdmin):  # type: ignore[misc]
    form = UnfoldPeriodicTaskForm


@admin.register(IntervalSchedule, SolarSchedule)
class UnfoldScheduleAdmin(ModelAdmin):  # type: ignore[misc]
    inlines = (TasksInline,)


@admin.register(CrontabSchedule)
class UnfoldCrontabScheduleAdmin(CrontabScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    inlines = (TasksInline,)


@admin.register(ClockedSchedule)
class UnfoldClockedScheduleAdmin(ClockedScheduleAdmin, ModelAdmin):  # type: ignore[misc]
    inlines = (TasksInline,)
