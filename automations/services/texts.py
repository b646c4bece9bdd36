"""Texts with variables, as an automation writes them into drafts: `{title} #{counter}`.

Read by a parser of our own, which knows names and nothing else: what people write is never a format string of Python's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from django.utils import translation
from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deviantart import rules

# So many parts of a file's name have names of their own.
NAME_PARTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the variables of one draft stand for."""

    title: str
    # On the wall, naive: when the work goes out.
    at: datetime
    counter: int = 1
    # Empty until there are series.
    series: str = ""
    filename: str = ""
    # What the camera wrote into the file: `camera`, `lens`, `taken`, …; those that it left out are not there.
    exif: Mapping[str, str] = field(default_factory=dict)
    # In which days and months are written.
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was read: what stands in it as it is, and the names of variables, in turn."""

    pieces: tuple[tuple[str, str], ...]  # (literal, "") or ("", variable)

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(name for _literal, name in self.pieces if name)

    def render(self, facts: Facts) -> str:
        """The text for one draft. A variable that has nothing to say for it leaves nothing behind."""
        return "".join(literal or _VARIABLES[name].read(facts) for literal, name in self.pieces)


@dataclass(frozen=True, slots=True)
class Variable:
    label: str | Promise
    read: Callable[[Facts], str]


def known_variables() -> dict[str, str | Promise]:
    """The name of every variable, and what it stands for."""
    return {name: variable.label for name, variable in _VARIABLES.items()}


def problems_of(text: str) -> list[str]:
    """Everything that is wrong with a text that somebody wants to keep; empty: nothing is."""
    return list(_read(text)[1])


def read_text(text: str) -> Text:
    """Read a text that was checked when it was saved; what cannot be read stands for itself."""
    return _read(text)[0]


def render_title(text: str, facts: Facts) -> str:
    """A title as DeviantArt takes it: in one line, at most 50 characters, cut between words where that is possible."""
    title = " ".join(read_text(text).render(facts).split())
    most = rules.TITLE_MAX_LENGTH
    if len(title) <= most:
        return title
    cut, space, _rest = title[: most + 1].rpartition(" ")
    return (cut if space and len(cut) > most // 2 else title[:most]).strip()


def render_description(text: str, facts: Facts, *, most: int) -> str:
    return read_text(text).render(facts).strip()[:most]


def render_tags(texts: Sequence[str], facts: Facts, *, longest: int) -> list[str]:
    """Tags of which none is empty, each once as DeviantArt shows it, and no more than it takes."""
    tags: dict[str, str] = {}
    for text in texts:
        tag = " ".join(read_text(text).render(facts).split()).lstrip("#")[:longest].strip()
        if tag:
            tags.setdefault(rules.tag_as_shown(tag).lower() or tag, tag)
    return list(tags.values())[: rules.TAGS_MAX]


# --- reading ---------------------------------------------------------------------------------------------------------
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[Text, tuple[str, ...]]:
    pieces: list[tuple[str, str]] = []
    problems: dict[str, None] = {}
    end = 0
    for token in _TOKEN.finditer(text):
        pieces.append((text[end : token.start()], ""))
        end = token.end()
        said, name = token.group(), token.group(1)
        if said in ("{{", "}}"):
            pieces.append((said[0], ""))
        elif name is None:
            problems[_unbalanced(said, token.start())] = None
            pieces.append((said, ""))
        elif name.strip() in _VARIABLES:
            pieces.append(("", name.strip()))
        else:
            problems[_unknown(name)] = None
            pieces.append((said, ""))
    pieces.append((text[end:], ""))
    return Text(tuple(piece for piece in pieces if piece != ("", ""))), tuple(problems)


def _unbalanced(brace: str, place: int) -> str:
    return _("The “%(brace)s” at place %(place)s belongs to no other. To write a brace, write it twice: %(twice)s.") % {
        "brace": brace,
        "place": place + 1,
        "twice": brace * 2,
    }


def _unknown(name: str) -> str:
    return _("There is no variable {%(name)s}. There are: %(known)s.") % {
        "name": name[:50],
        "known": ", ".join(f"{{{each}}}" for each in _VARIABLES),
    }


# --- variables -------------------------------------------------------------------------------------------------------
def _named(names: Mapping[int, Any], number: int, language: str) -> str:
    with translation.override(language):
        return str(names[number])


def _stem(facts: Facts) -> str:
    return PurePosixPath(facts.filename).stem


def _part(number: int) -> Callable[[Facts], str]:
    def read(facts: Facts) -> str:
        parts = [part for part in re.split(r"[\s_\-.,+]+", _stem(facts)) if part]
        return parts[number - 1] if number <= len(parts) else ""

    return read


def _exif(name: str) -> Callable[[Facts], str]:
    return lambda facts: facts.exif.get(name, "")


_VARIABLES: dict[str, Variable] = {
    "title": Variable(gettext_lazy("the draft's own title"), lambda facts: facts.title),
    "counter": Variable(
        gettext_lazy("a number that the automation counts up with each work"), lambda facts: str(facts.counter)
    ),
    "series": Variable(gettext_lazy("the name of its series"), lambda facts: facts.series),
    "date": Variable(
        gettext_lazy("the day on which it goes out, like 2030-01-31"), lambda facts: f"{facts.at:%Y-%m-%d}"
    ),
    "time": Variable(gettext_lazy("the time at which it goes out, like 18:00"), lambda facts: f"{facts.at:%H:%M}"),
    "year": Variable(gettext_lazy("the year in which it goes out"), lambda facts: f"{facts.at:%Y}"),
    "month": Variable(
        gettext_lazy("the month in which it goes out"), lambda facts: _named(MONTHS, facts.at.month, facts.language)
    ),
    "day": Variable(gettext_lazy("the day of the month on which it goes out"), lambda facts: str(facts.at.day)),
    "weekday": Variable(
        gettext_lazy("the day of the week on which it goes out"),
        lambda facts: _named(WEEKDAYS, facts.at.weekday(), facts.language),
    ),
    "filename": Variable(gettext_lazy("the name of its first file, without the ending"), _stem),
    **{
        f"filename.{number}": Variable(
            gettext_lazy("a part of that name, between spaces, dashes and the like"), _part(number)
        )
        for number in range(1, NAME_PARTS + 1)
    },
    "exif.camera": Variable(gettext_lazy("the camera that the first file names"), _exif("camera")),
    "exif.lens": Variable(gettext_lazy("the lens that it names"), _exif("lens")),
    "exif.taken": Variable(gettext_lazy("the day on which it was taken, like 2030-01-31"), _exif("taken")),
    "exif.focal_length": Variable(gettext_lazy("its focal length, like 50 mm"), _exif("focal_length")),
    "exif.aperture": Variable(gettext_lazy("its aperture, like f/2.8"), _exif("aperture")),
    "exif.exposure": Variable(gettext_lazy("its exposure time, like 1/250 s"), _exif("exposure")),
    "exif.iso": Variable(gettext_lazy("its sensitivity, like ISO 200"), _exif("iso")),
    "exif.software": Variable(gettext_lazy("the program that made it"), _exif("software")),
    "exif.artist": Variable(gettext_lazy("who made it, as the file says"), _exif("artist")),
}
