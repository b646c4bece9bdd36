"""The audit trail: written in the transaction of what it tells of."""

from collections.abc import Iterable
from typing import Any

from django.db import models

from accounts.models import AuditEvent, User, Workspace
from isekai.logging import correlation_id


def record(verb: str, subject: models.Model, *, user: User | None = None, **params: Any) -> None:
    """Note that ``verb`` (a code such as `deviation.scheduled`) happened to ``subject``.

    ``user`` is None when Isekai did it by itself. ``params`` must be JSON and never hold a secret.
    """
    audit_event(verb, subject, user=user, **params).save(force_insert=True)


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
    AuditEvent.objects.bulk_create(events)
