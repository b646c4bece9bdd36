"""`Idempotency-Key`: a creating call that is sent again makes nothing twice, and gets the answer of the first."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.callers import workspace_of
from accounts.models import IdempotencyKey, Workspace
from isekai import clock
from isekai.errors import IsekaiError

HEADER = "Idempotency-Key"
LIFETIME = timedelta(hours=24)
KEY_MAX_LENGTH = 255

IDEMPOTENCY_KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    description=(
        "Any text of yours, at most 255 characters. The same call sent again with it within a day makes nothing twice "
        "and gets the same answer."
    ),
)


class UnusableKey(IsekaiError):
    code = "idempotency_key_unusable"
    status = 400


class KeyUsedForAnotherCall(IsekaiError):
    code = "idempotency_key_reused"
    status = 422


class StillBeingAnswered(IsekaiError):
    code = "idempotency_key_in_use"
    status = 409


def idempotent(method: Callable[..., Response]) -> Callable[..., Response]:
    """Make a creating method of a view answer a repeated `Idempotency-Key` with its first answer.

    What the call makes and what it answers are committed together, so that no crash lies between them; an error is not
    kept, since it has made nothing. The call must not ask anybody outside: a transaction is open.
    """

    @wraps(method)
    def answer_once(view: APIView, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return method(view, request, *args, **kwargs)
        if not (0 < len(key) <= KEY_MAX_LENGTH and key.isascii() and key.isprintable()):
            raise UnusableKey(_("An Idempotency-Key has 1 to 255 printable ASCII characters."))
        workspace = workspace_of(request)
        with transaction.atomic():
            _take(workspace, key)
            known = IdempotencyKey.objects.filter(workspace=workspace, key=key).first()
            if known is not None and known.expires_at <= clock.now():
                known.delete()
                known = None
            if known is not None:
                return _repeat(known, request)
            response = method(view, request, *args, **kwargs)
            if response.status_code >= status.HTTP_400_BAD_REQUEST:
                return response
            IdempotencyKey.objects.create(
                workspace=workspace,
                key=key,
                request_hash=_hash_of(request),
                response_status=response.status_code,
                response_body=json.loads(JSONRenderer().render(response.data)),
                expires_at=clock.now() + LIFETIME,
            )
        return response

    return answer_once


def _take(workspace: Workspace, key: str) -> None:
    """Be the only one with this key until the transaction ends; raises StillBeingAnswered."""
    digest = hashlib.sha256(f"{workspace.pk}:{key}".encode()).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int.from_bytes(digest[:8], "big", signed=True)])
        if not cursor.fetchone()[0]:
            raise StillBeingAnswered(_("The first call with this Idempotency-Key is still being answered."))


def _repeat(known: IdempotencyKey, request: Request) -> Response:
    if known.request_hash != _hash_of(request):
        raise KeyUsedForAnotherCall(_("This Idempotency-Key was used for another call. Take a new one."))
    return Response(known.response_body, status=known.response_status, headers={"Idempotency-Replayed": "true"})


def _hash_of(request: Request) -> str:
    call: list[Any] = [request.method, request.path, request.data]
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()
