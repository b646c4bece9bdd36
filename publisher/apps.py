from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PublisherConfig(AppConfig):
    name = "publisher"
    verbose_name = _("Publisher")

    def ready(self) -> None:
        from publisher import metrics, notifications  # noqa: F401 - registers what it counts, describes its messages
