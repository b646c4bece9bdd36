"""What media workers are asked to do: each task is safe to run twice, and a tick finds what was never asked."""

from uuid import UUID

from celery import shared_task

from deviations.services.sweeping import sweep_media
from deviations.services.uploading import read_upload as read
from deviations.services.variants import make_variants as make


@shared_task(name="media.read_upload", ignore_result=True)
def read_upload(upload_id: str) -> None:
    read(UUID(upload_id))


@shared_task(name="media.make_variants", ignore_result=True)
def make_variants(file_id: str) -> None:
    make(UUID(file_id))


@shared_task(name="media.sweep", ignore_result=True)
def sweep() -> None:
    sweep_media()
