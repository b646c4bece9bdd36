"""Works of which nobody knows whether they are live: looked for, and only then published again, by the same item.

An item can be published once, so repeating the call with the same item cannot make a second deviation; before that the
first call must be over, wherever it hangs.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import Q

from deviantart.errors import Category, DeviantArtError
from deviantart.pace import Kind
from isekai import clock, faults
from publisher.models import Attempt, Publication, StashItem
from publisher.services import evidence, failing, recognising, steps
from publisher.services.claiming import put_back
from publisher.services.job import Job
from publisher.services.recognising import DOUBTFUL_REFUSAL, UNSETTLED
from publisher.services.turns import NotYet, PacedReader

logger = structlog.get_logger(__name__)

# Seconds that a look waits for its second and later turns, before the time scale.
PATIENCE_SECONDS = 10.0


def is_in_doubt(job: Job, publication: Publication) -> bool:
    """Whether something has to be found out before the next call for the publication is made."""
    doubtful = Q(step=Attempt.Step.PUBLISH) & (UNSETTLED | DOUBTFUL_REFUSAL)
    if job.deviation.stash_only:
        doubtful |= Q(step=Attempt.Step.SUBMIT, outcome__isnull=True)
    return publication.attempts.filter(doubtful, settled_at__isnull=True).exists()


def settle(job: Job, publication: Publication) -> bool:
    """Find out whether the publication is live, or make it live; False when the work had to be let go meanwhile."""
    calls = list(recognising.doubtful_calls(publication))
    unsettled = [call for call in calls if call.outcome != Attempt.Outcome.REFUSED]
    if job.deviation.stash_only and not unsettled:
        return _settle_in_the_stash(job, publication)
    if not _looked_enough(publication, calls, unsettled):
        try:
            if look(job, publication, calls=calls):
                return True
        except DeviantArtError as error:
            if error.category in {Category.RATE_LIMIT, Category.AUTH_ERROR, Category.TOKEN_EXPIRED}:
                return failing.after_look_up(job, error)
    if not unsettled:
        return steps.bring_out(job, publication)
    return _publish_again(job, publication, unsettled)


def repeat_after_seconds() -> float:
    """How long after it was written down a call is certainly over: its deadline, and what it may start late."""
    return settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS + settings.PUBLISHER_REPEAT_MARGIN_SECONDS


def look(job: Job, publication: Publication, *, calls: Sequence[Attempt]) -> bool:
    """Look once in the artist's gallery for what one of ``calls`` made; True when it was recognised without a doubt."""
    patience = failing.scaled(PATIENCE_SECONDS)
    reader = PacedReader(job.client(), job.account, Kind.PUBLISH, patience_seconds=patience)
    attempt = evidence.open_attempt(job.claim, publication, Attempt.Step.LOOK_UP, stash_item=_only_item_of(calls))
    faults.reach("look_up_intended")
    try:
        found = recognising.recognise(reader, publication, calls=calls)
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


def _looked_enough(publication: Publication, calls: Sequence[Attempt], unsettled: Sequence[Attempt]) -> bool:
    """Whether a look was begun when every call was over, and ended; another one could not tell more.

    One whose process died or was stopped may have seen nothing. One that the pace broke off counts: if it were begun
    anew each time, its pages would use up the turn of the call that settles the matter.
    """
    looks = publication.attempts.filter(step=Attempt.Step.LOOK_UP, ended_at__isnull=False, pk__gt=calls[-1].pk)
    looks = looks.exclude(remote_ids__contains={"why": "service_stopped"})
    if unsettled:
        over_at = unsettled[-1].started_at + timedelta(seconds=repeat_after_seconds())
        looks = looks.filter(started_at__gte=over_at)
    return looks.exists()


def _publish_again(job: Job, publication: Publication, unsettled: Sequence[Attempt]) -> bool:
    """Publish the same item again once every call for it is certainly over, which settles what became of them."""
    last = unsettled[-1]
    age = (clock.database_now() - last.started_at).total_seconds()
    if age < repeat_after_seconds():
        put_back(job.claim, in_seconds=_next_look_in(age))
        return False
    if last.stash_item is None or len(unsettled) >= settings.PUBLISHER_MAX_ATTEMPTS:
        return failing.ask(job, reason="unconfirmed")
    return steps.publish(job, publication, last.stash_item)


def _next_look_in(age: float) -> float:
    """Seconds until the next moment at which something is to be done, for a call that is ``age`` seconds old."""
    moments = [*settings.PUBLISHER_LOOK_SECONDS, repeat_after_seconds()]
    return min(moment for moment in moments if moment > age) - age


def _only_item_of(calls: Sequence[Attempt]) -> StashItem | None:
    items = {call.stash_item for call in calls}
    return items.pop() if len(items) == 1 else None


def _settle_in_the_stash(job: Job, publication: Publication) -> bool:
    """A process was lost while it uploaded a work that is meant for the stash alone, where nothing can be looked up.

    It may only have been stopped: until its call is certainly over its answer may come yet, and settles it.
    """
    uploads = list(publication.attempts.filter(step=Attempt.Step.SUBMIT, outcome__isnull=True).order_by("pk"))
    if not uploads or StashItem.objects.in_hand(publication.pk) is not None:
        return steps.bring_out(job, publication)
    over_in = uploads[-1].started_at - clock.database_now() + timedelta(seconds=_upload_over_after_seconds())
    if over_in > timedelta():
        put_back(job.claim, in_seconds=over_in.total_seconds(), reason="stash_unconfirmed")
        return False
    for attempt in uploads:
        # If whoever made it still lives, its answer will be written over this.
        evidence.close_unknown(attempt, why="process_gone")
    return failing.ask(job, reason="stash_unconfirmed")


def _upload_over_after_seconds() -> float:
    return settings.DEVIANTART_SUBMIT_DEADLINE_SECONDS + settings.PUBLISHER_REPEAT_MARGIN_SECONDS


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
