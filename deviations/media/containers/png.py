"""PNG: W3C Portable Network Graphics, third edition."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from deviations.media.containers import Buffer, Facts, exif
from deviations.media.errors import Refused, damaged
from deviations.media.limits import MAX_PARTS

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
# Everything that says how the pixels look, and the frames of an animation.
KEPT = CRITICAL | {
    *(b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT"),
}


@dataclass(frozen=True)
class Chunk:
    kind: bytes
    start: int
    end: int

    def content(self, data: Buffer) -> bytes:
        return data[self.start + 8 : self.end - 4]


def chunks(data: Buffer) -> Iterator[Chunk]:
    """Every chunk, its checksum compared, until IEND."""
    if data[:8] != SIGNATURE:
        raise damaged("no PNG signature")
    place = 8
    for _ in range(MAX_PARTS):
        if place + 12 > len(data):
            raise damaged("no end")
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if length > 0x7FFF_FFFF or end > len(data):
            raise damaged("a chunk is longer than the file")
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise damaged("a checksum does not agree")
        if not kind[0] & 0x20 and kind not in CRITICAL:
            raise damaged("a critical chunk that nobody knows")
        yield Chunk(kind, place, end)
        if kind == b"IEND":
            return
        place = end
    raise Refused("too_complex")


def inspect(data: Buffer) -> Facts:
    size: tuple[int, int] | None = None
    frames, orientation, has_pixels = 1, 1, False
    for chunk in chunks(data):
        content = chunk.content(data) if chunk.kind in {b"IHDR", b"acTL", b"eXIf"} else b""
        if (chunk.kind == b"IHDR") != (size is None):
            raise damaged("not exactly one header, at the start")
        if chunk.kind == b"IHDR":
            if len(content) != 13:
                raise damaged("a header of the wrong size")
            size = struct.unpack_from(">II", content)
        elif chunk.kind == b"acTL" and len(content) == 8:
            frames = max(1, int.from_bytes(content[:4], "big"))
        elif chunk.kind == b"eXIf":
            orientation = exif.orientation(content)
        elif chunk.kind == b"IDAT":
            has_pixels = True
    if size is None or 0 in size or not has_pixels:
        raise damaged("no picture in it")
    return Facts(width=size[0], height=size[1], frames=frames, orientation=orientation)


def stripped(data: Buffer) -> Iterator[bytes]:
    """Kept: pixels, frames, colours, density and the orientation."""
    yield SIGNATURE
    for chunk in chunks(data):
        if chunk.kind in KEPT:
            yield data[chunk.start : chunk.end]
        elif chunk.kind == b"eXIf" and (value := exif.orientation(chunk.content(data))) != 1:
            yield _chunk(b"eXIf", exif.only_orientation(value))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
