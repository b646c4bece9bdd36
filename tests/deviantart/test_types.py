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


def test_a_page_goes_on_at_a_cursor() -> None:
    page = types.page({"results": [], "has_more": True, "next_cursor": "c2", "prev_cursor": "c0"}, types.user, None)
    assert (page.next_cursor, page.next_offset, page.has_more) == ("c2", None, True)
    page = types.page({"results": [], "has_more": True, "cursor": "c3"}, types.user, None)
    assert (page.next_cursor, page.has_more) == ("c3", True)


@pytest.mark.parametrize("more", [{"next_cursor": ""}, {"next_cursor": None}, {"next_cursor": "c9"}, {}])
def test_a_last_page_is_the_last_whatever_it_names(more: dict[str, Any]) -> None:
    assert types.page({"results": [], "has_more": False, **more}, types.user, None).has_more is False


def test_a_locked_work_of_a_tier_says_so() -> None:
    assert types.deviation({**DEVIATION, "tier_access": "locked-subscribed"}).is_locked is True
    assert types.deviation({**DEVIATION, "tier_access": "unlocked"}).is_locked is False


@pytest.mark.parametrize(
    "payload", [{}, {"success": False}, {"success": 1}, {"success": None, "status": "error"}, {"status": "ok"}]
)
def test_a_change_counts_only_when_it_says_that_it_was_made(payload: dict[str, Any]) -> None:
    with pytest.raises(UnreadablePayload):
        types.success(payload, None)


@pytest.mark.parametrize("payload", [{"success": True}, {"status": "success"}, {"success": True, "new": [1]}])
def test_a_change_that_was_made_says_so_in_two_ways(payload: dict[str, Any]) -> None:
    assert types.success(payload, None) is None  # type: ignore[func-returns-value]  # that it raises nothing


PROFILE: dict[str, Any] = {
    "user": DEVIATION["author"],
    "is_watching": True,
    "profile_url": "https://www.deviantart.com/someartist",
    "user_is_artist": True,
    "artist_level": "Hobbyist",
    "artist_specialty": "Digital Art",
    "real_name": "",
    "tagline": "Paints",
    "country": "Nowhere",
    "website": "javascript:alert(1)",
    "bio": "<b>Hello</b>",
    "cover_photo": None,
    "last_status": None,
    "stats": {"user_deviations": 12, "user_favourites": 0, "user_comments": -1, "profile_pageviews": "many"},
}
DOWNLOAD = {"src": "https://images-wixmp-x.wixmp.com/f/d", "filename": "a.png", "width": 1, "height": 2, "filesize": 3}
TOPIC = {"name": "Night", "canonical_name": "night", "example_deviations": [DEVIATION]}
MORE = {"seed": "D", "author": DEVIATION["author"], "more_from_artist": [DEVIATION], "more_from_da": [{}, DEVIATION]}


def test_a_profile_is_read() -> None:
    found = types.profile(PROFILE)
    assert (found.user.username, found.is_watching, found.is_artist) == ("SomeArtist", True, True)
    assert (found.deviations, found.favourites, found.comments, found.pageviews) == (12, 0, None, None)
    assert (found.website, found.cover_url) == (None, None)


def test_a_download_is_read() -> None:
    assert types.download(DOWNLOAD) == types.Download("https://images-wixmp-x.wixmp.com/f/d", "a.png", 1, 2, 3)
    with pytest.raises(UnreadablePayload):
        types.download({**DOWNLOAD, "src": "file:///etc/passwd"})


def test_a_topic_is_read_in_both_of_its_forms() -> None:
    assert types.topic(TOPIC).examples == types.topic({"canonical_name": "night", "deviations": [DEVIATION]}).examples
    assert types.topic({"canonical_name": "night"}).name == "night"


def test_more_like_a_work_is_read() -> None:
    found = types.more_like_this(MORE)
    assert (found.seed, len(found.of_artist), len(found.of_others)) == ("D", 1, 1)


def test_tags_are_read_each_once() -> None:
    found = {"results": [{"tag_name": "night"}, {"tag_name": "nightfall"}, {"tag_name": "night"}, {}, 3]}
    assert types.tag_names(found) == ("night", "nightfall")
    with pytest.raises(UnreadablePayload):
        types.tag_names({"results": None})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
)
READERS: list[tuple[Any, dict[str, Any]]] = [
    (types.deviation, DEVIATION),
    (types.folder, {"folderid": "F", "name": "N", "thumb": DEVIATION, "subfolders": [{"folderid": "G"}]}),
    (types.metadata, {"deviationid": "D", "tags": [], "submission": {"submitted_with": {}}}),
    (types.user, {"userid": "U", "username": "N", "usericon": "https://x.test/i"}),
    (types.profile, PROFILE),
    (types.download, DOWNLOAD),
    (types.topic, TOPIC),
    (types.more_like_this, MORE),
]


@pytest.mark.parametrize(("read", "payload"), READERS, ids=lambda value: getattr(value, "__name__", ""))
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
            for key in ("deviationid", "folderid", "userid", "username", "user", "src", "canonical_name", "seed")
            if key in payload
        )
