"""People, and the workspaces that own everything they make."""

import zoneinfo
from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from isekai import clock
from isekai.ids import new_id


def validate_time_zone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise ValidationError(_("%(name)s is no time zone; choose one like Europe/Berlin."), params={"name": name})


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def of(self, user: "User | AnonymousUser") -> Self:
        """The workspaces that ``user`` is a member of at this moment."""
        return self.filter(memberships__user=user.pk)

    def make_for(self, user: "User") -> "Workspace":
        """The workspace that every user has, with ``user`` as its owner."""
        with transaction.atomic():
            workspace = self.create(name=user.username)
            Membership.objects.create(user=user, workspace=workspace, role=Membership.Role.OWNER)
        return workspace


class Workspace(models.Model):
    """Owns accounts, works, keys and files; every query of a door is scoped to one."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(_("name"), max_length=100)
    # Whether each new draft is ready for automations without anybody saying so.
    drafts_are_ready = models.BooleanField(_("drafts are ready at once"), default=False, db_default=False)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        verbose_name = _("workspace")
        verbose_name_plural = _("workspaces")

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(username=username)

    def create_user(self, username: str, password: str | None = None, **fields: Any) -> "User":
        """Make a user together with the workspace that every user has; no password: only signs in by an identity."""
        with transaction.atomic():
            user = self.model(username=self.model.normalize_username(username), **fields)
            user.set_password(password)
            user.save(using=self._db)
            Workspace.objects.make_for(user)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> "User":
        """Make an operator: somebody who may enter the admin."""
        return self.create_user(username, password, **{**fields, "is_staff": True, "is_superuser": True})


class User(AbstractBaseUser, PermissionsMixin):
    class Theme(models.TextChoices):
        AUTO = "auto", _("Like the system")
        LIGHT = "light", _("Light")
        DARK = "dark", _("Dark")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    username = models.CharField(_("user name"), max_length=150, unique=True, validators=[UnicodeUsernameValidator()])
    email = models.EmailField(_("email address"), blank=True)
    is_staff = models.BooleanField(_("operator"), default=False, help_text=_("May enter the administration."))
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("Take this away instead of deleting people.")
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC", validators=[validate_time_zone])
    language = models.CharField(_("language"), max_length=16, default="en")
    theme = models.CharField(_("appearance"), max_length=8, choices=Theme, default=Theme.AUTO)
    preferences = models.JSONField(_("preferences"), default=dict, blank=True)
    # Counted up to end every session at once: those that began under another number are over.
    session_epoch = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    # Asked for by `createsuperuser`: what an operator has to know comes by mail.
    REQUIRED_FIELDS: ClassVar[list[str]] = ["email"]

    objects = UserManager()

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.CheckConstraint(name="user_theme_is_known", condition=models.Q(theme__in=["auto", "light", "dark"])),
        ]

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.time_zone)

    def get_session_auth_hash(self) -> str:
        """What a session must have been begun with, compared at every request; changes with password and epoch."""
        return salted_hmac(
            "accounts.User.session", f"{self.session_epoch} {self.password}", algorithm="sha256"
        ).hexdigest()


class Membership(models.Model):
    class Role(models.TextChoices):
        OWNER = "owner", _("Owner")
        MEMBER = "member", _("Member")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships", verbose_name=_("user"))
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="memberships", verbose_name=_("workspace"))
    role = models.CharField(_("role"), max_length=16, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["user", "workspace"], name="membership_once"),
            models.CheckConstraint(name="membership_role_is_known", condition=models.Q(role__in=["owner", "member"])),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Identity(models.Model):
    """By which account elsewhere somebody signs in."""

    class Provider(models.TextChoices):
        DEVIANTART = "deviantart", "DeviantArt"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    provider = models.CharField(_("provider"), max_length=16, choices=Provider)
    remote_id = models.CharField(_("id there"), max_length=64)
    user = models.ForeignKey(User, models.CASCADE, related_name="identities", verbose_name=_("user"))
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    class Meta:
        verbose_name = _("identity")
        verbose_name_plural = _("identities")
        constraints = [
            models.UniqueConstraint(fields=["provider", "remote_id"], name="identity_once"),
            models.CheckConstraint(name="identity_provider_is_known", condition=models.Q(provider__in=["deviantart"])),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.remote_id}"
