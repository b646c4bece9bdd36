"""What holds for every call: the network in front, versions, tokens, envelopes, how parameters are written."""

import gzip
import http.client
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urlsplit

import pytest

from tests.deviantart.sandbox.artist import API, Artist, picture, refusal
from tests.sandbox_process import SandboxProcess

WHOAMI = f"{API}/user/whoami"


def call(
    sandbox: SandboxProcess, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> http.client.HTTPResponse:
    """A request with these headers and no others (but Host and Content-Length)."""
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    return connection.getresponse()


def body_of(answer: http.client.HTTPResponse) -> bytes:
    body = answer.read()
    return gzip.decompress(body) if answer.headers["Content-Encoding"] == "gzip" else body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"User-Agent": "app/1", "Accept-Encoding": "gzip"}, 401),
        ({"User-Agent": "app/1", "Accept-Encoding": "br, gzip;q=0.5"}, 401),
        ({"Accept-Encoding": "gzip"}, 403),
        ({"User-Agent": "", "Accept-Encoding": "gzip"}, 403),
        ({"User-Agent": "app/1"}, 403),
        ({"User-Agent": "app/1", "Accept-Encoding": "identity"}, 403),
        ({"User-Agent": "app/1", "Accept-Encoding": "gzip;q=0"}, 403),
    ],
)
def test_only_clients_that_name_themselves_and_take_gzip_get_through(
    sandbox: SandboxProcess, headers: dict[str, str], status: int
) -> None:
    answer = call(sandbox, "GET", WHOAMI, headers)
    assert answer.status == status
    if status == 403:
        assert answer.headers["Content-Type"] == "text/html"
        assert answer.headers["Server"] == "CloudFront"
        assert b"The request could not be satisfied" in body_of(answer)


def test_the_block_page_also_stands_before_the_token_endpoint(sandbox: SandboxProcess) -> None:
    assert call(sandbox, "POST", "/oauth2/token", {"User-Agent": "app/1"}, b"grant_type=x").status == 403


def test_answers_are_compressed(sandbox: SandboxProcess) -> None:
    answer = call(sandbox, "GET", WHOAMI, {"User-Agent": "app/1", "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"Must provide an access_token" in gzip.decompress(answer.read())


@pytest.mark.parametrize(
    ("minor", "status", "error"),
    [(None, 200, None), ("20240701", 200, None), ("20210526", 200, None), ("20990101", 404, "version_error")],
)
def test_the_minor_version_must_be_a_known_one(anna: Artist, minor: str | None, status: int, error: str | None) -> None:
    answer = anna.get("/user/whoami", headers={} if minor is None else {"dA-minor-version": minor})
    assert (answer.status_code, answer.json().get("error")) == (status, error)
    if error:
        assert answer.json()["error_description"] == "Api Version 1.20990101 not supported"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing/here"),
        ("POST", "/user/whoami"),
        ("GET", "/stash/publish"),
        ("GET", "/deviation/not-a-uuid"),
        ("GET", "/gallery/12345"),
        ("GET", "/stash/item/5002401267596307"),
        ("GET", "/stash/delta"),
        ("GET", "/stash/space"),
        ("POST", "/stash/delete"),
        ("GET", "/stash/publish/userdata"),
        ("GET", "/stash/1451131235946690/contents"),
    ],
)
def test_unknown_paths_wrong_methods_and_removed_endpoints_are_not_found(anna: Artist, method: str, path: str) -> None:
    answer = anna.session.request(method, anna.sandbox.base_url + API + path, timeout=20)
    assert refusal(answer) == (404, "invalid_request", None)
    assert answer.json()["error_description"] == "Api endpoint not found."


def test_a_token_may_stand_in_the_post_body(sandbox: SandboxProcess, anna: Artist) -> None:
    del anna.session.headers["Authorization"]
    assert anna.post("/placebo").status_code == 401
    assert anna.post("/placebo", data={"access_token": anna.tokens["access_token"]}).json() == {"status": "success"}


def test_a_token_in_the_query_is_for_applications_of_oauth_2_0_only(sandbox: SandboxProcess, anna: Artist) -> None:
    del anna.session.headers["Authorization"]
    refused = anna.get("/placebo", params={"access_token": anna.tokens["access_token"]})
    assert refusal(refused) == (401, "invalid_request", None)

    sandbox.apps("2000", oauth="2.0")
    old = sandbox.tokens("anna", client_id="2000")
    assert anna.get("/placebo", params={"access_token": old["access_token"]}).status_code == 200


def test_tokens_are_judged_in_deviantarts_words(sandbox: SandboxProcess, anna: Artist) -> None:
    del anna.session.headers["Authorization"]
    none = anna.get("/user/whoami")
    assert none.json()["error_description"] == "Must provide an access_token to access this resource."
    garbage = anna.get("/user/whoami", headers={"Authorization": "Bearer 123"})
    assert refusal(garbage) == (401, "invalid_token", None)
    assert garbage.json()["error_description"] == "Invalid token."
    sandbox.advance(3601)
    expired = anna.get("/user/whoami", headers={"Authorization": f"Bearer {anna.tokens['access_token']}"})
    assert refusal(expired) == (401, "invalid_token", None)
    assert expired.json()["error_description"].startswith("Expired oAuth2 user token.")


def test_an_access_token_lives_3600_seconds_of_the_virtual_clock(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.advance(3590)
    assert anna.get("/placebo").status_code == 200
    sandbox.advance(10)
    assert anna.get("/placebo").status_code == 401


@pytest.mark.parametrize(
    ("path", "method", "scope"),
    [
        ("/user/whoami", "GET", "user"),
        ("/gallery/all", "GET", "browse"),
        ("/gallery/folders", "GET", "browse"),
        ("/deviation/metadata", "GET", "browse"),
        ("/stash/submit", "POST", "stash"),
        ("/stash/publish", "POST", "publish"),
    ],
)
def test_a_missing_scope_is_named(sandbox: SandboxProcess, path: str, method: str, scope: str) -> None:
    others = [other for other in ("basic", "user", "browse", "stash", "publish") if other != scope]
    artist = Artist(sandbox, "anna", scopes=others)
    answer = artist.session.request(method, sandbox.base_url + API + path, timeout=20)
    assert refusal(answer) == (403, "insufficient_scope", None)
    assert answer.json()["scope"] == scope


def test_the_date_header_is_that_of_the_virtual_clock(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.advance(86400)
    date = parsedate_to_datetime(anna.get("/placebo").headers["Date"]).timestamp()
    assert abs(date - (time.time() + 86400)) < 30


def test_error_code_zero_is_an_integer_in_the_envelope(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("anna", accepted_submission_policy=False)
    body = anna.publish(anna.item()).json()
    assert set(body) == {"error", "error_description", "error_code", "status"}
    assert body["error_code"] == 0
    assert body["error_code"] is not False


def test_a_validation_error_names_its_fields(anna: Artist) -> None:
    body = anna.post("/stash/publish", data={"is_mature": "perhaps"}).json()
    assert body == {
        "error": "invalid_request",
        "error_description": "Request field validation failed.",
        "error_details": {"itemid": "itemid is required", "is_mature": "failed to validate is_mature"},
        "status": "error",
    }


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ([("tags[]", "night"), ("tags[]", "sky")], ["night", "sky"]),
        ([("tags[0]", "night"), ("tags[1]", "sky")], ["night", "sky"]),
        ([("tags[]", "night,sky")], ["nightsky"]),
        ([("tags", "night,sky")], []),
        ([("tags", '["night","sky"]')], []),
    ],
)
def test_arrays_come_in_two_bracket_styles_and_in_no_other(
    sandbox: SandboxProcess, anna: Artist, fields: list[tuple[str, str]], tags: list[str]
) -> None:
    answer = anna.post("/stash/publish", data=[("itemid", anna.item()), ("is_mature", "0"), *fields])
    assert answer.status_code == 200
    assert sandbox.ledger()["deviations"][0]["tags"] == tags


@pytest.mark.parametrize(
    ("spelling", "meaning"),
    [("true", True), ("1", True), ("yes", True), ("false", False), ("0", False), ("no", False)],
)
def test_booleans_come_in_three_spellings(sandbox: SandboxProcess, anna: Artist, spelling: str, meaning: bool) -> None:
    anna.published(is_mature=spelling, mature_level="moderate", noai=spelling)
    options = sandbox.ledger()["deviations"][0]["options"]
    assert (options["is_mature"], options["noai"]) == (meaning, meaning)


@pytest.mark.parametrize("way", ["urlencoded", "multipart", "query"])
def test_publish_takes_its_fields_from_a_form_a_multipart_body_or_the_query(anna: Artist, way: str) -> None:
    fields = {"itemid": str(anna.item()), "is_mature": "false", "license_options[modify]": "no"}
    if way == "urlencoded":
        answer = anna.post("/stash/publish", data=fields)
    elif way == "multipart":
        answer = anna.post("/stash/publish", files={name: (None, value) for name, value in fields.items()})
    else:
        answer = anna.post("/stash/publish?" + urlencode(fields))
    assert answer.status_code == 200, answer.text


def test_successful_bodies_have_an_unknown_key_now_and_then(sandbox: SandboxProcess, anna: Artist) -> None:
    known = {"userid", "username", "usericon", "type"}
    assert {frozenset(anna.get("/user/whoami").json()) for _ in range(40)} == {frozenset(known)}
    sandbox.profile(extra_key_chance=0.5)
    bodies = [set(anna.get("/user/whoami").json()) for _ in range(40)]
    assert all(known <= body for body in bodies)
    assert any(body > known for body in bodies)
    assert any(body == known for body in bodies)


def test_a_connection_serves_one_request_after_the_other(sandbox: SandboxProcess, anna: Artist) -> None:
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    headers = {
        "User-Agent": "app/1",
        "Accept-Encoding": "gzip",
        "Authorization": f"Bearer {anna.tokens['access_token']}",
    }
    form = {"Content-Type": "multipart/form-data; boundary=B"}
    endless_headers = b"--B\r\nContent-Disposition: " + b"x" * 300_000
    large_field = b'--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 3_000_000 + b"\r\n--B--\r\n"
    sockets = set()
    for method, path, body, more in (
        ("GET", WHOAMI, None, {}),
        ("POST", f"{API}/nothing", b"x" * 300_000, {}),
        ("POST", f"{API}/stash/publish", b"itemid=1&is_mature=0", {}),
        ("POST", f"{API}/stash/submit", endless_headers, form),
        ("POST", f"{API}/stash/submit", large_field, form),
        ("HEAD", "/", None, {}),
        ("GET", WHOAMI, None, {}),
    ):
        connection.request(method, path, body=body, headers={**headers, **more})
        answer = connection.getresponse()
        answer.read()
        sockets.add(connection.sock)
    assert answer.status == 200
    assert len(sockets) == 1


def test_a_body_may_come_in_chunks_and_after_a_100(sandbox: SandboxProcess, anna: Artist) -> None:
    content = picture()
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = head + content + b"\r\n--B--\r\n"
    chunked = anna.post(
        "/stash/submit",
        data=(body[start : start + 7000] for start in range(0, len(body), 7000)),
        headers={"Content-Type": "multipart/form-data; boundary=B", "Expect": "100-continue"},
    )
    assert chunked.status_code == 200
    assert sandbox.ledger()["items"][0]["size"] == len(content)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/3\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_ends_the_connection(sandbox: SandboxProcess, request_bytes: bytes) -> None:
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    connection.connect()
    connection.sock.sendall(request_bytes)
    received = b""
    while piece := connection.sock.recv(4096):
        received += piece
    assert received.startswith(b"HTTP/1.1 400 ")
    assert sandbox.summary()["deviations"] == 0  # it still serves others
