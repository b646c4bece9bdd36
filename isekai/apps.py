import sys

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig


class AdminConfig(SimpleAdminConfig):
    """Django's own, but in workers and beat: the admin's pages, which they never show, take three MiB of each."""

    def ready(self) -> None:
        super().ready()
        if not _is_worker_or_beat():
            admin.autodiscover()


class IsekaiConfig(AppConfig):
    name = "isekai"

    def ready(self) -> None:
        # For their effect: the checks register themselves, the app becomes the current one that tasks are sent by.
        from isekai import celery, checks  # noqa: F401


def _is_worker_or_beat() -> bool:
    """Whether `isekai.__main__` runs: under a name of its own, or as what another program imported."""
    program = sys.modules["__main__"].__spec__
    return "isekai.__main__" in sys.modules or (program is not None and program.name == "isekai.__main__")
