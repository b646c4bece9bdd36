"""Holding what a tick holds."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from automations.models import Automation


@contextmanager
def batch_holding(automation: Automation) -> Iterator[Automation]:
    """What a tick does with an automation whose slot has come: it holds the row while it schedules."""
    with transaction.atomic():
        yield Automation.objects.select_for_update(no_key=True, skip_locked=True).get(pk=automation.pk)
