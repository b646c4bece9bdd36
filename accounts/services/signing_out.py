"""Ending sessions everywhere."""

import structlog
from django.db import transaction
from django.db.models import F

from accounts.models import User
from accounts.services.audit import record

logger = structlog.get_logger(__name__)


def sign_out_everywhere(person: User, *, user: User) -> None:
    """End every session of ``person`` in every browser, from the next request on; API keys are not touched."""
    with transaction.atomic():
        User.objects.filter(pk=person.pk).update(session_epoch=F("session_epoch") + 1)
        record("user.signed_out_everywhere", person, user=user)
    logger.info("user_signed_out_everywhere", person_id=str(person.pk), user_id=str(user.pk))
