"""What the storage server really enforces, and what our own module refuses before it is asked."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import requests
import time_machine
from django.core.cache import cache

from deviations import storage
from deviations.errors import ForeignStorageKey, StorageUnavailable, StoredFileMissing
from isekai import clock
from isekai.ids import new_id
from tests.uploads import post_form

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture(autouse=True)
def _no_urls_of_other_tests() -> Iterator[None]:
    yield
    cache.clear()


@pytest.fixture
def key() -> str:
    return storage.original_key(new_id(), new_id())


@pytest.fixture
def stored(key: str) -> str:
    storage.put(key, b"a picture", content_type="image/png", workspace_id=workspace_in(key))
    return key


def workspace_in(key: str) -> UUID:
    return UUID(key.split("/")[-2])


class TestTheTicketsFormIsEnforcedByStorage:
    @pytest.fixture
    def form(self, key: str) -> storage.PresignedPost:
        return storage.presigned_post(key, content_type="image/png", max_bytes=1000, seconds=60)

    def test_what_was_announced_is_taken(self, form, key):
        assert post_form(form.url, form.fields, b"x" * 1000).status_code == 204
        assert storage.head(key) == storage.StoredFile(1000, "image/png")

    def test_another_type_is_refused(self, form, key):
        answer = post_form(form.url, {**form.fields, "Content-Type": "text/html"}, b"x")
        assert answer.status_code == 403
        with pytest.raises(StoredFileMissing):
            storage.head(key)

    def test_no_type_at_all_is_refused(self, form):
        fields = {name: value for name, value in form.fields.items() if name != "Content-Type"}
        assert post_form(form.url, fields, b"x").status_code == 403

    def test_a_byte_too_many_is_refused(self, form, key):
        assert post_form(form.url, form.fields, b"x" * 1001).status_code == 400
        with pytest.raises(StoredFileMissing):
            storage.head(key)

    def test_an_empty_file_is_refused(self, form):
        assert post_form(form.url, form.fields, b"").status_code == 400

    def test_another_key_is_refused(self, form):
        other = storage.original_key(new_id(), new_id())
        assert post_form(form.url, {**form.fields, "key": other}, b"x").status_code == 403
        with pytest.raises(StoredFileMissing):
            storage.head(other)

    def test_a_changed_policy_is_refused(self, form):
        assert post_form(form.url, {**form.fields, "x-amz-signature": "0" * 64}, b"x").status_code == 403

    def test_an_expired_form_is_refused(self, key):
        form = storage.presigned_post(key, content_type="image/png", max_bytes=1000, seconds=-1)
        assert post_form(form.url, form.fields, b"x").status_code == 403

    def test_a_wish_to_be_public_makes_nothing_public(self, form, key, settings):
        post_form(form.url, {**form.fields, "acl": "public-read"}, b"x")
        assert requests.get(f"{settings.S3_ENDPOINT}/{settings.S3_BUCKET_NAME}/{key}", timeout=10).status_code == 403


class TestTheBucketIsPrivate:
    def test_nobody_reads_without_a_signature(self, stored, settings):
        url = f"{settings.S3_ENDPOINT}/{settings.S3_BUCKET_NAME}/{stored}"
        assert requests.get(url, timeout=10).status_code == 403
        assert requests.head(url, timeout=10).status_code == 403

    @pytest.mark.parametrize("query", ["", "?list-type=2", "?versions", "?uploads"])
    def test_nobody_lists_without_a_signature(self, stored, settings, query):
        url = f"{settings.S3_ENDPOINT}/{settings.S3_BUCKET_NAME}{query}"
        assert requests.get(url, timeout=10).status_code == 403


class TestSignedUrls:
    def test_a_picture_is_shown_as_what_it_is(self, stored):
        answer = requests.get(storage.presigned_url(stored, content_type="image/png", filename="a.png"), timeout=10)
        assert answer.content == b"a picture"
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == 'inline; filename="a.png"'

    @pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/pdf"])
    def test_anything_else_is_only_ever_downloaded(self, stored, content_type):
        answer = requests.get(storage.presigned_url(stored, content_type=content_type), timeout=10)
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")

    def test_a_file_of_unknown_type_is_downloaded(self, stored):
        answer = requests.get(storage.presigned_url(stored, filename="x.html"), timeout=10)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="x.html"'

    def test_a_name_cannot_add_a_header(self, stored):
        url = storage.presigned_url(stored, content_type="image/png", filename='a"\r\nX-Evil: 1\r\n.png')
        answer = requests.get(url, timeout=10)
        assert answer.status_code == 200
        assert "X-Evil" not in answer.headers

    def test_a_changed_type_breaks_the_signature(self, stored):
        url = storage.presigned_url(stored, content_type="image/png")
        assert requests.get(url.replace("image%2Fpng", "text%2Fhtml"), timeout=10).status_code == 403

    def test_no_url_lives_longer_than_ten_minutes(self, stored):
        query = parse_qs(urlsplit(storage.presigned_url(stored, seconds=86_400)).query)
        assert int(query["X-Amz-Expires"][0]) == 600

    def test_an_expired_url_is_refused(self, stored):
        with time_machine.travel(clock.now() - timedelta(seconds=61)):
            url = storage.presigned_url(stored, seconds=60)
        assert requests.get(url, timeout=10).status_code == 403

    def test_a_page_that_is_drawn_again_names_the_same_url(self, stored):
        first = storage.presigned_url(stored, content_type="image/png")
        assert storage.presigned_url(stored, content_type="image/png") == first
        assert storage.presigned_url(stored, content_type="image/png", filename="b.png") != first

    def test_the_url_leads_to_the_host_that_browsers_reach(self, stored, settings):
        settings.S3_PRESIGNED_ENDPOINT = "https://files.example.org"
        storage._forget_clients()
        try:
            assert storage.presigned_url(stored).startswith("https://files.example.org/")
            form = storage.presigned_post(stored, content_type="image/png", max_bytes=1, seconds=60)
            assert form.url.startswith("https://files.example.org/")
        finally:
            storage._forget_clients()


class TestKeys:
    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            "secrets.txt",
            "originals/",
            "originals/../variants/x",
            f"originals/{ONE}/../{OTHER}",
            f"backups/{ONE}/{OTHER}",
            f"originals/{ONE}/{OTHER}/more",
            f"originals/{ONE}/{OTHER}\n",
            f"other/originals/{ONE}/{OTHER}",
        ],
    )
    def test_a_key_of_another_form_never_reaches_storage(self, wrong, settings):
        settings.S3_ENDPOINT = "http://127.0.0.1:9"  # whoever asks it fails otherwise
        with pytest.raises(ForeignStorageKey):
            storage.open_stream(wrong)
        with pytest.raises(ForeignStorageKey):
            storage.delete(wrong, workspace_id=new_id())
        with pytest.raises(ForeignStorageKey):
            storage.presigned_url(wrong)
        with pytest.raises(ForeignStorageKey):
            storage.presigned_post(wrong, content_type="image/png", max_bytes=1, seconds=1)

    def test_a_key_of_another_workspace_is_neither_read_nor_deleted(self, stored):
        stranger = new_id()
        with pytest.raises(ForeignStorageKey):
            storage.open_stream(stored, workspace_id=stranger)
        with pytest.raises(ForeignStorageKey):
            storage.head(stored, workspace_id=stranger)
        with pytest.raises(ForeignStorageKey):
            storage.delete(stored, workspace_id=stranger)
        with pytest.raises(ForeignStorageKey):
            storage.put(stored, b"other", content_type="image/png", workspace_id=stranger)
        assert storage.open_stream(stored).read() == b"a picture"

    def test_a_prefix_keeps_two_installations_in_one_bucket_apart(self, stored, settings):
        settings.S3_PATH_PREFIX = "second/"
        assert storage.original_key(new_id(), new_id()).startswith("second/originals/")
        with pytest.raises(ForeignStorageKey):
            storage.open_stream(stored)

    def test_only_copies_count_as_copies(self):
        assert storage.is_variant_key(storage.variant_key(new_id(), new_id()))
        assert not storage.is_variant_key(storage.original_key(new_id(), new_id()))


class TestStreams:
    def test_a_file_comes_in_pieces_with_its_size_known_before(self, key):
        data = bytes(range(256)) * 4000
        storage.put(key, data, content_type="image/png", workspace_id=workspace_in(key))
        with storage.open_stream(key, workspace_id=workspace_in(key)) as stream:
            assert stream.size == len(data)
            pieces = list(stream.chunks())
        assert len(pieces) > 1
        assert hashlib.sha256(b"".join(pieces)).digest() == hashlib.sha256(data).digest()

    def test_a_missing_file_is_told_from_storage_that_is_away(self, key, settings):
        with pytest.raises(StoredFileMissing):
            storage.open_stream(key)
        settings.S3_ENDPOINT = "http://127.0.0.1:9"
        storage._forget_clients()
        try:
            with pytest.raises(StorageUnavailable) as away:
                storage.open_stream(key)
        finally:
            storage._forget_clients()
        assert key not in str(away.value)

    def test_deleting_what_is_gone_is_no_error(self, stored):
        storage.delete(stored, workspace_id=workspace_in(stored))
        storage.delete(stored, workspace_id=workspace_in(stored))
        with pytest.raises(StoredFileMissing):
            storage.head(stored)
