from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User, Workspace
from isekai import clock
from isekai.ids import new_id


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        return self.filter(workspace__memberships__user=user.pk)

    def usable(self) -> Self:
        """Neither revoked nor expired, and whose owner is still an active member of the workspace."""
        return self.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=clock.now()),
            revoked_at__isnull=True,
            user__is_active=True,
            workspace__memberships__user=models.F("user"),
        )


class ApiKey(models.Model):
    """Lets a program act for a user in one workspace. Only a digest of its secret is stored."""

    class Scope(models.TextChoices):
        UPLOAD = "upload", _("Upload new works")
        READ = "read", _("Read works")
        WRITE = "write", _("Change, schedule and publish works")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="api_keys", verbose_name=_("workspace"))
    user = models.ForeignKey(User, models.CASCADE, related_name="api_keys", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=100)
    public_id = models.CharField(_("public id"), max_length=16, unique=True, editable=False)
    secret_digest = models.CharField(max_length=64, editable=False)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope), verbose_name=_("scopes"))
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.CheckConstraint(
                name="api_key_scopes_are_known", condition=Q(scopes__contained_by=["upload", "read", "write"])
            ),
        ]
        indexes = [models.Index(fields=["workspace", "-created_at"], name="api_key_list")]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<ApiKey {self.public_id}>"
