"""Arranging a gallery, against the sandbox: what was asked for is what is read back."""

from collections.abc import Callable

import pytest

from deviantart import errors
from deviantart.client import Client, License, entries, pages
from deviantart.errors import Outcome
from deviantart.types import Deviation, Folder
from tests.deviantart.test_client import artist, publish, submit
from tests.sandbox_process import SandboxProcess


def folders(client: Client) -> dict[str, Folder]:
    return {folder.name: folder for folder in entries(client.gallery_folder_pages(calculate_size=True))}


def titles(works: tuple[Deviation, ...]) -> list[str]:
    return [work.title for work in works]


def live(client: Client, title: str, **options: object) -> str:
    return str(publish(client, submit(client, title=title), **options).deviation_id)


def test_a_folder_is_made_named_anew_and_removed(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    made = client.create_folder("Oils", description="On canvas")
    assert folders(client)["Oils"].folder_id == made.folder_id
    client.update_folder(made.folder_id, name="Oil on canvas", description="")
    assert folders(client)["Oil on canvas"].description == ""
    client.remove_folder(made.folder_id)
    assert set(folders(client)) == {"Featured"}


def test_a_folder_becomes_a_subfolder(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    oils, sketches = client.create_folder("Oils"), client.create_folder("Sketches")
    inner = client.create_folder("2026", parent_id=oils.folder_id)
    client.move_folder(sketches.folder_id, oils.folder_id)
    subfolders = folders(client)["Oils"].subfolders
    assert [(each.name, each.parent_id) for each in subfolders] == [
        ("2026", oils.folder_id),
        ("Sketches", oils.folder_id),
    ]
    assert subfolders[0].folder_id == inner.folder_id


def test_folders_are_put_in_order(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    for name in ("A", "B", "C"):
        client.create_folder(name)
    client.order_folder(folders(client)["C"].folder_id, 1)
    assert list(folders(client)) == ["Featured", "C", "A", "B"]


def test_works_are_copied_moved_and_taken_out_of_folders(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    oils, sketches = client.create_folder("Oils").folder_id, client.create_folder("Sketches").folder_id
    night, day = live(client, "Night"), live(client, "Day")
    client.copy_deviations([night, day], to_folder_id=oils)
    assert sorted(titles(client.gallery_folder(oils).results)) == ["Day", "Night"]
    client.move_deviations([day], from_folder_id=oils, to_folder_id=sketches)
    assert titles(client.gallery_folder(oils).results) == ["Night"]
    assert titles(client.gallery_folder(sketches).results) == ["Day"]
    client.remove_deviations([day], from_folder_id=sketches)
    assert client.gallery_folder(sketches).results == ()
    assert sorted(titles(client.gallery_all().results)) == ["Day", "Night"]


def test_works_are_put_in_order_within_a_folder(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    oils = client.create_folder("Oils").folder_id
    for title in ("One", "Two", "Three"):
        live(client, title, gallery_ids=[oils])
    page = client.gallery_folder(oils)
    assert (page.name, titles(page.results)) == ("Oils", ["Three", "Two", "One"])
    client.order_deviation(oils, page.results[2].deviation_id, 0)
    assert titles(client.gallery_folder(oils).results) == ["One", "Three", "Two"]


def test_what_is_in_a_folder_is_read_page_by_page(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    oils = client.create_folder("Oils").folder_id
    for number in range(5):
        live(client, f"Number {number}", gallery_ids=[oils])
    read = list(pages(client.gallery_folder, folder_id=oils, limit=2))
    assert [len(page.results) for page in read] == [2, 2, 1]
    assert len({work.deviation_id for page in read for work in page.results}) == 5


def test_the_gallery_of_somebody_else_can_be_read(sandbox: SandboxProcess) -> None:
    live(artist(sandbox, "anna"), "Hers")
    assert titles(artist(sandbox, "berta").gallery_all(username="anna").results) == ["Hers"]


def test_folders_of_somebody_else_take_nothing_and_say_success(sandbox: SandboxProcess) -> None:
    hers = artist(sandbox, "anna").create_folder("Hers").folder_id
    client = artist(sandbox, "berta")
    client.copy_deviations([live(client, "Mine")], to_folder_id=hers)
    assert artist(sandbox, "anna").gallery_folder(hers).results == ()


def test_a_name_that_is_missing_is_refused_by_its_field(sandbox: SandboxProcess) -> None:
    with pytest.raises(errors.Rejected) as raised:
        artist(sandbox).create_folder("")
    assert raised.value.details == {"folder": "folder is required"}
    assert raised.value.outcome is Outcome.NO


def test_the_first_folder_cannot_be_removed(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    with pytest.raises(errors.ServerFailed):
        client.remove_folder(folders(client)["Featured"].folder_id)


def test_arranging_needs_its_scope(sandbox: SandboxProcess) -> None:
    with pytest.raises(errors.ScopeMissing) as raised:
        artist(sandbox, scopes=["basic", "browse"]).create_folder("Oils")
    assert raised.value.scope == "gallery"


def test_a_change_whose_answer_was_lost_is_unknown(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    sandbox.faults([{"match": {"path": "/gallery/folders/create"}, "do": "reset_after_commit"}])
    with pytest.raises(errors.AnswerLost) as raised:
        client.create_folder("Oils")
    assert raised.value.outcome is Outcome.UNKNOWN
    assert "Oils" in folders(client)


@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.copy_deviations([], to_folder_id="F"),
        lambda client: client.move_deviations([], from_folder_id="F", to_folder_id="G"),
        lambda client: client.remove_deviations([], from_folder_id="F"),
    ],
)
def test_a_change_of_no_works_is_not_asked_for(sandbox: SandboxProcess, change: Callable[[Client], None]) -> None:
    client = artist(sandbox)
    with pytest.raises(ValueError, match="At least one work"):
        change(client)
    assert sandbox.ledger()["requests"] == []


# --- changing what is live


def edit(client: Client, deviation_id: str, **changes: object) -> str | None:
    everything: dict[str, object] = {
        "title": "Night sky",
        "is_mature": False,
        "mature_level": None,
        "mature_classification": [],
        "allow_comments": True,
        "allow_free_download": False,
        "add_watermark": False,
        "gallery_ids": [],
        "tags": [],
        "license": None,
    }
    return client.edit(deviation_id, **{**everything, **changes}).url  # type: ignore[arg-type]  # a table of fields


def test_a_live_work_is_changed(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    oils = client.create_folder("Oils").folder_id
    deviation_id = live(client, "Nigth sky", tags=["old"])
    url = edit(
        client,
        deviation_id,
        is_mature=True,
        mature_level="strict",
        mature_classification=["nudity", "gore"],
        gallery_ids=[oils],
        tags=["night"],
        license=License(commercial=True, modify="share"),
    )
    (more,) = client.deviation_metadata([deviation_id])
    assert (more.title, more.tags, more.is_mature, more.mature_level) == ("Night sky", ("night",), True, "strict")
    assert more.mature_classification == ("nudity", "gore")
    assert more.license == "Creative Commons Attribution-Share Alike 3.0 License"
    assert client.deviation(deviation_id).url == url
    assert titles(client.gallery_folder(oils).results) == ["Night sky"]


def test_a_work_of_somebody_else_is_not_ours_to_change(sandbox: SandboxProcess) -> None:
    deviation_id = live(artist(sandbox, "anna"), "Hers")
    with pytest.raises(errors.NotOwned):
        edit(artist(sandbox, "berta"), deviation_id)
    with pytest.raises(errors.NotFound):
        edit(artist(sandbox, "anna"), "4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2")


def test_overwriting_a_published_item_changes_the_live_work(sandbox: SandboxProcess) -> None:
    client = artist(sandbox)
    item_id = submit(client)
    deviation_id = publish(client, item_id).deviation_id
    assert submit(client, b"another picture", title="Other", itemid=item_id) == item_id
    assert client.deviation(deviation_id).title == "Other"
    assert sandbox.summary()["items"] == 1
