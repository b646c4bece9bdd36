from typing import Self

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Concat
from django.utils.translation import gettext_lazy as _

from accounts.models.encryption import EncryptionKey
from accounts.models.users import User, Workspace
from deviantart import oauth
from isekai import clock
from isekai.ids import new_id


class DeviantArtAccountQuerySet(models.QuerySet["DeviantArtAccount"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        return self.filter(workspace__memberships__user=user.pk)

    def connected(self) -> Self:
        return self.exclude(state=DeviantArtAccount.State.DISCONNECTED)

    def able(self) -> Self:
        """Those that something may be sent for now, by the database's clock."""
        return self.filter(
            Q(not_before__isnull=True) | Q(not_before__lte=clock.DatabaseNow()),
            state=DeviantArtAccount.State.ACTIVE,
            paused=False,
            base_url=settings.DEVIANTART_BASE_URL,
        )


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
    # A refresh with this very refresh token may have been done without its answer having reached us.
    refresh_in_doubt = models.BooleanField(default=False, editable=False)
    # Refreshes since the last one that went well, and when the next makes sense.
    refresh_failures = models.PositiveSmallIntegerField(default=0, editable=False)
    refresh_retry_at = models.DateTimeField(null=True, blank=True, editable=False)

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
            # What refers to a key is under that key: no plain text, and no key that is retired while it is needed.
            models.CheckConstraint(
                name="deviantart_account_tokens_are_under_its_key",
                condition=Q(access_token="", refresh_token="")
                | Q(
                    access_token__startswith=Concat(Value("v1:"), "encryption_key", Value(":")),
                    refresh_token__startswith=Concat(Value("v1:"), "encryption_key", Value(":")),
                ),
            ),
            models.CheckConstraint(
                name="deviantart_account_disconnected_has_no_tokens",
                condition=~Q(state="disconnected") | Q(access_token="", refresh_token="", encryption_key__isnull=True),
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "username"], name="deviantart_account_list"),
            models.Index(
                fields=["refresh_expires_at"], name="deviantart_account_login_ends", condition=Q(state="active")
            ),
        ]

    def __str__(self) -> str:
        return self.username

    def __repr__(self) -> str:
        return f"<DeviantArtAccount {self.pk}>"

    @property
    def is_held(self) -> bool:
        """Whether its works wait: login lost, paused, told to come back later, or connected at another server."""
        return bool(self.held_because)

    @property
    def held_because(self) -> str:
        """The first reason why its works wait, as a code; empty when they do not."""
        if self.state != self.State.ACTIVE:
            return self.state
        if self.is_foreign:
            return "foreign_server"
        if self.paused:
            return "paused"
        if self.not_before is not None and self.not_before > clock.now():
            return self.not_before_reason or "not_before"
        return ""

    @property
    def is_foreign(self) -> bool:
        """Connected at another server than the one that this installation talks to."""
        return self.base_url != settings.DEVIANTART_BASE_URL

    @property
    def missing_scopes(self) -> list[str]:
        """What Isekai needs and the artist did not grant."""
        return [scope for scope in oauth.SCOPES if scope not in self.scopes]
