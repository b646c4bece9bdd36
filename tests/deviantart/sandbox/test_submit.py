"""stash/submit: what becomes an item, what overwrites one, what is refused."""

import hashlib
import http.client
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deviantart.sandbox.artist import API, Artist, picture, refusal, wait_until
from tests.sandbox_process import SandboxProcess


def the_item(sandbox: SandboxProcess) -> dict[str, Any]:
    (item,) = sandbox.ledger()["items"]
    return item


def test_a_file_becomes_an_item(sandbox: SandboxProcess, anna: Artist) -> None:
    content = picture(seed=7)
    answer = anna.submit(content, title="Night sky", artist_comments="Oil on canvas\nLarge", tags=["night"])
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"status", "itemid", "stack", "stackid"}
    assert body["status"] == "success"
    assert len(str(body["itemid"])) == len(str(body["stackid"])) == 16
    item = the_item(sandbox)
    assert item["itemid"] == body["itemid"]
    assert item["sha256"] == hashlib.sha256(content).hexdigest()
    assert item["size"] == len(content)
    assert (item["username"], item["title"], item["artist_comments"]) == ("anna", "Night sky", "Oil on canvas\nLarge")
    assert (item["tags"], item["content_type"], item["filename"]) == (["night"], "image/png", "sky.png")
    assert item["delivered"]


@pytest.mark.parametrize("field", ["file", "image", "photo", "submission", "test"])
def test_the_file_may_have_any_field_name(anna: Artist, field: str) -> None:
    assert anna.post("/stash/submit", files={field: ("a.png", picture())}).status_code == 200


@pytest.mark.parametrize(
    ("parameter", "filename"),
    [('filename="my sky.png"', "my sky.png"), ("filename=sky.png", "sky.png"), ('filename="a%22b.png"', 'a"b.png')],
)
def test_the_filename_is_read_as_browsers_write_it(
    sandbox: SandboxProcess, anna: Artist, parameter: str, filename: str
) -> None:
    body = f'--B\r\nContent-Disposition: form-data; name="f"; {parameter}\r\n\r\nx\r\n--B--\r\n'
    anna.post("/stash/submit", data=body, headers={"Content-Type": "multipart/form-data; boundary=B"})
    assert the_item(sandbox)["filename"] == filename


def test_every_submit_without_an_itemid_makes_another_item(sandbox: SandboxProcess, anna: Artist) -> None:
    items = {anna.item(), anna.item(), anna.item()}
    assert len(items) == 3
    assert sandbox.summary()["orphans"] == 3


@pytest.mark.parametrize(
    ("filename", "title"), [("Moon over lake.png", "Moon over lake"), ("x" * 60 + ".png", "x" * 50), ("", "Untitled")]
)
def test_without_a_title_the_name_of_the_file_is_taken(
    sandbox: SandboxProcess, anna: Artist, filename: str, title: str
) -> None:
    body = f'--B\r\nContent-Disposition: form-data; name="f"; filename="{filename}"\r\n\r\nx\r\n--B--\r\n'
    anna.post("/stash/submit", data=body, headers={"Content-Type": "multipart/form-data; boundary=B"})
    assert the_item(sandbox)["title"] == title


def test_nothing_to_submit_is_refused(anna: Artist) -> None:
    for answer in (
        anna.post("/stash/submit", data={"title": "Night sky"}),
        anna.post("/stash/submit", files={"title": (None, "Night sky")}),
    ):
        assert refusal(answer) == (400, "invalid_request", 1)
        assert answer.json()["error_description"].startswith("Please include content t")


@pytest.mark.parametrize("parameter", ["", "; filename*=utf-8''sky.png"])
def test_a_part_without_a_filename_is_a_server_error(sandbox: SandboxProcess, anna: Artist, parameter: str) -> None:
    head = f'--B\r\nContent-Disposition: form-data; name="f"{parameter}\r\nContent-Type: image/png\r\n\r\n'
    body = head + "x\r\n--B--\r\n"
    answer = anna.post("/stash/submit", data=body, headers={"Content-Type": "multipart/form-data; boundary=B"})
    assert refusal(answer) == (500, "server_error", None)
    assert sandbox.ledger()["items"] == []


@pytest.mark.parametrize(
    "body", [b"", b"--B\r\n", b'--B\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx']
)
def test_a_body_that_is_cut_off_inside_its_length_holds_nothing(
    sandbox: SandboxProcess, anna: Artist, body: bytes
) -> None:
    answer = anna.post("/stash/submit", data=body, headers={"Content-Type": "multipart/form-data; boundary=B"})
    assert answer.status_code == 400
    assert sandbox.ledger()["items"] == []


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"is_dirty": "perhaps"}, "is_dirty"),
        ({"noai": "2"}, "noai"),
        ({"is_ai_generated": "x"}, "is_ai_generated"),
        ({"original_url": "javascript:alert(1)"}, "original_url"),
        ({"stackid": "12345"}, "stackid"),
        ({"stackid": "abc"}, "stackid"),
        ({"itemid": "5.3e15"}, "itemid"),
        ({"tags": [f"tag{number}" for number in range(31)]}, "tags"),
    ],
)
def test_a_field_that_does_not_validate_is_named(
    sandbox: SandboxProcess, anna: Artist, fields: dict[str, Any], problem: str
) -> None:
    answer = anna.submit(**fields)
    assert refusal(answer) == (400, "invalid_request", 2)
    assert answer.json()["error_details"] == {problem: f"failed to validate {problem}"}
    assert sandbox.ledger()["items"] == []


def test_fields_that_are_not_documented_are_ignored(anna: Artist) -> None:
    assert anna.submit(is_mature="true", mature_level="strict", catpath="x/y", whatever="1").status_code == 200


# --- stacks ----------------------------------------------------------------------------------------------------------


def test_items_go_into_a_default_stack_a_named_or_a_given_one(anna: Artist) -> None:
    default, again = anna.submit().json(), anna.submit().json()
    named, same = anna.submit(stack="Oils").json(), anna.submit(stack="Oils").json()
    given = anna.submit(stackid=named["stackid"], stack="ignored").json()
    assert (default["stack"], named["stack"], given["stack"]) == ("Sta.sh Uploads", "Oils", "Oils")
    assert default["stackid"] == again["stackid"]
    assert named["stackid"] == same["stackid"] == given["stackid"]
    assert named["stackid"] != default["stackid"]


def test_a_stack_of_somebody_else_cannot_be_used(sandbox: SandboxProcess, anna: Artist) -> None:
    foreign = Artist(sandbox, "bo").submit().json()["stackid"]
    assert refusal(anna.submit(stackid=foreign)) == (400, "invalid_request", 2)


# --- titles and tags -------------------------------------------------------------------------------------------------

LONG = "The night sky over the old harbour, as seen from the hill"  # 57 characters
UMLAUTS = "ä" * 30  # 60 bytes


@pytest.mark.parametrize(
    ("limit", "unit", "title", "kept"),
    [
        ("cut", "characters", LONG, LONG[:50]),
        ("cut", "characters", UMLAUTS, UMLAUTS),
        ("cut", "bytes", UMLAUTS, "ä" * 25),
        ("cut", "bytes", "x" + UMLAUTS, "x" + "ä" * 24),
        ("refuse", "characters", LONG, None),
        ("refuse", "characters", LONG[:50], LONG[:50]),
        ("refuse", "bytes", UMLAUTS, None),
        ("allow", "characters", LONG, LONG),
    ],
)
def test_long_titles_are_cut_refused_or_allowed(
    sandbox: SandboxProcess, anna: Artist, limit: str, unit: str, title: str, kept: str | None
) -> None:
    sandbox.profile(title_limit=limit, title_limit_unit=unit)
    answer = anna.submit(title=title)
    if kept is None:
        assert answer.json()["error_details"] == {"title": "failed to validate title"}
    else:
        assert the_item(sandbox)["title"] == kept


@pytest.mark.parametrize(
    ("switch", "sent", "kept"),
    [
        ("strip", ["night sky", "c++", "ok_1", "Ünder"], ["nightsky", "c", "ok_1", "nder"]),
        ("strip", ["星空", "night", "night"], ["night"]),
        ("refuse", ["night", "ok_1"], ["night", "ok_1"]),
        ("refuse", ["night sky"], None),
    ],
)
def test_tags_are_stripped_or_refused(
    sandbox: SandboxProcess, anna: Artist, switch: str, sent: list[str], kept: list[str] | None
) -> None:
    sandbox.profile(tags=switch)
    answer = anna.submit(tags=sent)
    if kept is None:
        assert answer.json()["error_details"] == {"tags": "failed to validate tags"}
    else:
        assert the_item(sandbox)["tags"] == kept


# --- overwriting -----------------------------------------------------------------------------------------------------


def test_an_itemid_overwrites_what_is_sent_and_keeps_the_rest(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item(picture(seed=1), title="Old", artist_comments="Text", tags=["night"])
    before = the_item(sandbox)
    changed = anna.post("/stash/submit", data={"itemid": itemid, "title": "New"})
    assert changed.json()["itemid"] == itemid
    assert changed.json()["stack"] == "Sta.sh Uploads"
    item = the_item(sandbox)
    assert (item["title"], item["artist_comments"], item["tags"]) == ("New", "Text", ["night"])
    assert item["sha256"] == before["sha256"]
    assert anna.submit(picture(seed=2), itemid=itemid).json()["itemid"] == itemid
    item = the_item(sandbox)
    assert item["sha256"] == hashlib.sha256(picture(seed=2)).hexdigest()
    assert (item["title"], item["overwrites"]) == ("New", 2)


def test_overwriting_a_published_item_changes_the_live_work(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item(picture(seed=1), title="Old", tags=["old"])
    live = anna.publish(itemid).json()
    answer = anna.submit(picture(seed=2), itemid=itemid, title="New", tags=["new"]).json()
    assert set(answer) == {"status", "itemid"}  # no stack any more
    work = anna.get(f"/deviation/{live['deviationid']}").json()
    assert work["title"] == "New"
    assert anna.session.get(work["content"]["src"], timeout=20).content == picture(seed=2)
    (deviation,) = sandbox.ledger()["deviations"]
    assert (deviation["title"], deviation["tags"], deviation["overwrites"]) == ("New", ["new"], 1)


def test_neither_an_unknown_nor_a_foreign_item_can_be_overwritten(sandbox: SandboxProcess, anna: Artist) -> None:
    foreign = Artist(sandbox, "bo").item(title="Mine")
    for itemid in (foreign, 1234567890123456):
        assert refusal(anna.submit(itemid=itemid, title="Yours")) == (400, "invalid_request", 1)
    assert the_item(sandbox)["title"] == "Mine"


# --- the body --------------------------------------------------------------------------------------------------------


def test_an_expired_token_is_noticed_only_after_the_whole_body(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.advance(3601)
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    content = b"x" * 1_000_000
    head = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n'
    tail = b"\r\n--B--\r\n"
    connection.putrequest("POST", f"{API}/stash/submit", skip_accept_encoding=True)
    for name, value in {
        "User-Agent": "app/1",
        "Accept-Encoding": "gzip",
        "Authorization": f"Bearer {anna.tokens['access_token']}",
        "Content-Type": "multipart/form-data; boundary=B",
        "Content-Length": str(len(head) + len(content) + len(tail)),
    }.items():
        connection.putheader(name, value)
    connection.endheaders(head + content)
    connection.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.sock.recv(1)
    connection.sock.settimeout(20)
    connection.send(tail)
    assert connection.getresponse().status == 401
    assert sandbox.ledger()["items"] == []


def test_a_too_large_file_is_answered_with_200_and_an_error(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(max_file_bytes=100_000)
    answer = anna.submit(b"x" * 100_001)
    assert refusal(answer) == (200, "invalid_request", None)
    assert sandbox.ledger()["items"] == []
    assert anna.submit(b"x" * 100_000).status_code == 200


def test_an_upload_that_breaks_off_leaves_no_item(sandbox: SandboxProcess, anna: Artist) -> None:
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    connection.putrequest("POST", f"{API}/stash/submit")
    connection.putheader("Content-Type", "multipart/form-data; boundary=B")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + b"x" * 500_000)
    connection.close()
    wait_until(lambda: any(entry["ended"] for entry in sandbox.ledger()["requests"]))
    (entry,) = sandbox.ledger()["requests"]
    assert (entry["path"], entry["status"], entry["committed"]) == (f"{API}/stash/submit", None, False)
    assert sandbox.ledger()["items"] == []


def test_an_upload_is_never_held_in_memory(tmp_path: Path) -> None:
    size = 150_000_000
    with SandboxProcess(data=tmp_path) as sandbox:
        anna = Artist(sandbox)
        anna.item()
        head = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n'
        tail = b"\r\n--B--\r\n"
        piece = b"x" * 1_000_000
        answer = anna.post(
            "/stash/submit",
            data=(part for part in (head, *[piece] * (size // len(piece)), tail)),
            headers={"Content-Type": "multipart/form-data; boundary=B"},
        )
        assert answer.status_code == 200
        assert sandbox.ledger()["items"][1]["size"] == size
        status = Path(f"/proc/{sandbox.pid}/status").read_text()
        peak_kilobytes = int(status.partition("VmHWM:")[2].split()[0])
        assert peak_kilobytes < 100_000


def test_a_bandwidth_cap_slows_the_upload(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(bandwidth_bytes_per_second=200_000)
    answer = anna.submit(b"x" * 100_000)
    assert answer.elapsed.total_seconds() > 0.4
