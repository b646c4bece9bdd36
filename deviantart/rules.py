"""DeviantArt's rules on what may be published there (deviantart-api.md, sections 6, 7 and 11). Pure functions."""

import html
import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum

TITLE_MAX_LENGTH = 50
TAGS_MAX = 30
FILE_MAX_BYTES = 50 * 1024 * 1024

# Accepted content types, each with the ending that a file of it gets.
CONTENT_TYPES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
}

# DeviantArt's number for a largest width in pixels to show a picture at; None is the original's.
DISPLAY_RESOLUTIONS: dict[int, int | None] = {
    0: None,
    1: 400,
    2: 600,
    3: 800,
    4: 900,
    5: 1024,
    6: 1280,
    7: 1600,
    8: 1920,
}


class MatureLevel(StrEnum):
    MODERATE = "moderate"
    STRICT = "strict"


class MatureClassification(StrEnum):
    NUDITY = "nudity"
    SEXUAL = "sexual"
    GORE = "gore"
    LANGUAGE = "language"
    IDEOLOGY = "ideology"


def title_fits(title: str) -> bool:
    """Whether DeviantArt takes the title as it is: not empty, at most 50 characters."""
    return len(title.strip()) > 0 and len(title) <= TITLE_MAX_LENGTH


def tag_as_shown(tag: str) -> str:
    """The tag as DeviantArt will have it: ASCII letters, digits and underscores.

    Accents and widths are folded away first (``Pokémon`` becomes ``Pokemon``); everything else, spaces and ``#`` too,
    goes. What is left of a tag in another script is empty: whoever shows it says so, and it is not sent.
    """
    return re.sub(r"[^A-Za-z0-9_]", "", unicodedata.normalize("NFKD", tag))


def tags_as_shown(tags: Iterable[str]) -> list[str]:
    """The tags as they are sent: those that are not empty, each once whatever its case, in the artist's order."""
    shown: dict[str, str] = {}
    for tag in tags:
        if name := tag_as_shown(tag):
            shown.setdefault(name.lower(), name)
    return list(shown.values())


def normalise_title(title: str) -> str:
    """A title for comparing: two that DeviantArt may show alike have the same one.

    It cuts titles, refuses or drops characters that are neither letters nor digits, and may escape some as HTML.
    Letters of all scripts are kept. A title without any letter or digit is compared as it is.
    """
    folded = _folded(html.unescape(title).strip()[:TITLE_MAX_LENGTH])
    words = re.sub(r"[\W_]+", " ", folded).strip()
    return (words or folded)[:TITLE_MAX_LENGTH].strip()


def _folded(text: str) -> str:
    """Without differences of case, width and white space."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return re.sub(r"\s+", " ", folded).strip()
