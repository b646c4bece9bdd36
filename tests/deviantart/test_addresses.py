"""Addresses of works, as people paste them."""

import pytest

from deviantart.addresses import stash_address, work_address

BASE = "https://www.deviantart.com"
OURS = "http://127.0.0.1:9080"


@pytest.mark.parametrize(
    "text",
    [
        "https://www.deviantart.com/nightjar/art/Red-Kite-Low-Sun-1234567890",
        "http://deviantart.com/nightjar/art/Red-Kite-Low-Sun-1234567890/",
        "www.deviantart.com/nightjar/art/Red-Kite-Low-Sun-1234567890",
        "https://www.deviantart.com/nightjar/art/Red-Kite-Low-Sun-1234567890?ga_submit=1#comments",
        "https://WWW.DeviantArt.com/NIGHTJAR/art/Other-Title-1234567890",
        "https://nightjar.deviantart.com/art/Red-Kite-1234567890",
        "https://www.deviantart.com/nightjar/art/1234567890",
    ],
)
def test_however_it_was_copied_it_is_the_same_work(text: str) -> None:
    expected = work_address(f"{BASE}/nightjar/art/x-1234567890", base_url=BASE)
    found = work_address(text, base_url=BASE)
    assert found is not None
    assert found.is_same_as(expected)
    assert found.url.startswith(BASE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a picture",
        "https://www.deviantart.com/nightjar",
        "https://www.deviantart.com/nightjar/gallery",
        "https://www.deviantart.com/nightjar/journal/News-1234",
        "https://www.deviantart.com/nightjar/art/Red-Kite",
        "https://evil.example/nightjar/art/Red-Kite-1234",
        "https://www.deviantart.com.evil.example/nightjar/art/Red-Kite-1234",
        "https://www.deviantart.com@evil.example/nightjar/art/Red-Kite-1234",
        "https://evil.example/?u=https://www.deviantart.com/nightjar/art/Red-Kite-1234",
        "https://evil.example\\@www.deviantart.com/nightjar/art/Red-Kite-1234",
        "javascript:alert(1)//www.deviantart.com/nightjar/art/Red-Kite-1234",
        "https://www.deviantart.com/nightjar/art/Red Kite-1234",
        "https://[::1/nightjar/art/Red-Kite-1234",
        "https://www.deviantart.com/nightjar/art/Red-Kite-١٢٣٤",
        "https://www.deviantart.com/n/art/" + "x" * 500 + "-1234",
    ],
)
def test_anything_else_is_no_address_of_a_work(text: str) -> None:
    assert work_address(text, base_url=BASE) is None


def test_another_number_or_another_artist_is_another_work() -> None:
    one = work_address(f"{BASE}/nightjar/art/Red-Kite-1", base_url=BASE)
    assert one is not None
    assert not one.is_same_as(work_address(f"{BASE}/nightjar/art/Red-Kite-2", base_url=BASE))
    assert not one.is_same_as(work_address(f"{BASE}/other/art/Red-Kite-1", base_url=BASE))
    assert not one.is_same_as(None)


def test_a_stand_ins_addresses_count_where_it_is_the_server() -> None:
    found = work_address(f"{OURS}/nightjar/art/Red-Kite-1", base_url=OURS)
    assert found is not None
    assert found.url == f"{OURS}/nightjar/art/Red-Kite-1"
    assert work_address(f"{OURS}/nightjar/art/Red-Kite-1", base_url=BASE) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://sta.sh/01abcdefgh", "https://sta.sh/01abcdefgh"),
        ("sta.sh/01abcdefgh?edit=1", "https://sta.sh/01abcdefgh"),
        ("https://www.deviantart.com/stash/01abcdefgh", "https://www.deviantart.com/stash/01abcdefgh"),
        (f"{OURS}/stash/01abcdefgh", f"{OURS}/stash/01abcdefgh"),
        ("https://www.deviantart.com/01abcdefgh", None),
        ("https://evil.example/stash/01abcdefgh", None),
        ("https://sta.sh/", None),
        ("", None),
    ],
)
def test_an_address_in_the_stash_is_told_from_others(text: str, kept: str | None) -> None:
    assert stash_address(text, base_url=OURS) == kept
