import unicodedata

import pytest
from django.utils.http import content_disposition_header
from hypothesis import given
from hypothesis import strategies as st

from deviations.services.filenames import clean_filename


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("picture.png", "picture.png"),
        ("C:\\Users\\me\\picture.png", "picture.png"),
        ("../../etc/passwd", "passwd"),
        ("  two   words .png ", "two words .png"),
        ("line\r\nbreak\x00.png", "linebreak.png"),
        ("gnp.\u202egpj.exe", "gnp.gpj.exe"),
        ("Заря 夜明け 🌅.jpg", "Заря 夜明け 🌅.jpg"),
        ("family 👩\u200d👩\u200d👧.png", "family 👩\u200d👩\u200d👧.png"),
        ("cafe\u0301.png", "café.png"),
        ("/", ""),
        ("\u202e\u2066", ""),
    ],
)
def test_a_name_keeps_its_letters_and_loses_what_deceives(given_name, kept):
    assert clean_filename(given_name) == kept


def test_a_long_name_keeps_its_extension():
    name = clean_filename("a" * 500 + ".jpeg")
    assert len(name) == 255
    assert name.endswith("aaa.jpeg")


@given(st.text(max_size=600))
def test_whatever_it_is_given_a_name_fits_into_a_header_and_a_row(text):
    name = clean_filename(text)
    assert len(name) <= 255
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
    assert not set(name) & set("/\\\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert clean_filename(name) == name
    header = content_disposition_header(as_attachment=True, filename=name)
    assert header is not None
    assert header.isascii()
    assert "\n" not in header
