"""Recognising a picture after it was scaled and encoded again: a difference hash of 64 bits.

Neal Krawetz, "Kind of Like That" (2013): the picture is shrunk to 9 by 8 greys, and each bit says whether a pixel is
brighter than the one to its right.
"""

import io
from typing import Any

from PIL import Image

from deviations.media.errors import Refused
from deviations.media.inspecting import inspect
from deviations.media.kinds import KINDS
from deviations.media.pictures import opened, shrunk

COLUMNS, ROWS = 9, 8
# Small enough to be decoded quickly, large enough that the last step does the smoothing.
FIRST_SIDE = 256
# Plain areas differ by the noise of JPEG alone: that much brighter, out of 255, does not count.
NOISE = 2
# Bytes from elsewhere are decoded in processes that do other things as well.
MAX_PIXELS_FROM_ELSEWHERE = 25_000_000


def perceptual_hash(data: bytes, *, max_pixels: int = MAX_PIXELS_FROM_ELSEWHERE) -> str:
    """16 hex digits of a JPEG, PNG, GIF (its first frame) or WebP as it is shown: turned upright, on white.

    Safe on bytes that nobody vouches for: only these four decoders, and none before the limits hold. Raises Refused.
    """
    content_type, facts = inspect(data, max_pixels=max_pixels)
    if KINDS[content_type].is_video:
        raise Refused("unknown_type")
    with opened(io.BytesIO(data), content_type) as image:
        return hash_of(shrunk(image, FIRST_SIDE, facts.orientation))


def hash_of(image: Any) -> str:
    """The hash of a decoded, upright picture in RGB or RGBA."""
    on_white = Image.new("RGB", image.size, "white")
    on_white.paste(image, mask=image if image.mode == "RGBA" else None)
    greys = on_white.convert("L").resize((COLUMNS, ROWS), Image.Resampling.BOX).tobytes()
    value = 0
    for row in range(ROWS):
        for column in range(COLUMNS - 1):
            left, right = greys[row * COLUMNS + column : row * COLUMNS + column + 2]
            value = value << 1 | (left > right + NOISE)
    return f"{value:016x}"


def distance(one: str, other: str) -> int:
    """In how many of the 64 bits two hashes differ; up to about 10 they are of the same picture."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
