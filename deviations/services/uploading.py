"""From a ticket to a verified file: what a browser sends straight to storage is read by ourselves before it counts."""

import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User, Workspace
from deviations import storage
from deviations.errors import (
    NotArrived,
    StorageUnavailable,
    StoredFileMissing,
    TicketExpired,
    UploadNotUsable,
    UploadRefused,
)
from deviations.media import child
from deviations.media.errors import Refused
from deviations.media.kinds import KINDS, kind_of_name, normal_content_type
from deviations.models import Upload
from deviations.services.filenames import clean_filename
from deviations.services.refusals import explain
from deviations.services.working_copies import working_copy
from isekai import clock, queue
from isekai.ids import new_id

logger = structlog.get_logger(__name__)

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Ticket:
    """Where and how to send the file: ``fields``, then the file as `file`, as multipart/form-data to ``url``."""

    upload: Upload
    url: str
    fields: dict[str, str]


# --- the ticket ------------------------------------------------------------------------------------------------------
def issue_ticket(workspace: Workspace, *, user: User | None, filename: str, content_type: str, size: int) -> Ticket:
    """Allow one file of ``size`` bytes to be sent to storage within 15 minutes.

    Raises UploadRefused, with everything that is wrong at once, by field.
    """
    name, content_type = clean_filename(filename), normal_content_type(content_type)
    if problems := _problems(name, content_type, size):
        code = "type_not_accepted" if "size" not in problems else "too_large" if size > 0 else "empty"
        message = " ".join(dict.fromkeys(sentence for sentences in problems.values() for sentence in sentences))
        raise UploadRefused(message, code=code, details=problems)
    upload_id = new_id()
    key = storage.original_key(workspace.pk, upload_id)
    seconds = settings.UPLOAD_TICKET_SECONDS
    form = storage.presigned_post(key, content_type=content_type, max_bytes=settings.UPLOAD_MAX_BYTES, seconds=seconds)
    upload = Upload.objects.create(
        id=upload_id,
        workspace=workspace,
        created_by=user,
        filename=name,
        declared_content_type=content_type,
        declared_size=size,
        storage_key=key,
        expires_at=clock.now() + timedelta(seconds=seconds),
    )
    logger.info("upload_ticket_issued", upload_id=str(upload.pk), content_type=content_type, size=size)
    return Ticket(upload, form.url, form.fields)


def _problems(name: str, content_type: str, size: int) -> dict[str, list[str]]:
    problems = {}
    accepted = explain("unknown_type", {})
    kind = kind_of_name(name)
    if content_type not in KINDS:
        problems["content_type"] = [accepted]
    if kind is None:
        problems["filename"] = [accepted]
    elif content_type in KINDS and kind.content_type != content_type:
        problems["filename"] = [
            _("The name ends like %(named)s, but the file was announced as %(announced)s.")
            % {"named": kind.content_type, "announced": content_type}
        ]
    if size < 1:
        problems["size"] = [_("The file is empty.")]
    elif size > settings.UPLOAD_MAX_BYTES:
        problems["size"] = [explain("too_large", {"most": settings.UPLOAD_MAX_BYTES})]
    return problems


# --- complete --------------------------------------------------------------------------------------------------------
def complete_upload(upload: Upload) -> Upload:
    """Have the file of a ticket read; the same when asked again while it is read, or afterwards.

    Raises NotArrived, TicketExpired, UploadNotUsable (used in a work already) and StorageUnavailable.
    """
    if upload.state == Upload.State.ISSUED:
        _require_arrived(upload)
    with transaction.atomic():
        upload = Upload.objects.select_for_update().get(pk=upload.pk)
        if upload.state == Upload.State.USED:
            raise UploadNotUsable(_("This upload is used in a work already. Upload the file again."))
        if upload.state == Upload.State.ISSUED:
            upload.move_to(Upload.State.READING)
            upload.completed_at = clock.now()
            upload.save(update_fields=["state", "reason_code", "reason_params", "completed_at"])
            queue.send("media.read_upload", upload.pk)
    return upload


def _require_arrived(upload: Upload) -> None:
    if upload.expires_at <= clock.now():
        raise TicketExpired
    try:
        storage.head(upload.storage_key, workspace_id=upload.workspace_id)
    except StoredFileMissing:
        raise NotArrived from None


def wait_until_read(upload: Upload, *, seconds: float) -> Upload:
    """The upload as soon as it is read, or as it is after ``seconds``: most files are read within one."""
    deadline = time.monotonic() + seconds
    while upload.state == Upload.State.READING and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        upload.refresh_from_db()
    return upload


# --- reading ---------------------------------------------------------------------------------------------------------
def read_upload(upload_id: UUID) -> None:
    """Read what storage holds for an upload, and verify or reject it. Nothing when it is not to be read now."""
    upload = _claim(upload_id)
    if upload is None:
        return
    # No transaction is open here: storage may be slow, and the child takes the time that it is allowed.
    try:
        with working_copy(upload.storage_key, workspace_id=upload.workspace_id) as copy:
            if copy.size != upload.declared_size:
                raise Refused("size_differs", announced=upload.declared_size, found=copy.size)
            request = {"path": str(copy.path), "content_type": upload.declared_content_type}
            found = child.run("read", request)
    except Refused as refused:
        _reject(upload, refused.code, refused.params)
    except StoredFileMissing:
        _reject(upload, "original_missing", {})
    except StorageUnavailable:
        _put_back(upload, attempts=upload.read_attempts - 1)  # none of the file's doing
    except child.ChildDied:
        if upload.read_attempts < settings.MEDIA_MAX_ATTEMPTS:
            _put_back(upload, attempts=upload.read_attempts)
        else:
            _reject(upload, "unreadable", {})
    else:
        _verify(upload, size=copy.size, sha256=copy.sha256, **found)


def _claim(upload_id: UUID) -> Upload | None:
    now = clock.now()
    with transaction.atomic(durable=True):
        free = Upload.objects.free_to_read(now - timedelta(seconds=settings.MEDIA_LEASE_SECONDS))
        upload = free.filter(pk=upload_id).select_for_update(skip_locked=True).first()
        if upload is None:
            return None
        # Before anything is risked, so that a reader that is killed has been counted.
        upload.read_attempts += 1
        upload.read_started_at = now
        upload.save(update_fields=["read_attempts", "read_started_at"])
    if upload.read_attempts > settings.MEDIA_MAX_ATTEMPTS:
        _reject(upload, "unreadable", {})
        return None
    return upload


def _ours(upload: Upload) -> Upload | None:
    """The row, locked, if it is still this reader's."""
    rows = Upload.objects.filter(state=Upload.State.READING, read_started_at=upload.read_started_at)
    row = rows.select_for_update().filter(pk=upload.pk).first()
    if row is None:
        logger.info("upload_read_by_another", upload_id=str(upload.pk))
    return row


def _verify(
    upload: Upload,
    *,
    size: int,
    sha256: str,
    content_type: str,
    width: int,
    height: int,
    duration_seconds: float | None,
) -> None:
    with transaction.atomic():
        row = _ours(upload)
        if row is None:
            return
        row.move_to(Upload.State.VERIFIED)
        row.size, row.sha256, row.content_type = size, sha256, content_type
        row.width, row.height, row.duration_seconds = width, height, duration_seconds
        row.read_started_at = None
        row.save()
    logger.info("upload_verified", upload_id=str(upload.pk), content_type=content_type, size=size, sha256=sha256)


def _reject(upload: Upload, code: str, params: dict[str, object]) -> None:
    with transaction.atomic():
        row = _ours(upload)
        if row is None:
            return
        row.move_to(Upload.State.REJECTED, reason=code, params=params)
        row.read_started_at = None
        row.save()
    logger.info("upload_rejected", upload_id=str(upload.pk), reason=code, **params)
    try:
        storage.delete(upload.storage_key, workspace_id=upload.workspace_id)
    except StorageUnavailable:
        # It stays where nobody can use it until unused uploads are cleaned up.
        logger.warning("rejected_upload_not_deleted", upload_id=str(upload.pk))


def _put_back(upload: Upload, *, attempts: int) -> None:
    """Let the next tick try again."""
    with transaction.atomic():
        if row := _ours(upload):
            row.read_started_at, row.read_attempts = None, attempts
            row.save(update_fields=["read_started_at", "read_attempts"])
    logger.warning("upload_not_read", upload_id=str(upload.pk), attempts=attempts)
