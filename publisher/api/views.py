from typing import Any
from uuid import UUID

from django.db.models import prefetch_related_objects
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.callers import user_of, workspaces_of
from accounts.models import ApiKey
from deviations.api.serializers import BulkResultSerializer, DeviationSerializer, etag_of
from deviations.api.views import IF_MATCH, SHOWN, version_of
from deviations.models import Deviation, DeviationQuerySet
from deviations.services.changing import BulkResult
from publisher.api.serializers import DecisionSerializer, DecisionsSerializer, TimelineSerializer
from publisher.models import Attempt
from publisher.services.confirming import confirm_live
from publisher.services.deciding import Way, decide, decide_all_late, decide_many, look_again, look_again_at_many
from publisher.services.timeline import MOST, timeline_of


def works_of(request: Request) -> DeviationQuerySet:
    """Those of the caller; what belongs to somebody else is not found."""
    return Deviation.objects.filter(workspace__in=workspaces_of(request))


class LookAgainView(APIView):
    """Have DeviantArt asked once more whether a work that needs a decision is live."""

    required_scope = ApiKey.Scope.WRITE

    @extend_schema(operation_id="deviation_look_again", request=None, responses={202: None})
    def post(self, request: Request, pk: UUID) -> Response:
        look_again(get_object_or_404(works_of(request), pk=pk), user=user_of(request))
        return Response(status=status.HTTP_202_ACCEPTED)


class DecideView(APIView):
    """Say what becomes of a work that needs a decision.

    409 `confirmation_needed` names the field in which to give your word, and why; 409 `being_confirmed`: a call may
    still make it live; 409 `address_taken`: another work is known to be there.
    """

    required_scope = ApiKey.Scope.WRITE

    @extend_schema(
        operation_id="deviation_decide",
        request=DecisionSerializer,
        responses=DeviationSerializer,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, pk: UUID) -> Response:
        work = get_object_or_404(works_of(request), pk=pk)
        body = DecisionSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        work = _decided(work, body, user=user_of(request), version=version_of(request))
        prefetch_related_objects([work], *SHOWN)
        return Response(DeviationSerializer(work).data, headers={"ETag": etag_of(work)})


def _decided(work: Deviation, body: DecisionSerializer, *, user: Any, version: int | None) -> Deviation:
    said = body.validated_data
    match said["decision"]:
        case "look_again":
            return look_again(work, user=user, version=version)
        case "live":
            return confirm_live(
                work,
                user=user,
                version=version,
                url=said.get("url", ""),
                file_id=said.get("file_id"),
                by_hand=said.get("confirm_by_hand", False),
            )
        case way:
            return decide(work, Way(way), user=user, version=version, **body.options())


class DecisionsView(APIView):
    """Decide about many works at once, with a result for each; sent again, it goes on where it stopped."""

    required_scope = ApiKey.Scope.WRITE

    @extend_schema(operation_id="decisions", request=DecisionsSerializer, responses=BulkResultSerializer)
    def post(self, request: Request) -> Response:
        body = DecisionsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        result = _all_decided(works_of(request), body, user=user_of(request))
        if all(item.deviation is None and item.error is None for item in result.items):
            raise NotFound
        return Response(BulkResultSerializer(result).data)


def _all_decided(works: DeviationQuerySet, body: DecisionsSerializer, *, user: Any) -> BulkResult:
    said, options = body.validated_data, body.options()
    if said["decision"] == "look_again":
        return look_again_at_many(works, user=user, ids=said["ids"])
    way = Way(said["decision"])
    if "ids" in said:
        return decide_many(works, way, user=user, ids=said["ids"], **options)
    del options["not_live"]  # no late work was sent
    return decide_all_late(works, way, user=user, account_id=said["late_of_account"], **options)


class AttemptsView(APIView):
    """What was done for a work, call by call, and the same as a timeline in plain words."""

    required_scope = ApiKey.Scope.READ

    @extend_schema(operation_id="deviation_attempts", responses=TimelineSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        deviation = get_object_or_404(works_of(request), pk=pk)
        attempts = Attempt.objects.filter(publication__deviation=deviation).select_related("publication").order_by("id")
        body = {"attempts": attempts[:MOST], "timeline": timeline_of(deviation)}
        return Response(TimelineSerializer(body).data)
