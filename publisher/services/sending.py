"""What of a work is sent to DeviantArt, and the fingerprint that says whether an item holds just that."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from deviantart import rules
from deviantart.client import Resumable
from deviations.models import Deviation, FileVariant
from isekai import faults
from publisher.models import Publication


@dataclass(frozen=True, slots=True)
class Submission:
    """What an upload to the stash carries. ``sha256`` is the digest of the file that is sent."""

    title: str
    artist_comments: str
    tags: tuple[str, ...]
    is_ai_generated: bool
    noai: bool
    content_type: str
    size: int
    sha256: str
    storage_key: str

    @property
    def filename(self) -> str:
        """A name that tells nothing about the artist's disk."""
        return "work" + rules.CONTENT_TYPES[self.content_type]

    def fingerprint(self, account_id: object) -> str:
        """Changes with everything that the item in the stash holds, and with whose stash it is."""
        held = {name: value for name, value in asdict(self).items() if name != "storage_key"}
        text = json.dumps({**held, "account": str(account_id)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def submission_of(publication: Publication, deviation: Deviation, variant: FileVariant) -> Submission:
    return Submission(
        title=(publication.title or deviation.title)[: rules.TITLE_MAX_LENGTH],
        artist_comments=(publication.description if publication.description is not None else deviation.description)
        or "",
        tags=tuple(rules.tags_as_shown(deviation.tags or [])[: rules.TAGS_MAX]),
        is_ai_generated=bool(deviation.is_ai_generated),
        noai=bool(deviation.no_ai),
        content_type=variant.content_type,
        size=variant.size,
        sha256=variant.sha256,
        storage_key=variant.storage_key,
    )


def publish_fields_of(deviation: Deviation) -> dict[str, Any]:
    """The fields of the publish call; what the artist never touched gets DeviantArt's own default."""
    return {
        "is_mature": bool(deviation.is_mature),
        "mature_level": deviation.mature_level,
        "mature_classification": list(deviation.mature_classification or []),
        "allow_comments": True if deviation.allow_comments is None else deviation.allow_comments,
        "allow_free_download": bool(deviation.allow_free_download),
        "display_resolution": deviation.display_resolution or 0,
        "add_watermark": bool(deviation.add_watermark),
        "gallery_ids": [str(gallery_id).upper() for gallery_id in deviation.gallery_ids or []],
        # Sent again here: tags given at the upload do not always survive.
        "tags": rules.tags_as_shown(deviation.tags or [])[: rules.TAGS_MAX],
        "is_ai_generated": bool(deviation.is_ai_generated),
        "noai": bool(deviation.no_ai),
    }


class Watched:
    """A file being read, which says when its last byte has been."""

    def __init__(self, file: Resumable) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(size)
        if not chunk:
            faults.reach("file_read")
        return chunk

    def close(self) -> None:
        self._file.close()
