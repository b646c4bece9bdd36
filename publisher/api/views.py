from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.callers import user_of, workspaces_of
from accounts.models import ApiKey
from deviations.models import Deviation
from publisher.api.serializers import TimelineSerializer
from publisher.models import Attempt
from publisher.services.deciding import look_again
from publisher.services.timeline import MOST, timeline_of


class LookAgainView(APIView):
    """Have DeviantArt asked once more whether a work that needs a decision is live."""

    required_scope = ApiKey.Scope.WRITE

    @extend_schema(operation_id="deviation_look_again", request=None, responses={202: None})
    def post(self, request: Request, pk: UUID) -> Response:
        deviation = get_object_or_404(Deviation.objects.filter(workspace__in=workspaces_of(request)), pk=pk)
        look_again(deviation, user=user_of(request))
        return Response(status=status.HTTP_202_ACCEPTED)


class AttemptsView(APIView):
    """What was done for a work, call by call, and the same as a timeline in plain words."""

    required_scope = ApiKey.Scope.READ

    @extend_schema(operation_id="deviation_attempts", responses=TimelineSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        deviation = get_object_or_404(Deviation.objects.filter(workspace__in=workspaces_of(request)), pk=pk)
        attempts = Attempt.objects.filter(publication__deviation=deviation).select_related("publication").order_by("id")
        body = {"attempts": attempts[:MOST], "timeline": timeline_of(deviation)}
        return Response(TimelineSerializer(body).data)
