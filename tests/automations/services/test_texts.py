from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automations.services import texts
from automations.services.texts import Facts, known_variables, problems_of, read_text, render_tags, render_title
from deviantart import rules


def facts(**fields: Any) -> Facts:
    values: dict[str, Any] = {
        "title": "A fox",
        "at": datetime(2030, 1, 31, 18, 5),  # noqa: DTZ001 - on the wall
        "filename": "fox_study-03 final.png",
    }
    return Facts(**(values | fields))


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{title} #{counter}", "A fox #7"),
        ("{weekday}, {day} {month} {year}", "Thursday, 31 January 2030"),
        ("{date} {time}", "2030-01-31 18:05"),
        ("{filename}", "fox_study-03 final"),
        ("{filename.1}/{filename.2}/{filename.3}/{filename.5}", "fox/study/03/"),
        ("{exif.camera}{exif.lens}", "X-T5"),
        ("{ title }", "A fox"),
        ("{{title}} {{", "{title} {"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_a_text_is_written_for_each_draft(text: str, rendered: str) -> None:
    assert problems_of(text) == []
    assert read_text(text).render(facts(counter=7, exif={"camera": "X-T5"})) == rendered


def test_days_and_months_are_written_in_the_owners_language() -> None:
    assert read_text("{weekday} {month}").render(facts(language="de")) == "Donnerstag Januar"


def test_what_a_variable_stands_for_is_never_read_as_a_text_again() -> None:
    assert read_text("{title}").render(facts(title="{counter} {{")) == "{counter} {{"


def test_an_unknown_variable_is_named_together_with_those_that_there_are() -> None:
    (problem,) = problems_of("{titel} and {title}")
    assert "{titel}" in problem
    assert all(f"{{{name}}}" in problem for name in known_variables())


@pytest.mark.parametrize("text", ["{title", "title}", "a { b", "{{}", "{title}}"])
def test_a_brace_without_its_other_one_is_refused_with_its_place(text: str) -> None:
    (problem,) = problems_of(text)
    assert "belongs to no other" in problem


@pytest.mark.parametrize("text", ["{title.__class__}", "{0}", "{}", "{title!r}", "{title:>10}", "{self}", "{a[b]}"])
def test_what_python_would_make_of_braces_means_nothing(text: str) -> None:
    assert len(problems_of(text)) == 1
    assert read_text(text).render(facts()) == text


def test_each_problem_of_a_text_is_told() -> None:
    assert len(problems_of("{one} {two} {one} }")) == 3


@given(st.text(alphabet="{}abt i.le", max_size=30))
def test_any_text_can_be_written_whatever_is_wrong_with_it(text: str) -> None:
    assert isinstance(read_text(text).render(facts()), str)
    if not {"{", "}"} & set(text):
        assert (problems_of(text), read_text(text).render(facts())) == ([], text)


@given(st.text(max_size=120), st.text(max_size=80))
def test_a_title_is_one_that_deviantart_takes_or_none_at_all(text: str, title: str) -> None:
    rendered = render_title(text, facts(title=title))
    assert rendered == "" or rules.title_fits(rendered)


def test_a_title_that_is_too_long_is_cut_between_words() -> None:
    assert render_title("{title}", facts(title="word " * 20)) == ("word " * 10).strip()
    assert render_title("{title}", facts(title="x" * 60)) == "x" * 50


def test_tags_that_come_to_nothing_or_to_the_same_are_left_out() -> None:
    tags = render_tags(["#fox", "{series}", "Fox", "{filename.2}", "狐", " "], facts(), longest=100)
    assert tags == ["fox", "study", "狐"]


def test_no_more_tags_are_written_than_deviantart_takes() -> None:
    assert len(render_tags([f"tag{number}" for number in range(40)], facts(), longest=100)) == rules.TAGS_MAX


def test_a_description_is_cut_to_what_a_work_may_hold() -> None:
    assert texts.render_description("{title} and so on", facts(), most=5) == "A fox"
