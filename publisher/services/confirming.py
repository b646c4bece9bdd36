"""A person says where an undecided work is live: read back through the account's gallery, or taken on their word.

Nothing is published here. The look is made while somebody waits for the answer of a page, so it is bounded: a few
pages, a few seconds, no transaction; whatever DeviantArt does, the answer comes.
"""

import contextvars
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import IntegrityError, connection, connections
from django.utils.translation import gettext as _

from accounts.errors import AccountError
from accounts.models import DeviantArtAccount, User
from accounts.services.clients import client_for
from accounts.services.tokens import usable_token
from deviantart import types
from deviantart.addresses import Address, stash_address, work_address
from deviantart.errors import DeviantArtError
from deviantart.pace import Kind
from deviations.errors import AddressTaken, ConfirmationNeeded, FieldsRefused, InvalidTransition, ReferenceNotFound
from deviations.models import Deviation, DeviationFile
from deviations.services.changing import LATE, Event, change
from deviations.services.readiness import account_for
from isekai import clock
from publisher.models import Publication, StashItem
from publisher.services.deciding import ensure_asked
from publisher.services.turns import NotYet, PacedReader

logger = structlog.get_logger(__name__)

PAGES_MOST = 3
# How long somebody waits for the answer of a page.
LOOK_SECONDS = 8.0
# Of the doubt that these stand for nothing is known of the other parts of the work.
SAY_NOTHING_OF_THE_REST = {LATE, "restored"}


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the gallery shows at an address: the deviation, or none; ``was_read`` is False when we could not look."""

    deviation: types.Deviation | None
    was_read: bool = True


def confirm_live(
    deviation: Deviation,
    *,
    user: User | None,
    url: str = "",
    file_id: UUID | None = None,
    by_hand: bool = False,
    version: int | None = None,
) -> Deviation:
    """Mark an undecided work, or the part of it that ``file_id`` names, as live at ``url``, and return the work.

    It is looked for there first. ``by_hand``: where it cannot be seen, the caller's word is enough; nothing of it is
    looked up later. A work for the stash alone needs no address. Once all of it is live it is published; where a part
    was what held it up, the rest goes on by itself; else it goes on asking. ``version`` as in `change`.
    Raises FieldsRefused (the address), ReferenceNotFound (the part), ConfirmationNeeded (it was not seen there),
    AddressTaken, InvalidTransition, InTheTrash, VersionConflict. Must not be called inside a transaction.
    """
    ensure_asked(deviation)
    account = _account_of(deviation)
    file = _part_of(deviation, file_id)
    address = _address_of(deviation, account, url)
    sighting = look_for(account, address) if isinstance(address, Address) else Sighting(None)
    if sighting.deviation is None and not by_hand:
        raise ConfirmationNeeded("confirm_by_hand", _why_not_seen(account, address, sighting))

    def how(row: Deviation) -> list[Event]:
        ensure_asked(row)
        if isinstance(address, Address):
            _ensure_nobody_else_is_there(account, address, sighting.deviation)
        return _mark_live(row, file, account, address=address, seen=sighting.deviation)

    try:
        return change(deviation, how, user=user, version=version)
    except IntegrityError as error:
        # A worker has written down the same deviation for another work meanwhile.
        if "remote_deviation_id" in str(error):
            raise AddressTaken from error
        raise


def look_for(account: DeviantArtAccount, address: Address) -> Sighting:
    """Whether the newest pages of the account's gallery show something at ``address``; answers in a few seconds."""
    if account.held_because in {"reauth_required", "disconnected", "foreign_server"}:
        return Sighting(None, was_read=False)

    def look() -> Sighting:
        try:
            reader = PacedReader(client_for(account, usable_token(account.pk)), account, Kind.READ)
            return Sighting(_in_gallery(reader, account, address))
        except (DeviantArtError, AccountError, NotYet) as error:
            logger.info("address_look_up_failed", account_id=str(account.pk), error=error.code)
            return Sighting(None, was_read=False)

    return _within(LOOK_SECONDS, look) or Sighting(None, was_read=False)


def open_parts(deviation: Deviation) -> list[DeviationFile]:
    """The files of a work that are not known to be live, in their order."""
    live = Publication.objects.live().filter(deviation=deviation).values("file_id")
    return list(DeviationFile.objects.filter(deviation=deviation).exclude(pk__in=live).order_by("position"))


def _account_of(deviation: Deviation) -> DeviantArtAccount:
    account = account_for(deviation)
    if account is None:
        raise FieldsRefused({"account_id": [_("Choose the DeviantArt account that it is live in.")]})
    return account


def _part_of(deviation: Deviation, file_id: UUID | None) -> DeviationFile:
    parts = open_parts(deviation)
    if file_id is not None:
        part = next((part for part in parts if part.pk == file_id), None)
        if part is not None:
            return part
        if deviation.files.filter(pk=file_id).exists():
            raise InvalidTransition(_("This part is known to be live already."))
        raise ReferenceNotFound("file_id", _("This work has no such file."))
    if len(parts) != 1:
        raise FieldsRefused({"file_id": [_("Say which of its files is live there.")]})
    return parts[0]


def _address_of(deviation: Deviation, account: DeviantArtAccount, url: str) -> Address | str:
    """The address that was meant; a text for a work in the stash, where nothing can be looked up."""
    url = url.strip()
    if deviation.stash_only:
        address = stash_address(url, base_url=account.base_url)
        if url and address is None:
            raise FieldsRefused({"url": [_("This is no address in the Sta.sh. You can leave it empty.")]})
        return address or ""
    found = work_address(url, base_url=account.base_url)
    if found is None:
        example = f"{account.base_url}/{account.username}/art/…"
        raise FieldsRefused({"url": [_("This is no address of a work. It looks like %(url)s") % {"url": example}]})
    if found.username.casefold() != account.username.casefold():
        text = _("This is a work of %(other)s, and yours goes to %(account)s.")
        raise FieldsRefused({"url": [text % {"other": found.username, "account": account.username}]})
    return found


def _why_not_seen(account: DeviantArtAccount, address: Address | str, sighting: Sighting) -> str:
    if not isinstance(address, Address):
        return _("Nobody but you can see your Sta.sh. Confirm that it lies there, and we mark it so by hand.")
    if not sighting.was_read:
        text = _(
            "DeviantArt does not let us look into the gallery of %(account)s at this moment. If you see the work "
            "there, confirm it, and we mark it as live by hand."
        )
    else:
        text = _(
            "We looked into the gallery of %(account)s and could not see it there. If you see it, confirm it, and we "
            "mark it as live by hand."
        )
    return text % {"account": account.username}


def _in_gallery(reader: PacedReader, account: DeviantArtAccount, address: Address) -> types.Deviation | None:
    for number, page in enumerate(reader.gallery_pages(), start=1):
        for each in page.results:
            if each.url and address.is_same_as(work_address(each.url, base_url=account.base_url)):
                return each
        if number == PAGES_MOST:
            break
    return None


def _within(seconds: float, look: Callable[[], Sighting]) -> Sighting | None:
    """What ``look`` finds; None when that takes longer, and then it ends by its own deadlines, seen by nobody."""
    found: queue.SimpleQueue[Sighting] = queue.SimpleQueue()

    def run() -> None:
        try:
            found.put(look())
        except Exception:
            # Nobody else would hear of it, and whoever waits must not wait in vain.
            logger.exception("address_look_up_broke_off")
            found.put(Sighting(None, was_read=False))
        finally:
            connections.close_all()  # this thread's own

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="look-for-address", daemon=True).start()
    try:
        return found.get(timeout=seconds)
    except queue.Empty:
        return None


def _ensure_nobody_else_is_there(account: DeviantArtAccount, address: Address, seen: types.Deviation | None) -> None:
    """Raise AddressTaken when another work, of whatever workspace, is known to be live there."""
    with connection.cursor() as cursor:
        # Two people may say the same of two works at this moment.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"address:{address.number}"])
    if seen is not None and Publication.objects.filter(remote_deviation_id=seen.deviation_id).exists():
        raise AddressTaken
    others = Publication.objects.live().filter(
        account__remote_user_id=account.remote_user_id, url__endswith=address.number
    )
    if any(address.is_same_as(work_address(other.url, base_url=other.account.base_url)) for other in others):
        raise AddressTaken


def _mark_live(
    row: Deviation,
    file: DeviationFile,
    account: DeviantArtAccount,
    *,
    address: Address | str,
    seen: types.Deviation | None,
) -> list[Event]:
    publication, _made = Publication.objects.select_for_update().get_or_create(
        deviation=row, file=file, defaults={"account": account, "position": file.position}
    )
    if publication.is_live:
        raise InvalidTransition(_("This part is known to be live already."))
    url = address.url if isinstance(address, Address) else address
    publication.state = Publication.State.PUBLISHED
    publication.published_at = (seen.published_at if seen else None) or clock.database_now()
    publication.remote_deviation_id = seen.deviation_id if seen else None
    publication.url = (seen.url if seen else None) or url
    publication.next_look_at = None
    publication.save()
    _put_items_down(publication)
    verb = "deviation.confirmed_live" if seen else "deviation.confirmed_by_hand"
    event = Event(verb, {"url": publication.url, "file": str(file.pk), "reason": row.reason_code})
    return [event, *go_on(row)]


def _put_items_down(publication: Publication) -> None:
    """An item of which a publish call was made is what became live; any other is not needed any more."""
    in_hand = publication.stash_items.filter(state=StashItem.State.IN_HAND)
    in_hand.filter(attempts__step="publish").update(state=StashItem.State.PUBLISHED)
    publication.stash_items.filter(state=StashItem.State.IN_HAND).update(state=StashItem.State.ABANDONED)


def go_on(row: Deviation) -> list[Event]:
    """What follows for a whole work, locked, that asked: more of it is known now. It is published, goes on, or asks."""
    if not open_parts(row):
        row.move_to(Deviation.Status.PUBLISHED)
        row.unconfirmed_since = row.next_attempt_at = None
        times = [part.published_at for part in row.publications.live() if part.published_at]
        row.published_at = min(times, default=clock.database_now())
        return [Event("deviation.published")]
    doubtful = Publication.objects.unconfirmed().filter(deviation=row).exists()
    if not doubtful and row.reason_code not in SAY_NOTHING_OF_THE_REST:
        row.move_to(Deviation.Status.PUBLISHING)
        row.unconfirmed_since = None
        row.next_attempt_at = clock.database_now()
    return []
