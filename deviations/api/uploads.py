"""Uploading: a ticket, then the file straight to storage, then *complete*."""

from django.conf import settings
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.api.callers import user_of, workspace_of, workspaces_of
from accounts.api.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import ApiKey
from deviations.errors import UploadRefused
from deviations.models import Upload
from deviations.services.refusals import explain
from deviations.services.uploading import complete_upload, issue_ticket, wait_until_read
from isekai.api import ReasonSerializer, StrictSerializer


class AnnouncementSerializer(StrictSerializer):
    """What is going to be sent; the file must turn out to be just that."""

    filename = serializers.CharField(max_length=1000, help_text="With its extension, which must agree with the type.")
    content_type = serializers.CharField(max_length=100, help_text="Such as image/png.")
    size = serializers.IntegerField(min_value=1, max_value=2**53, help_text="In bytes.")


class TicketSerializer(serializers.Serializer):
    """Post the ``fields``, then the file as `file`, as multipart/form-data to ``url``, before it expires."""

    id = serializers.UUIDField(source="upload.pk")
    url = serializers.URLField()
    fields = serializers.DictField(child=serializers.CharField())  # type: ignore[assignment]  # named so in the API
    expires_at = serializers.DateTimeField(source="upload.expires_at")


class UploadSerializer(serializers.ModelSerializer):
    """An upload; type, size, digest and dimensions are what we have read ourselves, null until then."""

    content_type = serializers.SerializerMethodField()
    sha256 = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField(help_text="Why it was rejected.")

    class Meta:
        model = Upload
        fields = [
            *("id", "state", "filename", "content_type", "size", "sha256", "width", "height", "duration_seconds"),
            *("reason", "expires_at"),
        ]
        read_only_fields = fields

    def get_content_type(self, upload: Upload) -> str | None:
        return upload.content_type or None

    def get_sha256(self, upload: Upload) -> str | None:
        return upload.sha256 or None

    @extend_schema_field(ReasonSerializer(allow_null=True))
    def get_reason(self, upload: Upload) -> dict[str, str] | None:
        code = upload.reason_code
        return {"code": code, "message": explain(code, upload.reason_params)} if code else None


class UploadViewSet(GenericViewSet):
    """Uploads. What belongs to another workspace is not found."""

    queryset = Upload.objects.none()
    serializer_class = UploadSerializer
    required_scope = ApiKey.Scope.UPLOAD
    filter_backends = ()

    def get_object(self) -> Upload:
        return get_object_or_404(Upload.objects.filter(workspace__in=workspaces_of(self.request)), pk=self.kwargs["pk"])

    @extend_schema(request=AnnouncementSerializer, responses={201: TicketSerializer}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """Ask for a ticket to send one file to storage."""
        body = AnnouncementSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        ticket = issue_ticket(workspace_of(request), user=user_of(request), **body.validated_data)
        return Response(TicketSerializer(ticket).data, status=status.HTTP_201_CREATED)

    def retrieve(self, request: Request, pk: str) -> Response:  # noqa: ARG002 - REST framework passes it
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None, responses={200: UploadSerializer, 202: UploadSerializer})
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: str) -> Response:  # noqa: ARG002 - REST framework passes it
        """Say that the file has been sent. 202 while it is still being read; ask again, or watch the upload."""
        upload = complete_upload(self.get_object())
        upload = wait_until_read(upload, seconds=settings.UPLOAD_COMPLETE_WAIT_SECONDS)
        if upload.state == Upload.State.REJECTED:
            message = explain(upload.reason_code, upload.reason_params)
            raise UploadRefused(message, code=upload.reason_code, details={"file": [message]})
        waiting = upload.state == Upload.State.READING
        headers = {"Retry-After": "1"} if waiting else {}
        answer = status.HTTP_202_ACCEPTED if waiting else status.HTTP_200_OK
        return Response(self.get_serializer(upload).data, status=answer, headers=headers)
