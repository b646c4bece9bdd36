import django_filters  # type: ignore[import-untyped]  # it has no types
from django.utils.translation import gettext_lazy as _

from automations.models import Automation


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
