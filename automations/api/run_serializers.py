from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from automations.models import Automation, Execution, ExecutionWork
from automations.models.rules import WORKS_MAX
from automations.services.previewing import PreviewedSlot
from automations.services.reasons import explain, explain_left
from automations.services.testing import RuleJudged
from automations.services.undoing import Left
from isekai.api import ReasonSerializer, StrictSerializer


# --- what is sent ----------------------------------------------------------------------------------------------------
class UntilSerializer(serializers.Serializer):
    until = serializers.DateTimeField(required=False)


class TestQuerySerializer(serializers.Serializer):
    at = serializers.DateTimeField(required=False)


class RunSerializer(StrictSerializer):
    count = serializers.IntegerField(
        min_value=1,
        max_value=WORKS_MAX,
        required=False,
        allow_null=True,
        help_text="How many drafts; by default as many as a slot of its first rule takes.",
    )


class UndoSerializer(StrictSerializer):
    run_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="Null: the last run of which a work is still scheduled."
    )


# --- what is answered ------------------------------------------------------------------------------------------------
def _reason(code: str, params: Mapping[str, Any]) -> dict[str, str] | None:
    return {"code": code, "message": explain(code, params)} if code else None


class PreviewedWorkSerializer(serializers.Serializer):
    deviation_id = serializers.UUIDField()
    title = serializers.CharField(help_text="As it will be, with what the automation fills in.")
    method = serializers.ChoiceField(Automation.Method.choices, help_text="How it was chosen.")
    publish_at = serializers.DateTimeField(help_text="When it goes out, its delay included.")
    fields_filled_in = serializers.DictField(
        source="words", help_text="What the automation writes into it, by field; empty for what is scheduled already."
    )


class PreviewedSlotSerializer(serializers.Serializer):
    """A slot, and what becomes of it. One that the tick has made already has its works scheduled."""

    automation_id = serializers.UUIDField(source="automation.pk")
    rule_id = serializers.UUIDField(source="rule.pk", default=None, allow_null=True, help_text="Null: by hand.")
    at = serializers.DateTimeField()
    local = serializers.SerializerMethodField(help_text="The same on the clocks of `zone`.")
    zone = serializers.CharField()
    local_date = serializers.DateField(help_text="The day that it belongs to, with its number on that day.")
    ordinal = serializers.IntegerField()
    moved_from = serializers.DateTimeField(allow_null=True, help_text="Where it was before holidays moved it.")
    outcome = serializers.ChoiceField(Execution.Outcome.choices)
    reason = serializers.SerializerMethodField()
    is_made = serializers.BooleanField()
    works = PreviewedWorkSerializer(many=True)

    def get_local(self, slot: PreviewedSlot) -> str:
        return slot.at.astimezone(ZoneInfo(slot.zone)).replace(tzinfo=None).isoformat()

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_reason(self, slot: PreviewedSlot) -> dict[str, str] | None:
        return _reason(slot.reason_code, slot.reason_params)


class PreviewedAutomationSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    drafts_last_until = serializers.DateTimeField(
        allow_null=True, help_text="The first slot that finds no draft; null: each that is shown finds one."
    )
    drafts_last_days = serializers.IntegerField(allow_null=True)
    may_change = ReasonSerializer(many=True, help_text="What would make this come out otherwise.")


class PreviewSerializer(serializers.Serializer):
    until = serializers.DateTimeField(help_text="All slots before this moment are there.")
    is_cut = serializers.BooleanField(help_text="Whether there was no room for what comes behind `until`.")
    automations = PreviewedAutomationSerializer(many=True)
    slots = PreviewedSlotSerializer(many=True)

    def get_fields(self) -> dict[str, serializers.Field]:
        # A word of Python's own.
        since = serializers.DateTimeField(source="from_", help_text="The moment at which this was true.")
        return {"from": since, **super().get_fields()}


class ExecutionWorkSerializer(serializers.ModelSerializer):
    title = serializers.CharField(source="deviation.title")
    status = serializers.CharField(source="deviation.status", help_text="Of the work, at this moment.")

    class Meta:
        model = ExecutionWork
        fields = [
            "deviation_id",
            "title",
            "status",
            "method",
            "publish_at",
            "counter",
            "price_preset_id",
            "released_at",
            "released_because",
        ]


class ExecutionSerializer(serializers.ModelSerializer):
    """What became of a slot."""

    automation_id = serializers.UUIDField()
    rule_id = serializers.UUIDField(allow_null=True, help_text="Null: by hand, or by a rule that is gone.")
    reason = serializers.SerializerMethodField()
    works = ExecutionWorkSerializer(many=True)

    class Meta:
        model = Execution
        fields = [
            "id",
            "run_id",
            "kind",
            "automation_id",
            "rule_id",
            "local_date",
            "ordinal",
            "slot_at",
            "outcome",
            "reason",
            "made_at",
            "works",
        ]

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_reason(self, execution: Execution) -> dict[str, str] | None:
        return _reason(execution.reason_code, execution.reason_params)


class RuleJudgedSerializer(serializers.Serializer):
    rule_id = serializers.UUIDField(source="rule.pk")
    fires = serializers.BooleanField()
    against = serializers.SerializerMethodField(help_text="Everything that keeps it from firing.")
    deviation_ids = serializers.SerializerMethodField(help_text="The drafts that it takes, if it fires.")
    next_at = serializers.DateTimeField(allow_null=True, help_text="Its next slot after that minute.")

    @extend_schema_field(ReasonSerializer(many=True))
    def get_against(self, judged: RuleJudged) -> list[dict[str, str]]:
        return [{"code": one.code, "message": explain(one.code, one.params)} for one in judged.against]

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_deviation_ids(self, judged: RuleJudged) -> list[str]:
        return [str(draft.pk) for draft in judged.drafts]


class TestSerializer(serializers.Serializer):
    at = serializers.DateTimeField(help_text="The minute begins here.")
    zone = serializers.CharField()
    rules = RuleJudgedSerializer(many=True)


class LeftSerializer(serializers.Serializer):
    deviation_id = serializers.UUIDField(source="deviation.pk")
    reason = serializers.SerializerMethodField()

    @extend_schema_field(ReasonSerializer)
    def get_reason(self, left: Left) -> dict[str, str]:
        return {"code": left.code, "message": explain_left(left.code, left.deviation.title)}


class UndoneSerializer(serializers.Serializer):
    run_id = serializers.UUIDField()
    taken_back = serializers.SerializerMethodField(help_text="These are drafts again.")
    left = LeftSerializer(many=True, help_text="These stay as they are.")

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_taken_back(self, undone: Any) -> list[str]:
        return [str(draft.pk) for draft in undone.taken_back]
