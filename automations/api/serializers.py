from datetime import datetime, time
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from automations.api.fields import WEEKDAYS, MinuteField, WeekdayField
from automations.models import Automation, Blackout, DefaultValue, ScheduleRule
from automations.services import blackouts, rules, saving
from automations.services.changing import ItemResult
from deviations.api.fields import WallTimeField
from deviations.services.changing import BULK_MAX
from deviations.services.drafting import GALLERIES_MAX, TAGS_MAX
from isekai.api import StrictSerializer


# --- what is sent ----------------------------------------------------------------------------------------------------
class PartSerializer(StrictSerializer):
    """How often one method is drawn: in ``weight`` of all weights together."""

    METHODS = [(method.value, method.label) for method in saving.UNMIXED]

    method = serializers.ChoiceField(METHODS)
    weight = serializers.IntegerField(min_value=1, max_value=saving.WEIGHT_MAX)


class WordsSerializer(StrictSerializer, serializers.ModelSerializer):
    """What an artist says of an automation."""

    account_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="Null: where each draft says, else the workspace's only account."
    )
    zone = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=64,
        help_text="An IANA name like Europe/Berlin; null: that of the workspace's owner.",
    )
    mixture = PartSerializer(many=True, required=False, allow_null=True, help_text="Only for the method *mixture*.")
    filter_tags = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, max_length=TAGS_MAX
    )
    filter_gallery_ids = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=GALLERIES_MAX)
    filter_template_ids = serializers.ListField(
        child=serializers.UUIDField(), required=False, max_length=saving.TEMPLATES_MAX
    )

    class Meta:
        model = Automation
        fields = sorted(saving.SAID)


class WeekSerializer(StrictSerializer):
    """A table of the week: the times of each day. A day that is not named has none."""

    monday = serializers.ListField(child=MinuteField(), required=False)
    tuesday = serializers.ListField(child=MinuteField(), required=False)
    wednesday = serializers.ListField(child=MinuteField(), required=False)
    thursday = serializers.ListField(child=MinuteField(), required=False)
    friday = serializers.ListField(child=MinuteField(), required=False)
    saturday = serializers.ListField(child=MinuteField(), required=False)
    sunday = serializers.ListField(child=MinuteField(), required=False)

    def to_internal_value(self, data: Any) -> dict[int, list[time]]:
        return {WEEKDAYS.index(day): times for day, times in super().to_internal_value(data).items()}

    def to_representation(self, instance: dict[int, list[time]]) -> dict[str, Any]:
        return super().to_representation({WEEKDAYS[day]: times for day, times in instance.items()})


class RuleWordsSerializer(StrictSerializer, serializers.ModelSerializer):
    """What an artist says of a rule. What another type of rule has is refused; null takes something back.

    *fixed_time*: at ``time_of_day``. *fixed_interval*: every ``interval_minutes``, also within a window. *daily_quota*:
    ``quota`` works a day, spread over the window. *time_window*: some moment of the window. *weekday_slots*: ``week``.
    *cron*: ``cron``. All but the last two may be kept to some ``weekdays``, and all but the quota may take several
    ``works_per_slot``.
    """

    time_of_day = MinuteField(required=False, allow_null=True)
    anchor_local = WallTimeField(
        required=False,
        allow_null=True,
        help_text="From when an interval is counted; by default from midnight of its first day.",
    )
    window_start = MinuteField(required=False, allow_null=True)
    window_end = MinuteField(required=False, allow_null=True, help_text="Null: until midnight.")
    week = WeekSerializer(required=False, allow_null=True)
    weekdays = serializers.ListField(
        child=WeekdayField(), required=False, allow_null=True, allow_empty=False, help_text="Null: every day."
    )

    class Meta:
        model = ScheduleRule
        fields = sorted(rules.SAID)


class DefaultWordsSerializer(StrictSerializer, serializers.ModelSerializer):
    """A value for one field of drafts, in the field's own JSON type; texts may have variables like `{title}`."""

    value = serializers.JSONField(help_text="A text, a list of texts, true or false, or a number, as the field has it.")
    mode = serializers.ChoiceField(DefaultValue.Mode.choices, required=False)

    class Meta:
        model = DefaultValue
        fields = ["field", "value", "mode"]


class DefaultChangeSerializer(DefaultWordsSerializer):
    class Meta(DefaultWordsSerializer.Meta):
        fields = ["value", "mode"]


class NewAutomationSerializer(WordsSerializer):
    """A new automation, with its rules and default values if you like."""

    rules = RuleWordsSerializer(many=True, required=False)
    default_values = DefaultWordsSerializer(many=True, required=False)
    enabled = serializers.BooleanField(required=False, help_text="Needs a rule that is switched on.")

    class Meta(WordsSerializer.Meta):
        fields = [*WordsSerializer.Meta.fields, "rules", "default_values", "enabled"]


class AutomationChangeSerializer(WordsSerializer):
    confirm_moves = serializers.BooleanField(
        required=False, help_text="A `zone` that moves slots is taken with this alone; 409 says what would move."
    )

    class Meta(WordsSerializer.Meta):
        fields = [*WordsSerializer.Meta.fields, "confirm_moves"]


class ToggleSerializer(StrictSerializer):
    enabled = serializers.BooleanField(help_text="As it shall be; sent again, nothing more happens.")


class OrderSerializer(StrictSerializer):
    ids = serializers.ListField(
        child=serializers.UUIDField(),
        min_length=1,
        max_length=BULK_MAX,
        help_text="In the order that they shall have; what is not named comes behind.",
    )


class AutomationsBulkSerializer(StrictSerializer):
    """One action for many automations."""

    ACTIONS = ["enable", "disable", "pause", "go_on", "duplicate", "delete"]

    action = serializers.ChoiceField(ACTIONS)
    ids = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=BULK_MAX)


class BlackoutWordsSerializer(StrictSerializer, serializers.ModelSerializer):
    """Days on which no automation posts to the account, first and last included, in each automation's zone."""

    class Meta:
        model = Blackout
        fields = sorted(blackouts.SAID)


class ZoneSerializer(StrictSerializer):
    zone = serializers.CharField(max_length=64, help_text="An IANA name like Europe/Berlin.")


# --- what is answered ------------------------------------------------------------------------------------------------
class RuleSerializer(serializers.ModelSerializer):
    """A rule. ``etag`` is that of its automation, and goes into ``If-Match`` of the next change of any of it."""

    etag = serializers.SerializerMethodField()
    time_of_day = MinuteField(read_only=True, allow_null=True)
    anchor_local = WallTimeField(read_only=True, allow_null=True)
    window_start = MinuteField(read_only=True, allow_null=True)
    window_end = MinuteField(read_only=True, allow_null=True)
    week = serializers.SerializerMethodField()
    weekdays = serializers.ListField(child=WeekdayField(), read_only=True, allow_null=True)
    next_slot_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Its next slot that has not been made yet."
    )

    class Meta:
        model = ScheduleRule
        fields = ["id", "etag", *sorted(rules.SAID), "next_slot_at", "created_at", "updated_at"]
        read_only_fields = fields

    def get_etag(self, rule: ScheduleRule) -> str:
        return etag_of(rule.automation)

    @extend_schema_field(WeekSerializer(allow_null=True))
    def get_week(self, rule: ScheduleRule) -> dict[str, Any] | None:
        week = rules.week_of(rule)
        return WeekSerializer(week).data if week is not None else None


class DefaultValueSerializer(serializers.ModelSerializer):
    """What is filled in. ``etag`` is that of its automation."""

    etag = serializers.SerializerMethodField()
    value = serializers.JSONField(read_only=True)

    class Meta:
        model = DefaultValue
        fields = ["id", "etag", "field", "value", "mode", "created_at", "updated_at"]
        read_only_fields = fields

    def get_etag(self, default: DefaultValue) -> str:
        return etag_of(default.automation)


class AutomationSerializer(serializers.ModelSerializer):
    """An automation. ``etag`` goes into ``If-Match`` of the next change of it, its rules or its default values."""

    etag = serializers.SerializerMethodField()
    account_id = serializers.UUIDField(read_only=True, allow_null=True)
    zone = serializers.SerializerMethodField(help_text="Null: that of the workspace's owner.")
    mixture = PartSerializer(many=True, read_only=True, allow_null=True)
    effective_zone = serializers.CharField(read_only=True, help_text="In which its times are meant.")
    next_slot_at = serializers.SerializerMethodField(help_text="Its next slot that has not been made yet.")
    rules = RuleSerializer(many=True, read_only=True)
    default_values = DefaultValueSerializer(many=True, read_only=True)

    class Meta:
        model = Automation
        fields = [
            "id",
            "etag",
            *("position", "enabled", "paused_at"),
            *sorted(saving.SAID),
            "effective_zone",
            "next_slot_at",
            "rules",
            "default_values",
            "created_at",
            "updated_at",
        ]
        read_only_fields = fields

    def get_etag(self, automation: Automation) -> str:
        return etag_of(automation)

    def get_zone(self, automation: Automation) -> str | None:
        return automation.zone or None

    def get_next_slot_at(self, automation: Automation) -> datetime | None:
        # From the rules that the list has fetched at once.
        moments = [rule.next_slot_at for rule in automation.rules.all() if rule.next_slot_at is not None]
        return min(moments, default=None)


class AutomationItemErrorSerializer(serializers.Serializer):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.DictField()


class AutomationItemSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    ok = serializers.BooleanField(source="done")
    etag = serializers.SerializerMethodField()
    copy_id = serializers.SerializerMethodField(help_text="The new one, of *duplicate*.")
    error = serializers.SerializerMethodField()

    def get_etag(self, item: ItemResult) -> str | None:
        return etag_of(item.automation) if item.automation is not None else None

    def get_copy_id(self, item: ItemResult) -> str | None:
        return str(item.automation.pk) if item.automation is not None and item.automation.pk != item.id else None

    @extend_schema_field(AutomationItemErrorSerializer(allow_null=True))
    def get_error(self, item: ItemResult) -> dict[str, Any] | None:
        if item.done:
            return None
        if item.error is None:
            return {"code": "not_found", "message": str(_("There is no such automation.")), "details": {}}
        return {"code": item.error.code, "message": str(item.error), "details": item.error.details}


class AutomationsBulkResultSerializer(serializers.Serializer):
    bulk_id = serializers.UUIDField(source="id", help_text="In the audit trail of each automation that changed.")
    results = AutomationItemSerializer(many=True, source="items")


class MoveSerializer(serializers.Serializer):
    """A slot that another zone moves; null: there is no such slot before, or after."""

    automation_id = serializers.UUIDField()
    rule_id = serializers.UUIDField()
    before = serializers.DateTimeField(allow_null=True)
    after = serializers.DateTimeField(allow_null=True)


class MovesSerializer(serializers.Serializer):
    count = serializers.IntegerField(help_text="Slots of the next four weeks that move.")
    moves = MoveSerializer(many=True, help_text="The first hundred of them.")


class BlackoutSerializer(serializers.ModelSerializer):
    account_id = serializers.UUIDField(read_only=True)

    class Meta:
        model = Blackout
        fields = ["id", "account_id", *sorted(blackouts.SAID), "created_at", "updated_at"]
        read_only_fields = fields


def etag_of(automation: Automation) -> str:
    return f'"{automation.version}"'
