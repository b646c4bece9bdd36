"""The Celery app and what beat runs when. Every entry may run twice, or late, without harm."""

import os

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "isekai.settings")

app = Celery("isekai")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect
def keep_our_logging(**_options: object) -> None:
    """Connected so that Celery does not put its own handlers in place of those of the settings."""


app.steps["worker"].add("publisher.worker:PublisherThreads")


def every(seconds: float, task: str) -> dict[str, object]:
    return {"task": task, "schedule": seconds * settings.ISEKAI_TIME_SCALE}


app.conf.beat_schedule = {
    "dispatch": every(5, "publisher.dispatch"),
    "rescue stuck": every(15, "publisher.rescue"),
    "find urls": every(5, "publisher.find_urls"),
    "ask about late": every(60, "publisher.ask_about_late"),
    "forget dead workers": every(1800, "maintenance.forget_dead_workers"),
}
