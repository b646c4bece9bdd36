# ruff: noqa: ARG002 - REST framework gives the request and the key to every method, which read them from the view
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import prefetch_related_objects
from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.api.callers import user_of, workspace_of, workspaces_of
from accounts.api.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import ApiKey
from deviations.api.filters import DeviationFilter
from deviations.api.serializers import (
    BulkResultSerializer,
    BulkSerializer,
    DeviationSerializer,
    DraftSerializer,
    ScheduleSerializer,
    WordsSerializer,
    etag_of,
)
from deviations.errors import VersionConflict
from deviations.models import Deviation, DeviationQuerySet
from deviations.services.changing import BulkResult
from deviations.services.drafting import create_draft, edit_deviation
from deviations.services.readying import approve_deviation, approve_many, set_many_ready, set_ready
from deviations.services.scheduling import (
    cancel_many,
    cancel_schedule,
    publish_many_now,
    publish_now,
    retry_deviation,
    retry_many,
    schedule_deviation,
    schedule_many,
    schedule_many_as_before,
)
from deviations.services.trashing import restore_deviation, restore_many, trash_deviation, trash_many

SHOWN = ("files__variants", "publications")
IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The work's `etag` as you have seen it: 412 when it was changed since. Without it nothing is compared.",
)


class DeviationViewSet(GenericViewSet):
    """Works. What belongs to another workspace is not found."""

    queryset = Deviation.objects.none()
    serializer_class = DeviationSerializer
    filterset_class = DeviationFilter
    required_scope = {
        "list": ApiKey.Scope.READ,
        "retrieve": ApiKey.Scope.READ,
        "create": ApiKey.Scope.UPLOAD,
        "partial_update": ApiKey.Scope.WRITE,
        "destroy": ApiKey.Scope.WRITE,
        "schedule": ApiKey.Scope.WRITE,
        "cancel": ApiKey.Scope.WRITE,
        "publish_now": ApiKey.Scope.WRITE,
        "retry": ApiKey.Scope.WRITE,
        "ready": ApiKey.Scope.WRITE,
        "not_ready": ApiKey.Scope.WRITE,
        "approve": ApiKey.Scope.WRITE,
        "restore": ApiKey.Scope.WRITE,
        "bulk": ApiKey.Scope.WRITE,
    }

    def get_queryset(self) -> DeviationQuerySet:
        # The ids first: with them the list is read from its index, in its order.
        ids = list(workspaces_of(self.request).values_list("pk", flat=True))
        return Deviation.objects.filter(workspace_id__in=ids)

    def get_object(self) -> Deviation:
        # Without the list's filters: what is in the trash is found by its id.
        return get_object_or_404(self.get_queryset(), pk=self.kwargs["pk"])

    def list(self, request: Request) -> Response:
        """Works, those that changed last first."""
        works = self.filter_queryset(self.get_queryset()).order_by("-updated_at", "-id").prefetch_related(*SHOWN)
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(works), many=True).data)

    @extend_schema(request=DraftSerializer, responses={201: DeviationSerializer}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """Make a draft of verified uploads."""
        body = self._body(DraftSerializer)
        deviation = create_draft(workspace_of(request), user=user_of(request), **body)
        return self._answer(deviation, status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: str) -> Response:
        return self._answer(self.get_object())

    @extend_schema(request=WordsSerializer, parameters=[IF_MATCH])
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is said of a work; a scheduled one keeps its time and must stay publishable."""
        body = self._body(WordsSerializer, partial=True)
        return self._do(edit_deviation, **body)

    @extend_schema(parameters=[IF_MATCH], responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Put a work into the trash; a scheduled one is cancelled."""
        self._do(trash_deviation)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=ScheduleSerializer, parameters=[IF_MATCH])
    @action(detail=True, methods=["put"])
    def schedule(self, request: Request, pk: str) -> Response:
        """Schedule a work, or give a scheduled one another time."""
        body = self._body(ScheduleSerializer)
        return self._do(schedule_deviation, **_wish_of(body))

    @extend_schema(parameters=[IF_MATCH], responses={200: DeviationSerializer})
    @schedule.mapping.delete
    def cancel(self, request: Request, pk: str) -> Response:
        """Take a work off the schedule; it is a draft again."""
        return self._do(cancel_schedule)

    @extend_schema(request=None, parameters=[IF_MATCH], responses={202: DeviationSerializer})
    @action(detail=True, methods=["post"], url_path="publish-now")
    def publish_now(self, request: Request, pk: str) -> Response:
        """Make a work due at this moment. It is published soon after the answer."""
        return self._do(publish_now, answer=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, parameters=[IF_MATCH], responses={202: DeviationSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Try a failed work again, at this moment."""
        return self._do(retry_deviation, answer=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, parameters=[IF_MATCH])
    @action(detail=True, methods=["post"])
    def ready(self, request: Request, pk: str) -> Response:
        """Say that automations may take a work while it is a draft; one that is ready stays as it is."""
        return self._do(set_ready, ready=True)

    @extend_schema(request=None, parameters=[IF_MATCH])
    @action(detail=True, methods=["post"], url_path="not-ready")
    def not_ready(self, request: Request, pk: str) -> Response:
        """Keep a work from automations; what they have scheduled already stays scheduled."""
        return self._do(set_ready, ready=False)

    @extend_schema(request=None, parameters=[IF_MATCH])
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Let a work out of review: it is a draft then, and ready for automations."""
        return self._do(approve_deviation)

    @extend_schema(request=None, parameters=[IF_MATCH])
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, pk: str) -> Response:
        """Take a work out of the trash."""
        return self._do(restore_deviation)

    @extend_schema(request=BulkSerializer, responses={200: BulkResultSerializer}, filters=False)
    @action(detail=False, methods=["post"], pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Do one thing to many works at once, with a result for each; sent again, it goes on where it stopped."""
        body = self._body(BulkSerializer)
        chosen, ids = body.pop("action"), body.pop("ids")
        result = _BULK[chosen](self.get_queryset(), user=user_of(request), ids=ids, **_wish_of(body))
        if all(item.deviation is None and item.error is None for item in result.items):
            raise NotFound
        return Response(BulkResultSerializer(result).data)

    def _body(self, serializer_class: type[Any], *, partial: bool = False) -> dict[str, Any]:
        serializer = serializer_class(data=self.request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def _do(self, service: Callable[..., Deviation], *, answer: int = status.HTTP_200_OK, **options: Any) -> Response:
        deviation = service(self.get_object(), user=user_of(self.request), version=version_of(self.request), **options)
        return self._answer(deviation, answer)

    def _answer(self, deviation: Deviation, answer: int = status.HTTP_200_OK) -> Response:
        prefetch_related_objects([deviation], *SHOWN)
        return Response(self.get_serializer(deviation).data, status=answer, headers={"ETag": etag_of(deviation)})


_BULK: dict[str, Callable[..., BulkResult]] = {
    "schedule": schedule_many,
    "schedule_as_before": schedule_many_as_before,
    "cancel": cancel_many,
    "publish_now": publish_many_now,
    "retry": retry_many,
    "ready": partial(set_many_ready, ready=True),
    "not_ready": partial(set_many_ready, ready=False),
    "approve": approve_many,
    "trash": trash_many,
    "restore": restore_many,
}


def _wish_of(body: dict[str, Any]) -> dict[str, Any]:
    """The services' names: what a request calls ``jitter_seconds`` is the most that may be drawn."""
    return {"jitter_max_seconds" if name == "jitter_seconds" else name: value for name, value in body.items()}


def version_of(request: Request) -> int | None:
    """The version that ``If-Match`` names; None compares nothing. Raises VersionConflict for what cannot be ours."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    tags = parse_etags(header)
    # Strong comparison (RFC 9110, 13.1.1): a weak tag matches nothing.
    if len(tags) != 1 or not tags[0].strip('"').isascii() or not tags[0].strip('"').isdecimal():
        raise VersionConflict
    return int(tags[0].strip('"'))
