from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from deviantart.addresses import MAX_LENGTH
from deviations.api.serializers import ScheduleSerializer
from deviations.services.changing import BULK_MAX
from publisher.models import Attempt
from publisher.services.deciding import Way


# --- what is sent ----------------------------------------------------------------------------------------------------
class AnswerSerializer(ScheduleSerializer):
    """What all decisions share: how the work goes on, and the caller's word where it may be live."""

    SCHEDULE = ["scheduled_at", "local", "zone", "fold", "jitter_seconds"]
    BELONGS_TO = {**dict.fromkeys(SCHEDULE, "schedule")}

    confirm_not_live = serializers.BooleanField(
        required=False,
        help_text="You have looked at DeviantArt, and nothing more of it is live there. Not needed for late works.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        chosen = attrs["decision"]
        foreign = {name: self.BELONGS_TO[name] for name in attrs if self.BELONGS_TO.get(name, chosen) != chosen}
        if foreign:
            message = _("Only for the decision “%(name)s”.")
            raise serializers.ValidationError({name: [message % {"name": whose}] for name, whose in foreign.items()})
        return attrs

    def options(self) -> dict[str, Any]:
        """The services' keywords: what a request calls ``jitter_seconds`` is the most that may be drawn."""
        body = {name: value for name, value in self.validated_data.items() if name in self.SCHEDULE}
        if "jitter_seconds" in body:
            body["jitter_max_seconds"] = body.pop("jitter_seconds")
        return body | {"not_live": self.validated_data.get("confirm_not_live", False)}


class DecisionSerializer(AnswerSerializer):
    """What becomes of a work that needs a decision.

    *look_again*: ask DeviantArt once more. *live*: it is live at ``url``. The others say that it is not live, and then:
    *publish_now*, *schedule* (with a time), *keep_time* (its own, which lies ahead), *draft*.
    """

    BELONGS_TO = {**AnswerSerializer.BELONGS_TO, **dict.fromkeys(["url", "file_id", "confirm_by_hand"], "live")}

    decision = serializers.ChoiceField(["look_again", "live", *Way.values])
    url = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_LENGTH, help_text="Where it is live, as the browser shows it."
    )
    file_id = serializers.UUIDField(required=False, help_text="Which file, for a work of several.")
    confirm_by_hand = serializers.BooleanField(
        required=False, help_text="It is live there, although Isekai cannot see it: take your word for it."
    )


class DecisionsSerializer(AnswerSerializer):
    """One decision for many works: those of ``ids``, or all late ones of an account."""

    decision = serializers.ChoiceField(["look_again", *Way.values])
    ids = serializers.ListField(child=serializers.UUIDField(), required=False, min_length=1, max_length=BULK_MAX)
    late_of_account = serializers.UUIDField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("ids" in attrs) == ("late_of_account" in attrs):
            raise serializers.ValidationError({"ids": [_("Say which works: either ids, or late_of_account.")]})
        if "late_of_account" in attrs and attrs["decision"] == "look_again":
            message = _("Late works were not sent, so there is nothing to look for.")
            raise serializers.ValidationError({"decision": [message]})
        return super().validate(attrs)


# --- what is answered ------------------------------------------------------------------------------------------------
class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One call to DeviantArt. ``outcome`` is null while it is under way, and *unknown* when nobody knows.

    ``settled_at``: when a person said that this call made nothing live.
    """

    file_id = serializers.UUIDField(source="publication.file_id", allow_null=True, read_only=True)

    class Meta:
        model = Attempt
        fields = [
            "id",
            "file_id",
            "step",
            "started_at",
            "ended_at",
            "outcome",
            "category",
            "http_status",
            "error_code",
            "settled_at",
        ]
        read_only_fields = fields


class EntrySerializer(serializers.Serializer[object]):
    """A line of the timeline, worded for the artist; ``future`` ones are still to come."""

    at = serializers.DateTimeField()
    status = serializers.CharField()
    text = serializers.CharField()
    detail = serializers.CharField()
    future = serializers.BooleanField()


class TimelineSerializer(serializers.Serializer[object]):
    attempts = AttemptSerializer(many=True)
    timeline = EntrySerializer(many=True)
