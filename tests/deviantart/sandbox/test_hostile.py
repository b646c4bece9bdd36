"""The hostile profile: bad days that can be had again, by seed or from what was written down."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.deviantart.sandbox.artist import Artist, picture, wait_until
from tests.deviantart.sandbox.test_network import can_connect
from tests.sandbox_process import SandboxProcess

SETTINGS = {"wait_scale": 0, "limits": None, "extra_key_chance": 0}


def fate(call: requests.Response | None) -> Any:
    return None if call is None else (call.status_code, call.headers["Content-Type"].partition(";")[0])


def attempt(artist: Artist, action: str, *arguments: Any, **fields: Any) -> requests.Response | None:
    """None when the connection ended instead of an answer."""
    wait_until(lambda: can_connect(artist.sandbox))
    try:
        answer: requests.Response = getattr(artist, action)(*arguments, **fields)
    except requests.RequestException:
        return None
    return answer


def run(sandbox: SandboxProcess, works: int = 40, meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
    """What an artist meets who publishes in the same order each time; ids are drawn anew by each reset."""
    anna = Artist(sandbox, "anna")
    course: list[Any] = []
    known = {item["itemid"] for item in sandbox.ledger()["items"]}
    for number in range(works):
        course.append(fate(attempt(anna, "submit", picture(40, 30), title=f"Work {number}")))
        meanwhile()
        kept = [
            item["itemid"]
            for item in sandbox.ledger()["items"]
            if item["itemid"] not in known and item["username"] == "anna"
        ]
        known.update(kept)
        if kept:
            course.append(fate(attempt(anna, "publish", kept[0])))
        course.append(fate(attempt(anna, "get", "/user/whoami")))
    return course


def what_struck(sandbox: SandboxProcess) -> list[Any]:
    return [
        (entry["path"], entry["fault"], entry["cause"], entry["deed"], entry["committed"])
        for entry in sandbox.ledger()["requests"]
        if entry["fault"]
    ]


@pytest.fixture
def hostile(sandbox: SandboxProcess) -> SandboxProcess:
    sandbox.freeze()
    sandbox.profile(profile="hostile", seed=3, **SETTINGS)
    return sandbox


def test_quiet_is_the_default_and_comes_back(sandbox: SandboxProcess) -> None:
    before = sandbox.profile()
    assert before["profile"] == "quiet"
    bad = sandbox.profile(profile="hostile", auto_approve=True, wait_scale=0.5)
    assert (bad["profile"], bad["limits"]["user"]["burst"], bad["wait_scale"]) == ("hostile", 20, 0.5)
    assert bad["concurrent_publish"] == "second_fails"
    assert len(bad["drawn_faults"]) > 20
    again = sandbox.profile(profile="quiet", wait_scale=1)
    assert again == {**before, "auto_approve": True}


def test_what_is_named_beside_the_profile_wins(sandbox: SandboxProcess) -> None:
    settings = sandbox.profile(profile="hostile", limits=None, latency_ms={"*": 5}, seed=7)
    assert (settings["limits"], settings["latency_ms"], settings["seed"]) == (None, {"*": 5}, 7)
    assert settings["early_answer_bytes"] is not None


def test_the_same_seed_gives_the_same_bad_day(hostile: SandboxProcess) -> None:
    first, struck = run(hostile), what_struck(hostile)
    assert len(struck) > 8
    hostile.profile(seed=3)  # begins anew
    count = len(hostile.ledger()["requests"])
    assert run(hostile) == first
    again = [entry for entry in hostile.ledger()["requests"][count:] if entry["fault"]]
    assert [(each["path"], each["fault"], each["deed"]) for each in again] == [
        (path, fault, deed) for path, fault, _, deed, _ in struck
    ]
    hostile.profile(seed=4)
    assert run(hostile) != first


def test_what_happened_can_be_played_again_as_a_plan(hostile: SandboxProcess) -> None:
    first, struck = run(hostile), what_struck(hostile)
    plan = hostile.applied_faults()
    hostile.reset()
    hostile.profile(extra_key_chance=0)
    hostile.faults(plan)
    assert run(hostile) == first
    again = what_struck(hostile)
    assert [(path, fault, deed) for path, fault, _, deed, _ in again] == [
        (path, fault, deed) for path, fault, _, deed, _ in struck
    ]
    assert {cause for _, _, cause, _, _ in again} == {"plan"}


def test_each_artist_has_the_same_bad_day_whatever_others_do_meanwhile(hostile: SandboxProcess) -> None:
    alone = run(hostile, 20)
    hostile.profile(seed=3)
    bo = Artist(hostile, "bo")

    def meanwhile() -> None:
        attempt(bo, "submit", picture(40, 30))
        attempt(bo, "get", "/user/whoami")

    assert run(hostile, 20, meanwhile) == alone


def test_lost_answers_come_before_and_after_the_commit(hostile: SandboxProcess) -> None:
    run(hostile, 120)
    publishes = [entry for entry in hostile.ledger()["requests"] if entry["path"].endswith("/stash/publish")]
    lost = [entry for entry in publishes if entry["cause"] == "drawn"]
    assert {entry["committed"] for entry in lost} == {True, False}
    assert len({entry["fault"] for entry in lost}) >= 4
    summary = hostile.summary()
    assert summary["published_twice"] == 0
    assert sum(summary["faults"].values()) == len([entry for entry in hostile.ledger()["requests"] if entry["fault"]])
    assert summary["answers"]["/api/v1/oauth2/stash/publish"]["200"] > 60


def test_a_plan_has_precedence_over_chance(hostile: SandboxProcess) -> None:
    anna = Artist(hostile, "anna")
    hostile.profile(drawn_faults=[{"match": {"path": "*"}, "do": "blank", "chance": 1}])
    hostile.faults([{"match": {"path": "/placebo"}, "do": "status", "status": 418}])
    assert anna.get("/placebo").status_code == 418
    assert anna.get("/placebo").text.strip() == ""


def test_a_fault_of_a_plan_may_be_left_to_chance(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/placebo"}, "do": "status", "status": 503, "times": None, "chance": 0.3}])
    statuses = [anna.get("/placebo").status_code for _ in range(60)]
    assert 5 < statuses.count(503) < 35
    assert sandbox.plan()[0]["applied"] == statuses.count(503)


def test_a_plan_can_mean_one_kind_of_token_request(sandbox: SandboxProcess, anna: Artist) -> None:
    match = {"path": "/oauth2/token", "grant_type": "refresh_token"}
    sandbox.faults([{"match": match, "do": "reset_after_commit"}])
    body = {"client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    address = f"{sandbox.base_url}/oauth2/token"
    assert requests.post(address, data={**body, "grant_type": "client_credentials"}, timeout=20).status_code == 200
    refresh = {**body, "grant_type": "refresh_token", "refresh_token": anna.tokens["refresh_token"]}
    with pytest.raises(requests.ConnectionError):
        requests.post(address, data=refresh, timeout=20)
    lost = requests.post(address, data=refresh, timeout=20)  # the chain is broken
    assert (lost.status_code, lost.json()["error_description"]) == (400, "The refresh_token is invalid.")


def test_the_third_publish_of_one_artist_commits_and_is_lost(sandbox: SandboxProcess, anna: Artist) -> None:
    bo = Artist(sandbox, "bo")
    match = {"path": "/stash/publish", "username": "anna", "nth": 3}
    sandbox.faults([{"match": match, "do": "reset_after_commit"}])
    answers = []
    for artist in (anna, bo, anna, bo, bo, anna, anna):
        with contextlib.suppress(requests.ConnectionError):
            answers.append(artist.publish(artist.item(picture(40, 30))).status_code)
    assert answers == [200] * 6
    assert [work["delivered"] for work in sandbox.ledger()["deviations"]] == [True] * 5 + [False, True]


def test_the_hostile_profile_can_be_had_from_the_start() -> None:
    with SandboxProcess(profile_name="hostile", seed=2) as sandbox:
        assert sandbox.profile()["profile"] == "hostile"
        sandbox.profile(profile="quiet")
        assert sandbox.profile()["limits"] is None
        sandbox.reset()
        assert sandbox.profile()["profile"] == "hostile"
    command = [sys.executable, "-m", "deviantart.sandbox", "--profile", "angry"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert refused.returncode == 2
    assert "invalid choice" in refused.stderr


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"profile": "angry"}, "profile"),
        ({"drawn_faults": [{"match": {"path": "*"}, "do": "blank"}]}, "drawn_faults[0].chance"),
        ({"drawn_faults": [{"match": {"path": "*"}, "do": "sulk", "chance": 1}]}, "drawn_faults[0].do"),
        ({"latency_ms": {"*": {"median": 5}}}, "latency_ms"),
        ({"bandwidth_bytes_per_second": {"min": 5, "max": 2}}, "bandwidth_bytes_per_second"),
        ({"gallery_delay_seconds": {"soon": 1}}, "gallery_delay_seconds"),
        ({"gallery_delay_seconds": {}}, "gallery_delay_seconds"),
        ({"early_answer_outcomes": {"error": 2}}, "early_answer_outcomes.error"),
        ({"missing_scope_status": 404}, "missing_scope_status"),
    ],
)
def test_settings_that_make_no_sense_are_named(sandbox: SandboxProcess, settings: dict[str, Any], field: str) -> None:
    before = sandbox.profile()
    answer = requests.put(f"{sandbox.base_url}/_sandbox/profile", json=settings, timeout=20)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert sandbox.profile() == before


def test_a_folder_of_the_first_version_goes_on_working(tmp_path: Path) -> None:
    with SandboxProcess(data=tmp_path, seed=1) as sandbox:
        live = Artist(sandbox, "anna").published()
        sandbox.faults([{"match": {"path": "/placebo"}, "do": "blank"}])
        Artist(sandbox, "anna").get("/placebo")
    with contextlib.closing(sqlite3.connect(tmp_path / "sandbox.sqlite3")) as database:
        for table, column in (("users", "state"), ("folders", "access"), ("deviations", "is_deleted")):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("DROP TABLE watches")
        database.execute("UPDATE requests SET entry = json_remove(entry, '$.cause', '$.deed', '$.ip')")
        database.commit()
    with SandboxProcess(data=tmp_path, seed=1) as sandbox:
        assert requests.get(f"{sandbox.base_url}/anna", timeout=20).status_code == 200
        anna = Artist(sandbox, "anna")
        assert anna.gallery()["results"][0]["deviationid"] == live["deviationid"]
        assert anna.published(title="New")["status"] == "success"
        assert sandbox.summary()["faults"] == {"blank (plan)": 1}
        assert sandbox.applied_faults() == []


@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        ({"do": "status", "status": 503}, 503, "application/json"),
        ({"do": "html", "status": 403}, 403, "text/html"),
        ({"do": "status", "status": 429}, 429, "application/json"),
    ],
)
def test_a_token_endpoint_that_is_down_uses_up_no_refresh_token(
    sandbox: SandboxProcess, anna: Artist, fault: dict[str, Any], status: int, content_type: str
) -> None:
    sandbox.faults([{"match": {"path": "/oauth2/token"}, **fault}])
    body = {
        "grant_type": "refresh_token",
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "refresh_token": anna.tokens["refresh_token"],
    }
    answer = requests.post(f"{sandbox.base_url}/oauth2/token", data=body, timeout=20)
    assert fate(answer) == (status, content_type)
    assert requests.post(f"{sandbox.base_url}/oauth2/token", data=body, timeout=20).status_code == 200
