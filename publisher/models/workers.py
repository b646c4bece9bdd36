from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from isekai import clock
from isekai.ids import new_id


class WorkerQuerySet(models.QuerySet["Worker"]):
    def alive(self) -> Self:
        """Those whose lease still runs, by the database's clock."""
        return self.filter(alive_until__gt=clock.DatabaseNow())


class Worker(models.Model):
    """A publisher process. Only it renews its row; when the row runs out, everything that it held is rescued."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(_("host"), max_length=255)
    process_id = models.PositiveIntegerField(_("process id"))
    slots = models.PositiveIntegerField(_("slots"))
    started_at = models.DateTimeField(_("started"))
    alive_until = models.DateTimeField(_("alive until"))

    objects = WorkerQuerySet.as_manager()

    class Meta:
        verbose_name = _("publisher process")
        verbose_name_plural = _("publisher processes")
        indexes = [models.Index(fields=["alive_until"], name="worker_alive")]

    def __str__(self) -> str:
        return f"{self.host}:{self.process_id}"
