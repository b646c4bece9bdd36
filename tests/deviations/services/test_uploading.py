"""From a ticket to a verified file, through the real storage and the real child."""

import hashlib
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import override_settings

from accounts.models import User, Workspace
from deviations import storage
from deviations.errors import (
    ForeignStorageKey,
    InvalidTransition,
    NotArrived,
    StoredFileMissing,
    TicketExpired,
    UploadNotUsable,
    UploadRefused,
)
from deviations.media import child
from deviations.media.errors import Refused
from deviations.models import Upload
from deviations.services import uploading
from deviations.services.sweeping import sweep_media
from deviations.services.uploading import complete_upload, issue_ticket, read_upload, wait_until_read
from isekai import clock
from isekai.ids import new_id
from tests import pictures
from tests.deviations.media import bombs
from tests.factories import UserFactory, workspace_of
from tests.uploads import read, send, sent_upload, verified_upload

Sent = list[tuple[str, ...]]


def is_stored(upload: Upload) -> bool:
    try:
        storage.head(upload.storage_key)
    except StoredFileMissing:
        return False
    return True


class TestTickets:
    def announce(self, workspace: Workspace, **changes: Any) -> uploading.Ticket:
        fields = {"filename": "picture.png", "content_type": "image/png", "size": 1000, **changes}
        return issue_ticket(workspace, user=None, **fields)

    def test_a_ticket_is_a_row_and_a_form_for_one_place(self, workspace, artist):
        ticket = issue_ticket(workspace, user=artist, filename="A b.PNG", content_type="image/png", size=1000)
        upload = Upload.objects.get()
        assert ticket.upload == upload
        assert (upload.state, upload.workspace, upload.created_by) == (Upload.State.ISSUED, workspace, artist)
        assert (upload.filename, upload.declared_content_type, upload.declared_size) == ("A b.PNG", "image/png", 1000)
        assert timedelta(minutes=14) < upload.expires_at - clock.now() <= timedelta(minutes=15)
        assert ticket.fields["key"] == upload.storage_key == f"originals/{workspace.pk}/{upload.pk}"
        assert ticket.fields["Content-Type"] == "image/png"

    def test_a_key_holds_nothing_of_the_name(self, workspace):
        ticket = self.announce(workspace, filename="../../secret name.png")
        assert ticket.upload.filename == "secret name.png"
        assert "secret" not in ticket.upload.storage_key

    @pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS)
    def test_every_accepted_kind_gets_one(self, workspace, content_type, extension, make):
        ticket = self.announce(workspace, filename=f"x.{extension}", content_type=content_type)
        assert ticket.fields["Content-Type"] == content_type

    def test_another_name_of_a_type_means_the_same(self, workspace):
        ticket = self.announce(workspace, filename="x.JPG", content_type="image/jpg")
        assert ticket.upload.declared_content_type == ticket.fields["Content-Type"] == "image/jpeg"

    @pytest.mark.parametrize(
        ("changes", "fields", "code"),
        [
            ({"content_type": "image/svg+xml", "filename": "x.svg"}, {"content_type", "filename"}, "type_not_accepted"),
            ({"content_type": "text/html"}, {"content_type"}, "type_not_accepted"),
            ({"filename": "picture.jpg"}, {"filename"}, "type_not_accepted"),
            ({"filename": "picture"}, {"filename"}, "type_not_accepted"),
            ({"filename": "\u202e"}, {"filename"}, "type_not_accepted"),
            ({"size": 0}, {"size"}, "empty"),
            ({"size": 51 * 1024 * 1024}, {"size"}, "too_large"),
            ({"size": 51 * 1024 * 1024, "filename": "a.exe", "content_type": "a/b"}, None, "too_large"),
        ],
    )
    def test_what_we_do_not_accept_gets_none_and_hears_every_reason(self, workspace, changes, fields, code):
        with pytest.raises(UploadRefused) as refused:
            self.announce(workspace, **changes)
        assert set(refused.value.details) == (fields or {"filename", "content_type", "size"})
        assert refused.value.code == code
        assert str(refused.value)
        assert not Upload.objects.exists()

    def test_fifty_megabytes_are_just_right(self, workspace):
        assert self.announce(workspace, size=50 * 1024 * 1024).upload.declared_size == 52_428_800


class TestReading:
    @pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS)
    def test_what_was_sent_is_verified_with_what_we_read_ourselves(self, workspace, content_type, extension, make):
        data = make(11)
        upload = verified_upload(workspace, data, filename=f"x.{extension}", content_type=content_type)
        assert upload.state == Upload.State.VERIFIED
        assert upload.content_type == content_type
        assert upload.sha256 == hashlib.sha256(data).hexdigest()
        assert upload.size == len(data)
        assert (upload.width, upload.height) == ((160, 120) if extension == "gif" else (320, 240))
        assert upload.duration_seconds == (2.0 if content_type.startswith("video/") else None)
        assert upload.read_started_at is None
        assert is_stored(upload)

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"This is only a text that somebody named .png.\n", "unknown_type"),
            (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "unknown_type"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n", "unknown_type"),
            (pictures.jpeg(1), "type_differs"),
            (pictures.png(1)[:-500], "damaged"),
            (bombs.png_of_many_pixels(), "too_many_pixels"),
        ],
        ids=["text", "svg", "eps", "jpeg", "truncated", "bomb"],
    )
    def test_what_is_no_such_picture_is_rejected_and_not_kept(self, workspace, data, code):
        upload = read(sent_upload(workspace, data))
        assert (upload.state, upload.reason_code) == (Upload.State.REJECTED, code)
        assert not upload.sha256
        assert not is_stored(upload)

    def test_a_truncated_jpeg_is_rejected(self, workspace):
        data = pictures.jpeg(1)[:-400]
        upload = read(sent_upload(workspace, data, filename="x.jpg", content_type="image/jpeg"))
        assert (upload.state, upload.reason_code) == (Upload.State.REJECTED, "damaged")

    @pytest.mark.parametrize("difference", [-1, 1])
    def test_another_size_than_announced_is_rejected(self, workspace, difference):
        data = pictures.png(1)
        upload = read(sent_upload(workspace, data, size=len(data) + difference))
        assert (upload.state, upload.reason_code) == (Upload.State.REJECTED, "size_differs")
        assert upload.reason_params == {"announced": len(data) + difference, "found": len(data)}

    def test_more_than_the_limit_is_never_fetched_to_its_end(self, workspace):
        upload = sent_upload(workspace, pictures.png(1))
        with override_settings(UPLOAD_MAX_BYTES=1000):
            upload = read(upload)
        assert (upload.state, upload.reason_code) == (Upload.State.REJECTED, "too_large")

    def test_storage_takes_no_more_than_the_limit(self, workspace, settings):
        settings.UPLOAD_MAX_BYTES = 1000
        ticket = issue_ticket(workspace, user=None, filename="x.png", content_type="image/png", size=1000)
        assert send(ticket, b"x" * 1001).status_code == 400
        assert send(ticket, b"x", key=f"originals/{workspace.pk}/{new_id()}").status_code == 403
        assert not is_stored(ticket.upload)

    def test_a_file_that_vanished_is_rejected(self, workspace):
        upload = complete_upload(sent_upload(workspace, pictures.png(1)))
        storage.delete(upload.storage_key, workspace_id=workspace.pk)
        read_upload(upload.pk)
        upload.refresh_from_db()
        assert (upload.state, upload.reason_code) == (Upload.State.REJECTED, "original_missing")

    def test_a_row_that_points_at_another_workspace_reads_and_deletes_nothing(self, workspace):
        other = verified_upload(workspace, seed=1)
        upload = complete_upload(sent_upload(workspace, pictures.png(2)))
        stranger = new_id()
        forged = storage.original_key(stranger, new_id())
        storage.put(forged, pictures.png(3), content_type="image/png", workspace_id=stranger)
        Upload.objects.filter(pk=upload.pk).update(storage_key=forged)
        with pytest.raises(ForeignStorageKey):
            read_upload(upload.pk)
        assert storage.head(forged).size == len(pictures.png(3))
        assert is_stored(other)


class TestComplete:
    def test_it_wakes_a_reader_once_it_is_committed(self, workspace, sent, django_capture_on_commit_callbacks):
        upload = sent_upload(workspace, pictures.png(1))
        with django_capture_on_commit_callbacks(execute=True):
            completed = complete_upload(upload)
        assert completed.state == Upload.State.READING
        assert sent == [("media.read_upload", str(upload.pk))]

    def test_a_second_time_changes_nothing(self, workspace, sent, django_capture_on_commit_callbacks):
        upload = sent_upload(workspace, pictures.png(1))
        with django_capture_on_commit_callbacks(execute=True):
            complete_upload(upload)
            complete_upload(upload)
            read_upload(upload.pk)
            verified = complete_upload(upload)
        assert verified.state == Upload.State.VERIFIED
        assert len(sent) == 1

    def test_a_file_that_has_not_arrived_is_asked_for_again(self, workspace):
        ticket = issue_ticket(workspace, user=None, filename="x.png", content_type="image/png", size=1000)
        with pytest.raises(NotArrived):
            complete_upload(ticket.upload)
        assert Upload.objects.get().state == Upload.State.ISSUED

    def test_after_its_time_a_ticket_is_over(self, workspace):
        upload = sent_upload(workspace, pictures.png(1))
        with time_machine.travel(upload.expires_at), pytest.raises(TicketExpired):
            complete_upload(upload)
        assert Upload.objects.get().state == Upload.State.ISSUED

    def test_one_that_is_used_is_not_completed_again(self, workspace):
        upload = verified_upload(workspace)
        Upload.objects.update(state=Upload.State.USED)
        with pytest.raises(UploadNotUsable):
            complete_upload(upload)

    def test_a_rejected_one_stays_rejected(self, workspace):
        upload = read(sent_upload(workspace, b"a text"))
        assert complete_upload(upload).state == Upload.State.REJECTED
        with pytest.raises(InvalidTransition):
            upload.move_to(Upload.State.VERIFIED)

    def test_waiting_ends_when_it_is_read(self, workspace, monkeypatch):
        upload = complete_upload(sent_upload(workspace, pictures.png(1)))
        monkeypatch.setattr(f"{uploading.__name__}.time.sleep", lambda _seconds: read_upload(upload.pk))
        assert wait_until_read(upload, seconds=60).state == Upload.State.VERIFIED

    def test_waiting_ends_when_it_takes_too_long(self, workspace):
        upload = complete_upload(sent_upload(workspace, pictures.png(1)))
        assert wait_until_read(upload, seconds=0.1).state == Upload.State.READING


class TestReadersThatDie:
    @pytest.fixture
    def reading(self, workspace) -> Upload:
        return complete_upload(sent_upload(workspace, pictures.png(1)))

    @pytest.fixture
    def deadly(self, monkeypatch) -> Callable[..., Any]:
        """Every child dies; counts how many have."""
        deaths = []

        def die(*arguments: Any) -> Any:
            deaths.append(arguments)
            raise child.ChildDied("exit code -9")

        monkeypatch.setattr(child, "run", die)
        return lambda: len(deaths)

    def test_after_a_few_of_them_the_file_is_given_up(self, reading, deadly):
        for _ in range(5):
            read_upload(reading.pk)
        reading.refresh_from_db()
        assert (reading.state, reading.reason_code) == (Upload.State.REJECTED, "unreadable")
        assert deadly() == 3

    def test_one_of_them_is_forgiven(self, reading, deadly, monkeypatch):
        read_upload(reading.pk)
        reading.refresh_from_db()
        assert (reading.state, reading.read_attempts, reading.read_started_at) == (Upload.State.READING, 1, None)
        monkeypatch.undo()
        read_upload(reading.pk)
        reading.refresh_from_db()
        assert reading.state == Upload.State.VERIFIED

    def test_a_worker_that_is_killed_with_its_child_has_been_counted(self, reading, monkeypatch, settings):
        def killed(*_arguments: Any) -> Any:
            raise SystemExit

        monkeypatch.setattr(child, "run", killed)
        settings.MEDIA_LEASE_SECONDS = 0
        for count in range(1, 4):
            with pytest.raises(SystemExit):
                read_upload(reading.pk)
            reading.refresh_from_db()
            assert (reading.state, reading.read_attempts) == (Upload.State.READING, count)
        read_upload(reading.pk)
        reading.refresh_from_db()
        assert (reading.state, reading.reason_code) == (Upload.State.REJECTED, "unreadable")

    def test_storage_that_is_away_does_not_count(self, reading, settings):
        endpoint = settings.S3_ENDPOINT
        settings.S3_ENDPOINT = "http://127.0.0.1:9"
        storage._forget_clients()
        try:
            read_upload(reading.pk)
        finally:
            settings.S3_ENDPOINT = endpoint
            storage._forget_clients()
        reading.refresh_from_db()
        assert (reading.state, reading.read_attempts, reading.read_started_at) == (Upload.State.READING, 0, None)
        read_upload(reading.pk)
        reading.refresh_from_db()
        assert reading.state == Upload.State.VERIFIED

    def test_while_one_reads_nobody_else_does(self, reading, monkeypatch):
        really, inner = child.run, []

        def and_again(*arguments: Any) -> Any:
            read_upload(reading.pk)
            inner.append(Upload.objects.get().read_attempts)
            return really(*arguments)

        monkeypatch.setattr(child, "run", and_again)
        read_upload(reading.pk)
        assert inner == [1]

    def test_one_that_wakes_too_late_changes_nothing(self, reading, monkeypatch, settings):
        really = child.run
        settings.MEDIA_LEASE_SECONDS = 0

        def late(*arguments: Any) -> Any:
            monkeypatch.setattr(child, "run", really)
            read_upload(reading.pk)  # another worker, after the lease has run out
            raise Refused("damaged")

        monkeypatch.setattr(child, "run", late)
        read_upload(reading.pk)
        reading.refresh_from_db()
        assert reading.state == Upload.State.VERIFIED
        assert is_stored(reading)

    def test_one_that_wakes_too_late_does_not_speak_for_the_one_that_reads_now(self, reading, monkeypatch):
        def late(*_arguments: Any) -> Any:
            Upload.objects.update(read_started_at=clock.now())  # another worker's lease
            raise Refused("damaged")

        monkeypatch.setattr(child, "run", late)
        read_upload(reading.pk)
        reading.refresh_from_db()
        assert reading.state == Upload.State.READING
        assert is_stored(reading)

    @pytest.mark.parametrize("state", [Upload.State.ISSUED, Upload.State.VERIFIED, Upload.State.REJECTED])
    def test_a_wake_up_for_what_is_not_to_be_read_does_nothing(self, reading, state, deadly):
        fields = {"reason_code": "damaged", "size": 1, "sha256": "0" * 64, "content_type": "image/png"}
        Upload.objects.update(state=state, **fields)
        read_upload(reading.pk)
        read_upload(new_id())
        assert Upload.objects.get().state == state
        assert deadly() == 0


class TestTheTick:
    def test_it_finds_what_a_lost_wake_up_has_left(self, workspace, sent, settings, django_capture_on_commit_callbacks):
        settings.MEDIA_SWEEP_SECONDS = 60
        upload = complete_upload(sent_upload(workspace, pictures.png(1)))
        with django_capture_on_commit_callbacks(execute=True):
            sweep_media()
        assert sent == []  # its wake-up may still be on its way
        with time_machine.travel(clock.now() + timedelta(seconds=61)), django_capture_on_commit_callbacks(execute=True):
            sweep_media()
        assert sent == [("media.read_upload", str(upload.pk))]

    def test_it_leaves_alone_what_is_being_read_until_the_reader_must_be_dead(
        self, workspace, sent, settings, django_capture_on_commit_callbacks
    ):
        upload = complete_upload(sent_upload(workspace, pictures.png(1)))
        now = clock.now()
        Upload.objects.update(read_started_at=now, completed_at=now - timedelta(hours=1))
        for later, expected in ((settings.MEDIA_LEASE_SECONDS - 1, 0), (settings.MEDIA_LEASE_SECONDS + 1, 1)):
            moment = now + timedelta(seconds=later)
            with time_machine.travel(moment, tick=False), django_capture_on_commit_callbacks(execute=True):
                sweep_media()
            assert sent == [("media.read_upload", str(upload.pk))] * expected

    def test_it_finds_nothing_in_what_is_done(self, workspace, sent, django_capture_on_commit_callbacks):
        verified_upload(workspace)
        read(sent_upload(workspace, b"a text"))
        with time_machine.travel(clock.now() + timedelta(hours=1)), django_capture_on_commit_callbacks(execute=True):
            sweep_media()
        assert sent == []

    def test_it_removes_the_folders_of_workers_that_were_killed(self, db, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        for name in ("isekai-media-old", "isekai-media-new", "somebody-elses"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "original").touch()
        now = clock.now()
        sweep_media()
        assert len(list(tmp_path.iterdir())) == 3
        os.utime(tmp_path / "isekai-media-old", (now.timestamp() - 3700,) * 2)
        os.utime(tmp_path / "somebody-elses", (0, 0))
        sweep_media()
        assert {path.name for path in tmp_path.iterdir()} == {"isekai-media-new", "somebody-elses"}


@pytest.mark.django_db(transaction=True)
def test_two_readers_of_one_upload_read_it_once(monkeypatch):
    upload = complete_upload(sent_upload(workspace_of(UserFactory()), pictures.png(1)))
    really, started = child.run, []

    def counted(*arguments: Any) -> Any:
        started.append(arguments)
        return really(*arguments)

    monkeypatch.setattr(child, "run", counted)
    barrier = threading.Barrier(4)

    def one_reader() -> None:
        barrier.wait()
        try:
            read_upload(upload.pk)
        finally:
            connection.close()

    readers = [threading.Thread(target=one_reader) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    upload.refresh_from_db()
    assert (upload.state, upload.read_attempts, len(started)) == (Upload.State.VERIFIED, 1, 1)


def test_the_reader_leaves_nothing_on_the_disk(workspace: Workspace, artist: User, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    verified_upload(workspace, user=artist)
    read(sent_upload(workspace, b"a text"))
    assert list(tmp_path.iterdir()) == []
