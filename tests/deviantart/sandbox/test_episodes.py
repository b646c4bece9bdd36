"""Bad times for everybody, on a clock that stands still unless it is moved."""

from typing import Any

import pytest
import requests

from tests.deviantart.sandbox.artist import Artist, refusal
from tests.sandbox_process import SandboxProcess


@pytest.fixture
def sandbox(sandbox: SandboxProcess) -> SandboxProcess:
    sandbox.freeze()
    return sandbox


def kinds(sandbox: SandboxProcess) -> list[str]:
    """What is on now; asked for without adding anything that would last."""
    return [episode["kind"] for episode in sandbox.episode("waf", 0)]


def cause(sandbox: SandboxProcess) -> str | None:
    return sandbox.ledger()["requests"][-1]["cause"]


def test_overload_limits_everybody(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.episode("overload", 60, in_seconds=10)
    assert anna.get("/placebo").status_code == 200
    sandbox.advance(10)
    assert refusal(anna.get("/placebo"))[:2] == (429, "user_api_threshold")
    assert Artist(sandbox, "bo").get("/placebo").status_code == 429
    assert cause(sandbox) == "overload"
    sandbox.advance(60)
    assert anna.get("/placebo").status_code == 200


def test_maintenance_is_json_first_and_a_page_later(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item()
    sandbox.profile(retry_after="seconds")
    sandbox.episode("maintenance", 100)
    first = anna.publish(itemid)
    assert refusal(first) == (503, "server_error", None)
    assert first.headers["Retry-After"] == "100"
    sandbox.advance(50)
    second = anna.publish(itemid)
    assert (second.status_code, second.headers["Content-Type"]) == (503, "text/html")
    assert second.headers["Retry-After"] == "50"
    assert cause(sandbox) == "maintenance"
    sandbox.advance(50)
    assert anna.publish(itemid).status_code == 200
    assert sandbox.summary()["deviations"] == 1


def test_the_firewall_shows_its_page_to_the_token_endpoint_too(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.episode("waf", 60)
    token = requests.post(
        f"{sandbox.base_url}/oauth2/token",
        data={"grant_type": "refresh_token", "refresh_token": anna.tokens["refresh_token"]},
        timeout=20,
    )
    for answer in (anna.get("/placebo"), token):
        assert (answer.status_code, answer.headers["Server"]) == (403, "CloudFront")
        assert "Request blocked" in answer.text
    assert requests.get(sandbox.base_url, timeout=20).status_code == 200  # the sandbox's own pages are for people
    sandbox.end_episodes()
    assert anna.get("/placebo").status_code == 200


def test_errors_come_in_bad_times_and_some_of_them_after_the_commit(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(error_chances={"good": 0, "bad": 1, "committed": 0.5})
    assert anna.get("/placebo").status_code == 200
    sandbox.episode("errors", 60)
    reads = [anna.get("/placebo") for _ in range(20)]
    assert {answer.status_code for answer in reads} == {500, 502, 504}
    sandbox.end_episodes()
    items = [anna.item() for _ in range(12)]
    sandbox.episode("errors", 60)
    assert {anna.publish(itemid).status_code for itemid in items} <= {500, 502, 504}
    publishes = [entry for entry in sandbox.ledger()["requests"] if entry["path"].endswith("/stash/publish")]
    assert {entry["cause"] for entry in publishes} == {"errors"}
    committed = sum(entry["committed"] for entry in publishes)
    assert 0 < committed < 12
    assert sandbox.summary()["deviations"] == committed


def test_good_times_have_their_errors_too(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(error_chances={"good": 0.2})
    statuses = [anna.get("/placebo").status_code for _ in range(60)]
    assert set(statuses) == {200, 500}
    assert 2 < statuses.count(500) < 30


def test_drawn_episodes_come_back_at_the_same_moments_for_the_same_seed(sandbox: SandboxProcess) -> None:
    def course(seed: int) -> list[list[str]]:
        sandbox.profile(seed=seed, episodes={"overload": {"every_seconds": 300, "seconds": [60, 200]}})
        course = []
        for _ in range(40):
            sandbox.advance(30)
            course.append(kinds(sandbox))
        return course

    first = course(5)
    assert ["overload"] in first
    assert [] in first
    assert course(5) == first
    assert course(6) != first


def test_a_clock_that_is_taken_back_meets_the_same_episodes_again(sandbox: SandboxProcess) -> None:
    sandbox.profile(episodes={"maintenance": {"every_seconds": 200, "seconds": [50, 50]}})

    def forwards() -> list[Any]:
        course = []
        for _ in range(30):
            sandbox.advance(20)
            course.append(kinds(sandbox))
        return course

    first = forwards()
    sandbox.advance(-600)
    assert forwards() == first


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/episodes", {"kind": "flood", "seconds": 5}, "kind"),
        ("/episodes", {"kind": "waf"}, "seconds"),
        ("/profile", {"episodes": {"waf": {"every_seconds": 60}}}, "episodes.waf.seconds"),
        ("/profile", {"episodes": {"waf": {"every_seconds": 60, "seconds": [9, 3]}}}, "episodes.waf.seconds"),
        ("/profile", {"error_chances": {"bad": 3}}, "error_chances.bad"),
    ],
)
def test_episodes_that_make_no_sense_are_named(
    sandbox: SandboxProcess, path: str, body: dict[str, Any], field: str
) -> None:
    method = "PUT" if path == "/profile" else "POST"
    answer = requests.request(method, f"{sandbox.base_url}/_sandbox{path}", json=body, timeout=20)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
