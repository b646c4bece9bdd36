"""Works that are to go out, with their files in storage, for tests that run real publishers."""

import hashlib
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts.models import DeviantArtAccount
from deviations import storage
from deviations.media.perceptual import perceptual_hash
from deviations.models import Deviation, DeviationFile, FileVariant
from isekai import clock
from tests import pictures
from tests.factories import DeviationFactory, DeviationFileFactory, PublishVariantFactory


def make_works(
    account: DeviantArtAccount, count: int, *, title: str, seed: int, ahead: timedelta = timedelta(), files: int = 1
) -> list[UUID]:
    """So many works of one account, all with the same title and each with its own picture, due at the same moment.

    With several ``files`` each becomes a deviation of its own.
    """
    due = clock.now() + ahead
    made = []
    for number in range(count):
        bodies = [pictures.png(seed * 100 + number + part * 1000) for part in range(files)]
        # A publisher that runs already must not find one whose files are not there yet.
        with transaction.atomic():
            made.append(_make_work(account, bodies, title=title, due=due))
    return made


def _make_work(account: DeviantArtAccount, bodies: list[bytes], *, title: str, due: datetime) -> UUID:
    work: Deviation = DeviationFactory(
        workspace=account.workspace,
        account=account,
        title=title,
        upload_mode=Deviation.UploadMode.SINGLE if len(bodies) == 1 else Deviation.UploadMode.MULTIPLE,
        status=Deviation.Status.SCHEDULED,
        scheduled_at=due,
        publish_at=due,
        scheduled_zone="UTC",
    )
    for body in bodies:
        file: DeviationFile = DeviationFileFactory(deviation=work)
        PublishVariantFactory(file=file, perceptual_hash=perceptual_hash(body))
        put(file, body)
    return work.pk


def put(file: DeviationFile, body: bytes) -> None:
    """Store ``body`` as the original and the publish variant of ``file``."""
    key = storage.original_key(file.deviation.workspace_id, file.pk)
    storage.put(key, body, content_type="image/png", workspace_id=file.deviation.workspace_id)
    digest = hashlib.sha256(body).hexdigest()
    DeviationFile.objects.filter(pk=file.pk).update(storage_key=key, sha256=digest, size=len(body))
    FileVariant.objects.filter(file=file).update(storage_key=key, sha256=digest, size=len(body))
