"""Times as they are written in a request: an instant has its offset, a time on the wall has none."""

from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


class InstantField(serializers.DateTimeField):
    """An aware datetime. One without an offset is refused: it could mean two dozen instants."""

    default_error_messages = {"naive": _("Say the offset as well, like 2030-01-31T18:30:00+01:00, or send local.")}

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("naive")
        return super().enforce_timezone(value)


@extend_schema_field({"type": "string", "example": "2030-01-31T18:30:00"})
class WallTimeField(serializers.DateTimeField):
    """A naive datetime, as clocks in some zone show it."""

    default_error_messages = {"aware": _("This is a time on the wall, without an offset; its zone is in zone.")}

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is not None:
            self.fail("aware")
        return value

    def to_representation(self, value: Any) -> Any:
        return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
