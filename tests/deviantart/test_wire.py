"""What goes over the wire, and what becomes of answers that nobody should send."""

import datetime as dt
import gzip
import hashlib
import io
import ipaddress
import itertools
import json
import socket
import ssl
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

import isekai
from deviantart import errors, oauth
from deviantart.client import Client, License, Resumable, entries, pages
from deviantart.config import USER_AGENT, Config, Timeouts
from deviantart.errors import Category, Outcome
from tests.deviantart.wire import WireServer, answering, ends_soon, never_reading, read_request, reply, reset

PUBLISHED = (
    b'{"status":"success","deviationid":"DAF48E51-DE0E-B24D-4CEC-A23170DCE888","url":"https://www.deviantart.com/a"}'
)
SUBMITTED = b'{"status":"success","itemid":5309219412345678,"stack":"Uploads","stackid":2209219400000001}'
BRIEF = Timeouts(connect_seconds=1, stall_seconds=1, read_seconds=1)


def client(url: str, token: str = "token", **options: Any) -> Client:
    return Client(Config("1", "client-secret", base_url=url, **options), token, correlation_id="cafe")


def submit(artist: Client, file: Any = None, size: int = 1000, **options: Any) -> Any:
    return artist.submit(
        io.BytesIO(b"x" * size) if file is None else file,
        filename="night.png",
        content_type="image/png",
        size=size,
        title="Night sky",
        is_ai_generated=True,
        noai=False,
        **options,
    )


def publish(artist: Client, **options: Any) -> Any:
    return artist.publish(5309219412345678, is_mature=False, **options)


class Recorder:
    """A script that answers each request alike and remembers what was asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[tuple[bytes, bytes]] = []

    def __call__(self, sock: socket.socket) -> None:
        self.requests.append(read_request(sock))
        sock.sendall(self.answer)

    @property
    def lines(self) -> list[str]:
        return self.requests[-1][0].decode().split("\r\n")

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in self.lines[1:])}

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.requests[-1][1].decode(), keep_blank_values=True)

    @property
    def parts(self) -> list[tuple[str, bytes]]:
        """The heads and the bodies of a multipart body, in their order."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        pieces = self.requests[-1][1].split(b"--" + boundary)[1:-1]
        split = [piece[2:-2].partition(b"\r\n\r\n") for piece in pieces]
        return [(head.decode(), body) for head, _, body in split]


# --- what is sent


def test_every_call_carries_what_deviantart_asks_for() -> None:
    recorder = Recorder(reply(b'{"userid":"U","username":"artist"}'))
    with WireServer(recorder) as server:
        client(server.url).whoami()
    assert recorder.lines[0] == "GET /api/v1/oauth2/user/whoami HTTP/1.1"
    assert recorder.headers["user-agent"].startswith("Isekai/")
    assert recorder.headers["accept-encoding"] == "gzip"
    assert recorder.headers["da-minor-version"] == "20240701"
    assert recorder.headers["authorization"] == "Bearer token"
    assert "cafe" not in "".join(recorder.lines)


def test_the_user_agent_names_our_version() -> None:
    assert f"Isekai/{isekai.__version__}" == USER_AGENT


def test_a_publish_sends_each_choice_in_words() -> None:
    recorder = Recorder(reply(PUBLISHED))
    with WireServer(recorder) as server:
        client(server.url).publish(
            5309219412345678,
            is_mature=True,
            mature_level="strict",
            mature_classification=["nudity", "gore"],
            allow_comments=False,
            allow_free_download=True,
            display_resolution=6,
            add_watermark=True,
            gallery_ids=["47D47436-5683-8DF2-EEBF-2A6760BE1336"],
            tags=["night", "sky"],
            is_ai_generated=True,
            noai=True,
            feature=False,
        )
    assert recorder.lines[0] == "POST /api/v1/oauth2/stash/publish HTTP/1.1"
    assert sorted(recorder.form) == sorted(
        [
            ("itemid", "5309219412345678"),
            ("is_mature", "true"),
            ("mature_level", "strict"),
            ("mature_classification[]", "nudity"),
            ("mature_classification[]", "gore"),
            ("feature", "false"),
            ("allow_comments", "false"),
            ("allow_free_download", "true"),
            ("display_resolution", "6"),
            ("add_watermark", "true"),
            ("galleryids[]", "47D47436-5683-8DF2-EEBF-2A6760BE1336"),
            ("tags[]", "night"),
            ("tags[]", "sky"),
            ("is_ai_generated", "true"),
            ("noai", "true"),
        ]
    )


def test_a_publish_sends_nothing_that_depends_on_a_choice_not_made() -> None:
    recorder = Recorder(reply(PUBLISHED))
    with WireServer(recorder) as server:
        publish(client(server.url), mature_level="strict", mature_classification=["gore"], add_watermark=True)
    sent = dict(recorder.form)
    assert sent["is_mature"] == "false"
    assert sent["allow_free_download"] == "false"
    assert not {"mature_level", "mature_classification[]", "add_watermark", "display_resolution"} & sent.keys()


def test_an_upload_is_multipart_with_a_file_name_and_its_length() -> None:
    recorder = Recorder(reply(SUBMITTED))
    with WireServer(recorder) as server:
        receipt = submit(
            client(server.url), io.BytesIO(b"\x89PNG"), 4, artist_comments="Oil\non canvas", tags=["night", "sky"]
        )
    assert (receipt.item_id, receipt.stack_id) == (5309219412345678, 2209219400000001)
    assert int(recorder.headers["content-length"]) == len(recorder.requests[0][1])
    assert "transfer-encoding" not in recorder.headers
    heads, bodies = zip(*recorder.parts, strict=True)
    assert list(zip(heads[:-1], bodies[:-1], strict=True)) == [
        ('Content-Disposition: form-data; name="title"', b"Night sky"),
        ('Content-Disposition: form-data; name="artist_comments"', b"Oil\non canvas"),
        ('Content-Disposition: form-data; name="tags[]"', b"night"),
        ('Content-Disposition: form-data; name="tags[]"', b"sky"),
        ('Content-Disposition: form-data; name="is_ai_generated"', b"true"),
        ('Content-Disposition: form-data; name="noai"', b"false"),
    ]
    assert 'name="file"; filename="night.png"' in heads[-1]
    assert "Content-Type: image/png" in heads[-1]
    assert bodies[-1] == b"\x89PNG"


def test_a_file_name_cannot_break_out_of_its_header() -> None:
    recorder = Recorder(reply(SUBMITTED))
    with WireServer(recorder) as server:
        client(server.url).submit(
            io.BytesIO(b"x"),
            filename='a"\r\nX-Evil: 1\r\n\r\nb.png',
            content_type="image/png",
            size=1,
            title="T",
            is_ai_generated=False,
            noai=False,
        )
    head, body = recorder.parts[-1]
    assert len(head.split("\r\n")) == 2
    assert body == b"x"


def test_a_stack_is_named_only_for_a_new_item() -> None:
    recorder = Recorder(reply(SUBMITTED))
    with WireServer(recorder) as server:
        submit(client(server.url), stack="Isekai")
        new = recorder.requests[-1][1]
        submit(client(server.url), stack="Isekai", itemid=5309219412345678)
        old = recorder.requests[-1][1]
    assert b'name="stack"' in new
    assert b'name="itemid"' not in new
    assert b'name="stack"' not in old
    assert b'name="itemid"' in old


def test_the_environment_neither_reroutes_a_call_nor_replaces_its_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    recorder = Recorder(reply(PUBLISHED))
    with WireServer(recorder) as server:
        publish(client(server.url))
    assert recorder.headers["authorization"] == "Bearer token"


def test_an_edit_says_everything_anew() -> None:
    recorder = Recorder(reply(PUBLISHED))
    with WireServer(recorder) as server:
        client(server.url).edit(
            "4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2",
            title="Night sky",
            is_mature=False,
            mature_level="strict",
            mature_classification=["gore"],
            allow_comments=False,
            allow_free_download=False,
            add_watermark=False,
            gallery_ids=["47D47436-5683-8DF2-EEBF-2A6760BE1336"],
            tags=["night"],
            license=License(),
        )
    assert recorder.lines[0] == "POST /api/v1/oauth2/deviation/edit/4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2 HTTP/1.1"
    assert recorder.form == [
        ("title", "Night sky"),
        ("is_mature", "false"),
        ("allow_comments", "false"),
        ("allow_free_download", "false"),
        ("add_watermark", "false"),
        ("galleryids[]", "47D47436-5683-8DF2-EEBF-2A6760BE1336"),
        ("tags[]", "night"),
        ("license_options[creative_commons]", "true"),
        ("license_options[commercial]", "no"),
        ("license_options[modify]", "no"),
    ]


ARRANGING: list[tuple[Callable[[Client], Any], str, list[tuple[str, str]]]] = [
    (lambda artist: artist.create_folder("Oils"), "create", [("folder", "Oils")]),
    (
        lambda artist: artist.create_folder("Oils", description="On canvas", parent_id="P"),
        "create",
        [("folder", "Oils"), ("description", "On canvas"), ("parent_folderid", "P")],
    ),
    (
        lambda artist: artist.update_folder("F", description="", cover_deviation_id="D"),
        "update",
        [("folderid", "F"), ("description", ""), ("cover_deviationid", "D")],
    ),
    (lambda artist: artist.order_folder("F", 0), "update_order", [("folderid", "F"), ("position", "0")]),
    (lambda artist: artist.move_folder("F", "G"), "move", [("folderid", "F"), ("to_folderid", "G")]),
    (lambda artist: artist.remove_folder("F"), "remove/F", []),
    (
        lambda artist: artist.order_deviation("F", "D", 3),
        "update_deviation_order",
        [("folderid", "F"), ("deviationid", "D"), ("position", "3")],
    ),
    (
        lambda artist: artist.copy_deviations(["D", "E"], to_folder_id="F"),
        "copy_deviations",
        [("target_folderid", "F"), ("deviationids[]", "D"), ("deviationids[]", "E")],
    ),
    (
        lambda artist: artist.move_deviations(["D"], from_folder_id="F", to_folder_id="G"),
        "move_deviations",
        [("source_folderid", "F"), ("target_folderid", "G"), ("deviationids[]", "D")],
    ),
    (
        lambda artist: artist.remove_deviations(["D"], from_folder_id="F"),
        "remove_deviations",
        [("folderid", "F"), ("deviationids[]", "D")],
    ),
]


@pytest.mark.parametrize(("call", "path", "form"), ARRANGING)
def test_a_change_of_folders_sends_what_it_names_and_nothing_else(
    call: Callable[[Client], Any], path: str, form: list[tuple[str, str]]
) -> None:
    recorder = Recorder(reply(b'{"success":true,"folderid":"N","name":"Oils"}'))
    with WireServer(recorder) as server:
        call(client(server.url))
    assert recorder.lines[0] == f"POST /api/v1/oauth2/gallery/folders/{path} HTTP/1.1"
    assert recorder.form == form


@pytest.mark.parametrize("call", [call for call, path, _ in ARRANGING if path != "create"])
@pytest.mark.parametrize("answer", [b"{}", b'{"success":null}', b""])
def test_a_change_that_does_not_say_that_it_was_made_is_unknown(call: Callable[[Client], Any], answer: bytes) -> None:
    with WireServer(answering(reply(answer))) as server, pytest.raises(errors.BadAnswer) as raised:
        call(client(server.url))
    assert raised.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("call", [call for call, path, _ in ARRANGING if path != "create"])
def test_a_change_that_was_not_made_is_refused(call: Callable[[Client], Any]) -> None:
    answer = reply(b'{"success":false,"error_description":"Not now."}')
    with WireServer(answering(answer)) as server, pytest.raises(errors.Rejected) as raised:
        call(client(server.url))
    assert (raised.value.outcome, raised.value.description) == (Outcome.NO, "Not now.")


# --- lists that go on


class Lists:
    """A script that answers the requests one after the other and remembers their queries."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers = iter(answers)
        self.queries: list[dict[str, str]] = []

    def __call__(self, sock: socket.socket) -> None:
        head, _ = read_request(sock)
        self.queries.append(dict(parse_qsl(head.decode().split(" ")[1].partition("?")[2])))
        sock.sendall(reply(json.dumps(next(self._answers)).encode()))


def works(*ids: str) -> list[dict[str, str]]:
    return [{"deviationid": each} for each in ids]


def test_a_list_goes_on_at_its_cursor() -> None:
    script = Lists(
        {"results": works("A"), "has_more": True, "next_cursor": "c=1&x"},
        {"results": [], "has_more": True, "next_cursor": "c2"},
        {"results": works("B"), "has_more": False, "next_cursor": None},
    )
    with WireServer(script) as server:
        artist = client(server.url)
        read = [work.deviation_id for work in entries(pages(artist.profile_posts, username="anna"))]
    assert read == ["A", "B"]
    assert [query.get("cursor") for query in script.queries] == [None, "c=1&x", "c2"]


def test_a_list_by_offset_that_turns_to_cursors_is_followed() -> None:
    script = Lists(
        {"results": works("A"), "has_more": True, "next_offset": 10},
        {"results": works("B"), "has_more": True, "next_offset": None, "next_cursor": "c2"},
        {"results": works("C"), "has_more": False},
    )
    with WireServer(script) as server:
        read = [work.deviation_id for work in entries(pages(client(server.url).browse_home, limit=5))]
    assert read == ["A", "B", "C"]
    places = [(query.get("offset"), query.get("cursor")) for query in script.queries]
    assert places == [("0", None), ("10", None), (None, "c2")]


@pytest.mark.parametrize(
    "stuck",
    [
        {"results": works("A"), "has_more": True, "next_offset": 4},
        {"results": works("A"), "has_more": True, "next_cursor": "again"},
    ],
)
def test_a_list_that_goes_round_ends(stuck: dict[str, Any]) -> None:
    script = Lists(*[stuck] * 5)
    with WireServer(script) as server:
        assert len(list(pages(client(server.url).browse_home, offset=2))) == 2
    assert len(script.queries) == 2


def test_a_page_is_fetched_only_when_it_is_asked_for() -> None:
    script = Lists(*[{"results": works("A"), "has_more": True, "next_offset": 1}] * 2)
    with WireServer(script) as server:
        next(client(server.url).gallery_pages())
    assert len(script.queries) == 1


# --- the moment before the first byte


@pytest.mark.parametrize("call", [submit, publish])
def test_the_hook_runs_once_on_a_standing_connection_before_the_first_byte(call: Callable[..., Any]) -> None:
    recorder = Recorder(reply(b'{"itemid":1,"deviationid":"D"}'))
    seen: list[tuple[int, int]] = []
    with WireServer(recorder) as server:
        call(client(server.url), before_send=lambda: seen.append((server.accepted(), len(recorder.requests))))
    assert seen == [(1, 0)]


class Stop(BaseException):
    """A process that is killed between two lines looks like this from inside."""


@pytest.mark.parametrize("raised", [RuntimeError("late"), TimeoutError("late"), ConnectionResetError("late"), Stop()])
@pytest.mark.parametrize("call", [submit, publish])
def test_what_the_hook_raises_comes_through_and_nothing_is_sent(
    call: Callable[..., Any], raised: BaseException
) -> None:
    def hook() -> None:
        raise raised

    received: list[bytes] = []
    with WireServer(lambda sock: received.append(sock.recv(1))) as server:
        with pytest.raises(type(raised)) as caught:
            call(client(server.url), before_send=hook)
        server.join()
    assert caught.value is raised
    assert received == [b""]


@pytest.mark.parametrize("raised", [RuntimeError("storage"), TimeoutError("storage"), ConnectionResetError("storage")])
def test_what_reading_the_file_raises_comes_through_and_the_request_stays_incomplete(raised: Exception) -> None:
    def file() -> Iterator[bytes]:
        yield b"x" * 500_000
        raise raised

    received = bytearray()

    def script(sock: socket.socket) -> None:
        while chunk := sock.recv(65536):
            received.extend(chunk)

    with WireServer(script) as server, pytest.raises(type(raised)) as caught:
        submit(client(server.url), file(), 1_000_000)
    assert caught.value is raised
    assert len(received) < 600_000


@pytest.mark.parametrize(("there", "word"), [(999, "fewer"), (1001, "more")])
@pytest.mark.parametrize("form", [io.BytesIO, lambda data: iter([data[:10], b"", data[10:]])])
def test_a_file_of_another_size_is_never_sent_whole(form: Callable[[bytes], Any], there: int, word: str) -> None:
    received = bytearray()

    def script(sock: socket.socket) -> None:
        while chunk := sock.recv(65536):
            received.extend(chunk)

    with WireServer(script) as server, pytest.raises(errors.FileChanged) as caught:
        submit(client(server.url), form(b"y" * there), 1000)
    assert word in caught.value.description
    assert (caught.value.category, caught.value.outcome) == (Category.VALIDATION_ERROR, Outcome.NO)
    assert received.count(b"y") < 1000


@pytest.mark.parametrize("size", [1, 70_000, 1_000_000])
@pytest.mark.parametrize("form", [io.BytesIO, lambda data: iter([data[:10], b"", data[10:]])])
def test_a_file_with_the_promised_digest_arrives_whole(form: Callable[[bytes], Any], size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    recorder = Recorder(reply(SUBMITTED))
    with WireServer(recorder) as server:
        submit(client(server.url), form(data), size, sha256=hashlib.sha256(data).hexdigest().upper())
    assert recorder.parts[-1][1] == data


@pytest.mark.parametrize("size", [1, 70_000, 1_000_000])
def test_a_file_that_is_not_the_promised_one_is_never_sent_whole(size: int) -> None:
    received = bytearray()

    def script(sock: socket.socket) -> None:
        while chunk := sock.recv(65536):
            received.extend(chunk)

    with WireServer(script) as server, pytest.raises(errors.FileChanged) as caught:
        submit(client(server.url), io.BytesIO(b"y" * size), size, sha256=hashlib.sha256(b"other").hexdigest())
    assert "SHA-256" in caught.value.description
    assert caught.value.outcome is Outcome.NO
    assert received.count(b"y" * 100) <= max(0, size - 65536) // 100


class StorageBroke(Exception):
    """What reading from storage raises when its connection breaks."""


class Storage:
    """Opens a file at an offset; each reading breaks after so many bytes."""

    def __init__(self, data: bytes, lasts: int) -> None:
        self.data = data
        self.lasts = lasts
        self.opened: list[int] = []
        self.closed = 0

    def open_at(self, offset: int) -> Any:
        self.opened.append(offset)
        return self.Reading(self, offset)

    class Reading:
        def __init__(self, storage: "Storage", offset: int) -> None:
            self.storage, self.at, self.end = storage, offset, offset + storage.lasts

        def read(self, size: int, /) -> bytes:
            if self.at >= self.end and self.at < len(self.storage.data):
                raise StorageBroke
            chunk = self.storage.data[self.at : min(self.at + size, self.end)]
            self.at += len(chunk)
            return chunk

        def close(self) -> None:
            self.storage.closed += 1


def test_an_upload_goes_on_where_storage_broke_off() -> None:
    data = bytes(range(256)) * 4000
    storage = Storage(data, lasts=400_000)
    recorder = Recorder(reply(SUBMITTED))
    with WireServer(recorder) as server:
        file = Resumable(storage.open_at, breaks=StorageBroke)
        submit(client(server.url), file, len(data), sha256=hashlib.sha256(data).hexdigest())
        file.close()
    assert recorder.parts[-1][1] == data
    assert storage.opened == [0, 400_000, 800_000]
    assert storage.closed == 3


def test_storage_that_breaks_again_and_again_ends_the_upload_with_its_own_error() -> None:
    storage = Storage(b"y" * 1_000_000, lasts=10_000)
    with WireServer(never_reading) as server, pytest.raises(StorageBroke):
        submit(client(server.url), Resumable(storage.open_at, breaks=(StorageBroke,), times=5), 1_000_000)
    assert len(storage.opened) == 6


def test_what_is_no_break_of_storage_is_not_taken_for_one() -> None:
    class Gone(Exception):
        pass

    def open_at(offset: int) -> Any:
        raise Gone

    with WireServer(never_reading) as server, pytest.raises(Gone):
        submit(client(server.url), Resumable(open_at, breaks=StorageBroke), 10)


# --- memory and size


MEGABYTE = 1024 * 1024


def peak_of(call: Callable[[], Any]) -> int:
    """Bytes that the call held at most, beyond those before it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def refused(found: type[Exception], artist: Client) -> None:
    with pytest.raises(found):
        publish(artist)


def test_an_upload_of_50_megabytes_is_never_held_in_memory() -> None:
    size = 50 * MEGABYTE
    received = itertools.count()

    def script(sock: socket.socket) -> None:
        left, buffer = size, bytearray(65536)
        head = sock.recv(65536)
        left -= len(head.partition(b"\r\n\r\n")[2])
        while left > 0:
            left -= sock.recv_into(buffer)
        next(received)
        sock.sendall(reply(SUBMITTED))

    chunk = b"x" * 65536
    with WireServer(script) as server:
        peak = peak_of(lambda: submit(client(server.url), itertools.repeat(chunk, size // len(chunk)), size))
    assert next(received) == 1
    assert peak < 2 * MEGABYTE


def test_an_endless_answer_is_cut_off() -> None:
    sent = [0]

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            sock.sendall(b" " * 65536)
            sent[0] += 65536

    with WireServer(script) as server:
        peak = peak_of(lambda: refused(errors.BadAnswer, client(server.url)))
    assert peak < 12 * MEGABYTE
    assert sent[0] < 64 * MEGABYTE


def test_an_answer_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    """Announced, and sent as long as somebody listens."""
    sent = [0]

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n")
        while sent[0] < 1024 * MEGABYTE:
            sock.sendall(b" " * 65536)
            sent[0] += 65536

    with WireServer(script) as server:
        for call in (publish, submit, Client.whoami):
            with ends_soon(), pytest.raises(errors.BadAnswer):
                call(client(server.url))
        peak = peak_of(lambda: refused(errors.BadAnswer, client(server.url)))
    assert peak < 12 * MEGABYTE
    assert sent[0] < 256 * MEGABYTE


def test_a_gzip_bomb_stays_small() -> None:
    bomb = gzip.compress(b" " * (200 * MEGABYTE))
    answer = reply(bomb, headers={"Content-Encoding": "gzip"})
    with WireServer(answering(answer)) as server:
        peak = peak_of(lambda: refused(errors.BadAnswer, client(server.url)))
    assert peak < 12 * MEGABYTE


def test_a_compressed_answer_is_read() -> None:
    with WireServer(answering(reply(gzip.compress(PUBLISHED), headers={"Content-Encoding": "gzip"}))) as server:
        assert publish(client(server.url)).deviation_id == "DAF48E51-DE0E-B24D-4CEC-A23170DCE888"


# --- answers that are not what they should be


GARBLED = {
    "blank": reply(b""),
    "white space": reply(b" " * 19),
    "HTML under 200": reply(b"<html></html>", headers={"Content-Type": "text/html"}),
    "a list": reply(b"[]"),
    "a number": reply(b"9"),
    "null": reply(b"null"),
    "cut JSON": reply(PUBLISHED[:-20]),
    "cut body": reply(PUBLISHED).removesuffix(PUBLISHED[-20:]),
    "cut headers": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing at all": b"",
    "wrong charset": reply('{"deviationid":"Ä"}'.encode("latin-1"), headers={"Content-Type": "text/html; charset=x"}),
    "no gzip though it says so": reply(PUBLISHED, headers={"Content-Encoding": "gzip"}),
    "cut gzip": reply(gzip.compress(PUBLISHED)[:-12], headers={"Content-Encoding": "gzip"}),
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000 + b"\r\n",
    "an endless header line": b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 100_000 + b"\r\n\r\n",
    "no id": reply(b'{"status":"success"}'),
    "an empty id": reply(b'{"status":"success","deviationid":" ","itemid":""}'),
    "an id of another kind": reply(b'{"status":"success","deviationid":12,"itemid":1.5}'),
    "an id that is true": reply(b'{"status":"success","deviationid":true,"itemid":true}'),
    "moved": reply(b"", status="302 Found", headers={"Location": "https://www.deviantart.com/"}),
    "created, and blank": reply(b"", status="201 Created"),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "500": reply(b'{"error":"server_error","status":"error"}', status="500 Internal Server Error"),
    "502": reply(b"<html></html>", status="502 Bad Gateway"),
    "503": reply(b"{}", status="503 Service Unavailable"),
    "504": reply(b"", status="504 Gateway Timeout"),
}


@pytest.mark.parametrize("call", [submit, publish])
@pytest.mark.parametrize("answer", GARBLED.values(), ids=GARBLED.keys())
def test_a_garbled_answer_is_unknown_and_never_a_success(call: Callable[..., Any], answer: bytes) -> None:
    with WireServer(answering(answer)) as server:
        with pytest.raises(errors.DeviantArtError) as raised:
            call(client(server.url))
        assert server.connections == 1
    assert raised.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("answer", GARBLED.values(), ids=GARBLED.keys())
def test_a_garbled_answer_never_ends_a_grant(answer: bytes) -> None:
    with WireServer(answering(answer)) as server, pytest.raises(errors.DeviantArtError) as raised:
        oauth.refresh(Config("1", "client-secret", base_url=server.url), "refresh-token")
    assert raised.value.outcome is Outcome.UNKNOWN
    assert raised.value.category is not Category.AUTH_ERROR


@pytest.mark.parametrize("call", [submit, publish])
def test_a_reset_is_unknown_and_nothing_is_tried_again(call: Callable[..., Any]) -> None:
    def script(sock: socket.socket) -> None:
        read_request(sock)
        reset(sock)

    with WireServer(script) as server:
        with pytest.raises(errors.AnswerLost) as raised:
            call(client(server.url))
        assert server.connections == 1
    assert raised.value.outcome is Outcome.UNKNOWN
    assert "lost" in raised.value.description


def test_a_reset_in_the_middle_of_an_upload_is_unknown() -> None:
    def script(sock: socket.socket) -> None:
        sock.recv(100_000)
        reset(sock)

    with WireServer(script) as server, pytest.raises(errors.AnswerLost) as raised:
        submit(client(server.url), size=20_000_000)
    assert raised.value.outcome is Outcome.UNKNOWN


def test_an_answer_before_the_end_of_the_upload_is_heard() -> None:
    def script(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(reply(b'{"error":"user_api_threshold","status":"error"}', status="429 Too Many Requests"))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    with WireServer(script) as server, pytest.raises(errors.RateLimited):
        submit(client(server.url), size=5_000_000)


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "x-unknown", "ascii"])
def test_json_is_read_as_utf_8_whatever_charset_the_header_names(charset: str) -> None:
    body = '{"deviationid":"D","title":"Müdes Mädchen 眠い"}'.encode()
    answer = reply(body, headers={"Content-Type": f"text/html; charset={charset}"})
    with WireServer(answering(answer)) as server:
        assert client(server.url).deviation("D").title == "Müdes Mädchen 眠い"


def test_white_space_and_unknown_keys_do_no_harm() -> None:
    body = b" \r\n\t " + json.dumps({**json.loads(PUBLISHED), "new": {"key": [1]}, "error": None}).encode() + b"\n"
    with WireServer(answering(reply(body))) as server:
        assert publish(client(server.url)).url == "https://www.deviantart.com/a"


def test_a_success_without_a_url_is_a_success() -> None:
    with WireServer(answering(reply(b'{"deviationid":"D","url":"javascript:alert(1)"}'))) as server:
        receipt = publish(client(server.url))
    assert (receipt.deviation_id, receipt.url) == ("D", None)


def test_the_date_is_deviantarts() -> None:
    answer = reply(PUBLISHED, headers={"Date": "Tue, 24 Nov 2026 12:00:00 GMT"})
    with WireServer(answering(answer)) as server:
        assert publish(client(server.url)).date == dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


def test_a_redirect_is_not_followed_with_the_token() -> None:
    elsewhere = Recorder(reply(PUBLISHED))
    with WireServer(elsewhere) as other:
        moved = reply(b"", status="307 Temporary Redirect", headers={"Location": f"{other.url}/steal"})
        with WireServer(answering(moved)) as server:
            for call in (publish, submit, Client.whoami):
                with pytest.raises(errors.Unexpected):
                    call(client(server.url))
            with pytest.raises(errors.Unexpected):
                oauth.refresh(Config("1", "client-secret", base_url=server.url), "refresh-token")
        assert other.connections == 0


# --- TLS


def certificate(tmp_path: Path, *, address: str = "127.0.0.1") -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS with a certificate of its own making, and the file that makes it trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    bundle, secret = tmp_path / "certificate.pem", tmp_path / "key.pem"
    bundle.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle, secret)
    return context, str(bundle)


def test_a_certificate_that_nobody_vouches_for_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)
    recorder = Recorder(reply(PUBLISHED))
    with WireServer(recorder, tls=context) as server:
        for call in (publish, submit):
            with pytest.raises(errors.Unreachable) as raised:
                call(client(server.url))
            assert raised.value.outcome is Outcome.NO
            assert "tls" in raised.value.description
    assert recorder.requests == []


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    context, bundle = certificate(tmp_path, address="127.0.0.2")
    with WireServer(Recorder(reply(PUBLISHED)), tls=context) as server, pytest.raises(errors.Unreachable):
        publish(client(server.url, ca_bundle=bundle))


def test_over_tls_everything_works_alike(tmp_path: Path) -> None:
    context, bundle = certificate(tmp_path)
    recorder = Recorder(reply(SUBMITTED))
    with WireServer(recorder, tls=context) as server:
        assert submit(client(server.url, ca_bundle=bundle), size=3_000_000).item_id == 5309219412345678
    assert recorder.parts[-1][1] == b"x" * 3_000_000


def test_over_tls_an_upload_that_nobody_reads_ends_in_time_too(tmp_path: Path) -> None:
    context, bundle = certificate(tmp_path)
    impatient = Timeouts(connect_seconds=60, stall_seconds=0.5, submit_seconds=60)
    with (
        WireServer(never_reading, tls=context) as server,
        ends_soon(),
        pytest.raises(errors.AnswerLost),
    ):
        submit(client(server.url, ca_bundle=bundle, timeouts=impatient), size=40_000_000)


def test_over_tls_a_slow_answer_ends_in_time_too(tmp_path: Path) -> None:
    context, bundle = certificate(tmp_path)
    hung_up: list[bool] = []

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        try:
            while not server.stopping.wait(0.02):
                sock.sendall(b"X")
        except OSError:
            hung_up.append(True)

    with WireServer(script, tls=context) as server:
        with ends_soon(), pytest.raises(errors.AnswerLost):
            client(server.url, ca_bundle=bundle, timeouts=BRIEF).whoami()
        server.join()
    assert hung_up == [True]


def test_a_handshake_that_never_comes_did_certainly_nothing(tmp_path: Path) -> None:
    def silence(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass

    _, bundle = certificate(tmp_path)
    with WireServer(silence) as server:
        url = server.url.replace("http://", "https://")
        with pytest.raises(errors.Unreachable) as raised:
            client(url, ca_bundle=bundle, timeouts=Timeouts(connect_seconds=0.5)).whoami()
    assert raised.value.outcome is Outcome.NO


# --- pictures


def test_a_picture_is_fetched_without_the_token() -> None:
    recorder = Recorder(reply(b"\x89PNG", headers={"Content-Type": "image/png"}))
    with WireServer(recorder) as server:
        assert client(server.url).picture(f"{server.url}/media/1.png?token=abc", 1000) == b"\x89PNG"
    assert "authorization" not in recorder.headers


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.test/a.png",
        "https://wixmp.com.evil.test/a.png",
        "https://evilwixmp.com/a.png",
        "https://evil.test\\.wixmp.com/a.png",
        "https://evil.test\t.wixmp.com/a.png",
        "https://evil.test%2f.wixmp.com/a.png",
        "https://evil.test\u3002wixmp.com/a.png",
        " https://images.wixmp.com/a.png",
        "http://images-wixmp-x.wixmp.com/a.png",
        "https://images.wixmp.com:8443/a.png",
        "https://user@images.wixmp.com/a.png",
        "https://images.wixmp.com@evil.test/a.png",
        "https://www.deviantart.com.evil.test/a.png",
        "https://127.0.0.1/a.png",
        "https://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "//images.wixmp.com/a.png",
        "https://images.wixmp.com:port/a.png",
        "https://[::1/a.png",
        "",
    ],
)
def test_a_picture_is_fetched_from_deviantarts_hosts_only(url: str) -> None:
    with pytest.raises(errors.PictureRefused):
        client("https://www.deviantart.com").picture(url, 1000)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (reply(b"x" * 2000, headers={"Content-Type": "image/png"}), errors.PictureRefused),
        (reply(b"<html>", headers={"Content-Type": "text/html"}), errors.PictureRefused),
        (reply(b"", status="302 Found", headers={"Location": "http://127.0.0.1:1/"}), errors.Unexpected),
        (reply(b"", status="404 Not Found"), errors.ServerFailed),
        (b"", errors.AnswerLost),
    ],
    ids=["too large", "no picture", "moved", "not there", "no answer"],
)
def test_what_is_no_small_picture_is_refused(answer: bytes, found: type[Exception]) -> None:
    with WireServer(answering(answer)) as server, pytest.raises(found):
        client(server.url).picture(f"{server.url}/a.png", 1000)


# --- logs and secrets


def test_each_call_leaves_one_line_without_secrets_or_bodies() -> None:
    refusal = reply(b'{"error":"invalid_token","error_description":"s3cret-token is bad"}', status="401 Unauthorized")
    with capture_logs() as lines:
        with WireServer(answering(reply(PUBLISHED))) as server:
            publish(client(server.url, "s3cret-token"))
        with WireServer(answering(refusal)) as server, pytest.raises(errors.TokenExpired) as raised:
            submit(client(server.url, "s3cret-token"))
    assert [line["event"] for line in lines] == ["deviantart_answered", "deviantart_call_failed"]
    assert {line["correlation_id"] for line in lines} == {"cafe"}
    assert lines[0]["endpoint"] == "/api/v1/oauth2/stash/publish"
    assert lines[1]["failure"] == "deviantart_token_expired"
    shown = json.dumps(lines) + str(raised.value) + raised.value.description + raised.value.excerpt
    for secret in ("s3cret-token", "client-secret", "Night sky"):
        assert secret not in shown


def test_nothing_shows_its_secrets() -> None:
    config = Config("1", "client-secret")
    assert "client-secret" not in repr(config)
    assert "s3cret" not in repr(Client(config, "s3cret"))
    pair = oauth.TokenPair("s3cret-a", "s3cret-r", 3600, ("basic",))
    assert "s3cret" not in repr(pair)
    assert "s3cret" not in str(pair)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ünïcode"])
def test_a_token_that_would_break_the_header_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match="one word of ASCII") as raised:
        client("https://www.deviantart.com", token)
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://www.deviantart.com",
        "ftp://www.deviantart.com",
        "www.deviantart.com",
        "https://",
        "https://user@www.deviantart.com",
        "https://www.deviantart.com?x=1",
        "http://localhost.evil.test",
    ],
)
def test_a_base_url_that_would_leak_tokens_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="base url"):
        Config("1", "client-secret", base_url=base_url)


@pytest.mark.parametrize("base_url", ["http://localhost:9080", "http://127.0.0.1:9080", "http://[::1]:9080"])
def test_a_stand_in_on_this_machine_needs_no_tls(base_url: str) -> None:
    assert Config("1", "client-secret", base_url=base_url + "/").api_url == f"{base_url}/api/v1/oauth2"
