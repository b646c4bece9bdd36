"""What becomes of the words of a work: title, tags and description."""

import re
from html.parser import HTMLParser

from deviantart.sandbox.params import Params
from deviantart.sandbox.profile import Profile

MAX_TITLE = 50
MAX_TAGS = 30
# What the website's own API says that it takes.
_WEBSITE_TITLE = re.compile(r"[A-Za-z0-9 _$!?:.,'+\-=~`@#%^*\[\]()/{}\\|]*")


def title_of(params: Params, profile: Profile) -> str | None:
    """The title as it is kept, None when the request has none. What is refused is noted in ``params``."""
    title = (params.text("title") or "").strip()
    if not title:
        return None
    if profile.title_limit == "refuse" and _cut(title, profile) != title:
        params.refuse("title")
    if profile.title_characters == "website" and not _WEBSITE_TITLE.fullmatch(title):
        params.refuse("title")
    return limited(title, profile)


def limited(title: str, profile: Profile) -> str:
    """At most 50 characters or, when DeviantArt counts so, 50 bytes of UTF-8; or all of it, by the profile."""
    return title if profile.title_limit == "allow" else _cut(title, profile)


def tags_of(params: Params, profile: Profile) -> list[str]:
    """The tags as they are kept. What is refused is noted in ``params``."""
    tags = params.array("tags")
    if profile.too_many_tags == "cut":
        tags = tags[:MAX_TAGS]
    clean = [re.sub(r"[^A-Za-z0-9_]", "", tag) for tag in tags]
    too_long = profile.tag_max_length is not None and any(len(tag) > profile.tag_max_length for tag in clean)
    if len(tags) > MAX_TAGS or too_long or (profile.tags == "refuse" and clean != tags):
        params.refuse("tags")
    return list(dict.fromkeys(tag for tag in clean if tag))


def description_of(text: str, profile: Profile) -> str:
    if profile.description == "keep":
        return text
    reader = _TextOnly()
    reader.feed(text)
    reader.close()
    return "".join(reader.pieces)


def _cut(title: str, profile: Profile) -> str:
    if profile.title_limit_unit == "bytes":
        return title.encode()[:MAX_TITLE].decode(errors="ignore")
    return title[:MAX_TITLE]


class _TextOnly(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)
