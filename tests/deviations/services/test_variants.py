"""The copies of an original in storage, and the chain of digests that leads to them."""

import hashlib
import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from PIL import Image
from PIL.ExifTags import Base

from accounts.models import DeviantArtAccount, User
from deviations import storage
from deviations.errors import ForeignStorageKey, StoredFileMissing
from deviations.media import child
from deviations.media.perceptual import distance, perceptual_hash
from deviations.models import Deviation, DeviationFile, FileVariant
from deviations.services.drafting import create_draft, edit_deviation, remove_file
from deviations.services.sweeping import sweep_media
from deviations.services.variants import make_variants
from isekai import clock
from isekai.ids import new_id
from tests import pictures
from tests.uploads import content_of, original_in_storage, stored_file, verified_upload

MediaState = DeviationFile.MediaState
WORKFLOW = {"workflow": '{"nodes": ["a secret"]}'}


@pytest.fixture
def work(artist: User, account: DeviantArtAccount) -> Deviation:
    return create_draft(account.workspace, user=artist, upload_ids=[], title="Harbour")


@pytest.fixture
def pending(work: Deviation) -> DeviationFile:
    """A file whose variants are still to be made."""
    data = pictures.png(1, texts=WORKFLOW)
    return DeviationFile.objects.create(
        deviation=work,
        position=0,
        original_name="picture.png",
        storage_key=original_in_storage(work.workspace, data),
        content_type="image/png",
        size=len(data),
        width=320,
        height=240,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def variants(file: DeviationFile) -> dict[str, FileVariant]:
    return {variant.kind: variant for variant in file.variants.all()}


def note_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all that is stored from now on."""
    keys: list[str] = []
    really = storage.put

    def noted(key: str, *arguments: Any, **options: Any) -> None:
        keys.append(key)
        really(key, *arguments, **options)

    monkeypatch.setattr(storage, "put", noted)
    return keys


def is_stored(key: str) -> bool:
    try:
        storage.head(key)
    except StoredFileMissing:
        return False
    return True


def test_a_file_with_a_prompt_gets_a_clean_copy_and_smaller_pictures(work):
    data = pictures.png(1, size=(2000, 1500), texts=WORKFLOW)
    file = stored_file(work, data)
    made = variants(file)
    assert file.media_state == MediaState.READY
    assert set(made) == {"publish", "thumbnail", "preview"}

    publish = content_of(made["publish"].storage_key)
    assert b"secret" in data
    assert b"secret" not in publish
    assert Image.open(io.BytesIO(publish)).tobytes() == Image.open(io.BytesIO(data)).tobytes()
    assert made["publish"].sha256 == hashlib.sha256(publish).hexdigest() != file.sha256
    assert made["publish"].size == len(publish)
    assert (made["publish"].width, made["publish"].height) == (2000, 1500)
    assert distance(made["publish"].perceptual_hash, perceptual_hash(data)) <= 3

    for kind, size in (("thumbnail", (640, 480)), ("preview", (1600, 1200))):
        smaller = content_of(made[kind].storage_key)
        assert Image.open(io.BytesIO(smaller)).size == size == (made[kind].width, made[kind].height)
        assert made[kind].content_type == storage.head(made[kind].storage_key).content_type == "image/webp"
        assert made[kind].sha256 == hashlib.sha256(smaller).hexdigest()


def test_what_the_camera_wrote_is_kept_although_the_copy_has_it_no_more(work):
    exif = Image.Exif()
    exif[Base.Model] = "X-T5"
    file = stored_file(work, pictures.jpeg(1, exif=exif), filename="x.jpg", content_type="image/jpeg")
    publish = content_of(variants(file)["publish"].storage_key)
    file.refresh_from_db()
    assert file.exif == {"camera": "X-T5"}
    assert b"X-T5" not in publish


def test_the_original_is_never_touched(work):
    data = pictures.png(1, texts=WORKFLOW)
    file = stored_file(work, data)
    assert content_of(file.storage_key) == data


@pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS)
def test_a_clean_file_is_published_byte_for_byte_and_not_copied(work, content_type, extension, make):
    file = stored_file(work, make(2), filename=f"x.{extension}", content_type=content_type)
    publish = variants(file)["publish"]
    assert (publish.storage_key, publish.sha256, publish.size) == (file.storage_key, file.sha256, file.size)
    assert publish.content_type == content_type
    is_video = content_type.startswith("video/")
    assert set(variants(file)) == ({"publish"} if is_video else {"publish", "thumbnail", "preview"})
    assert bool(publish.perceptual_hash) != is_video


def test_an_artist_may_publish_the_metadata(work):
    work.keep_metadata = True
    work.save()
    file = stored_file(work, pictures.png(1, texts=WORKFLOW))
    assert variants(file)["publish"].storage_key == file.storage_key


def test_another_wish_makes_another_copy_and_keeps_the_smaller_pictures(
    work, artist, sent, django_capture_on_commit_callbacks
):
    file = stored_file(work, pictures.png(1, texts=WORKFLOW))
    before = variants(file)
    with django_capture_on_commit_callbacks(execute=True):
        edit_deviation(work, user=artist, version=None, keep_metadata=True)
    file.refresh_from_db()
    assert file.media_state == MediaState.PENDING
    assert ("media.make_variants", str(file.pk)) in sent
    make_variants(file.pk)
    file.refresh_from_db()
    after = variants(file)
    assert file.media_state == MediaState.READY
    assert after["publish"].storage_key == file.storage_key
    assert (after["thumbnail"], after["preview"]) == (before["thumbnail"], before["preview"])


def test_a_wish_that_changes_meanwhile_is_the_one_that_counts(
    pending, sent, monkeypatch, django_capture_on_commit_callbacks
):
    really = child.run

    def and_then(*arguments: Any) -> Any:
        answer = really(*arguments)
        Deviation.objects.update(keep_metadata=True)
        return answer

    stored = note_what_is_stored(monkeypatch)
    monkeypatch.setattr(child, "run", and_then)
    with django_capture_on_commit_callbacks(execute=True):
        make_variants(pending.pk)
    pending.refresh_from_db()
    assert (pending.media_state, pending.media_started_at, variants(pending)) == (MediaState.PENDING, None, {})
    assert sent == [("media.make_variants", str(pending.pk))]
    assert len(stored) == 3
    assert not [key for key in stored if is_stored(key)]

    monkeypatch.undo()
    make_variants(pending.pk)
    assert variants(pending)["publish"].storage_key == pending.storage_key


def test_a_stored_file_that_was_changed_is_never_prepared(pending):
    data = bytearray(content_of(pending.storage_key))
    data[-30] ^= 1
    workspace_id = pending.deviation.workspace_id
    storage.put(pending.storage_key, bytes(data), content_type="image/png", workspace_id=workspace_id)
    make_variants(pending.pk)
    pending.refresh_from_db()
    assert (pending.media_state, pending.media_reason_code) == (MediaState.FAILED, "original_changed")
    assert not variants(pending)


def test_a_stored_file_that_vanished_is_said_to_be_missing(pending):
    storage.delete(pending.storage_key, workspace_id=pending.deviation.workspace_id)
    make_variants(pending.pk)
    pending.refresh_from_db()
    assert (pending.media_state, pending.media_reason_code) == (MediaState.FAILED, "original_missing")


def test_storage_that_is_away_puts_it_off_and_does_not_count(pending, settings):
    endpoint = settings.S3_ENDPOINT
    settings.S3_ENDPOINT = "http://127.0.0.1:9"
    storage._forget_clients()
    try:
        make_variants(pending.pk)
    finally:
        settings.S3_ENDPOINT = endpoint
        storage._forget_clients()
    pending.refresh_from_db()
    assert (pending.media_state, pending.media_attempts, pending.media_started_at) == (MediaState.PENDING, 0, None)
    make_variants(pending.pk)
    pending.refresh_from_db()
    assert pending.media_state == MediaState.READY


def test_a_file_over_which_children_die_is_given_up(pending, monkeypatch):
    deaths = []

    def die(*arguments: Any) -> Any:
        deaths.append(arguments)
        raise child.ChildDied("exit code -9")

    monkeypatch.setattr(child, "run", die)
    for _ in range(5):
        make_variants(pending.pk)
    pending.refresh_from_db()
    assert (pending.media_state, pending.media_reason_code) == (MediaState.FAILED, "unreadable")
    assert len(deaths) == 3


@pytest.mark.parametrize("leave", [Path.symlink_to, None])
def test_what_a_child_leaves_is_only_taken_if_it_is_a_file_of_its_own(pending, tmp_path, monkeypatch, leave):
    secret = tmp_path / "secret"
    secret.write_text("of ours")

    def deceive(_program: str, request: dict[str, Any]) -> dict[str, Any]:
        if leave is not None:
            leave(Path(request["folder"]) / "published", secret)
        return {"published": True, "pictures": {}, "perceptual_hash": ""}

    monkeypatch.setattr(child, "run", deceive)
    make_variants(pending.pk)
    pending.refresh_from_db()
    assert (pending.media_state, pending.media_attempts) == (MediaState.PENDING, 1)
    assert not variants(pending)


def test_while_one_makes_them_nobody_else_does(pending, monkeypatch):
    really, inner = child.run, []

    def and_again(*arguments: Any) -> Any:
        make_variants(pending.pk)
        inner.append(DeviationFile.objects.get().media_attempts)
        return really(*arguments)

    monkeypatch.setattr(child, "run", and_again)
    make_variants(pending.pk)
    assert inner == [1]


def test_one_that_wakes_too_late_replaces_nothing(pending, monkeypatch, settings):
    really = child.run
    settings.MEDIA_LEASE_SECONDS = 0

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(child, "run", really)
        make_variants(pending.pk)  # another worker, after the lease has run out
        return really(*arguments)

    monkeypatch.setattr(child, "run", late)
    make_variants(pending.pk)
    pending.refresh_from_db()
    made = variants(pending)
    assert pending.media_state == MediaState.READY
    assert all(is_stored(variant.storage_key) for variant in made.values())


def test_a_wake_up_for_what_is_ready_or_gone_does_nothing(work, monkeypatch):
    file = stored_file(work)
    before = variants(file)
    monkeypatch.setattr(child, "run", lambda *_arguments: pytest.fail("a child was started"))
    make_variants(file.pk)
    make_variants(new_id())
    assert variants(file) == before


def test_a_work_that_is_taken_away_meanwhile_leaves_nothing_behind(pending, monkeypatch):
    really = child.run

    def and_then(*arguments: Any) -> Any:
        answer = really(*arguments)
        DeviationFile.objects.all().delete()
        return answer

    stored = note_what_is_stored(monkeypatch)
    monkeypatch.setattr(child, "run", and_then)
    make_variants(pending.pk)
    assert len(stored) == 3
    assert not [key for key in stored if is_stored(key)]
    assert is_stored(pending.storage_key)


def test_pages_see_that_a_work_has_its_pictures(pending):
    before = Deviation.objects.get().updated_at
    make_variants(pending.pk)
    assert Deviation.objects.get().updated_at > before


def test_a_row_that_points_at_another_workspace_reads_nothing(pending):
    stranger = new_id()
    forged = storage.original_key(stranger, new_id())
    storage.put(forged, pictures.png(3), content_type="image/png", workspace_id=stranger)
    DeviationFile.objects.update(storage_key=forged)
    with pytest.raises(ForeignStorageKey):
        make_variants(pending.pk)
    assert not variants(pending)


def test_a_file_that_is_taken_out_of_a_work_loses_its_copies_and_never_its_original(
    work, artist, django_capture_on_commit_callbacks
):
    file = stored_file(work, pictures.png(1, texts=WORKFLOW))
    keys = [variant.storage_key for variant in file.variants.all()]
    with django_capture_on_commit_callbacks(execute=True):
        remove_file(work, user=artist, file_id=file.pk)
    assert not [key for key in keys if is_stored(key)]
    assert is_stored(file.storage_key)


def test_the_tick_finds_files_that_nobody_prepares(
    pending, sent, settings, django_capture_on_commit_callbacks: Callable[..., Any]
):
    settings.MEDIA_SWEEP_SECONDS = 60
    for later, expected in ((0, 0), (61, 1)):
        with (
            time_machine.travel(clock.now() + timedelta(seconds=later)),
            django_capture_on_commit_callbacks(execute=True),
        ):
            sweep_media()
        assert len(sent) == expected
    assert sent == [("media.make_variants", str(pending.pk))]


def test_a_draft_of_a_verified_upload_becomes_ready(
    account, artist, sent, django_capture_on_commit_callbacks: Callable[..., Any]
):
    upload = verified_upload(account.workspace, pictures.jpeg(3), filename="x.jpg", content_type="image/jpeg")
    with django_capture_on_commit_callbacks(execute=True):
        work = create_draft(account.workspace, user=artist, upload_ids=[upload.pk])
    file = work.files.get()
    assert sent == [("media.make_variants", str(file.pk))]
    make_variants(file.pk)
    file.refresh_from_db()
    assert file.media_state == MediaState.READY
