"""What DeviantArt will make of titles and tags."""

# ruff: noqa: RUF001 - letters of other scripts and widths are what this is about

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deviantart import rules

ALLOWED = string.ascii_letters + string.digits + "_"


@given(st.text())
def test_a_shown_tag_holds_only_what_deviantart_takes(tag: str) -> None:
    assert set(rules.tag_as_shown(tag)) <= set(ALLOWED)


@given(st.text(alphabet=ALLOWED))
def test_a_tag_that_deviantart_takes_is_shown_as_it_is(tag: str) -> None:
    assert rules.tag_as_shown(tag) == tag


@given(st.text(), st.text())
def test_a_tag_is_shown_piece_by_piece(first: str, second: str) -> None:
    assert rules.tag_as_shown(f"{first} {second}") == rules.tag_as_shown(first) + rules.tag_as_shown(second)


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("night sky", "nightsky"),
        ("#digital_art", "digital_art"),
        ("Pokémon", "Pokemon"),
        ("Ｆｕｌｌ", "Full"),
        ("ночь", ""),
        ("夜空", ""),
        ("夜空2026", "2026"),
        ("🌙", ""),
        ("", ""),
    ],
)
def test_how_a_tag_is_shown(tag: str, shown: str) -> None:
    assert rules.tag_as_shown(tag) == shown


@given(st.lists(st.text(max_size=5)))
def test_shown_tags_are_never_empty_and_never_twice(tags: list[str]) -> None:
    shown = rules.tags_as_shown(tags)
    assert all(shown)
    assert len({tag.lower() for tag in shown}) == len(shown)
    assert {tag.lower() for tag in shown} == {name.lower() for tag in tags if (name := rules.tag_as_shown(tag))}


def test_shown_tags_keep_the_artists_order_and_first_spelling() -> None:
    assert rules.tags_as_shown(["Sky", "ночь", "night", "SKY", "a b"]) == ["Sky", "night", "ab"]


@given(st.text())
def test_normalising_a_title_twice_changes_nothing_more(title: str) -> None:
    once = rules.normalise_title(title)
    assert rules.normalise_title(once) == once
    assert len(once) <= rules.TITLE_MAX_LENGTH


@given(st.text(alphabet=string.ascii_letters + string.digits + " _$!?:.,'+-=~`@#%^*[]()/{}|", max_size=50))
def test_case_and_white_space_do_not_tell_titles_apart(title: str) -> None:
    assert rules.normalise_title(f"  {title.upper()} "[:60]) == rules.normalise_title(title.lower())


@given(st.text(alphabet=string.ascii_letters, min_size=50, max_size=50), st.text())
def test_what_deviantart_cuts_off_does_not_tell_titles_apart(start: str, rest: str) -> None:
    assert rules.normalise_title(start + rest) == rules.normalise_title(start)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Night sky", "night  SKY"),
        ("Cats & Dogs", "Cats &amp; Dogs"),
        ("It’s late", "It's late"),
        ("Night 🌙", "Night"),
        ("Straße", "STRASSE"),
        ("Ｎｉｇｈｔ", "Night"),
        ("Café", "Cafe\u0301"),
    ],
)
def test_titles_that_may_be_the_same(ours: str, theirs: str) -> None:
    assert rules.normalise_title(ours) == rules.normalise_title(theirs)


@pytest.mark.parametrize(
    ("one", "other"), [("Night 1", "Night 2"), ("夜空", "星空"), ("???", "!!!"), ("🌙", "☀️"), ("", "a")]
)
def test_titles_that_differ(one: str, other: str) -> None:
    assert rules.normalise_title(one) != rules.normalise_title(other)


@pytest.mark.parametrize(
    ("title", "fits"),
    [("", False), ("   ", False), ("a", True), ("夜" * 50, True), ("a" * 50, True), ("a" * 51, False)],
)
def test_a_title_has_at_most_50_characters(title: str, fits: bool) -> None:
    assert rules.title_fits(title) is fits


def test_the_tables_are_deviantarts() -> None:
    assert rules.DISPLAY_RESOLUTIONS == {0: None, 1: 400, 2: 600, 3: 800, 4: 900, 5: 1024, 6: 1280, 7: 1600, 8: 1920}
    assert {str(level) for level in rules.MatureLevel} == {"strict", "moderate"}
    assert {str(each) for each in rules.MatureClassification} == {"nudity", "sexual", "gore", "language", "ideology"}
    assert all(re.fullmatch(r"(image|video)/[a-z0-9]+", name) for name in rules.CONTENT_TYPES)
    assert rules.FILE_MAX_BYTES == 52_428_800
