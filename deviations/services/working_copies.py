"""A stored file as a file on this machine's disk, for as long as it is worked on."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings

from deviations import storage
from deviations.errors import StorageUnavailable
from deviations.media.errors import Refused

PREFIX = "isekai-media-"
# Storage that sends, but slowly, would hold a worker for hours.
FETCH_SECONDS = 90
ABANDONED_AFTER_SECONDS = 3600


@dataclass(frozen=True)
class WorkingCopy:
    """``folder`` holds the copy, and whatever is made of it; it is removed in the end."""

    path: Path
    folder: Path
    size: int
    sha256: str


@contextmanager
def working_copy(key: str, *, workspace_id: UUID) -> Iterator[WorkingCopy]:
    """Fetch a stored file, hashed as it streams by, never whole in memory.

    Raises Refused (too_large), StoredFileMissing and StorageUnavailable.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        path = folder / "original"
        digest = hashlib.sha256()
        size, deadline = 0, time.monotonic() + FETCH_SECONDS
        with storage.open_stream(key, workspace_id=workspace_id) as stream, path.open("wb") as target:
            for chunk in stream.chunks():
                size += len(chunk)
                if size > settings.UPLOAD_MAX_BYTES:
                    raise Refused("too_large", most=settings.UPLOAD_MAX_BYTES)
                if time.monotonic() > deadline:
                    raise StorageUnavailable
                digest.update(chunk)
                target.write(chunk)
        yield WorkingCopy(path, folder, size, digest.hexdigest())


def remove_abandoned() -> None:
    """Remove the folders that workers that were killed have left on this machine."""
    long_ago = _now_on_disk() - ABANDONED_AFTER_SECONDS
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # another worker's tick is at it too
            if folder.stat().st_mtime < long_ago:
                shutil.rmtree(folder)


def _now_on_disk() -> float:
    """By the clock that dates the folders; this process's own may have jumped, and others work in theirs."""
    with tempfile.TemporaryFile() as probe:
        return os.fstat(probe.fileno()).st_mtime
