"""What an uploaded file is, by its content, and smaller copies of pictures."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}  # by a quarter
# Larger pictures are shown as they are: scaling one would take more memory than a stand-in may ask for.
_MAX_SCALED_PIXELS = 60_000_000


@dataclass(frozen=True)
class Picture:
    """``kind`` is image, video or other; sizes are 0 for what is no image."""

    kind: str
    content_type: str
    width: int = 0
    height: int = 0
    transparency: bool = False

    def fitted(self, size: int) -> tuple[int, int]:
        """Width and height within a square of ``size`` pixels, never enlarged."""
        scale = min(1.0, size / max(self.width, self.height, 1))
        return max(1, round(self.width * scale)), max(1, round(self.height * scale))


def inspect(path: Path) -> Picture:
    """Judge a file by its first bytes; of a picture only the header is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                width, height = _upright_size(image)
                return Picture("image", Image.MIME[image.format or ""], width, height, _has_transparency(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass  # no picture, or none that Pillow can read
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp":
        return Picture("video", "video/quicktime" if head[8:12] == b"qt  " else "video/mp4")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Picture("video", "video/webm")
    return Picture("other", "application/octet-stream")


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    # Of a PNG, Pillow would read all pixels in search of an orientation.
    if image.format in {"JPEG", "WEBP", "TIFF"} and image.getexif().get(_ORIENTATION) in _TURNED:
        return height, width
    return width, height


def _has_transparency(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def scale(source: Path, target: Path, size: int) -> None:
    """Write a copy that fits into a square of ``size`` pixels. Raises OSError when the picture cannot be scaled."""
    with Image.open(source, formats=_FORMATS) as image:
        if image.width * image.height > _MAX_SCALED_PIXELS:
            raise OSError("too large to be scaled")
        image.draft("RGB", (size, size))
        upright = ImageOps.exif_transpose(image)
        transparent = _has_transparency(upright)
        copy = upright.convert("RGBA" if transparent else "RGB")
        copy.thumbnail((size, size))
        # Written beside and moved, so that nobody is served half of it.
        unfinished = target.with_suffix(".unfinished")
        copy.save(unfinished, "PNG" if transparent else "JPEG", quality=88)
        unfinished.replace(target)


def is_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x89PNG"


def gradient(colours: Sequence[tuple[int, ...]], *, width: int, height: int) -> bytes:
    """A PNG that runs from one to the other of four colours, one for each corner."""
    small = Image.frombytes("RGB", (2, 2), bytes(part for colour in colours for part in colour))
    buffer = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()
