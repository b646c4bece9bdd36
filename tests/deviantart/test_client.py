"""The client against the sandbox: what it says happened is what the ledger says."""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deviantart import errors
from deviantart.client import Client
from deviantart.config import Config, Timeouts
from deviantart.errors import Category, DeviantArtError, Outcome
from tests import pictures
from tests.sandbox_process import SandboxProcess

PICTURE = pictures.png(1)


def config_of(sandbox: SandboxProcess, **options: Any) -> Config:
    return Config(sandbox.client_id, sandbox.client_secret, base_url=sandbox.base_url, **options)


def artist(sandbox: SandboxProcess, username: str = "artist", **settings: Any) -> Client:
    return Client(config_of(sandbox), sandbox.tokens(username, **settings)["access_token"])


def submit(client: Client, data: bytes = PICTURE, **options: Any) -> int:
    return client.submit(
        io.BytesIO(data),
        **{
            "filename": "night.png",
            "content_type": "image/png",
            "size": len(data),
            "title": "Night sky",
            "artist_comments": "Oil\non canvas",
            "tags": ["night"],
            "is_ai_generated": False,
            "noai": True,
            **options,
        },
    ).item_id


def publish(client: Client, item_id: int, **options: Any) -> Any:
    return client.publish(item_id, **{"is_mature": False, **options})


def test_a_picture_goes_live_with_the_very_bytes_and_words(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    item_id = submit(client)
    receipt = publish(client, item_id, tags=["night", "sky"], is_mature=True, mature_level="moderate")
    (work,) = sandbox.ledger()["deviations"]
    assert (work["deviationid"], work["itemid"], work["url"]) == (receipt.deviation_id, item_id, receipt.url)
    assert work["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert (work["title"], work["artist_comments"], work["tags"]) == ("Night sky", "Oil\non canvas", ["night", "sky"])
    assert (work["options"]["is_mature"], work["options"]["mature_level"]) == (True, "moderate")
    assert work["options"]["allow_free_download"] is False
    assert abs(receipt.date - datetime.now(UTC)) < timedelta(minutes=1)


def test_what_is_live_is_read_back(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    receipt = publish(client, submit(client), is_mature=True, mature_level="strict")
    (work,) = client.gallery_all().results
    assert (work.deviation_id, work.title, work.url) == (receipt.deviation_id, "Night sky", receipt.url)
    assert work.published_at is not None
    assert work.author is not None
    assert work.author.username == "artist"
    (more,) = client.deviation_metadata([receipt.deviation_id], ext_submission=True)
    assert (more.deviation_id, more.submitted_with, more.description) == (
        receipt.deviation_id,
        "Isekai",
        "Oil\non canvas",
    )
    assert work.preview is not None
    assert client.picture(work.preview.url, 1_000_000)[:4] in {b"\x89PNG", b"\xff\xd8\xff\xe0", b"RIFF"}


def test_mature_works_are_seen_by_default_and_hidden_on_request(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    publish(client, submit(client), is_mature=True, mature_level="strict")
    assert len(client.gallery_all().results) == 1
    assert client.gallery_all(mature_content=False).results == ()


def test_a_gallery_is_read_page_by_page_newest_first(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    made = [publish(client, submit(client)).deviation_id for _ in range(5)]
    pages = list(client.gallery_pages(limit=2))
    assert [len(page.results) for page in pages] == [2, 2, 1]
    assert [page.has_more for page in pages] == [True, True, False]
    assert [work.deviation_id for page in pages for work in page.results] == made[::-1]


def test_folders_are_read_page_by_page(sandbox: SandboxProcess) -> None:
    sandbox.users("artist", folders=[f"Folder {number}" for number in range(60)])
    pages = list(artist(sandbox).gallery_folder_pages(calculate_size=True))
    folders = [folder for page in pages for folder in page.results]
    assert len(pages) == 2
    assert {folder.name for folder in folders} >= {f"Folder {number}" for number in range(60)}
    assert {folder.size for folder in folders} == {0}


def test_a_work_goes_into_the_chosen_folder(sandbox: SandboxProcess) -> None:
    sandbox.users("artist", folders=["Oils"])
    client = artist(sandbox)
    (oils,) = [folder for folder in client.gallery_folders().results if folder.name == "Oils"]
    publish(client, submit(client), gallery_ids=[oils.folder_id])
    assert {folder.name: folder.size for folder in client.gallery_folders(calculate_size=True).results}["Oils"] == 1


def test_a_token_says_whose_it_is(sandbox: SandboxProcess) -> None:
    client = artist(sandbox, "Somebody")
    client.placebo()
    user = client.whoami()
    assert user.username == "Somebody"
    assert user.user_id


@pytest.mark.parametrize("count", [0, 51])
def test_metadata_of_too_many_works_is_not_asked_for(sandbox: SandboxProcess, count: int) -> None:
    with pytest.raises(ValueError, match="1 to 50"):
        artist(sandbox).deviation_metadata(["D"] * count)
    assert sandbox.ledger()["requests"] == []


# --- refusals


def test_an_item_is_published_once(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    item_id = submit(client)
    publish(client, item_id)
    with pytest.raises(errors.AlreadyPublished) as raised:
        publish(client, item_id)
    assert (raised.value.error_code, raised.value.outcome) == (9, Outcome.YES)
    assert sandbox.summary()["deviations"] == 1


def test_an_item_of_somebody_else_is_not_found(sandbox: SandboxProcess) -> None:
    item_id = submit(artist(sandbox))
    with pytest.raises(errors.ItemNotFound) as raised:
        publish(artist(sandbox, "stranger"), item_id)
    assert (raised.value.error_code, raised.value.outcome) == (7, Outcome.NO)


@pytest.mark.parametrize(("setting", "code"), [("accepted_submission_policy", 0), ("accepted_tos", 1)])
def test_policies_that_were_not_accepted_are_the_artists_to_accept(
    sandbox: SandboxProcess, setting: str, code: int
) -> None:
    sandbox.users("artist", **{setting: False})
    client = artist(sandbox)
    with pytest.raises(errors.PolicyNotAccepted) as raised:
        publish(client, submit(client))
    assert (raised.value.error_code, raised.value.category) == (code, Category.AUTH_ERROR)


@pytest.mark.parametrize(
    ("options", "field_or_code"),
    [
        ({"display_resolution": 8}, 5),
        ({"is_mature": True}, "mature_level"),
        ({"is_mature": True, "mature_level": "extreme"}, "mature_level"),
        ({"gallery_ids": ["123"]}, "galleryids"),
    ],
)
def test_a_wrong_choice_is_refused_for_good(
    sandbox: SandboxProcess, options: dict[str, Any], field_or_code: str | int
) -> None:
    client = artist(sandbox)
    with pytest.raises(errors.Rejected) as raised:
        publish(client, submit(client), **options)
    assert (raised.value.category, raised.value.outcome) == (Category.VALIDATION_ERROR, Outcome.NO)
    assert field_or_code in {raised.value.error_code, *raised.value.details}


def test_what_is_no_picture_cannot_be_published(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    item_id = submit(client, b"just words", filename="words.txt", content_type="text/plain")
    with pytest.raises(errors.Rejected) as raised:
        publish(client, item_id)
    assert raised.value.error_code == 8


def test_a_used_up_quota_is_told_apart_from_a_failed_publication(sandbox: SandboxProcess) -> None:
    sandbox.users("artist", daily_quota=1)
    client = artist(sandbox)
    publish(client, submit(client))
    item_id = submit(client)
    with pytest.raises(errors.QuotaExceeded):
        publish(client, item_id)
    sandbox.faults([{"match": {"path": "/stash/publish"}, "do": "status", "status": 400, "error_code": 6}])
    with pytest.raises(errors.PublicationFailed):
        publish(client, item_id)


def test_a_file_that_is_too_large_is_refused_under_a_success(sandbox: SandboxProcess) -> None:
    sandbox.profile(max_file_bytes=100)
    with pytest.raises(errors.Rejected) as raised:
        submit(artist(sandbox))
    assert raised.value.http_status == 200
    assert sandbox.summary()["items"] == 0


def test_a_missing_scope_is_named(sandbox: SandboxProcess) -> None:
    client = artist(sandbox, scopes=["basic", "stash"])
    with pytest.raises(errors.ScopeMissing) as raised:
        publish(client, submit(client))
    assert raised.value.scope == "publish"


def test_an_expired_token_is_noticed_by_every_call(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    item_id = submit(client)
    sandbox.advance(3601)
    for call in (client.placebo, client.whoami, lambda: submit(client), lambda: publish(client, item_id)):
        with pytest.raises(errors.TokenExpired):
            call()
    assert sandbox.summary()["items"] == 1


# --- lost answers: the client cannot know, the ledger does


LOST_AFTER = [
    ({"do": "reset_after_commit"}, errors.AnswerLost),
    ({"do": "truncate", "after_commit": True}, errors.AnswerLost),
    ({"do": "stall", "seconds": 60, "after_commit": True}, errors.AnswerLost),
    ({"do": "blank", "after_commit": True}, errors.BadAnswer),
    ({"do": "status", "status": 500, "after_commit": True}, errors.ServerFailed),
    ({"do": "html", "status": 502, "after_commit": True}, errors.ServerFailed),
    ({"do": "html", "status": 504, "after_commit": True}, errors.ServerFailed),
]
LOST_BEFORE = [
    ({"do": "reset_before"}, errors.AnswerLost),
    ({"do": "truncate"}, errors.AnswerLost),
    ({"do": "stall", "seconds": 60}, errors.AnswerLost),
    ({"do": "blank"}, errors.BadAnswer),
    ({"do": "status", "status": 500}, errors.ServerFailed),
    ({"do": "html", "status": 504}, errors.ServerFailed),
]
IMPATIENT = Timeouts(connect_seconds=2, submit_seconds=2, publish_seconds=2)


def name(case: Any) -> str:
    return "-".join(str(part) for part in case.values()) if isinstance(case, dict) else ""


def impatient(sandbox: SandboxProcess) -> Client:
    return Client(config_of(sandbox, timeouts=IMPATIENT), sandbox.tokens("artist")["access_token"])


def lost(sandbox: SandboxProcess, path: str, fault: dict[str, Any]) -> None:
    sandbox.faults([{"match": {"path": path}, **fault}])


@pytest.mark.parametrize(("fault", "found"), LOST_AFTER, ids=name)
def test_a_publish_that_worked_and_whose_answer_was_lost_is_unknown_and_not_repeated(
    sandbox: SandboxProcess, fault: dict[str, Any], found: type[DeviantArtError]
) -> None:
    client = impatient(sandbox)
    item_id = submit(client)
    lost(sandbox, "/stash/publish", fault)
    with pytest.raises(found) as raised:
        publish(client, item_id)
    assert raised.value.outcome is Outcome.UNKNOWN
    assert sandbox.summary()["per_item"] == {str(item_id): 1}
    with pytest.raises(errors.AlreadyPublished):
        publish(client, item_id)


@pytest.mark.parametrize(("fault", "found"), LOST_BEFORE, ids=name)
def test_a_publish_that_did_nothing_and_says_so_badly_is_just_as_unknown(
    sandbox: SandboxProcess, fault: dict[str, Any], found: type[DeviantArtError]
) -> None:
    client = impatient(sandbox)
    item_id = submit(client)
    lost(sandbox, "/stash/publish", fault)
    with pytest.raises(found) as raised:
        publish(client, item_id)
    assert raised.value.outcome is Outcome.UNKNOWN
    assert sandbox.summary()["deviations"] == 0
    assert publish(client, item_id).deviation_id


@pytest.mark.parametrize(("fault", "found"), LOST_AFTER, ids=name)
def test_a_submit_whose_answer_was_lost_leaves_one_item_that_nobody_can_list(
    sandbox: SandboxProcess, fault: dict[str, Any], found: type[DeviantArtError]
) -> None:
    client = impatient(sandbox)
    lost(sandbox, "/stash/submit", fault)
    with pytest.raises(found) as raised:
        submit(client)
    assert raised.value.outcome is Outcome.UNKNOWN
    assert sandbox.summary()["orphans"] == 1


@pytest.mark.parametrize(
    ("fault", "found", "outcome"),
    [
        ({"do": "html"}, errors.BlockPage, Outcome.NO),
        ({"do": "status", "status": 503}, errors.ServerFailed, Outcome.UNKNOWN),
        ({"do": "status", "status": 429, "headers": {"Retry-After": "17"}}, errors.RateLimited, Outcome.NO),
    ],
    ids=name,
)
def test_what_stands_in_the_way_is_told_apart(
    sandbox: SandboxProcess, fault: dict[str, Any], found: type[DeviantArtError], outcome: Outcome
) -> None:
    client = artist(sandbox)
    item_id = submit(client)
    lost(sandbox, "/stash/publish", fault)
    with pytest.raises(found) as raised:
        publish(client, item_id)
    assert raised.value.outcome is outcome
    assert raised.value.retry_after_seconds == (17 if found is errors.RateLimited else None)


def test_a_sandbox_that_is_gone_did_certainly_nothing() -> None:
    with SandboxProcess(seed=2) as sandbox:
        client = artist(sandbox)
        item_id = submit(client)
        sandbox.kill()
        with pytest.raises(errors.Unreachable) as raised:
            publish(client, item_id)
    assert raised.value.outcome is Outcome.NO
