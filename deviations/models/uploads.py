from datetime import datetime
from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User, Workspace
from deviations.errors import InvalidTransition
from deviations.models.deviations import Deviation
from isekai import clock
from isekai.ids import new_id


class UploadQuerySet(models.QuerySet["Upload"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        return self.filter(workspace__memberships__user=user.pk)

    def unread(self, before: datetime) -> Self:
        """Said to be complete before that moment, and still not read."""
        return self.filter(state=Upload.State.READING, completed_at__lt=before)

    def free_to_read(self, before: datetime) -> Self:
        """To be read, and nobody has begun with it since that moment."""
        nobody = Q(read_started_at__isnull=True) | Q(read_started_at__lt=before)
        return self.filter(nobody, state=Upload.State.READING)


class Upload(models.Model):
    """A ticket: one file that may be put at one place in storage, until it is used in a work."""

    class State(models.TextChoices):
        ISSUED = "issued", _("Waiting for the file")
        READING = "reading", _("Being read")
        VERIFIED = "verified", _("Verified")
        REJECTED = "rejected", _("Rejected")
        USED = "used", _("Used in a work")

    TRANSITIONS: dict[State, set[State]] = {
        State.ISSUED: {State.READING},
        State.READING: {State.VERIFIED, State.REJECTED},
        State.VERIFIED: {State.USED},
        State.REJECTED: set(),
        State.USED: {State.VERIFIED},  # its file was taken out of the work again
    }

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="uploads", verbose_name=_("workspace"))
    created_by = models.ForeignKey(
        User, models.SET_NULL, related_name="+", null=True, blank=True, verbose_name=_("uploaded by")
    )
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.ISSUED)
    reason_code = models.CharField(_("reason"), max_length=64, blank=True)
    reason_params = models.JSONField(_("reason's parameters"), default=dict, blank=True)
    # As announced by the caller; only data, never part of a key.
    filename = models.CharField(_("file name"), max_length=255)
    declared_content_type = models.CharField(_("announced type"), max_length=50)
    declared_size = models.PositiveBigIntegerField(_("announced size (bytes)"))
    storage_key = models.CharField(_("storage key"), max_length=300, unique=True, editable=False)
    expires_at = models.DateTimeField(_("ticket until"))
    # As we read it ourselves.
    content_type = models.CharField(_("type"), max_length=50, blank=True)
    size = models.PositiveBigIntegerField(_("size (bytes)"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True)
    width = models.PositiveIntegerField(_("width (px)"), null=True, blank=True)
    height = models.PositiveIntegerField(_("height (px)"), null=True, blank=True)
    duration_seconds = models.FloatField(_("duration (s)"), null=True, blank=True)
    # How often a reader died over it: after a few times it is rejected instead of killing the next one.
    read_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    # Who reads it now, known by when they began: a lease, and the fence for what they find.
    read_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    deviation = models.ForeignKey(
        Deviation, models.SET_NULL, related_name="+", null=True, blank=True, verbose_name=_("work")
    )
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    completed_at = models.DateTimeField(_("completed"), null=True, blank=True)

    objects = UploadQuerySet.as_manager()

    class Meta:
        verbose_name = _("upload")
        verbose_name_plural = _("uploads")
        constraints = [
            models.CheckConstraint(
                name="upload_state_is_known",
                condition=Q(state__in=["issued", "reading", "verified", "rejected", "used"]),
            ),
            models.CheckConstraint(
                name="upload_verified_was_read",
                condition=~Q(state__in=["verified", "used"])
                | (Q(size__isnull=False) & ~Q(sha256="") & ~Q(content_type="")),
            ),
            models.CheckConstraint(
                name="upload_rejected_with_a_reason", condition=~Q(state="rejected") | ~Q(reason_code="")
            ),
        ]
        indexes = [
            models.Index(fields=["completed_at"], name="upload_unread", condition=Q(state="reading")),
            models.Index(fields=["created_at"], name="upload_unused", condition=~Q(state="used")),
        ]

    def __str__(self) -> str:
        return self.filename

    def move_to(self, state: State, *, reason: str = "", params: dict[str, object] | None = None) -> None:
        """Change ``state`` and its reason in memory; the caller holds the row's lock and saves.

        Raises InvalidTransition.
        """
        if state not in self.TRANSITIONS[self.State(self.state)]:
            raise InvalidTransition(
                _("An upload that is “%(old)s” cannot become “%(new)s”.")
                % {"old": self.State(self.state).label, "new": state.label}
            )
        self.state = state
        self.reason_code = reason
        self.reason_params = params or {}
