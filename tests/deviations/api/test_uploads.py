"""The doors of uploading, as a browser and as the ComfyUI node meet them."""

from typing import Any
from uuid import UUID

import pytest
import requests
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, User, Workspace
from accounts.services.api_keys import create_api_key
from deviations import storage
from deviations.models import Upload
from deviations.services import uploading
from deviations.services.uploading import read_upload
from isekai.ids import new_id
from tests import pictures
from tests.deviations.media import bombs
from tests.factories import UserFactory, workspace_of
from tests.uploads import post_form, read, sent_upload, verified_upload

UPLOADS = "/api/uploads/"
ANNOUNCEMENT = {"filename": "picture.png", "content_type": "image/png", "size": 1000}


@pytest.fixture
def signed_in(artist: User) -> Client:
    client = Client()
    client.force_login(artist)
    return client


@pytest.fixture
def stranger(db: None) -> Client:
    client = Client()
    client.force_login(UserFactory())
    return client


@pytest.fixture
def read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A media worker that reads an upload while somebody waits for it."""

    def work(_seconds: float) -> None:
        for upload in Upload.objects.filter(state=Upload.State.READING):
            read_upload(upload.pk)

    monkeypatch.setattr(f"{uploading.__name__}.time.sleep", work)


def announce(client: Client, **changes: Any) -> Any:
    return client.post(UPLOADS, {**ANNOUNCEMENT, **changes}, content_type="application/json")


def send_by(client: Client, data: bytes, **announcement: Any) -> str:
    """Ask for a ticket and post the file to storage, as a browser does; returns the upload's id."""
    answer = announce(client, **{"size": len(data), **announcement})
    assert answer.status_code == 201, answer.content
    ticket = answer.json()
    assert post_form(ticket["url"], ticket["fields"], data).status_code == 204
    return ticket["id"]


def complete(client: Client, upload_id: Any) -> Any:
    return client.post(f"{UPLOADS}{upload_id}/complete/")


class TestTheWholeWay:
    @pytest.mark.parametrize(("content_type", "extension", "make"), pictures.KINDS)
    def test_a_file_is_announced_sent_and_verified(self, signed_in, read_at_once, content_type, extension, make):
        data = make(1, size=(64, 48))
        upload_id = send_by(signed_in, data, filename=f"x.{extension}", content_type=content_type)
        answer = complete(signed_in, upload_id)
        assert answer.status_code == 200
        body = answer.json()
        assert (
            body.items()
            >= {
                "id": upload_id,
                "state": "verified",
                "content_type": content_type,
                "size": len(data),
                "width": 64,
                "height": 48,
                "reason": None,
            }.items()
        )
        assert len(body["sha256"]) == 64
        assert signed_in.get(f"{UPLOADS}{upload_id}/").json() == body

    def test_a_key_of_a_program_may_do_it_as_well(self, artist, workspace, read_at_once):
        _row, key = create_api_key(workspace, user=artist, name="node", scopes=[ApiKey.Scope.UPLOAD])
        program = Client(headers={"Authorization": f"Bearer {key}"})
        upload_id = send_by(program, pictures.png(1))
        assert complete(program, upload_id).status_code == 200

    def test_a_key_without_the_scope_may_not(self, artist, workspace):
        _row, key = create_api_key(workspace, user=artist, name="node", scopes=[ApiKey.Scope.READ])
        program = Client(headers={"Authorization": f"Bearer {key}"})
        assert announce(program).status_code == 403
        assert not Upload.objects.exists()

    def test_nobody_may_without_signing_in(self, db):
        assert announce(Client()).status_code == 401
        assert Client().get(f"{UPLOADS}{new_id()}/").status_code == 401

    def test_a_browser_needs_the_token_against_forged_requests(self, artist):
        client = Client(enforce_csrf_checks=True)
        client.force_login(artist)
        assert announce(client).status_code == 403


class TestTickets:
    def test_a_ticket_says_where_to_send_the_file(self, signed_in, workspace, settings):
        answer = announce(signed_in)
        assert answer.status_code == 201
        body = answer.json()
        assert set(body) == {"id", "url", "fields", "expires_at"}
        assert body["url"].startswith(settings.S3_PRESIGNED_ENDPOINT)
        assert body["fields"]["key"] == f"originals/{workspace.pk}/{body['id']}"

    @pytest.mark.parametrize(
        "changes",
        [
            {"size": 51 * 1024 * 1024},
            {"size": 0},
            {"size": -1},
            {"size": "many"},
            {"size": 10**30},
            {"content_type": "text/html"},
            {"content_type": ""},
            {"content_type": None},
            {"filename": ""},
            {"filename": "x.exe"},
            {"filename": "x.jpg"},
            {"filename": "a" * 2000 + ".png"},
            {"filename": "\x00.png\x00"},
            {"storage_key": "originals/a/b"},
            {"workspace": "somebody else's"},
        ],
    )
    def test_what_cannot_be_accepted_is_refused_by_its_field_and_nothing_is_stored(self, signed_in, changes):
        answer = announce(signed_in, **changes)
        assert answer.status_code in {400, 422}
        assert set(answer.json()["details"]) == set(changes)
        assert not Upload.objects.exists()

    def test_fifty_one_megabytes_are_told_how_many_are_allowed(self, signed_in):
        answer = announce(signed_in, size=51 * 1024 * 1024)
        assert answer.status_code == 422
        assert answer.json()["code"] == "too_large"
        assert "50" in answer.json()["message"]

    def test_the_same_call_again_gives_the_same_ticket(self, signed_in):
        first, again = (
            signed_in.post(UPLOADS, ANNOUNCEMENT, content_type="application/json", headers={"Idempotency-Key": "one"})
            for _ in range(2)
        )
        assert first.json() == again.json()
        assert Upload.objects.count() == 1


class TestComplete:
    def test_while_it_is_read_the_answer_is_202(self, signed_in, settings):
        settings.UPLOAD_COMPLETE_WAIT_SECONDS = 0
        upload_id = send_by(signed_in, pictures.png(1))
        answer = complete(signed_in, upload_id)
        assert answer.status_code == 202
        assert (answer.json()["state"], answer.json()["sha256"], answer.json()["width"]) == ("reading", None, None)
        assert answer.headers["Retry-After"] == "1"
        assert signed_in.get(f"{UPLOADS}{upload_id}/").json()["state"] == "reading"
        read_upload(UUID(upload_id))
        assert complete(signed_in, upload_id).status_code == 200

    def test_a_second_time_has_the_same_answer(self, signed_in, read_at_once):
        upload_id = send_by(signed_in, pictures.png(1))
        assert complete(signed_in, upload_id).json() == complete(signed_in, upload_id).json()

    @pytest.mark.parametrize(
        ("data", "announcement", "code"),
        [
            (b"only a text", {}, "unknown_type"),
            (bombs.png_of_many_pixels(), {}, "too_many_pixels"),
            (pictures.jpeg(1)[:-300], {"filename": "x.jpg", "content_type": "image/jpeg"}, "damaged"),
            (pictures.png(1), {"size": 7}, "size_differs"),
            (pictures.webp(1), {}, "type_differs"),
        ],
        ids=["text", "bomb", "truncated", "size", "type"],
    )
    def test_a_file_that_cannot_be_used_is_answered_with_the_reason(
        self, signed_in, read_at_once, data, announcement, code
    ):
        upload_id = send_by(signed_in, data, **announcement)
        for _ in range(2):
            answer = complete(signed_in, upload_id)
            assert answer.status_code == 422
            assert answer.json()["code"] == code
            assert answer.json()["message"]
        shown = signed_in.get(f"{UPLOADS}{upload_id}/").json()
        assert (shown["state"], shown["reason"]["code"]) == ("rejected", code)
        assert shown["reason"]["message"] == answer.json()["message"]

    def test_before_the_file_is_there_it_says_so(self, signed_in):
        upload_id = announce(signed_in).json()["id"]
        answer = complete(signed_in, upload_id)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_arrived")
        assert Upload.objects.get().state == Upload.State.ISSUED

    def test_after_its_time_it_says_so(self, signed_in):
        upload_id = send_by(signed_in, pictures.png(1))
        Upload.objects.update(expires_at="2026-01-01T00:00:00Z")
        answer = complete(signed_in, upload_id)
        assert (answer.status_code, answer.json()["code"]) == (410, "ticket_expired")

    def test_one_that_is_used_says_so(self, signed_in, workspace):
        upload = verified_upload(workspace)
        Upload.objects.update(state=Upload.State.USED)
        answer = complete(signed_in, upload.pk)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_not_usable")

    def test_storage_that_is_away_is_no_fault_of_the_file(self, signed_in, settings):
        upload_id = send_by(signed_in, pictures.png(1))
        settings.S3_ENDPOINT = "http://127.0.0.1:9"
        storage._forget_clients()
        try:
            answer = complete(signed_in, upload_id)
        finally:
            storage._forget_clients()
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert Upload.objects.get().state == Upload.State.ISSUED


class TestStrangers:
    def test_what_belongs_to_somebody_else_is_not_found_and_not_changed(self, workspace: Workspace, stranger):
        upload = sent_upload(workspace, pictures.png(1))
        before = Upload.objects.values().get()
        assert stranger.get(f"{UPLOADS}{upload.pk}/").status_code == 404
        assert complete(stranger, upload.pk).status_code == 404
        assert Upload.objects.values().get() == before

    def test_a_key_reaches_only_its_own_workspace(self, artist, workspace):
        other = UserFactory()
        workspace_of(other).memberships.create(user=artist)
        upload = sent_upload(workspace_of(other), pictures.png(1))
        _row, key = create_api_key(workspace, user=artist, name="node", scopes=[ApiKey.Scope.UPLOAD])
        program = Client(headers={"X-API-Key": key})
        assert complete(program, upload.pk).status_code == 404

    @pytest.mark.parametrize("wrong", ["0", "not-an-id", "00000000-0000-0000-0000-000000000000"])
    def test_an_id_that_is_none_is_not_found(self, signed_in, wrong):
        assert complete(signed_in, wrong).status_code == 404
        assert signed_in.get(f"{UPLOADS}{wrong}/").status_code == 404

    def test_the_file_itself_is_not_public(self, workspace, settings):
        upload = read(sent_upload(workspace, pictures.png(1)))
        url = f"{settings.S3_ENDPOINT}/{settings.S3_BUCKET_NAME}/{upload.storage_key}"
        assert requests.get(url, timeout=10).status_code == 403


def test_the_schema_knows_the_doors(client):
    paths = client.get("/api/schema/", {"format": "json"}).json()["paths"]
    assert set(paths[reverse("deviations-api:upload-list")]) == {"post"}
    answers = paths["/api/uploads/{id}/complete/"]["post"]["responses"]
    assert {"200", "202"} <= set(answers)
