from rest_framework import serializers

from publisher.models import Attempt


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One call to DeviantArt. ``outcome`` is null while it is under way, and *unknown* when nobody knows."""

    file_id = serializers.UUIDField(source="publication.file_id", allow_null=True, read_only=True)

    class Meta:
        model = Attempt
        fields = ["id", "file_id", "step", "started_at", "ended_at", "outcome", "category", "http_status", "error_code"]
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
