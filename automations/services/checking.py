"""What columns take, asked before the database is."""

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import models


def refused_by_columns(row: models.Model, names: Iterable[str]) -> dict[str, list[str]]:
    """What stands against the values of those fields of ``row``, by field; empty: nothing does.

    Turns what came as text into what the columns hold.
    """
    fields = {field.name: field for field in row._meta.fields}
    # Django takes null wherever a form may be left empty.
    nulls = {name for name in names if name in fields and getattr(row, name) is None}
    problems = {name: [str(fields[name].error_messages["null"])] for name in nulls if not fields[name].null}
    try:
        row.clean_fields(exclude=set(fields) - (set(names) - nulls))
    except ValidationError as error:
        problems |= error.message_dict
    return problems
