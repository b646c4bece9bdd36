import django_filters  # type: ignore[import-untyped]  # it has no types
from django.utils.translation import gettext_lazy as _

from automations.models import Automation, Execution


class AutomationFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """Which automations a list shows."""

    enabled = django_filters.BooleanFilter(label=_("Those that are switched on, or off"))
    paused = django_filters.BooleanFilter(
        field_name="paused_at", lookup_expr="isnull", exclude=True, label=_("Those that are paused, or not")
    )
    account = django_filters.UUIDFilter(field_name="account_id", label=_("The account that they name"))
    q = django_filters.CharFilter(
        field_name="name", lookup_expr="icontains", max_length=100, label=_("A part of the name")
    )

    class Meta:
        model = Automation
        fields: list[str] = []


class ExecutionFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """Which slots a history shows."""

    outcome = django_filters.MultipleChoiceFilter(choices=Execution.Outcome.choices, label=_("What became of them"))
    kind = django_filters.ChoiceFilter(choices=Execution.Kind.choices, label=_("By a rule, or by hand"))
    rule = django_filters.UUIDFilter(field_name="rule_id", label=_("The rule"))
    run = django_filters.UUIDFilter(field_name="run_id", label=_("What was done in one go"))
    since = django_filters.IsoDateTimeFilter(field_name="slot_at", lookup_expr="gte", label=_("From this moment on"))
    until = django_filters.IsoDateTimeFilter(field_name="slot_at", lookup_expr="lt", label=_("Before this moment"))

    class Meta:
        model = Execution
        fields: list[str] = []
