"""What became of each slot."""

from datetime import datetime
from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from automations.models.automations import Automation
from automations.models.rules import ScheduleRule
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id


class ExecutionQuerySet(models.QuerySet["Execution"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        return self.filter(automation__workspace__memberships__user=user.pk)

    def ahead(self, now: datetime) -> Self:
        """Those whose moment has not come, so that a slot that was freed can still be filled."""
        return self.filter(slot_at__gt=now)


class Execution(models.Model):
    """One slot of one rule, made once: the row is written in the transaction that schedules its works.

    Unique by rule, local date and ordinal and not by moment, so that a rule that is moved by some minutes does not fire
    a second time on that day.
    """

    class Kind(models.TextChoices):
        SLOT = "slot", _("By its rule")
        RUN_NOW = "run_now", _("By hand")

    class Outcome(models.TextChoices):
        SCHEDULED = "scheduled", _("Scheduled")
        NONE_LEFT = "none_left", _("No draft left")
        CONDITION = "condition", _("Condition not met")
        BLACKOUT = "blackout", _("Holidays")
        MISSED = "missed", _("Missed")
        NOT_TAKEN = "not_taken", _("No draft could be taken")
        CANCELLED = "cancelled", _("Cancelled")
        UNDONE = "undone", _("Undone")

    id = models.BigAutoField(primary_key=True)
    automation = models.ForeignKey(Automation, models.CASCADE, related_name="executions", verbose_name=_("automation"))
    # Null for a run by hand, and once the rule is gone.
    rule = models.ForeignKey(
        ScheduleRule, models.SET_NULL, related_name="executions", null=True, blank=True, verbose_name=_("rule")
    )
    kind = models.CharField(_("kind"), max_length=16, choices=Kind, default=Kind.SLOT)
    # What was done in one go, and is undone in one.
    run_id = models.UUIDField(_("run"), default=new_id, editable=False)
    local_date = models.DateField(_("day"))
    ordinal = models.PositiveIntegerField(_("number on that day"), default=0)
    slot_at = models.DateTimeField(_("slot"))
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome)
    # A code and its parameters; the sentence is made when it is shown.
    reason_code = models.CharField(_("reason"), max_length=64, blank=True)
    reason_params = models.JSONField(_("reason's parameters"), default=dict, blank=True)
    made_at = models.DateTimeField(_("made"), default=clock.now)
    # When the slot was last filled or found empty again; a slot whose moment has not come may be filled anew.
    looked_at = models.DateTimeField(_("last looked at"), null=True, blank=True)

    objects = ExecutionQuerySet.as_manager()

    class Meta:
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        constraints = [
            models.UniqueConstraint(fields=["rule", "local_date", "ordinal"], name="execution_once_a_slot"),
            models.CheckConstraint(name="execution_kind_is_known", condition=Q(kind__in=["slot", "run_now"])),
            models.CheckConstraint(
                name="execution_by_hand_has_no_rule", condition=Q(kind="slot") | Q(rule__isnull=True)
            ),
            models.CheckConstraint(
                name="execution_outcome_is_known",
                condition=Q(
                    outcome__in=[
                        "scheduled",
                        "none_left",
                        "condition",
                        "blackout",
                        "missed",
                        "not_taken",
                        "cancelled",
                        "undone",
                    ]
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["automation", "-id"], name="execution_list"),
            models.Index(fields=["automation", "-slot_at"], name="execution_slots"),
            models.Index(fields=["slot_at"], name="execution_by_slot"),
            models.Index(fields=["run_id"], name="execution_of_run"),
        ]

    def __str__(self) -> str:
        return f"{self.local_date} #{self.ordinal}: {self.outcome}"


class ExecutionWork(models.Model):
    """A draft that an execution scheduled. Once it is a draft again, or belongs to another slot, it is *released*."""

    class Released(models.TextChoices):
        CANCELLED = "cancelled", _("Cancelled")
        MOVED = "moved", _("Given another time")
        UNDONE = "undone", _("Undone")
        TAKEN_AGAIN = "taken_again", _("Taken again by a later slot")

    id = models.BigAutoField(primary_key=True)
    execution = models.ForeignKey(Execution, models.CASCADE, related_name="works", verbose_name=_("run"))
    deviation = models.ForeignKey(Deviation, models.CASCADE, related_name="execution_works", verbose_name=_("work"))
    # The way by which it was chosen: of a mixture, the one that the draw fell on.
    method = models.CharField(_("chosen"), max_length=16, choices=Automation.Method)
    publish_at = models.DateTimeField(_("scheduled for"))
    # Field: what the draft said before the automation wrote into it, so that taking it back leaves nothing behind.
    values_before = models.JSONField(_("before"), default=dict, blank=True)
    # The number that `{counter}` stood for; null where no text had it.
    counter = models.PositiveIntegerField(_("number"), null=True, blank=True)
    # For the sale queue: the price that the work gets there once it is published.
    price_preset_id = models.UUIDField(_("price preset"), null=True, blank=True)
    made_at = models.DateTimeField(_("made"), default=clock.now)
    released_at = models.DateTimeField(_("released"), null=True, blank=True)
    released_because = models.CharField(_("released because"), max_length=16, choices=Released, blank=True)

    class Meta:
        verbose_name = _("work of a run")
        verbose_name_plural = _("works of runs")
        constraints = [
            models.UniqueConstraint(fields=["execution", "deviation"], name="execution_work_once"),
            # Two automations never have the same work.
            models.UniqueConstraint(
                fields=["deviation"], condition=Q(released_at__isnull=True), name="execution_work_of_one_slot"
            ),
            models.CheckConstraint(
                name="execution_work_released_with_a_reason",
                condition=Q(released_at__isnull=True, released_because="")
                | Q(released_at__isnull=False, released_because__in=["cancelled", "moved", "undone", "taken_again"]),
            ),
        ]
        indexes = [models.Index(fields=["deviation", "-id"], name="execution_work_history")]

    def __str__(self) -> str:
        return f"{self.execution_id}: {self.deviation_id}"
