from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deviantart.rules import MatureClassification, tags_as_shown
from deviations.api.fields import InstantField, WallTimeField
from deviations.models import Deviation, DeviationFile, FileVariant
from deviations.services.changing import BULK_MAX, ItemResult
from deviations.services.drafting import DESCRIPTION_MAX_LENGTH, FILES_MAX, GALLERIES_MAX, TAGS_MAX, WORDS
from deviations.services.reasons import reason_of
from deviations.services.scheduling import JITTER_MAX_SECONDS
from isekai.api import ReasonSerializer, StrictSerializer


# --- what is sent ----------------------------------------------------------------------------------------------------
class WordsSerializer(StrictSerializer, serializers.ModelSerializer):
    """What an artist says about a work. Null: untouched, so an automation may fill it in."""

    account_id = serializers.UUIDField(required=False, allow_null=True)
    description = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, trim_whitespace=False, max_length=DESCRIPTION_MAX_LENGTH
    )
    tags = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, allow_null=True, max_length=TAGS_MAX
    )
    gallery_ids = serializers.ListField(
        child=serializers.UUIDField(), required=False, allow_null=True, max_length=GALLERIES_MAX
    )
    mature_classification = serializers.ListField(
        child=serializers.ChoiceField([(value.value, value.value) for value in MatureClassification]),
        required=False,
        allow_null=True,
        max_length=len(MatureClassification),
    )
    mature_level = serializers.ChoiceField(Deviation.MatureLevel.choices, required=False, allow_null=True)

    class Meta:
        model = Deviation
        fields = ["account_id", *sorted(WORDS)]


class DraftSerializer(WordsSerializer):
    """A new work. Without ``account_id`` it goes to the only connected account, if there is just one."""

    upload_ids = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=FILES_MAX)

    class Meta(WordsSerializer.Meta):
        fields = [*WordsSerializer.Meta.fields, "upload_ids"]


class ScheduleSerializer(StrictSerializer):
    """Either ``scheduled_at``, an instant; or ``local``, a time on the wall, in ``zone``."""

    scheduled_at = InstantField(required=False)
    local = WallTimeField(required=False)
    zone = serializers.CharField(
        required=False, max_length=64, help_text="An IANA name like Europe/Berlin; without it, the user's own."
    )
    fold = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=1,
        help_text="For a time that clocks show twice: 0 is the first of the two, 1 the second.",
    )
    jitter_seconds = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=JITTER_MAX_SECONDS,
        help_text="The longest delay that may be drawn; the answer has the drawn one.",
    )


class BulkSerializer(ScheduleSerializer):
    """One action for many works. The fields of a schedule belong to the action *schedule* alone."""

    ACTIONS = [
        "schedule",
        "schedule_as_before",
        "cancel",
        "publish_now",
        "retry",
        "ready",
        "not_ready",
        "approve",
        "trash",
        "restore",
    ]

    action = serializers.ChoiceField(ACTIONS)
    ids = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=BULK_MAX)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        foreign = sorted(set(attrs) - {"action", "ids"}) if attrs["action"] != "schedule" else []
        if foreign:
            raise serializers.ValidationError({name: [_("Only for the action “schedule”.")] for name in foreign})
        return attrs


# --- what is answered ------------------------------------------------------------------------------------------------
class FileSerializer(serializers.ModelSerializer):
    filename = serializers.CharField(source="original_name")
    publish_sha256 = serializers.SerializerMethodField(
        help_text="Of the bytes that DeviantArt gets; null until they are ready."
    )

    class Meta:
        model = DeviationFile
        fields = [
            "id",
            "position",
            "filename",
            "content_type",
            "size",
            "width",
            "height",
            "duration_seconds",
            "sha256",
            "publish_sha256",
            "media_state",
        ]
        read_only_fields = fields

    def get_publish_sha256(self, file: DeviationFile) -> str | None:
        # From what the list has fetched at once, not by a query for each file.
        return next(
            (variant.sha256 for variant in file.variants.all() if variant.kind == FileVariant.Kind.PUBLISH), None
        )


class PublicationSerializer(serializers.Serializer):
    """A deviation that exists on DeviantArt, or shall."""

    deviationid = serializers.CharField(source="remote_deviation_id", allow_null=True, read_only=True)
    url = serializers.SerializerMethodField()
    state = serializers.CharField(read_only=True)
    file_id = serializers.UUIDField(allow_null=True, read_only=True)
    published_at = serializers.DateTimeField(allow_null=True, read_only=True)

    def get_url(self, publication: Any) -> str | None:
        return publication.url or None


class DeviationSerializer(serializers.ModelSerializer):
    """A work. ``etag`` goes into ``If-Match`` of the next change."""

    etag = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField()
    tags_as_shown = serializers.SerializerMethodField(help_text="The tags as DeviantArt will get them.")
    scheduled_local = WallTimeField(read_only=True, allow_null=True)
    due_at = serializers.DateTimeField(read_only=True, allow_null=True)
    ready_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Since when automations may take it as a draft; null: they may not."
    )
    files = FileSerializer(many=True, read_only=True)
    publications = PublicationSerializer(many=True, read_only=True)

    class Meta:
        model = Deviation
        fields = [
            "id",
            "etag",
            "status",
            "reason",
            "kind",
            "account_id",
            *sorted(WORDS),
            "tags_as_shown",
            "ready_at",
            "scheduled_at",
            "scheduled_local",
            "scheduled_zone",
            "jitter_seconds",
            "publish_at",
            "previous_publish_at",
            "due_at",
            "published_at",
            "trashed_at",
            "created_at",
            "updated_at",
            "files",
            "publications",
        ]
        read_only_fields = fields

    def get_etag(self, deviation: Deviation) -> str:
        return etag_of(deviation)

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_reason(self, deviation: Deviation) -> dict[str, str] | None:
        reason = reason_of(deviation, when=lambda at: at.isoformat())
        return {"code": reason.code, "message": str(reason)} if reason else None

    def get_tags_as_shown(self, deviation: Deviation) -> list[str]:
        return tags_as_shown(deviation.tags or [])


class BulkErrorSerializer(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField()


class BulkItemSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    ok = serializers.SerializerMethodField()
    status = serializers.SerializerMethodField()
    etag = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    def get_ok(self, item: ItemResult) -> bool:
        return item.deviation is not None

    def get_status(self, item: ItemResult) -> str | None:
        return item.deviation.status if item.deviation is not None else None

    def get_etag(self, item: ItemResult) -> str | None:
        return etag_of(item.deviation) if item.deviation is not None else None

    @extend_schema_field(BulkErrorSerializer(allow_null=True))
    def get_error(self, item: ItemResult) -> dict[str, Any] | None:
        if item.deviation is not None:
            return None
        if item.error is None:
            return {"code": "not_found", "message": str(_("There is no such work.")), "details": {}}
        return {"code": item.error.code, "message": str(item.error), "details": item.error.details}


class BulkResultSerializer(serializers.Serializer):
    bulk_id = serializers.UUIDField(source="id", help_text="In the audit trail of each work that changed.")
    results = BulkItemSerializer(many=True, source="items")


def etag_of(deviation: Deviation) -> str:
    return f'"{deviation.version}"'
