"""Times and days as rules have them: on the wall, to the minute."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

# In the order of their numbers, Monday is 0.
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@extend_schema_field({"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}$", "example": "09:00"})
class MinuteField(serializers.TimeField):
    """A time of day without seconds."""

    default_error_messages = {"invalid": _("Write the time like 09:00 or 18:30.")}

    def __init__(self, **options: Any) -> None:
        super().__init__(format="%H:%M", input_formats=["%H:%M"], **options)


class WeekdayField(serializers.ChoiceField):
    """A day of the week by its English name, for a number from 0 (Monday) to 6."""

    def __init__(self, **options: Any) -> None:
        super().__init__([(name, name) for name in WEEKDAYS], **options)

    def to_internal_value(self, data: Any) -> Any:
        return WEEKDAYS.index(super().to_internal_value(data))

    def to_representation(self, value: Any) -> str:
        return WEEKDAYS[value]
