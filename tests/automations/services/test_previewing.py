"""What is ahead: the drafts that slots will take, and that nothing happens by looking at them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts.models import DeviantArtAccount, User, Workspace
from automations.errors import FieldsRefused
from automations.models import Automation, Execution, ExecutionWork, ScheduleRule
from automations.services import previewing
from automations.services.materialising import lead, schedule_due
from automations.services.planning import plan_anew
from automations.services.previewing import Preview, PreviewedSlot, may_change_because, preview
from deviations.models import Deviation
from deviations.services.scheduling import cancel_schedule
from tests.factories import (
    AutomationFactory,
    BlackoutFactory,
    DefaultValueFactory,
    ReadyDraftFactory,
    ScheduleRuleFactory,
)
from tests.unchanged import everything

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("sent")]

SetClock = Callable[[datetime], None]
HOUR, SECOND, DAYS = timedelta(hours=1), timedelta(seconds=1), timedelta(days=1)
MONDAY = date(2030, 1, 7)
# Berlin is an hour ahead of UTC, so that nine o'clock there is eight.
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)


def at(hour: int, minute: int = 0, *, day: date = MONDAY) -> datetime:
    """That time in Berlin."""
    return datetime.combine(day, time(hour, minute), UTC) - HOUR


@pytest.fixture(autouse=True)
def _an_hour_ahead(settings: Any) -> None:
    settings.AUTOMATION_LEAD_SECONDS = 3600


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(workspace=account.workspace, account=account)


@pytest.fixture
def at_noon(set_clock: SetClock) -> None:
    set_clock(NOON)


def drafts(workspace: Workspace, count: int, **fields: Any) -> list[Deviation]:
    """The oldest first."""
    made: list[Deviation] = [ReadyDraftFactory(workspace=workspace, **fields) for _number in range(count)]
    for number, draft in enumerate(made):
        Deviation.objects.filter(pk=draft.pk).update(created_at=NOON - timedelta(days=count - number))
    return made


def planned(automation: Automation, **fields: Any) -> ScheduleRule:
    rule = ScheduleRuleFactory(automation=automation, **fields)
    plan_anew([automation])
    return rule


def told(seen: Preview | list[PreviewedSlot]) -> list[tuple[datetime, str, list[str]]]:
    slots = seen.slots if isinstance(seen, Preview) else seen
    return [(slot.at, slot.reason_code or slot.outcome, [work.title for work in slot.works]) for slot in slots]


# --- what is shown ---------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("at_noon")
def test_the_next_slots_are_shown_with_the_drafts_that_they_take_and_where_there_is_none(automation: Automation):
    rule = planned(automation)
    drafts(automation.workspace, 2)
    seen = preview(automation.workspace, until=NOON + 3 * DAYS)
    assert [slot.at for slot in seen.slots] == [at(9, day=MONDAY + number * DAYS) for number in (1, 2, 3)]
    titles = list(Deviation.objects.order_by("created_at").values_list("title", flat=True))
    assert [(slot.outcome, [work.title for work in slot.works]) for slot in seen.slots] == [
        ("scheduled", titles[:1]),
        ("scheduled", titles[1:]),
        ("none_left", []),
    ]
    assert {slot.rule for slot in seen.slots} == {rule}
    assert seen.slots[0].works[0].publish_at == at(9, day=MONDAY + DAYS)
    assert (seen.until, seen.is_cut) == (NOON + 3 * DAYS, False)


@pytest.mark.usefixtures("at_noon")
def test_it_says_for_how_many_days_the_drafts_last(automation: Automation):
    planned(automation)
    drafts(automation.workspace, 3)
    seen = preview(automation.workspace, until=NOON + 10 * DAYS)
    assert seen.lasts_until(automation) == at(9, day=MONDAY + 4 * DAYS)
    assert seen.lasts_days(automation) == 3
    assert preview(automation.workspace, until=NOON + 2 * DAYS).lasts_days(automation) is None


@pytest.mark.usefixtures("at_noon")
def test_two_automations_never_promise_the_same_draft(automation: Automation):
    other = AutomationFactory(workspace=automation.workspace, account=automation.account, position=1)
    first, second = planned(automation), planned(other)
    old, new = drafts(automation.workspace, 2)
    seen = preview(automation.workspace, until=NOON + DAYS)
    assert [(slot.rule, slot.works[0].deviation_id) for slot in seen.slots] == [(first, old.pk), (second, new.pk)]
    assert [slot.rule for slot in seen.of(other)] == [second]


@pytest.mark.usefixtures("at_noon")
def test_what_an_automation_fills_in_is_shown(automation: Automation):
    planned(automation)
    drafts(automation.workspace, 1, title="")
    DefaultValueFactory(automation=automation, field="title", value="Sketch {counter}, {weekday}", mode="always")
    Automation.objects.update(counter=7)
    work = preview(automation.workspace, until=NOON + DAYS).slots[0].works[0]
    assert work.title == "Sketch 7, Tuesday"
    assert work.words == {"title": "Sketch 7, Tuesday"}


@pytest.mark.usefixtures("at_noon")
def test_slots_in_a_blackout_are_shown_with_their_reason_and_what_moves_with_where_from(automation: Automation):
    planned(automation)
    drafts(automation.workspace, 5)
    day = MONDAY + 2 * DAYS
    blackout = BlackoutFactory(account=automation.account, from_date=day, until_date=day)
    seen = preview(automation.workspace, until=NOON + 3 * DAYS)
    assert [(slot.outcome, slot.reason_code) for slot in seen.slots] == [
        ("scheduled", ""),
        ("blackout", "blackout"),
        ("scheduled", ""),
    ]
    blackout.handling = "move"
    blackout.save()
    plan_anew([automation])
    seen = preview(automation.workspace, until=NOON + 3 * DAYS)
    assert [slot.moved_from for slot in seen.slots] == [None, at(9, day=day), None]
    assert [slot.at for slot in seen.slots[1:]] == [at(9, day=day + DAYS)] * 2


@pytest.mark.usefixtures("at_noon")
def test_conditions_are_shown_with_their_reasons(automation: Automation):
    planned(automation, max_per_week=1)
    planned(automation, time_of_day=time(10), quiet_hours=3)
    planned(automation, time_of_day=time(15), min_drafts_left=4)
    drafts(automation.workspace, 4)
    seen = preview(automation.workspace, until=NOON + 2 * DAYS)
    assert [slot.reason_code or slot.outcome for slot in seen.slots] == [
        "scheduled",  # today at three
        "scheduled",
        "not_quiet",
        "few_left",
        "week_is_full",
        "scheduled",
    ]


@pytest.mark.usefixtures("at_noon")
def test_a_draft_that_is_open_now_is_shown_for_slots_that_are_decided_later(automation: Automation):
    planned(automation, time_of_day=time(12, 30))
    first, second = drafts(automation.workspace, 2)
    Deviation.objects.filter(pk=first.pk).update(opened_at=NOON)
    seen = preview(automation.workspace, until=NOON + 2 * DAYS)
    assert [slot.works[0].deviation_id for slot in seen.slots] == [second.pk, first.pk]


@pytest.mark.usefixtures("at_noon")
def test_a_slot_finds_what_an_earlier_one_could_not_have_yet(automation: Automation):
    planned(automation, time_of_day=time(12, 30))
    (draft,) = drafts(automation.workspace, 1)
    Deviation.objects.update(opened_at=NOON)
    seen = preview(automation.workspace, until=NOON + 3 * DAYS)
    assert [slot.reason_code or slot.works[0].deviation_id for slot in seen.slots] == [
        "none_left",
        draft.pk,
        "none_left",
    ]
    # It comes of age between two slots.
    Deviation.objects.update(opened_at=None, created_at=NOON)
    Automation.objects.update(filter_min_age_days=2)
    seen = preview(automation.workspace, until=NOON + 3 * DAYS)
    assert [slot.reason_code or slot.works[0].deviation_id for slot in seen.slots] == [
        "none_left",
        "none_left",
        draft.pk,
    ]


@pytest.mark.usefixtures("at_noon")
def test_where_one_automation_finds_nothing_another_still_does(automation: Automation):
    other = AutomationFactory(workspace=automation.workspace, account=automation.account, position=1)
    Automation.objects.filter(pk=automation.pk).update(filter_tags=["fox"])
    planned(automation), planned(other, min_drafts_left=2)
    drafts(automation.workspace, 3)
    seen = preview(automation.workspace, until=NOON + 4 * DAYS)
    assert [slot.reason_code or slot.outcome for slot in seen.of(automation)] == ["none_left"] * 4
    assert [slot.reason_code or slot.outcome for slot in seen.of(other)] == ["scheduled"] * 2 + ["few_left"] * 2


def test_what_is_made_already_is_shown_as_it_is_scheduled(automation: Automation, set_clock: SetClock):
    set_clock(at(7, 30))
    planned(automation)
    first, second, _third = drafts(automation.workspace, 3)
    set_clock(at(8, 30))
    schedule_due()
    seen = preview(automation.workspace, until=at(8, 30) + 2 * DAYS)
    assert [(slot.is_made, slot.works[0].deviation_id) for slot in seen.slots] == [(True, first.pk), (False, second.pk)]
    # Whoever takes it back is shown at once what the slot takes in its place.
    first.refresh_from_db()
    cancel_schedule(first, user=None)
    seen = preview(automation.workspace, until=at(8, 30) + 2 * DAYS)
    assert [slot.works[0].deviation_id for slot in seen.slots] == [second.pk, first.pk]
    schedule_due()
    assert told(preview(automation.workspace, until=at(8, 30) + 2 * DAYS)) == told(seen)


@pytest.mark.usefixtures("at_noon")
def test_what_is_off_or_paused_shows_nothing_unless_it_is_asked_how_it_would_be(automation: Automation):
    planned(automation)
    drafts(automation.workspace, 1)
    for off in ({"enabled": False}, {"enabled": True, "paused_at": NOON}):
        Automation.objects.update(**off)
        automation.refresh_from_db()
        plan_anew([automation])
        assert preview(automation.workspace, until=NOON + DAYS).slots == []
        seen = preview(automation.workspace, until=NOON + DAYS, as_if_on=automation)
        assert [slot.outcome for slot in seen.slots] == ["scheduled"]


@pytest.mark.usefixtures("at_noon")
def test_automations_of_others_take_nothing_from_it(automation: Automation, stranger: User):
    others = AutomationFactory()
    planned(others), planned(automation)
    (draft,) = drafts(automation.workspace, 1)
    drafts(others.workspace, 1)
    seen = preview(automation.workspace, until=NOON + DAYS)
    assert [slot.works[0].deviation_id for slot in seen.slots] == [draft.pk]


def test_it_says_what_would_change_it(automation: Automation):
    assert may_change_because(automation, []) == ["oldest_first"]
    automation.method, automation.mixture = (
        "mixture",
        [{"method": "random", "weight": 7}, {"method": "fifo", "weight": 3}],
    )
    automation.filter_max_age_days, automation.spacing = 30, "series"
    rules = [ScheduleRuleFactory(automation=automation, quiet_hours=3)]
    assert may_change_because(automation, rules) == ["by_chance", "oldest_first", "conditions", "age", "spacing"]


# --- bounds ----------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("at_noon")
@pytest.mark.parametrize("ahead", [timedelta(), -HOUR, timedelta(days=93)])
def test_only_what_comes_within_three_months_is_shown(automation: Automation, ahead: timedelta):
    with pytest.raises(FieldsRefused) as refused:
        preview(automation.workspace, until=NOON + ahead)
    assert refused.value.details["until"]


@pytest.mark.usefixtures("at_noon")
def test_more_than_can_be_shown_at_once_is_refused_with_how_much_can(automation: Automation):
    planned(automation, type="fixed_interval", time_of_day=None, interval_minutes=60, anchor_local=datetime(2030, 1, 1))  # noqa: DTZ001
    with pytest.raises(FieldsRefused) as refused:
        preview(automation.workspace, until=NOON + DAYS, most=5)
    can = (NOON + 5 * HOUR).isoformat(timespec="seconds")
    assert can in refused.value.details["until"][0]
    assert len(preview(automation.workspace, until=datetime.fromisoformat(can), most=5).slots) == 5
    cut = preview(automation.workspace, most=5)
    assert (len(cut.slots), cut.until, cut.is_cut) == (5, NOON + 5 * HOUR, True)


@pytest.mark.usefixtures("at_noon")
def test_works_are_bounded_too(automation: Automation, monkeypatch: pytest.MonkeyPatch):
    planned(automation, works_per_slot=3)
    monkeypatch.setattr(previewing, "WORKS_MAX", 7)
    assert len(preview(automation.workspace).slots) == 2
    # A single slot is shown, however many works it wants.
    monkeypatch.setattr(previewing, "WORKS_MAX", 2)
    assert len(preview(automation.workspace).slots) == 1


# --- nothing happens -------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("at_noon")
def test_it_changes_nothing_and_locks_nothing(automation: Automation):
    planned(automation, works_per_slot=2)
    drafts(automation.workspace, 3)
    before = everything()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        preview(automation.workspace, until=NOON + 5 * DAYS)
    assert everything() == before
    assert not any("FOR UPDATE" in query["sql"] or "FOR NO KEY" in query["sql"] for query in queries)


def test_the_number_of_queries_is_that_of_one_slot(automation: Automation, set_clock: SetClock):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            preview(automation.workspace, until=at(8, 30) + 5 * DAYS)
        return len(captured)

    set_clock(at(7, 30))
    planned(automation)
    drafts(automation.workspace, 4)
    set_clock(at(8, 30))
    schedule_due()
    few = queries()
    for position in range(5):
        other = AutomationFactory(workspace=automation.workspace, account=automation.account, position=position)
        planned(other), planned(other, time_of_day=time(17, position))
        DefaultValueFactory(automation=other)
    drafts(automation.workspace, 20)
    assert queries() <= few + 2  # the languages that default values are written in, and what they wrote before


# --- preview and run -------------------------------------------------------------------------------------------------
RULES = st.one_of(
    st.fixed_dictionaries({"type": st.just("fixed_time"), "time_of_day": st.builds(time, st.integers(0, 23))}),
    st.fixed_dictionaries(
        {
            "type": st.just("fixed_interval"),
            "time_of_day": st.none(),
            "interval_minutes": st.sampled_from([300, 700, 1440]),
            "anchor_local": st.just(datetime(2030, 1, 1, 3)),  # noqa: DTZ001
            "works_per_slot": st.integers(1, 2),
        }
    ),
    st.fixed_dictionaries({"type": st.just("daily_quota"), "time_of_day": st.none(), "quota": st.integers(1, 3)}),
    st.fixed_dictionaries(
        {
            "type": st.just("time_window"),
            "time_of_day": st.none(),
            "window_start": st.just(time(14)),
            "window_end": st.just(time(20)),
        }
    ),
)
CONDITIONS = st.sampled_from([{}, {"quiet_hours": 4}, {"max_per_week": 2}, {"min_drafts_left": 3}])
WAYS = st.sampled_from(
    [
        {"method": "fifo"},
        {"method": "lifo"},
        {"method": "title"},
        {"method": "random"},
        {"method": "mixture", "mixture": [{"method": "random", "weight": 7}, {"method": "fifo", "weight": 3}]},
        {"method": "random", "filter_tags": ["fox"]},
        {"method": "fifo", "jitter_max_seconds": 1800, "filter_orientation": "portrait"},
    ]
)
AUTOMATIONS = st.lists(
    st.tuples(WAYS, st.lists(st.tuples(RULES, CONDITIONS), min_size=1, max_size=2), st.integers(0, 2**60)),
    min_size=1,
    max_size=3,
)
DRAFTS = st.lists(st.tuples(st.sampled_from(["fox", "moth"]), st.booleans(), st.integers(0, 20)), max_size=14)


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    # An example is hours of ticks.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(made=AUTOMATIONS, works=DRAFTS, late=st.integers(0, 59))
def test_a_tick_does_what_was_shown_as_long_as_nothing_changes(
    account: DeviantArtAccount, set_clock: SetClock, made: Any, works: Any, late: int
):
    set_clock(NOON)
    with transaction.atomic():
        for position, (way, rules, seed) in enumerate(made):
            automation = AutomationFactory(
                workspace=account.workspace, account=account, position=position, seed=seed, **way
            )
            for rule, condition in rules:
                ScheduleRuleFactory(automation=automation, **rule, **condition)
            plan_anew([automation])
        for tag, is_tall, age in works:
            draft = ReadyDraftFactory(workspace=account.workspace, tags=[tag], title=f"{age} {tag}")
            Deviation.objects.filter(pk=draft.pk).update(created_at=NOON - timedelta(hours=age))
            draft.files.update(width=80 if is_tall else 120, height=100)
        end = NOON + 2 * DAYS
        shown = [_shown(slot) for slot in preview(account.workspace, until=end).slots]
        _tick_until(end, set_clock, late=timedelta(minutes=late))
        assert _happened(until=end) == shown
        transaction.set_rollback(True)


def _tick_until(end: datetime, set_clock: SetClock, *, late: timedelta) -> None:
    """Ticks whenever there is something to do, each so much too late."""
    for _tick in range(500):
        due = ScheduleRule.objects.due(end + lead()).order_by("next_slot_at").first()
        if due is None or due.next_slot_at is None or due.next_slot_at >= end:
            return
        set_clock(due.next_slot_at - lead() + late + SECOND)
        schedule_due()
    raise AssertionError("there is no end to it")


def _shown(slot: PreviewedSlot) -> tuple[UUID, datetime, str, str, list[tuple[UUID, datetime]]]:
    works = sorted((work.deviation_id, work.publish_at) for work in slot.works)
    assert slot.rule is not None
    return slot.rule.pk, slot.at, slot.outcome, slot.reason_code, works


def _happened(*, until: datetime) -> list[Any]:
    executions = Execution.objects.filter(slot_at__lt=until).order_by(
        "slot_at", "automation__position", "rule__priority", "rule"
    )
    found = []
    for execution in executions:
        works = ExecutionWork.objects.filter(execution=execution).order_by("deviation_id")
        found.append(
            (
                execution.rule_id,
                execution.slot_at,
                execution.outcome,
                execution.reason_code,
                [(work.deviation_id, work.publish_at) for work in works],
            )
        )
    return found
