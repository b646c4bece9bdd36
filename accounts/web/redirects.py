"""Where to go next: a path of ours, whatever a link says."""

from urllib.parse import urlsplit

from django.utils.http import url_has_allowed_host_and_scheme

LONGEST = 2000


def safe_next(wanted: str) -> str:
    """``wanted`` if it is a path on this very site, else an empty text."""
    # Browsers read a backslash as a slash and drop control characters; a path of ours needs neither, raw or encoded.
    if len(wanted) > LONGEST or not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted:
        return ""
    if not wanted.isascii() or not wanted.isprintable() or " " in wanted:
        return ""
    try:
        path = urlsplit(wanted).path.lower()
    except ValueError:
        return ""
    if path.startswith(("/%2f", "/%5c")) or not url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return ""
    return wanted
