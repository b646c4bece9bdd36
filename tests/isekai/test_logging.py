import io
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog

from isekai import logging as isekai_logging
from isekai.logging import HIDDEN, SecretsHidden, correlation_id
from tests.isekai.logs import KNOWN, logging_to
from tests.processes import ROOT

API_KEY = "isk_" + "0123456789abcdef" * 4
ACCESS_TOKEN = "9f" * 20 + "0a1b2c3d4e"  # 50 hex digits
REFRESH_TOKEN = "4c" * 20
DIGEST = "ab" * 32  # a SHA-256, which is no secret


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Logs as in production; gives the lines written so far, each of which must be JSON."""
    with logging_to(as_json=True) as written:
        yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.fixture
def console() -> Iterator[io.StringIO]:
    with logging_to(as_json=False) as written:
        yield written


Lines = Callable[[], list[dict[str, Any]]]


# --- shape -----------------------------------------------------------------------------------------------------------
def test_a_line_has_the_fields_that_it_always_had(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(request_id="request-1")
    structlog.get_logger("publisher").info("published", deviation_id=UUID(int=1), attempt=2, late=0.25, ok=True)
    (line,) = lines()
    assert list(line)[:4] == ["timestamp", "level", "message", "correlationId"]
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["message"], line["correlationId"]) == ("info", "published", "request-1")
    assert (line["deviation_id"], line["attempt"], line["late"], line["ok"]) == (str(UUID(int=1)), 2, 0.25, True)
    assert line["logger"] == "publisher"
    assert correlation_id() == "request-1"


def test_libraries_write_the_same_lines(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(request_id="request-2")
    logging.getLogger("some.library").warning("%s of %d failed", "one", 3)
    (line,) = lines()
    assert (line["level"], line["message"]) == ("warning", "one of 3 failed")
    assert (line["logger"], line["correlationId"]) == ("some.library", "request-2")


def test_warnings_are_lines_too(lines: Lines) -> None:
    logging.getLogger("py.warnings").warning("old thing used")
    assert lines()[0]["message"] == "old thing used"


def test_a_value_that_json_does_not_know_costs_no_line() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("not shown")

    with logging_to(as_json=True) as written:  # alone: pytest's own handlers cannot show it either
        structlog.get_logger("x").info("odd", odd=Odd(), nan=float("nan"), many={1, 2}, deep={"a": {"b": [b"c"]}})
    line = json.loads(written.getvalue())
    assert line["odd"] == "<Odd>"
    assert line["nan"] == "nan"
    assert line["many"] == [1, 2]
    assert line["deep"] == {"a": {"b": ["b'c'"]}}


def test_a_line_that_cannot_be_made_is_reported_without_its_contents() -> None:
    with logging_to(as_json=True) as written:
        logging.getLogger("some.library").warning("token %d", ACCESS_TOKEN)
    line = json.loads(written.getvalue())
    assert line["message"] == "log_line_lost"
    assert line["logger"] == "some.library"
    assert "test_logging.py" in line["place"]
    assert ACCESS_TOKEN not in written.getvalue()


def test_a_very_long_text_is_cut_but_never_through_a_secret(lines: Lines) -> None:
    for shift in range(0, 60, 7):
        text = "x" * (isekai_logging.LONGEST_TEXT - shift - 1) + " " + ACCESS_TOKEN + " " + "y" * 100_000
        logging.getLogger("some.library").warning(text)
    messages = [line["message"] for line in lines()]
    assert max(map(len, messages)) < isekai_logging.LONGEST_TEXT + 20
    assert [message[-30:] for message in messages if ACCESS_TOKEN[:8] in message] == []


# --- secrets ---------------------------------------------------------------------------------------------------------
SECRET_TEXTS = {
    "api key": f"key {API_KEY} refused",
    "bearer": "Authorization: Bearer abc.def-ghi",
    "bearer alone": "sent bearer abcdefgh-ijk/lmn=",
    "basic": "Authorization: Basic dXNlcjpwYXNz",
    "headers": "{'Authorization': 'Basic dXNlcjpwYXNz', 'Accept': 'application/json'}",
    "cookie": "Cookie: isekai=abcdefghijk; other=lmnopq",
    "set-cookie": "Set-Cookie: __Host-isekai=abcdefghijk; Secure",
    "access token": f"answered {ACCESS_TOKEN} to us",
    "refresh token": f"old one:{REFRESH_TOKEN}.",
    "json": '{"access_token": "abcdefghijk", "token_type": "Bearer", "refresh_token":"lmnopqrstuv"}',
    "form": "grant_type=refresh_token&refresh_token=abcdefghijk&client_secret=lmnopqrstuv",
    "url query": "GET /callback/?code=abcdefghijk&state=lmnopqrstuv HTTP/1.1",
    "signed url": "https://s3/x?X-Amz-Credential=abcdefghijk&X-Amz-Signature=lmnopqrstuv&X-Amz-Expires=600",
    "database url": "postgresql://isekai:abcdefghijk@db:5432/isekai",
    "redis url": "Connected to redis://:abcdefghijk@127.0.0.1:6379/0",
    "keyword": "login(user='a', password='abcdefghijk')",
    "known": f"the value {KNOWN} is not accepted",
}
HIDDEN_PARTS = ["abcdefgh", "lmnopq", "dXNlcjpwYXNz", "abc.def-ghi", ACCESS_TOKEN, REFRESH_TOKEN, API_KEY[8:], KNOWN]


def assert_no_secret(text: str) -> None:
    for part in HIDDEN_PARTS:
        assert part not in text
    assert HIDDEN in text


@pytest.mark.parametrize("text", SECRET_TEXTS.values(), ids=SECRET_TEXTS.keys())
def test_a_secret_in_the_text_of_a_library_is_hidden(lines: Lines, text: str) -> None:
    logging.getLogger("urllib3.connectionpool").warning(text)
    logging.getLogger("some.library").warning("Failed: %s", text)
    logging.getLogger("some.library").warning("Failed: %(what)s", {"what": text})
    for line in lines():
        assert_no_secret(json.dumps(line))


@pytest.mark.parametrize("text", SECRET_TEXTS.values(), ids=SECRET_TEXTS.keys())
def test_a_secret_in_an_exception_is_hidden(lines: Lines, text: str) -> None:
    try:
        try:
            raise ValueError(text)
        except ValueError as cause:
            raise RuntimeError("outer") from cause
    except RuntimeError as error:
        structlog.get_logger("ours").exception("call_failed", error=error, answer={"list": [text]})
        logging.getLogger("theirs").exception("it failed: %r", error.__cause__)
    ours, theirs = lines()
    assert "Traceback" in ours["exception"]
    assert "RuntimeError" in theirs["exception"]
    for line in (ours, theirs):
        assert_no_secret(json.dumps(line))


@pytest.mark.parametrize("text", SECRET_TEXTS.values(), ids=SECRET_TEXTS.keys())
def test_a_secret_is_hidden_at_a_terminal_too(console: io.StringIO, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        structlog.get_logger("ours").exception("call_failed", error=error, deep=[{"x": text}])
    assert "call_failed" in console.getvalue()
    assert "Traceback" in console.getvalue()
    assert_no_secret(console.getvalue())


@pytest.mark.parametrize(
    "name",
    [
        "access_token",
        "refreshToken",
        "client_secret",
        "password",
        "Authorization",
        "cookie",
        "api_key",
        "apiKey",
        "code_verifier",
        "code",
        "x-api-key",
        "csrftoken",
        "signature",
        "credentials",
    ],
)
def test_a_value_is_hidden_by_its_name(lines: Lines, name: str) -> None:
    structlog.get_logger("x").info("event", **{name: "abc"})
    structlog.get_logger("x").info("event", nested={"deep": [{name: "abc"}]})
    first, second = lines()
    assert first[name] == HIDDEN
    assert second["nested"] == {"deep": [{name: HIDDEN}]}


def test_what_is_no_secret_stays_readable(lines: Lines) -> None:
    said = {
        "token_version": 3,
        "token_id": "7",
        "code": 404,
        "sha256": DIGEST,
        "id": "0198c0de-7a3e-7000-8000-123456789abc",
        "deviationid": "1B5E2A9C-0000-4B3B-9D0B-0123456789AB",
        "url": "https://www.deviantart.com/artist/art/Title-1234567890",
        "query": "/works/?status=draft&page=2",
        "sentence": "The token expires soon; short words stay.",
    }
    structlog.get_logger("x").info("event", **said)
    (line,) = lines()
    assert {name: line[name] for name in said} == said


def test_an_evil_text_is_read_quickly() -> None:
    hide = SecretsHidden([KNOWN])
    evil = ["a" * 50_000, "token" * 10_000, "token=" * 8_000, "://" * 15_000, "://a:" * 10_000, "0" * 50_000]
    evil += [
        'password="' + "a" * 50_000,
        "cookie: " * 6_000,
        "bearer " * 7_000,
        "?code" * 10_000,
        "authorization" * 4_000,
    ]
    started = time.process_time()
    for text in evil:
        hide.text(text)
    assert time.process_time() - started < len(evil) * 0.1


# --- forged lines ----------------------------------------------------------------------------------------------------
FORGERIES = [
    "nice\n2030-01-01T00:00:00Z [info     ] payment_received",
    "nice\r\nforged",
    "nice\x1b[2K\x1b[1Aforged",
    "nice\x9b2Kforged",
    "nice\u2028forged",
    "nice\u202eforged",
    "nice\x00\x08\x7fforged",
]


@pytest.mark.parametrize("text", FORGERIES)
def test_no_value_can_begin_a_line_of_its_own(lines: Lines, text: str) -> None:
    structlog.get_logger("x").info("title_changed", title=text, **{"user\nagent": text})
    logging.getLogger("some.library").warning("Not found: %s", text)
    assert len(lines()) == 2
    assert lines()[0]["title"] == text, "it is escaped, not changed"


@pytest.mark.parametrize("text", FORGERIES)
def test_no_value_can_begin_a_line_at_a_terminal(console: io.StringIO, text: str) -> None:
    structlog.get_logger("x").info("title_changed", title=text, nested=[text])
    logging.getLogger("some.library").warning("Not found: %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("x").exception("failed")
    shown = console.getvalue()
    assert not isekai_logging.CONTROL.search(shown.replace("\n", ""))
    beginnings = [line for line in shown.split("\n") if line and not line.startswith("  | ")]
    assert len(beginnings) == 3, "one for each event; tracebacks are set off"
    assert all("forged" not in line.split("]", 1)[0] for line in beginnings)


# --- what would bypass the log ---------------------------------------------------------------------------------------
def test_what_ends_a_process_is_a_line_without_secrets() -> None:
    program = f"""
import threading
from isekai import logging
logging.configure(level="INFO", as_json=True)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("token={ACCESS_TOKEN}\\nforged")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    in_thread, at_end = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert in_thread["message"] == at_end["message"] == "uncaught_exception"
    assert "ZeroDivisionError" in in_thread["exception"]
    assert "ValueError" in at_end["exception"]
    assert ACCESS_TOKEN not in done.stderr
