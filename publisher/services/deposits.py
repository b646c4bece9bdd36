"""What is put into a stash for good is also remembered in the bucket, since no gallery ever shows it.

Before such an upload a *deposit* is written down, with it what it became. A database that has forgotten uploads is told
by its deposits which of them happened (see `restoring`): where there is none nothing was begun, and where one was begun
and never ended nobody knows.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import structlog

from deviations import storage
from deviations.errors import StorageUnavailable
from deviations.models import DeviationFile
from isekai import clock
from publisher.models import Publication, StashItem
from publisher.services import marks
from publisher.services.claiming import Claim

logger = structlog.get_logger(__name__)

# A deposit of a file that the database does not know may be of one that is committed just now.
FORSAKEN = timedelta(days=1)
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Deposit:
    """A file that was to lie in the stash of an account; ``item_id`` None: nobody wrote down how that ended."""

    file_id: UUID
    written_at: datetime
    item_id: int | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """Where a deposit is written down; ``fingerprint`` is that of what the upload carries."""

    folder: str
    name: str
    fingerprint: str


def begin(claim: Claim, publication: Publication, *, fingerprint: str) -> Begun:
    """Write down that the file of ``publication`` is about to be uploaded. Raises StorageUnavailable: then it must not.

    Each lease has a deposit of its own, so that none takes back what another one wrote.
    """
    begun = Begun(
        storage.deposits_folder(marks.installation_name(), claim.account_id),
        f"{publication.file_id}.{claim.lease_id}",
        fingerprint,
    )
    _write(begun, None)
    return begun


def keep(begun: Begun, item: StashItem) -> None:
    """The upload arrived. Never raises: what is not written leaves the deposit as one of which nobody knows."""
    try:
        _write(begun, item.item_id)
    except StorageUnavailable:
        logger.warning("deposit_not_kept", item_id=item.item_id)


def take_back(begun: Begun) -> None:
    """The upload certainly did not happen. Never raises, as ``keep``."""
    try:
        storage.delete_note(begun.folder, begun.name)
    except StorageUnavailable:
        logger.warning("deposit_not_taken_back")


def deposits_since(account_id: UUID, moment: datetime) -> list[Deposit]:
    """One for each file that an upload was begun of: with its item, where any upload of it arrived.

    Raises StorageUnavailable.
    """
    found: dict[UUID, Deposit] = {}
    folder = storage.deposits_folder(marks.installation_name(), account_id)
    for note in storage.read_notes(folder, since=moment):
        deposit = _parse(note)
        if deposit is not None and (deposit.file_id not in found or deposit.item_id is not None):
            found[deposit.file_id] = deposit
    return list(found.values())


def forget_gone() -> int:
    """Delete the deposits of files that there are no more; returns how many. Raises StorageUnavailable."""
    long_ago, gone = clock.now() - FORSAKEN, 0
    listed = storage.list_deposits(marks.installation_name())
    old = ((folder, name) for folder, name, written_at in listed if written_at < long_ago)
    while batch := list(islice(old, AT_ONCE)):
        ids = {name: _file_id(name) for _folder, name in batch}
        known = set(DeviationFile.objects.filter(pk__in=filter(None, ids.values())).values_list("pk", flat=True))
        for folder, name in batch:
            if ids[name] not in known:
                storage.delete_note(folder, name)
                gone += 1
    return gone


def _write(begun: Begun, item_id: int | None) -> None:
    body = json.dumps({"item_id": item_id, "fingerprint": begun.fingerprint})
    storage.write_note(begun.folder, begun.name, body.encode())


def _parse(note: storage.Note) -> Deposit | None:
    """None for what is no deposit of ours; one that cannot be read says only that it was begun."""
    file_id = _file_id(note.name)
    if file_id is None:
        logger.error("deposit_not_readable")
        return None
    try:
        content: Any = json.loads(note.body)
        item_id = content["item_id"]
        return Deposit(file_id, note.written_at, None if item_id is None else int(item_id), str(content["fingerprint"]))
    except (ValueError, TypeError, KeyError):
        logger.error("deposit_not_readable")
        return Deposit(file_id, note.written_at)


def _file_id(name: str) -> UUID | None:
    try:
        return UUID(name.partition(".")[0])
    except ValueError:
        return None
