"""What publishers are compared with: a bare pool of threads that makes the same calls and writes the same rows.

No Celery, no claim that anybody else respects, no lease, no pace, nothing written down before it is certain. It uses
the same client, the same storage and Django's own writes. In a process of its own, as a publisher is:
``python -m benchmarks.works.baseline CONCURRENCY`` reads its works from stdin and starts when it is told to.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import django

from deviantart.client import Client
from deviantart.config import Config


@dataclass(frozen=True, slots=True)
class Item:
    """One work; ``item_id`` of one that lies in the stash already."""

    deviation_id: UUID
    account_id: UUID
    workspace_id: UUID
    token: str
    item_id: int | None

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        ids = {name: UUID(values[name]) for name in ("deviation_id", "account_id", "workspace_id")}
        return cls(**ids, token=values["token"], item_id=values["item_id"])


def bring_out(item: Item, config: Config) -> None:
    """The calls of one work, and the rows that a publisher leaves of them."""
    from deviations import storage
    from deviations.models import Deviation, FileVariant
    from isekai.ids import new_id
    from publisher.models import Attempt, Publication, StashItem
    from publisher.services.sending import publish_fields_of, submission_of

    lease_id, client = new_id(), Client(config, item.token)
    work = Deviation.objects.filter(pk=item.deviation_id)
    work.update(status="uploading", worker_id=lease_id, lease_id=lease_id)
    deviation = work.get()
    variant = FileVariant.objects.select_related("file").get(file__deviation=deviation, kind="publish")
    own = {"account_id": item.account_id, "file": variant.file}
    publication, _made = Publication.objects.get_or_create(deviation=deviation, file=variant.file, defaults=own)

    def attempt(step: Attempt.Step) -> Attempt:
        now = django.utils.timezone.now()
        return Attempt.objects.create(
            publication=publication, step=step, lease_id=lease_id, worker_id=lease_id, started_at=now
        )

    def close(opened: Attempt, **ids: Any) -> None:
        now = django.utils.timezone.now()
        Attempt.objects.filter(pk=opened.pk).update(ended_at=now, outcome="done", remote_ids=ids)

    submission, item_id = submission_of(publication, deviation, variant), item.item_id
    if item_id is None:
        opened = attempt(Attempt.Step.SUBMIT)
        with closing(storage.open_stream(submission.storage_key, workspace_id=item.workspace_id)) as stream:
            item_id = client.submit(
                stream,
                filename=submission.filename,
                content_type=submission.content_type,
                size=submission.size,
                title=submission.title,
                is_ai_generated=False,
                noai=False,
                sha256=submission.sha256,
            ).item_id
        fingerprint = submission.fingerprint(item.account_id)
        StashItem.objects.create(
            publication=publication, account_id=item.account_id, item_id=item_id, fingerprint=fingerprint
        )
        close(opened, item=item_id)
    opened = attempt(Attempt.Step.PUBLISH)
    work.update(status="publishing")
    receipt = client.publish(item_id, **publish_fields_of(deviation))
    now = django.utils.timezone.now()
    close(opened, deviationid=receipt.deviation_id)
    Publication.objects.filter(pk=publication.pk).update(
        state="published", published_at=now, remote_deviation_id=receipt.deviation_id, url=receipt.url or ""
    )
    StashItem.objects.filter(publication=publication).update(state="published")
    work.update(status="published", published_at=now, lease_id=None, worker_id=None)


def main() -> None:
    django.setup()
    from accounts.services.clients import deviantart_config

    config = deviantart_config()
    items = [Item.read(values) for values in json.loads(sys.stdin.readline())]
    with ThreadPoolExecutor(int(sys.argv[1])) as pool:
        # A publisher has its connections already too.
        list(pool.map(lambda _: time.sleep(0.05), range(int(sys.argv[1]))))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        starts_at = float(sys.stdin.readline())
        time.sleep(max(0.0, starts_at - time.time()))
        list(pool.map(lambda item: bring_out(item, config), items))


if __name__ == "__main__":
    main()
