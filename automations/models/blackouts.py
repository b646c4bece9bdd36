from datetime import date
from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import DeviantArtAccount, User
from automations import slots
from isekai import clock
from isekai.ids import new_id


class BlackoutQuerySet(models.QuerySet["Blackout"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        return self.filter(account__workspace__memberships__user=user.pk)

    def ending_after(self, day: date) -> Self:
        """Those that are not over on ``day``."""
        return self.filter(until_date__gte=day)


class Blackout(models.Model):
    """Days on which no automation posts to an account: holidays."""

    class Handling(models.TextChoices):
        SKIP = "skip", _("Skip the slots")
        MOVE = "move", _("Move each to the next slot")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(DeviantArtAccount, models.CASCADE, related_name="blackouts", verbose_name=_("account"))
    name = models.CharField(_("name"), max_length=100, blank=True)
    # First and last day, in the zone of each automation that they stop.
    from_date = models.DateField(_("from"))
    until_date = models.DateField(_("until"))
    handling = models.CharField(_("what becomes of the slots"), max_length=8, choices=Handling, default=Handling.SKIP)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=clock.now, editable=False)

    objects = BlackoutQuerySet.as_manager()

    class Meta:
        verbose_name = _("blackout")
        verbose_name_plural = _("blackouts")
        constraints = [
            models.CheckConstraint(name="blackout_in_order", condition=Q(from_date__lte=F("until_date"))),
            models.CheckConstraint(name="blackout_handling_is_known", condition=Q(handling__in=["skip", "move"])),
        ]
        indexes = [models.Index(fields=["account", "until_date"], name="blackout_list")]

    def __str__(self) -> str:
        return self.name or f"{self.from_date} – {self.until_date}"

    def covers(self, day: date) -> bool:
        return self.from_date <= day <= self.until_date

    def for_slots(self) -> slots.BlackoutRange:
        return slots.BlackoutRange(self.from_date, self.until_date, self.handling)
