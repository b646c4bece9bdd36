"""The Celery app and what beat runs when. Every entry may run twice, or late, without harm."""

import os
import sys

import structlog
from celery import Celery, Task
from celery.signals import setup_logging, task_postrun, task_prerun
from django.conf import settings
from django.db import close_old_connections
from django.dispatch import receiver
from django_structlog.celery import signals

from isekai.logging import correlation_id

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "isekai.settings")
# Celery would load every page and form to check them, and then not say what it found; `SensibleSettings` does.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

app = Celery("isekai")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# It would close the connection to the database after each task, in so many tasks: never. See `keep_good_connections`.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize


@setup_logging.connect
def keep_our_logging(**_options: object) -> None:
    """Connected so that Celery does not put its own handlers in place of those of the settings."""


@task_prerun.connect
@task_postrun.connect
def keep_good_connections(**_options: object) -> None:
    """A thread keeps its connection from task to task, as a thread of web does from request to request."""
    close_old_connections()


@receiver(signals.modify_context_before_task_publish)
def send_the_correlation_alone(context: dict[str, object], **_options: object) -> None:
    """A message carries ids and nothing else; not who somebody is, nor from where they came."""
    for name in context.keys() - {"request_id", "parent_task_id"}:
        del context[name]


@receiver(signals.bind_extra_task_metadata)
def correlate_what_nobody_asked_for(task: Task, **_options: object) -> None:
    """A task of beat begins a correlation of its own."""
    if not correlation_id():
        structlog.contextvars.bind_contextvars(request_id=task.request.id)


app.steps["worker"] |= {
    "isekai.worker:SensibleSettings",
    "isekai.worker:TaskLog",
    "isekai.worker:HealthServer",
    "isekai.worker:DirectDatabase",
    "isekai.worker:ReadableSecrets",
    "publisher.worker:PublisherThreads",
}
app.steps["consumer"].add("isekai.worker:KeepingBroker")


def every(seconds: float, task: str) -> dict[str, object]:
    # Beat's tables hold whole seconds, and a period of none would have it send without a pause.
    return {"task": task, "schedule": float(max(1, round(seconds)))}


SCALE = settings.ISEKAI_TIME_SCALE
app.conf.beat_schedule = {
    "dispatch": every(settings.PUBLISHER_TICK_SECONDS, "publisher.dispatch"),
    "stage": every(settings.PUBLISHER_TICK_SECONDS, "publisher.stage"),
    "rescue stuck": every(15 * SCALE, "publisher.rescue"),
    "find urls": every(settings.PUBLISHER_TICK_SECONDS, "publisher.find_urls"),
    "sweep media": every(settings.MEDIA_SWEEP_SECONDS, "media.sweep"),
    "check galleries": every(settings.PUBLISHER_TICK_SECONDS, "publisher.check_galleries"),
    "recheck clocks": every(30 * SCALE, "publisher.recheck_clocks"),
    "ask about late": every(60 * SCALE, "publisher.ask_about_late"),
    "schedule by automations": every(60 * SCALE, "automations.schedule_due"),
    "send notifications": every(10 * SCALE, "notifications.send_due"),
    "maintain tokens": every(6 * 3600 * SCALE, "maintenance.maintain_tokens"),
    "forget expired": every(1800 * SCALE, "maintenance.forget_expired"),
    "forget dead workers": every(1800 * SCALE, "maintenance.forget_dead_workers"),
    "abandon old items": every(1800 * SCALE, "maintenance.abandon_old_items"),
    "forget deposits": every(24 * 3600 * SCALE, "maintenance.forget_deposits"),
}
