"""What an automation fills in: values of the field's own type, as a work would keep them."""

from typing import Any

import pytest

from accounts.models import AuditEvent, User
from automations.errors import FieldsRefused, Gone, ReferenceNotFound, VersionConflict
from automations.models import Automation, DefaultValue
from automations.services.defaults import add_default, edit_default, remove_default
from automations.services.saving import delete_automation
from isekai.ids import new_id
from tests.factories import AutomationFactory
from tests.unchanged import assert_refused

pytestmark = pytest.mark.django_db
GALLERY = str(new_id())
GOOD: dict[str, Any] = {
    "title": "{title} #{counter}",
    "description": "From my sketchbook.\n",
    "tags": ["sketch", "oil painting"],
    "gallery_ids": [GALLERY],
    "is_mature": False,
    "mature_level": "strict",
    "mature_classification": ["nudity", "gore"],
    "allow_comments": False,
    "allow_free_download": True,
    "is_ai_generated": False,
    "no_ai": True,
    "add_watermark": True,
    "display_resolution": 0,
    "stash_only": False,
    "upload_mode": "multiple",
    "keep_metadata": True,
}


@pytest.fixture
def automation() -> Automation:
    return AutomationFactory()


@pytest.mark.parametrize("field", DefaultValue.Field.values)
def test_every_field_can_have_a_value_of_its_type_and_none_other(
    automation: Automation, artist: User, field: str
) -> None:
    default = add_default(automation, user=artist, field=field, value=GOOD[field])
    default.refresh_from_db()
    assert default.value == GOOD[field]
    assert type(default.value) is type(GOOD[field])
    always = field in {"upload_mode", "keep_metadata"}
    assert default.mode == ("always" if always else "untouched")
    event = AuditEvent.objects.get()
    assert (event.verb, event.subject_id, event.user) == ("automation.default_added", automation.pk, artist)
    for value in (None, {"x": 1}, 9.5, [1], [None], object):
        error = assert_refused(FieldsRefused, edit_default, default, user=None, value=value)
        assert list(error.details) == ["value"]


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("title", "x" * 201, "200"),
        ("title", "  ", "empty"),
        ("title", "{artist} again", "artist"),
        ("title", "{title", "{"),
        ("title", True, "text"),
        ("description", "x" * 60_001, "60000"),
        ("description", "a\x00b", "Null"),
        ("description", "{moon}", "moon"),
        ("tags", [f"tag {n}" for n in range(101)], "100"),
        ("tags", ["x" * 101], "100"),
        ("tags", ["{moon}"], "moon"),
        ("tags", ["a\x00b"], "Null"),
        ("tags", "sketch", "list"),
        ("gallery_ids", ["mine"], "mine"),
        ("gallery_ids", [str(new_id()) for _ in range(51)], "50"),
        ("is_mature", 1, "true or false"),
        ("is_mature", "false", "true or false"),
        ("mature_level", "very", "very"),
        ("mature_level", "", "empty"),
        ("mature_classification", ["spiders"], "nudity"),
        ("display_resolution", 9, "9"),
        ("display_resolution", True, "whole number"),
        ("upload_mode", "heap", "heap"),
    ],
)
def test_what_no_work_would_keep_is_refused_with_what_is_accepted(
    automation: Automation, field: str, value: Any, word: str
) -> None:
    error = assert_refused(FieldsRefused, add_default, automation, user=None, field=field, value=value)
    assert list(error.details) == ["value"]
    assert word in str(error.details["value"]), error.details


def test_a_field_has_one_value(automation: Automation) -> None:
    add_default(automation, user=None, field="is_mature", value=True)
    error = assert_refused(FieldsRefused, add_default, automation, user=None, field="is_mature", value=False)
    assert "Change that one" in str(error.details["field"])
    add_default(AutomationFactory(), user=None, field="is_mature", value=False)


@pytest.mark.parametrize("field", ["category_path", "account_id", "", None, ["title"]])
def test_only_known_fields_can_be_filled_in(automation: Automation, field: Any) -> None:
    error = assert_refused(FieldsRefused, add_default, automation, user=None, field=field, value="x")
    assert "description" in str(error.details["field"])


def test_value_and_mode_change_and_the_field_stays(automation: Automation, artist: User) -> None:
    default = add_default(automation, user=None, field="tags", value=["sketch"])
    changed = edit_default(default, user=artist, mode="always", value=["#ink"])
    assert (changed.value, changed.mode, changed.automation.version) == (["ink"], "always", 3)
    event = AuditEvent.objects.latest("id")
    assert event.params == {"field": "tags", "fields": ["value", "mode"]}
    assert_refused(FieldsRefused, edit_default, default, user=None, field="title")
    error = assert_refused(FieldsRefused, edit_default, default, user=None, mode="sometimes")
    assert "untouched" in str(error.details["mode"])


def test_where_nobody_can_tell_what_was_touched_a_value_is_always_written(automation: Automation) -> None:
    for field in ("upload_mode", "keep_metadata"):
        error = assert_refused(
            FieldsRefused, add_default, automation, user=None, field=field, value=GOOD[field], mode="untouched"
        )
        assert "always" in str(error.details["mode"])
        default = add_default(automation, user=None, field=field, value=GOOD[field])
        assert_refused(FieldsRefused, edit_default, default, user=None, mode="untouched")


def test_what_changes_nothing_writes_nothing(automation: Automation) -> None:
    default = add_default(automation, user=None, field="tags", value=["sketch"])
    edit_default(default, user=None, mode="untouched", value=["#sketch "])
    assert Automation.objects.get(pk=automation.pk).version == 2


def test_a_value_that_is_taken_out_is_not_found_any_more(automation: Automation, artist: User) -> None:
    default = add_default(automation, user=None, field="tags", value=["sketch"])
    assert_refused(VersionConflict, remove_default, default, user=None, version=1)
    assert remove_default(default, user=artist, version=2).version == 3
    event = AuditEvent.objects.latest("id")
    assert (event.verb, event.params) == ("automation.default_removed", {"field": "tags"})
    for call in (edit_default, remove_default):
        assert_refused(ReferenceNotFound, call, default, user=None)
    delete_automation(automation, user=None)
    assert_refused(Gone, edit_default, default, user=None)
