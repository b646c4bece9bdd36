from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext_lazy as _


class LocalDateTimeField(models.Field):
    """A time on the wall, without a zone: a naive datetime, `timestamp without time zone` in PostgreSQL.

    Django's own field would turn it into an instant as soon as it is saved.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:  # noqa: ARG002
        return "timestamp without time zone"

    def to_python(self, value: Any) -> datetime | None:
        if value is None or isinstance(value, datetime):
            local = value
        else:
            try:
                local = datetime.fromisoformat(str(value))
            except ValueError as error:
                raise ValidationError(_("Write the time like 2030-01-31T18:30.")) from error
        if local is not None and local.tzinfo is not None:
            raise ValidationError(_("This time has no zone of its own."))
        return local

    def get_prep_value(self, value: Any) -> datetime | None:
        return self.to_python(value)

    def value_to_string(self, obj: models.Model) -> str:
        value: Any = self.value_from_object(obj)
        return "" if value is None else value.isoformat()
