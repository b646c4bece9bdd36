"""Scripted faults: what the client sees, what was committed, and whom they strike."""

import gzip
import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.deviantart.sandbox.artist import API, Artist, wait_until
from tests.sandbox_process import SandboxProcess

PUBLISH = {"path": "/stash/publish"}


def last_request(sandbox: SandboxProcess) -> dict[str, Any]:
    return sandbox.ledger()["requests"][-1]


@pytest.mark.parametrize(
    ("fault", "committed"),
    [
        ({"do": "reset_before"}, False),
        ({"do": "reset_after_commit"}, True),
        ({"do": "status", "status": 500}, False),
        ({"do": "status", "status": 500, "after_commit": True}, True),
        ({"do": "html", "status": 504}, False),
        ({"do": "html", "status": 504, "after_commit": True}, True),
        ({"do": "blank"}, False),
        ({"do": "blank", "after_commit": True}, True),
        ({"do": "truncate"}, False),
        ({"do": "truncate", "after_commit": True}, True),
    ],
)
@pytest.mark.parametrize("call", ["submit", "publish"])
def test_a_fault_comes_before_or_after_the_commit(
    sandbox: SandboxProcess, anna: Artist, fault: dict[str, Any], committed: bool, call: str
) -> None:
    itemid = anna.item() if call == "publish" else 0
    sandbox.faults([{"match": {"path": f"/stash/{call}"}, **fault}])
    try:
        answer = anna.publish(itemid) if call == "publish" else anna.submit(title="Night sky")
        assert "itemid" not in answer.text
        assert "deviationid" not in answer.text
    except requests.RequestException:
        pass  # the connection ended instead, which is the point of some
    entry = last_request(sandbox)
    assert (entry["fault"], entry["committed"], entry["delivered"]) == (fault["do"], committed, False)
    ledger = sandbox.ledger()
    works = ledger["deviations"] if call == "publish" else ledger["items"]
    assert [work["delivered"] for work in works] == [False] * committed


def test_a_reset_is_seen_as_a_reset(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/placebo"}, "do": "reset_before"}])
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    connection.request("GET", f"{API}/placebo", headers={"Accept-Encoding": "gzip", "User-Agent": "app/1"})
    with pytest.raises(ConnectionResetError):
        connection.getresponse()


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "text"),
    [
        ({"do": "status", "status": 429}, 429, "application/json", '"user_api_threshold"'),
        ({"do": "status", "status": 500}, 500, "application/json", '"Internal Server Error."'),
        ({"do": "status", "status": 503}, 503, "application/json", '"server_error"'),
        ({"do": "status", "status": 401}, 401, "application/json", "Expired oAuth2 user token."),
        ({"do": "status", "status": 502}, 502, "text/html", "502 ERROR"),
        ({"do": "status", "status": 400, "error_code": 6}, 400, "application/json", '"Publication failed."'),
        ({"do": "status", "status": 418, "body": {"error": "teapot"}}, 418, "application/json", '{"error": "teapot"}'),
        ({"do": "status", "status": 200, "body": "<p>Hello"}, 200, "text/html", "<p>Hello"),
        ({"do": "html"}, 403, "text/html", "Request blocked"),
        ({"do": "html", "status": 504}, 504, "text/html", "attempted to establish a connection with the origin"),
        ({"do": "html", "status": 200, "body": "<h1>Hi"}, 200, "text/html", "<h1>Hi"),
        ({"do": "blank"}, 200, "application/json", " " * 20),
    ],
)
def test_an_answer_that_is_not_the_true_one(
    sandbox: SandboxProcess, anna: Artist, fault: dict[str, Any], status: int, content_type: str, text: str
) -> None:
    sandbox.faults([{"match": {"path": "/placebo"}, **fault}])
    answer = anna.get("/placebo")
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith(content_type)
    assert text in answer.text
    assert anna.get("/placebo").json() == {"status": "success"}


def test_a_status_may_bring_headers(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/placebo"}, "do": "status", "status": 429, "headers": {"Retry-After": "7"}}])
    assert anna.get("/placebo").headers["Retry-After"] == "7"


def test_a_truncated_answer_announces_more_than_it_sends(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item()
    sandbox.faults([{"match": PUBLISH, "do": "truncate", "after_commit": True}])
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    headers = {
        **{name: str(value) for name, value in anna.session.headers.items()},
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.request("POST", f"{API}/stash/publish", f"itemid={itemid}&is_mature=0", headers)
    answer = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead) as cut:
        answer.read()
    assert len(cut.value.partial) > 0
    with pytest.raises((EOFError, json.JSONDecodeError)):
        json.loads(gzip.decompress(cut.value.partial))


# --- stalls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_stall_answers_in_the_end(sandbox: SandboxProcess, anna: Artist, after_commit: bool) -> None:
    itemid = anna.item()
    sandbox.faults([{"match": PUBLISH, "do": "stall", "seconds": 0.5, "after_commit": after_commit}])
    began = time.monotonic()
    assert anna.publish(itemid).status_code == 200
    assert time.monotonic() - began > 0.45
    assert sandbox.ledger()["deviations"][0]["delivered"]


@pytest.mark.parametrize(("after_commit", "deviations"), [(False, 0), (True, 1)])
def test_a_stall_ends_when_the_client_goes_away(
    sandbox: SandboxProcess, anna: Artist, after_commit: bool, deviations: int
) -> None:
    itemid = anna.item()
    sandbox.faults([{"match": PUBLISH, "do": "stall", "after_commit": after_commit}])
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            f"{sandbox.base_url}{API}/stash/publish",
            headers=dict(anna.session.headers),
            data={"itemid": itemid, "is_mature": "0"},
            timeout=0.5,
        )
    wait_until(lambda: last_request(sandbox)["ended"])
    assert last_request(sandbox)["delivered"] is False
    assert [work["delivered"] for work in sandbox.ledger()["deviations"]] == [False] * deviations


def test_a_stalled_call_holds_up_nobody_else(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/placebo"}, "do": "stall", "seconds": 30}])
    connection = http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=20)
    connection.request("GET", f"{API}/placebo", headers={"User-Agent": "app/1", "Accept-Encoding": "gzip"})
    wait_until(lambda: sandbox.ledger()["requests"])
    assert anna.get("/user/whoami").status_code == 200
    assert last_request(sandbox)["ended"] is True
    assert sandbox.ledger()["requests"][0]["ended"] is False
    connection.close()


# --- whom a fault strikes --------------------------------------------------------------------------------------------


def statuses(artist: Artist, times: int, path: str = "/placebo") -> list[int]:
    return [artist.get(path).status_code for _ in range(times)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [503, 200, 200, 200]),
        ({"nth": 3}, [200, 200, 503, 200]),
        ({"times": 2}, [503, 503, 200, 200]),
        ({"nth": 2, "times": 2}, [200, 503, 503, 200]),
        ({"nth": 2, "times": None}, [200, 503, 503, 503]),
    ],
)
def test_which_time_and_how_often(
    sandbox: SandboxProcess, anna: Artist, options: dict[str, Any], expected: list[int]
) -> None:
    match = {"path": "/placebo"} | ({"nth": options.pop("nth")} if "nth" in options else {})
    anna.get("/placebo")  # before the plan, so it does not count
    sandbox.faults([{"match": match, "do": "status", "status": 503, **options}])
    assert statuses(anna, 4) == expected


@pytest.mark.parametrize(
    ("path", "strikes"),
    [
        ("/placebo", True),
        ("placebo", True),
        ("/api/v1/oauth2/placebo", True),
        ("*", True),
        ("/api/*", True),
        ("/plac*", True),
        ("/other", False),
        ("bo", False),
        ("/oauth2/token", False),
    ],
)
def test_a_path_is_the_whole_its_end_or_a_pattern(
    sandbox: SandboxProcess, anna: Artist, path: str, strikes: bool
) -> None:
    sandbox.faults([{"match": {"path": path}, "do": "status", "status": 503}])
    assert statuses(anna, 1) == [503 if strikes else 200]


def test_a_fault_may_mean_one_user_one_title_or_one_method(sandbox: SandboxProcess, anna: Artist) -> None:
    bo = Artist(sandbox, "bo")
    sandbox.faults([{"match": {"path": "/placebo", "username": "BO"}, "do": "status", "status": 503}])
    assert (statuses(anna, 1), statuses(bo, 1)) == ([200], [503])
    sandbox.faults([{"match": {"path": "/placebo", "method": "POST"}, "do": "status", "status": 503}])
    assert (statuses(anna, 1), anna.post("/placebo").status_code) == ([200], 503)
    sandbox.faults([{"match": {"path": "/stash/submit", "title": "Moon"}, "do": "status", "status": 503}])
    assert (anna.submit(title="Sun").status_code, anna.submit(title="Moon").status_code) == (200, 503)
    sun, moon = anna.item(title="Sun"), anna.item(title="Moon")
    sandbox.faults([{"match": {"path": "/stash/publish", "title": "Moon"}, "do": "status", "status": 503}])
    assert (anna.publish(sun).status_code, anna.publish(moon).status_code) == (200, 503)


def test_the_owner_of_a_refresh_token_counts_as_its_user(sandbox: SandboxProcess) -> None:
    anna, bo = sandbox.tokens("anna"), sandbox.tokens("bo")
    sandbox.faults([{"match": {"path": "/oauth2/token", "username": "bo"}, "do": "reset_after_commit"}])

    def refresh(refresh_token: str) -> int:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": sandbox.client_id,
            "client_secret": sandbox.client_secret,
        }
        return requests.post(f"{sandbox.base_url}/oauth2/token", data=form, timeout=20).status_code

    assert refresh(anna["refresh_token"]) == 200
    with pytest.raises(requests.ConnectionError):
        refresh(bo["refresh_token"])
    assert refresh(bo["refresh_token"]) == 400  # the chain is lost
    entry = last_request(sandbox)
    assert (entry["username"], entry["grant_type"]) == ("bo", "refresh_token")


def test_a_fault_after_the_commit_waits_for_a_call_that_commits(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item()
    sandbox.faults([{"match": PUBLISH, "do": "reset_after_commit"}])
    assert anna.publish(itemid + 1).json()["error_code"] == 7
    with pytest.raises(requests.ConnectionError):
        anna.publish(itemid)
    assert anna.publish(itemid).json()["error_code"] == 9


def test_the_first_fault_that_has_its_turn_applies_and_all_count(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/placebo", "nth": 2}, "do": "status", "status": 500}])
    sandbox.faults([{"match": {"path": "/placebo"}, "do": "status", "status": 503, "times": None}])
    assert statuses(anna, 3) == [503, 500, 503]
    assert [(fault["seen"], fault["applied"]) for fault in sandbox.plan()] == [(3, 1), (3, 2)]
    sandbox.clear_faults()
    assert sandbox.plan() == []
    assert statuses(anna, 1) == [200]


def test_the_controls_themselves_never_fail(sandbox: SandboxProcess) -> None:
    sandbox.faults([{"match": {"path": "*"}, "do": "reset_before", "times": None}])
    sandbox.profile(latency_ms={"*": 60_000})
    assert sandbox.summary()["deviations"] == 0
    assert sandbox.ledger()["requests"] == []


# --- latency ---------------------------------------------------------------------------------------------------------


def test_latency_is_set_by_path_and_the_exact_one_wins(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"*": 60_000, "/user/*": 300, "/placebo": 0})
    assert anna.get("/placebo").status_code == 200
    assert anna.get("/user/whoami").elapsed.total_seconds() >= 0.3
    with pytest.raises(requests.ReadTimeout):
        anna.session.get(f"{sandbox.base_url}{API}/gallery/all", timeout=0.5)
