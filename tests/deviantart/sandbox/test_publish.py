"""stash/publish: once, validated, with DeviantArt's codes 0 to 9."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.deviantart.sandbox.artist import Artist, picture, refusal
from tests.sandbox_process import SandboxProcess

MP4 = b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 100
WEBM = b"\x1a\x45\xdf\xa3" + b"\x00" * 100


def code_of(answer: requests.Response) -> int | None:
    """None for success."""
    return None if answer.status_code == 200 else refusal(answer)[2]


def test_publishing_makes_a_deviation_with_a_page(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item(title="Night sky, 3rd!")
    before = time.time()
    body = anna.publish(itemid).json()
    assert set(body) == {"status", "url", "deviationid"}
    assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", body["deviationid"])
    assert re.fullmatch(re.escape(sandbox.base_url) + r"/anna/art/Night-sky-3rd-\d{10}", body["url"])
    assert requests.get(body["url"], timeout=20).status_code == 200
    (deviation,) = sandbox.ledger()["deviations"]
    assert (deviation["deviationid"], deviation["itemid"], deviation["url"]) == (
        body["deviationid"],
        itemid,
        body["url"],
    )
    assert deviation["delivered"]
    work = anna.get(f"/deviation/{body['deviationid']}").json()
    assert before - 1 <= int(work["published_time"]) <= time.time() + 1


def test_a_second_publish_is_code_9_without_a_url(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item()
    assert anna.publish(itemid).status_code == 200
    again = anna.publish(itemid)
    assert again.json() == {
        "error": "invalid_request",
        "error_description": "Deviation already published.",
        "error_code": 9,
        "status": "error",
    }
    assert sandbox.summary()["deviations"] == 1


# --- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "agreement", "code"),
    [("accepted_submission_policy", "agree_submission", 0), ("accepted_tos", "agree_tos", 1)],
)
def test_policies_must_be_accepted_once(
    sandbox: SandboxProcess, anna: Artist, flag: str, agreement: str, code: int
) -> None:
    sandbox.users("anna", **{flag: False})
    itemid = anna.item()
    assert code_of(anna.publish(itemid)) == code
    assert code_of(anna.publish(itemid, **{agreement: "false"})) == code
    assert code_of(anna.publish(itemid, **{agreement: "true"})) is None
    assert code_of(anna.publish(anna.item())) is None


@pytest.mark.parametrize(
    ("category", "code"),
    [("digitalart/paintings/other", None), ("no/such", 2), ("digitalart", 3), ("", None)],
)
def test_categories_are_judged_only_by_the_legacy_switch(
    sandbox: SandboxProcess, anna: Artist, category: str, code: int | None
) -> None:
    assert code_of(anna.publish(anna.item(), catpath=category)) is None
    sandbox.profile(legacy_categories=True)
    assert code_of(anna.publish(anna.item(), catpath=category)) == code


@pytest.mark.parametrize(
    ("licence", "code"),
    [
        ({"creative_commons": "yes", "commercial": "yes", "modify": "share"}, None),
        ({"creative_commons": "0", "commercial": "no", "modify": "no"}, None),
        ({"commercial": "maybe"}, 4),
        ({"modify": "often"}, 4),
        ({"creative_commons": "cc-by"}, 4),
    ],
)
def test_a_bad_licence_is_code_4(anna: Artist, licence: dict[str, str], code: int | None) -> None:
    assert code_of(anna.publish(anna.item(), license_options=licence)) == code


@pytest.mark.parametrize(("resolution", "code"), [(0, None), (1, None), (2, None), (3, 5), (8, 5), (9, 5), (-1, 5)])
def test_a_display_resolution_that_is_unknown_or_larger_than_the_picture_is_code_5(
    anna: Artist, resolution: int, code: int | None
) -> None:
    item = anna.item(picture(640, 480))  # 2 is 600 pixels wide, 3 is 800
    assert code_of(anna.publish(item, display_resolution=resolution)) == code


def test_code_6_can_be_forced(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.faults([{"match": {"path": "/stash/publish"}, "do": "status", "status": 400, "error_code": 6}])
    itemid = anna.item()
    assert code_of(anna.publish(itemid)) == 6
    assert code_of(anna.publish(itemid)) is None


def test_the_daily_quota_is_a_code_6_of_its_own(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(daily_quota=2)
    assert [code_of(anna.publish(anna.item())) for _ in range(3)] == [None, None, 6]
    refused = anna.publish(anna.item())
    assert "daily submission limit" in refused.json()["error_description"]
    assert code_of(Artist(sandbox, "bo").publish(Artist(sandbox, "bo").item())) is None
    sandbox.users("anna", daily_quota=3)
    assert [code_of(anna.publish(anna.item())) for _ in range(2)] == [None, 6]
    sandbox.advance(86400)
    tomorrow = Artist(sandbox, "anna")
    assert code_of(tomorrow.publish(tomorrow.item())) is None


def test_an_unknown_or_a_foreign_item_is_code_7(sandbox: SandboxProcess, anna: Artist) -> None:
    foreign = Artist(sandbox, "bo").item()
    assert code_of(anna.publish(foreign)) == 7
    assert code_of(anna.publish(foreign + 1)) == 7
    assert sandbox.summary()["deviations"] == 0


@pytest.mark.parametrize(
    ("content", "videos", "code"),
    [
        (picture(), "refuse", None),
        (picture(form="JPEG"), "refuse", None),
        (picture(form="GIF"), "refuse", None),
        (picture(form="WEBP"), "refuse", None),
        (b"just text", "refuse", 8),
        (b"<html>", "publish", 8),
        (b"\x89PNG\r\n\x1a\n", "refuse", 8),
        (MP4, "refuse", 8),
        (MP4, "publish", None),
        (WEBM, "publish", None),
    ],
)
def test_what_has_no_preview_is_code_8(
    sandbox: SandboxProcess, anna: Artist, content: bytes, videos: str, code: int | None
) -> None:
    sandbox.profile(videos=videos)
    answer = anna.publish(anna.item(content))
    assert code_of(answer) == code
    if code:
        assert answer.json()["error_description"] == "Preview image required."


# --- fields ----------------------------------------------------------------------------------------------------------

UUID = "E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE"


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        ({"is_mature": ""}, {"is_mature": "is_mature is required"}),
        ({"is_mature": "x"}, {"is_mature": "failed to validate is_mature"}),
        ({"is_mature": "true"}, {"mature_level": "mature_level is required"}),
        (
            {"is_mature": "true", "mature_level": "very"},
            {"mature_level": "mature_level must be value from enum list: strict, moderate"},
        ),
        (
            {"mature_classification": ["nudity", "x"]},
            {
                "mature_classification": "mature_classification must be value from enum list: "
                "nudity, sexual, gore, language, ideology"
            },
        ),
        ({"feature": "x"}, {"feature": "failed to validate feature"}),
        ({"allow_comments": "x"}, {"allow_comments": "failed to validate allow_comments"}),
        ({"allow_free_download": "x"}, {"allow_free_download": "failed to validate allow_free_download"}),
        ({"request_critique": "x"}, {"request_critique": "failed to validate request_critique"}),
        ({"is_ai_generated": "x"}, {"is_ai_generated": "failed to validate is_ai_generated"}),
        ({"noai": "x"}, {"noai": "failed to validate noai"}),
        ({"agree_tos": "x"}, {"agree_tos": "failed to validate agree_tos"}),
        ({"display_resolution": "large"}, {"display_resolution": "failed to validate display_resolution"}),
        ({"add_watermark": "true"}, {"add_watermark": "failed to validate add_watermark"}),
        (
            {"sharing": "x"},
            {"sharing": "sharing must be value from enum list: allow, hide_share_buttons, hide_and_members_only"},
        ),
        ({"galleryids": ["47263"]}, {"galleryids": "galleryids is not a valid UUID"}),
        ({"galleryids": [UUID]}, {"galleryids": "failed to validate galleryids"}),
        ({"groups": [UUID]}, {"group_folders": "failed to validate group_folders"}),
        ({"groups": ["x"], "group_folders": [UUID]}, {"groups": "groups is not a valid UUID"}),
        ({"subject_tags": ["x"]}, {"subject_tag_types": "failed to validate subject_tag_types"}),
        (
            {"subject_tags": ["x"], "subject_tag_types": ["2"]},
            {"subject_tag_types": "subject_tag_types must be value from enum list: 1, 3, 4, 5"},
        ),
        ({"itemid": "12.5"}, {"itemid": "failed to validate itemid"}),
    ],
)
def test_a_field_that_does_not_validate_is_named(
    sandbox: SandboxProcess, anna: Artist, fields: dict[str, Any], details: dict[str, str]
) -> None:
    answer = anna.publish(**{"itemid": anna.item(), **fields})
    assert refusal(answer) == (400, "invalid_request", None)
    assert answer.json()["error_details"] == details
    assert sandbox.summary()["deviations"] == 0


def test_every_documented_field_is_taken(sandbox: SandboxProcess, anna: Artist) -> None:
    folderid = sandbox.users("anna", folders=["Oils"])["folders"][1]["folderid"]
    answer = anna.publish(
        anna.item(),
        is_mature="true",
        mature_level="moderate",
        mature_classification=["nudity", "gore"],
        agree_submission="true",
        agree_tos="true",
        feature="false",
        allow_comments="false",
        request_critique="false",
        display_resolution="2",
        add_watermark="true",
        sharing="hide_share_buttons",
        license_options={"creative_commons": "true", "commercial": "no", "modify": "share"},
        galleryids=[folderid.lower()],
        allow_free_download="false",
        tags=["night", "sky"],
        subject_tags=["anna"],
        subject_tag_types=["1"],
        location_tag="Lisbon",
        groups=[UUID],
        group_folders=[UUID],
        is_ai_generated="true",
        noai="true",
        is_dirty="false",
        nobody_knows_this="1",
    )
    assert answer.status_code == 200, answer.text
    (deviation,) = sandbox.ledger()["deviations"]
    assert deviation["tags"] == ["night", "sky"]
    options = deviation["options"]
    assert options["galleryids"] == [folderid]
    assert options["mature_classification"] == ["nudity", "gore"]
    assert options["license_options"] == {"creative_commons": "true", "commercial": "no", "modify": "share"}
    assert (options["allow_comments"], options["allow_free_download"], options["noai"]) == (False, False, True)


def test_without_tags_of_its_own_a_publish_keeps_those_of_the_item(sandbox: SandboxProcess, anna: Artist) -> None:
    anna.publish(anna.item(tags=["night"]))
    assert sandbox.ledger()["deviations"][0]["tags"] == ["night"]


def test_a_folder_of_somebody_else_is_refused(sandbox: SandboxProcess, anna: Artist) -> None:
    foreign = sandbox.users("bo")["folders"][0]["folderid"]
    answer = anna.publish(anna.item(), galleryids=[foreign])
    assert answer.json()["error_details"] == {"galleryids": "failed to validate galleryids"}


# --- twice at the same time ------------------------------------------------------------------------------------------


def publish_at_once(artist: Artist, itemid: int, times: int) -> list[int | None]:
    twins = [artist.twin() for _ in range(times)]
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda twin: code_of(twin.publish(itemid)), twins))


def test_of_concurrent_publishes_one_wins(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(latency_ms={"/stash/publish": 1000})
    codes = publish_at_once(anna, anna.item(), 8)
    assert sorted(codes, key=str) == [9] * 7 + [None]
    assert sandbox.summary()["deviations"] == 1


def test_by_the_switch_concurrent_publishes_all_succeed(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(concurrent_publish="both_succeed", latency_ms={"/stash/publish": 1000})
    itemid = anna.item()
    assert publish_at_once(anna, itemid, 2) == [None, None]
    summary = sandbox.summary()
    assert summary["deviations"] == 2
    assert summary["per_item"] == {str(itemid): 2}
    assert summary["published_twice"] == 1
    assert code_of(anna.publish(itemid)) == 9  # later, and every answer had arrived


def test_by_the_switch_a_publish_after_a_lost_answer_succeeds_again(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item()
    lose = [{"match": {"path": "/stash/publish"}, "do": "reset_after_commit"}]
    for switch, code, deviations in (("one_wins", 9, 1), ("overlapping_succeed", 9, 1), ("both_succeed", None, 2)):
        sandbox.profile(concurrent_publish=switch)
        if switch == "one_wins":
            sandbox.faults(lose)
            with pytest.raises(requests.ConnectionError):
                anna.publish(itemid)
        assert code_of(anna.publish(itemid)) == code
        assert sandbox.summary()["deviations"] == deviations
