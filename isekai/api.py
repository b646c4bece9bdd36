"""What every endpoint of the API shares: bodies, lists, the one shape of an error, and how all of it is documented."""

import re
from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.http import Http404
from django.utils.translation import gettext_lazy as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions, parsers, serializers, status
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request
from rest_framework.response import Response

from isekai.errors import IsekaiError
from isekai.logging import correlation_id

logger = structlog.get_logger(__name__)


# --- what comes in ---------------------------------------------------------------------------------------------------
class BodyTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The body of this request is too large.")
    default_code = "too_large"


class JSONParser(parsers.JSONParser):
    """JSON of at most DATA_UPLOAD_MAX_MEMORY_SIZE bytes, not nested deeper than Python can read."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise BodyTooLarge
        try:
            return super().parse(BytesIO(body), media_type, parser_context)
        except RecursionError as error:
            raise exceptions.ParseError(_("This JSON is nested too deeply.")) from error


class StrictSerializer(serializers.Serializer):
    """Refuses a field that cannot be set, by its name, instead of dropping it in silence."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            settable = {name for name, field in self.fields.items() if not field.read_only}
            if unknown := [str(name) for name in data if name not in settable]:
                message = _("There is no such field to set.")
                raise serializers.ValidationError({name[:100]: [message] for name in unknown[:20]})
        return super().to_internal_value(data)


class Pages(PageNumberPagination):
    page_size_query_param = "page_size"
    max_page_size = 100

    def get_page_size(self, request: Request) -> int | None:
        raw = request.query_params.get("page_size")
        if raw is None:
            return self.page_size
        if not re.fullmatch(r"[0-9]{1,4}", raw) or not 1 <= int(raw) <= self.max_page_size:
            message = _("A page has 1 to %(most)s entries.") % {"most": self.max_page_size}
            raise serializers.ValidationError({"page_size": [message]})
        return int(raw)


# --- what goes out ---------------------------------------------------------------------------------------------------
class ReasonSerializer(serializers.Serializer):
    """Why something is in its state."""

    code = serializers.CharField(help_text="Stable, for machines.")
    message = serializers.CharField(help_text="For people.")


# --- what goes out when it cannot be done ----------------------------------------------------------------------------
class ErrorSerializer(serializers.Serializer):
    """The shape of every answer that is not a success."""

    code = serializers.CharField(help_text="Stable, for machines.")
    message = serializers.CharField(help_text="For people.")
    details = serializers.DictField(help_text="By field: what was wrong with it, or what may be chosen.")
    request_id = serializers.CharField(help_text="Names this request in the logs.")


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn an exception into ``{code, message, details, request_id}``, also one that nobody foresaw."""
    # The views of DRF read the settings when they are imported, and those name classes of this module. System checks
    # run in any order, so that now and then this module is imported first.
    from rest_framework.views import exception_handler

    if isinstance(error, IsekaiError):
        return error_response(error.status, error.code, str(error), error.details)
    if isinstance(error, SuspiciousOperation):
        # Django's own limits on a request, which its views answer with 400 and nothing else.
        error = BodyTooLarge() if isinstance(error, RequestDataTooBig) else exceptions.ParseError()
    response = exception_handler(error, context)
    if response is None:
        return _answer_unforeseen(error, context)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.ValidationError):
        details = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        answer = error_response(response.status_code, "invalid", _("Some fields cannot be used as they are."), details)
    else:
        detail = getattr(error, "detail", "")
        answer = error_response(response.status_code, getattr(detail, "code", "error"), detail, {})
    for name in ("WWW-Authenticate", "Retry-After"):
        if name in response.headers:
            answer[name] = response.headers[name]
    return answer


def error_response(status_code: int, code: str, message: Any, details: Mapping[str, Any]) -> Response:
    """An answer in the one shape of an error."""
    body = {"code": code, "message": str(message), "details": dict(details), "request_id": correlation_id()}
    return Response(body, status=status_code)


def _answer_unforeseen(error: Exception, context: dict[str, Any]) -> Response | None:
    if settings.DEBUG:
        return None
    logger.error("api_call_failed", exc_info=error)
    # What reports errors, and the test client, listens to this.
    got_request_exception.send(sender=None, request=getattr(context.get("request"), "_request", None))
    message = _("Something broke on our side. It has been noted; try again later.")
    return error_response(status.HTTP_500_INTERNAL_SERVER_ERROR, "internal_error", message, {})


# --- how it is documented --------------------------------------------------------------------------------------------
class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # the library has no types
    target_class = "accounts.api.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002 - the library's signature
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key: `Authorization: Bearer isk_…`. `X-API-Key: isk_…` does as well.",
        }


def document_errors(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:  # noqa: ARG001, FBT001 - the library's signature
    """Add the shape of errors to the schema, as the answer of every call that is none of its successes."""
    result["components"].setdefault("schemas", {})["Error"] = {
        "type": "object",
        "description": ErrorSerializer.__doc__,
        "properties": {
            name: {
                "type": "object" if isinstance(field, serializers.DictField) else "string",
                "description": str(field.help_text),
                **({"additionalProperties": True} if isinstance(field, serializers.DictField) else {}),
            }
            for name, field in ErrorSerializer().fields.items()
        },
        "required": list(ErrorSerializer().fields),
    }
    error = {
        "description": "It could not be done.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for path in result["paths"].values():
        for operation in path.values():
            operation["responses"].setdefault("default", error)
    return result
