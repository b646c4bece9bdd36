from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.encryption import EncryptionKey
from accounts.models.users import User, Workspace
from isekai import clock
from isekai.ids import new_id


class DeviantArtAccountQuerySet(models.QuerySet["DeviantArtAccount"]):
    def owned_by(self, user: User) -> Self:
        return self.filter(workspace__memberships__user=user)

    def connected(self) -> Self:
        return self.exclude(state=DeviantArtAccount.State.DISCONNECTED)


class DeviantArtAccount(models.Model):
    """An account at DeviantArt that a workspace publishes to, with its encrypted pair of tokens."""

    class State(models.TextChoices):
        ACTIVE = "active", _("Active")
        REAUTH_REQUIRED = "reauth_required", _("Login lost")
        DISCONNECTED = "disconnected", _("Disconnected")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(
        Workspace, models.PROTECT, related_name="deviantart_accounts", verbose_name=_("workspace")
    )
    remote_user_id = models.CharField(_("id at DeviantArt"), max_length=64)
    username = models.CharField(_("user name"), max_length=100)
    avatar_url = models.URLField(_("picture"), max_length=500, blank=True)
    scopes = ArrayField(models.CharField(max_length=50), verbose_name=_("granted scopes"), default=list, blank=True)
    # A work must never be sent to another server than the one that the artist connected.
    base_url = models.URLField(_("connected at"), max_length=200)

    # `v1:<key id>:<base64>`; empty once disconnected. They are read and written by services/tokens.py only.
    access_token = models.TextField(editable=False, blank=True)
    refresh_token = models.TextField(editable=False, blank=True)
    encryption_key = models.ForeignKey(
        EncryptionKey, models.PROTECT, related_name="+", null=True, blank=True, editable=False
    )
    access_expires_at = models.DateTimeField(_("access until"), null=True, blank=True)
    refresh_expires_at = models.DateTimeField(_("login until"), null=True, blank=True)
    token_version = models.PositiveIntegerField(_("token version"), default=0)
    refresh_lease_id = models.UUIDField(null=True, blank=True, editable=False)
    refresh_lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    state = models.CharField(_("state"), max_length=16, choices=State, default=State.ACTIVE)
    state_reason = models.CharField(_("reason"), max_length=50, blank=True)
    paused = models.BooleanField(_("paused"), default=False)
    not_before = models.DateTimeField(_("nothing before"), null=True, blank=True)
    not_before_reason = models.CharField(_("why not before"), max_length=50, blank=True)
    late_limit_seconds = models.PositiveIntegerField(_("too late after (seconds)"), default=24 * 3600)
    connected_at = models.DateTimeField(_("connected"), default=clock.now, editable=False)

    objects = DeviantArtAccountQuerySet.as_manager()

    class Meta:
        verbose_name = _("DeviantArt account")
        verbose_name_plural = _("DeviantArt accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["remote_user_id"],
                condition=~Q(state="disconnected"),
                name="deviantart_account_connected_once",
            ),
            models.CheckConstraint(
                name="deviantart_account_state_is_known",
                condition=Q(state__in=["active", "reauth_required", "disconnected"]),
            ),
            models.CheckConstraint(
                name="deviantart_account_active_has_tokens",
                condition=~Q(state="active")
                | (~Q(access_token="") & ~Q(refresh_token="") & Q(encryption_key__isnull=False)),
            ),
        ]
        indexes = [models.Index(fields=["workspace", "username"], name="deviantart_account_list")]

    def __str__(self) -> str:
        return self.username

    def __repr__(self) -> str:
        return f"<DeviantArtAccount {self.pk}>"

    @property
    def is_held(self) -> bool:
        """Whether its works wait: login lost, paused, or told to come back later."""
        waits = self.not_before is not None and self.not_before > clock.now()
        return self.state != self.State.ACTIVE or self.paused or waits
