"""What automations do, for programs: what is ahead, one slot by hand, a test, the history, and undo."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.callers import user_of, workspace_of, workspaces_of
from accounts.api.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import ApiKey
from automations.api.filters import ExecutionFilter
from automations.api.run_serializers import (
    ExecutionSerializer,
    PreviewSerializer,
    RunSerializer,
    TestQuerySerializer,
    TestSerializer,
    UndoneSerializer,
    UndoSerializer,
    UntilSerializer,
)
from automations.models import Automation, Execution, ScheduleRule
from automations.services.history import history_of
from automations.services.previewing import Preview, may_change_because, preview
from automations.services.reasons import explain_change
from automations.services.running import run_now
from automations.services.testing import judge_minute
from automations.services.undoing import undo_run

UNTIL = OpenApiParameter(
    "until",
    datetime,
    description=(
        "Until when, at most 92 days ahead. 400 of `until` when more than 500 slots, or 500 works, come before it. "
        "Without it as much is answered as there is room for, and `until` says how far that is."
    ),
)


def _automation_of(request: Request, pk: UUID) -> Automation:
    found = Automation.objects.filter(workspace__in=workspaces_of(request)).select_related("workspace")
    return get_object_or_404(found, pk=pk)


def _query(serializer_class: type[Any], request: Request) -> dict[str, Any]:
    query = serializer_class(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    return query.validated_data


def _body(serializer_class: type[Any], request: Request) -> dict[str, Any]:
    body = serializer_class(data=request.data)
    body.is_valid(raise_exception=True)
    return body.validated_data


# --- what is ahead ---------------------------------------------------------------------------------------------------
class PreviewView(APIView):
    """The next slots of one automation, with the drafts that they take if nothing changes. Nothing is changed by it.

    All automations of the workspace are looked at together, so that no draft is promised twice. One that is off is
    shown as if it were on.
    """

    required_scope = ApiKey.Scope.READ

    @extend_schema(operation_id="automation_preview", parameters=[UNTIL], responses=PreviewSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        automation = _automation_of(request, pk)
        seen = preview(automation.workspace, as_if_on=automation, **_query(UntilSerializer, request))
        return Response(_shown(seen, [automation]))


class AllPreviewsView(APIView):
    """The next slots of all automations that are on, in order. Nothing is changed by it."""

    required_scope = ApiKey.Scope.READ

    @extend_schema(operation_id="automations_preview", parameters=[UNTIL], responses=PreviewSerializer)
    def get(self, request: Request) -> Response:
        workspace = workspace_of(request)
        seen = preview(workspace, **_query(UntilSerializer, request))
        automations = Automation.objects.filter(workspace=workspace).active().order_by("position", "pk")
        return Response(_shown(seen, list(automations)))


def _shown(seen: Preview, automations: list[Automation]) -> Any:
    rules: dict[UUID, list[ScheduleRule]] = {each.pk: [] for each in automations}
    for rule in ScheduleRule.objects.filter(automation__in=automations):
        rules[rule.automation_id].append(rule)
    body = {
        "from_": seen.now,
        "until": seen.until,
        "is_cut": seen.is_cut,
        "automations": [
            {
                "id": each.pk,
                "drafts_last_until": seen.lasts_until(each),
                "drafts_last_days": seen.lasts_days(each),
                "may_change": [
                    {"code": code, "message": explain_change(code)} for code in may_change_because(each, rules[each.pk])
                ],
            }
            for each in automations
        ],
        "slots": [slot for slot in seen.slots if slot.automation.pk in rules],
    }
    return PreviewSerializer(body).data


# --- by hand ---------------------------------------------------------------------------------------------------------
class RunView(APIView):
    """Schedule the next drafts of an automation for this moment, each with its delay; also of one that is off.

    Rules, their conditions and holidays are not asked. The answer says what was scheduled, or why nothing was.
    """

    required_scope = ApiKey.Scope.WRITE

    @extend_schema(
        operation_id="automation_run",
        request=RunSerializer,
        responses={201: ExecutionSerializer},
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, pk: UUID) -> Response:
        run = run_now(_automation_of(request, pk), user=user_of(request), **_body(RunSerializer, request))
        return Response(ExecutionSerializer(run.execution).data, status=status.HTTP_201_CREATED)


class TestView(APIView):
    """Which rules fire in a minute, and everything that keeps the others from it. Nothing is changed by it."""

    required_scope = ApiKey.Scope.READ

    @extend_schema(
        operation_id="automation_test",
        parameters=[OpenApiParameter("at", datetime, description="Any moment of that minute; by default this one.")],
        responses=TestSerializer,
    )
    def get(self, request: Request, pk: UUID) -> Response:
        judged = judge_minute(_automation_of(request, pk), **_query(TestQuerySerializer, request))
        return Response(TestSerializer(judged).data)


class UndoView(APIView):
    """Take back the last run of an automation, or the one that is named.

    What is still scheduled becomes a draft, without what was filled in; the rest is left and listed. 409
    `nothing_to_undo`: no work of it is scheduled any more.
    """

    required_scope = ApiKey.Scope.WRITE

    @extend_schema(operation_id="automation_undo", request=UndoSerializer, responses=UndoneSerializer)
    def post(self, request: Request, pk: UUID) -> Response:
        undone = undo_run(_automation_of(request, pk), user=user_of(request), **_body(UndoSerializer, request))
        return Response(UndoneSerializer(undone).data)


# --- history ---------------------------------------------------------------------------------------------------------
class ExecutionsView(ListAPIView):
    """What became of each slot of an automation, those of the latest slot first: what it scheduled, or why not."""

    required_scope = ApiKey.Scope.READ
    queryset = Execution.objects.none()
    serializer_class = ExecutionSerializer
    filterset_class = ExecutionFilter

    @extend_schema(operation_id="automation_executions")
    def get(self, request: Request, *_args: Any, **_kwargs: Any) -> Response:
        return self.list(request)

    def get_queryset(self) -> QuerySet[Execution]:
        if "pk" not in self.kwargs:  # the schema is made without a call
            return Execution.objects.none()
        return history_of(_automation_of(self.request, self.kwargs["pk"]))
