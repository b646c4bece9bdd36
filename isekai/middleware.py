"""What every request passes: its id, and the one line that it leaves in the log."""

import re

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject, empty
from django_structlog.middlewares import RequestMiddleware

from isekai.logging import correlation_id

USABLE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def client_address(request: HttpRequest) -> str:
    """The address that the request came from.

    ``X-Forwarded-For`` is written by anybody, so only its last entry counts, and only while a proxy of ours adds it.
    """
    if settings.ISEKAI_BEHIND_PROXY:
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        if forwarded:
            return forwarded
    return request.META.get("REMOTE_ADDR", "")


class RequestLog(RequestMiddleware):
    """Binds the correlation id, answers it as ``X-Request-ID``, and logs how each request ended."""

    def prepare(self, request: HttpRequest) -> None:
        # Our proxy may have given it an id already; whatever else is in that header would end in every line.
        if not USABLE_ID.fullmatch(request.META.get("HTTP_X_REQUEST_ID", "")):
            request.META.pop("HTTP_X_REQUEST_ID", None)
        super().prepare(request)

    def handle_response(self, request: HttpRequest, response: HttpResponse) -> None:
        response["X-Request-ID"] = correlation_id()
        super().handle_response(request, response)

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        # Without the query: the code of an OAuth callback and what people search for are nobody's business.
        return f"{request.method} {request.path}"

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        structlog.contextvars.bind_contextvars(ip=client_address(request))

    @staticmethod
    def bind_user_id(request: HttpRequest) -> None:
        """Only of a user whom somebody has asked for: the log must need no query, and no database."""
        user = getattr(request, "user", None)
        if isinstance(user, SimpleLazyObject) and user._wrapped is empty:  # noqa: SLF001 - there is no public question
            return
        if (user_id := getattr(user, "pk", None)) is not None:
            structlog.contextvars.bind_contextvars(user_id=str(user_id))
