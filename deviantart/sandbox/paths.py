"""Which paths a pattern of the controls means."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any


def path_matches(pattern: str, path: str) -> bool:
    """True for the whole path, or for its end: ``/stash/publish`` is ``/api/v1/oauth2/stash/publish``."""
    if "*" in pattern:
        return fnmatchcase(path, pattern) or fnmatchcase(path, "*/" + pattern.lstrip("/"))
    return path == pattern or path.endswith("/" + pattern.lstrip("/"))


def most_specific(settings: Mapping[str, Any], path: str) -> Any:
    """What the settings have for a path: the exact one wins over a pattern, the longer over the shorter; else None."""
    for pattern in sorted(settings, key=lambda pattern: ("*" in pattern, -len(pattern))):
        if path_matches(pattern, path):
            return settings[pattern]
    return None
