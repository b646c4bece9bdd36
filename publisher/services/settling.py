"""Works of which nobody knows whether they are live: looked for, and only then published again, by the same item.

An item can be published once, so repeating the call with the same item cannot make a second deviation; before that the
first call must be over, wherever it hangs.
"""

from datetime import timedelta

import structlog
from django.conf import settings

from deviantart.errors import Category, DeviantArtError
from deviantart.pace import Kind
from deviations.models import Deviation
from isekai import clock, faults
from publisher.models import Attempt, Publication
from publisher.services import evidence, failing, recognising, steps
from publisher.services.claiming import end, put_back
from publisher.services.job import Job
from publisher.services.turns import NotYet, PacedReader

logger = structlog.get_logger(__name__)


def settle(job: Job, publication: Publication) -> bool:
    """Find out whether the publication is live, or make it live; False when the work had to be let go meanwhile."""
    unsettled = list(publication.attempts.publishing().unsettled().order_by("id"))
    first, last = unsettled[0], unsettled[-1]
    try:
        if look(job, publication, since=first):
            return True
    except DeviantArtError as error:
        if error.category in {Category.RATE_LIMIT, Category.AUTH_ERROR, Category.TOKEN_EXPIRED}:
            return failing.after_look_up(job, error)
    age = (clock.database_now() - last.started_at).total_seconds()
    if age < repeat_after_seconds():
        put_back(job.claim, in_seconds=_next_look_in(age))
        return False
    if last.stash_item is None:
        end(job.claim, Deviation.Status.NEEDS_DECISION, reason="unconfirmed")
        return False
    return steps.publish(job, publication, last.stash_item)


def repeat_after_seconds() -> float:
    """How long after it was written down a call is certainly over: its deadline, and what it may start late."""
    return settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS + settings.PUBLISHER_REPEAT_MARGIN_SECONDS


def look(job: Job, publication: Publication, *, since: Attempt) -> bool:
    """Look once in the artist's gallery; True when the work was recognised there without a doubt."""
    reader = PacedReader(job.client(), job.account, Kind.PUBLISH)
    attempt = evidence.open_attempt(job.claim, publication, Attempt.Step.LOOK_UP)
    faults.reach("look_up_intended")
    try:
        found = recognising.recognise(reader, publication, since=since.started_at)
    except DeviantArtError as error:
        evidence.close_failed(attempt, error)
        raise
    except NotYet as wait:
        evidence.close_not_made(attempt, why=wait.reason)
        raise
    faults.reach("look_up_answered")
    if found.deviation is None:
        evidence.close_looked(attempt, found=found.why)
        return False
    evidence.close_recognised(attempt, deviation_id=found.deviation.deviation_id, url=found.deviation.url or "")
    return True


def _next_look_in(age: float) -> float:
    """Seconds until the next moment at which something is to be done, for a call that is ``age`` seconds old."""
    moments = [*settings.PUBLISHER_LOOK_SECONDS, repeat_after_seconds()]
    return min(moment for moment in moments if moment > age) - age


def find_urls() -> None:
    """Look for the works that are live, but whose address is not known yet; harmless when run twice."""
    for publication in Publication.objects.lacking_their_url().select_related("account")[:100]:
        _find_url(publication)


def _find_url(publication: Publication) -> None:
    waits = settings.PUBLISHER_URL_LOOK_SECONDS
    looks = publication.looks + 1
    following = clock.DatabaseNow() + timedelta(seconds=waits[looks]) if looks < len(waits) else None
    taken = Publication.objects.lacking_their_url().filter(pk=publication.pk, looks=publication.looks)
    if not taken.update(looks=looks, next_look_at=following):
        return  # somebody else is looking
    recognising.find_url(publication)
