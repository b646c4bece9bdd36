"""An automation changed as a whole: all or nothing, each reason at its place."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import AuditEvent, DeviantArtAccount, User
from automations.errors import ConfirmationNeeded, FieldsRefused, LastRule, VersionConflict
from automations.models import Automation, ScheduleRule
from automations.services.editing import DefaultSaid, RuleSaid, Said, edit_as_a_whole, preview_as_a_whole
from automations.services.previewing import preview
from isekai.ids import new_id
from tests.factories import AutomationFactory, DefaultValueFactory, ReadyDraftFactory, ScheduleRuleFactory
from tests.unchanged import assert_refused, everything

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent", "at_noon")]

SetClock = Callable[[datetime], None]
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin, on a Monday
AT_NINE = {"type": "fixed_time", "time_of_day": time(9)}


@pytest.fixture
def at_noon(set_clock: SetClock, settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600
    set_clock(NOON)


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(workspace=account.workspace, account=account, name="Sketches")


def said_of(automation: Automation, *rules: RuleSaid, **fields: Any) -> Said:
    return Said(fields=fields, rules=rules)


def test_everything_is_changed_at_once_and_each_part_is_in_the_audit_trail(automation: Automation, artist: User):
    kept, gone = (ScheduleRuleFactory(automation=automation) for _rule in range(2))
    DefaultValueFactory(automation=automation)
    DefaultValueFactory(automation=automation, field="description", value="Old")
    added = new_id()
    said = Said(
        fields={"name": "Evening sketches", "method": "lifo"},
        rules=[
            RuleSaid(kept.pk, {"type": "fixed_time", "time_of_day": time(18)}),
            RuleSaid(added, {"type": "time_window", "window_start": time(14), "window_end": time(20)}),
        ],
        default_values=[DefaultSaid("description", "New", "always"), DefaultSaid("is_mature", False, "untouched")],
    )
    changed = edit_as_a_whole(automation, said, user=artist, version=1)
    assert (changed.name, changed.method) == ("Evening sketches", "lifo")
    assert {rule.pk: rule.type for rule in changed.rules.all()} == {kept.pk: "fixed_time", added: "time_window"}
    assert all(rule.next_slot_at is not None for rule in changed.rules.all())
    values = {each.field: (each.value, each.mode) for each in changed.default_values.all()}
    assert values == {"description": ("New", "always"), "is_mature": (False, "untouched")}
    assert not ScheduleRule.objects.filter(pk=gone.pk).exists()
    verbs = set(AuditEvent.objects.filter(subject_id=automation.pk, user=artist).values_list("verb", flat=True))
    assert verbs == {
        "automation.edited",
        "automation.rule_added",
        "automation.rule_edited",
        "automation.rule_removed",
        "automation.default_added",
        "automation.default_edited",
        "automation.default_removed",
    }


def test_saying_the_same_again_changes_nothing(automation: Automation):
    rule = ScheduleRuleFactory(automation=automation)
    said = said_of(automation, RuleSaid(rule.pk, AT_NINE), name="Sketches")
    before = everything()
    edit_as_a_whole(automation, said, user=None, version=1)
    assert everything() == before


def test_all_reasons_are_told_at_their_places_and_nothing_is_changed(automation: Automation):
    rule = ScheduleRuleFactory(automation=automation)
    fine, wrong = new_id(), new_id()
    said = Said(
        fields={"name": "", "method": "lifo"},
        rules=[
            RuleSaid(fine, AT_NINE),
            RuleSaid(rule.pk, {"type": "fixed_time", "time_of_day": None}),
            RuleSaid(wrong, {"type": "cron", "cron": "61 * * * *"}),
        ],
        default_values=[DefaultSaid("title", "{nonsense}", "always"), DefaultSaid("tags", ["fox"], "always")],
    )
    error = assert_refused(FieldsRefused, edit_as_a_whole, automation, said, user=None)
    assert set(error.details) == {"name", "rules", "default_values"}
    assert set(error.details["rules"]) == {str(rule.pk), str(wrong)}
    assert "minute" in error.details["rules"][str(wrong)]["cron"][0]
    assert set(error.details["default_values"]) == {"title"}


def test_whoever_has_seen_an_older_one_changes_nothing(automation: Automation):
    assert_refused(VersionConflict, edit_as_a_whole, automation, Said(), user=None, version=2)


def test_a_rule_of_somebody_else_is_not_touched(automation: Automation):
    theirs = ScheduleRuleFactory()
    edit_as_a_whole(automation, said_of(automation, RuleSaid(theirs.pk, AT_NINE | {"priority": 7})), user=None)
    theirs.refresh_from_db()
    assert theirs.priority == 0
    mine = automation.rules.get()
    assert (mine.priority, mine.pk == theirs.pk) == (7, False)


def test_one_that_is_on_keeps_a_rule_that_is(automation: Automation):
    on = ScheduleRuleFactory(automation=automation)
    off = ScheduleRuleFactory(automation=automation, enabled=False)
    assert_refused(LastRule, edit_as_a_whole, automation, Said(), user=None)
    # One goes off and another on: in whichever order they come.
    rules = [RuleSaid(on.pk, AT_NINE | {"enabled": False}), RuleSaid(off.pk, AT_NINE | {"enabled": True})]
    edit_as_a_whole(automation, Said(rules=rules), user=None)
    assert automation.rules.get(enabled=True) == off


def test_a_zone_that_moves_slots_asks_first(automation: Automation):
    rule = ScheduleRuleFactory(automation=automation)
    said = said_of(automation, RuleSaid(rule.pk, AT_NINE), zone="Asia/Tokyo")
    error = assert_refused(ConfirmationNeeded, edit_as_a_whole, automation, said, user=None)
    assert error.details["moves"]
    assert edit_as_a_whole(automation, said, user=None, confirm_moves=True).zone == "Asia/Tokyo"


# --- looked at before it is saved ------------------------------------------------------------------------------------
def test_what_is_not_saved_yet_is_shown_as_it_will_be(automation: Automation, artist: User):
    ScheduleRuleFactory(automation=automation)
    for number in range(3):
        ReadyDraftFactory(workspace=automation.workspace, title=f"Fox {number}")
    said = Said(
        fields={"method": "random"},
        rules=[RuleSaid(new_id(), {"type": "time_window", "window_start": time(14), "window_end": time(20)})],
        default_values=[DefaultSaid("title", "{title}!", "always")],
    )
    before = everything()
    end = NOON + timedelta(days=2)
    seen = preview_as_a_whole(automation, said, user=artist, until=end)
    assert everything() == before
    assert all(work.title.endswith("!") for slot in seen.slots for work in slot.works)
    edit_as_a_whole(automation, said, user=artist)
    saved = preview(automation.workspace, until=end)
    assert [(slot.at, slot.works) for slot in saved.slots] == [(slot.at, slot.works) for slot in seen.slots]


def test_one_that_is_off_is_shown_as_if_it_were_on(automation: Automation):
    rule = ScheduleRuleFactory(automation=automation)
    Automation.objects.update(enabled=False)
    automation.refresh_from_db()
    seen = preview_as_a_whole(automation, said_of(automation, RuleSaid(rule.pk, AT_NINE)), user=None)
    assert [slot.outcome for slot in seen.of(automation)][:1] == ["none_left"]
    automation.refresh_from_db()
    assert not automation.enabled


def test_what_cannot_be_saved_cannot_be_shown_and_leaves_nothing_behind(automation: Automation):
    assert_refused(FieldsRefused, preview_as_a_whole, automation, said_of(automation, name=""), user=None)
