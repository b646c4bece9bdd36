"""The audit trail: written in the transaction of what it tells of."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, models

from accounts.models import AuditEvent, User, Workspace
from isekai.logging import correlation_id
from isekai.prepared import prepared_cursor


def record(verb: str, subject: models.Model, *, user: User | None = None, **params: Any) -> None:
    """Note that ``verb`` (a code such as `deviation.scheduled`) happened to ``subject``.

    ``user`` is None when Isekai did it by itself. ``params`` must be JSON and never hold a secret.
    """
    record_all([audit_event(verb, subject, user=user, **params)])


def audit_event(verb: str, subject: models.Model, *, user: User | None = None, **params: Any) -> AuditEvent:
    """What `record` writes, not written yet."""
    return AuditEvent(
        workspace_id=subject.pk if isinstance(subject, Workspace) else getattr(subject, "workspace_id", None),
        user=user,
        verb=verb,
        subject_type=subject._meta.model_name or "",
        subject_id=subject.pk,
        params=params,
        correlation_id=correlation_id(),
    )


def record_all(events: Iterable[AuditEvent]) -> None:
    """Note many at once, in one statement and in their order."""
    rows = [{column: _as_json(getattr(event, column)) for column in _COLUMNS} for event in events]
    if rows:
        with prepared_cursor() as cursor:
            cursor.execute(_WRITE, [json.dumps(rows)])


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, (datetime, UUID)) else value


# Written with nearly everything that anybody does, so its plan is kept, and Django has nothing to make of it.
_COLUMNS = {
    field.attname: field.db_type(connection) for field in AuditEvent._meta.concrete_fields if not field.primary_key
}
_WRITE = f"""
    INSERT INTO {AuditEvent._meta.db_table} ({", ".join(_COLUMNS)})
    SELECT {", ".join(_COLUMNS)}
    FROM jsonb_to_recordset(%s) AS event ({", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())})
"""  # noqa: S608 - columns of a model
