from rest_framework import serializers

from accounts.models import ApiKey, DeviantArtAccount, User, Workspace
from isekai.api import StrictSerializer

LONGEST_LIFE_DAYS = 365


class WorkspaceSerializer(serializers.ModelSerializer):
    class Meta:
        model = Workspace
        fields = ["id", "name"]


class WorkspaceWishesSerializer(serializers.ModelSerializer):
    """What the owners of a workspace want for all of it."""

    drafts_are_ready = serializers.BooleanField(
        help_text="Whether each new draft is ready for automations at once. Drafts of before stay as they are."
    )

    class Meta:
        model = Workspace
        fields = ["id", "name", "drafts_are_ready"]
        read_only_fields = ["id", "name"]


class ChangedWishesSerializer(StrictSerializer):
    drafts_are_ready = serializers.BooleanField()


class MeSerializer(serializers.ModelSerializer):
    workspace = WorkspaceSerializer(read_only=True, help_text="What this call sees and changes belongs to it.")
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=ApiKey.Scope.choices),
        allow_null=True,
        read_only=True,
        help_text="What this API key may do; null for somebody who is signed in.",
    )

    class Meta:
        model = User
        fields = ["id", "username", "time_zone", "language", "theme", "workspace", "scopes"]


class DeviantArtAccountSerializer(serializers.ModelSerializer):
    is_held = serializers.BooleanField(read_only=True, help_text="Its works wait, with their times.")
    held_because = serializers.CharField(read_only=True, help_text="A code; empty while nothing is held.")
    missing_scopes = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="What Isekai needs and was not granted."
    )

    class Meta:
        model = DeviantArtAccount
        fields = [
            "id",
            "username",
            "avatar_url",
            "state",
            "is_held",
            "held_because",
            "paused",
            "not_before",
            "scopes",
            "missing_scopes",
            "connected_at",
        ]
        read_only_fields = fields


class ApiKeySerializer(serializers.ModelSerializer):
    prefix = serializers.SerializerMethodField(help_text="How the key begins; the rest cannot be shown again.")

    class Meta:
        model = ApiKey
        fields = ["id", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"]

    def get_prefix(self, key: ApiKey) -> str:
        return f"isk_{key.public_id}"


class NewApiKeySerializer(StrictSerializer):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=ApiKey.Scope.choices),
        default=[ApiKey.Scope.UPLOAD],
        min_length=1,
        max_length=len(ApiKey.Scope),
        help_text="By default the key may upload new works and nothing else.",
    )
    lives_days = serializers.IntegerField(min_value=1, max_value=LONGEST_LIFE_DAYS, default=90)


class CreatedApiKeySerializer(ApiKeySerializer):
    key = serializers.CharField(read_only=True, help_text="The key itself. It is shown only in this answer.")

    class Meta(ApiKeySerializer.Meta):
        fields = [*ApiKeySerializer.Meta.fields, "key"]
