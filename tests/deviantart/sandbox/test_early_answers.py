"""Large uploads: the answer that begins before its outcome is known, and the file that is too large."""

import http.client
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests_toolbelt import MultipartEncoder

from tests.deviantart.sandbox.artist import API, Artist, picture, wait_until
from tests.sandbox_process import SandboxProcess

LARGE = picture(1200, 900)


@pytest.fixture
def sandbox(sandbox: SandboxProcess) -> SandboxProcess:
    sandbox.profile(early_answer_bytes=len(LARGE))
    return sandbox


def outcomes(sandbox: SandboxProcess, **chances: float) -> None:
    sandbox.profile(early_answer_outcomes=chances)


def test_a_large_upload_is_answered_before_it_is_processed(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"/stash/submit": 600}, wait_scale=0.25)
    fields: dict[str, Any] = {"title": "Large", "file": ("large.png", LARGE, "image/png")}
    body = MultipartEncoder(fields)
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    headers = {name: str(value) for name, value in anna.session.headers.items()}
    connection.request("POST", f"{API}/stash/submit", body.to_string(), {**headers, "Content-Type": body.content_type})
    answer = connection.getresponse()
    head_at = time.monotonic()
    assert (answer.status, answer.headers["Transfer-Encoding"]) == (200, "chunked")
    assert answer.read(1) == b" "
    assert sandbox.ledger()["items"] == []
    rest = answer.read()
    assert time.monotonic() - head_at > 0.05
    assert b'"status": "success"' in rest
    assert sandbox.ledger()["items"][0]["delivered"] is True


def test_requests_reads_through_the_spaces(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"/stash/submit": 3000}, wait_scale=0.05)
    answer = anna.submit(LARGE, title="Large")
    assert answer.content.startswith(b"  ")
    assert answer.json()["itemid"] == sandbox.ledger()["items"][0]["itemid"]


def test_a_small_upload_is_answered_as_ever(sandbox: SandboxProcess, anna: Artist) -> None:
    assert "Transfer-Encoding" not in anna.submit(picture(60, 40)).headers


def test_it_may_end_with_an_error_and_then_there_is_no_item(sandbox: SandboxProcess, anna: Artist) -> None:
    outcomes(sandbox, error=1)
    answer = anna.submit(LARGE)
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (200, "error", "server_error")
    assert sandbox.ledger()["items"] == []
    entry = sandbox.ledger()["requests"][0]
    assert (entry["fault"], entry["cause"], entry["committed"]) == ("status", "early answer", False)


def test_it_may_end_with_nothing_and_then_there_is_an_item(sandbox: SandboxProcess, anna: Artist) -> None:
    outcomes(sandbox, nothing=1)
    answer = anna.submit(LARGE)
    assert (answer.status_code, answer.text.strip()) == (200, "")
    assert len(answer.text) >= 20
    (item,) = sandbox.ledger()["items"]
    assert item["delivered"] is False
    entry = sandbox.ledger()["requests"][0]
    assert (entry["fault"], entry["cause"], entry["committed"]) == ("blank", "early answer", True)
    assert sandbox.summary()["orphans"] == 1


def test_a_refusal_comes_in_the_body_of_an_early_answer(sandbox: SandboxProcess, anna: Artist) -> None:
    answer = anna.submit(LARGE, original_url="no address")
    assert (answer.status_code, answer.json()["error_code"]) == (200, 2)


def test_who_may_not_upload_is_told_by_the_status(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.advance(4000)
    assert anna.submit(LARGE).status_code == 401


def test_the_item_is_kept_although_the_client_left(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"/stash/submit": 500})
    with pytest.raises(requests.ConnectionError):  # no second space comes in time
        anna.session.post(
            f"{sandbox.base_url}{API}/stash/submit", files={"file": ("a.png", LARGE, "image/png")}, timeout=(5, 0.2)
        )
    wait_until(lambda: sandbox.ledger()["items"])
    assert sandbox.ledger()["items"][0]["delivered"] is False


def test_an_oversize_file_is_an_error_with_status_200(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(max_file_bytes=1000, early_answer_bytes=None)
    answer = anna.submit(LARGE)
    assert (answer.status_code, answer.json()["status"]) == (200, "error")


def test_an_oversize_file_can_be_cut_off(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(max_file_bytes=100_000, oversize="reset")
    with pytest.raises(requests.ConnectionError):
        anna.submit(b"\x00" * 20_000_000)
    (entry,) = sandbox.ledger()["requests"]
    assert (entry["cause"], entry["status"], entry["committed"]) == ("oversize", None, False)
    assert sandbox.ledger()["items"] == []
