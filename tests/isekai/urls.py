"""Doors that only tests have, beside those of the project."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, include, path

from isekai.logging import correlation_id

SECRET = "isk_" + "0123456789abcdef" * 4


def on_whoami(_request: HttpRequest) -> None:
    """A place for a test to do something inside a request."""


def whoami(request: HttpRequest) -> HttpResponse:
    on_whoami(request)
    seen = request.session.get("seen", 0) + 1
    request.session["seen"] = seen
    return JsonResponse({"user": request.user.get_username(), "seen": seen, "correlation": correlation_id()})


def broken(_request: HttpRequest) -> HttpResponse:
    raise ValueError(f"It broke with {SECRET}")


def nonce(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.csp_nonce))  # type: ignore[attr-defined] # set by django-csp


urlpatterns: list[URLPattern | URLResolver] = [
    path("tests/whoami/", whoami),
    path("tests/broken/", broken),
    path("tests/nonce/", nonce),
    path("", include("isekai.urls")),
]
