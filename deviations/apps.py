from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DeviationsConfig(AppConfig):
    name = "deviations"
    verbose_name = _("Works")

    def ready(self) -> None:
        from deviations.services import disconnecting  # noqa: F401 - registers itself
