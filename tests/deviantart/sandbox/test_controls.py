"""The controls: what they show, what they change, and how they refuse."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from tests.deviantart.sandbox.artist import API, Artist, picture, wait_until
from tests.sandbox_process import SandboxProcess


def control(sandbox: SandboxProcess, method: str, path: str, body: Any = None) -> requests.Response:
    return requests.request(method, f"{sandbox.base_url}/_sandbox{path}", json=body, timeout=20)


def test_every_control_is_documented_and_its_example_works(sandbox: SandboxProcess) -> None:
    sandbox.users("someartist")
    described = control(sandbox, "GET", "/").json()["controls"]
    calls = {entry["call"] for entry in described}
    assert {
        "GET /_sandbox/ledger",
        "GET /_sandbox/summary",
        "POST /_sandbox/faults",
        "DELETE /_sandbox/faults",
        "GET /_sandbox/profile",
        "PUT /_sandbox/profile",
        "POST /_sandbox/clock",
        "POST /_sandbox/users",
        "POST /_sandbox/apps",
        "POST /_sandbox/reset",
    } <= calls
    for entry in described:
        method, path = entry["call"].split()
        answer = control(sandbox, method, path.removeprefix("/_sandbox"), entry.get("example"))
        assert answer.ok, (entry["call"], answer.text)
        assert entry["effect"]


def test_the_ledger_tells_the_whole_story_of_a_work(sandbox: SandboxProcess, anna: Artist) -> None:
    before = datetime.now(UTC)
    live = anna.published(picture(seed=3), title="Pool")
    ledger = sandbox.ledger()
    submit, publish = ledger["requests"]
    (item,) = ledger["items"]
    (deviation,) = ledger["deviations"]
    for entry, path in ((submit, f"{API}/stash/submit"), (publish, f"{API}/stash/publish")):
        assert (entry["method"], entry["path"], entry["status"]) == ("POST", path, 200)
        assert (entry["username"], entry["client_id"], entry["title"]) == ("anna", sandbox.client_id, "Pool")
        assert (entry["committed"], entry["delivered"], entry["fault"], entry["ended"]) == (True, True, None, True)
        assert entry["itemid"] == item["itemid"] == deviation["itemid"]
        assert entry["sha256"] == item["sha256"] == deviation["sha256"]
    assert publish["deviationid"] == deviation["deviationid"] == live["deviationid"]
    moments = [submit["time"], item["created_at"], publish["time"], deviation["published_at"]]
    assert moments == sorted(moments)
    assert before <= datetime.fromisoformat(moments[0]) <= datetime.fromisoformat(moments[3]) <= datetime.now(UTC)
    assert (item["published"], deviation["username"], deviation["title"]) == (1, "anna", "Pool")


def test_refused_requests_stand_in_the_ledger_too(sandbox: SandboxProcess, anna: Artist) -> None:
    anna.publish(1)
    requests.get(f"{sandbox.base_url}{API}/user/whoami", timeout=20)
    publish, whoami = sandbox.ledger()["requests"]
    assert (publish["status"], publish["error"], publish["error_code"], publish["committed"]) == (
        400,
        "invalid_request",
        7,
        False,
    )
    assert (whoami["status"], whoami["username"]) == (401, None)


def test_the_ledger_can_be_read_in_parts(sandbox: SandboxProcess, anna: Artist) -> None:
    anna.published()
    anna.gallery()
    assert set(control(sandbox, "GET", "/ledger?parts=items,deviations").json()) == {"items", "deviations"}
    newer = control(sandbox, "GET", f"/ledger?parts=requests&since={sandbox.ledger()['requests'][1]['id']}").json()
    assert [entry["path"] for entry in newer["requests"]] == [f"{API}/gallery/all"]


def test_the_summary_counts(sandbox: SandboxProcess, anna: Artist) -> None:
    one = anna.item(picture(seed=1), title="Pool")
    anna.publish(one)
    anna.published(picture(seed=2), title="Pool")
    Artist(sandbox, "bo").published(picture(seed=1), title="Pool")
    orphan = anna.item(title="Never")
    summary = sandbox.summary()
    assert (summary["deviations"], summary["items"], summary["users"]) == (3, 4, 2)
    assert summary["per_title"] == {"Pool": 3}
    assert summary["per_username"] == {"anna": 2, "bo": 1}
    assert summary["per_item"][str(one)] == 1
    assert (summary["orphans"], summary["orphan_items"]) == (1, [orphan])
    assert (summary["published_twice"], summary["duplicates"]) == (0, [])


def test_the_same_file_uploaded_and_published_again_is_published_twice(sandbox: SandboxProcess, anna: Artist) -> None:
    anna.published(picture(seed=1), title="Pool")
    anna.published(picture(seed=1), title="Pool")
    summary = sandbox.summary()
    assert summary["published_twice"] == 1
    assert (summary["duplicates"][0]["title"], summary["duplicates"][0]["count"]) == ("Pool", 2)


def test_a_profile_keeps_what_is_not_named(sandbox: SandboxProcess) -> None:
    sandbox.profile(gallery_delay_seconds=5)
    profile = sandbox.profile(title_limit="refuse")
    assert (profile["gallery_delay_seconds"], profile["title_limit"]) == (5, "refuse")
    assert control(sandbox, "GET", "/profile").json() == profile


def test_the_clock_moves_both_ways(sandbox: SandboxProcess) -> None:
    assert sandbox.advance(3600)["offset_seconds"] == 3600
    clock = sandbox.advance(-1800)
    assert clock["offset_seconds"] == 1800
    ahead = datetime.fromisoformat(clock["now"]) - datetime.now(UTC)
    assert 1770 < ahead.total_seconds() <= 1800
    assert control(sandbox, "GET", "/clock").json()["offset_seconds"] == 1800


def test_a_user_is_created_once_and_changed_afterwards(sandbox: SandboxProcess) -> None:
    first = sandbox.users("anna", type="premium", folders=[{"name": "Oils", "subfolders": ["2026"]}])
    assert [folder["name"] for folder in first["folders"]] == ["Featured", "Oils", "2026"]
    second = sandbox.users("Anna", daily_quota=3, folders=["Oils", {"name": "Oils", "subfolders": ["2027"]}])
    assert (second["userid"], second["username"], second["type"]) == (first["userid"], "anna", "premium")
    assert second["daily_quota"] == 3
    assert sorted(folder["name"] for folder in second["folders"]) == ["2026", "2027", "Featured", "Oils"]
    assert [user["username"] for user in control(sandbox, "GET", "/users").json()["users"]] == ["anna"]


def test_applications_are_listed_without_their_secrets(sandbox: SandboxProcess) -> None:
    sandbox.apps("2000", client_secret="hush", name="Another", redirect_uris=["https://a.example/cb"])
    apps = control(sandbox, "GET", "/apps")
    assert [app["client_id"] for app in apps.json()["apps"]] == [sandbox.client_id, "2000"]
    assert apps.json()["apps"][1]["redirect_uris"] == ["https://a.example/cb"]
    assert "hush" not in apps.text


def test_a_reset_empties_everything(sandbox: SandboxProcess, anna: Artist) -> None:
    live = anna.published()
    sandbox.profile(title_limit="refuse")
    sandbox.advance(1000)
    sandbox.faults([{"match": {"path": "/nothing"}, "do": "blank"}])
    sandbox.apps("2000")
    sandbox.reset()
    assert sandbox.ledger() == {"requests": [], "items": [], "deviations": []}
    assert sandbox.summary()["users"] == 0
    assert sandbox.plan() == []
    assert sandbox.profile()["title_limit"] == "cut"
    assert control(sandbox, "GET", "/clock").json()["offset_seconds"] == 0
    assert [app["client_id"] for app in control(sandbox, "GET", "/apps").json()["apps"]] == [sandbox.client_id]
    assert requests.get(live["url"], timeout=20).status_code == 404
    assert anna.twin().get("/user/whoami").json()["error_description"] == "Invalid token."


def test_no_token_of_before_a_reset_becomes_somebody_elses(sandbox: SandboxProcess) -> None:
    before = {sandbox.tokens("anna")["access_token"] for _ in range(3)}
    sandbox.reset()
    after = {sandbox.tokens("bo")["access_token"] for _ in range(3)}
    assert before.isdisjoint(after)


def test_a_reset_gives_up_what_was_waiting(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"/stash/publish": 1000})
    itemid = anna.item()
    with ThreadPoolExecutor(1) as pool:
        publish = pool.submit(anna.publish, itemid)
        wait_until(lambda: sandbox.ledger()["requests"][-1]["path"] == f"{API}/stash/publish")
        sandbox.reset()
        with pytest.raises(requests.ConnectionError):
            publish.result(20)
    assert sandbox.ledger() == {"requests": [], "items": [], "deviations": []}


# --- refusing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "accepted"),
    [
        ("PUT", "/profile", {"speed": 1}, "speed", "title_limit"),
        ("PUT", "/profile", {"title_limit": "shorten"}, "title_limit", "one of cut, refuse, allow"),
        ("PUT", "/profile", {"gallery_delay_seconds": -1}, "gallery_delay_seconds", "at least 0, or one of never"),
        ("PUT", "/profile", {"gallery_delay_seconds": True}, "gallery_delay_seconds", "a number"),
        ("PUT", "/profile", {"latency_ms": {"/x": "fast"}}, "latency_ms", "path: milliseconds"),
        ("PUT", "/profile", {"extra_key_chance": 2}, "extra_key_chance", "from 0 to 1"),
        ("PUT", "/profile", {"daily_quota": 1.5}, "daily_quota", "an integer"),
        ("PUT", "/profile", {"grant_scopes": "basic"}, "grant_scopes", "a list of texts, or null"),
        ("PUT", "/profile", [1], None, "seed"),
        ("POST", "/clock", {}, "advance_seconds", "a number"),
        ("POST", "/clock", {"advance_seconds": "1"}, "advance_seconds", "a number"),
        ("POST", "/clock", {"seconds": 1}, "seconds", "advance_seconds"),
        ("POST", "/users", {}, "username", "a name of 1 to 50"),
        ("POST", "/users", {"username": "a b"}, "username", "a name of 1 to 50"),
        ("POST", "/users", {"username": "oauth2"}, "username", "a name of 1 to 50"),
        ("POST", "/users", {"username": "anna", "type": "king"}, "type", "regular"),
        ("POST", "/users", {"username": "anna", "folders": [{"title": "x"}]}, "folders", "a list of names"),
        ("POST", "/apps", {"name": "x"}, "client_id", "a text"),
        ("POST", "/apps", {"client_id": "1", "oauth": "1.0"}, "oauth", "2.1, 2.0"),
        ("POST", "/tokens", {"username": "a b"}, "username", "a name of 1 to 50"),
        ("POST", "/revoke", {"username": "nobody"}, "username", "the name of a user"),
        ("POST", "/faults", {"do": "blank"}, None, "match"),
        ("POST", "/faults", ["blank"], "[0]", "match"),
        ("POST", "/faults", [{"match": {"path": "/x"}}], "[0].do", "reset_before"),
        ("POST", "/faults", [{"match": {"path": "/x"}, "do": "explode"}], "[0].do", "reset_before"),
        ("POST", "/faults", [{"do": "blank"}], "[0].match", "an object"),
        ("POST", "/faults", [{"match": {}, "do": "blank"}], "[0].match.path", "a path such as"),
        ("POST", "/faults", [{"match": {"path": "/x", "user": "a"}, "do": "blank"}], "[0].match.user", "username"),
        ("POST", "/faults", [{"match": {"path": "/x", "nth": 0}, "do": "blank"}], "[0].match.nth", "at least 1"),
        ("POST", "/faults", [{"match": {"path": "/x"}, "do": "status"}], "[0].status", "from 200 to 599"),
        (
            "POST",
            "/faults",
            [{"match": {"path": "/x"}, "do": "blank"}, {"match": {"path": "/x"}, "do": "reset_before", "seconds": 1}],
            "[1].seconds",
            "times",
        ),
        ("POST", "/faults", [{"match": {"path": "/x"}, "do": "blank", "times": 0}], "[0].times", "at least 1, or null"),
        ("GET", "/ledger?parts=secrets", None, "parts", "requests"),
        ("GET", "/ledger?since=x", None, "since", "the id of a request"),
    ],
)
def test_what_a_control_does_not_know_is_named(
    sandbox: SandboxProcess, method: str, path: str, body: Any, field: str | None, accepted: str
) -> None:
    before = control(sandbox, "GET", "/profile").json()
    answer = control(sandbox, method, path, body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field
    assert accepted in str(answer.json()["accepted"])
    assert answer.json()["error"]
    assert control(sandbox, "GET", "/profile").json() == before
    assert sandbox.plan() == []
    assert sandbox.summary()["users"] == 0


def test_a_body_that_is_no_json_is_refused(sandbox: SandboxProcess) -> None:
    answer = requests.post(f"{sandbox.base_url}/_sandbox/clock", data=b"{", timeout=20)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]


def test_unknown_controls_and_methods_name_the_known_ones(sandbox: SandboxProcess) -> None:
    unknown = control(sandbox, "GET", "/levers")
    assert unknown.status_code == 404
    assert "/_sandbox/ledger" in unknown.json()["accepted"]
    wrong = control(sandbox, "DELETE", "/ledger")
    assert (wrong.status_code, wrong.json()["accepted"]) == (405, ["GET"])
