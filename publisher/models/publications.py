from typing import Self
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import DeviantArtAccount
from deviations.models import Deviation, DeviationFile
from isekai import clock
from isekai.ids import new_id


class PublicationQuerySet(models.QuerySet["Publication"]):
    def live(self) -> Self:
        return self.filter(state=Publication.State.PUBLISHED)

    def unconfirmed(self) -> Self:
        """Of which a publish call was made whose outcome nobody knows, and that are not known to be live."""
        unsettled = Q(attempts__outcome__isnull=True) | Q(attempts__outcome="unknown")
        return (
            self.exclude(state=Publication.State.PUBLISHED)
            .filter(unsettled, attempts__step="publish", attempts__settled_at__isnull=True, attempts__isnull=False)
            .distinct()
        )

    def lacking_their_url(self) -> Self:
        """Live, but we do not know where yet, and it is time to look again."""
        return self.live().filter(remote_deviation_id__isnull=True, next_look_at__lte=clock.DatabaseNow())


class Publication(models.Model):
    """One deviation that shall exist, or exists, on DeviantArt: a file of a work, for an account."""

    class State(models.TextChoices):
        PENDING = "pending", _("Waiting")
        SUBMITTING = "submitting", _("Being uploaded")
        SUBMITTED = "submitted", _("In the stash")
        PUBLISHING = "publishing", _("Being published")
        PUBLISHED = "published", _("Published")
        REFUSED = "refused", _("Refused")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    deviation = models.ForeignKey(Deviation, models.PROTECT, related_name="publications", verbose_name=_("work"))
    file = models.ForeignKey(
        DeviationFile, models.SET_NULL, related_name="publications", null=True, verbose_name=_("file")
    )
    account = models.ForeignKey(
        DeviantArtAccount, models.PROTECT, related_name="publications", verbose_name=_("account")
    )
    # The file's place in the work when this was made; the order in which the parts go out.
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    # What differs from the work's own words, for one file of several.
    title = models.CharField(_("title"), max_length=200, null=True, blank=True)
    description = models.TextField(_("description"), null=True, blank=True)
    # Also the step at which a process that died was.
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.PENDING)
    # Calls that ended in a retryable error; what is deferred, looked up or rescued is not counted.
    failures = models.PositiveIntegerField(_("failures"), default=0)
    crashes = models.PositiveIntegerField(_("crashes"), default=0)
    remote_deviation_id = models.CharField(_("deviation"), max_length=64, null=True, blank=True, unique=True)
    url = models.URLField(_("address"), max_length=500, blank=True)
    # The fields of the call that made it live, for the timeline and for recognising it.
    sent = models.JSONField(_("what was sent"), default=dict, blank=True)
    stage_lease_id = models.UUIDField(null=True, blank=True, editable=False)
    stage_worker_id = models.UUIDField(null=True, blank=True, editable=False)
    # After an upload ahead of its time that did not succeed: not again before this.
    stage_after = models.DateTimeField(null=True, blank=True, editable=False)
    # A process died with it twice: now nothing else runs beside it, so that one more death is certainly its own.
    is_alone = models.BooleanField(_("runs alone"), default=False, editable=False)
    looks = models.PositiveIntegerField(_("look-ups"), default=0)
    next_look_at = models.DateTimeField(_("next look-up"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    published_at = models.DateTimeField(_("published"), null=True, blank=True)

    objects = PublicationQuerySet.as_manager()

    class Meta:
        verbose_name = _("publication")
        verbose_name_plural = _("publications")
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["deviation", "file"], name="publication_once_per_file"),
            models.CheckConstraint(
                name="publication_state_is_known",
                condition=Q(state__in=["pending", "submitting", "submitted", "publishing", "published", "refused"]),
            ),
            models.CheckConstraint(
                name="publication_live_has_its_time", condition=~Q(state="published") | Q(published_at__isnull=False)
            ),
            # The second lane of an account: one upload ahead of its time.
            models.UniqueConstraint(
                fields=["account"],
                condition=Q(stage_lease_id__isnull=False),
                name="publication_one_staged_per_account",
            ),
            models.CheckConstraint(
                name="publication_stage_lease_has_a_worker",
                condition=Q(stage_lease_id__isnull=True, stage_worker_id__isnull=True)
                | Q(stage_lease_id__isnull=False, stage_worker_id__isnull=False),
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_look_at"],
                name="publication_lacks_url",
                condition=Q(state="published", remote_deviation_id__isnull=True),
            ),
            models.Index(fields=["account", "state"], name="publication_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.deviation_id} {self.state}"

    @property
    def is_live(self) -> bool:
        return self.state == self.State.PUBLISHED


class StashItemQuerySet(models.QuerySet["StashItem"]):
    def in_hand(self, publication_id: UUID) -> "StashItem | None":
        return self.filter(publication_id=publication_id, state=StashItem.State.IN_HAND).first()


class StashItem(models.Model):
    """An item in the artist's stash: published once, with what it holds, or abandoned; never overwritten."""

    class State(models.TextChoices):
        IN_HAND = "in_hand", _("In hand")
        ABANDONED = "abandoned", _("Abandoned")
        PUBLISHED = "published", _("Published")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    publication = models.ForeignKey(
        Publication, models.PROTECT, related_name="stash_items", verbose_name=_("publication")
    )
    account = models.ForeignKey(DeviantArtAccount, models.PROTECT, related_name="+", verbose_name=_("account"))
    item_id = models.BigIntegerField(_("item"))
    # SHA-256 over everything that the submit carried and the account: a change of any of it wants a new item.
    fingerprint = models.CharField(_("fingerprint"), max_length=64)
    state = models.CharField(_("state"), max_length=16, choices=State, default=State.IN_HAND)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    objects = StashItemQuerySet.as_manager()

    class Meta:
        verbose_name = _("stash item")
        verbose_name_plural = _("stash items")
        constraints = [
            models.UniqueConstraint(fields=["account", "item_id"], name="stash_item_once"),
            models.UniqueConstraint(
                fields=["publication"], condition=Q(state="in_hand"), name="stash_item_one_in_hand"
            ),
            models.CheckConstraint(
                name="stash_item_state_is_known", condition=Q(state__in=["in_hand", "abandoned", "published"])
            ),
        ]

    def __str__(self) -> str:
        return str(self.item_id)
