from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import DeviantArtAccount
from isekai import clock
from isekai.ids import new_id


class InstallationHold(models.Model):
    """Why nothing of the whole installation goes out at the moment; without a row, everything may."""

    class Reason(models.TextChoices):
        RESTORED = "restored", _("The database is older than what was published")
        CLOCK = "clock", _("The clocks disagree")

    reason = models.CharField(_("reason"), max_length=16, choices=Reason, primary_key=True)
    params = models.JSONField(_("parameters"), default=dict, blank=True)
    since = models.DateTimeField(_("since"), default=clock.now)

    class Meta:
        verbose_name = _("hold of the installation")
        verbose_name_plural = _("holds of the installation")
        constraints = [
            models.CheckConstraint(
                name="installation_hold_reason_is_known", condition=Q(reason__in=["restored", "clock"])
            )
        ]

    def __str__(self) -> str:
        return self.reason


class GalleryCheckQuerySet(models.QuerySet["GalleryCheck"]):
    def pending(self) -> Self:
        return self.filter(done_at__isnull=True)


class GalleryCheck(models.Model):
    """An account's gallery that has to be read before anything of it goes out, as the database may have forgotten some.

    Everything that appeared there after ``published_after`` is compared with what we know.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    account = models.ForeignKey(
        DeviantArtAccount, models.PROTECT, related_name="gallery_checks", verbose_name=_("account")
    )
    published_after = models.DateTimeField(_("from"))
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    # When to try again, after DeviantArt could not be read.
    next_try_at = models.DateTimeField(_("next try"), default=clock.now)
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    objects = GalleryCheckQuerySet.as_manager()

    class Meta:
        verbose_name = _("gallery check")
        verbose_name_plural = _("gallery checks")
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(done_at__isnull=True), name="gallery_check_one_pending"
            )
        ]

    def __str__(self) -> str:
        return str(self.account_id)
