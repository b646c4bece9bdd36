from datetime import datetime
from typing import Self
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Greatest, Lower
from django.utils.translation import gettext_lazy as _

from accounts.models import DeviantArtAccount, User, Workspace
from deviations.errors import InvalidTransition
from deviations.models.fields import LocalDateTimeField
from isekai import clock
from isekai.ids import new_id


class PickKey(models.Func):
    """A number of 64 bits that a work's id alone gives, spread evenly: what a choice by chance can look up in an index.

    PostgreSQL's own hash of a uuid, which never changes, since tables may be partitioned by it.
    """

    template = "uuid_hash_extended(%(expressions)s, 0)"
    output_field = models.BigIntegerField()


# What an automation may take, as far as the row alone says so.
_FOR_AUTOMATIONS = Q(status="draft", ready_at__isnull=False, trashed_at__isnull=True)


class DeviationQuerySet(models.QuerySet["Deviation"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        """What the workspaces of ``user`` own; rights are read now, not when they signed in."""
        return self.filter(workspace__memberships__user=user.pk)

    def kept(self) -> Self:
        return self.filter(trashed_at__isnull=True)

    def trashed(self) -> Self:
        return self.filter(trashed_at__isnull=False)

    def waiting(self) -> Self:
        """Whatever has its next step to be done by a publisher that does not hold it yet."""
        return self.filter(
            Q(status=Deviation.Status.SCHEDULED) | Q(status=Deviation.Status.PUBLISHING),
            lease_id__isnull=True,
            trashed_at__isnull=True,
        )

    def due(self, now: datetime | models.expressions.BaseExpression) -> Self:
        return self.waiting().filter(due_at__lte=now)

    def ready_for_automations(self) -> Self:
        """Drafts that an automation may take, whether somebody has one of them open or not."""
        return self.filter(_FOR_AUTOMATIONS)

    def claimed(self) -> Self:
        """Held by a publisher at this moment."""
        return self.filter(lease_id__isnull=False)


class Deviation(models.Model):
    """A work: what an artist made, its words, its state, and when it is to appear.

    Metadata that is null was never touched by the artist; an automation may fill it in. An explicit *no* stays.
    """

    class Kind(models.TextChoices):
        IMAGE = "image", _("Picture")
        VIDEO = "video", _("Video")

    class Status(models.TextChoices):
        REVIEW = "review", _("In review")
        DRAFT = "draft", _("Draft")
        SCHEDULED = "scheduled", _("Scheduled")
        UPLOADING = "uploading", _("Uploading")
        PUBLISHING = "publishing", _("Publishing")
        PUBLISHED = "published", _("Published")
        FAILED = "failed", _("Failed")
        NEEDS_DECISION = "needs_decision", _("Needs your decision")

    class UploadMode(models.TextChoices):
        SINGLE = "single", _("One deviation")
        MULTIPLE = "multiple", _("One deviation for each file")

    class MatureLevel(models.TextChoices):
        MODERATE = "moderate", _("Moderate")
        STRICT = "strict", _("Strict")

    class DisplayResolution(models.IntegerChoices):
        ORIGINAL = 0, _("Original size")
        PX_400 = 1, _("400 px")
        PX_600 = 2, _("600 px")
        PX_800 = 3, _("800 px")
        PX_900 = 4, _("900 px")
        PX_1024 = 5, _("1024 px")
        PX_1280 = 6, _("1280 px")
        PX_1600 = 7, _("1600 px")
        PX_1920 = 8, _("1920 px")

    TRANSITIONS: dict[Status, set[Status]] = {
        Status.REVIEW: {Status.DRAFT},
        # The database forgot, and the artist's gallery shows something that may be this draft.
        Status.DRAFT: {Status.SCHEDULED, Status.NEEDS_DECISION},
        Status.SCHEDULED: {Status.DRAFT, Status.UPLOADING, Status.NEEDS_DECISION},
        Status.UPLOADING: {
            Status.SCHEDULED,
            Status.PUBLISHING,
            Status.PUBLISHED,
            Status.FAILED,
            Status.NEEDS_DECISION,
        },
        Status.PUBLISHING: {Status.SCHEDULED, Status.PUBLISHED, Status.FAILED, Status.NEEDS_DECISION},
        Status.PUBLISHED: set(),
        Status.FAILED: {Status.SCHEDULED, Status.DRAFT},
        Status.NEEDS_DECISION: {Status.SCHEDULED, Status.DRAFT, Status.PUBLISHING, Status.PUBLISHED},
    }
    # What may lie in the trash; deleting a scheduled work cancels it in the same transaction.
    TRASHABLE = (Status.REVIEW, Status.DRAFT, Status.PUBLISHED, Status.FAILED, Status.NEEDS_DECISION)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="deviations", verbose_name=_("workspace"))
    account = models.ForeignKey(
        DeviantArtAccount,
        models.PROTECT,
        related_name="deviations",
        null=True,
        blank=True,
        verbose_name=_("account"),
    )
    kind = models.CharField(_("kind"), max_length=16, choices=Kind, default=Kind.IMAGE)
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.DRAFT)
    # A code and its parameters; the sentence is made when it is shown.
    reason_code = models.CharField(_("reason"), max_length=64, blank=True)
    reason_params = models.JSONField(_("reason's parameters"), default=dict, blank=True)

    title = models.CharField(_("title"), max_length=200, blank=True)
    description = models.TextField(_("description"), null=True, blank=True)
    tags = ArrayField(models.CharField(max_length=100), verbose_name=_("tags"), null=True, blank=True)
    gallery_ids = ArrayField(models.UUIDField(), verbose_name=_("galleries"), null=True, blank=True)
    is_mature = models.BooleanField(_("mature"), null=True)
    mature_level = models.CharField(_("mature level"), max_length=16, choices=MatureLevel, null=True, blank=True)
    mature_classification = ArrayField(
        models.CharField(max_length=16), verbose_name=_("mature because of"), null=True, blank=True
    )
    allow_comments = models.BooleanField(_("comments"), null=True)
    allow_free_download = models.BooleanField(_("free download"), null=True)
    is_ai_generated = models.BooleanField(_("made with AI"), null=True)
    no_ai = models.BooleanField(_("not for AI data sets"), null=True)
    add_watermark = models.BooleanField(_("watermark"), null=True)
    display_resolution = models.PositiveSmallIntegerField(
        _("shown at most at"), choices=DisplayResolution, null=True, blank=True, validators=[MaxValueValidator(8)]
    )
    stash_only = models.BooleanField(_("only into the stash"), null=True)
    upload_mode = models.CharField(_("upload mode"), max_length=16, choices=UploadMode, default=UploadMode.SINGLE)
    # Off: places, serial numbers and prompts are taken out of the copy that DeviantArt gets.
    keep_metadata = models.BooleanField(_("publish the file with its metadata"), default=False)
    # By what else automations choose among drafts: the highest first. Series and templates have no tables yet.
    priority = models.SmallIntegerField(_("priority among drafts"), default=0, db_default=0)
    series_id = models.UUIDField(_("series"), null=True, blank=True)
    template_id = models.UUIDField(_("template"), null=True, blank=True)

    # The wish as it was said: a time on the wall somewhere. The instant follows from it.
    scheduled_local = LocalDateTimeField(_("wished time"), null=True, blank=True)
    scheduled_zone = models.CharField(_("in time zone"), max_length=64, blank=True)
    scheduled_at = models.DateTimeField(_("wished moment"), null=True, blank=True)
    jitter_seconds = models.PositiveIntegerField(_("drawn delay (seconds)"), default=0)
    publish_at = models.DateTimeField(_("publishes at"), null=True, blank=True)
    previous_publish_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_attempt_at = models.DateTimeField(_("next try"), null=True, blank=True, editable=False)
    due_at = models.GeneratedField(
        expression=Greatest("publish_at", "next_attempt_at"),
        output_field=models.DateTimeField(null=True),
        db_persist=True,
    )

    # Who holds it now: the worker's id (publisher.Worker) and the lease that fences that worker's decisions.
    worker_id = models.UUIDField(null=True, blank=True, editable=False)
    lease_id = models.UUIDField(null=True, blank=True, editable=False)
    # Since when nobody knows whether it is live. While this is set it never fails and never goes back to draft.
    unconfirmed_since = models.DateTimeField(_("unconfirmed since"), null=True, blank=True, editable=False)

    ready_at = models.DateTimeField(_("ready for automations since"), null=True, blank=True)
    # When somebody last had it open to edit it. In no index, so that saying so again and again writes the row alone.
    opened_at = models.DateTimeField(_("last open in an editor"), null=True, blank=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    published_at = models.DateTimeField(_("published"), null=True, blank=True)
    trashed_at = models.DateTimeField(_("in the trash since"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=clock.now, editable=False)

    objects = DeviationQuerySet.as_manager()

    class Meta:
        verbose_name = _("work")
        verbose_name_plural = _("works")
        constraints = [
            models.CheckConstraint(
                name="deviation_status_is_known",
                condition=Q(
                    status__in=[
                        "review",
                        "draft",
                        "scheduled",
                        "uploading",
                        "publishing",
                        "published",
                        "failed",
                        "needs_decision",
                    ]
                ),
            ),
            models.CheckConstraint(name="deviation_kind_is_known", condition=Q(kind__in=["image", "video"])),
            models.CheckConstraint(
                name="deviation_upload_mode_is_known", condition=Q(upload_mode__in=["single", "multiple"])
            ),
            models.CheckConstraint(
                name="deviation_mature_level_is_known",
                condition=Q(mature_level__isnull=True) | Q(mature_level__in=["moderate", "strict"]),
            ),
            models.CheckConstraint(
                name="deviation_display_resolution_is_known",
                condition=Q(display_resolution__isnull=True) | Q(display_resolution__lte=8),
            ),
            models.CheckConstraint(
                name="deviation_on_its_way_has_a_time_and_an_account",
                condition=~Q(status__in=["scheduled", "uploading", "publishing"])
                | Q(publish_at__isnull=False, scheduled_at__isnull=False, account__isnull=False),
            ),
            models.CheckConstraint(
                name="deviation_lease_has_a_worker",
                condition=Q(lease_id__isnull=True, worker_id__isnull=True)
                | Q(lease_id__isnull=False, worker_id__isnull=False, status__in=["uploading", "publishing"]),
            ),
            models.CheckConstraint(
                name="deviation_uploading_is_held", condition=~Q(status="uploading") | Q(lease_id__isnull=False)
            ),
            # What nobody holds must have a moment at which somebody will take it up again.
            models.CheckConstraint(
                name="deviation_publishing_goes_on",
                condition=~Q(status="publishing") | Q(lease_id__isnull=False) | Q(next_attempt_at__isnull=False),
            ),
            models.CheckConstraint(
                name="deviation_unconfirmed_is_settled_first",
                condition=Q(unconfirmed_since__isnull=True) | Q(status__in=["publishing", "needs_decision"]),
            ),
            models.CheckConstraint(
                name="deviation_ended_with_a_reason",
                condition=~Q(status__in=["failed", "needs_decision"]) | ~Q(reason_code=""),
            ),
            models.CheckConstraint(
                name="deviation_published_has_its_time",
                condition=~Q(status="published") | Q(published_at__isnull=False),
            ),
            models.CheckConstraint(
                name="deviation_trash_holds_nothing_on_its_way",
                condition=Q(trashed_at__isnull=True)
                | Q(status__in=["review", "draft", "published", "failed", "needs_decision"]),
            ),
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(lease_id__isnull=False),
                name="deviation_one_claimed_per_account",
            ),
        ]
        indexes = [
            models.Index(
                fields=["account", "due_at"],
                name="deviation_due",
                condition=Q(status__in=["scheduled", "publishing"], lease_id__isnull=True, trashed_at__isnull=True),
            ),
            models.Index(
                fields=["due_at"],
                name="deviation_next_due",
                condition=Q(status__in=["scheduled", "publishing"], lease_id__isnull=True, trashed_at__isnull=True),
            ),
            models.Index(fields=["worker_id"], name="deviation_claimed_by", condition=Q(lease_id__isnull=False)),
            models.Index(
                fields=["workspace", "-updated_at", "-id"],
                name="deviation_list",
                condition=Q(trashed_at__isnull=True),
            ),
            models.Index(
                fields=["workspace", "status", "-updated_at", "-id"],
                name="deviation_list_by_status",
                condition=Q(trashed_at__isnull=True),
            ),
            models.Index(
                fields=["workspace", "publish_at"],
                name="deviation_coming_up",
                condition=Q(status__in=["scheduled", "uploading", "publishing"]),
            ),
            models.Index(
                fields=["workspace", "-trashed_at"], name="deviation_trash", condition=Q(trashed_at__isnull=False)
            ),
            # The ways in which an automation chooses: by age, by priority, by title, and by chance.
            models.Index(
                fields=["workspace", "created_at", "id"], name="deviation_pick_by_age", condition=_FOR_AUTOMATIONS
            ),
            models.Index(
                fields=["workspace", "-priority", "created_at", "id"],
                name="deviation_pick_by_priority",
                condition=_FOR_AUTOMATIONS,
            ),
            models.Index("workspace", Lower("title"), "id", name="deviation_pick_by_title", condition=_FOR_AUTOMATIONS),
            models.Index("workspace", PickKey("id"), name="deviation_pick_by_chance", condition=_FOR_AUTOMATIONS),
            # When something last went out, which a rule may ask.
            models.Index(
                fields=["account", "-published_at"], name="deviation_published_last", condition=Q(status="published")
            ),
        ]

    def __str__(self) -> str:
        return self.title or str(self.pk)

    @property
    def is_claimed(self) -> bool:
        """A publisher holds it, or has made a part of it live: too late for the artist to change anything."""
        return self.lease_id is not None or self.status in {self.Status.UPLOADING, self.Status.PUBLISHING}

    def move_to(self, status: Status, *, reason: str = "", params: dict[str, object] | None = None) -> None:
        """Change ``status`` and its reason in memory; the caller holds the row's lock and saves.

        Raises InvalidTransition.
        """
        if status not in self.TRANSITIONS[self.Status(self.status)]:
            raise InvalidTransition(
                _("A work that is “%(old)s” cannot become “%(new)s”.")
                % {"old": self.Status(self.status).label, "new": status.label}
            )
        self.status = status
        self.reason_code = reason
        self.reason_params = params or {}

    def release(self) -> None:
        """Give the claim up, in memory."""
        self.worker_id = None
        self.lease_id = None

    def hold(self, *, worker_id: UUID, lease_id: UUID) -> None:
        """Take the claim, in memory."""
        self.worker_id = worker_id
        self.lease_id = lease_id
