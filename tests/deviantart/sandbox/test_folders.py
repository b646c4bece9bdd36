"""Arranging a gallery: its folders, their order, and the works in them."""

from typing import Any

import pytest

from tests.deviantart.sandbox.artist import Artist, picture, refusal
from tests.sandbox_process import SandboxProcess

NOWHERE = "E431BAFB-7A00-7EA1-EED7-2EF9FA0F04CE"


def names(artist: Artist) -> list[Any]:
    """The folders as the artist sees them; one with subfolders is a pair."""
    results = artist.get("/gallery/folders", params={"limit": 50}).json()["results"]
    return [
        (folder["name"], [sub["name"] for sub in folder["subfolders"]]) if folder["subfolders"] else folder["name"]
        for folder in results
    ]


def contents(artist: Artist, folderid: str) -> list[str]:
    page = artist.get(f"/gallery/{folderid}", params={"limit": 24, "mature_content": "true"}).json()
    return [work["title"] for work in page["results"]]


def change(artist: Artist, call: str, /, **fields: Any) -> Any:
    data = [
        pair
        for field, value in fields.items()
        for pair in ([(f"{field}[]", each) for each in value] if isinstance(value, list) else [(field, value)])
    ]
    return artist.post(f"/gallery/folders/{call}", data=data)


def made(artist: Artist, name: str, **fields: Any) -> str:
    answer = change(artist, "create", folder=name, **fields)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"folderid", "name"}
    return str(answer.json()["folderid"])


@pytest.fixture
def folders(anna: Artist) -> dict[str, str]:
    made(anna, "Oils")
    made(anna, "Sketches")
    results = anna.get("/gallery/folders").json()["results"]
    return {folder["name"]: folder["folderid"] for folder in results}


def test_folders_are_made_in_two_levels(sandbox: SandboxProcess, anna: Artist) -> None:
    oils = made(anna, "Oils", description="On canvas")
    made(anna, "2026", parent_folderid=oils)
    assert names(anna) == ["Featured", ("Oils", ["2026"])]
    folder = anna.get("/gallery/folders").json()["results"][1]
    assert (folder["folderid"], folder["description"]) == (oils, "On canvas")
    third = folder["subfolders"][0]["folderid"]
    deeper = change(anna, "create", folder="May", parent_folderid=third)
    assert deeper.json()["error_details"] == {"parent_folderid": "failed to validate parent_folderid"}
    assert sandbox.ledger()["requests"][0]["committed"] is True


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, {"folder": "folder is required"}),
        ({"folder": ""}, {"folder": "folder is required"}),
        ({"folder": "x" * 51}, {"folder": "failed to validate folder"}),
        ({"folder": "x", "parent_folderid": "12"}, {"parent_folderid": "parent_folderid is not a valid UUID"}),
        ({"folder": "x", "parent_folderid": NOWHERE}, {"parent_folderid": "failed to validate parent_folderid"}),
    ],
)
def test_a_folder_that_cannot_be_made(anna: Artist, fields: dict[str, str], problem: dict[str, str]) -> None:
    assert change(anna, "create", **fields).json()["error_details"] == problem
    assert names(anna) == ["Featured"]


def test_a_gallery_has_at_most_250_folders(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.users("anna", folders=[f"Folder {number}" for number in range(248)])
    made(anna, "The last")
    assert change(anna, "create", folder="One more").status_code == 400


def test_a_folder_is_changed_in_what_is_named(anna: Artist, folders: dict[str, str]) -> None:
    work = anna.published(title="Cover")["deviationid"]
    assert change(anna, "update", folderid=folders["Oils"], name="Oil paintings").json() == {"success": True}
    change(anna, "update", folderid=folders["Oils"], description="On canvas", cover_deviationid=work)
    folder = anna.get("/gallery/folders").json()["results"][1]
    assert (folder["name"], folder["description"], folder["thumb"]["title"]) == ("Oil paintings", "On canvas", "Cover")


def test_nobody_changes_the_folders_of_another(sandbox: SandboxProcess, folders: dict[str, str]) -> None:
    bo = Artist(sandbox, "bo")
    works = [bo.published()["deviationid"]]
    for name, field in (("update", "folderid"), ("update_order", "folderid"), ("remove_deviations", "folderid")):
        fields = {
            field: folders["Oils"],
            "name": "Mine",
            "position": "0",
            "deviationids": works,
        }
        assert change(bo, name, **fields).json()["error_details"] == {field: f"failed to validate {field}"}
    assert refusal(bo.post(f"/gallery/folders/remove/{folders['Oils']}")) == (400, "invalid_request", 0)


def test_folders_are_ordered_behind_featured(anna: Artist, folders: dict[str, str]) -> None:
    made(anna, "Last")
    change(anna, "update_order", folderid=folders["Sketches"], position="1")
    assert names(anna) == ["Featured", "Sketches", "Oils", "Last"]
    change(anna, "update_order", folderid=folders["Sketches"], position="0")
    assert names(anna)[0] == "Featured"
    change(anna, "update_order", folderid=folders["Sketches"], position="99")
    assert names(anna) == ["Featured", "Oils", "Last", "Sketches"]
    assert change(anna, "update_order", folderid=folders["Featured"], position="2").status_code == 400
    assert change(anna, "update_order", folderid=folders["Oils"]).json()["error_details"] == {
        "position": "position is required"
    }


def test_a_folder_moves_into_another(anna: Artist, folders: dict[str, str]) -> None:
    assert change(anna, "move", folderid=folders["Sketches"], to_folderid=folders["Oils"]).json() == {"success": True}
    assert names(anna) == ["Featured", ("Oils", ["Sketches"])]
    extra = made(anna, "Extra")
    for folderid, target in (
        (folders["Oils"], extra),  # it has a subfolder
        (extra, folders["Sketches"]),  # which is a subfolder
        (extra, extra),
        (folders["Featured"], extra),
    ):
        answer = change(anna, "move", folderid=folderid, to_folderid=target)
        assert answer.json()["error_details"] == {"to_folderid": "failed to validate to_folderid"}


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_folder_is_removed_with_its_subfolders_and_its_works_stay(
    anna: Artist, folders: dict[str, str], method: str
) -> None:
    made(anna, "2026", parent_folderid=folders["Oils"])
    anna.published(title="Pool", galleryids=[folders["Oils"]], feature="false")
    answer = getattr(anna, method)(f"/gallery/folders/remove/{folders['Oils'].lower()}")
    assert answer.json() == {"success": True}
    assert names(anna) == ["Featured", "Sketches"]
    assert [work["title"] for work in anna.gallery()["results"]] == ["Pool"]
    assert refusal(anna.get(f"/gallery/{folders['Oils']}")) == (400, "invalid_request", 0)


def test_removing_the_top_folder_is_a_server_error(anna: Artist, folders: dict[str, str]) -> None:
    answer = anna.post(f"/gallery/folders/remove/{folders['Featured']}")
    assert refusal(answer) == (500, "server_error", None)
    assert names(anna)[0] == "Featured"


def test_works_are_copied_moved_and_taken_out(anna: Artist, folders: dict[str, str]) -> None:
    featured, oils, sketches = folders["Featured"], folders["Oils"], folders["Sketches"]
    one, two = (anna.published(picture(60, 40), title=title)["deviationid"] for title in ("One", "Two"))
    success = {"success": True}
    assert change(anna, "copy_deviations", target_folderid=oils, deviationids=[one, two.lower()]).json() == success
    assert change(anna, "copy_deviations", target_folderid=oils, deviationids=[one]).json() == success
    assert contents(anna, oils) == ["Two", "One"]
    fields = {"source_folderid": oils, "target_folderid": sketches, "deviationids": [one]}
    assert change(anna, "move_deviations", **fields).json() == success
    assert (contents(anna, oils), contents(anna, sketches)) == (["Two"], ["One"])
    assert change(anna, "remove_deviations", folderid=featured, deviationids=[one, two]).json() == success
    assert contents(anna, featured) == []
    assert [work["title"] for work in anna.gallery()["results"]] == ["Two", "One"]


def test_copying_to_a_folder_of_somebody_else_is_success_without_effect(sandbox: SandboxProcess, anna: Artist) -> None:
    foreign = sandbox.users("bo")["folders"][0]["folderid"]
    work = anna.published()["deviationid"]
    assert change(anna, "copy_deviations", target_folderid=foreign, deviationids=[work]).json() == {"success": True}
    assert contents(Artist(sandbox, "bo"), foreign) == []


def test_only_works_of_ones_own_are_arranged(sandbox: SandboxProcess, anna: Artist, folders: dict[str, str]) -> None:
    foreign = Artist(sandbox, "bo").published()["deviationid"]
    answer = change(anna, "copy_deviations", target_folderid=folders["Oils"], deviationids=[foreign])
    assert refusal(answer) == (400, "invalid_request", 0)
    missing = change(anna, "copy_deviations", target_folderid=folders["Oils"])
    assert missing.json()["error_details"] == {"deviationids": "deviationids is required"}


def test_works_are_ordered_in_a_folder_and_new_ones_come_first(anna: Artist, folders: dict[str, str]) -> None:
    ids = [anna.published(picture(60, 40), title=title)["deviationid"] for title in ("One", "Two", "Three")]
    featured = folders["Featured"]
    answer = change(anna, "update_deviation_order", folderid=featured, deviationid=ids[0], position="0")
    assert answer.json() == {"success": True}
    assert contents(anna, featured) == ["One", "Three", "Two"]
    anna.published(picture(60, 40), title="Four")
    assert contents(anna, featured) == ["Four", "One", "Three", "Two"]
    assert [work["title"] for work in anna.gallery()["results"]] == ["Four", "Three", "Two", "One"]
    unknown = change(anna, "update_deviation_order", folderid=featured, deviationid=NOWHERE, position="0")
    assert refusal(unknown) == (400, "invalid_request", 0)


@pytest.mark.parametrize(
    ("name", "scopes", "missing"),
    [
        ("create", ["browse"], "gallery"),
        ("move", ["gallery"], "browse"),
        ("update_deviation_order", ["browse", "gallery", "stash"], "publish"),
    ],
)
def test_arranging_needs_its_scopes(sandbox: SandboxProcess, name: str, scopes: list[str], missing: str) -> None:
    answer = change(Artist(sandbox, "anna", scopes=scopes), name)
    assert (answer.status_code, answer.json()["scope"]) == (403, missing)


def test_a_premium_folder_tells_its_price(sandbox: SandboxProcess, anna: Artist) -> None:
    folders = sandbox.users("anna", folders=[{"name": "Subscribers", "access": "premium"}, "Open"])["folders"]
    anna.published(galleryids=[folders[1]["folderid"]])
    featured, premium, public = anna.get("/gallery/folders").json()["results"]
    assert featured["premium_folder_data"] is public["premium_folder_data"] is None
    assert premium["premium_folder_data"]["type"] == "paid"
    assert premium["premium_folder_data"]["dollar_price"] == 5
    (work,) = anna.get(f"/gallery/{premium['folderid']}").json()["results"]
    assert (work["tier_access"], work["tier"]["stats"]) == ("locked", [])
    assert work["premium_folder_data"]["gallery_id"] == premium["folderid"]


def test_the_whole_gallery_comes_popular_first(sandbox: SandboxProcess, anna: Artist) -> None:
    sandbox.seed("anna", deviations=20, folders=1, mature_share=0, deleted_share=0)
    popular = anna.get("/gallery/", params={"limit": 24}).json()["results"]
    favourites = [work["stats"]["favourites"] for work in popular]
    assert favourites == sorted(favourites, reverse=True)
    newest = anna.get("/gallery/", params={"limit": 24, "mode": "newest"}).json()["results"]
    assert newest == anna.gallery()["results"]
    assert anna.get("/gallery/", params={"mode": "best"}).status_code == 400
