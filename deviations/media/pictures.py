"""Decoding pictures with Pillow: one decoder at a time, the one whose format was recognised, after the limits held."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from PIL import Image, PngImagePlugin

from deviations.media.containers import Facts
from deviations.media.errors import Refused, damaged
from deviations.media.kinds import KINDS
from deviations.media.limits import MAX_PIXELS

# Workflows of ComfyUI are larger than the megabyte that Pillow lets a compressed text have.
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 1024 * 1024

# A profile that is larger is one for printing; its picture was turned into RGB anyway.
LARGEST_PROFILE_BYTES = 64 * 1024
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise for bytes that they cannot use.
UNUSABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


@contextmanager
def opened(source: IO[bytes], content_type: str) -> Iterator[Any]:
    """The picture, not decoded yet; what goes wrong while it is, within the block, is raised as Refused."""
    try:
        with Image.open(source, formats=[KINDS[content_type].decoder]) as image:
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise Refused("too_complex") from error
    except UNUSABLE as error:
        raise damaged(f"{type(error).__name__}: {error}"[:200]) from error


def be_strict() -> None:
    """Turn Pillow's warning about large pictures into an error; for a process of its own, since it is global."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode_all(source: IO[bytes], content_type: str, facts: Facts) -> None:
    """Decode every frame and keep nothing: a file that was cut off, or is broken inside, raises Refused."""
    with opened(source, content_type) as image:
        if image.size != (facts.width, facts.height):
            raise damaged("the decoder sees another size")
        image.load()
        if content_type == "image/jpeg":  # more pictures behind the first one are none of ours
            return
        for number in range(1, facts.frames):
            image.seek(number)
            image.load()


def shrunk(image: Any, longest: int, orientation: int) -> Any:
    """A copy in RGB or RGBA, turned upright, with no side above ``longest``; never larger than it was."""
    box = _within(image.size, longest)
    if image.format == "JPEG" or image.format == "MPO":
        image.draft("RGB", (box[0] * 2, box[1] * 2))  # decodes fewer pixels in the first place
    if image.mode.startswith(("I", "F")):
        # 16 bits a pixel, which Pillow would cut off instead of scaling.
        image = image.resize(box, Image.Resampling.BICUBIC).convert("I").point(lambda value: value / 256).convert("L")
    has_alpha = image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info
    profile = image.info.get("icc_profile") if image.mode in {"RGB", "RGBA"} else None
    if image.mode not in {"RGB", "RGBA"}:
        image = image.convert("RGBA" if has_alpha else "RGB")
    elif image.mode == "RGB" and has_alpha:
        image = image.convert("RGBA")
    image = image.resize(box, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if orientation in TURNED:
        image = image.transpose(TURNED[orientation])
    image.info = {"icc_profile": profile} if profile and len(profile) <= LARGEST_PROFILE_BYTES else {}
    return image


def _within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
