"""The only module that talks to S3.

Keys are made here, of ids alone: `<prefix>originals/<workspace>/<upload>`, `<prefix>variants/<workspace>/<variant>`;
and for what the publishers remember `<prefix>marks/<installation>/<process>.json` and
`<prefix>deposits/<installation>/<account>/<file>.<lease>.json`.
A key of any other form, or of another workspace than the caller names, is refused before storage is asked, so that a
forged row can neither read nor delete what belongs to somebody else.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, BinaryIO, Self
from uuid import UUID

import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.cache import cache as django_cache
from django.utils.http import content_disposition_header
from storages.backends.s3 import S3Storage

from deviations.errors import ForeignStorageKey, StorageUnavailable, StoredFileMissing

logger = structlog.get_logger(__name__)

CHUNK_BYTES = 256 * 1024
LONGEST_SIGNED_SECONDS = 600
KEY_FORM = re.compile(r"(?P<folder>originals|variants)/(?P<workspace>[0-9a-f-]{36})/[0-9a-f-]{36}")


# --- keys ------------------------------------------------------------------------------------------------------------
def original_key(workspace_id: UUID, upload_id: UUID) -> str:
    return f"{settings.S3_PATH_PREFIX}originals/{workspace_id}/{upload_id}"


def variant_key(workspace_id: UUID, variant_id: UUID) -> str:
    return f"{settings.S3_PATH_PREFIX}variants/{workspace_id}/{variant_id}"


def is_variant_key(key: str) -> bool:
    """Whether it is a copy that we made, and can make again."""
    return key.startswith(f"{settings.S3_PATH_PREFIX}variants/")


def _require_ours(key: str, workspace_id: UUID | None) -> None:
    prefix = settings.S3_PATH_PREFIX
    match = KEY_FORM.fullmatch(key[len(prefix) :]) if key.startswith(prefix) else None
    if match is None or (workspace_id is not None and match["workspace"] != str(workspace_id)):
        logger.error("foreign_storage_key_refused", workspace_id=str(workspace_id))
        raise ForeignStorageKey("This storage key is not one of ours.")


# --- clients ---------------------------------------------------------------------------------------------------------
def _new_client(endpoint_url: str | None) -> Any:
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        connect_timeout=5,
        read_timeout=30,
        # As many as there may be readers at once: one more would be closed after each file.
        max_pool_connections=max(10, settings.PUBLISHER_CONCURRENCY + 10),
        retries={"mode": "standard", "total_max_attempts": 3},
        # botocore's own checksums come in a chunked form that not every S3 understands; we have our SHA-256.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    backend: Any = settings.STORAGES["default"]
    options = {**backend["OPTIONS"], "endpoint_url": endpoint_url, "client_config": config}
    return S3Storage(**options).connection.meta.client


@cache
def _client() -> Any:
    """One for all threads: clients may be shared, and each one costs megabytes."""
    return _new_client(settings.S3_ENDPOINT or None)


@cache
def _signing_client() -> Any:
    """Signs for the host under which browsers reach the bucket; never calls it."""
    return _new_client(settings.S3_PRESIGNED_ENDPOINT)


def _forget_clients() -> None:
    _client.cache_clear()
    _signing_client.cache_clear()


# Two processes on one kept connection would read each other's answers.
os.register_at_fork(after_in_child=_forget_clients)


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turn what the client raises into our own errors; none of them quotes a key or a URL."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in {"404", "NoSuchKey", "NotFound"}:
            raise StoredFileMissing from error
        logger.warning("storage_refused", action=action, answer=code)
        raise StorageUnavailable from error
    except BotoCoreError as error:
        logger.warning("storage_unavailable", action=action, error=type(error).__name__)
        raise StorageUnavailable from error


# --- what browsers are given -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PresignedPost:
    """A form: ``fields`` go before the part called `file`, all of it posted to ``url`` as multipart/form-data."""

    url: str
    fields: dict[str, str]


def presigned_post(key: str, *, content_type: str, max_bytes: int, seconds: int) -> PresignedPost:
    """Allow one place to be filled for ``seconds``: this key and type, 1 to ``max_bytes`` bytes."""
    _require_ours(key, None)
    form = _signing_client().generate_presigned_post(
        settings.S3_BUCKET_NAME,
        key,
        Fields={"Content-Type": content_type},
        Conditions=[{"Content-Type": content_type}, ["content-length-range", 1, max_bytes]],
        ExpiresIn=seconds,
    )
    return PresignedPost(form["url"], form["fields"])


def presigned_url(
    key: str,
    *,
    seconds: int = LONGEST_SIGNED_SECONDS,
    filename: str | None = None,
    content_type: str | None = None,
    workspace_id: UUID | None = None,
) -> str:
    """A URL by which a browser may read one file, for at most ten minutes and at least half of ``seconds``.

    It stays the same for half of its life, so that a page that is drawn again does not load its pictures again.
    Pictures and videos are shown, anything else is only ever downloaded; ``filename`` is what it is saved as.
    """
    _require_ours(key, workspace_id)
    seconds = min(seconds, LONGEST_SIGNED_SECONDS)
    shown = (content_type or "").startswith(("image/", "video/")) and content_type != "image/svg+xml"
    params = {"Bucket": settings.S3_BUCKET_NAME, "Key": key, "ResponseCacheControl": f"private, max-age={seconds}"}
    if content_type:
        params["ResponseContentType"] = content_type if shown else "application/octet-stream"
    if disposition := content_disposition_header(not shown, filename or ""):
        params["ResponseContentDisposition"] = disposition
    wanted = hashlib.sha256(repr((sorted(params.items()), seconds)).encode()).hexdigest()
    url = django_cache.get_or_set(
        f"presigned:{wanted}",
        lambda: _signing_client().generate_presigned_url("get_object", Params=params, ExpiresIn=seconds),
        timeout=seconds // 2,
    )
    return str(url)


# --- what our own processes do ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class StoredFile:
    size: int
    content_type: str


class Stream:
    """A stored file being read, piece by piece; a context manager. ``read`` raises StorageUnavailable."""

    def __init__(self, body: Any, *, size: int, content_type: str) -> None:
        self._body = body
        self.size = size
        self.content_type = content_type

    def read(self, size: int = -1) -> bytes:
        with _explained("read"):
            return self._body.read(None if size < 0 else size)

    def chunks(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK_BYTES):
            yield chunk

    def close(self) -> None:
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_stream(key: str, *, workspace_id: UUID | None = None, offset: int = 0) -> Stream:
    """Open a file for reading, from its byte ``offset`` on; the caller closes it.

    ``workspace_id`` is whose file it must be. Raises StoredFileMissing, StorageUnavailable and ForeignStorageKey.
    """
    _require_ours(key, workspace_id)
    with _explained("open"):
        part = {"Range": f"bytes={offset}-"} if offset else {}
        answer = _client().get_object(Bucket=settings.S3_BUCKET_NAME, Key=key, **part)
    return Stream(answer["Body"], size=answer["ContentLength"], content_type=answer.get("ContentType", ""))


def head(key: str, *, workspace_id: UUID | None = None) -> StoredFile:
    """What storage says of a file without sending it. Raises as ``open_stream``."""
    _require_ours(key, workspace_id)
    with _explained("head"):
        answer = _client().head_object(Bucket=settings.S3_BUCKET_NAME, Key=key)
    return StoredFile(answer["ContentLength"], answer.get("ContentType", ""))


def put(key: str, source: BinaryIO | bytes, *, content_type: str, workspace_id: UUID) -> None:
    """Store ``source``, a seekable file, streamed from where it stands. Raises StorageUnavailable."""
    _require_ours(key, workspace_id)
    with _explained("put"):
        _client().put_object(Bucket=settings.S3_BUCKET_NAME, Key=key, Body=source, ContentType=content_type)


def delete(key: str, *, workspace_id: UUID) -> None:
    """Delete a file; one that is gone already is no error. Raises StorageUnavailable."""
    _require_ours(key, workspace_id)
    with _explained("delete"):
        _client().delete_object(Bucket=settings.S3_BUCKET_NAME, Key=key)


# --- what the publishers remember beside the database ----------------------------------------------------------------
@dataclass(frozen=True)
class Note:
    """What a publisher wrote down under ``name``; ``written_at`` is by storage's clock."""

    name: str
    written_at: datetime
    body: bytes


def marks_folder(installation: str) -> str:
    return f"{settings.S3_PATH_PREFIX}marks/{installation}/"


def deposits_folder(installation: str, account_id: UUID) -> str:
    return f"{_all_deposits(installation)}{account_id}/"


def _all_deposits(installation: str) -> str:
    return f"{settings.S3_PATH_PREFIX}deposits/{installation}/"


def write_note(folder: str, name: str, body: bytes) -> None:
    """Replace what ``name`` says. Raises StorageUnavailable."""
    with _explained("write_note"):
        _client().put_object(
            Bucket=settings.S3_BUCKET_NAME, Key=_note_key(folder, name), Body=body, ContentType="application/json"
        )


def read_notes(folder: str, *, since: datetime | None = None) -> list[Note]:
    """All notes of a folder that were written ``since`` then, a few rows each. Raises StorageUnavailable."""
    found = []
    for key, written_at in _list(folder):
        if since is not None and written_at < since:
            continue
        try:
            with _explained("read_note"):
                body = _client().get_object(Bucket=settings.S3_BUCKET_NAME, Key=key)["Body"].read()
        except StoredFileMissing:
            continue  # another process has taken it over
        found.append(Note(key.removeprefix(folder).removesuffix(".json"), written_at, body))
    return found


def delete_note(folder: str, name: str) -> None:
    """One that is gone already is no error. Raises StorageUnavailable."""
    with _explained("delete_note"):
        _client().delete_object(Bucket=settings.S3_BUCKET_NAME, Key=_note_key(folder, name))


def list_deposits(installation: str) -> Iterator[tuple[str, str, datetime]]:
    """Folder, name and moment of the writing of each deposit of an installation. Raises StorageUnavailable."""
    for key, written_at in _list(_all_deposits(installation)):
        folder, _slash, name = key.rpartition("/")
        yield f"{folder}/", name.removesuffix(".json"), written_at


def _list(folder: str) -> Iterator[tuple[str, datetime]]:
    with _explained("list_notes"):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=settings.S3_BUCKET_NAME, Prefix=folder)
        for page in pages:
            yield from ((each["Key"], each["LastModified"]) for each in page.get("Contents", []))


def _note_key(folder: str, name: str) -> str:
    return f"{folder}{name}.json"
