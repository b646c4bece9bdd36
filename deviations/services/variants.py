"""The copies of an original: the one that DeviantArt gets, and smaller pictures for our pages."""

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from io import BufferedReader
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from deviations import storage
from deviations.errors import DeviationError, StorageUnavailable, StoredFileMissing
from deviations.media import child
from deviations.media.errors import Refused
from deviations.media.telling import plain
from deviations.models import Deviation, DeviationFile, FileVariant
from deviations.services.working_copies import WorkingCopy, working_copy
from isekai import clock, queue
from isekai.ids import new_id

logger = structlog.get_logger(__name__)

# The longest side of each, in pixels.
PICTURES = {FileVariant.Kind.THUMBNAIL: 640, FileVariant.Kind.PREVIEW: 1600}


def make_variants(file_id: UUID) -> None:
    """Make what a file lacks, and say so in its ``media_state``. Nothing when it is not to be prepared now."""
    file = _claim(file_id)
    if file is None:
        return
    keep_metadata = file.deviation.keep_metadata
    made: list[FileVariant] = []
    # No transaction is open here: storage may be slow, and the child takes the time that it is allowed.
    try:
        with working_copy(file.storage_key, workspace_id=file.deviation.workspace_id) as copy:
            if copy.sha256 != file.sha256:
                raise Refused("original_changed")
            request = {
                "path": str(copy.path),
                "folder": str(copy.folder),
                "keep_metadata": keep_metadata,
                "pictures": _missing_pictures(file),
            }
            answer = child.run("make", request)
            for variant in _variants_of(file, answer, copy):
                made.append(variant)
                if variant.storage_key != file.storage_key:
                    _store(variant, copy.folder / _name_of(variant))
    except Refused as refused:
        _fail(file, refused.code)
    except StoredFileMissing:
        _fail(file, "original_missing")
    except StorageUnavailable:
        _put_back(file, attempts=file.media_attempts - 1)  # none of the file's doing
    except child.ChildDied:
        if file.media_attempts < settings.MEDIA_MAX_ATTEMPTS:
            _put_back(file, attempts=file.media_attempts)
        else:
            _fail(file, "unreadable")
    else:
        _finish(file, made, keep_metadata=keep_metadata, exif=plain(answer.get("exif")))
        return
    _delete(made)


def _claim(file_id: UUID) -> DeviationFile | None:
    now = clock.now()
    with transaction.atomic(durable=True):
        free = DeviationFile.objects.free_to_prepare(now - timedelta(seconds=settings.MEDIA_LEASE_SECONDS))
        file = free.filter(pk=file_id).select_for_update(skip_locked=True).first()
        if file is None:
            return None
        # Before anything is risked, so that a process that is killed over it has been counted.
        file.media_attempts += 1
        file.media_started_at = now
        file.save(update_fields=["media_attempts", "media_started_at"])
    if file.media_attempts > settings.MEDIA_MAX_ATTEMPTS:
        _fail(file, "unreadable")
        return None
    return file


# --- what is made ----------------------------------------------------------------------------------------------------
def _missing_pictures(file: DeviationFile) -> dict[str, int]:
    there = set(file.variants.values_list("kind", flat=True))
    return {kind.value: longest for kind, longest in PICTURES.items() if kind.value not in there}


def _variants_of(file: DeviationFile, answer: dict[str, Any], copy: WorkingCopy) -> Iterable[FileVariant]:
    """The rows for what the child has made, not saved."""
    hashed = str(answer["perceptual_hash"])[:16]
    publish = FileVariant.Kind.PUBLISH
    if answer["published"]:
        size = file.width, file.height
        yield _variant(file, publish, copy.folder, file.content_type, size, perceptual_hash=hashed)
    else:
        # Nothing to take out: the original itself, without a copy.
        yield FileVariant(
            file=file,
            kind=publish,
            storage_key=file.storage_key,
            content_type=file.content_type,
            size=file.size,
            width=file.width,
            height=file.height,
            sha256=file.sha256,
            perceptual_hash=hashed,
        )
    for kind in PICTURES:
        if picture := answer["pictures"].get(kind.value):
            yield _variant(file, kind, copy.folder, "image/webp", (picture["width"], picture["height"]))


def _variant(
    file: DeviationFile,
    kind: FileVariant.Kind,
    folder: Path,
    content_type: str,
    pixels: tuple[int | None, int | None],
    **fields: str,
) -> FileVariant:
    variant = FileVariant(id=new_id(), file=file, kind=kind, content_type=content_type, **fields)
    variant.storage_key = storage.variant_key(file.deviation.workspace_id, variant.pk)
    variant.width, variant.height = pixels
    with _opened(folder / _name_of(variant)) as made:
        variant.sha256 = hashlib.file_digest(made, "sha256").hexdigest()
        variant.size = made.tell()
    return variant


def _name_of(variant: FileVariant) -> str:
    """What the child calls it."""
    return "published" if variant.kind == FileVariant.Kind.PUBLISH else str(variant.kind)


def _opened(path: Path) -> BufferedReader:
    # The child has handled bytes from outside: a link that it leaves must not lead us to a file of ours.
    if path.is_symlink() or not path.is_file():
        raise child.ChildDied("a file that it should have made is not there")
    return path.open("rb")


def _store(variant: FileVariant, path: Path) -> None:
    with _opened(path) as made:
        storage.put(
            variant.storage_key,
            made,
            content_type=variant.content_type,
            workspace_id=variant.file.deviation.workspace_id,
        )


# --- how it ends -----------------------------------------------------------------------------------------------------
def _ours(file: DeviationFile) -> DeviationFile | None:
    """The row, locked, if it is still this process's."""
    rows = DeviationFile.objects.filter(
        media_state=DeviationFile.MediaState.PENDING, media_started_at=file.media_started_at
    )
    row = rows.select_for_update().filter(pk=file.pk).first()
    if row is None:
        logger.info("variants_made_by_another", file_id=str(file.pk))
    return row


def _finish(file: DeviationFile, made: list[FileVariant], *, keep_metadata: bool, exif: dict[str, str]) -> None:
    """Put the new variants in the place of old ones, unless they are not what is wanted any more."""
    with transaction.atomic():
        # Whoever changes the wish holds the work's row, so it cannot change until this is committed.
        wish = Deviation.objects.select_for_update().filter(pk=file.deviation_id).values_list("keep_metadata").first()
        row = _ours(file)
        wanted = row is not None and wish == (keep_metadata,)
        if row is not None and wanted:
            old = row.variants.filter(kind__in=[variant.kind for variant in made])
            _delete_after_commit(list(old))
            old.delete()
            FileVariant.objects.bulk_create(made)
            row.media_state, row.media_reason_code = DeviationFile.MediaState.READY, ""
            row.media_attempts, row.media_started_at = 0, None
            row.exif = exif
            row.save()
            _touch(file)
        elif row is not None:
            row.media_started_at, row.media_attempts = None, 0
            row.save(update_fields=["media_started_at", "media_attempts"])
            queue.send("media.make_variants", file.pk)
    if wanted:
        logger.info("variants_made", file_id=str(file.pk), kinds=[variant.kind for variant in made])
    else:
        _delete(made)


def _fail(file: DeviationFile, code: str) -> None:
    with transaction.atomic():
        row = _ours(file)
        if row is None:
            return
        row.media_state, row.media_reason_code = DeviationFile.MediaState.FAILED, code
        row.media_attempts, row.media_started_at = 0, None
        row.save()
        _touch(file)
    logger.warning("variants_not_made", file_id=str(file.pk), reason=code)


def _put_back(file: DeviationFile, *, attempts: int) -> None:
    """Let the next tick try again."""
    with transaction.atomic():
        if row := _ours(file):
            row.media_started_at, row.media_attempts = None, attempts
            row.save(update_fields=["media_started_at", "media_attempts"])
    logger.warning("variants_put_off", file_id=str(file.pk), attempts=attempts)


def _touch(file: DeviationFile) -> None:
    """Let pages that show the work see that it has changed."""
    Deviation.objects.filter(pk=file.deviation_id).update(updated_at=clock.now())


def _delete_after_commit(variants: list[FileVariant]) -> None:
    transaction.on_commit(lambda: _delete(variants), robust=True)


def _delete(variants: list[FileVariant]) -> None:
    """Delete copies from storage, never an original; what stays behind is found by the cleaning of storage."""
    for variant in variants:
        if storage.is_variant_key(variant.storage_key):
            try:
                storage.delete(variant.storage_key, workspace_id=variant.file.deviation.workspace_id)
            except DeviationError as error:
                logger.warning("variant_not_deleted", variant_id=str(variant.pk), error=error.code)
