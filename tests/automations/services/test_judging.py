"""Which rule fires in a minute, and why the others do not."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest

from accounts.models import DeviantArtAccount, Workspace
from automations.models import Automation, ScheduleRule
from automations.services.materialising import schedule_due
from automations.services.planning import plan_anew
from automations.services.reasons import _SENTENCES, explain
from automations.services.testing import RuleJudged, judge_minute
from deviations.models import Deviation
from tests.factories import AutomationFactory, BlackoutFactory, ReadyDraftFactory, ScheduleRuleFactory
from tests.unchanged import everything

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]

SetClock = Callable[[datetime], None]
NINE = datetime(2030, 1, 7, 8, 0, 30, tzinfo=UTC)  # half a minute past nine in Berlin, on a Monday
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _at_nine(set_clock: SetClock, settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600
    set_clock(NINE)


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(workspace=account.workspace, account=account)


def codes(automation: Automation, *, at: datetime | None = None) -> dict[ScheduleRule, list[str]]:
    return {each.rule: [one.code for one in each.against] for each in judge_minute(automation, at=at).rules}


def only(automation: Automation) -> RuleJudged:
    (found,) = judge_minute(automation).rules
    return found


def draft(workspace: Workspace, **fields: Any) -> Deviation:
    return ReadyDraftFactory(workspace=workspace, **fields)


def test_a_rule_with_a_slot_in_this_minute_fires_with_the_draft_that_it_takes(automation: Automation):
    rule, work = ScheduleRuleFactory(automation=automation), draft(automation.workspace)
    before = everything()
    judged = judge_minute(automation)
    (found,) = judged.rules
    assert (found.rule, found.fires, judged.at, judged.zone) == (rule, True, NINE.replace(second=0), "Europe/Berlin")
    assert found.decision is not None
    assert [take.draft for take in found.decision.takes] == [work]
    assert found.next_at == NINE.replace(second=0) + DAY
    assert everything() == before


def test_every_other_rule_says_why_not(automation: Automation):
    def rule(**fields: Any) -> ScheduleRule:
        return ScheduleRuleFactory(automation=automation, **fields)

    expected = {
        rule(): [],
        rule(enabled=False): ["rule_off"],
        rule(time_of_day=time(9, 1)): ["time"],
        rule(weekdays=[1, 2]): ["weekday"],
        rule(valid_from=date(2031, 1, 1)): ["rule_not_valid"],
        rule(quiet_hours=5): ["not_quiet"],
        rule(min_drafts_left=5): ["few_left"],
    }
    draft(automation.workspace), draft(automation.workspace), draft(automation.workspace)
    Deviation.objects.filter(pk=draft(automation.workspace, account=automation.account).pk).update(
        status="published", published_at=NINE - timedelta(hours=1), ready_at=None
    )
    assert codes(automation) == expected


def test_what_stands_against_all_of_them_is_said_first(automation: Automation):
    rule = ScheduleRuleFactory(automation=automation, time_of_day=time(10))
    Automation.objects.update(enabled=False)
    automation.refresh_from_db()
    assert codes(automation) == {rule: ["automation_off", "time"]}
    Automation.objects.update(enabled=True, paused_at=NINE, valid_until=date(2029, 1, 1))
    automation.refresh_from_db()
    assert codes(automation) == {rule: ["automation_paused", "automation_not_valid"]}


def test_a_blackout_and_a_lack_of_drafts_are_reasons(automation: Automation):
    rule = ScheduleRuleFactory(automation=automation)
    assert codes(automation) == {rule: ["none_left"]}
    BlackoutFactory(account=automation.account, from_date=NINE.date(), until_date=NINE.date())
    assert codes(automation) == {rule: ["blackout"]}


def test_where_all_rules_have_to_hold_it_says_which_one_does_not(automation: Automation):
    leading = ScheduleRuleFactory(automation=automation)
    other = ScheduleRuleFactory(automation=automation, time_of_day=time(10), priority=1)
    Automation.objects.update(combine="all")
    automation.refresh_from_db()
    assert codes(automation) == {leading: ["another_rule"], other: ["time"]}


def test_a_slot_that_was_made_says_so(automation: Automation, set_clock: SetClock):
    rule = ScheduleRuleFactory(automation=automation)
    draft(automation.workspace)
    set_clock(NINE - timedelta(minutes=59))
    plan_anew([automation])
    schedule_due()
    set_clock(NINE)
    assert codes(automation) == {rule: ["made"]}


def test_another_minute_can_be_asked_about(automation: Automation):
    rule = ScheduleRuleFactory(automation=automation, time_of_day=time(18))
    draft(automation.workspace)
    assert codes(automation) == {rule: ["time"]}
    assert codes(automation, at=NINE + timedelta(hours=9)) == {rule: []}


def test_an_automation_without_rules_has_nothing_to_say(automation: Automation):
    assert judge_minute(automation).rules == []


def test_every_reason_has_a_sentence(automation: Automation):
    for code in _SENTENCES:
        assert explain(code).endswith(".")
        assert explain(code, ["of", "another", "release"]).endswith(".")
    assert "tomorrow" in explain(
        "not_quiet", {"hours": 3, "last_at": "2030-01-08T08:00+00:00"}, when=lambda _: "tomorrow"
    )
    assert explain("") == ""
    assert "(brand_new)" in explain("brand_new")
