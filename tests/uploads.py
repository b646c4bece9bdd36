"""Files that really lie in storage: sent there with a ticket, as a browser does it, and read by our own reader."""

import io
from typing import Any

import requests

from accounts.models import User, Workspace
from deviations import storage
from deviations.models import Deviation, DeviationFile, Upload
from deviations.services.uploading import Ticket, complete_upload, issue_ticket, read_upload
from deviations.services.variants import make_variants
from isekai.ids import new_id
from tests import pictures


def send(ticket: Ticket, data: bytes, **fields: str) -> requests.Response:
    """Post the file as a browser does; ``fields`` replace those of the ticket."""
    return post_form(ticket.url, {**ticket.fields, **fields}, data)


def post_form(url: str, fields: dict[str, str], data: bytes) -> requests.Response:
    # A browser's own idea of the part's type must not matter.
    part = ("file.bin", io.BytesIO(data), "application/octet-stream")
    return requests.post(url, data=fields, files={"file": part}, timeout=30, allow_redirects=False)


def sent_upload(
    workspace: Workspace,
    data: bytes,
    *,
    user: User | None = None,
    filename: str = "picture.png",
    content_type: str = "image/png",
    size: int | None = None,
) -> Upload:
    """An upload whose file lies in storage, not completed; ``size`` is what was announced, if not the truth."""
    announced = len(data) if size is None else size
    ticket = issue_ticket(workspace, user=user, filename=filename, content_type=content_type, size=announced)
    answer = send(ticket, data)
    assert answer.status_code == 204, answer.text
    return ticket.upload


def read(upload: Upload) -> Upload:
    """Complete an upload and read it here and now, as a media worker would."""
    complete_upload(upload)
    read_upload(upload.pk)
    upload.refresh_from_db()
    return upload


def verified_upload(
    workspace: Workspace,
    data: bytes | None = None,
    *,
    user: User | None = None,
    filename: str = "picture.png",
    content_type: str = "image/png",
    seed: int = 0,
) -> Upload:
    """An upload that can be used in a work: by default a PNG drawn from ``seed``."""
    data = pictures.png(seed) if data is None else data
    upload = read(sent_upload(workspace, data, user=user, filename=filename, content_type=content_type))
    assert upload.state == Upload.State.VERIFIED, upload.reason_code
    return upload


def stored_file(deviation: Deviation, data: bytes | None = None, *, seed: int = 0, **options: Any) -> DeviationFile:
    """A file of a work, with its original and its variants in storage; ``options`` are those of `verified_upload`."""
    upload = verified_upload(deviation.workspace, data, seed=seed, **options)
    file = DeviationFile.objects.create(
        deviation=deviation,
        position=deviation.files.count(),
        original_name=upload.filename,
        storage_key=upload.storage_key,
        content_type=upload.content_type,
        size=upload.size,
        width=upload.width,
        height=upload.height,
        duration_seconds=upload.duration_seconds,
        sha256=upload.sha256,
    )
    upload.state, upload.deviation = Upload.State.USED, deviation
    upload.save()
    make_variants(file.pk)
    file.refresh_from_db()
    return file


def original_in_storage(workspace: Workspace, data: bytes, *, content_type: str = "image/png") -> str:
    """Put bytes where an original lies, past every check; returns their key."""
    key = storage.original_key(workspace.pk, new_id())
    storage.put(key, data, content_type=content_type, workspace_id=workspace.pk)
    return key


def content_of(key: str) -> bytes:
    with storage.open_stream(key) as stream:
        return stream.read()
