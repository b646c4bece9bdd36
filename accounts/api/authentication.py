import re

from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiKey, User
from accounts.services.api_keys import find_api_key

LOOKS_LIKE_A_KEY = re.compile(r"isk_[0-9a-f]{16}")


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer isk_…` or `X-API-Key: isk_…`. A key in the request beats every cookie.

    A key in the address is refused even where cookies would do: addresses are written into logs and histories. One in a
    body is none.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiKey] | None:
        if any(LOOKS_LIKE_A_KEY.search(value) for values in request.GET.lists() for value in values[1]):
            raise AuthenticationFailed(
                _(
                    "Send an API key in a header, never in the address. Revoke the one that you sent: "
                    "it is in logs now."
                ),
                code="key_in_address",
            )
        keys = self._keys_of(request)
        if not keys:
            return None
        key = find_api_key(keys.pop()) if len(keys) == 1 else None
        if key is None:
            # One answer for unknown, malformed, expired and revoked keys, and for two that differ.
            raise AuthenticationFailed(_("This API key is not valid. Make a new one and use that."))
        return key.user, key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"

    def _keys_of(self, request: Request) -> set[str]:
        keys = set()
        if (header := request.headers.get("X-API-Key")) is not None:
            keys.add(header.strip())
        scheme, _space, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            keys.add(value.strip())
        return keys
