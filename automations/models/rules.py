from datetime import datetime
from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from automations import slots
from automations.models.automations import Automation
from deviations.models.fields import LocalDateTimeField
from isekai import clock
from isekai.ids import new_id

MINUTES_OF_A_WEEK = 7 * 24 * 60
INTERVAL_MIN_MINUTES, INTERVAL_MAX_MINUTES = 5, 4 * MINUTES_OF_A_WEEK
QUOTA_MAX = 100
WORKS_MAX = 100
WEEKDAYS = list(range(7))


class _EachIn(Func):
    """Whether each number of an array lies between two others, both included; true for no array."""

    template = "(%(least)s <= ALL (%(expressions)s) AND %(most)s >= ALL (%(expressions)s))"
    output_field = models.BooleanField()


class ScheduleRuleQuerySet(models.QuerySet["ScheduleRule"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        return self.filter(automation__workspace__memberships__user=user.pk)

    def due(self, until: datetime) -> Self:
        """Those with a slot before or at ``until`` that may not have been made yet."""
        return self.filter(enabled=True, next_slot_at__lte=until)


class ScheduleRule(models.Model):
    """When an automation posts. Times are on the wall of the automation's zone; only `next_slot_at` is an instant.

    A column that another type of rule uses is null; the database sees to it.
    """

    class Type(models.TextChoices):
        FIXED_TIME = "fixed_time", _("At a time of day")
        FIXED_INTERVAL = "fixed_interval", _("Every so many minutes")
        DAILY_QUOTA = "daily_quota", _("So many a day")
        TIME_WINDOW = "time_window", _("Some time between")
        WEEKDAY_SLOTS = "weekday_slots", _("A table of the week")
        CRON = "cron", _("A cron expression")

    class OnBlackout(models.TextChoices):
        SKIP = "skip", _("Skip")
        MOVE = "move", _("Move to the next slot")

    # What each type needs, and what it may have besides; every other of these columns is null.
    NEEDS: dict[str, tuple[str, ...]] = {
        Type.FIXED_TIME: ("time_of_day",),
        Type.FIXED_INTERVAL: ("interval_minutes", "anchor_local"),
        Type.DAILY_QUOTA: ("quota",),
        Type.TIME_WINDOW: ("window_start",),
        Type.WEEKDAY_SLOTS: ("week_minutes", "week_numbers"),
        Type.CRON: ("cron",),
    }
    MAY_HAVE: dict[str, tuple[str, ...]] = {
        Type.FIXED_TIME: ("weekdays",),
        Type.FIXED_INTERVAL: ("weekdays", "window_start", "window_end"),
        Type.DAILY_QUOTA: ("weekdays", "window_start", "window_end"),
        Type.TIME_WINDOW: ("weekdays", "window_end"),
        Type.WEEKDAY_SLOTS: (),
        Type.CRON: (),
    }
    # Types whose slots are counted within their day, so that after a change of step, window or expression another one
    # may have the number of one that was made. Of every other type a slot stays the same one at whatever moment.
    COUNTED = (Type.FIXED_INTERVAL, Type.CRON)
    OF_A_TYPE = (
        "time_of_day",
        "interval_minutes",
        "anchor_local",
        "quota",
        "window_start",
        "window_end",
        "week_minutes",
        "week_numbers",
        "cron",
        "weekdays",
    )

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    automation = models.ForeignKey(Automation, models.CASCADE, related_name="rules", verbose_name=_("automation"))
    type = models.CharField(_("type"), max_length=16, choices=Type)

    time_of_day = models.TimeField(_("time"), null=True, blank=True)
    interval_minutes = models.PositiveIntegerField(
        _("every (minutes)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(INTERVAL_MIN_MINUTES), MaxValueValidator(INTERVAL_MAX_MINUTES)],
    )
    # From when an interval is counted.
    anchor_local = LocalDateTimeField(_("counted from"), null=True, blank=True)
    quota = models.PositiveSmallIntegerField(
        _("works a day"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(QUOTA_MAX)]
    )
    # Without a start from midnight, without an end until midnight.
    window_start = models.TimeField(_("not before"), null=True, blank=True)
    window_end = models.TimeField(_("before"), null=True, blank=True)
    # Minutes since Monday 00:00, in their order.
    week_minutes = ArrayField(models.PositiveSmallIntegerField(), verbose_name=_("week"), null=True, blank=True)
    # By which number each of those minutes is known on its day: one that is moved keeps it, so that it is made once.
    week_numbers = ArrayField(models.PositiveSmallIntegerField(), null=True, blank=True, editable=False)
    cron = models.CharField(_("cron expression"), max_length=100, null=True, blank=True)
    # 0 is Monday; null: every day.
    weekdays = ArrayField(models.PositiveSmallIntegerField(), verbose_name=_("days"), null=True, blank=True)

    works_per_slot = models.PositiveSmallIntegerField(
        _("works at once"), default=1, validators=[MinValueValidator(1), MaxValueValidator(WORKS_MAX)]
    )
    priority = models.IntegerField(_("priority"), default=0)  # the lowest first
    enabled = models.BooleanField(_("switched on"), default=True)
    valid_from = models.DateField(_("from"), null=True, blank=True)
    valid_until = models.DateField(_("until"), null=True, blank=True)
    # Null: as the blackout itself says.
    on_blackout = models.CharField(_("in a blackout"), max_length=8, choices=OnBlackout, null=True, blank=True)

    # Conditions; null: none.
    quiet_hours = models.PositiveSmallIntegerField(
        _("only if nothing went out for (hours)"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    max_per_week = models.PositiveSmallIntegerField(
        _("at most a week"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    min_drafts_left = models.PositiveIntegerField(
        _("only while at least so many drafts are left"), null=True, blank=True, validators=[MinValueValidator(1)]
    )

    # The earliest slot that was not made yet: a cache of what the slots say, so that a tick finds the few rules that
    # have something to do. Null while rule or automation is off or paused, and when nothing is ahead.
    next_slot_at = models.DateTimeField(_("next slot"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=clock.now, editable=False)

    objects = ScheduleRuleQuerySet.as_manager()

    class Meta:
        verbose_name = _("rule")
        verbose_name_plural = _("rules")
        constraints = [
            # One for each type; what is written out here follows NEEDS and MAY_HAVE, which a test compares.
            models.CheckConstraint(
                name="schedule_rule_type_is_known",
                condition=Q(
                    type__in=["fixed_time", "fixed_interval", "daily_quota", "time_window", "weekday_slots", "cron"]
                ),
            ),
            models.CheckConstraint(
                name="schedule_rule_has_what_its_type_needs",
                condition=Q(type="fixed_time", time_of_day__isnull=False)
                | Q(type="fixed_interval", interval_minutes__isnull=False, anchor_local__isnull=False)
                | Q(type="daily_quota", quota__isnull=False)
                | Q(type="time_window", window_start__isnull=False)
                | Q(type="weekday_slots", week_minutes__isnull=False, week_numbers__isnull=False)
                | Q(type="cron", cron__isnull=False),
            ),
            models.CheckConstraint(
                name="schedule_rule_has_nothing_of_another_type",
                condition=(Q(time_of_day__isnull=True) | Q(type="fixed_time"))
                & (Q(interval_minutes__isnull=True, anchor_local__isnull=True) | Q(type="fixed_interval"))
                & (Q(quota__isnull=True) | Q(type="daily_quota"))
                & (
                    Q(window_start__isnull=True, window_end__isnull=True)
                    | Q(type__in=["fixed_interval", "daily_quota", "time_window"])
                )
                & (Q(week_minutes__isnull=True, week_numbers__isnull=True) | Q(type="weekday_slots"))
                & (Q(cron__isnull=True) | Q(type="cron"))
                & (Q(weekdays__isnull=True) | ~Q(type__in=["weekday_slots", "cron"])),
            ),
            models.CheckConstraint(
                name="schedule_rule_interval_in_range",
                condition=Q(interval_minutes__isnull=True)
                | Q(interval_minutes__range=(INTERVAL_MIN_MINUTES, INTERVAL_MAX_MINUTES)),
            ),
            models.CheckConstraint(
                name="schedule_rule_quota_in_range", condition=Q(quota__isnull=True) | Q(quota__range=(1, QUOTA_MAX))
            ),
            # A quota says how many a day; that must stay true.
            models.CheckConstraint(
                name="schedule_rule_works_in_range",
                condition=Q(works_per_slot__range=(1, WORKS_MAX)) & (~Q(type="daily_quota") | Q(works_per_slot=1)),
            ),
            models.CheckConstraint(
                name="schedule_rule_window_within_a_day",
                condition=Q(window_start__isnull=True)
                | Q(window_end__isnull=True)
                | Q(window_start__lt=F("window_end")),
            ),
            models.CheckConstraint(
                name="schedule_rule_window_is_not_empty",
                condition=Q(window_end__isnull=True) | ~Q(window_end="00:00"),
            ),
            models.CheckConstraint(
                name="schedule_rule_weekdays_are_days",
                condition=Q(weekdays__isnull=True) | Q(weekdays__contained_by=WEEKDAYS, weekdays__len__gte=1),
            ),
            models.CheckConstraint(
                name="schedule_rule_week_has_minutes",
                condition=Q(week_minutes__isnull=True)
                | Q(week_minutes__len__gte=1, week_minutes__len=F("week_numbers__len")),
            ),
            models.CheckConstraint(
                name="schedule_rule_week_minutes_of_a_week",
                condition=Q(week_minutes__isnull=True)
                | Q(_EachIn("week_minutes", least=0, most=MINUTES_OF_A_WEEK - 1)),
            ),
            models.CheckConstraint(
                name="schedule_rule_valid_in_order",
                condition=Q(valid_from__isnull=True)
                | Q(valid_until__isnull=True)
                | Q(valid_from__lte=F("valid_until")),
            ),
            models.CheckConstraint(
                name="schedule_rule_on_blackout_is_known",
                condition=Q(on_blackout__isnull=True) | Q(on_blackout__in=["skip", "move"]),
            ),
            models.CheckConstraint(
                name="schedule_rule_conditions_say_something",
                condition=(Q(quiet_hours__isnull=True) | Q(quiet_hours__gte=1))
                & (Q(max_per_week__isnull=True) | Q(max_per_week__gte=1))
                & (Q(min_drafts_left__isnull=True) | Q(min_drafts_left__gte=1)),
            ),
            models.CheckConstraint(
                name="schedule_rule_off_has_no_next_slot", condition=Q(enabled=True) | Q(next_slot_at__isnull=True)
            ),
        ]
        indexes = [
            models.Index(fields=["automation", "priority", "id"], name="schedule_rule_list"),
            models.Index(
                fields=["next_slot_at", "id"],
                name="schedule_rule_due",
                condition=Q(enabled=True, next_slot_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_type_display()} {self.pk}"

    def for_slots(self) -> slots.Rule:
        """What slots are computed from."""
        return slots.Rule(
            id=self.pk,
            type=self.type,
            time_of_day=self.time_of_day,
            interval_minutes=self.interval_minutes,
            anchor_local=self.anchor_local,
            quota=self.quota,
            window_start=self.window_start,
            window_end=self.window_end,
            week_minutes=tuple(self.week_minutes or ()),
            week_numbers=tuple(self.week_numbers or ()),
            cron=self.cron or "",
            weekdays=None if self.weekdays is None else frozenset(self.weekdays),
            works_per_slot=self.works_per_slot,
            priority=self.priority,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            on_blackout=self.on_blackout,
        )
