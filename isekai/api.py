"""What every endpoint of the API shares: the pages of a list, and the one shape of an error."""

from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response
from rest_framework.views import exception_handler

from isekai.errors import IsekaiError
from isekai.logging import correlation_id

logger = structlog.get_logger(__name__)


class Pages(PageNumberPagination):
    page_size_query_param = "page_size"
    max_page_size = 100


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn an exception into ``{code, message, details, request_id}``; None (a 500) for what nobody foresaw."""
    if isinstance(error, IsekaiError):
        return _answer(error.status, error.code, str(error), error.details)
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.ValidationError):
        details = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
        answer = _answer(response.status_code, "invalid", "Some fields cannot be used as they are.", details)
    else:
        detail = getattr(error, "detail", "")
        answer = _answer(response.status_code, getattr(detail, "code", "error"), str(detail), {})
    for name in ("WWW-Authenticate", "Retry-After"):
        if name in response.headers:
            answer[name] = response.headers[name]
    return answer


def _answer(status: int, code: str, message: str, details: dict[str, Any]) -> Response:
    body = {"code": code, "message": message, "details": details, "request_id": correlation_id()}
    return Response(body, status=status)
