"""Celery's door to automations: one service call each."""

from celery import shared_task

from automations.services import materialising


@shared_task(name="automations.schedule_due")
def schedule_due() -> None:
    materialising.schedule_due()
