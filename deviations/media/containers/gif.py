"""GIF: the GIF89a specification."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from deviations.media.containers import Buffer, Facts
from deviations.media.errors import Refused, damaged
from deviations.media.limits import MAX_PARTS

IMAGE, EXTENSION, TRAILER = 0x2C, 0x21, 0x3B
APPLICATION, COMMENT = 0xFF, 0xFE
HEADER_BYTES = 13
# How often it is repeated, and its colour profile.
KEPT_APPLICATIONS = {b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"}


@dataclass(frozen=True)
class Block:
    """An image or an extension; ``label`` is the extension's, or None."""

    label: int | None
    start: int
    end: int


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _first_block(data: Buffer) -> int:
    if data[:6] not in {b"GIF87a", b"GIF89a"} or len(data) < HEADER_BYTES:
        raise damaged("no GIF signature")
    return HEADER_BYTES + _palette_bytes(data[10])


def blocks(data: Buffer) -> Iterator[Block]:
    """Every block until the trailer."""
    place, parts = _first_block(data), 0
    try:
        while (kind := data[place]) != TRAILER:
            start, label = place, None
            if kind == EXTENSION:
                label, place = data[place + 1], place + 2
            elif kind == IMAGE:
                place += 10 + _palette_bytes(data[place + 9]) + 1
            else:
                raise damaged("a block that nobody knows")
            while length := data[place]:
                place += 1 + length
                parts += 1
                if parts > MAX_PARTS:
                    raise Refused("too_complex")
            place += 1
            yield Block(label, start, place)
    except IndexError:
        raise damaged("no end") from None


def inspect(data: Buffer) -> Facts:
    """The size is that of the canvas, grown where a frame reaches beyond it, as decoders do."""
    _first_block(data)
    width, height = struct.unpack_from("<HH", data, 6)
    frames = 0
    for block in blocks(data):
        if block.label is None:
            x, y, w, h = struct.unpack_from("<4H", data, block.start + 1)
            width, height = max(width, x + w), max(height, y + h)
            frames += 1
    if not frames or not width or not height:
        raise damaged("no picture in it")
    return Facts(width=width, height=height, frames=frames)


def stripped(data: Buffer) -> Iterator[bytes]:
    """Kept: frames, their timing, the repetition and the colour profile."""
    yield data[: _first_block(data)]
    for block in blocks(data):
        if block.label == COMMENT:
            continue
        if block.label == APPLICATION and data[block.start + 3 : block.start + 14] not in KEPT_APPLICATIONS:
            continue
        yield data[block.start : block.end]
    yield bytes([TRAILER])
