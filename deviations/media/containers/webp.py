"""WebP: RFC 9649."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from deviations.media.containers import Buffer, Facts, exif
from deviations.media.errors import Refused, damaged
from deviations.media.limits import MAX_PARTS

HEADER_BYTES = 12
KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
HAS_EXIF, HAS_XMP = 0x08, 0x04


@dataclass(frozen=True)
class Chunk:
    """``end`` is after the byte that makes its length even."""

    kind: bytes
    start: int
    end: int
    length: int

    def content(self, data: Buffer) -> bytes:
        return data[self.start + 8 : self.start + 8 + self.length]


def chunks(data: Buffer) -> Iterator[Chunk]:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise damaged("no WebP signature")
    whole = 8 + int.from_bytes(data[4:8], "little")
    if whole > len(data):
        raise damaged("shorter than it says")
    place = HEADER_BYTES
    for _ in range(MAX_PARTS):
        if place + 8 > whole:
            return
        kind, length = struct.unpack_from("<4sI", data, place)
        end = place + 8 + length + (length & 1)
        if place + 8 + length > whole:
            raise damaged("a chunk is longer than the file")
        yield Chunk(kind, place, min(end, whole), length)
        place = end
    raise Refused("too_complex")


def _bitstream_size(kind: bytes, content: bytes) -> tuple[int, int]:
    if kind == b"VP8 " and len(content) >= 10 and content[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(content) >= 5 and content[0] == 0x2F:
        bits = int.from_bytes(content[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise damaged("a picture that has no size")


def _exif(chunk: Chunk, data: Buffer) -> bytes:
    # Some writers put JPEG's prefix before it.
    return chunk.content(data).removeprefix(b"Exif\0\0")


def inspect(data: Buffer) -> Facts:
    size: tuple[int, int] | None = None
    frames = pictures = 0
    orientation = 1
    for chunk in chunks(data):
        if chunk.kind == b"VP8X":
            content = chunk.content(data)
            if size is not None or len(content) < 10:
                raise damaged("not exactly one header")
            size = int.from_bytes(content[4:7], "little") + 1, int.from_bytes(content[7:10], "little") + 1
        elif chunk.kind in {b"VP8 ", b"VP8L"}:
            pictures += 1
            size = size or _bitstream_size(chunk.kind, chunk.content(data)[:16])
        elif chunk.kind == b"ANMF":
            frames += 1
        elif chunk.kind == b"EXIF":
            orientation = exif.orientation(_exif(chunk, data))
    if size is None or 0 in size or not (frames or pictures == 1):
        raise damaged("no picture in it")
    return Facts(width=size[0], height=size[1], frames=max(1, frames), orientation=orientation)


def stripped(data: Buffer) -> Iterator[bytes]:
    """Kept: pixels, frames, transparency, the colour profile and the orientation."""
    kept = [piece for chunk in chunks(data) if (piece := _kept(chunk, data))]
    size = 4 + sum(map(len, kept))
    yield b"RIFF" + struct.pack("<I", size) + b"WEBP"
    yield from kept


def _kept(chunk: Chunk, data: Buffer) -> bytes:
    if chunk.kind == b"VP8X":
        whole = bytearray(data[chunk.start : chunk.end])
        whole[8] &= ~(HAS_EXIF | HAS_XMP)
        if inspect(data).orientation != 1:
            whole[8] |= HAS_EXIF
        return bytes(whole)
    if chunk.kind == b"EXIF" and (value := exif.orientation(_exif(chunk, data))) != 1:
        content = exif.only_orientation(value)
        return struct.pack("<4sI", b"EXIF", len(content)) + content
    if chunk.kind not in KEPT:
        return b""
    whole_chunk = data[chunk.start : chunk.end]
    return whole_chunk + b"\0" * (len(whole_chunk) & 1)
