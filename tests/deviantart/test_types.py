"""Payloads as the fact sheet shows them, and what is made of those that lack or add something."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deviantart import types
from deviantart.types import Page, Picture, UnreadablePayload

DEVIATION: dict[str, Any] = {
    "deviationid": "4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2",
    "printid": None,
    "url": "https://www.deviantart.com/someartist/art/Pool-750209147",
    "title": "Pool",
    "is_deleted": False,
    "is_mature": True,
    "author": {"userid": "F30EF3EE", "username": "SomeArtist", "usericon": "https://a.test/a.jpg", "type": "premium"},
    "published_time": "1529259714",
    "preview": {"src": "https://images-wixmp-x.wixmp.com/f/p", "height": 512, "width": 1024, "transparency": False},
    "content": {"src": "https://images-wixmp-x.wixmp.com/f/c", "height": 512, "width": 1024, "filesize": 7939495},
    "thumbs": [{"src": "https://images-wixmp-x.wixmp.com/f/t", "height": 75, "width": 150, "transparency": False}],
    "tier": {"stats": []},
    "something_new": {"a": 1},
}  # fmt: skip


def test_a_deviation_is_read() -> None:
    work = types.deviation(DEVIATION)
    assert work.deviation_id == "4F494EC9-B8E9-CE6B-AC56-5D4ADBEDD8E2"
    assert work.title == "Pool"
    assert work.url == "https://www.deviantart.com/someartist/art/Pool-750209147"
    assert work.published_at == datetime(2018, 6, 17, 18, 21, 54, tzinfo=UTC)
    assert work.author is not None
    assert work.author.username == "SomeArtist"
    assert work.is_mature is True
    assert work.is_deleted is False
    assert work.preview == Picture("https://images-wixmp-x.wixmp.com/f/p", 1024, 512)
    assert work.thumbnails == (Picture("https://images-wixmp-x.wixmp.com/f/t", 150, 75),)


def test_a_deleted_deviation_has_little_more_than_its_id() -> None:
    work = types.deviation({"deviationid": "D", "is_deleted": True})
    assert (work.is_deleted, work.title, work.url, work.published_at, work.thumbnails) == (True, "", None, None, ())


@pytest.mark.parametrize(
    "value",
    [1529259714, "1529259714", 1529259714.0, "2018-06-17T18:21:54Z", "2018-06-17T11:21:54-0700", "2018-06-17T18:21:54"],
)
def test_a_time_is_read_in_each_of_its_forms(value: Any) -> None:
    assert types.moment(value) == datetime(2018, 6, 17, 18, 21, 54, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, True, "", "soon", [], {}, "9" * 15, 1e300, float("nan"), -1e300, "٣"])
def test_what_is_no_time_is_none(value: Any) -> None:
    assert types.moment(value) is None


def test_an_id_of_64_bits_keeps_every_digit() -> None:
    assert types.identifier(9007199254740993) == 9007199254740993
    assert types.identifier("9007199254740993") == 9007199254740993


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.0, "", "1.0", "x", "٣", [1]])
def test_what_is_no_id_is_none(value: Any) -> None:
    assert types.identifier(value) is None


@pytest.mark.parametrize(
    "value", [None, 1, "", "javascript:alert(1)", "//x.test/a", "/a", "data:text/html,x", "https://", "https://[x"]
)
def test_what_is_no_link_is_none(value: Any) -> None:
    assert types.link(value) is None


def test_folders_are_read_with_their_subfolders() -> None:
    page: Page[types.Folder] = types.page(
        {
            "results": [
                {"folderid": "F1", "parent": None, "name": "Featured", "description": "", "size": 64, "thumb": None,
                 "has_subfolders": False, "subfolders": [], "premium_folder_data": None, "deviations": []},
                {"folderid": "F2", "parent": None, "name": "Oils", "thumb": DEVIATION,
                 "premium_folder_data": {"type": "paid", "has_access": True},
                 "subfolders": [{"folderid": "F3", "parent": "F2", "name": "2026"}]},
            ],
            "has_more": True,
            "next_offset": 2,
        },
        types.folder,
        None,
    )  # fmt: skip
    featured, oils = page.results
    assert (featured.folder_id, featured.name, featured.size, featured.is_premium) == ("F1", "Featured", 64, False)
    assert featured.subfolders == ()
    assert (oils.size, oils.is_premium) == (None, True)
    assert oils.thumbnail == Picture("https://images-wixmp-x.wixmp.com/f/p", 1024, 512)
    assert [(each.folder_id, each.parent_id, each.name) for each in oils.subfolders] == [("F3", "F2", "2026")]
    assert (page.has_more, page.next_offset) == (True, 2)


def test_metadata_names_the_application_that_submitted() -> None:
    (work,) = types.metadata_list(
        {
            "metadata": [
                {
                    "deviationid": "928DC00B-9A4E-AC29-BDEE-D985BD2CF16F",
                    "title": "Night sky",
                    "description": "Oil on canvas",
                    "tags": [{"tag_name": "night", "sponsored": False}, {"no_name": 1}, "odd"],
                    "is_mature": False,
                    "mature_level": "moderate",
                    "mature_classification": ["nudity", 1],
                    "submission": {
                        "creation_time": "2026-10-07T11:42:47-0700",
                        "submitted_with": {"app": "Isekai", "url": "https://app.example"},
                    },
                }
            ]
        }
    )
    assert work.tags == ("night",)
    assert work.mature_classification == ("nudity",)
    assert work.created_at == datetime(2026, 10, 7, 18, 42, 47, tzinfo=UTC)
    assert (work.submitted_with, work.submitted_with_url) == ("Isekai", "https://app.example")


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"results": {}},
        {"results": None, "has_more": False},
        {"results": [], "has_more": True},
        {"results": [], "has_more": True, "next_offset": None},
    ],
)
def test_what_is_no_page_is_not_taken_for_an_empty_one(payload: dict[str, Any]) -> None:
    with pytest.raises(UnreadablePayload):
        types.page(payload, types.deviation, None)


def test_one_odd_entry_does_not_lose_the_page() -> None:
    page = types.page({"results": [None, 3, {}, {"deviationid": ""}, {"deviationid": "D"}]}, types.deviation, None)
    assert [work.deviation_id for work in page.results] == ["D"]
    assert page.has_more is False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
)
READERS: list[tuple[Any, dict[str, Any]]] = [
    (types.deviation, DEVIATION),
    (types.folder, {"folderid": "F", "name": "N", "thumb": DEVIATION, "subfolders": [{"folderid": "G"}]}),
    (types.metadata, {"deviationid": "D", "tags": [], "submission": {"submitted_with": {}}}),
    (types.user, {"userid": "U", "username": "N", "usericon": "https://x.test/i"}),
]


@pytest.mark.parametrize(("read", "payload"), READERS, ids=["deviation", "folder", "metadata", "user"])
@given(data=st.data())
def test_an_odd_value_anywhere_is_tolerated_or_called_unreadable(
    read: Any, payload: dict[str, Any], data: st.DataObject
) -> None:
    changed = dict(payload)
    for key in data.draw(st.lists(st.sampled_from(sorted(payload)), max_size=4)):
        changed[key] = data.draw(JSON)
    try:
        read(changed)
    except UnreadablePayload:
        # Only what is needed to know what is spoken of may be missed.
        assert any(
            changed.get(key) != payload[key]
            for key in ("deviationid", "folderid", "userid", "username")
            if key in payload
        )
