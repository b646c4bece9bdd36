"""What happened, for good; and what somebody is to be told."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User, Workspace
from isekai import clock


class AuditEvent(models.Model):
    """Append-only: who did what to which row, and why. Never changed, never cascaded away."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("when"), default=clock.now, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="+", null=True, verbose_name=_("workspace"))
    user = models.ForeignKey(User, models.SET_NULL, related_name="+", null=True, verbose_name=_("user"))
    # A code such as `deviation.scheduled`; its sentence is made when it is shown.
    verb = models.CharField(_("event"), max_length=64)
    subject_type = models.CharField(_("kind of subject"), max_length=32)
    subject_id = models.UUIDField(_("subject"))
    params = models.JSONField(_("parameters"), default=dict)
    correlation_id = models.CharField(_("correlation id"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        indexes = [
            models.Index(fields=["subject_id", "id"], name="audit_event_of_subject"),
            models.Index(fields=["workspace", "-id"], name="audit_event_list"),
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.subject_id}"


class Notification(models.Model):
    """An outbox: sent by a tick, so that no mail server can delay or undo what it tells of."""

    class Channel(models.TextChoices):
        EMAIL = "email", _("Email")

    id = models.BigAutoField(primary_key=True)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+", null=True, verbose_name=_("workspace"))
    # None: to the owners of the workspace, and where there is no workspace either, to the operators.
    user = models.ForeignKey(User, models.CASCADE, related_name="+", null=True, verbose_name=_("to"))
    kind = models.CharField(_("what"), max_length=64)
    params = models.JSONField(_("parameters"), default=dict)
    channel = models.CharField(_("channel"), max_length=16, choices=Channel, default=Channel.EMAIL)
    # One message a cause: a second one with the same key is not made.
    dedupe_key = models.CharField(max_length=200, null=True, blank=True, unique=True)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    due_at = models.DateTimeField(_("due"), default=clock.now)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        constraints = [
            models.CheckConstraint(name="notification_channel_is_known", condition=Q(channel__in=["email"])),
        ]
        indexes = [models.Index(fields=["due_at"], name="notification_due", condition=Q(sent_at__isnull=True))]

    def __str__(self) -> str:
        return self.kind
