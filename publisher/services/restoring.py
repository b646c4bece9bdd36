"""A database that has forgotten publishes: nothing of an account goes out before its gallery was read and compared.

It is noticed by the mark (see `marks`). Everything here may be done twice, and by two processes at once.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import DateTimeField, Exists, Max, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce, Least

from accounts.errors import AccountError, LoginLost
from accounts.models import AuditEvent, DeviantArtAccount, User
from accounts.services.audit import record
from accounts.services.clients import client_for
from accounts.services.notifying import notify
from accounts.services.tokens import usable_token
from deviantart import types
from deviantart.errors import DeviantArtError, Rejected
from deviantart.pace import Kind
from deviantart.rules import normalise_title
from deviations.errors import StorageUnavailable
from deviations.media.errors import Refused
from deviations.media.perceptual import perceptual_hash
from deviations.models import Deviation, DeviationFile, FileVariant
from isekai import clock, queue
from publisher.models import Attempt, GalleryCheck, InstallationHold, Publication, StashItem
from publisher.models.holds import GalleryCheckQuerySet
from publisher.services import marks
from publisher.services.confirming import open_parts
from publisher.services.deposits import Deposit, deposits_since
from publisher.services.marks import Mark
from publisher.services.matching import Part, Sighting, match
from publisher.services.recognising import PICTURE_MAX_BYTES, picture_of
from publisher.services.settling import repeat_after_seconds
from publisher.services.turns import NotYet, PacedReader

logger = structlog.get_logger(__name__)

# One at a time in the whole installation deals with what was forgotten; any number, as long as it is always the same.
RESTORING_LOCK = 7_130_002
# Ids that were given out between the last mark that we know of and the end of the database that is gone.
GAP = 1000
# So long before the last publish that the database knows something may have been called that it does not know: a call
# and its evidence lie apart, and so do DeviantArt's clock and ours. Clocks do not follow the time scale.
MARGIN = timedelta(minutes=10)
# What DeviantArt has accepted is not always shown at once. No gallery is trusted earlier, before the time scale.
GALLERY_DELAY_SECONDS = 300.0
# A check reads this long at most, and nobody else takes it up for longer than that; both before the time scale.
READING_SECONDS = 240.0
LEASE_SECONDS = 300.0
PATIENCE_SECONDS = 30.0
# One tick begins no further check after so many seconds; the next one goes on.
TICK_SECONDS = 10.0
LATER_SECONDS = 60.0
# Whoever has lost its login is not taken at all; once it is connected again nobody should wait.
LOGIN_LOST_SECONDS = 5.0
# After so long a picture that still cannot be read is done without; before the time scale.
PICTURES_PATIENCE_SECONDS = 1800.0
# DeviantArt tells of so many works at once what they were submitted with.
ORIGINS_AT_ONCE = 10

Status = Deviation.Status
# What the gallery may show although the database does not know it.
ON_THEIR_WAY = (Status.SCHEDULED, Status.PUBLISHING)
MAY_BE_LIVE = (Status.SCHEDULED, Status.PUBLISHING, Status.NEEDS_DECISION, Status.FAILED, Status.DRAFT)


# --- noticing --------------------------------------------------------------------------------------------------------
def compare_with_mark() -> bool:
    """Whether the database knows everything that was published; one that does not is dealt with first.

    Raises MarkUnknown when nobody can say what was published, and DatabaseError. Until it has returned this process
    claims nothing from a database that it has not compared.
    """
    keeper = marks.keeper()
    server = marks.current_server()
    mark = keeper.read()
    behind = marks.database_is_behind(mark)
    if behind:
        begin_restoring(mark)
    keeper.learn(mark, server=server)
    keeper.forget(marks.forgotten_until())
    return not behind


def begin_restoring(mark: Mark) -> None:
    """Hold the installation, and have every account's gallery read before anything of it goes out."""
    known = Attempt.objects.aggregate(last=Max("id"))["last"] or 0
    params = {
        "attempt_id": mark.greatest,
        "known_attempt_id": known,
        "published_at": mark.published_at.isoformat() if mark.published_at else None,
    }
    # Committed first: whoever knows nothing of the mark is held from now on as well.
    InstallationHold.objects.get_or_create(reason=InstallationHold.Reason.RESTORED, defaults={"params": params})
    logger.critical("database_is_behind", **params)
    finish_restoring(mark)


def finish_restoring(mark: Mark) -> None:
    """In one transaction: the checks are made, ids go on behind the mark, people are told, the hold is lifted."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RESTORING_LOCK])
        if marks.database_is_behind(mark):
            last = Publication.objects.aggregate(last=Max("published_at"))["last"]
            checks = _make_checks(None if last is None else last - MARGIN)
            marks.move_attempts_past(mark.greatest + GAP)
            AuditEvent.objects.create(
                verb=marks.FORGOTTEN,
                subject_type=marks.INSTALLATION_SUBJECT,
                subject_id=marks.INSTALLATION_ID,
                params={"attempt_id": mark.greatest + GAP, "accounts": checks},
            )
            notify(
                "database_restored",
                workspace=None,
                dedupe_key=f"restored:{mark.greatest}:{clock.now():%Y%m%d%H}",
                last_known=last.isoformat(timespec="seconds") if last else "-",
                last_published=mark.published_at.isoformat(timespec="seconds") if mark.published_at else "-",
                accounts=checks,
            )
            logger.warning("gallery_checks_made", accounts=checks)
        InstallationHold.objects.filter(reason=InstallationHold.Reason.RESTORED).delete()


def _make_checks(published_after: datetime | None) -> int:
    """One for every account, in whatever state: whoever connects again must be checked then. Returns how many.

    ``published_after`` None: the database knows of no publish, so everything since the account was connected counts.
    """
    first_try = clock.database_now() + timedelta(seconds=_first_try_seconds())
    pending = GalleryCheck.objects.pending()
    pending.update(
        published_after=Least(
            "published_after", Coalesce(Value(published_after, output_field=DateTimeField()), _connected_at())
        ),
        next_try_at=first_try,
    )
    fresh = DeviantArtAccount.objects.exclude(pk__in=pending.values("account_id")).order_by("pk")
    made = GalleryCheck.objects.bulk_create(
        GalleryCheck(account=account, published_after=published_after or account.connected_at, next_try_at=first_try)
        for account in fresh.iterator()
    )
    return len(made)


def _connected_at() -> Subquery:
    return Subquery(DeviantArtAccount.objects.filter(pk=OuterRef("account_id")).values("connected_at"))


def _first_try_seconds() -> float:
    """By then every call of a process that nobody remembers is over, and the gallery shows what it made."""
    return max(repeat_after_seconds(), GALLERY_DELAY_SECONDS * settings.ISEKAI_TIME_SCALE)


# --- the checks ------------------------------------------------------------------------------------------------------
def check_galleries() -> int:
    """Do the checks that are due, until a tick's time is over; returns how many were begun."""
    _finish_what_was_begun()
    end = time.monotonic() + TICK_SECONDS * settings.ISEKAI_TIME_SCALE
    begun = 0
    while (check := _take_check()) is not None:
        _check(check)
        begun += 1
        if time.monotonic() > end:
            break
    return begun


def _finish_what_was_begun() -> None:
    """A process that died with a hold may leave one that nobody remembers the reason of."""
    hold = InstallationHold.objects.filter(reason=InstallationHold.Reason.RESTORED).first()
    if hold is not None:
        at = hold.params.get("published_at")
        finish_restoring(Mark((hold.params["attempt_id"],), datetime.fromisoformat(at) if at else None))


def _take_check() -> GalleryCheck | None:
    """The next check that is due, taken by moving its next try ahead; accounts that cannot be read wait."""
    with transaction.atomic(durable=True):
        due = GalleryCheck.objects.pending().filter(
            next_try_at__lte=clock.DatabaseNow(),
            account__state=DeviantArtAccount.State.ACTIVE,
            account__base_url=settings.DEVIANTART_BASE_URL,
        )
        check = (
            due.select_for_update(skip_locked=True, of=("self",))
            .select_related("account")
            .order_by("next_try_at", "pk")
            .first()
        )
        if check is not None:
            check.next_try_at = clock.database_now() + _scaled(LEASE_SECONDS)
            check.save(update_fields=["next_try_at"])
    return check


def _check(check: GalleryCheck) -> None:
    account_id = check.account_id
    try:
        reader = PacedReader(
            client_for(check.account, usable_token(account_id)),
            check.account,
            # Everything of the account waits for this.
            Kind.PUBLISH,
            patience_seconds=PATIENCE_SECONDS * settings.ISEKAI_TIME_SCALE,
        )
        sightings = _look(reader, check)
        resting = deposits_since(account_id, check.published_after)
    except LoginLost as error:
        return _later(check, LOGIN_LOST_SECONDS * settings.ISEKAI_TIME_SCALE, error.code)
    except NotYet as wait:
        return _later(check, wait.seconds, wait.reason)
    except (DeviantArtError, AccountError, StorageUnavailable, TooMuch) as error:
        return _later(check, LATER_SECONDS * settings.ISEKAI_TIME_SCALE, getattr(error, "code", "too_much"))
    if not _settle(check, sightings, resting):
        return _later(check, repeat_after_seconds(), "works_in_hand")
    logger.info("gallery_checked", account_id=str(account_id), unknown=len(sightings))
    return None


def _later(check: GalleryCheck, seconds: float, why: str) -> None:
    """The account stays held, and is looked at again in so many seconds."""
    again = clock.database_now() + timedelta(seconds=max(1.0, seconds))
    GalleryCheck.objects.pending().filter(pk=check.pk).update(next_try_at=again)
    logger.info("gallery_check_put_off", account_id=str(check.account_id), reason=why)


# --- looking ---------------------------------------------------------------------------------------------------------
class TooMuch(Exception):
    """The gallery could not be read to its end in one go."""


def _look(reader: PacedReader, check: GalleryCheck) -> list[Sighting]:
    """What appeared after the check's moment, is unknown to us, and may be ours. No transaction is open meanwhile."""
    seen = {each.deviation_id: each for each in _appeared_since(reader, check.published_after)}
    known = Publication.objects.filter(remote_deviation_id__in=seen).values_list("remote_deviation_id", flat=True)
    unknown = [seen[key] for key in seen.keys() - set(known)]
    origins = _origins(reader, [each.deviation_id for each in unknown])
    return [
        Sighting(each, each.published_at, origins[each.deviation_id], _picture_hash(reader, each, check))
        for each in unknown
        if each.published_at and origins[each.deviation_id] is not False
    ]


def _appeared_since(reader: PacedReader, moment: datetime) -> Iterator[types.Deviation]:
    end = time.monotonic() + READING_SECONDS * settings.ISEKAI_TIME_SCALE
    for page in reader.gallery_pages():
        ahead = page.date - clock.database_now() if page.date else timedelta()
        dated = [each for each in page.results if each.published_at]
        yield from (each for each in dated if each.published_at and each.published_at - ahead >= moment)
        if any(each.published_at and each.published_at - ahead < moment for each in dated):
            return  # newest first
        if page.has_more and time.monotonic() > end:
            raise TooMuch


def _origins(reader: PacedReader, ids: list[str]) -> dict[str, bool | None]:
    """Whether each was submitted with our application; None where that is not said, or our name is not known."""
    origins: dict[str, bool | None] = dict.fromkeys(ids)
    name = settings.DEVIANTART_APPLICATION_NAME
    for start in range(0, len(ids) if name else 0, ORIGINS_AT_ONCE):
        for about in reader.deviation_metadata(ids[start : start + ORIGINS_AT_ONCE], ext_submission=True):
            if about.submitted_with:
                origins[about.deviation_id] = about.submitted_with == name
    return origins


def _picture_hash(reader: PacedReader, deviation: types.Deviation, check: GalleryCheck) -> str:
    """Empty where there is no picture that can be compared.

    Raises DeviantArtError for one that may be there the next time, as without it whatever has its title would be asked
    about; not for ever, since the account waits for this.
    """
    picture = picture_of(deviation)
    if picture is None:
        return ""
    try:
        return perceptual_hash(reader.picture(picture.url, PICTURE_MAX_BYTES))
    except (Refused, Rejected):
        return ""
    except DeviantArtError:
        if clock.database_now() - check.created_at > _scaled(PICTURES_PATIENCE_SECONDS):
            return ""
        raise


# --- settling --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Out:
    """A file of a work that has gone out for certain: since when, and where it is shown, or lies."""

    deviation_id: UUID
    file_id: UUID | None
    published_at: datetime
    shown: types.Deviation | None = None
    item_id: int | None = None
    fingerprint: str = ""


def _settle(check: GalleryCheck, sightings: list[Sighting], resting: list[Deposit]) -> bool:
    """Write down what gallery and deposits tell, and let the account go on; False while a work is in some hand."""
    with transaction.atomic(durable=True):
        check = GalleryCheck.objects.select_for_update().get(pk=check.pk)
        if check.done_at is not None:
            return True
        if Deviation.objects.claimed().filter(account_id=check.account_id).exists():
            return False  # of a process that is gone: the rescue puts it back
        findings = match(sightings, _parts_of(check.account) + _live_parts_of(check))
        deposited, unended = _forgotten(check.account, resting)
        doubtful = findings.doubtful | unended
        by_work: dict[UUID, list[Out]] = defaultdict(list)
        for part, sighting in findings.live.items():
            out = Out(part.deviation_id, part.file_id, sighting.published_at, shown=sighting.deviation)
            by_work[part.deviation_id].append(out)
        for out in deposited:
            by_work[out.deviation_id].append(out)
        ids = sorted(by_work.keys() | doubtful)
        works = list(Deviation.objects.filter(pk__in=ids).order_by("pk").select_for_update(of=("self",)))
        if any(work.lease_id is not None for work in works):
            return False  # claimed since, by another account
        now = clock.database_now()
        for deviation in works:
            was_under_way = _is_under_way(deviation, check, now)
            for out in by_work[deviation.pk]:
                _mark_live(deviation, out, account_id=check.account_id)
            if deviation.pk in doubtful:
                _ask(deviation, check)
            elif not open_parts(deviation):
                _finish(deviation, by_work[deviation.pk])
            elif was_under_way:
                _go_on(deviation)
            else:
                _ask(deviation, check)
        GalleryCheck.objects.filter(pk=check.pk).update(done_at=clock.DatabaseNow())
        record(
            "account.gallery_checked",
            check.account,
            unknown=len(sightings),
            recognised=len(findings.live) + len(deposited),
            asked=len(doubtful),
        )
        queue.send("publisher.publish_next", check.account_id)
    return True


def _parts_of(account: DeviantArtAccount) -> list[Part]:
    """Every file that may be what the gallery shows, although the database does not know it to be live.

    Also of works in the trash, and of those of the workspace's other accounts.
    """
    works = Deviation.objects.filter(workspace=account.workspace_id, status__in=MAY_BE_LIVE)
    # One that is claimed by another account is at home there.
    works = works.exclude(~Q(account=account.pk), lease_id__isnull=False)
    rows = list(works.values_list("pk", "account_id", "title", "status", "publish_at", "files__pk"))
    variants = FileVariant.objects.filter(file__deviation__in=works, kind=FileVariant.Kind.PUBLISH)
    hashes = dict(variants.values_list("file_id", "perceptual_hash"))
    publications = {each.file_id: each for each in Publication.objects.filter(deviation__in=works, file__isnull=False)}
    parts = []
    for deviation_id, account_id, title, status, publish_at, file_id in rows:
        publication = publications.get(file_id)
        if publication is not None and publication.is_live:
            continue
        parts.append(
            Part(
                deviation_id,
                file_id,
                _titles(title, publication),
                hashes.get(file_id, ""),
                publish_at if status == Status.SCHEDULED else None,
                is_elsewhere=account_id not in {None, account.pk},
            )
        )
    return parts


def _live_parts_of(check: GalleryCheck) -> list[Part]:
    """What is known to have become live lately, in this gallery, without an address as yet."""
    live = Publication.objects.live().filter(
        account=check.account_id,
        remote_deviation_id__isnull=True,
        published_at__gte=check.published_after,
    )
    # Null is what nobody has touched.
    live = live.exclude(deviation__stash_only=True)
    variants = FileVariant.objects.filter(file__publications__in=live, kind=FileVariant.Kind.PUBLISH)
    hashes = dict(variants.values_list("file_id", "perceptual_hash"))
    return [
        Part(
            each.deviation_id,
            each.file_id,
            _titles(each.deviation.title, each),
            hashes.get(each.file_id, "") if each.file_id else "",
            is_live=True,
        )
        for each in live.select_related("deviation")
    ]


def _titles(title: str, publication: Publication | None) -> frozenset[str]:
    titles = {title}
    if publication is not None:
        titles |= {publication.title or title, publication.sent.get("title") or title}
    return frozenset(normalise_title(each) for each in titles)


def _forgotten(account: DeviantArtAccount, resting: list[Deposit]) -> tuple[list[Out], set[UUID]]:
    """What lies in the stash for good although the database does not know it, and works of which nobody knows it."""
    files = DeviationFile.objects.filter(
        pk__in=[each.file_id for each in resting],
        deviation__workspace=account.workspace_id,
        deviation__status__in=MAY_BE_LIVE,
    )
    known = Publication.objects.filter(file=OuterRef("pk"))
    files = files.exclude(Exists(known.live())).exclude(
        Exists(known.filter(stash_items__state=StashItem.State.IN_HAND))
    )
    rows = {
        pk: (deviation_id, status)
        for pk, deviation_id, status in files.values_list("pk", "deviation_id", "deviation__status")
    }
    lying = [
        Out(rows[each.file_id][0], each.file_id, each.written_at, item_id=each.item_id, fingerprint=each.fingerprint)
        for each in resting
        if each.file_id in rows and each.item_id is not None
    ]
    unended = [rows[each.file_id] for each in resting if each.file_id in rows and each.item_id is None]
    # About those that are undecided somebody is asked already.
    return lying, {deviation_id for deviation_id, status in unended if status != Status.NEEDS_DECISION}


def _mark_live(deviation: Deviation, out: Out, *, account_id: UUID) -> None:
    """The part is out: its address is kept, and what else lies in the stash for it is not needed."""
    file = next(each for each in deviation.files.all() if each.pk == out.file_id)
    publication, _made = Publication.objects.select_for_update().get_or_create(
        deviation=deviation, file=file, defaults={"account_id": account_id, "position": file.position}
    )
    # It may have been moved to this account in the time that is forgotten.
    deviation.account_id = publication.account_id = account_id
    publication.state = Publication.State.PUBLISHED
    publication.published_at = out.published_at
    if out.shown is not None:
        publication.remote_deviation_id = out.shown.deviation_id
        publication.url = out.shown.url or ""
    publication.next_look_at = None
    publication.save()
    publication.stash_items.filter(state=StashItem.State.IN_HAND).update(state=StashItem.State.ABANDONED)
    if out.item_id is None:
        record(
            "deviation.recognised_after_restore",
            deviation,
            remote_deviation_id=publication.remote_deviation_id,
            url=publication.url,
        )
        return
    # Whatever the work says now, this is what was done with it.
    deviation.stash_only = True
    StashItem.objects.update_or_create(
        account_id=account_id,
        item_id=out.item_id,
        defaults={"publication": publication, "fingerprint": out.fingerprint, "state": StashItem.State.IN_HAND},
    )
    record("deviation.in_the_stash", deviation, item_id=str(out.item_id), reason="restored")


def _is_under_way(deviation: Deviation, check: GalleryCheck, now: datetime) -> bool:
    """Whether the rest of a work of which a part is found follows by itself: what the database says fits what is found.

    A draft, a time to come or another account may stand for what is forgotten or for what was said since: nobody knows
    when, and in which gallery, the rest is wanted.
    """
    is_due = deviation.publish_at is not None and deviation.publish_at <= now
    return deviation.status in ON_THEIR_WAY and deviation.account_id == check.account_id and is_due


def _finish(deviation: Deviation, found: list[Out]) -> None:
    """Every part of the work is live."""
    _move(deviation, Status.NEEDS_DECISION, Status.PUBLISHED)
    deviation.published_at = min(out.published_at for out in found)
    deviation.unconfirmed_since = None
    _save(deviation)
    record("deviation.published", deviation, reason="restored")
    logger.info("deviation_recognised_after_restore", deviation_id=str(deviation.pk))


def _go_on(deviation: Deviation) -> None:
    """A part of it is live, and the gallery shows nothing that may be the rest: that follows."""
    _move(deviation, Status.NEEDS_DECISION, Status.PUBLISHING)
    if Publication.objects.unconfirmed().filter(deviation=deviation).exists():
        deviation.reason_code = "unconfirmed"
    else:
        deviation.reason_code, deviation.unconfirmed_since = "", None
    _save(deviation, next_attempt_at=clock.database_now())


def _ask(deviation: Deviation, check: GalleryCheck) -> None:
    """The work may be live or not: its owner decides."""
    _move(deviation, Status.NEEDS_DECISION)
    deviation.reason_code, deviation.reason_params = "restored", {}
    _save(deviation)
    record("deviation.needs_decision", deviation, reason="restored")
    if deviation.trashed_at is not None:
        return  # it is asked about once somebody wants it back
    notify(
        "work_needs_decision",
        workspace=deviation.workspace,
        dedupe_key=f"{deviation.pk}:restored:{check.pk}",
        deviation_id=str(deviation.pk),
        title=deviation.title,
        reason="restored",
    )


def _move(deviation: Deviation, *statuses: Status) -> None:
    """Through the transition table; what has failed was a draft before it can be asked about."""
    if deviation.status == Status.FAILED:
        deviation.move_to(Status.DRAFT)
    for status in statuses:
        if deviation.status != status:
            deviation.move_to(status, reason="" if status == Status.PUBLISHED else "restored")


def _save(deviation: Deviation, *, next_attempt_at: datetime | None = None) -> None:
    deviation.next_attempt_at = next_attempt_at
    deviation.version += 1
    deviation.updated_at = clock.now()
    deviation.save(
        update_fields=[
            "account",
            "stash_only",
            "status",
            "reason_code",
            "reason_params",
            "next_attempt_at",
            "unconfirmed_since",
            "published_at",
            "version",
            "updated_at",
        ]
    )


# --- the operator ----------------------------------------------------------------------------------------------------
def check_again(checks: GalleryCheckQuerySet) -> int:
    """Do these checks at the next tick, and do not wait for their next try; returns how many there are."""
    return checks.pending().update(next_try_at=clock.DatabaseNow())


def lift_checks(checks: GalleryCheckQuerySet, *, user: User | None = None) -> int:
    """Let these accounts go on without their galleries having been compared; returns how many.

    For an operator who knows that nothing was published since: what was goes out a second time. ``user`` is who said
    so, None at the command line.
    """
    lifted = 0
    for check in checks.pending().select_related("account"):
        with transaction.atomic():
            if checks.pending().filter(pk=check.pk).update(done_at=clock.DatabaseNow()):
                record("account.gallery_check_lifted", check.account, user=user)
                queue.send("publisher.publish_next", check.account_id)
                lifted += 1
    return lifted


def _scaled(seconds: float) -> timedelta:
    return timedelta(seconds=seconds * settings.ISEKAI_TIME_SCALE)
