"""The tick of the readers: finds what a lost wake-up, or a worker that died, has left."""

from datetime import timedelta

import structlog
from django.conf import settings

from deviations.models import DeviationFile, Upload
from deviations.services.working_copies import remove_abandoned
from isekai import clock, queue

logger = structlog.get_logger(__name__)

MOST_AT_ONCE = 200


def sweep_media() -> None:
    """Send a wake-up for every upload to be read and every file to be prepared with which nobody is busy."""
    now = clock.now()
    overdue = now - timedelta(seconds=settings.MEDIA_SWEEP_SECONDS)
    dead = now - timedelta(seconds=settings.MEDIA_LEASE_SECONDS)
    uploads = Upload.objects.unread(overdue).free_to_read(dead).order_by("completed_at")
    files = DeviationFile.objects.free_to_prepare(dead).filter(created_at__lt=overdue).order_by("created_at")
    found = {
        "media.read_upload": list(uploads.values_list("pk", flat=True)[:MOST_AT_ONCE]),
        "media.make_variants": list(files.values_list("pk", flat=True)[:MOST_AT_ONCE]),
    }
    for task, ids in found.items():
        for row_id in ids:
            queue.send(task, row_id)
        if ids:
            logger.info("lost_wake_ups_found", task=task, found=len(ids))
    remove_abandoned()
