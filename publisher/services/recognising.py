"""Recognising our own work in a gallery: by title, time, application and picture, never by one of them alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import models
from django.db.models import Min

from accounts.errors import AccountError
from accounts.services.clients import client_for
from accounts.services.tokens import usable_token
from deviantart import types
from deviantart.errors import DeviantArtError
from deviantart.pace import Kind
from deviantart.rules import normalise_title
from deviations.media.errors import Refused
from deviations.media.perceptual import distance, perceptual_hash
from deviations.models import Deviation, FileVariant
from isekai import clock
from publisher.models import Publication
from publisher.services.turns import NotYet, PacedReader

logger = structlog.get_logger(__name__)

# Of 64 bits: scaling and encoding a picture anew changes a few, another picture about half.
ALIKE = 10
PICTURE_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Recognition:
    """The deviation that is certainly ours, or a word for why none is: `none`, `several`, `rivals`, `other_app`, …"""

    deviation: types.Deviation | None
    why: str = ""


def recognise(reader: PacedReader, publication: Publication, *, since: datetime) -> Recognition:
    """Whether the gallery shows what a publish call begun at ``since`` made; only when everything agrees.

    Raises DeviantArtError.
    """
    alike = list(candidates(reader, publication, since=since))
    if len(alike) != 1:
        return Recognition(None, "several" if alike else "none")
    if _rivals(publication).exists():
        return Recognition(None, "rivals")
    found = alike[0]
    (about,) = reader.deviation_metadata([found.deviation_id], ext_submission=True) or (None,)
    if about is None or not _submitted_by_us(about):
        return Recognition(None, "other_app")
    if not resembles(reader, found, _hash_of(publication)):
        return Recognition(None, "other_picture")
    return Recognition(found)


def candidates(reader: PacedReader, publication: Publication, *, since: datetime) -> Iterable[types.Deviation]:
    """What the gallery has with the same title, published after ``since``, that is no publication of ours yet."""
    title = normalise_title(publication.sent.get("title", ""))
    tolerance = timedelta(seconds=settings.PUBLISHER_MATCH_SECONDS)
    found: dict[str, types.Deviation] = {}
    for page in reader.gallery_pages():
        theirs = (page.date - clock.now()) if page.date else timedelta()
        earliest = since + theirs - tolerance
        for each in page.results:
            if each.published_at and each.published_at >= earliest and normalise_title(each.title) == title:
                found[each.deviation_id] = each
        if any(each.published_at and each.published_at < earliest for each in page.results):
            break  # newest first
    known = Publication.objects.filter(remote_deviation_id__in=found).values_list("remote_deviation_id", flat=True)
    return [each for key, each in found.items() if key not in set(known)]


def resembles(reader: PacedReader, deviation: types.Deviation, expected_hash: str) -> bool:
    """Whether the picture that DeviantArt shows is the one with ``expected_hash``; a work without one never agrees."""
    picture = deviation.preview or next(reversed(deviation.thumbnails), None) or deviation.content
    if not expected_hash or picture is None:
        return False
    try:
        seen = perceptual_hash(reader.picture(picture.url, PICTURE_MAX_BYTES))
    except Refused:
        return False
    return distance(seen, expected_hash) <= ALIKE


def find_url(publication: Publication) -> None:
    """Look for the address of a work that is certainly live, and keep it when there is no doubt which one it is."""
    try:
        client = client_for(publication.account, usable_token(publication.account_id))
        match = _match(PacedReader(client, publication.account, Kind.READ), publication)
    except (DeviantArtError, AccountError, NotYet) as error:
        logger.info("url_look_up_failed", publication_id=str(publication.pk), error=error.code)
        return
    if match is None:
        logger.info("url_not_seen_yet", publication_id=str(publication.pk), looks=publication.looks + 1)
        return
    kept = Publication.objects.filter(pk=publication.pk, remote_deviation_id__isnull=True).update(
        remote_deviation_id=match.deviation_id, url=match.url or "", next_look_at=None
    )
    if kept:
        Deviation.objects.filter(pk=publication.deviation_id).update(updated_at=clock.now())
        logger.info("url_found", publication_id=str(publication.pk))


def _match(reader: PacedReader, publication: Publication) -> types.Deviation | None:
    """The candidate for a live publication; where pictures are the same too, the order of the calls decides."""
    began = _began_at(publication)
    own_hash = _hash_of(publication)
    alike = [
        each
        for each in candidates(reader, publication, since=began)
        if not own_hash or resembles(reader, each, own_hash)
    ]
    twins = [
        rival
        for rival in [publication, *_rivals(publication)]
        if not own_hash or distance(_hash_of(rival) or "f" * 16, own_hash) <= ALIKE
    ]
    if len(alike) != len(twins):
        return None
    in_order = sorted(alike, key=lambda each: (each.published_at or began, each.deviation_id))
    twins.sort(key=lambda each: (_began_at(each), each.pk))
    return in_order[twins.index(publication)]


def _began_at(publication: Publication) -> datetime:
    began = publication.attempts.publishing().aggregate(first=Min("started_at"))["first"]
    return began or publication.created_at


def _rivals(publication: Publication) -> models.QuerySet[Publication]:
    """Other publications of the account with the same title that may be what the gallery shows, as none has its id."""
    title = normalise_title(publication.sent.get("title", ""))
    others = (
        Publication.objects.filter(account_id=publication.account_id, remote_deviation_id__isnull=True)
        .filter(attempts__step="publish")
        .exclude(pk=publication.pk)
        .distinct()
    )
    alike = [other.pk for other in others if normalise_title(other.sent.get("title", "")) == title]
    return Publication.objects.filter(pk__in=alike)


def _hash_of(publication: Publication) -> str:
    variant = FileVariant.objects.filter(file=publication.file_id, kind=FileVariant.Kind.PUBLISH).first()
    return variant.perceptual_hash if variant else ""


def _submitted_by_us(about: types.Metadata) -> bool:
    # Without a name to compare with nothing is recognised by looking; the same item is then published again.
    name = settings.DEVIANTART_APPLICATION_NAME
    return bool(name) and about.submitted_with == name
