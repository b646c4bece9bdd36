"""What nobody knows of DeviantArt: each possible answer can be had."""

import base64
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.deviantart.sandbox.artist import Artist, picture, refusal
from tests.sandbox_process import SandboxProcess

MANY_TAGS = [f"tag{number}" for number in range(31)]
BOLD = "<b>Oil</b> on<br>canvas &amp; wood"


def error_of(answer: requests.Response) -> tuple[int, int | None] | None:
    """Status and code; None for success."""
    return None if answer.status_code == 200 else (answer.status_code, answer.json().get("error_code"))


def test_every_open_question_is_documented_with_its_settings(sandbox: SandboxProcess) -> None:
    page = requests.get(f"{sandbox.base_url}/_sandbox/", timeout=20).json()
    known = set(sandbox.profile())
    assert len(page["open_questions"]) > 20
    for question in page["open_questions"]:
        assert question["question"].endswith("?")
        assert set(question["settings"]) <= known
        assert all(question["settings"].values())


# --- publish ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("code_9", (400, 9)),
        ("code_6", (400, 6)),
        ("code_7", (400, 7)),
        ("server_error", (500, None)),
        ("same_answer", None),
    ],
)
def test_a_second_publish(
    sandbox: SandboxProcess, anna: Artist, answer: str, expected: tuple[int, int | None] | None
) -> None:
    sandbox.profile(second_publish=answer)
    itemid = anna.item()
    first = anna.publish(itemid)
    second = anna.publish(itemid)
    assert error_of(second) == expected
    if expected is None:
        assert second.json() == first.json()
    assert sandbox.summary()["deviations"] == 1


@pytest.mark.parametrize(
    ("answer", "statuses", "deviations"),
    [
        ("one_wins", [200, 400], 1),
        ("second_fails", [200, 500], 1),
        ("both_succeed", [200, 200], 2),
        ("overlapping_succeed", [200, 200], 2),
    ],
)
def test_two_publishes_at_once(
    sandbox: SandboxProcess, anna: Artist, answer: str, statuses: list[int], deviations: int
) -> None:
    sandbox.profile(concurrent_publish=answer, latency_ms={"/stash/publish": 300})
    itemid = anna.item()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda artist: artist.publish(itemid), [anna.twin(), anna.twin()]))
    assert sorted(answer.status_code for answer in answers) == statuses
    assert sandbox.summary()["deviations"] == deviations


@pytest.mark.parametrize(("answer", "expected"), [("enforced", (400, 0)), ("ignored", None)])
def test_policies(sandbox: SandboxProcess, anna: Artist, answer: str, expected: tuple[int, int | None] | None) -> None:
    sandbox.profile(policies=answer)
    sandbox.users("anna", accepted_submission_policy=False)
    assert error_of(anna.publish(anna.item())) == expected


@pytest.mark.parametrize(("answer", "status"), [("required", 400), ("optional", 200)])
def test_is_mature(sandbox: SandboxProcess, anna: Artist, answer: str, status: int) -> None:
    sandbox.profile(is_mature=answer)
    assert anna.post("/stash/publish", data={"itemid": anna.item()}).status_code == status


@pytest.mark.parametrize(("answer", "code"), [("code_6", 6), ("new_code", 10)])
def test_a_reached_quota(sandbox: SandboxProcess, anna: Artist, answer: str, code: int) -> None:
    sandbox.profile(daily_quota=1, quota_answer=answer)
    anna.published()
    refused = anna.publish(anna.item())
    assert refusal(refused) == (400, "invalid_request", code)
    assert "daily submission limit" in refused.json()["error_description"]


@pytest.mark.parametrize(("lifetime", "expected"), [(None, None), (600, (400, 7))])
def test_an_unpublished_item_after_an_hour(
    sandbox: SandboxProcess, anna: Artist, lifetime: float | None, expected: tuple[int, int | None] | None
) -> None:
    sandbox.profile(item_lifetime_seconds=lifetime)
    itemid = anna.item()
    sandbox.advance(1000)
    assert error_of(anna.publish(itemid)) == expected


@pytest.mark.parametrize("code", range(10))
def test_every_code_can_be_forced_for_a_user(sandbox: SandboxProcess, anna: Artist, code: int) -> None:
    sandbox.users("anna", publish_refusal=code)
    assert error_of(anna.publish(anna.item())) == (400, code)
    assert error_of(Artist(sandbox, "bo").publish(Artist(sandbox, "bo").item())) is None


@pytest.mark.parametrize("access", ["premium", "watchers"])
def test_a_protected_folder_may_leave_a_work_half_published(sandbox: SandboxProcess, anna: Artist, access: str) -> None:
    folders = sandbox.users("anna", folders=[{"name": "Shut", "access": access}, "Open"])["folders"]
    shut, public = folders[1]["folderid"], folders[2]["folderid"]
    assert anna.publish(anna.item(title="First"), galleryids=[shut]).status_code == 200
    sandbox.profile(protected_folders="half_publish")
    itemid = anna.item(title="Second")
    assert refusal(anna.publish(itemid, galleryids=[shut])) == (500, "server_error", None)
    work = anna.gallery()["results"][0]
    assert (work["title"], work["is_published"]) == ("Second", False)
    assert requests.get(work["url"], timeout=20).status_code == 404
    assert error_of(anna.publish(itemid)) == (400, 9)
    (_, deviation) = sandbox.ledger()["deviations"]
    assert (deviation["half_published"], deviation["delivered"]) == (True, False)
    entry = next(entry for entry in sandbox.ledger()["requests"] if entry["status"] == 500)
    assert (entry["fault"], entry["cause"], entry["committed"]) == ("status", "protected folder", True)
    move = {"source_folderid": shut, "target_folderid": public, "deviationids[]": work["deviationid"]}
    assert anna.post("/gallery/folders/move_deviations", data=move).json() == {"success": True}
    assert requests.get(work["url"], timeout=20).status_code == 200
    assert sandbox.summary()["half_published"] == 0


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "title", "kept"),
    [
        ({}, "ö" * 60, "ö" * 50),
        ({"title_limit_unit": "bytes"}, "ö" * 60, "ö" * 25),
        ({"title_limit": "allow"}, "ö" * 60, "ö" * 60),
        ({"title_limit": "refuse"}, "ö" * 50, "ö" * 50),
        ({"title_limit": "refuse"}, "ö" * 51, None),
        ({"title_limit": "refuse", "title_limit_unit": "bytes"}, "ö" * 26, None),
        ({}, "夜空", "夜空"),
        ({"title_characters": "website"}, "夜空", None),
        ({"title_characters": "website"}, "Night sky, 3rd! [a]", "Night sky, 3rd! [a]"),
    ],
)
def test_a_title(sandbox: SandboxProcess, anna: Artist, settings: dict[str, Any], title: str, kept: str | None) -> None:
    sandbox.profile(**settings)
    answer = anna.submit(title=title)
    if kept is None:
        assert answer.json()["error_details"] == {"title": "failed to validate title"}
    else:
        assert sandbox.ledger()["items"][0]["title"] == kept


@pytest.mark.parametrize(
    ("settings", "tags", "kept"),
    [
        ({}, ["night sky", "a-b"], ["nightsky", "ab"]),
        ({"tags": "refuse"}, ["night sky"], None),
        ({}, ["x" * 200], ["x" * 200]),
        ({"tag_max_length": 30}, ["x" * 31], None),
        ({"tag_max_length": 30}, ["x" * 30], ["x" * 30]),
        ({}, MANY_TAGS, None),
        ({"too_many_tags": "cut"}, MANY_TAGS, MANY_TAGS[:30]),
    ],
)
@pytest.mark.parametrize("call", ["submit", "publish"])
def test_tags(
    sandbox: SandboxProcess,
    anna: Artist,
    settings: dict[str, Any],
    tags: list[str],
    kept: list[str] | None,
    call: str,
) -> None:
    sandbox.profile(**settings)
    answer = anna.submit(tags=tags) if call == "submit" else anna.publish(anna.item(), tags=tags)
    if kept is None:
        assert answer.json()["error_details"] == {"tags": "failed to validate tags"}
    else:
        assert sandbox.ledger()["items" if call == "submit" else "deviations"][0]["tags"] == kept


@pytest.mark.parametrize(("answer", "kept"), [("keep", BOLD), ("strip_html", "Oil oncanvas & wood")])
def test_html_in_a_description(sandbox: SandboxProcess, anna: Artist, answer: str, kept: str) -> None:
    sandbox.profile(description=answer)
    anna.item(artist_comments=BOLD)
    assert sandbox.ledger()["items"][0]["artist_comments"] == kept


@pytest.mark.parametrize(("answer", "expected"), [("accept", None), ("refuse", (400, 1))])
def test_the_same_file_again(
    sandbox: SandboxProcess, anna: Artist, answer: str, expected: tuple[int, int | None] | None
) -> None:
    sandbox.profile(duplicate_files=answer)
    anna.item(picture(seed=5))
    assert anna.submit(picture(seed=5)).status_code == 200  # it is not published yet
    anna.published(picture(seed=5))
    assert error_of(anna.submit(picture(seed=5))) == expected
    assert Artist(sandbox, "bo").submit(picture(seed=5)).status_code == 200


# --- reads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "ordered"), [("newest", True), ("unordered", False)])
def test_the_order_of_the_gallery(sandbox: SandboxProcess, anna: Artist, answer: str, ordered: bool) -> None:
    sandbox.seed("anna", deviations=24, folders=0, mature_share=0, deleted_share=0)
    sandbox.profile(gallery_order=answer)
    times = [int(work["published_time"]) for work in anna.gallery()["results"]]
    assert len(times) == 24
    assert (times == sorted(times, reverse=True)) is ordered


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/stash/space"),
        ("get", "/stash/delta"),
        ("get", "/stash/publish/userdata"),
        ("get", "/stash/publish/categorytree"),
        ("get", "/stash/2209219400000001"),
        ("get", "/stash/2209219400000001/contents"),
        ("get", "/stash/item/5309219412345678"),
        ("post", "/stash/delete"),
        ("post", "/stash/move/2209219400000001"),
        ("post", "/stash/update/2209219400000001"),
        ("post", "/stash/position/2209219400000001"),
    ],
)
def test_the_removed_stash_endpoints(sandbox: SandboxProcess, anna: Artist, method: str, path: str) -> None:
    assert getattr(anna, method)(path).json()["error_description"] == "Api endpoint not found."
    sandbox.profile(removed_endpoints="empty")
    answer = getattr(anna, method)(path)
    assert (answer.status_code, answer.json()) == (200, {})


def test_the_delay_of_the_lists_can_be_drawn_for_each_work(sandbox: SandboxProcess) -> None:
    sandbox.freeze()
    sandbox.profile(gallery_delay_seconds={"0": 1, "5": 1, "120": 1, "never": 1}, access_token_seconds=10**9)
    anna = Artist(sandbox, "anna")
    for number in range(24):
        anna.published(picture(60, 40), title=f"Work {number}")
    counts = []
    for seconds in (0, 5, 115, 10_000_000):
        sandbox.advance(seconds)
        counts.append(len(anna.gallery()["results"]))
    assert 0 < counts[0] < counts[1] < counts[2] == counts[3] < 24


# --- tokens ----------------------------------------------------------------------------------------------------------


def refresh(sandbox: SandboxProcess, token: str) -> requests.Response:
    body = {"grant_type": "refresh_token", "client_id": sandbox.client_id, "client_secret": sandbox.client_secret}
    return requests.post(f"{sandbox.base_url}/oauth2/token", data={**body, "refresh_token": token}, timeout=20)


def test_a_used_refresh_token_is_dead_at_once_or_after_a_grace_period(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.freeze()
    token = anna.tokens["refresh_token"]
    assert refresh(sandbox, token).status_code == 200
    assert refresh(sandbox, token).status_code == 400
    sandbox.profile(refresh_grace_seconds=30)
    sandbox.advance(29)
    again = refresh(sandbox, token)
    assert again.status_code == 200
    assert again.json()["refresh_token"] != token
    sandbox.advance(1)
    assert refresh(sandbox, token).status_code == 400


@pytest.mark.parametrize(("counted_from", "status"), [("rotation", 200), ("grant", 400)])
def test_the_life_of_a_refresh_token(sandbox: SandboxProcess, counted_from: str, status: int) -> None:
    sandbox.profile(refresh_expiry=counted_from, refresh_token_seconds=1000)
    token = sandbox.tokens("anna")["refresh_token"]
    sandbox.advance(600)
    token = refresh(sandbox, token).json()["refresh_token"]
    sandbox.advance(600)
    assert refresh(sandbox, token).status_code == status


@pytest.mark.parametrize(("fate", "status"), [("lives", 200), ("dies", 401)])
def test_the_old_access_token_after_a_refresh(sandbox: SandboxProcess, anna: Artist, fate: str, status: int) -> None:
    sandbox.profile(access_after_refresh=fate)
    assert refresh(sandbox, anna.tokens["refresh_token"]).status_code == 200
    assert anna.get("/placebo").status_code == status


@pytest.mark.parametrize("name", ["invalid_request", "invalid_grant"])
def test_a_refused_refresh(sandbox: SandboxProcess, name: str) -> None:
    sandbox.profile(refresh_error=name)
    answer = refresh(sandbox, "0" * 40)
    assert refusal(answer) == (400, name, None)
    assert answer.json()["error_description"] == "The refresh_token is invalid."


@pytest.mark.parametrize("status", [403, 401])
def test_a_call_that_lacks_a_scope(sandbox: SandboxProcess, status: int) -> None:
    sandbox.profile(missing_scope_status=status)
    answer = Artist(sandbox, "anna", scopes=["basic"]).get("/user/whoami")
    assert refusal(answer) == (status, "insufficient_scope", None)
    assert answer.json()["scope"] == "user"


@pytest.mark.parametrize(("answer", "outcome"), [("pass_over", "code"), ("refuse", "error")])
def test_asking_for_an_unknown_scope(sandbox: SandboxProcess, answer: str, outcome: str) -> None:
    sandbox.profile(unknown_scope=answer, auto_approve=True)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 50).digest()).rstrip(b"=").decode()
    query = {
        "client_id": sandbox.client_id,
        "response_type": "code",
        "redirect_uri": "http://127.0.0.1/",
        "scope": "basic teleport",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    page = requests.get(f"{sandbox.base_url}/oauth2/authorize", params=query, timeout=20, allow_redirects=False)
    assert outcome in parse_qs(urlsplit(page.headers["Location"]).query)


def test_of_two_refreshes_five_milliseconds_apart_one_wins(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"/oauth2/token": 100})

    def late(seconds: float) -> requests.Response:
        time.sleep(seconds)
        return refresh(sandbox, anna.tokens["refresh_token"])

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(late, [0, 0.005]))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    winner = next(answer.json() for answer in answers if answer.ok)
    assert refresh(sandbox, winner["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("answer", "read", "publish", "refreshes"),
    [
        ("token_ends", (401, "invalid_token", None), (401, "invalid_token", None), False),
        ("unverified_account", (403, "unverified_account", None), (403, "unverified_account", None), True),
        ("publish_fails", None, (400, "invalid_request", 6), True),
    ],
)
def test_a_suspended_user(
    sandbox: SandboxProcess,
    anna: Artist,
    answer: str,
    read: tuple[int, str, int | None] | None,
    publish: tuple[int, str, int | None],
    refreshes: bool,
) -> None:
    itemid = anna.item()
    sandbox.profile(suspended_user=answer)
    sandbox.users("anna", state="suspended")
    whoami = anna.get("/user/whoami")
    assert (None if whoami.ok else refusal(whoami)) == read
    assert refusal(anna.publish(itemid)) == publish
    assert refresh(sandbox, anna.tokens["refresh_token"]).ok is refreshes
    sandbox.users("anna", state="active")
    assert anna.publish(itemid).status_code == 200


def test_a_deleted_user_is_gone(sandbox: SandboxProcess, anna: Artist) -> None:
    bo = Artist(sandbox, "bo")
    anna.published()
    sandbox.users("anna", state="deleted")
    assert refusal(anna.get("/user/whoami")) == (401, "invalid_token", None)
    assert refresh(sandbox, anna.tokens["refresh_token"]).status_code == 400
    assert refusal(bo.get("/gallery/all", params={"username": "anna"})) == (400, "invalid_request", 1)
    assert refusal(bo.get("/user/profile/anna")) == (400, "invalid_request", 2)
