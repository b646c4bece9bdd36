"""Names that people give their files: data, never part of a key or a path."""

import re
import unicodedata

MAX_LENGTH = 255
# What turns the direction of the text around it, by which `gpj.exe` is shown as `exe.jpg`; and breaks of lines.
_INVISIBLE = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]")


def clean_filename(name: str) -> str:
    """``name`` without folders, control characters and reversed text, at most 255 characters with its extension kept.

    An empty text when nothing is left of it.
    """
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    name = "".join(character for character in name if unicodedata.category(character) not in {"Cc", "Cs"})
    name = " ".join(_INVISIBLE.sub("", name).split())
    if len(name) <= MAX_LENGTH:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 20:
        return name[:MAX_LENGTH]
    return stem[: MAX_LENGTH - len(extension) - 1] + dot + extension
