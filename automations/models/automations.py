import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import DeviantArtAccount, User, Workspace
from accounts.models.users import validate_time_zone
from automations import slots
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id

if TYPE_CHECKING:
    from automations.models.blackouts import Blackout
    from automations.models.rules import ScheduleRule

JITTER_MAX_SECONDS = 3600
CATCH_UP_MAX_SECONDS = 24 * 3600


def new_seed() -> int:
    """A fresh seed; it fits into a bigint and is no secret."""
    return secrets.randbits(63)


class AutomationQuerySet(models.QuerySet["Automation"]):
    def owned_by(self, user: User | AnonymousUser) -> Self:
        """What the workspaces of ``user`` own; rights are read now, not when they signed in."""
        return self.filter(workspace__memberships__user=user.pk)

    def active(self) -> Self:
        """Switched on, and not paused together with all others."""
        return self.filter(enabled=True, paused_at__isnull=True)


class Automation(models.Model):
    """How an artist wants to post: rules for the time, a way to choose the draft, and what to fill in.

    Any change to it, its rules or its default values counts ``version`` up.
    """

    class Combine(models.TextChoices):
        ANY = "any", _("Each rule by itself")
        ALL = "all", _("Only when all rules hold")

    class Method(models.TextChoices):
        FIFO = "fifo", _("Oldest first")
        LIFO = "lifo", _("Newest first")
        RANDOM = "random", _("By chance")
        PRIORITY = "priority", _("As I sorted them")
        TITLE = "title", _("By title")
        MIXTURE = "mixture", _("A mixture")

    class TagsMatch(models.TextChoices):
        ANY = "any", _("Any of these")
        ALL = "all", _("All of these")

    class Mature(models.TextChoices):
        ANY = "any", _("Mature or not")
        ONLY = "only", _("Only mature")
        NEVER = "never", _("Never mature")

    class Orientation(models.TextChoices):
        ANY = "any", _("Any shape")
        LANDSCAPE = "landscape", _("Landscape")
        PORTRAIT = "portrait", _("Portrait")
        SQUARE = "square", _("Square")

    class Spacing(models.TextChoices):
        NONE = "none", _("No matter what was last")
        SERIES = "series", _("Not two of one series in a row")
        GALLERY = "gallery", _("Not two of one gallery in a row")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.PROTECT, related_name="automations", verbose_name=_("workspace"))
    # Where its works go; null: where each draft says, else the workspace's only account.
    account = models.ForeignKey(
        DeviantArtAccount,
        models.PROTECT,
        related_name="automations",
        null=True,
        blank=True,
        verbose_name=_("account"),
    )
    name = models.CharField(_("name"), max_length=100)
    description = models.CharField(_("description"), max_length=500, blank=True)
    color = models.CharField(
        _("colour"),
        max_length=7,
        blank=True,
        validators=[RegexValidator(r"^#[0-9a-fA-F]{6}\Z", _("Write the colour like #2f7f6d."))],
    )
    icon = models.CharField(_("icon"), max_length=10, blank=True)
    position = models.PositiveIntegerField(_("position"), default=0)
    enabled = models.BooleanField(_("switched on"), default=False)
    # Set by *pause all*, which leaves `enabled` as it is, so that *go on* starts what ran before.
    paused_at = models.DateTimeField(_("paused since"), null=True, blank=True)

    # First and last day on the wall.
    valid_from = models.DateField(_("from"), null=True, blank=True)
    valid_until = models.DateField(_("until"), null=True, blank=True)
    # Empty: the time zone of the workspace's owner, and so it moves with them.
    zone = models.CharField(_("time zone"), max_length=64, blank=True, validators=[validate_time_zone])
    combine = models.CharField(_("rules"), max_length=8, choices=Combine, default=Combine.ANY)

    method = models.CharField(_("which draft"), max_length=16, choices=Method, default=Method.FIFO)
    # [{"method": "random", "weight": 70}, {"method": "fifo", "weight": 30}]; null unless the method is a mixture.
    mixture = models.JSONField(_("mixture"), null=True, blank=True)
    # What chance is drawn from, so that preview and run agree.
    seed = models.BigIntegerField(default=new_seed, editable=False)

    filter_tags = ArrayField(models.CharField(max_length=100), verbose_name=_("tags"), default=list, blank=True)
    filter_tags_match = models.CharField(_("tags match"), max_length=8, choices=TagsMatch, default=TagsMatch.ANY)
    filter_gallery_ids = ArrayField(models.UUIDField(), verbose_name=_("galleries"), default=list, blank=True)
    filter_template_ids = ArrayField(models.UUIDField(), verbose_name=_("templates"), default=list, blank=True)
    # By the day on which the draft was made.
    filter_min_age_days = models.PositiveIntegerField(_("at least so many days old"), null=True, blank=True)
    filter_max_age_days = models.PositiveIntegerField(_("at most so many days old"), null=True, blank=True)
    filter_mature = models.CharField(_("mature"), max_length=8, choices=Mature, default=Mature.ANY)
    # The shape of the draft's first file.
    filter_orientation = models.CharField(_("shape"), max_length=16, choices=Orientation, default=Orientation.ANY)
    spacing = models.CharField(_("spacing"), max_length=16, choices=Spacing, default=Spacing.NONE)

    jitter_min_seconds = models.PositiveIntegerField(
        _("least delay (seconds)"), default=0, validators=[MaxValueValidator(JITTER_MAX_SECONDS)]
    )
    jitter_max_seconds = models.PositiveIntegerField(
        _("most delay (seconds)"), default=300, validators=[MaxValueValidator(JITTER_MAX_SECONDS)]
    )
    stash_only = models.BooleanField(_("only into the stash"), default=False)
    add_to_sale_queue = models.BooleanField(_("add to the sale queue"), default=False)
    price_preset_id = models.UUIDField(_("price preset"), null=True, blank=True)
    # How a work for the sale queue is protected, whatever the draft says.
    protect_watermark = models.BooleanField(_("protect by a watermark"), default=True)
    protect_display_resolution = models.PositiveSmallIntegerField(
        _("protect by showing at most"),
        choices=Deviation.DisplayResolution,
        null=True,
        blank=True,
        default=Deviation.DisplayResolution.PX_1920,
        validators=[MaxValueValidator(8)],
    )
    protect_no_download = models.BooleanField(_("protect from free download"), default=True)

    # A slot that is later than this is recorded as missed and not made up for.
    catch_up_seconds = models.PositiveIntegerField(
        _("made up for within (seconds)"), default=3600, validators=[MaxValueValidator(CATCH_UP_MAX_SECONDS)]
    )
    # What `{counter}` in a text is next.
    counter = models.PositiveIntegerField(_("next number"), default=1, validators=[MinValueValidator(0)])
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    updated_at = models.DateTimeField(_("changed"), default=clock.now, editable=False)

    objects = AutomationQuerySet.as_manager()

    class Meta:
        verbose_name = _("automation")
        verbose_name_plural = _("automations")
        constraints = [
            models.CheckConstraint(name="automation_has_a_name", condition=~Q(name="")),
            models.CheckConstraint(
                name="automation_color_is_one", condition=Q(color="") | Q(color__regex=r"^#[0-9a-fA-F]{6}$")
            ),
            models.CheckConstraint(name="automation_combine_is_known", condition=Q(combine__in=["any", "all"])),
            models.CheckConstraint(
                name="automation_method_is_known",
                condition=Q(method__in=["fifo", "lifo", "random", "priority", "title", "mixture"]),
            ),
            models.CheckConstraint(
                name="automation_mixture_only_where_one_is_meant",
                condition=Q(method="mixture", mixture__isnull=False) | (~Q(method="mixture") & Q(mixture__isnull=True)),
            ),
            models.CheckConstraint(
                name="automation_tags_match_is_known", condition=Q(filter_tags_match__in=["any", "all"])
            ),
            models.CheckConstraint(
                name="automation_mature_is_known", condition=Q(filter_mature__in=["any", "only", "never"])
            ),
            models.CheckConstraint(
                name="automation_orientation_is_known",
                condition=Q(filter_orientation__in=["any", "landscape", "portrait", "square"]),
            ),
            models.CheckConstraint(
                name="automation_spacing_is_known", condition=Q(spacing__in=["none", "series", "gallery"])
            ),
            models.CheckConstraint(
                name="automation_ages_in_order",
                condition=Q(filter_min_age_days__isnull=True)
                | Q(filter_max_age_days__isnull=True)
                | Q(filter_min_age_days__lte=F("filter_max_age_days")),
            ),
            models.CheckConstraint(
                name="automation_valid_in_order",
                condition=Q(valid_from__isnull=True)
                | Q(valid_until__isnull=True)
                | Q(valid_from__lte=F("valid_until")),
            ),
            models.CheckConstraint(
                name="automation_jitter_in_order",
                condition=Q(jitter_min_seconds__lte=F("jitter_max_seconds"), jitter_max_seconds__lte=3600),
            ),
            models.CheckConstraint(name="automation_catch_up_is_a_day", condition=Q(catch_up_seconds__lte=24 * 3600)),
            models.CheckConstraint(
                name="automation_sale_has_a_price",
                condition=Q(add_to_sale_queue=False) | Q(price_preset_id__isnull=False),
            ),
            models.CheckConstraint(
                name="automation_protect_resolution_is_known",
                condition=Q(protect_display_resolution__isnull=True) | Q(protect_display_resolution__lte=8),
            ),
        ]
        indexes = [models.Index(fields=["workspace", "position", "id"], name="automation_list")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.enabled and self.paused_at is None

    def plan(
        self, *, rules: "Iterable[ScheduleRule]", blackouts: "Iterable[Blackout]", zone_of_owner: str
    ) -> slots.Plan:
        """What its slots are computed from: of ``rules`` those that are switched on.

        ``blackouts`` are those of its account, also those that ended up to `slots.MOVED_AT_MOST_DAYS` ago, since they
        may still move something. ``zone_of_owner`` is for an automation without a zone of its own.
        """
        return slots.Plan(
            zone=self.zone or zone_of_owner,
            rules=tuple(rule.for_slots() for rule in rules if rule.enabled),
            seed=self.seed,
            combine=self.combine,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            blackouts=tuple(blackout.for_slots() for blackout in blackouts),
        )
