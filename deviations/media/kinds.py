"""Which kinds of file are accepted, and how each is recognised by its first bytes."""

import re
from dataclasses import dataclass

JPEG, PNG, GIF, WEBP = "image/jpeg", "image/png", "image/gif", "image/webp"
MP4, QUICKTIME, WEBM = "video/mp4", "video/quicktime", "video/webm"


@dataclass(frozen=True)
class Kind:
    """``decoder`` is Pillow's name of the format, empty for videos."""

    content_type: str
    extensions: tuple[str, ...]
    decoder: str = ""

    @property
    def is_video(self) -> bool:
        return not self.decoder


KINDS = {
    kind.content_type: kind
    for kind in (
        Kind(JPEG, ("jpg", "jpeg", "jpe", "jfif"), "JPEG"),
        Kind(PNG, ("png",), "PNG"),
        Kind(GIF, ("gif",), "GIF"),
        Kind(WEBP, ("webp",), "WEBP"),
        Kind(MP4, ("mp4", "m4v")),
        Kind(WEBM, ("webm",)),
        Kind(QUICKTIME, ("mov", "qt")),
    )
}
ALIASES = {"image/jpg": JPEG, "image/pjpeg": JPEG, "video/x-m4v": MP4}

HEAD_BYTES = 256
# Brands of ISO/IEC 14496-12 files that hold video for everybody; pictures (heic, avif) have brands of their own.
_MP4_BRANDS = re.compile(rb"isom|iso[2-9a]|mp4[12]|avc1|M4V[ HP]|MSNV|dash|mmp4|f4v |XAVC|3gp[4-9]")
_BOXES_OF_OLD_MOVIES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def normal_content_type(content_type: str) -> str:
    """Lower case, without parameters, one name for each type."""
    name = content_type.partition(";")[0].strip().lower()
    return ALIASES.get(name, name)


def kind_of_name(filename: str) -> Kind | None:
    """The kind that a file's extension promises."""
    _stem, dot, extension = filename.rpartition(".")
    wanted = extension.lower()
    return next((kind for kind in KINDS.values() if dot and wanted in kind.extensions), None)


def sniff(head: bytes) -> str | None:
    """The content type that a file's first ``HEAD_BYTES`` show; None for whatever we do not accept."""
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        # The document type is a text near the start; Matroska files have the same signature.
        return WEBM if b"\x42\x82" in head and b"webm" in head else None
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand == b"qt  ":
            return QUICKTIME
        return MP4 if _MP4_BRANDS.match(brand) else None
    return QUICKTIME if head[4:8] in _BOXES_OF_OLD_MOVIES else None
