from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import AuditEvent, DeviantArtAccount, User, Workspace
from deviantart.rules import tags_as_shown
from deviations.errors import (
    AlreadyOnItsWay,
    BeingConfirmed,
    DeviationError,
    FieldsRefused,
    InTheTrash,
    NotEditable,
    NotPublishable,
    PartlyLive,
    ReferenceNotFound,
    UploadNotUsable,
    VersionConflict,
)
from deviations.models import Deviation, DeviationFile, FileVariant, Upload
from deviations.services.drafting import add_files, create_draft, edit_deviation, move_files, remove_file
from deviations.services.scheduling import publish_now
from isekai import clock
from isekai.ids import new_id
from publisher.models import Publication
from tests.factories import (
    DeviantArtAccountFactory,
    DeviationFactory,
    DeviationFileFactory,
    PublishVariantFactory,
    UserFactory,
    workspace_of,
)
from tests.unchanged import assert_refused, everything

MakeUpload = Callable[..., Upload]
MakeWork = Callable[..., Deviation]


def files_of(work: Deviation) -> list[str]:
    return [str(file.sha256) for file in work.files.order_by("position")]


# --- making ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wish", [True, False])
def test_a_new_draft_is_ready_for_automations_where_the_workspace_says_so(workspace: Workspace, wish: bool) -> None:
    workspace.drafts_are_ready = wish
    assert (create_draft(workspace, user=None).ready_at is not None) == wish


def test_a_draft_takes_its_files_from_verified_uploads_in_their_order(
    artist: User,
    workspace: Workspace,
    make_upload: MakeUpload,
    sent: list[tuple[str, ...]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    uploads = [make_upload(workspace) for _number in range(3)]
    order = [uploads[2], uploads[0], uploads[1]]
    with django_capture_on_commit_callbacks(execute=True):
        work = create_draft(workspace, user=artist, upload_ids=[upload.pk for upload in order], title="Harbour")
    assert work.status == Deviation.Status.DRAFT
    assert files_of(work) == [upload.sha256 for upload in order]
    assert set(Upload.objects.values_list("state", "deviation_id")) == {("used", work.pk)}
    assert sent == [("media.make_variants", str(file.pk)) for file in work.files.all()]
    (event,) = AuditEvent.objects.filter(subject_id=work.pk)
    assert (event.verb, event.user, event.workspace) == ("deviation.created", artist, workspace)


def test_a_draft_may_have_no_file_and_no_title_yet(artist: User, workspace: Workspace) -> None:
    work = create_draft(workspace, user=artist)
    assert (work.title, work.files.count(), work.account) == ("", 0, None)


def test_a_draft_goes_to_the_only_account_that_there_is(
    artist: User, workspace: Workspace, account: DeviantArtAccount
) -> None:
    assert create_draft(workspace, user=artist).account == account
    assert create_draft(workspace, user=artist, account_id=None).account is None
    DeviantArtAccountFactory(workspace=workspace)
    assert create_draft(workspace, user=artist).account is None


@pytest.mark.parametrize(
    ("types", "kind"),
    [
        (["image/png"], "image"),
        (["video/mp4"], "video"),
        (["video/mp4", "video/webm"], "video"),
        (["video/mp4", "image/gif"], "image"),
        ([], "image"),
    ],
)
def test_a_work_of_videos_alone_is_a_video(
    workspace: Workspace, make_upload: MakeUpload, types: list[str], kind: str
) -> None:
    uploads = [make_upload(workspace, content_type=content_type) for content_type in types]
    work = create_draft(workspace, user=None, upload_ids=[upload.pk for upload in uploads])
    work.refresh_from_db()
    assert work.kind == kind


@pytest.mark.parametrize("state", ["issued", "reading", "rejected", "used"])
def test_an_upload_that_is_not_verified_or_is_used_makes_no_work(
    workspace: Workspace, make_upload: MakeUpload, state: str
) -> None:
    good = make_upload(workspace)
    bad = make_upload(workspace, state=state, reason_code="not_an_image", filename="dunes.png")
    error = assert_refused(
        UploadNotUsable, lambda: create_draft(workspace, user=None, upload_ids=[good.pk, bad.pk], title="Dunes")
    )
    assert "dunes.png" in error.details["upload_ids"][0]
    assert error.status == 409


def test_a_foreign_upload_is_as_unknown_as_one_that_never_was(workspace: Workspace, make_upload: MakeUpload) -> None:
    foreign = make_upload(workspace_of(UserFactory()))
    errors = [
        assert_refused(ReferenceNotFound, create_draft, workspace, user=None, upload_ids=[upload_id])
        for upload_id in (foreign.pk, uuid4())
    ]
    assert [error.details for error in errors] == [errors[0].details] * 2
    assert set(errors[0].details) == {"upload_ids"}


def test_the_same_picture_is_once_in_a_work(workspace: Workspace, make_upload: MakeUpload) -> None:
    first, second = make_upload(workspace, sha256="a" * 64), make_upload(workspace, sha256="a" * 64)
    assert_refused(UploadNotUsable, lambda: create_draft(workspace, user=None, upload_ids=[first.pk, second.pk]))
    assert_refused(FieldsRefused, lambda: create_draft(workspace, user=None, upload_ids=[first.pk, first.pk]))
    work = create_draft(workspace, user=None, upload_ids=[first.pk])
    assert_refused(UploadNotUsable, lambda: add_files(work, user=None, upload_ids=[second.pk]))


def test_a_work_has_at_most_a_hundred_files(workspace: Workspace, make_upload: MakeUpload) -> None:
    uploads = [make_upload(workspace).pk for _number in range(101)]
    assert_refused(FieldsRefused, lambda: create_draft(workspace, user=None, upload_ids=uploads))
    work = create_draft(workspace, user=None, upload_ids=uploads[:100])
    assert_refused(FieldsRefused, lambda: add_files(work, user=None, upload_ids=uploads[100:]))


def test_the_account_of_a_draft_is_one_of_its_own_workspace(workspace: Workspace) -> None:
    gone = DeviantArtAccountFactory(
        workspace=workspace, state="disconnected", access_token="", refresh_token="", encryption_key=None
    )
    for account_id in (DeviantArtAccountFactory().pk, gone.pk, uuid4()):
        error = assert_refused(ReferenceNotFound, create_draft, workspace, user=None, account_id=account_id)
        assert set(error.details) == {"account_id"}


# --- words -----------------------------------------------------------------------------------------------------------
def test_tags_keep_the_letters_of_every_script(workspace: Workspace) -> None:
    work = create_draft(workspace, user=None, tags=[" #café ", "夜空", "deep  sea", "夜空", "#", ""])
    assert work.tags == ["café", "夜空", "deep sea"]
    assert tags_as_shown(work.tags) == ["cafe", "deepsea"]


def test_untouched_and_no_are_two_things(workspace: Workspace) -> None:
    work = create_draft(workspace, user=None, is_mature=False)
    assert (work.is_mature, work.no_ai) == (False, None)
    work = edit_deviation(work, user=None, is_mature=None, no_ai=False)
    work.refresh_from_db()
    assert (work.is_mature, work.no_ai) == (None, False)


def test_an_edit_changes_what_it_names_and_counts_the_version(artist: User, workspace: Workspace) -> None:
    work = create_draft(workspace, user=artist, title="Before", description="Stays")
    edited = edit_deviation(work, user=artist, version=1, title="  After \n all ")
    edited.refresh_from_db()
    assert (edited.title, edited.description, edited.version) == ("After all", "Stays", 2)
    assert edited.updated_at > work.updated_at
    event = AuditEvent.objects.latest("id")
    assert (event.verb, event.user, event.params) == ("deviation.edited", artist, {"fields": ["title"]})


def test_an_edit_that_changes_nothing_leaves_no_trace(workspace: Workspace) -> None:
    work = create_draft(workspace, user=None, title="Same")
    before = everything()
    edit_deviation(work, user=None, version=1, title="Same", tags=None)
    assert everything() == before


def test_an_edit_of_an_old_version_is_refused(workspace: Workspace) -> None:
    work = create_draft(workspace, user=None, title="One")
    edit_deviation(work, user=None, version=1, title="Two")
    error = assert_refused(VersionConflict, lambda: edit_deviation(work, user=None, version=1, title="Three"))
    assert error.status == 412


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "x" * 201},
        {"description": "x" * 60_001},
        {"tags": ["x" * 101]},
        {"tags": [f"tag{number}" for number in range(101)]},
        {"gallery_ids": [new_id() for _number in range(51)]},
        {"mature_level": "extreme"},
        {"mature_classification": ["nudity", "clowns"]},
        {"display_resolution": 9},
        {"upload_mode": "both"},
        {"upload_mode": None},
    ],
)
def test_values_that_no_work_can_have_are_refused_by_field(workspace: Workspace, fields: dict[str, Any]) -> None:
    work = create_draft(workspace, user=None, title="Fine")
    error = assert_refused(FieldsRefused, lambda: edit_deviation(work, user=None, **fields))
    assert set(error.details) == set(fields)


@pytest.mark.parametrize("name", ["status", "workspace_id", "lease_id", "publish_at", "trashed_at", "id", "pk"])
def test_only_what_is_said_of_a_work_can_be_edited(workspace: Workspace, name: str) -> None:
    work = create_draft(workspace, user=None)
    changes: dict[str, Any] = {name: new_id()}
    error = assert_refused(FieldsRefused, lambda: edit_deviation(work, user=None, **changes))
    assert set(error.details) == {name}


def test_a_scheduled_work_keeps_its_time_when_it_is_edited(account: DeviantArtAccount, make_work: MakeWork) -> None:
    work = publish_now(make_work(account), user=None)
    edited = edit_deviation(work, user=None, title="Another")
    assert (edited.status, edited.publish_at) == (Deviation.Status.SCHEDULED, work.publish_at)


def test_an_edit_that_would_make_a_scheduled_work_unpublishable_is_refused_with_all_reasons(
    account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work = publish_now(make_work(account), user=None)
    error = assert_refused(
        NotPublishable, lambda: edit_deviation(work, user=None, title="x" * 51, is_mature=True, account_id=None)
    )
    # Without an account of its own it goes to the only one.
    assert set(error.details) == {"title", "mature_level"}
    assert error.status == 422


def claimed(work: Deviation) -> None:
    Deviation.objects.filter(pk=work.pk).update(status="uploading", worker_id=new_id(), lease_id=new_id())


def unconfirmed(work: Deviation) -> None:
    now = clock.now()
    Deviation.objects.filter(pk=work.pk).update(status="publishing", unconfirmed_since=now, next_attempt_at=now)


def published(work: Deviation) -> None:
    Deviation.objects.filter(pk=work.pk).update(status="published", published_at=clock.now())


def trashed(work: Deviation) -> None:
    Deviation.objects.filter(pk=work.pk).update(status="draft", trashed_at=clock.now())


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (claimed, AlreadyOnItsWay),
        (unconfirmed, BeingConfirmed),
        (published, NotEditable),
        (trashed, InTheTrash),
    ],
)
def test_what_is_on_its_way_or_over_cannot_be_edited(
    account: DeviantArtAccount,
    make_work: MakeWork,
    make_upload: MakeUpload,
    state: Callable[[Deviation], None],
    error: type[DeviationError],
) -> None:
    work = publish_now(make_work(account), user=None)
    file, upload = work.files.get(), make_upload(account.workspace)
    other = DeviantArtAccountFactory(workspace=account.workspace)
    state(work)
    for call in (
        lambda: edit_deviation(work, user=None, title="Too late"),
        lambda: edit_deviation(work, user=None, account_id=other.pk),
        lambda: add_files(work, user=None, upload_ids=[upload.pk]),
        lambda: remove_file(work, user=None, file_id=file.pk),
        lambda: move_files(work, user=None, file_ids=[file.pk]),
    ):
        assert assert_refused(error, call).status == 409


def test_publishing_with_metadata_or_without_makes_the_copies_anew(
    account: DeviantArtAccount,
    make_work: MakeWork,
    sent: list[tuple[str, ...]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    work = make_work(account, files=0)
    variant = PublishVariantFactory(file=DeviationFileFactory(deviation=work))
    with django_capture_on_commit_callbacks(execute=True):
        edit_deviation(work, user=None, keep_metadata=True)
    file = work.files.get()
    assert not file.variants.filter(pk=variant.pk).exists()
    assert file.media_state == DeviationFile.MediaState.PENDING
    assert sent == [("media.make_variants", str(file.pk))]


# --- files -----------------------------------------------------------------------------------------------------------
def test_files_are_added_moved_and_taken_out_again(workspace: Workspace, make_upload: MakeUpload) -> None:
    first, second, third = (make_upload(workspace) for _number in range(3))
    work = create_draft(workspace, user=None, upload_ids=[first.pk])
    work = add_files(work, user=None, upload_ids=[second.pk, third.pk])
    assert files_of(work) == [first.sha256, second.sha256, third.sha256]
    ids = {file.sha256: file.pk for file in work.files.all()}
    work = move_files(
        work, user=None, file_ids=[ids[third.sha256], ids[first.sha256], ids[second.sha256]], version=work.version
    )
    assert files_of(work) == [third.sha256, first.sha256, second.sha256]
    work = remove_file(work, user=None, file_id=ids[first.sha256], version=work.version)
    assert files_of(work) == [third.sha256, second.sha256]
    assert work.version == 4


def test_what_was_taken_out_can_be_put_back(workspace: Workspace, make_upload: MakeUpload) -> None:
    upload = make_upload(workspace)
    work = create_draft(workspace, user=None, upload_ids=[upload.pk])
    work = remove_file(work, user=None, file_id=work.files.get().pk)
    upload.refresh_from_db()
    assert (upload.state, upload.deviation) == (Upload.State.VERIFIED, None)
    work = add_files(work, user=None, upload_ids=[upload.pk])
    assert files_of(work) == [upload.sha256]


def test_a_file_of_another_work_cannot_be_moved_or_taken_out(workspace: Workspace) -> None:
    work = DeviationFactory(workspace=workspace)
    own, foreign = DeviationFileFactory(deviation=work), DeviationFileFactory()
    assert_refused(ReferenceNotFound, lambda: remove_file(work, user=None, file_id=foreign.pk))
    assert_refused(ReferenceNotFound, lambda: move_files(work, user=None, file_ids=[own.pk, foreign.pk]))


def test_an_order_names_each_file_once(workspace: Workspace) -> None:
    work = DeviationFactory(workspace=workspace)
    one, two = (DeviationFileFactory(deviation=work) for _number in range(2))
    for order in ([one.pk], [one.pk, one.pk], [one.pk, two.pk, one.pk], []):
        assert_refused(FieldsRefused, move_files, work, user=None, file_ids=order)


def test_the_last_file_of_a_scheduled_work_stays(account: DeviantArtAccount, make_work: MakeWork) -> None:
    work = publish_now(make_work(account), user=None)
    assert_refused(NotPublishable, lambda: remove_file(work, user=None, file_id=work.files.get().pk))


def test_what_is_live_freezes_files_mode_and_account_but_not_the_words(
    account: DeviantArtAccount, make_work: MakeWork, make_upload: MakeUpload
) -> None:
    work = make_work(
        account,
        files=2,
        upload_mode="multiple",
        status="failed",
        reason_code="partial",
        scheduled_at=clock.now(),
        publish_at=clock.now(),
    )
    live, rest = work.files.all()
    Publication.objects.create(deviation=work, file=live, account=account, state="published", published_at=clock.now())
    other, upload = DeviantArtAccountFactory(workspace=account.workspace), make_upload(account.workspace)
    for call in (
        lambda: edit_deviation(work, user=None, upload_mode="single"),
        lambda: edit_deviation(work, user=None, account_id=other.pk),
        lambda: add_files(work, user=None, upload_ids=[upload.pk]),
        lambda: remove_file(work, user=None, file_id=rest.pk),
        lambda: move_files(work, user=None, file_ids=[rest.pk, live.pk]),
    ):
        assert_refused(PartlyLive, call)
    assert edit_deviation(work, user=None, title="Other words").title == "Other words"


def test_the_copy_of_what_is_live_stays_when_the_others_are_made_anew(
    account: DeviantArtAccount, make_work: MakeWork
) -> None:
    work = make_work(account, files=2, upload_mode="multiple")
    live, rest = work.files.all()
    for file in (live, rest):
        PublishVariantFactory(file=file)
    DeviationFile.objects.update(media_state="ready")
    Publication.objects.create(deviation=work, file=live, account=account, state="published", published_at=clock.now())
    edit_deviation(work, user=None, keep_metadata=True)
    assert list(FileVariant.objects.filter(kind="publish").values_list("file_id", flat=True)) == [live.pk]
    states = DeviationFile.objects.values_list("pk", "media_state")
    assert dict(states) == {live.pk: "ready", rest.pk: "pending"}
