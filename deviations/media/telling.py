"""What a camera or a program has written into a picture and anybody may know: short texts, for texts of automations.

No places, no serial numbers, no prompts: those are what the published copy goes without. See EXIF 3.0, 4.6.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from deviations.media.kinds import KINDS
from deviations.media.pictures import UNUSABLE

LONGEST = 100
NAMES = ("camera", "lens", "taken", "focal_length", "aperture", "exposure", "iso", "software", "artist")


def told_by(path: Path, content_type: str) -> dict[str, str]:
    """What the file says by name, of NAMES; what cannot be read is not there. Never refuses a file."""
    with (
        # Pillow warns of what is broken in it.
        warnings.catch_warnings(action="ignore"),
        suppress(*UNUSABLE, MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning),
        path.open("rb") as file,
        Image.open(file, formats=[KINDS[content_type].decoder]) as image,
    ):
        exif = image.getexif()
        return _said({**exif.get_ifd(IFD.Exif), **exif})
    return {}


def plain(told: object) -> dict[str, str]:
    """Of what somebody else claims that a file says, what it may say."""
    if not isinstance(told, dict):
        return {}
    return {name: text for name in NAMES if (text := _text(told.get(name)))}


def _said(tags: Mapping[int, Any]) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, read in _READERS.items():
        with suppress(*UNUSABLE, ZeroDivisionError, OverflowError, AttributeError):
            said[name] = read(tags)
    return plain(said)


def _text(value: object) -> str:
    """In one line, without what cannot be seen."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    return " ".join("".join(each for each in value.split("\0")[0] if each.isprintable()).split())[:LONGEST].strip()


def _camera(tags: Mapping[int, Any]) -> str:
    make, model = _text(tags.get(Base.Make)), _text(tags.get(Base.Model))
    return model if model.lower().startswith(make.lower()) else f"{make} {model}"


def _taken(tags: Mapping[int, Any]) -> str:
    found = re.match(r"(\d{4}):(\d{2}):(\d{2})\b", _text(tags.get(Base.DateTimeOriginal)))
    return "-".join(found.groups()) if found and found[1] != "0000" else ""


def _number(value: Any, digits: int = 1) -> str:
    number = round(float(value), digits)
    return f"{number:g}" if number > 0 else ""


def _exposure(tags: Mapping[int, Any]) -> str:
    seconds = Fraction(float(tags[Base.ExposureTime])).limit_denominator(100_000)
    if seconds <= 0:
        return ""
    # As cameras show it: longer than a third of a second in seconds.
    return f"{_number(seconds)} s" if seconds > Fraction(3, 10) else f"1/{round(1 / seconds)} s"


def _with(pattern: str, number: str) -> str:
    return pattern.format(number) if number else ""


_READERS: dict[str, Callable[[Mapping[int, Any]], str]] = {
    "camera": _camera,
    "lens": lambda tags: _text(tags.get(Base.LensModel)),
    "taken": _taken,
    "focal_length": lambda tags: _with("{} mm", _number(tags[Base.FocalLength])),
    "aperture": lambda tags: _with("f/{}", _number(tags[Base.FNumber])),
    "exposure": _exposure,
    "iso": lambda tags: _with("ISO {}", _number(_first(tags[Base.ISOSpeedRatings]), 0)),
    "software": lambda tags: _text(tags.get(Base.Software)),
    "artist": lambda tags: _text(tags.get(Base.Artist)),
}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value
