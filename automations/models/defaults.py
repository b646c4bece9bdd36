from typing import Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from automations.models.automations import Automation
from isekai import clock
from isekai.ids import new_id


class DefaultValueQuerySet(models.QuerySet["DefaultValue"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        return self.filter(automation__workspace__memberships__user=user.pk)


class DefaultValue(models.Model):
    """What an automation writes into a field of each draft that it schedules."""

    class Field(models.TextChoices):
        """Named as the columns of a work."""

        TITLE = "title", _("Title")
        DESCRIPTION = "description", _("Description")
        TAGS = "tags", _("Tags")
        GALLERY_IDS = "gallery_ids", _("Galleries")
        IS_MATURE = "is_mature", _("Mature")
        MATURE_LEVEL = "mature_level", _("Mature level")
        MATURE_CLASSIFICATION = "mature_classification", _("Mature because of")
        ALLOW_COMMENTS = "allow_comments", _("Comments")
        ALLOW_FREE_DOWNLOAD = "allow_free_download", _("Free download")
        IS_AI_GENERATED = "is_ai_generated", _("Made with AI")
        NO_AI = "no_ai", _("Not for AI data sets")
        ADD_WATERMARK = "add_watermark", _("Watermark")
        DISPLAY_RESOLUTION = "display_resolution", _("Shown at most at")
        STASH_ONLY = "stash_only", _("Only into the stash")
        UPLOAD_MODE = "upload_mode", _("Upload mode")
        KEEP_METADATA = "keep_metadata", _("Publish the file with its metadata")

    class Mode(models.TextChoices):
        ALWAYS = "always", _("Always")
        UNTOUCHED = "untouched", _("Only where I left it alone")

    # Columns of a work that always say something, so that nobody can tell whether the artist touched them.
    ALWAYS_ONLY = (Field.UPLOAD_MODE, Field.KEEP_METADATA)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    automation = models.ForeignKey(
        Automation, models.CASCADE, related_name="default_values", verbose_name=_("automation")
    )
    field = models.CharField(_("field"), max_length=32, choices=Field)
    # In the field's own JSON type; texts may have variables.
    value = models.JSONField(_("value"))
    mode = models.CharField(_("when"), max_length=16, choices=Mode, default=Mode.UNTOUCHED)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=clock.now, editable=False)

    objects = DefaultValueQuerySet.as_manager()

    class Meta:
        verbose_name = _("default value")
        verbose_name_plural = _("default values")
        constraints = [
            models.UniqueConstraint(fields=["automation", "field"], name="default_value_once_a_field"),
            models.CheckConstraint(
                name="default_value_field_is_known",
                condition=Q(
                    field__in=[
                        "title",
                        "description",
                        "tags",
                        "gallery_ids",
                        "is_mature",
                        "mature_level",
                        "mature_classification",
                        "allow_comments",
                        "allow_free_download",
                        "is_ai_generated",
                        "no_ai",
                        "add_watermark",
                        "display_resolution",
                        "stash_only",
                        "upload_mode",
                        "keep_metadata",
                    ]
                ),
            ),
            models.CheckConstraint(name="default_value_mode_is_known", condition=Q(mode__in=["always", "untouched"])),
            models.CheckConstraint(
                name="default_value_untouched_can_be_told",
                condition=~Q(field__in=["upload_mode", "keep_metadata"]) | Q(mode="always"),
            ),
        ]

    def __str__(self) -> str:
        return self.field
