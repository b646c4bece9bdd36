from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from publisher.models.publications import Publication, StashItem


class AttemptQuerySet(models.QuerySet["Attempt"]):
    def publishing(self) -> Self:
        return self.filter(step=Attempt.Step.PUBLISH)

    def unsettled(self) -> Self:
        """Calls of which nobody knows what they did: still open or ended without an answer, and not settled by hand."""
        return self.filter(Q(outcome__isnull=True) | Q(outcome=Attempt.Outcome.UNKNOWN), settled_at__isnull=True)


class Attempt(models.Model):
    """One call to DeviantArt: written down before it is made, closed by whoever made it, never deleted."""

    class Step(models.TextChoices):
        SUBMIT = "submit", _("Upload")
        PUBLISH = "publish", _("Publish")
        LOOK_UP = "look_up", _("Look-up")

    class Outcome(models.TextChoices):
        DONE = "done", _("Done")
        REFUSED = "refused", _("Refused")
        UNKNOWN = "unknown", _("Unknown")

    id = models.BigAutoField(primary_key=True)
    publication = models.ForeignKey(Publication, models.PROTECT, related_name="attempts", verbose_name=_("publication"))
    stash_item = models.ForeignKey(
        StashItem, models.PROTECT, related_name="attempts", null=True, verbose_name=_("stash item")
    )
    step = models.CharField(_("step"), max_length=16, choices=Step)
    lease_id = models.UUIDField(_("lease"))
    worker_id = models.UUIDField(_("worker"))
    correlation_id = models.CharField(_("correlation id"), max_length=64, blank=True)
    # By the database's clock.
    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"), null=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome, null=True)
    category = models.CharField(_("category"), max_length=32, blank=True)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    error_code = models.IntegerField(_("DeviantArt's code"), null=True)
    answer = models.TextField(_("answer"), blank=True)
    remote_ids = models.JSONField(_("ids that came back"), default=dict)
    # When a person said that this call, whose outcome was unknown, made nothing live.
    settled_at = models.DateTimeField(_("settled by hand"), null=True)
    # DeviantArt's clock as its answer had it.
    remote_date = models.DateTimeField(_("DeviantArt's time"), null=True)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        constraints = [
            models.CheckConstraint(
                name="attempt_step_is_known", condition=Q(step__in=["submit", "publish", "look_up"])
            ),
            models.CheckConstraint(
                name="attempt_outcome_is_known",
                condition=Q(outcome__isnull=True, ended_at__isnull=True)
                | Q(outcome__in=["done", "refused", "unknown"], ended_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["publication", "id"], name="attempt_of_publication"),
            models.Index(
                fields=["publication"],
                name="attempt_unsettled",
                condition=(Q(outcome__isnull=True) | Q(outcome="unknown")) & Q(settled_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.step} {self.publication_id}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None
