"""Works that nobody may guess about, made by their rows: what the engine leaves when it asks."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from deviations.models import Deviation, DeviationFile
from isekai import clock
from publisher.models import Attempt, Publication, StashItem
from tests.factories import DueDeviationFactory

_ids = itertools.count(7_000_000_000_000_000)
HOUR = timedelta(hours=1)


def doubtful_part(work: Deviation, file: DeviationFile, *, age: timedelta = HOUR, **attempt: Any) -> Publication:
    """Its file was uploaded, and the call to publish it got no answer so long ago."""
    at = clock.now() - age
    publication = Publication.objects.create(
        deviation=work,
        file=file,
        account=work.account,
        position=file.position,
        state="publishing",
        sent={"title": work.title},
    )
    item = StashItem.objects.create(
        publication=publication, account=work.account, item_id=next(_ids), fingerprint="0" * 64
    )
    Attempt.objects.create(
        **{
            "publication": publication,
            "stash_item": item,
            "step": "publish",
            "started_at": at,
            "ended_at": at,
            "outcome": "unknown",
            "lease_id": work.pk,
            "worker_id": work.pk,
            **attempt,
        }
    )
    return publication


def live_part(work: Deviation, file: DeviationFile, *, url: str = "") -> Publication:
    return Publication.objects.create(
        deviation=work,
        file=file,
        account=work.account,
        position=file.position,
        state="published",
        published_at=clock.now() - HOUR,
        url=url,
    )


def ask(work: Deviation, reason: str) -> Deviation:
    """The work waits for a decision."""
    unconfirmed = Publication.objects.unconfirmed().filter(deviation=work).exists()
    Deviation.objects.filter(pk=work.pk).update(
        status="needs_decision",
        reason_code=reason,
        unconfirmed_since=clock.now() - HOUR if unconfirmed else None,
        next_attempt_at=None,
    )
    work.refresh_from_db()
    return work


def unconfirmed(make: Callable[..., Deviation] = DueDeviationFactory, **fields: Any) -> Deviation:
    """A work of one file that may be live."""
    work = make(**fields)
    doubtful_part(work, work.files.get())
    return ask(work, "unconfirmed")


def partly_live(make: Callable[..., Deviation], *bodies: bytes, **fields: Any) -> Deviation:
    """The first file is live, of the second nobody knows, the others were not sent."""
    work = make(*bodies, upload_mode="multiple", **fields)
    assert work.account is not None
    first, second, *_rest = work.files.order_by("position")
    live_part(work, first, url=f"{work.account.base_url}/{work.account.username}/art/first-1")
    doubtful_part(work, second)
    return ask(work, "partial")


def late(make: Callable[..., Deviation] = DueDeviationFactory, **fields: Any) -> Deviation:
    return ask(make(**fields), "late")
