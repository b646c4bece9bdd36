"""Leaky buckets for users, applications and addresses, on a clock that stands still unless it is moved."""

from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from tests.deviantart.sandbox.artist import API, Artist, refusal
from tests.sandbox_process import SandboxProcess

USER_ONLY = {"application": None, "ip": None}


@pytest.fixture
def sandbox(sandbox: SandboxProcess) -> SandboxProcess:
    sandbox.freeze()
    return sandbox


def limit(sandbox: SandboxProcess, burst: float, refill: float, **settings: Any) -> None:
    bucket = {"burst": burst, "refill_per_second": refill, "steps": settings.pop("steps", [])}
    sandbox.profile(limits={**USER_ONLY, "user": bucket, **settings})


def statuses(artist: Artist, times: int) -> list[int]:
    return [artist.get("/placebo").status_code for _ in range(times)]


def user_counters(sandbox: SandboxProcess, name: str = "anna") -> dict[str, Any]:
    return sandbox.limits()["user"][name]


def test_without_limits_nobody_is_limited(sandbox: SandboxProcess, anna: Artist) -> None:
    assert statuses(anna, 30) == [200] * 30
    assert sandbox.limits() == {}


def test_the_start_values_are_twenty_calls_and_one_a_second(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(limits={})
    assert statuses(anna, 21) == [200] * 20 + [429]
    limits = sandbox.profile()["limits"]
    assert (limits["user"]["burst"], limits["user"]["refill_per_second"]) == (20, 1)
    assert (limits["application"]["burst"], limits["application"]["refill_per_second"]) == (200, 20)
    assert (limits["ip"], limits["penalty_seconds"], limits["penalty_max_seconds"]) == (None, 4, 1800)


def test_a_bucket_refills_by_the_virtual_clock_and_no_further_than_its_burst(
    sandbox: SandboxProcess, anna: Artist
) -> None:
    limit(sandbox, 3, 0.5, penalty_seconds=0)
    assert statuses(anna, 4) == [200, 200, 200, 429]
    sandbox.advance(2)
    assert statuses(anna, 2) == [200, 429]
    sandbox.advance(1000)
    assert statuses(anna, 4) == [200, 200, 200, 429]


def test_a_limited_call_does_nothing_and_says_so(sandbox: SandboxProcess, anna: Artist) -> None:
    limit(sandbox, 1, 1)
    anna.item()
    answer = anna.submit()
    assert refusal(answer) == (429, "user_api_threshold", None)
    assert answer.json()["error_description"] == "User request limit reached."
    assert "Retry-After" not in answer.headers
    ledger = sandbox.ledger()
    assert len(ledger["items"]) == 1
    entry = ledger["requests"][-1]
    assert (entry["status"], entry["fault"], entry["cause"]) == (429, "status", "user limit")
    assert (entry["committed"], entry["delivered"]) == (False, False)


def test_the_penalty_doubles_with_every_call_made_while_blocked(sandbox: SandboxProcess, anna: Artist) -> None:
    limit(sandbox, 1, 100, penalty_seconds=4, penalty_max_seconds=30)
    assert statuses(anna, 2) == [200, 429]
    for expected in (4, 8, 16, 30, 30):
        assert user_counters(sandbox)["blocked_seconds"] == expected
        assert statuses(anna, 1) == [429]
    sandbox.advance(29.9)
    assert user_counters(sandbox)["tokens"] == 1
    assert user_counters(sandbox)["blocked_seconds"] == pytest.approx(0.1)
    sandbox.advance(0.1)
    assert statuses(anna, 1) == [200]


def test_silence_makes_the_penalty_shorter_again(sandbox: SandboxProcess, anna: Artist) -> None:
    limit(sandbox, 1, 1, penalty_seconds=4, penalty_decay_seconds=10)
    assert statuses(anna, 4) == [200, 429, 429, 429]  # 4, 8, 16 seconds
    sandbox.advance(16)
    assert statuses(anna, 2) == [200, 429]
    assert user_counters(sandbox)["blocked_seconds"] == 16
    sandbox.advance(16 + 10)
    assert statuses(anna, 2) == [200, 429]
    assert user_counters(sandbox)["blocked_seconds"] == 8
    sandbox.advance(8 + 100)
    assert statuses(anna, 2) == [200, 429]
    assert user_counters(sandbox)["blocked_seconds"] == 4


def test_who_waits_out_the_penalty_is_let_in(sandbox: SandboxProcess, anna: Artist) -> None:
    limit(sandbox, 2, 1)
    assert statuses(anna, 3) == [200, 200, 429]
    sandbox.advance(3.9)
    assert statuses(anna, 1) == [429]  # one call too early, and it is 8 seconds now
    sandbox.advance(8)
    assert statuses(anna, 2) == [200, 200]


def test_everybody_has_a_bucket_of_their_own(sandbox: SandboxProcess, anna: Artist) -> None:
    bo = Artist(sandbox, "bo")
    limit(sandbox, 2, 1)
    assert statuses(anna, 3) == [200, 200, 429]
    assert statuses(bo, 2) == [200, 200]
    limits = sandbox.limits()["user"]
    assert {name: (each["accepted"], each["limited"]) for name, each in limits.items()} == {
        "anna": (2, 1),
        "bo": (2, 0),
    }


def test_an_application_is_limited_over_all_its_users(sandbox: SandboxProcess, anna: Artist) -> None:
    bo = Artist(sandbox, "bo")
    sandbox.profile(limits={"user": None, "application": {"burst": 3, "refill_per_second": 1}})
    assert statuses(anna, 2) == [200, 200]
    assert statuses(bo, 2) == [200, 429]
    answer = anna.get("/placebo")
    assert refusal(answer) == (429, "application_api_threshold", None)
    assert answer.json()["error_description"] == "Client request limit reached."
    assert sandbox.ledger()["requests"][-1]["cause"] == "application limit"
    assert sandbox.limits()["application"][sandbox.client_id]["accepted"] == 3


def test_who_is_refused_by_one_bucket_is_not_charged_by_another(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(
        limits={"user": {"burst": 1, "refill_per_second": 0}, "application": {"burst": 10, "refill_per_second": 0}}
    )
    statuses(anna, 4)
    assert sandbox.limits()["application"][sandbox.client_id]["tokens"] == 9


def test_an_address_can_be_limited(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(limits={"user": None, "application": None, "ip": {"burst": 2, "refill_per_second": 1}})
    anonymous = requests.get(f"{sandbox.base_url}{API}/placebo", timeout=20)
    assert anonymous.status_code == 401
    assert statuses(anna, 2) == [200, 429]
    assert sandbox.limits()["ip"]["127.0.0.1"]["accepted"] == 2
    assert sandbox.ledger()["requests"][-1]["ip"] == "127.0.0.1"


def test_calls_may_weigh_differently(sandbox: SandboxProcess, anna: Artist) -> None:
    limit(sandbox, 10, 0, weights={"/stash/submit": 4, "/user/*": 2, "/user/whoami": 0, "*": 1})
    anna.item()
    assert user_counters(sandbox)["tokens"] == 6
    anna.get("/user/profile/anna")
    assert user_counters(sandbox)["tokens"] == 4
    assert [anna.get("/user/whoami").status_code for _ in range(5)] == [200] * 5
    assert statuses(anna, 5) == [200, 200, 200, 200, 429]
    assert anna.get("/user/whoami").status_code == 200  # what weighs nothing is let in even now


def test_the_token_endpoint_draws_on_the_same_budget(sandbox: SandboxProcess, anna: Artist) -> None:
    limit(sandbox, 2, 0)
    body = {"grant_type": "refresh_token", "client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    first = requests.post(
        f"{sandbox.base_url}/oauth2/token", data={**body, "refresh_token": anna.tokens["refresh_token"]}, timeout=20
    )
    assert first.status_code == 200
    assert statuses(anna, 1) == [200]
    second = requests.post(
        f"{sandbox.base_url}/oauth2/token", data={**body, "refresh_token": first.json()["refresh_token"]}, timeout=20
    )
    assert second.status_code == 429


def test_steps_change_a_bucket_at_their_time(sandbox: SandboxProcess, anna: Artist) -> None:
    steps = [
        {"at_seconds": 100, "refill_per_second": 0.1},
        {"at_seconds": 200, "refill_per_second": 2, "burst": 10},
    ]
    limit(sandbox, 5, 1, steps=steps, penalty_seconds=0)
    assert statuses(anna, 6) == [200] * 5 + [429]
    sandbox.advance(98)
    assert statuses(anna, 6) == [200] * 5 + [429]
    sandbox.advance(12)  # two seconds at 1, ten at 0.1
    assert statuses(anna, 4) == [200] * 3 + [429]
    sandbox.advance(100)
    assert statuses(anna, 11) == [200] * 10 + [429]
    sandbox.advance(3)
    assert statuses(anna, 7) == [200] * 6 + [429]


def test_steps_count_from_the_moment_at_which_the_limits_were_set(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.advance(1000)
    limit(sandbox, 1, 0, steps=[{"at_seconds": 10, "burst": 3, "refill_per_second": 3}])
    assert statuses(anna, 1) == [200]
    assert sandbox.limits()["since_seconds"] == 0
    sandbox.advance(11)
    assert statuses(anna, 4) == [200, 200, 200, 429]
    assert sandbox.limits()["since_seconds"] == 11


def test_a_clock_that_is_taken_back_refills_nothing(sandbox: SandboxProcess, anna: Artist) -> None:
    limit(sandbox, 2, 1, penalty_seconds=0)
    statuses(anna, 2)
    sandbox.advance(-100)
    assert statuses(anna, 1) == [429]
    sandbox.advance(1)
    assert statuses(anna, 1) == [200]


@pytest.mark.parametrize("asked", ["seconds", "http_date", "absurd"])
def test_retry_after_can_be_added(sandbox: SandboxProcess, anna: Artist, asked: str) -> None:
    limit(sandbox, 1, 1, penalty_seconds=7)
    sandbox.profile(retry_after=asked, rate_limit_error_code=True)
    statuses(anna, 1)
    answer = anna.get("/placebo")
    assert refusal(answer) == (429, "user_api_threshold", 429)
    value = answer.headers["Retry-After"]
    if asked == "seconds":
        assert value == "7"
    elif asked == "http_date":
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(answer.headers["Date"])
        assert 7 <= wait.total_seconds() <= 8
    else:
        others = {value, *(anna.get("/placebo").headers["Retry-After"] for _ in range(12))}
        assert len(others) > 2
        assert not others & {"7", "14"}


def test_ours_is_no_limit_for_the_page_that_people_see(sandbox: SandboxProcess) -> None:
    sandbox.profile(limits={"user": None, "application": {"burst": 1, "refill_per_second": 0}})
    query = {"client_id": sandbox.client_id, "response_type": "code", "redirect_uri": "http://127.0.0.1/"}
    address = f"{sandbox.base_url}/oauth2/authorize"
    answers = [requests.get(address, params=query, timeout=20, allow_redirects=False) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [302] * 3


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"users": None}, "limits.users"),
        ({"user": {"burst": 5}}, "limits.user.refill_per_second"),
        ({"user": {"burst": 0, "refill_per_second": 1}}, "limits.user.burst"),
        (
            {"user": {"burst": 5, "refill_per_second": 1, "steps": [{"at_seconds": 5}, {"burst": 5}]}},
            "limits.user.steps[1].at_seconds",
        ),
        ({"penalty_factor": 0.5}, "limits.penalty_factor"),
        ({"weights": {"*": -1}}, "limits.weights"),
        (5, "limits"),
    ],
)
def test_limits_that_make_no_sense_are_named(sandbox: SandboxProcess, limits: Any, field: str) -> None:
    answer = requests.put(f"{sandbox.base_url}/_sandbox/profile", json={"limits": limits}, timeout=20)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert sandbox.profile()["limits"] is None
