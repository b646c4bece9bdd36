from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiKey, User
from accounts.services.api_keys import find_api_key


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer isk_…` or `X-API-Key: isk_…`. A key in the request beats every cookie."""

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        raw = self._key_of(request)
        if raw is None:
            return None
        key = find_api_key(raw)
        if key is None:
            # One answer for unknown, malformed, expired and revoked keys.
            raise AuthenticationFailed(_("This API key is not valid. Make a new one and use that."))
        return key.user, key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"

    def _key_of(self, request: Request) -> str | None:
        if (header := request.headers.get("X-API-Key")) is not None:
            return header.strip()
        scheme, _space, value = request.headers.get("Authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else None
