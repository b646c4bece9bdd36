from typing import Any

import django_filters  # type: ignore[import-untyped]  # it has no types
from django.utils.translation import gettext_lazy as _

from deviations.models import Deviation, DeviationQuerySet


class DeviationFilter(django_filters.FilterSet):  # type: ignore[misc]  # as above
    """Which works a list shows; without a word about the trash, those that are not in it."""

    status = django_filters.MultipleChoiceFilter(choices=Deviation.Status.choices, label=_("Any of these states"))
    account = django_filters.UUIDFilter(field_name="account_id", label=_("The account that they go to"))
    q = django_filters.CharFilter(
        field_name="title", lookup_expr="icontains", max_length=100, label=_("A part of the title")
    )
    ready = django_filters.BooleanFilter(
        field_name="ready_at",
        lookup_expr="isnull",
        exclude=True,
        label=_("Those that automations may take while they are drafts, or the others"),
    )
    trashed = django_filters.BooleanFilter(method="by_trash", label=_("Those in the trash, instead of the others"))

    class Meta:
        model = Deviation
        fields: list[str] = []

    def by_trash(self, works: DeviationQuerySet, _name: str, trashed: bool) -> DeviationQuerySet:  # noqa: FBT001
        return works.trashed() if trashed else works

    def filter_queryset(self, queryset: Any) -> Any:
        works = super().filter_queryset(queryset)
        return works if self.form.cleaned_data.get("trashed") else works.kept()
