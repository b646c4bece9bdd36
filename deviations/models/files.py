from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from deviations.models.deviations import Deviation
from isekai import clock
from isekai.ids import new_id


class DeviationFileQuerySet(models.QuerySet["DeviationFile"]):
    def free_to_prepare(self, before: datetime) -> Self:
        """Without its variants, and nobody has begun with them since that moment."""
        nobody = Q(media_started_at__isnull=True) | Q(media_started_at__lt=before)
        return self.filter(nobody, media_state=DeviationFile.MediaState.PENDING)


class DeviationFile(models.Model):
    """An original, as the artist uploaded it and as we verified it. Publishing never deletes it."""

    class MediaState(models.TextChoices):
        PENDING = "pending", _("Being prepared")
        READY = "ready", _("Ready")
        FAILED = "failed", _("Cannot be prepared")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    deviation = models.ForeignKey(Deviation, models.CASCADE, related_name="files", verbose_name=_("work"))
    position = models.PositiveSmallIntegerField(_("position"))
    original_name = models.CharField(_("file name"), max_length=255)
    storage_key = models.CharField(_("storage key"), max_length=300, unique=True, editable=False)
    content_type = models.CharField(_("type"), max_length=50)
    size = models.PositiveBigIntegerField(_("size (bytes)"))
    width = models.PositiveIntegerField(_("width (px)"), null=True, blank=True)
    height = models.PositiveIntegerField(_("height (px)"), null=True, blank=True)
    duration_seconds = models.FloatField(_("duration (s)"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    # What the camera or the program wrote into it, as short texts that are in no place: `camera`, `lens`, `taken`, …
    exif = models.JSONField(default=dict, db_default={}, blank=True, editable=False)
    # Whether the variants below are made.
    media_state = models.CharField(_("variants"), max_length=16, choices=MediaState, default=MediaState.PENDING)
    media_reason_code = models.CharField(_("reason"), max_length=64, blank=True)
    # How often a process died over it, and who is at it now, known by when they began.
    media_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    media_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    objects = DeviationFileQuerySet.as_manager()

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        ordering = ["position"]
        constraints = [
            # Deferred, so that files can change places in one transaction.
            models.UniqueConstraint(
                fields=["deviation", "position"],
                name="deviation_file_position_once",
                deferrable=models.Deferrable.DEFERRED,
            ),
            models.UniqueConstraint(fields=["deviation", "sha256"], name="deviation_file_once"),
            models.CheckConstraint(
                name="deviation_file_media_state_is_known", condition=Q(media_state__in=["pending", "ready", "failed"])
            ),
            models.CheckConstraint(name="deviation_file_is_not_empty", condition=Q(size__gt=0)),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="deviation_file_pending", condition=Q(media_state="pending")),
        ]

    def __str__(self) -> str:
        return self.original_name


class FileVariant(models.Model):
    """A copy made from an original: what DeviantArt gets, and smaller pictures for our pages."""

    class Kind(models.TextChoices):
        PUBLISH = "publish", _("For DeviantArt")
        THUMBNAIL = "thumbnail", _("Thumbnail")
        PREVIEW = "preview", _("Preview")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    file = models.ForeignKey(DeviationFile, models.CASCADE, related_name="variants", verbose_name=_("file"))
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    # Where there was nothing to strip, the publish variant is the original itself: same key, same bytes.
    storage_key = models.CharField(_("storage key"), max_length=300, editable=False)
    content_type = models.CharField(_("type"), max_length=50)
    size = models.PositiveBigIntegerField(_("size (bytes)"))
    width = models.PositiveIntegerField(_("width (px)"), null=True, blank=True)
    height = models.PositiveIntegerField(_("height (px)"), null=True, blank=True)
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    # 16 hex digits by which the picture is recognised after DeviantArt has scaled it; empty for videos.
    perceptual_hash = models.CharField(max_length=16, blank=True)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    class Meta:
        verbose_name = _("variant")
        verbose_name_plural = _("variants")
        constraints = [
            models.UniqueConstraint(fields=["file", "kind"], name="file_variant_once"),
            models.CheckConstraint(
                name="file_variant_kind_is_known", condition=Q(kind__in=["publish", "thumbnail", "preview"])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.file_id}"
