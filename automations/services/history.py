"""What became of each slot of an automation: what it scheduled, and where it did not, why."""

from django.db.models import Prefetch

from automations.models import Automation, Execution, ExecutionQuerySet, ExecutionWork


def history_of(automation: Automation) -> ExecutionQuerySet:
    """All executions, those of the latest slot first, each with its works."""
    works = ExecutionWork.objects.select_related("deviation").order_by("publish_at", "pk")
    executions = Execution.objects.filter(automation=automation).select_related("rule")
    return executions.order_by("-slot_at", "-pk").prefetch_related(Prefetch("works", works))
