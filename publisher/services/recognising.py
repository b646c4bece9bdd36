"""Recognising our own work in a gallery: by title, time, application and picture, never by one of them alone."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.errors import AccountError
from accounts.services.clients import client_for
from accounts.services.tokens import usable_token
from deviantart import types
from deviantart.addresses import Address, work_address
from deviantart.errors import Category, DeviantArtError
from deviantart.pace import Kind
from deviantart.rules import normalise_title
from deviations.media.errors import Refused
from deviations.media.perceptual import distance, perceptual_hash
from deviations.models import Deviation, FileVariant
from isekai import clock
from publisher.errors import TooMuchToRead
from publisher.models import Attempt, Publication
from publisher.services.turns import NotYet, PacedReader

logger = structlog.get_logger(__name__)

# Of 64 bits: scaling and encoding a picture anew changes a few, another picture about half.
ALIKE = 10
PICTURE_MAX_BYTES = 4 * 1024 * 1024
# A look reads so many pages of 24 works, and begins none after so many seconds, before the time scale: what is further
# back is left to the same item's next publish call.
PAGES_MOST = 20
READING_SECONDS = 60.0
# The address of a work may wait longer than other accounts' may: each look for one is short.
ADDRESS_PATIENCE_SECONDS = 5.0
# DeviantArt's clock has whole seconds, and is compared with ours over a network.
CLOCK_SECONDS = 3.0
# So many works with one title and one picture are told apart by their times.
TWINS_MOST = 8

# Publish calls that may have made something live: nobody knows, or DeviantArt's no is not quite one.
UNSETTLED = Q(outcome__isnull=True) | Q(outcome=Attempt.Outcome.UNKNOWN)
DOUBTFUL_REFUSAL = Q(outcome=Attempt.Outcome.REFUSED) & (
    Q(error_code=6) | (Q(category=Category.UNKNOWN.value) & ~Q(error_code=7))
)


@dataclass(frozen=True, slots=True)
class Recognition:
    """The deviation that is certainly ours, or a word for why none is: `none`, `several`, `rivals`, `other_app`, …"""

    deviation: types.Deviation | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A work in a gallery; ``at`` is when it was published, by our database's clock."""

    deviation: types.Deviation
    at: datetime


def doubtful_calls(publication: Publication) -> models.QuerySet[Attempt]:
    """The publication's publish calls that may have made it live, the first one first."""
    doubtful = publication.attempts.publishing().filter(UNSETTLED | DOUBTFUL_REFUSAL, settled_at__isnull=True)
    return doubtful.select_related("stash_item").order_by("id")


def recognise(reader: PacedReader, publication: Publication, *, calls: Sequence[Attempt]) -> Recognition:
    """Whether the gallery shows what one of ``calls`` made; only when everything agrees.

    Raises DeviantArtError, and NotYet when the look has to be broken off.
    """
    tolerance = timedelta(seconds=settings.PUBLISHER_MATCH_SECONDS)
    began = [call.started_at for call in calls]
    try:
        alike = _alike(reader, publication, since=min(began) - tolerance)
    except TooMuchToRead:
        return Recognition(None, "too_much_to_read")
    alike = [each for each in alike if any(abs(each.at - start) <= tolerance for start in began)]
    if len(alike) != 1:
        return Recognition(None, "several" if alike else "none")
    if _rivals(publication):
        return Recognition(None, "rivals")
    found = alike[0].deviation
    if not _submitted_by_us(reader, [found]):
        return Recognition(None, "other_app")
    if not resembles(reader, found, _hash_of(publication)):
        return Recognition(None, "other_picture")
    return Recognition(found)


def sightings(reader: PacedReader, *, since: datetime) -> Iterator[Sighting]:
    """What the gallery has that was published after ``since``, newest first.

    Raises DeviantArtError, NotYet, TooMuchToRead.
    """
    last_page_before = time.monotonic() + READING_SECONDS * settings.ISEKAI_TIME_SCALE
    for number, page in enumerate(reader.gallery_pages(), 1):
        ahead = page.date - clock.database_now() if page.date else timedelta()
        seen = [Sighting(each, each.published_at - ahead) for each in page.results if each.published_at]
        yield from (each for each in seen if each.at >= since)
        if any(each.at < since for each in seen):
            return
        if page.has_more and (number >= PAGES_MOST or time.monotonic() > last_page_before):
            raise TooMuchToRead(f"The gallery has more than {number} pages that are newer.")


def _alike(reader: PacedReader, publication: Publication, *, since: datetime) -> list[Sighting]:
    """Sightings with the publication's title that are no publication of ours yet."""
    title = normalise_title(publication.sent.get("title", ""))
    seen = {each.deviation.deviation_id: each for each in sightings(reader, since=since)}
    named = {key: each for key, each in seen.items() if normalise_title(each.deviation.title) == title}
    known = Publication.objects.filter(remote_deviation_id__in=named).values_list("remote_deviation_id", flat=True)
    unknown = [named[key] for key in named.keys() - set(known)]
    taken = _addresses_of_others(publication) if unknown else []
    return [each for each in unknown if not any(_is_at(each.deviation, address, publication) for address in taken)]


def _addresses_of_others(publication: Publication) -> list[Address]:
    """Where others are live of which nobody knows the id: a person said so. In whatever workspace the artist is."""
    by_hand = (
        Publication.objects.live()
        .filter(account__remote_user_id=publication.account.remote_user_id, remote_deviation_id__isnull=True)
        .exclude(url="")
        .exclude(pk=publication.pk)
        .select_related("account")
    )
    addresses = [work_address(each.url, base_url=each.account.base_url) for each in by_hand]
    return [each for each in addresses if each is not None]


def _is_at(deviation: types.Deviation, address: Address, publication: Publication) -> bool:
    return address.is_same_as(work_address(deviation.url or "", base_url=publication.account.base_url))


def picture_of(deviation: types.Deviation) -> types.Picture | None:
    """The smallest picture of it that is large enough to be compared."""
    return deviation.preview or next(reversed(deviation.thumbnails), None) or deviation.content


def resembles(reader: PacedReader, deviation: types.Deviation, expected_hash: str) -> bool:
    """Whether the picture that DeviantArt shows is the one with ``expected_hash``; a work without one never agrees."""
    picture = picture_of(deviation)
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
        patience = ADDRESS_PATIENCE_SECONDS * settings.ISEKAI_TIME_SCALE
        reader = PacedReader(client, publication.account, Kind.READ, patience_seconds=patience)
        match = _match(reader, publication)
    except (DeviantArtError, AccountError, NotYet, TooMuchToRead) as error:
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
    """The one work in the gallery that a live publication can be; None when it may be another one.

    Works with the same title are told apart by their pictures. Where those are alike too, a work appeared while a call
    of its own was under way; only if that leaves one way to share them out is it known which is which.
    """
    own_hash = _hash_of(publication)
    twins = [each for each in [publication, *_rivals(publication)] if _look_alike(_hash_of(each), own_hash)]
    if len(twins) > TWINS_MOST or not all(each.is_live for each in twins):
        return None  # an unconfirmed one may be what the gallery shows; soon that will be known
    # Where it has no double, the time says no more than that it is not an older one.
    slack = timedelta(seconds=CLOCK_SECONDS if len(twins) > 1 else settings.PUBLISHER_MATCH_SECONDS)
    windows = [_windows(each, slack) for each in twins]
    alike = [
        each
        for each in _alike(reader, publication, since=min(start for each in windows for start, _end in each))
        if not own_hash or resembles(reader, each.deviation, own_hash)
    ]
    if len(alike) != len(twins) or not _submitted_by_us(
        reader, [each.deviation for each in alike], unless_unknown=True
    ):
        return None
    order = only_assignment(windows, [each.at for each in alike])
    return None if order is None else alike[order[0]].deviation


Window = tuple[datetime, datetime]


def only_assignment(windows: Sequence[Sequence[Window]], moments: Sequence[datetime]) -> list[int] | None:
    """For each of as many ``windows`` the index of the moment that lies in one of them; None unless just one way fits.

    The work grows with the number of ways: meant for a handful.
    """
    ways: list[list[int]] = []

    def share_out(chosen: list[int]) -> None:
        if len(ways) > 1:
            return
        if len(chosen) == len(windows):
            ways.append(chosen)
            return
        for index, moment in enumerate(moments):
            fits = any(start <= moment <= end for start, end in windows[len(chosen)])
            if fits and index not in chosen:
                share_out([*chosen, index])

    share_out([])
    return ways[0] if len(ways) == 1 else None


def _windows(publication: Publication, slack: timedelta) -> list[Window]:
    """When a live publication may have appeared: while a call of its own was under way, before we knew that it is."""
    longest = timedelta(seconds=settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS + settings.PUBLISHER_REPEAT_MARGIN_SECONDS)
    known_at = publication.published_at or clock.database_now()
    calls = [call.started_at for call in doubtful_calls(publication)]
    if not calls:  # by hand
        return [(publication.created_at - slack, known_at + slack)]
    return [(start - slack, min(start + longest, known_at) + slack) for start in calls]


def _rivals(publication: Publication) -> list[Publication]:
    """Other publications of the account with the same title that may be what the gallery shows, as none has its id.

    Not those of which a person said that no call made them live, or where they are: see `_alike`.
    """
    title = normalise_title(publication.sent.get("title", ""))
    possible = Q(state=Publication.State.PUBLISHED, deviation__stash_only=False) | Q(
        pk__in=Attempt.objects.publishing()
        .filter(UNSETTLED | DOUBTFUL_REFUSAL, settled_at__isnull=True, publication__account=publication.account_id)
        .values("publication_id")
    )
    others = Publication.objects.filter(
        possible, account_id=publication.account_id, remote_deviation_id__isnull=True, url=""
    ).exclude(pk=publication.pk)
    return [other for other in others if normalise_title(other.sent.get("title", "")) == title]


def _look_alike(one: str, other: str) -> bool:
    """Whether two pictures may be taken for each other; one that nobody knows may be any."""
    return not one or not other or distance(one, other) <= 2 * ALIKE


def _hash_of(publication: Publication) -> str:
    variant = FileVariant.objects.filter(file=publication.file_id, kind=FileVariant.Kind.PUBLISH).first()
    return variant.perceptual_hash if variant else ""


def _submitted_by_us(
    reader: PacedReader, deviations: Sequence[types.Deviation], *, unless_unknown: bool = False
) -> bool:
    """Whether all of them came from our application; ``unless_unknown``: or it has no name to compare with."""
    name = settings.DEVIANTART_APPLICATION_NAME
    if not name:
        # Then nothing is recognised by looking; the same item is published again.
        return unless_unknown
    about = reader.deviation_metadata([each.deviation_id for each in deviations], ext_submission=True)
    return len(about) == len(deviations) and all(each.submitted_with == name for each in about)
