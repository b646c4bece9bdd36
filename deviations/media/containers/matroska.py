"""WebM: RFC 8794 (EBML) and RFC 9559 (Matroska).

Cues and the seek head hold offsets, so what is taken out is overwritten with a Void element of the same size.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deviations.media.containers import Buffer, Facts
from deviations.media.errors import Refused, damaged
from deviations.media.limits import MAX_PARTS

EBML, DOC_TYPE, VOID, CRC32 = 0x1A45DFA3, 0x4282, 0xEC, 0xBF
SEGMENT, SEEK_HEAD, SEEK, SEEK_ID = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AB
INFO, TIMESTAMP_SCALE, DURATION = 0x1549A966, 0x2AD7B1, 0x4489
TRACKS, TRACK_ENTRY, TRACK_TYPE, VIDEO, PIXEL_WIDTH, PIXEL_HEIGHT = 0x1654AE6B, 0xAE, 0x83, 0xE0, 0xB0, 0xBA
CLUSTER, TAGS, ATTACHMENTS = 0x1F43B675, 0x1254C367, 0x1941A469
TITLE, SEGMENT_FILENAME, PREVIOUS_FILENAME, NEXT_FILENAME = 0x7BA9, 0x7384, 0x3C83AB, 0x3E83BB

PERSONAL = {TAGS, ATTACHMENTS}
PERSONAL_IN_INFO = {TITLE, SEGMENT_FILENAME, PREVIOUS_FILENAME, NEXT_FILENAME}
MAY_BE_OPEN = {SEGMENT, CLUSTER}  # as live recordings write them: their size is not known
VIDEO_TRACK = 1
DEFAULT_TIMESTAMP_SCALE = 1_000_000


@dataclass(frozen=True)
class Element:
    identifier: int
    start: int
    body: int
    end: int


def _variable_number(data: Buffer, place: int, longest: int) -> tuple[int, int]:
    """A number with its marker bit still in it, and how many bytes it takes."""
    if place >= len(data) or not data[place]:
        raise damaged("a number that is too long")
    length = 9 - data[place].bit_length()
    if length > longest or place + length > len(data):
        raise damaged("a number that is too long")
    return int.from_bytes(data[place : place + length], "big"), length


def elements(data: Buffer, start: int, end: int) -> Iterator[Element]:
    """The elements that fill this stretch; those of unknown size are entered instead of passed over."""
    place = start
    for _ in range(MAX_PARTS):
        if place >= end:
            return
        identifier, id_length = _variable_number(data, place, 4)
        marked, size_length = _variable_number(data, place + id_length, 8)
        body = place + id_length + size_length
        size = marked & ~(1 << 7 * size_length)
        if size == (1 << 7 * size_length) - 1:
            if identifier not in MAY_BE_OPEN:
                raise damaged("an element of unknown size")
            yield Element(identifier, place, body, end)
            place = body
            continue
        if body + size > end:
            raise damaged("an element is longer than what holds it")
        yield Element(identifier, place, body, body + size)
        place = body + size
    raise Refused("too_complex")


def _inside(data: Buffer, element: Element, *path: int) -> Element | None:
    for identifier in path:
        inner = elements(data, element.body, element.end)
        found = next((one for one in inner if one.identifier == identifier), None)
        if found is None:
            return None
        element = found
    return element


def _unsigned(data: Buffer, element: Element | None, otherwise: int = 0) -> int:
    if element is None:
        return otherwise
    if element.end - element.body > 8:
        raise damaged("a number that is too long")
    return int.from_bytes(data[element.body : element.end], "big")


def _float(data: Buffer, element: Element | None) -> float | None:
    if element is None:
        return None
    form = {4: ">f", 8: ">d"}.get(element.end - element.body)
    if form is None:
        raise damaged("a number of the wrong size")
    value: float = struct.unpack_from(form, data, element.body)[0]
    return value if 0 < value < 1e15 else None


def _segment_children(data: Buffer) -> tuple[Element, list[Element]]:
    """The segment and what it holds. Clusters of unknown size appear with their own content after them."""
    header = next(elements(data, 0, len(data)), None)
    if header is None or header.identifier != EBML:
        raise damaged("no EBML header")
    doc_type = _inside(data, header, DOC_TYPE)
    if doc_type is None or data[doc_type.body : doc_type.end].rstrip(b"\0") != b"webm":
        raise Refused("unknown_type")
    segment = next((one for one in elements(data, header.end, len(data)) if one.identifier == SEGMENT), None)
    if segment is None:
        raise damaged("no segment")
    return segment, list(elements(data, segment.body, segment.end))


def inspect(data: Buffer) -> Facts:
    _segment, children = _segment_children(data)
    duration, size = None, None
    for child in children:
        if child.identifier == INFO:
            scale = _unsigned(data, _inside(data, child, TIMESTAMP_SCALE), DEFAULT_TIMESTAMP_SCALE)
            ticks = _float(data, _inside(data, child, DURATION))
            duration = ticks * scale / 1e9 if ticks else None
        elif child.identifier == TRACKS:
            size = size or _video_size(data, child)
    if size is None or 0 in size or not any(child.identifier == CLUSTER for child in children):
        raise Refused("no_video")
    return Facts(width=size[0], height=size[1], duration_seconds=duration)


def _video_size(data: Buffer, tracks: Element) -> tuple[int, int] | None:
    for track in elements(data, tracks.body, tracks.end):
        is_track = track.identifier == TRACK_ENTRY
        if is_track and _unsigned(data, _inside(data, track, TRACK_TYPE)) == VIDEO_TRACK:
            width, height = _inside(data, track, VIDEO, PIXEL_WIDTH), _inside(data, track, VIDEO, PIXEL_HEIGHT)
            return _unsigned(data, width), _unsigned(data, height)
    return None


def stripped(data: Buffer) -> Iterator[bytes]:
    """Kept: every track at its place, chapters, and which program wrote the file."""
    place = 0
    for element in _overwritten(data):
        yield data[place : element.start]
        yield _void(element)
        place = element.end
    yield data[place:]


def _overwritten(data: Buffer) -> Iterator[Element]:
    _segment, children = _segment_children(data)
    for child in children:
        if child.identifier in PERSONAL or (child.identifier == VOID and any(data[child.body : child.end])):
            yield child
        elif child.identifier == INFO:
            yield from _with_checksum(data, child, lambda inner: inner.identifier in PERSONAL_IN_INFO)
        elif child.identifier == SEEK_HEAD:
            yield from _with_checksum(data, child, lambda inner: _points_to_personal(data, inner))


def _with_checksum(data: Buffer, parent: Element, personal: Callable[[Element], bool]) -> Iterator[Element]:
    """What is personal in there, and the checksum that would not agree any more."""
    inner = list(elements(data, parent.body, parent.end))
    if any(map(personal, inner)):
        yield from (one for one in inner if one.identifier == CRC32 or personal(one))


def _points_to_personal(data: Buffer, seek: Element) -> bool:
    target = _inside(data, seek, SEEK_ID) if seek.identifier == SEEK else None
    return target is not None and _unsigned(data, target) in PERSONAL


def _void(element: Element) -> bytes:
    """Zeros that every player passes over, as long as the element was."""
    length = element.end - element.start
    width = 1 if length <= 128 else 8
    content = length - 1 - width
    return bytes([VOID]) + (1 << 7 * width | content).to_bytes(width, "big") + bytes(content)
