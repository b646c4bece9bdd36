"""Which works the pictures in a gallery are, where the database does not say it.

Nothing here asks anybody: what was seen and what may be it go in, what follows comes out.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from deviantart import types
from deviantart.rules import normalise_title
from deviations.media.perceptual import distance
from publisher.services.recognising import ALIKE


@dataclass(frozen=True, slots=True)
class Sighting:
    """A work in the gallery that no publication of ours is; ``is_ours`` None: it may be from our application or not."""

    deviation: types.Deviation
    published_at: datetime
    is_ours: bool | None
    picture_hash: str

    @property
    def title(self) -> str:
        return normalise_title(self.deviation.title)


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a work that the database does not know to be live; ``file_id`` None: the work has none yet."""

    deviation_id: UUID
    file_id: UUID | None
    titles: frozenset[str]
    picture_hash: str
    # Before this it cannot have gone out as it stands; None: it has no time.
    publish_at: datetime | None = None
    # It belongs to another account of the workspace, and may have been moved to this one in the time that is forgotten.
    is_elsewhere: bool = False
    # Known to be live, but not yet where: what shows it in the gallery is no other work.
    is_live: bool = False


@dataclass(slots=True)
class Findings:
    """What follows from a gallery: parts that are certainly live, and works of which a person has to say it."""

    live: dict[Part, Sighting] = field(default_factory=dict)
    doubtful: set[UUID] = field(default_factory=set)


def match(sightings: Iterable[Sighting], parts: Iterable[Part]) -> Findings:
    """Which of ``parts`` the sightings are.

    Certain is a pair that agrees in title, application, picture and time, when neither agrees with anything else.
    Of a sighting that nobody is certainly all are doubtful that may be it, see `_may_be`. Parts that are live explain a
    sighting, and nothing follows for them.
    """
    sightings, parts = list(sightings), list(parts)
    agreeing = {each: [part for part in parts if _agree(each, part)] for each in sightings}
    rivals: dict[Part, int] = defaultdict(int)
    for found in agreeing.values():
        for part in found:
            rivals[part] += 1
    findings = Findings()
    for each, found in agreeing.items():
        if len(found) == 1 and rivals[found[0]] == 1 and each.is_ours and not _is_early(each, found[0]):
            findings.live[found[0]] = each
    explained = set(findings.live.values())
    findings.live = {part: each for part, each in findings.live.items() if not part.is_live}
    unknown = [part for part in parts if not part.is_live]
    for each in sightings:
        if each not in explained:
            findings.doubtful.update(part.deviation_id for part in _may_be(each, unknown))
    # A work of which all is live for certain asks for nobody's word.
    undecided = {part.deviation_id for part in unknown if part not in findings.live}
    findings.doubtful -= {part.deviation_id for part in findings.live} - undecided
    return findings


def _agree(sighting: Sighting, part: Part) -> bool:
    """In the title, and in the picture."""
    return sighting.title in part.titles and _looks_like(sighting, part)


def _looks_like(sighting: Sighting, part: Part) -> bool:
    known = part.picture_hash and sighting.picture_hash
    return bool(known) and distance(part.picture_hash, sighting.picture_hash) <= ALIKE


def _may_be(sighting: Sighting, parts: Iterable[Part]) -> list[Part]:
    """Those with its picture, whatever their titles: what the database has forgotten may be an edit too.

    Where nobody has its picture, those with its title: the file may have been exchanged. Otherwise a title that many
    works share says nothing, unless of a part whose picture nobody knows. That a work was moved here and edited as well
    is too much to be asked about.
    """
    parts = [part for part in parts if not part.is_elsewhere or _agree(sighting, part)]
    pictured = [part for part in parts if _looks_like(sighting, part)]
    named = [part for part in parts if sighting.title in part.titles and part not in pictured]
    return pictured + [part for part in named if not pictured or not part.picture_hash]


def _is_early(sighting: Sighting, part: Part) -> bool:
    """Whether it appeared before the part's time, so that somebody must have changed that, or it is another work."""
    tolerance = timedelta(seconds=settings.PUBLISHER_MATCH_SECONDS)
    return part.publish_at is not None and sighting.published_at < part.publish_at - tolerance
