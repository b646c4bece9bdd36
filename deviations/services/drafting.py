"""Making works and changing what they say and hold."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Field
from django.utils.translation import gettext as _

from accounts.models import DeviantArtAccount, User, Workspace
from accounts.services.audit import record
from deviantart.rules import MatureClassification
from deviations import storage
from deviations.errors import (
    FieldsRefused,
    NotEditable,
    PartlyLive,
    ReferenceNotFound,
    StorageUnavailable,
    UploadNotUsable,
)
from deviations.models import Deviation, DeviationFile, FileVariant, Upload
from deviations.services.changing import Change, Event, change, ensure_free, row_locks
from deviations.services.readiness import ensure_publishable, only_account
from isekai import clock, queue

logger = structlog.get_logger(__name__)

# What an artist says about a work. Everything else of it changes through its own service or not at all.
WORDS = frozenset(
    {
        "title",
        "description",
        "tags",
        "gallery_ids",
        "is_mature",
        "mature_level",
        "mature_classification",
        "allow_comments",
        "allow_free_download",
        "is_ai_generated",
        "no_ai",
        "add_watermark",
        "display_resolution",
        "stash_only",
        "upload_mode",
        "keep_metadata",
    }
)
EDITABLE = WORDS | {"account_id"}
DESCRIPTION_MAX_LENGTH = 60_000
# More than DeviantArt takes: a draft may hold what still has to be sorted out.
TAGS_MAX = 100
GALLERIES_MAX = 50
FILES_MAX = settings.UPLOAD_MAX_FILES_PER_WORK


def create_draft(
    workspace: Workspace, *, user: User | None, upload_ids: Sequence[UUID] = (), **fields: Any
) -> Deviation:
    """Make a draft of verified uploads, in their order; each upload becomes a file of it and is used up.

    ``fields`` are those of EDITABLE; without ``account_id`` it goes to the workspace's only account, if there is just
    one. Raises FieldsRefused, ReferenceNotFound (an upload or account of somebody else, or none), UploadNotUsable.
    """
    with row_locks():
        deviation = Deviation(workspace=workspace)
        if workspace.drafts_are_ready:
            deviation.ready_at = clock.now()
        if "account_id" not in fields:
            deviation.account = only_account(workspace)
        apply_words(deviation, fields)
        uploads = _take_uploads(workspace.pk, upload_ids, held=[])
        _set_kind(deviation, [upload.content_type for upload in uploads])
        deviation.save()
        _make_files(deviation, uploads, first_position=0)
        record("deviation.created", deviation, user=user, files=len(uploads))
    logger.info("deviation_created", deviation_id=str(deviation.pk), files=len(uploads))
    return deviation


def edit_deviation(deviation: Deviation, *, user: User | None, version: int | None = None, **changes: Any) -> Deviation:
    """Change what a work says: any of EDITABLE; None makes a field *untouched* again, an explicit False stays.

    A scheduled work stays scheduled, with its time, and must stay publishable. Raises FieldsRefused, ReferenceNotFound
    (the account), NotPublishable, PartlyLive (its account and mode), NotEditable (published), AlreadyOnItsWay,
    BeingConfirmed, DecisionNeeded, InTheTrash, VersionConflict; nothing has changed then.
    """

    def how(row: Deviation) -> list[Event]:
        _ensure_editable(row)
        changed = apply_words(row, changes)
        if not changed:
            return []
        if {"account_id", "upload_mode"} & set(changed) and is_partly_live(row):
            raise PartlyLive
        if row.status == Deviation.Status.SCHEDULED:
            ensure_publishable(row)
        if "keep_metadata" in changed:
            remake_publish_variants([row])
        return [Event("deviation.edited", {"fields": changed})]

    return change(deviation, how, user=user, version=version)


def checked_words(words: dict[str, Any]) -> dict[str, Any]:
    """What a work would keep of ``words``, those of WORDS, tidied as it would. Raises FieldsRefused."""
    row = Deviation()
    apply_words(row, words)
    return {name: getattr(row, name) for name in words}


def add_files(
    deviation: Deviation, *, user: User | None, upload_ids: Sequence[UUID], version: int | None = None
) -> Deviation:
    """Append verified uploads to a work's files. Raises as `create_draft` and `edit_deviation` do."""

    def how(row: Deviation) -> list[Event]:
        files = list(row.files.all())
        uploads = _take_uploads(row.workspace_id, upload_ids, held=[file.sha256 for file in files])
        _make_files(row, uploads, first_position=max((file.position + 1 for file in files), default=0))
        return [Event("deviation.files_added", {"files": len(uploads)})] if uploads else []

    return change(deviation, _to_files(how), user=user, version=version)


def remove_file(deviation: Deviation, *, user: User | None, file_id: UUID, version: int | None = None) -> Deviation:
    """Take a file out of a work. Its upload is verified and unused again, until unused uploads are cleaned up.

    Raises ReferenceNotFound for a file that is not the work's, and as `edit_deviation` does.
    """

    def how(row: Deviation) -> list[Event]:
        file = row.files.filter(pk=file_id).first()
        if file is None:
            raise ReferenceNotFound("file_id", _("This work has no such file."))
        _give_back(file)
        _delete_copies_after_commit(row.workspace_id, file.variants.all())
        file.delete()
        return [Event("deviation.file_removed", {"file": str(file_id), "name": file.original_name})]

    return change(deviation, _to_files(how), user=user, version=version)


def move_files(
    deviation: Deviation, *, user: User | None, file_ids: Sequence[UUID], version: int | None = None
) -> Deviation:
    """Put a work's files into another order; ``file_ids`` has each of them once.

    Raises ReferenceNotFound for a file that is not the work's, FieldsRefused for an incomplete order, and as
    `edit_deviation` does.
    """

    def how(row: Deviation) -> list[Event]:
        files = {file.pk: file for file in row.files.all()}
        if any(file_id not in files for file_id in file_ids):
            raise ReferenceNotFound("file_ids", _("This work has no such file."))
        if sorted(file_ids) != sorted(files):
            raise FieldsRefused({"file_ids": [_("Name each file of this work once.")]})
        moved = []
        for position, file_id in enumerate(file_ids):
            if files[file_id].position != position:
                files[file_id].position = position
                moved.append(files[file_id])
        DeviationFile.objects.bulk_update(moved, ["position"])
        return [Event("deviation.files_moved")] if moved else []

    return change(deviation, _to_files(how), user=user, version=version)


def is_partly_live(deviation: Deviation) -> bool:
    """Whether a part of the work is on DeviantArt already."""
    return deviation.publications.filter(state="published").exists()


def _ensure_editable(row: Deviation) -> None:
    ensure_free(row)
    if row.status == Deviation.Status.PUBLISHED:
        raise NotEditable


def _to_files(how: Change) -> Change:
    """A change of a work's files: allowed while nothing of it is live, and what is scheduled must stay publishable."""

    def guarded(row: Deviation) -> Sequence[Event]:
        _ensure_editable(row)
        if is_partly_live(row):
            raise PartlyLive
        events = how(row)
        if events:
            _set_kind(row, row.files.values_list("content_type", flat=True))
            if row.status == Deviation.Status.SCHEDULED:
                ensure_publishable(row)
        return events

    return guarded


def apply_words(row: Deviation, changes: dict[str, Any]) -> list[str]:
    """Set what is said in memory; the names of what is different now. Raises FieldsRefused, ReferenceNotFound."""
    if unknown := set(changes) - EDITABLE:
        raise FieldsRefused({name: [_("There is no such field to change.")] for name in sorted(unknown)})
    before = {name: getattr(row, name) for name in changes}
    for name, value in changes.items():
        setattr(row, name, _tidied(name, value))
    problems: dict[str, list[str]] = {}
    try:
        row.clean_fields(exclude=[field.name for field in row._meta.fields if not _is_said(field, row, changes)])
    except ValidationError as error:
        problems |= error.message_dict
    for name, most in (("description", DESCRIPTION_MAX_LENGTH), ("tags", TAGS_MAX), ("gallery_ids", GALLERIES_MAX)):
        if len(getattr(row, name) or ()) > most:
            problems.setdefault(name, []).append(_("This has more than %(most)s.") % {"most": most})
    if unknown := set(row.mature_classification or ()) - set(MatureClassification):
        message = _("“%(value)s” is none of: %(known)s.") % {
            "value": sorted(unknown)[0],
            "known": ", ".join(MatureClassification),
        }
        problems.setdefault("mature_classification", []).append(message)
    if problems:
        raise FieldsRefused(problems)
    account_id = changes.get("account_id")
    if account_id is not None and account_id != before["account_id"]:
        row.account = _account_of(row.workspace_id, account_id)
    return [name for name in changes if getattr(row, name) != before[name]]


def _is_said(field: Field, row: Deviation, changes: dict[str, Any]) -> bool:
    """Whether the field has a new value to be checked; *untouched* is no value."""
    return field.name in WORDS & set(changes) and not (field.null and getattr(row, field.name) is None)


def _tidied(name: str, value: Any) -> Any:
    if name in {"mature_level", "display_resolution"} and value == "":
        return None  # what a form sends for "not chosen"
    if name == "title" and isinstance(value, str):
        return " ".join(value.split())
    if name == "tags" and value is not None:
        # The letters stay as they were written, of every script.
        return list(dict.fromkeys(tag for tag in (" ".join(str(one).split()).lstrip("#") for one in value) if tag))
    if name == "mature_classification" and value is not None:
        return list(dict.fromkeys(value))
    return value


def _account_of(workspace_id: UUID, account_id: UUID) -> DeviantArtAccount:
    account = DeviantArtAccount.objects.connected().filter(workspace_id=workspace_id, pk=account_id).first()
    if account is None:
        raise ReferenceNotFound("account_id", _("There is no such connected account."))
    return account


def _take_uploads(workspace_id: UUID, upload_ids: Sequence[UUID], *, held: Iterable[str]) -> list[Upload]:
    """The uploads, locked, in the order of ``upload_ids``; ``held`` are the digests that the work has already."""
    held = list(held)
    if len(held) + len(upload_ids) > FILES_MAX:
        raise FieldsRefused({"upload_ids": [_("A work has at most %(most)s files.") % {"most": FILES_MAX}]})
    if len(set(upload_ids)) != len(upload_ids):
        raise FieldsRefused({"upload_ids": [_("Each upload can be named once.")]})
    rows = Upload.objects.filter(workspace_id=workspace_id, pk__in=upload_ids).order_by("pk").select_for_update()
    found = {upload.pk: upload for upload in rows}
    if len(found) != len(upload_ids):
        raise ReferenceNotFound("upload_ids", _("There is no such upload."))
    uploads = [found[upload_id] for upload_id in upload_ids]
    for upload in uploads:
        if upload.state != Upload.State.VERIFIED:
            message = _WHY_NOT[Upload.State(upload.state)]() % {"name": upload.filename}
            raise UploadNotUsable(message, details={"upload_ids": [message]})
        if upload.sha256 in held:
            message = _("“%(name)s” is in this work already.") % {"name": upload.filename}
            raise UploadNotUsable(message, code="file_is_there_already", details={"upload_ids": [message]})
        held.append(upload.sha256)
    return uploads


_WHY_NOT = {
    Upload.State.ISSUED: lambda: _("“%(name)s” has not arrived yet. Send the file, then complete the upload."),
    Upload.State.READING: lambda: _("“%(name)s” is still being checked. Ask again in a moment."),
    Upload.State.REJECTED: lambda: _("“%(name)s” was rejected. Upload another file."),
    Upload.State.USED: lambda: _("“%(name)s” is a file of another work already. Upload it again."),
}


def _make_files(deviation: Deviation, uploads: Sequence[Upload], *, first_position: int) -> None:
    files = [
        DeviationFile(
            deviation=deviation,
            position=position,
            original_name=upload.filename,
            storage_key=upload.storage_key,
            content_type=upload.content_type,
            size=cast(int, upload.size),  # a verified upload has one: a constraint of its table
            width=upload.width,
            height=upload.height,
            duration_seconds=upload.duration_seconds,
            sha256=upload.sha256,
        )
        for position, upload in enumerate(uploads, start=first_position)
    ]
    DeviationFile.objects.bulk_create(files)
    Upload.objects.filter(pk__in=[upload.pk for upload in uploads]).update(state=Upload.State.USED, deviation=deviation)
    for file in files:
        queue.send("media.make_variants", file.pk)


def _give_back(file: DeviationFile) -> None:
    """Let the upload of a file that is taken out be used again."""
    upload = Upload.objects.select_for_update().filter(storage_key=file.storage_key, state=Upload.State.USED).first()
    if upload is not None:
        upload.move_to(Upload.State.VERIFIED)
        upload.deviation = None
        upload.save(update_fields=["state", "reason_code", "reason_params", "deviation"])


def remake_publish_variants(rows: Sequence[Deviation]) -> None:
    """Have the copies for DeviantArt made anew; the old ones, which the artist no longer wants, go at once.

    The copy of what is live stays: it is what DeviantArt has, and what it is recognised by.
    """
    if not rows:
        return
    files = DeviationFile.objects.filter(deviation__in=rows).exclude(publications__state="published")
    old = FileVariant.objects.filter(file__in=files, kind=FileVariant.Kind.PUBLISH)
    workspaces = {row.pk: row.workspace_id for row in rows}
    of_each: dict[UUID, list[FileVariant]] = defaultdict(list)
    for variant in old.select_related("file"):
        of_each[workspaces[variant.file.deviation_id]].append(variant)
    for workspace_id, variants in of_each.items():
        _delete_copies_after_commit(workspace_id, variants)
    old.delete()
    files.update(
        media_state=DeviationFile.MediaState.PENDING,
        media_reason_code="",
        media_attempts=0,
        media_started_at=None,  # whoever is at it works for the old wish
    )
    for file_id in files.values_list("pk", flat=True):
        queue.send("media.make_variants", file_id)


def _delete_copies_after_commit(workspace_id: UUID, variants: Iterable[FileVariant]) -> None:
    """Delete from storage what was made of files, once the transaction is committed; never an original."""
    keys = [variant.storage_key for variant in variants if storage.is_variant_key(variant.storage_key)]

    def delete() -> None:
        for key in keys:
            try:
                storage.delete(key, workspace_id=workspace_id)
            except StorageUnavailable:
                logger.warning("variant_not_deleted", workspace_id=str(workspace_id))

    transaction.on_commit(delete)


def _set_kind(row: Deviation, content_types: Iterable[str]) -> None:
    """A work whose files are all videos is a video."""
    kinds = {content_type.split("/")[0] for content_type in content_types}
    row.kind = Deviation.Kind.VIDEO if kinds == {"video"} else Deviation.Kind.IMAGE
