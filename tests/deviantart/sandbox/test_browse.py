"""Looking around: everybody's works, tags, topics, dailies, an artist's profile, and an artist with a past."""

from typing import Any

import pytest
import requests

from tests.deviantart.sandbox.artist import Artist, picture, refusal
from tests.sandbox_process import SandboxProcess


def titles(works: list[dict[str, Any]]) -> list[str]:
    return [work["title"] for work in works]


def browse(artist: Artist, path: str, **parameters: Any) -> dict[str, Any]:
    answer = artist.get(f"/browse/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def works(sandbox: SandboxProcess) -> None:
    for name, title, tags in (("bo", "Sea", ["sea", "night"]), ("bo", "Hill", ["hill"]), ("cy", "Moon", ["night"])):
        artist = Artist(sandbox, name)
        artist.publish(artist.item(picture(60, 40), title=title, tags=tags))


@pytest.mark.usefixtures("works")
def test_home_shows_everybodys_works_in_pages(anna: Artist) -> None:
    page = browse(anna, "home", limit=2)
    assert (len(page["results"]), page["has_more"], page["next_offset"]) == (2, True, 2)
    rest = browse(anna, "home", limit=2, offset=2)
    assert {*titles(page["results"]), *titles(rest["results"])} == {"Sea", "Hill", "Moon"}
    assert rest["has_more"] is False
    assert anna.get("/browse/home", params={"limit": 51}).status_code == 400


@pytest.mark.usefixtures("works")
def test_works_are_found_by_tag(anna: Artist) -> None:
    assert titles(browse(anna, "tags", tag="NIGHT", mode="newest")["results"]) == ["Moon", "Sea"]
    assert set(titles(browse(anna, "tags", tag="night")["results"])) == {"Moon", "Sea"}
    assert browse(anna, "tags", tag="noon")["results"] == []
    assert anna.get("/browse/tags").json()["error_details"] == {"tag": "tag is required"}


@pytest.mark.usefixtures("works")
def test_tags_are_found_by_their_beginning(anna: Artist) -> None:
    assert browse(anna, "tags/search", tag_name="nig") == {"results": [{"tag_name": "night"}]}
    assert browse(anna, "tags/search", tag_name="zzz") == {"results": []}
    short = anna.get("/browse/tags/search", params={"tag_name": "ni"})
    assert short.json()["error_details"] == {"tag_name": "failed to validate tag_name"}


@pytest.mark.usefixtures("works")
def test_topics_have_examples_and_works(anna: Artist) -> None:
    page = browse(anna, "topics", limit=10)
    assert (len(page["results"]), page["has_more"]) == (10, True)
    (night,) = [topic for topic in page["results"] if topic["canonical_name"] == "night"]
    assert set(titles(night["example_deviations"])) == {"Moon", "Sea"}
    assert anna.get("/browse/topics", params={"limit": 11}).status_code == 400
    assert set(titles(browse(anna, "topic", topic="night", limit=24)["results"])) == {"Moon", "Sea"}
    assert anna.get("/browse/topic", params={"topic": "nonsense"}).status_code == 400
    top = browse(anna, "toptopics")
    assert set(top) == {"results"}
    assert all("deviations" in topic for topic in top["results"])


@pytest.mark.usefixtures("works")
def test_dailies_are_the_same_for_everybody_on_one_day(sandbox: SandboxProcess, anna: Artist) -> None:
    results = browse(anna, "dailydeviations")["results"]
    assert set(titles(results)) == {"Sea", "Hill", "Moon"}
    assert all("giver" in work["daily_deviation"] for work in results)
    assert browse(Artist(sandbox, "bo"), "dailydeviations")["results"] == results
    assert browse(anna, "dailydeviations", date="2001-01-01") == {"results": []}
    assert anna.get("/browse/dailydeviations", params={"date": "yesterday"}).status_code == 400


@pytest.mark.usefixtures("works")
def test_more_like_a_work_is_by_its_artist_or_shares_a_tag(anna: Artist) -> None:
    by_title = {work["title"]: work for work in browse(anna, "home", limit=50)["results"]}
    more = browse(anna, "morelikethis/preview", seed=by_title["Sea"]["deviationid"])
    assert more["seed"] == by_title["Sea"]["deviationid"]
    assert more["author"]["username"] == "bo"
    assert (titles(more["more_from_artist"]), titles(more["more_from_da"])) == (["Hill"], ["Moon"])
    unknown = anna.get("/browse/morelikethis/preview", params={"seed": "E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE"})
    assert refusal(unknown) == (400, "invalid_request", 0)


@pytest.mark.usefixtures("works")
def test_one_sees_whom_one_watches(sandbox: SandboxProcess, anna: Artist) -> None:
    assert browse(anna, "deviantsyouwatch")["results"] == []
    assert sandbox.users("anna", watches=["cy"])["watches"] == ["cy"]
    assert titles(browse(anna, "deviantsyouwatch")["results"]) == ["Moon"]
    assert anna.get("/user/profile/cy").json()["is_watching"] is True
    assert anna.get("/user/profile/bo").json()["is_watching"] is False
    unknown = requests.post(
        f"{sandbox.base_url}/_sandbox/users", json={"username": "anna", "watches": ["nobody"]}, timeout=20
    )
    assert (unknown.status_code, unknown.json()["field"]) == (400, "watches")


def test_mature_works_are_shown_only_to_those_who_ask(sandbox: SandboxProcess, anna: Artist) -> None:
    bo = Artist(sandbox, "bo")
    bo.publish(bo.item(title="Nude", tags=["night"]), is_mature="true", mature_level="strict")
    seed = bo.published(picture(60, 40), title="Plain")["deviationid"]
    for path, key, parameters in (
        ("home", "results", {}),
        ("tags", "results", {"tag": "night"}),
        ("dailydeviations", "results", {}),
        ("morelikethis/preview", "more_from_artist", {"seed": seed}),
    ):
        assert "Nude" not in titles(browse(anna, path, **parameters)[key])
        assert "Nude" in titles(browse(anna, path, mature_content="true", **parameters)[key])


@pytest.mark.parametrize("path", ["newest", "popular", "recommended", "hot", "undiscovered", "categorytree"])
def test_lists_that_are_gone(anna: Artist, path: str) -> None:
    assert anna.get(f"/browse/{path}").json()["error_description"] == "Api endpoint not found."


# --- users -----------------------------------------------------------------------------------------------------------


def test_a_profile(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("bo", type="premium", folders=["Oils"])
    Artist(sandbox, "bo").published()
    body = anna.get("/user/profile/BO", params={"ext_galleries": "true", "ext_collections": "1"}).json()
    assert (body["user"]["username"], body["user"]["type"]) == ("bo", "premium")
    assert body["profile_url"] == f"{sandbox.base_url}/bo"
    assert requests.get(body["profile_url"], timeout=20).status_code == 200
    assert body["stats"]["user_deviations"] == 1
    assert [folder["name"] for folder in body["galleries"]] == ["Featured", "Oils"]
    assert body["collections"] == []
    assert "galleries" not in anna.get("/user/profile/bo").json()


@pytest.mark.parametrize(("state", "code"), [("suspended", 0), ("inactive", 1), ("deleted", 2)])
def test_a_profile_that_cannot_be_seen(sandbox: SandboxProcess, anna: Artist, state: str, code: int) -> None:
    sandbox.users("bo", state=state)
    assert refusal(anna.get("/user/profile/bo")) == (400, "invalid_request", code)
    assert refusal(anna.get("/user/profile/nobody")) == (400, "invalid_request", 2)


def test_whois_leaves_out_whom_there_is_not(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("bo")
    answer = anna.post("/user/whois", data=[("usernames[]", "BO"), ("usernames[]", "nobody")])
    assert [user["username"] for user in answer.json()["results"]] == ["bo"]
    assert anna.post("/user/whois").json()["error_details"] == {"usernames": "usernames is required"}


def test_whoami_can_be_expanded(anna: Artist) -> None:
    plain = anna.get("/user/whoami").json()
    body = anna.get("/user/whoami", params={"expand": "user.details,user.stats"}).json()
    assert set(body) - set(plain) == {"details", "stats"}


# --- a past ----------------------------------------------------------------------------------------------------------


def test_an_artist_with_a_past(sandbox: SandboxProcess, anna: Artist) -> None:
    made = sandbox.seed("anna", deviations=310, folders=62, subfolders=2, premium_folders=1, mature_share=0.3)
    assert made == {"username": "anna", "folders": 1 + 62 + 1 + 2 * 13, "deviations": 310}
    seen: list[dict[str, Any]] = []
    offset: int | None = 0
    pages = []
    while offset is not None:
        page = anna.get("/gallery/all", params={"limit": 24, "offset": offset}).json()
        pages.append(len(page["results"]))
        seen += page["results"]
        offset = page["next_offset"]
    assert len(pages) == 13
    assert min(pages[:-1]) < 24  # short, and not the last
    assert len(seen) < 310
    deleted = [work for work in seen if work["is_deleted"]]
    assert deleted
    assert all(set(work) == {"deviationid", "printid", "is_deleted"} for work in deleted)
    times = [int(work["published_time"]) for work in seen if not work["is_deleted"]]
    assert times == sorted(times, reverse=True)
    folders = anna.get("/gallery/folders", params={"limit": 50, "offset": 50}).json()
    assert (len(folders["results"]), folders["has_more"]) == (14, False)
    shown = seen[0] if not seen[0]["is_deleted"] else seen[1]
    assert requests.get(shown["content"]["src"], timeout=20).headers["Content-Type"] == "image/png"
    summary = sandbox.summary()
    assert (summary["deviations"], summary["seeded"], summary["published_twice"], summary["orphans"]) == (
        310,
        310,
        0,
        0,
    )


def test_the_same_seed_gives_the_same_past(sandbox: SandboxProcess) -> None:
    sandbox.seed("anna", deviations=20, folders=3)
    first = [work["title"] for work in sandbox.ledger()["deviations"]]
    sandbox.reset()
    sandbox.seed("anna", deviations=20, folders=3)
    assert [work["title"] for work in sandbox.ledger()["deviations"]] == first
    sandbox.reset()
    sandbox.profile(seed=99)
    sandbox.seed("anna", deviations=20, folders=3)
    assert [work["title"] for work in sandbox.ledger()["deviations"]] != first


# --- single works ----------------------------------------------------------------------------------------------------


def test_a_deleted_work_is_hardly_more_than_its_id(sandbox: SandboxProcess, anna: Artist) -> None:
    live = anna.published(title="Gone")
    anna.published(title="Stays")
    sandbox.delete_deviation("anna", "Gone")
    tombstone = {"deviationid": live["deviationid"], "printid": None, "is_deleted": True}
    assert anna.get(f"/deviation/{live['deviationid']}").json() == tombstone
    assert anna.gallery()["results"][1] == tombstone
    assert anna.get("/deviation/metadata", params={"deviationids[]": live["deviationid"]}).json() == {"metadata": []}
    assert requests.get(live["url"], timeout=20).status_code == 404
    assert "Gone" not in requests.get(sandbox.base_url, timeout=20).text
    assert titles(browse(anna, "home")["results"]) == ["Stays"]
    sandbox.delete_deviation("anna", "Gone", is_deleted=False)
    assert titles(anna.gallery()["results"]) == ["Stays", "Gone"]


def test_a_download_is_the_original(anna: Artist) -> None:
    content = picture(300, 200, seed=7)
    live = anna.publish(anna.item(content, filename="pool.png")).json()
    body = anna.get(f"/deviation/download/{live['deviationid']}").json()
    assert (body["filename"], body["width"], body["height"], body["filesize"]) == ("pool.png", 300, 200, len(content))
    assert requests.get(body["src"], timeout=20).content == content


def test_what_cannot_be_downloaded(sandbox: SandboxProcess, anna: Artist) -> None:
    kept = anna.published(allow_free_download="no")["deviationid"]
    assert refusal(anna.get(f"/deviation/download/{kept}")) == (400, "invalid_request", 2)
    assert refusal(anna.get("/deviation/download/E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE")) == (400, "invalid_request", 1)
    gone = anna.published(title="Gone")["deviationid"]
    sandbox.delete_deviation("anna", "Gone")
    assert refusal(anna.get(f"/deviation/download/{gone}")) == (400, "invalid_request", 1)


def test_pictures_have_no_content_of_their_own(anna: Artist) -> None:
    live = anna.published()["deviationid"]
    assert refusal(anna.get("/deviation/content", params={"deviationid": live})) == (400, "invalid_request", 1)
    unknown = {"deviationid": "E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE"}
    assert refusal(anna.get("/deviation/content", params=unknown)) == (400, "invalid_request", 0)
    assert anna.get("/deviation/content").json()["error_details"] == {"deviationid": "deviationid is required"}


def test_metadata_may_be_asked_for_by_post(anna: Artist) -> None:
    live = anna.published(title="Pool")["deviationid"]
    answer = anna.post("/deviation/metadata?ext_stats=True", data={"deviationids[]": live})
    assert answer.json()["metadata"][0]["title"] == "Pool"


def test_an_edit_changes_what_is_live_and_clears_what_it_leaves_out(sandbox: SandboxProcess, anna: Artist) -> None:
    oils = sandbox.users("anna", folders=["Oils"])["folders"][1]["folderid"]
    live = anna.publish(anna.item(title="Pool", tags=["night"]), license_options={"creative_commons": "yes"}).json()
    fields = [
        ("title", "Lake"),
        ("is_mature", "yes"),
        ("mature_level", "moderate"),
        ("galleryids[]", oils),
        ("allow_comments", "1"),
    ]
    body = anna.post(f"/deviation/edit/{live['deviationid']}", data=fields).json()
    assert (body["status"], body["deviationid"]) == ("success", live["deviationid"])
    assert "/anna/art/Lake-" in body["url"]
    assert requests.get(body["url"], timeout=20).status_code == 200
    work = anna.get(f"/deviation/{live['deviationid']}").json()
    assert (work["title"], work["is_mature"], work["allows_comments"]) == ("Lake", True, True)
    assert work["is_downloadable"] is False
    params = {"deviationids[]": live["deviationid"], "ext_gallery": "1"}
    (entry,) = anna.get("/deviation/metadata", params=params).json()["metadata"]
    assert (entry["tags"], entry["license"]) == ([], "No License")
    assert [folder["name"] for folder in entry["galleries"]] == ["Oils"]


def test_an_edit_that_is_refused_changes_nothing(sandbox: SandboxProcess, anna: Artist) -> None:
    live = anna.published(title="Pool")["deviationid"]
    bo = Artist(sandbox, "bo")
    assert refusal(bo.post(f"/deviation/edit/{live}", data={"title": "Mine"})) == (400, "invalid_request", 1)
    unknown = anna.post("/deviation/edit/E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE")
    assert refusal(unknown) == (400, "invalid_request", 0)
    mature = anna.post(f"/deviation/edit/{live}", data={"title": "Lake", "is_mature": "1"})
    assert mature.json()["error_details"] == {"mature_level": "mature_level is required"}
    licence = anna.post(f"/deviation/edit/{live}", data={"title": "Lake", "license_options[modify]": "often"})
    assert refusal(licence) == (400, "invalid_request", 4)
    assert titles(anna.gallery()["results"]) == ["Pool"]
