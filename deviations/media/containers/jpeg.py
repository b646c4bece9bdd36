"""JPEG: ITU-T T.81, annex B; JFIF 1.02; the ICC specification, annex B.4."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from deviations.media.containers import Buffer, Facts, exif
from deviations.media.errors import Refused, damaged
from deviations.media.limits import MAX_PARTS

SOI, EOI, SOS, APP0, APP1, APP2, APP14, APP15, COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the rest of C0 to CF are tables
ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a segment
NEXT_MARKER = re.compile(rb"\xff[\x01-\xfe]")
# Within a scan a stuffed zero and the restart markers belong to the data.
END_OF_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
EXIF_PREFIX, ICC_PREFIX, JFIF_PREFIX, ADOBE_PREFIX = b"Exif\0\0", b"ICC_PROFILE\0", b"JFIF\0", b"Adobe"
JFIF_BYTES = 14  # without its thumbnail
# Each scan goes over the whole picture again; encoders make about ten.
MAX_SCANS = 200


@dataclass(frozen=True)
class Segment:
    """``start`` is at its marker; the ``end`` of a scan is where its data ends."""

    marker: int
    start: int
    end: int

    def content(self, data: Buffer) -> bytes:
        return data[self.start + 4 : self.end]


def segments(data: Buffer) -> Iterator[Segment]:
    """Everything between the first and the last marker. What follows the picture's end is not looked at."""
    if data[:2] != b"\xff\xd8":
        raise damaged("no start of image")
    place = 2
    for _ in range(MAX_PARTS):
        found = NEXT_MARKER.search(data, place)
        if found is None:
            raise damaged("no end of image")
        start, marker = found.start(), data[found.start() + 1]
        if marker == EOI:
            return
        if marker == SOI:
            raise damaged("a second start of image")
        if marker in ALONE:
            place = start + 2
            continue
        place = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if place < start + 4 or place > len(data):
            raise damaged("a segment is longer than the file")
        if marker == SOS:
            after = END_OF_SCAN.search(data, place)
            if after is None:
                raise damaged("the last scan has no end")
            place = after.start()
        yield Segment(marker, start, place)
    raise Refused("too_complex")


def _orientation_in(segment: Segment, data: Buffer) -> int | None:
    content = segment.content(data) if segment.marker == APP1 else b""
    return exif.orientation(content[len(EXIF_PREFIX) :]) if content.startswith(EXIF_PREFIX) else None


def inspect(data: Buffer) -> Facts:
    size: tuple[int, int] | None = None
    orientation: int | None = None
    scans = 0
    for segment in segments(data):
        if segment.marker in FRAMES:
            if size is not None or segment.end - segment.start < 10:
                raise damaged("not exactly one frame")
            size = struct.unpack_from(">HH", data, segment.start + 5)
        if segment.marker == SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise Refused("too_complex")
        if orientation is None:
            orientation = _orientation_in(segment, data)
    if size is None or 0 in size or not scans:
        raise damaged("no picture in it")
    return Facts(width=size[1], height=size[0], orientation=orientation or 1)


def stripped(data: Buffer) -> Iterator[bytes]:
    """Kept: the tables and scans, JFIF, the colour profile, Adobe's note on how colours are stored, the orientation."""
    orientation = inspect(data).orientation
    yield b"\xff\xd8"
    waiting = _segment(APP1, EXIF_PREFIX + exif.only_orientation(orientation)) if orientation != 1 else b""
    for segment in segments(data):
        if waiting and segment.marker != APP0:  # JFIF wants to be the first
            yield waiting
            waiting = b""
        yield _kept(segment, data)
    yield b"\xff\xd9"


def _kept(segment: Segment, data: Buffer) -> bytes:
    whole = data[segment.start : segment.end]
    if segment.marker != COM and not APP0 <= segment.marker <= APP15:
        return whole
    content = whole[4:]
    if segment.marker == APP0 and content.startswith(JFIF_PREFIX):
        # Its thumbnail may show what was cut away later.
        plain = content[: JFIF_BYTES - 2] + b"\0\0"
        return whole if content == plain else _segment(APP0, plain)
    wanted = {APP2: ICC_PREFIX, APP14: ADOBE_PREFIX}.get(segment.marker)
    return whole if wanted and content.startswith(wanted) else b""


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
