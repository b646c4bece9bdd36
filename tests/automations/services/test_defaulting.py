from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from automations.models import Automation, DefaultValue
from automations.services.defaulting import Filled, Filling, changes_by, fill, to_take_back
from automations.services.texts import Facts
from deviations.models import Deviation
from deviations.services.scheduling import Appointment, Wish
from isekai import clock
from tests.factories import AutomationFactory, DefaultValueFactory, DeviationFactory

Field = DefaultValue.Field

pytestmark = pytest.mark.django_db


@pytest.fixture
def automation() -> Automation:
    return AutomationFactory()


def default(automation: Automation, field: str, value: Any, mode: str = "untouched") -> DefaultValue:
    return DefaultValueFactory(automation=automation, field=field, value=value, mode=mode)


def filled(automation: Automation, earlier: Any = None, **said: Any) -> Filled:
    """What is written into a draft that says this."""
    draft = DeviationFactory(workspace=automation.workspace, **said)
    filling = Filling.of(automation, automation.default_values.all())
    facts = Facts(title=draft.title, at=datetime(2030, 1, 31, 18), counter=7)  # noqa: DTZ001
    return fill(filling, draft, facts, earlier=earlier or {})


# What each field is filled with, and something that an artist may have said instead, the emptier the better.
SAID: dict[str, tuple[Any, Any]] = {
    "title": ("Filled", "Said"),
    "description": ("Filled", ""),
    "tags": (["filled"], []),
    "gallery_ids": ([str(UUID(int=1))], []),
    "is_mature": (True, False),
    "mature_level": ("strict", "moderate"),
    "mature_classification": (["gore"], []),
    "allow_comments": (True, False),
    "allow_free_download": (True, False),
    "is_ai_generated": (True, False),
    "no_ai": (True, False),
    "add_watermark": (True, False),
    "display_resolution": (8, 0),
    "stash_only": (True, False),
}


def test_every_field_of_a_default_value_is_known_here() -> None:
    assert set(SAID) | set(DefaultValue.ALWAYS_ONLY) == set(Field)


@pytest.mark.parametrize("field", list(SAID))
def test_what_the_artist_left_alone_is_filled_in(automation: Automation, field: str) -> None:
    value, _said = SAID[field]
    default(automation, field, value)
    untouched = {"title": ""} if field == "title" else {}
    written = filled(automation, **untouched).words[field]
    assert written == ([UUID(int=1)] if field == "gallery_ids" else value)


@pytest.mark.parametrize("field", list(SAID))
def test_an_explicit_no_a_zero_and_nothing_at_all_stay_as_they_were_said(automation: Automation, field: str) -> None:
    value, said = SAID[field]
    default(automation, field, value)
    assert filled(automation, **{field: said}).words == {}


@pytest.mark.parametrize("field", list(SAID))
def test_always_is_always(automation: Automation, field: str) -> None:
    value, said = SAID[field]
    default(automation, field, value, mode="always")
    assert set(filled(automation, **{field: said}).words) == {field}


@pytest.mark.parametrize(("field", "value"), [("upload_mode", "multiple"), ("keep_metadata", True)])
def test_what_always_says_something_can_be_set_always(automation: Automation, field: str, value: Any) -> None:
    default(automation, field, value, mode="always")
    assert filled(automation).words == {field: value}


def test_a_field_that_says_the_same_already_is_not_written(automation: Automation) -> None:
    default(automation, "allow_comments", False, mode="always")
    assert filled(automation, allow_comments=False).words == {}


def test_texts_are_written_for_the_draft_and_the_counter_is_used_up_only_then(automation: Automation) -> None:
    default(automation, "title", "{title} {counter}", mode="always")
    default(automation, "description", "On {weekday}")
    default(automation, "tags", ["{year}", "fox"])
    found = filled(automation, title="A fox")
    assert found.words == {"title": "A fox 7", "description": "On Thursday", "tags": ["2030", "fox"]}
    assert found.counted
    DefaultValue.objects.filter(field="title").update(mode="untouched")
    assert not filled(automation, title="A fox").counted


# --- the stash and the sale queue ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("said", "written"), [(None, {"stash_only": True}), (False, {}), (True, {})])
def test_stash_only_holds_for_drafts_that_say_nothing_of_it(
    automation: Automation, said: bool | None, written: dict[str, Any]
) -> None:
    automation.stash_only = True
    assert filled(automation, stash_only=said).words == written


@pytest.mark.parametrize(
    ("said", "written"),
    [(None, 8), (0, 8), (8, None), (3, None)],
)
def test_what_is_for_sale_is_protected_whatever_the_draft_says(
    automation: Automation, said: int | None, written: int | None
) -> None:
    automation.add_to_sale_queue = True
    words = filled(automation, add_watermark=False, allow_free_download=True, display_resolution=said).words
    assert words.pop("display_resolution", None) == written
    assert words == {"add_watermark": True, "allow_free_download": False}


def test_protection_goes_before_default_values(automation: Automation) -> None:
    automation.add_to_sale_queue = True
    default(automation, "display_resolution", 0, mode="always")
    default(automation, "allow_free_download", True, mode="always")
    words = filled(automation).words
    assert (words["display_resolution"], words["allow_free_download"]) == (8, False)


def test_each_protection_can_be_left_out(automation: Automation) -> None:
    automation.add_to_sale_queue = True
    automation.protect_watermark = automation.protect_no_download = False
    automation.protect_display_resolution = None
    assert filled(automation).words == {}


# --- taking it back --------------------------------------------------------------------------------------------------
def appointment(**words: Any) -> Appointment:
    now = clock.now()
    return Appointment(Wish(now.replace(tzinfo=None), "UTC", now), words=words)


def written_into(draft: Deviation, words: dict[str, Any]) -> dict[str, Any]:
    """What was noted when ``words`` were written into it."""
    noted = changes_by(draft, appointment(**words), earlier={})
    for name, value in words.items():
        setattr(draft, name, value)
    return noted


def test_what_was_written_can_be_taken_back_unless_somebody_has_changed_it() -> None:
    draft = DeviationFactory(title="", allow_comments=None, tags=None, gallery_ids=[UUID(int=2)])
    words = {"title": "A", "allow_comments": True, "tags": ["x"], "gallery_ids": [UUID(int=1)]}
    noted = written_into(draft, words)
    draft.allow_comments = False
    assert to_take_back(draft, noted) == {"title": "", "tags": None, "gallery_ids": [UUID(int=2)]}


def test_the_account_that_was_written_is_noted_too(automation: Automation) -> None:
    draft = DeviationFactory(workspace=automation.workspace)
    given = Appointment(appointment().wish, account=automation.account)
    noted = changes_by(draft, given, earlier={})
    assert noted == {"account_id": {"before": None, "written": str(automation.account_id)}}
    draft.account = automation.account
    assert to_take_back(draft, noted) == {"account_id": None}


def test_what_an_automation_wrote_before_counts_as_untouched(automation: Automation) -> None:
    default(automation, "title", "{title}Second", mode="untouched")
    earlier: dict[str, Any] = {"title": {"before": "", "written": "First"}, "no_ai": {"before": None, "written": True}}
    draft = DeviationFactory(workspace=automation.workspace, title="First", no_ai=True)
    filling = Filling.of(automation, automation.default_values.all())
    facts = Facts(title="", at=datetime(2030, 1, 31, 18))  # noqa: DTZ001
    words = fill(filling, draft, facts, earlier=earlier).words
    assert words == {"title": "Second"}
    noted = changes_by(draft, appointment(**words), earlier=earlier)
    assert noted == {
        "title": {"before": "", "written": "Second"},
        "no_ai": {"before": None, "written": True},
    }
    draft.title = "By hand"
    assert fill(filling, draft, facts, earlier=earlier).words == {}


def test_ids_come_back_as_ids() -> None:
    gallery = uuid4()
    draft = DeviationFactory(gallery_ids=[gallery])
    assert to_take_back(draft, written_into(draft, {"gallery_ids": []})) == {"gallery_ids": [gallery]}
