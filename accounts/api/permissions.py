from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey

if TYPE_CHECKING:
    # REST framework's views import this module, by the settings.
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Signed in, or a key with the scope that the view names in ``required_scope``.

    ``required_scope`` is a scope for the whole view, or a dictionary from action or lower-case method to scope. None,
    by itself or in the dictionary, is for people alone: no key can have it. A view that names nothing is closed to
    keys.
    """

    message = _("This API key does not have the scope that this call needs.")

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if request.user is None or not request.user.is_authenticated:
            return False
        if not isinstance(request.auth, ApiKey):
            return True
        required = getattr(view, "required_scope", None)
        if isinstance(required, dict):
            required = required.get(getattr(view, "action", None)) or required.get(str(request.method).lower())
        return required is not None and required in request.auth.scopes
