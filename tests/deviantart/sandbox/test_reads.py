"""The reads: who am I, galleries, folders, deviations, metadata."""

import hashlib
import io
from typing import Any

import pytest
from PIL import Image

from tests.deviantart.sandbox.artist import Artist, picture, refusal
from tests.sandbox_process import SandboxProcess


def titles(page: dict[str, Any]) -> list[str]:
    return [work["title"] for work in page["results"]]


def test_whoami(sandbox: SandboxProcess) -> None:
    user = sandbox.users("mei", type="premium")
    body = Artist(sandbox, "mei").get("/user/whoami").json()
    icon = body.pop("usericon")
    assert body == {"userid": user["userid"], "username": "mei", "type": "premium"}
    assert Artist(sandbox).session.get(icon, timeout=20).headers["Content-Type"] == "image/svg+xml"


@pytest.mark.parametrize("method", ["get", "post"])
def test_placebo_takes_any_valid_token(anna: Artist, method: str) -> None:
    assert getattr(anna, method)("/placebo").json() == {"status": "success"}
    anna.sandbox.advance(3600)
    assert getattr(anna, method)("/placebo").status_code == 401


# --- gallery/all -----------------------------------------------------------------------------------------------------


def test_the_gallery_is_newest_first(anna: Artist) -> None:
    for number in range(5):
        anna.published(title=f"Work {number}")
    page = anna.gallery()
    assert titles(page) == ["Work 4", "Work 3", "Work 2", "Work 1", "Work 0"]
    assert (page["has_more"], page["next_offset"]) == (False, None)


def test_the_gallery_comes_in_pages(anna: Artist) -> None:
    for number in range(12):
        anna.published(title=f"Work {number}")
    default = anna.get("/gallery/all").json()
    assert (len(default["results"]), default["has_more"], default["next_offset"]) == (10, True, 10)
    seen: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = anna.gallery(limit=5, offset=offset)
        seen += titles(page)
        offset = page["next_offset"]
    assert seen == [f"Work {number}" for number in reversed(range(12))]


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("limit", "24", True),
        ("limit", "25", False),
        ("limit", "0", False),
        ("limit", "x", False),
        ("offset", "50000", True),
        ("offset", "-1", False),
        ("mature_content", "maybe", False),
    ],
)
def test_paging_is_validated(anna: Artist, parameter: str, value: str, accepted: bool) -> None:
    answer = anna.get("/gallery/all", params={parameter: value})
    assert (answer.status_code == 200) is accepted
    assert accepted or answer.json()["error_details"] == {parameter: f"failed to validate {parameter}"}


def test_mature_works_are_shown_only_when_asked_for_and_leave_short_pages(anna: Artist) -> None:
    for number in range(4):
        anna.published(title=f"Work {number}", is_mature=str(number % 2 == 1).lower(), mature_level="strict")
    assert titles(anna.gallery()) == ["Work 3", "Work 2", "Work 1", "Work 0"]
    first = anna.gallery(mature_content="false", limit=2)
    assert (titles(first), first["has_more"], first["next_offset"]) == (["Work 2"], True, 2)
    without = anna.get("/gallery/all", params={"limit": 24}).json()
    assert titles(without) == ["Work 2", "Work 0"]


def test_everybody_has_a_gallery_of_their_own(sandbox: SandboxProcess, anna: Artist) -> None:
    bo = Artist(sandbox, "bo")
    anna.published(title="Anna's")
    bo.published(title="Bo's")
    assert titles(anna.gallery()) == ["Anna's"]
    assert titles(anna.gallery(username="BO")) == ["Bo's"]
    unknown = anna.get("/gallery/all", params={"username": "nobody"})
    assert refusal(unknown) == (400, "invalid_request", 1)
    assert unknown.json()["error_description"] == "User not found."


def test_works_show_after_the_gallery_delay_of_the_virtual_clock(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(gallery_delay_seconds=300)
    work = anna.published()
    assert titles(anna.gallery()) == []
    sandbox.advance(290)
    assert titles(anna.gallery()) == []
    assert anna.get(f"/deviation/{work['deviationid']}").status_code == 200
    sandbox.advance(10)
    assert titles(anna.gallery()) == ["Night sky"]
    sandbox.profile(gallery_delay_seconds="never")
    assert titles(anna.gallery()) == []


# --- the deviation object --------------------------------------------------------------------------------------------


def test_a_deviation_tells_what_was_published(sandbox: SandboxProcess, anna: Artist) -> None:
    content = picture(900, 600)
    live = anna.publish(anna.item(content, title="Pool"), allow_comments="no", allow_free_download="no").json()
    work = anna.get(f"/deviation/{live['deviationid'].lower()}").json()
    assert anna.gallery()["results"] == [work]
    author = anna.get("/user/whoami").json()
    assert work["author"] == {**author, "is_subscribed": False}
    assert work["published_time"].isdecimal()
    assert isinstance(work["published_time"], str)
    assert {name: work[name] for name in ("deviationid", "url", "title", "is_mature", "is_downloadable")} == {
        "deviationid": live["deviationid"],
        "url": live["url"],
        "title": "Pool",
        "is_mature": False,
        "is_downloadable": False,
    }
    assert (work["is_published"], work["is_deleted"], work["allows_comments"]) == (True, False, False)
    assert (work["content"]["width"], work["content"]["height"]) == (900, 600)
    assert work["content"]["filesize"] == len(content)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_the_addresses_of_a_deviation_serve_its_picture(anna: Artist, form: str) -> None:
    content = picture(900, 600, form=form)
    anna.published(content)
    work = anna.gallery()["results"][0]
    served = anna.session.get(work["content"]["src"], timeout=20)
    assert hashlib.sha256(served.content).digest() == hashlib.sha256(content).digest()
    assert served.headers["Content-Type"] == f"image/{form.lower()}"
    sizes = []
    for entry in (*work["thumbs"], work["preview"]):
        answer = anna.session.get(entry["src"], timeout=20)
        image = Image.open(io.BytesIO(answer.content))
        assert image.size == (entry["width"], entry["height"])
        assert answer.headers["Content-Type"] == Image.MIME[image.format or ""]
        sizes.append(image.size)
        original = Image.open(io.BytesIO(content)).convert("RGB").resize(image.size)
        middle = (image.width // 2, image.height // 2)
        seen, true = image.convert("RGB").getpixel(middle), original.getpixel(middle)
        assert isinstance(seen, tuple)
        assert isinstance(true, tuple)
        assert max(abs(one - other) for one, other in zip(seen, true, strict=True)) < 40
    assert sizes == [(150, 100), (300, 200), (900, 600)]


def test_a_transparent_picture_keeps_its_transparency(anna: Artist) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (400, 400), (255, 0, 0, 0)).save(buffer, "PNG")
    anna.published(buffer.getvalue())
    thumb = anna.gallery()["results"][0]["thumbs"][0]
    assert thumb["transparency"] is True
    image = Image.open(io.BytesIO(anna.session.get(thumb["src"], timeout=20).content))
    assert image.getchannel("A").getextrema() == (0, 0)


def test_a_photograph_that_is_turned_by_its_orientation_has_turned_sizes(anna: Artist) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 200)).save(buffer, "JPEG", exif=exif)
    anna.published(buffer.getvalue())
    work = anna.gallery()["results"][0]
    assert (work["content"]["width"], work["content"]["height"]) == (200, 400)
    thumb = Image.open(io.BytesIO(anna.session.get(work["thumbs"][0]["src"], timeout=20).content))
    assert thumb.size == (75, 150)


def test_what_cannot_be_scaled_is_served_as_it_is(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.profile(videos="publish")
    video = b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 100
    broken = picture()[:2000]  # a good header and no more
    for content in (video, broken):
        anna.published(content)
        work = anna.gallery()["results"][0]
        for address in (work["content"]["src"], work["thumbs"][0]["src"]):
            assert anna.session.get(address, timeout=20).content == content


def test_an_unknown_deviation_is_code_0(anna: Artist) -> None:
    answer = anna.get("/deviation/E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE")
    assert refusal(answer) == (400, "invalid_request", 0)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_folders_come_with_their_subfolders(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("anna", folders=[{"name": "Oils", "subfolders": ["2025", "2026"]}, "Sketches"])
    body = anna.get("/gallery/folders", params={"limit": 50}).json()
    assert [folder["name"] for folder in body["results"]] == ["Featured", "Oils", "Sketches"]
    oils = body["results"][1]
    assert (oils["parent"], oils["has_subfolders"]) == (None, True)
    assert [(sub["name"], sub["parent"]) for sub in oils["subfolders"]] == [
        ("2025", oils["folderid"]),
        ("2026", oils["folderid"]),
    ]
    assert "size" not in oils
    assert (body["has_more"], body["next_offset"]) == (False, None)


def test_many_folders_come_in_pages(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("anna", folders=[f"Folder {number}" for number in range(60)])
    first = anna.get("/gallery/folders", params={"limit": 50}).json()
    assert (len(first["results"]), first["has_more"], first["next_offset"]) == (50, True, 50)
    second = anna.get("/gallery/folders", params={"limit": 50, "offset": 50}).json()
    assert (len(second["results"]), second["has_more"]) == (11, False)
    assert len(anna.get("/gallery/folders").json()["results"]) == 10
    assert anna.get("/gallery/folders", params={"limit": 51}).status_code == 400


def test_a_folder_knows_its_size_and_its_works(sandbox: SandboxProcess, anna: Artist) -> None:
    featured, oils = (folder["folderid"] for folder in sandbox.users("anna", folders=["Oils"])["folders"])
    anna.published(title="In both", galleryids=[oils])
    anna.published(title="In oils", galleryids=[oils], feature="false")
    anna.published(title="Featured")
    anna.published(title="Scrap", catpath="scraps")
    params = {"calculate_size": "true", "ext_preload": "true"}
    folders = anna.get("/gallery/folders", params=params).json()["results"]
    assert [(folder["name"], folder["size"], titles({"results": folder["deviations"]})) for folder in folders] == [
        ("Featured", 2, ["Featured", "In both"]),
        ("Oils", 2, ["In oils", "In both"]),
    ]
    page = anna.get(f"/gallery/{oils}", params={"limit": 24}).json()
    assert (page["name"], titles(page)) == ("Oils", ["In oils", "In both"])
    assert titles(anna.get(f"/gallery/{featured}").json()) == ["Featured", "In both"]
    assert titles(anna.gallery()) == ["Featured", "In oils", "In both"]


def test_empty_folders_can_be_left_out(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("anna", folders=["Oils"])
    anna.published()
    body = anna.get("/gallery/folders", params={"filter_empty_folder": "true"}).json()
    assert [folder["name"] for folder in body["results"]] == ["Featured"]


def test_a_folder_is_found_under_its_owner_only(sandbox: SandboxProcess, anna: Artist) -> None:
    foreign = sandbox.users("bo")["folders"][0]["folderid"]
    assert refusal(anna.get(f"/gallery/{foreign}")) == (400, "invalid_request", 0)
    assert anna.get(f"/gallery/{foreign}", params={"username": "bo"}).json()["name"] == "Featured"


# --- metadata --------------------------------------------------------------------------------------------------------


def test_metadata_tells_which_application_uploaded(sandbox: SandboxProcess, anna: Artist) -> None:
    itemid = anna.item(picture(640, 480), title="Night sky", artist_comments="Oil\ncanvas", tags=["night", "sky"])
    live = anna.publish(
        itemid,
        is_mature="yes",
        mature_level="moderate",
        mature_classification=["nudity"],
        license_options={"creative_commons": "yes", "modify": "share"},
    ).json()
    params = {"deviationids[]": live["deviationid"], "ext_submission": "1", "ext_stats": "1", "ext_gallery": "1"}
    (entry,) = anna.get("/deviation/metadata", params=params).json()["metadata"]
    assert entry["title"] == "Night sky"
    assert entry["description"] == "Oil\ncanvas"
    assert [tag["tag_name"] for tag in entry["tags"]] == ["night", "sky"]
    assert entry["license"] == "Creative Commons Attribution-Noncommercial-Share Alike 3.0 License"
    assert (entry["mature_level"], entry["mature_classification"]) == ("moderate", ["nudity"])
    submission = entry["submission"]
    assert submission["submitted_with"] == {"app": "Isekai", "url": ""}
    assert submission["resolution"] == "640x480"
    assert submission["creation_time"].endswith("-0700")
    assert entry["stats"]["views"] == 0
    assert [gallery["name"] for gallery in entry["galleries"]] == ["Featured"]


def test_metadata_is_short_unless_asked(anna: Artist) -> None:
    live = anna.published()
    (entry,) = anna.get("/deviation/metadata", params={"deviationids[0]": live["deviationid"]}).json()["metadata"]
    assert {"submission", "stats", "camera", "collections", "galleries", "mature_level"} & set(entry) == set()
    assert entry["license"] == "No License"


def test_another_application_is_told_apart(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.apps("2000", name="By hand", url="https://hand.example")
    live = anna.published()
    other = Artist(sandbox, "anna")
    other.session.headers["Authorization"] = f"Bearer {sandbox.tokens('anna', client_id='2000')['access_token']}"
    theirs = other.published()
    params = {"deviationids[]": [live["deviationid"], theirs["deviationid"]], "ext_submission": "true"}
    entries = anna.get("/deviation/metadata", params=params).json()["metadata"]
    assert [entry["submission"]["submitted_with"]["app"] for entry in entries] == ["Isekai", "By hand"]


@pytest.mark.parametrize(
    ("count", "extended", "code"), [(50, False, None), (51, False, 0), (10, True, None), (11, True, 0)]
)
def test_metadata_is_read_in_batches(anna: Artist, count: int, extended: bool, code: int | None) -> None:
    live = anna.published()["deviationid"]
    ids = [live, *(f"E431BAFB-7A00-7EA1-EED7-{number:012X}" for number in range(count - 1))]
    params: dict[str, Any] = {"deviationids[]": ids}
    if extended:
        params["ext_submission"] = "1"
    answer = anna.get("/deviation/metadata", params=params)
    if code is None:
        assert [entry["deviationid"] for entry in answer.json()["metadata"]] == [live]
    else:
        assert refusal(answer) == (400, "invalid_request", code)


@pytest.mark.parametrize(
    ("params", "problem"),
    [({}, "deviationids is required"), ({"deviationids[]": "x"}, "deviationids is not a valid UUID")],
)
def test_metadata_needs_ids(anna: Artist, params: dict[str, str], problem: str) -> None:
    answer = anna.get("/deviation/metadata", params=params)
    assert answer.json()["error_details"] == {"deviationids": problem}
