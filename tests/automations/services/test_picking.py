from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.models import DeviantArtAccount, Workspace
from automations import slots
from automations.models import Automation
from automations.services.defaulting import Filling, fill
from automations.services.picking import OPEN, Want, pick
from automations.services.texts import Facts
from deviations.models import Deviation, DeviationFile
from deviations.services.readiness import reasons_against
from isekai import clock
from isekai.ids import new_id
from tests.automations.ticking import make_drafts
from tests.factories import (
    AutomationFactory,
    DefaultValueFactory,
    DeviantArtAccountFactory,
    DeviationFileFactory,
    ReadyDraftFactory,
    UserFactory,
    workspace_of,
)

RULE = UUID("018f0000-0000-7000-8000-000000000001")
DAY = date(2030, 1, 7)
NOON = datetime(2030, 1, 7, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def automation(account: DeviantArtAccount) -> Automation:
    return AutomationFactory(workspace=account.workspace, account=account, seed=1)


def want(automation: Automation, number: int = 0, **fields: Any) -> Want:
    """The want of the slot of the day so many days later."""
    day = timedelta(days=number)
    accounts = tuple(
        DeviantArtAccount.objects.connected()
        .filter(workspace=automation.workspace_id)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    values: dict[str, Any] = {
        "automation": automation,
        "filling": Filling.of(automation, automation.default_values.all()),
        "slot": slots.Slot(NOON + day, RULE, DAY + day, 0),
        "zone": "UTC",
        "accounts": accounts,
        "connected": len(accounts),
    }
    return Want(**(values | fields))


def picked(automation: Automation, count: int = 1, **fields: Any) -> list[UUID | None]:
    wants = [want(automation, number, **fields) for number in range(count)]
    return [each.deviation_id for each in pick(wants, now=clock.now())]


def ready(workspace: Workspace, count: int, **fields: Any) -> list[Deviation]:
    """The oldest first."""
    made: list[Deviation] = [ReadyDraftFactory(workspace=workspace, **fields) for _number in range(count)]
    for number, draft in enumerate(made):
        draft.created_at = NOON - timedelta(days=count - number)
    Deviation.objects.bulk_update(made, ["created_at"])
    return made


def ids(drafts: Sequence[Deviation]) -> list[UUID]:
    return [draft.pk for draft in drafts]


# --- which drafts may be taken ---------------------------------------------------------------------------------------
def test_a_ready_draft_with_a_file_is_taken(automation: Automation) -> None:
    (draft,) = ready(automation.workspace, 1)
    assert picked(automation) == [draft.pk]


@pytest.mark.parametrize(
    "fields",
    [
        {"ready_at": None},
        {"status": "review"},
        {"status": "failed", "reason_code": "refused"},
        {"status": "published", "published_at": NOON},
        {"trashed_at": NOON},
        {"files": 0},
        {"files": 2},
        {"title": ""},
        {"title": "  "},
        {"title": "x" * 51},
        {"tags": [f"tag{number}" for number in range(31)]},
        {"is_mature": True},
    ],
)
def test_what_is_not_ready_or_could_not_be_published_is_passed_over(
    automation: Automation, fields: dict[str, Any]
) -> None:
    ReadyDraftFactory(workspace=automation.workspace, **fields)
    (second,) = ready(automation.workspace, 1)
    assert picked(automation, 2) == [second.pk, None]


@pytest.mark.parametrize(
    "fields",
    [
        {"files": 2, "upload_mode": "multiple"},
        {"is_mature": True, "mature_level": "strict"},
        {"title": "x" * 50},
        {"tags": [f"tag{number % 3} " for number in range(40)]},
        {"is_mature": False},
    ],
)
def test_what_can_be_published_just_so_is_taken(automation: Automation, fields: dict[str, Any]) -> None:
    draft = ReadyDraftFactory(workspace=automation.workspace, **fields)
    assert picked(automation) == [draft.pk]


def test_a_draft_whose_file_cannot_be_prepared_is_passed_over(automation: Automation) -> None:
    (draft,) = ready(automation.workspace, 1)
    DeviationFile.objects.update(media_state="failed", media_reason_code="unreadable")
    assert picked(automation) == [None]
    DeviationFile.objects.update(media_state="pending", media_reason_code="")
    assert picked(automation) == [draft.pk]


def test_a_draft_that_somebody_has_open_is_theirs_for_ten_minutes(automation: Automation) -> None:
    (draft,) = ready(automation.workspace, 1)
    now = clock.now()
    Deviation.objects.update(opened_at=now - OPEN + timedelta(seconds=1))
    assert pick([want(automation)], now=now)[0].deviation_id is None
    assert pick([want(automation)], now=now + timedelta(seconds=1))[0].deviation_id == draft.pk


def test_drafts_of_somebody_else_are_never_taken(automation: Automation) -> None:
    ready(workspace_of(UserFactory()), 3)
    assert picked(automation) == [None]


def test_a_draft_that_names_another_account_stays_there(automation: Automation) -> None:
    other = DeviantArtAccountFactory(workspace=automation.workspace)
    ready(automation.workspace, 1, account=other)
    mine, anybodys = ready(automation.workspace, 1, account=automation.account), ready(automation.workspace, 1)
    assert set(picked(automation, 3)) == {mine[0].pk, anybodys[0].pk, None}


def test_where_the_automation_names_no_account_drafts_go_to_their_own(automation: Automation) -> None:
    automation.account = None
    first, second = ready(automation.workspace, 2)
    assert picked(automation, 2) == [first.pk, second.pk], "there is only one account"
    DeviantArtAccountFactory(workspace=automation.workspace)
    assert picked(automation) == [None], "nobody knows to which of two"
    (named,) = ready(automation.workspace, 1, account=DeviantArtAccount.objects.first())
    assert picked(automation) == [named.pk]


def test_a_draft_goes_nowhere_where_its_account_is_in_a_blackout(automation: Automation) -> None:
    automation.account = None
    first, second = (DeviantArtAccountFactory(workspace=automation.workspace) for _number in range(2))
    ready(automation.workspace, 1, account=first)
    (draft,) = ready(automation.workspace, 1, account=second)
    assert picked(automation, 2, accounts=(second.pk,)) == [draft.pk, None]


class WhatCanBePublished(TestCase):
    """What the statement passes over is what readiness would refuse, and nothing else."""

    @settings(max_examples=60)
    @given(
        draft=st.fixed_dictionaries(
            {
                "title": st.sampled_from(["", " ", "A fox", "x" * 50, "x" * 51]),
                "tags": st.none() | st.lists(st.sampled_from(["fox", "Fox", "狐"]), max_size=3),
                "is_mature": st.sampled_from([None, True, False]),
                "mature_level": st.sampled_from([None, "moderate"]),
                "upload_mode": st.sampled_from(["single", "multiple"]),
            }
        ),
        many_tags=st.integers(28, 33),
        files=st.lists(st.sampled_from(["image/png", "video/mp4", "image/tiff"]), max_size=3),
        failed=st.booleans(),
        defaults=st.fixed_dictionaries(
            {},
            optional={
                "title": st.tuples(st.sampled_from(["Filled", "{title} again"]), st.booleans()),
                "tags": st.tuples(st.just(["one"]), st.booleans()),
                "is_mature": st.tuples(st.booleans(), st.booleans()),
                "mature_level": st.tuples(st.just("strict"), st.booleans()),
                "upload_mode": st.tuples(st.sampled_from(["single", "multiple"]), st.just(True)),
            },
        ),
    )
    def test_only_what_readiness_lets_pass_is_taken(
        self,
        draft: dict[str, Any],
        many_tags: int,
        files: list[str],
        failed: bool,
        defaults: dict[str, tuple[Any, bool]],
    ) -> None:
        automation = AutomationFactory()
        if draft["tags"] is not None:
            draft["tags"] += [f"tag{number}" for number in range(many_tags)]
        work = ReadyDraftFactory(workspace=automation.workspace, files=0, **draft)
        for content_type in files:
            DeviationFileFactory(deviation=work, content_type=content_type, media_state="failed" if failed else "ready")
        for field, (value, always) in defaults.items():
            DefaultValueFactory(
                automation=automation, field=field, value=value, mode="always" if always else "untouched"
            )
        filling = Filling.of(automation, automation.default_values.all())
        filled = fill(filling, work, Facts(title=work.title, at=datetime(2030, 1, 1)), earlier={})  # noqa: DTZ001
        taken = picked(automation) == [work.pk]
        for name, value in filled.words.items():
            setattr(work, name, value)
        work.account = automation.account
        reasons = reasons_against(work)
        assert taken == (not reasons), reasons


# --- which of them ---------------------------------------------------------------------------------------------------
def test_the_oldest_goes_first_and_the_newest_where_that_is_wished(automation: Automation) -> None:
    drafts = ready(automation.workspace, 4)
    assert picked(automation, 4) == ids(drafts)
    automation.method = "lifo"
    assert picked(automation, 4) == ids(drafts[::-1])


def test_by_priority_the_highest_goes_first_and_of_the_same_the_oldest(automation: Automation) -> None:
    low, first, second, top = ready(automation.workspace, 4)
    for draft, priority in ((low, -1), (first, 0), (second, 0), (top, 5)):
        Deviation.objects.filter(pk=draft.pk).update(priority=priority)
    automation.method = "priority"
    assert picked(automation, 4) == ids([top, first, second, low])


def test_by_title_small_and_large_letters_are_the_same(automation: Automation) -> None:
    titles = ["banana", "Apple", "cherry", "apple 2"]
    drafts = {title: ReadyDraftFactory(workspace=automation.workspace, title=title) for title in titles}
    automation.method = "title"
    assert picked(automation, 4) == [drafts[title].pk for title in ("Apple", "apple 2", "banana", "cherry")]


@pytest.mark.parametrize(
    ("count", "tagged", "most"),
    [(12, 12, 38), (80, 80, 135), (160, 80, 135)],
)
def test_by_chance_each_draft_is_met_as_often_as_every_other_one(
    automation: Automation, count: int, tagged: int, most: float
) -> None:
    """Chi-square against equal shares. Ids and seeds are fixed, so that it always comes out alike.

    Beyond ``most`` equal shares would come in one of ten thousand cases. The first draft after a drawn place, whose
    share is as large as the gap before it, comes to several times as much.
    """
    automation.method, automation.filter_tags = "random", ["fox"]
    step = count // tagged
    Deviation.objects.bulk_create(
        Deviation(
            id=UUID(int=number),
            workspace=automation.workspace,
            title="A fox",
            tags=["fox"] if number % step == 0 else None,
            ready_at=NOON,
        )
        for number in range(1, count + 1)
    )
    DeviationFile.objects.bulk_create(
        DeviationFile(
            id=UUID(int=number),
            deviation_id=UUID(int=number),
            position=0,
            storage_key=str(number),
            content_type="image/png",
            size=1,
            media_state="ready",
        )
        for number in range(1, count + 1)
    )
    one, now = want(automation), clock.now()
    met = Counter(
        pick([replace(one, slot=replace(one.slot, ordinal=number))], now=now)[0].deviation_id
        for number in range(8 * tagged)
    )
    assert set(met) <= {UUID(int=number) for number in range(step, count + 1, step)}
    shares = [met[UUID(int=number)] for number in range(step, count + 1, step)]
    assert sum((share - 8) ** 2 / 8 for share in shares) < most


def test_a_draw_looks_at_some_dozens_also_in_a_workspace_that_is_much_larger_than_others(
    automation: Automation,
) -> None:
    """PostgreSQL takes every workspace for one of average size, and may rather sort what it thinks are few."""
    automation.method = "random"
    make_drafts(automation.workspace, 3000, made_at=NOON)
    for _number in range(60):
        make_drafts(workspace_of(UserFactory()), 5, made_at=NOON)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE deviations_deviation, deviations_deviationfile")
        with CaptureQueriesContext(connection) as captured:
            picked(automation)
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {captured[-1]['sql']}")
        explained = cursor.fetchone()[0]
    assert 32 < rows_read(explained) < 1000


def rows_read(node: Any) -> float:
    """Of the table of works, by all parts of a plan; those that a filter threw away too."""
    if isinstance(node, list):
        return sum(map(rows_read, node))
    if not isinstance(node, dict):
        return 0
    rows = 0.0
    if node.get("Relation Name") == "deviations_deviation":
        each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        rows = each * node["Actual Loops"]
    return rows + sum(rows_read(value) for value in node.values())


def test_chance_is_decided_by_the_seed_the_rule_and_the_slot_alone(automation: Automation) -> None:
    automation.method = "random"
    ready(automation.workspace, 30)
    now = clock.now()
    first = [pick([want(automation, number)], now=now)[0] for number in range(12)]
    assert first == [pick([want(automation, number)], now=now)[0] for number in range(12)]
    assert len({each.deviation_id for each in first}) > 3
    automation.seed = 2
    assert first != [pick([want(automation, number)], now=now)[0] for number in range(12)]


def test_a_mixture_takes_each_way_as_often_as_it_weighs(automation: Automation) -> None:
    automation.method = "mixture"
    automation.mixture = [{"method": "random", "weight": 70}, {"method": "fifo", "weight": 30}]
    one = want(automation)
    days = (replace(one.slot, local_date=DAY + timedelta(days=number)) for number in range(2000))
    ways = Counter(replace(one, slot=slot).method for slot in days)
    assert set(ways) == {"random", "fifo"}
    assert 0.66 < ways[Automation.Method.RANDOM] / 2000 < 0.74


@pytest.mark.parametrize("method", ["fifo", "lifo", "priority", "title", "random", "mixture"])
def test_what_is_foreseen_for_many_slots_is_what_they_take_one_after_another(
    automation: Automation, method: str
) -> None:
    automation.method = method
    if method == "mixture":
        automation.mixture = [{"method": way, "weight": 1} for way in ("random", "fifo", "title")]
    ready(automation.workspace, 90)
    foreseen = picked(automation, 95)
    taken: list[UUID | None] = []
    for number in range(95):
        (each,) = pick([want(automation, number)], now=clock.now())
        taken.append(each.deviation_id)
        Deviation.objects.filter(pk=each.deviation_id).update(ready_at=None)
    assert foreseen == taken
    assert len(set(foreseen[:90])) == 90
    assert foreseen[90:] == [None] * 5


def test_two_automations_never_take_the_same_draft(automation: Automation) -> None:
    other = AutomationFactory(workspace=automation.workspace, account=automation.account, method="random", seed=2)
    drafts = ready(automation.workspace, 9)
    wants = [want(one, number) for number in range(5) for one in (automation, other)]
    found = [each.deviation_id for each in pick(wants, now=clock.now())]
    assert found[9] is None
    assert set(found[:9]) == set(ids(drafts))


def test_a_draft_that_is_promised_or_was_taken_back_is_not_taken(automation: Automation) -> None:
    first, second, third = ready(automation.workspace, 3)
    now = clock.now()
    assert pick([want(automation)], now=now, taken=[first.pk])[0].deviation_id == second.pk
    never = frozenset({first.pk, second.pk})
    assert pick([want(automation, never=never)], now=now)[0].deviation_id == third.pk


# --- filters ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("filters", "fits", "does_not"),
    [
        ({"filter_tags": ["fox", "owl"]}, {"tags": ["owl", "x"]}, {"tags": ["foxes"]}),
        ({"filter_tags": ["fox"]}, {"tags": ["fox"]}, {"tags": None}),
        ({"filter_tags": ["a", "b"], "filter_tags_match": "all"}, {"tags": ["b", "c", "a"]}, {"tags": ["a"]}),
        ({"filter_gallery_ids": [RULE]}, {"gallery_ids": [RULE, new_id()]}, {"gallery_ids": [new_id()]}),
        ({"filter_template_ids": [RULE]}, {"template_id": RULE}, {"template_id": None}),
        ({"filter_mature": "only"}, {"is_mature": True, "mature_level": "strict"}, {"is_mature": None}),
        ({"filter_mature": "never"}, {"is_mature": None}, {"is_mature": True, "mature_level": "strict"}),
    ],
)
@pytest.mark.parametrize("method", ["fifo", "random"])
def test_only_drafts_that_the_filter_lets_pass_are_taken(
    automation: Automation, method: str, filters: dict[str, Any], fits: dict[str, Any], does_not: dict[str, Any]
) -> None:
    automation.method = method
    for name, value in filters.items():
        setattr(automation, name, value)
    ready(automation.workspace, 1, **does_not)
    (draft,) = ready(automation.workspace, 1, **fits)
    assert picked(automation, 2) == [draft.pk, None]


@pytest.mark.parametrize(
    ("orientation", "width", "height"), [("landscape", 20, 10), ("portrait", 10, 20), ("square", 10, 10)]
)
def test_the_shape_is_that_of_the_first_file(automation: Automation, orientation: str, width: int, height: int) -> None:
    automation.filter_orientation = orientation
    draft = ReadyDraftFactory(workspace=automation.workspace, upload_mode="multiple", files=0)
    for shape in ((width, height), (10, 10), (10, 20), (20, 10)):
        DeviationFileFactory(deviation=draft, width=shape[0], height=shape[1])
    other = ReadyDraftFactory(workspace=automation.workspace, files=0)
    DeviationFileFactory(deviation=other, width=height + 1, height=width + 3)
    assert picked(automation, 2)[0] == draft.pk
    DeviationFile.objects.update(width=None)
    assert picked(automation) == [None]


def test_age_is_counted_in_days_on_the_wall_until_the_day_of_the_slot(automation: Automation) -> None:
    automation.filter_min_age_days, automation.filter_max_age_days = 2, 3
    drafts = ready(automation.workspace, 5)
    midnight = datetime(2030, 1, 7, tzinfo=UTC)
    moments = [
        midnight - timedelta(days=3, seconds=1),  # four days before
        midnight - timedelta(days=3),
        midnight - timedelta(days=1, seconds=1),
        midnight - timedelta(days=1),  # the day before
        midnight,
    ]
    for draft, moment in zip(drafts, moments, strict=True):
        Deviation.objects.filter(pk=draft.pk).update(created_at=moment)
    wants = [want(automation, slot=slots.Slot(NOON, RULE, DAY, number)) for number in range(3)]
    assert [each.deviation_id for each in pick(wants, now=clock.now())] == [drafts[1].pk, drafts[2].pk, None]


# --- spacing and what is left ----------------------------------------------------------------------------------------
def test_not_two_of_one_series_go_out_in_a_row(automation: Automation) -> None:
    automation.spacing = "series"
    one, two = new_id(), new_id()
    drafts = ready(automation.workspace, 5)
    for draft, series in zip(drafts, (one, one, two, one, None), strict=True):
        Deviation.objects.filter(pk=draft.pk).update(series_id=series)
    first, second, third, fourth, fifth = ids(drafts)
    assert picked(automation, 6) == [first, third, second, fifth, fourth, None]


def test_not_two_of_one_gallery_go_out_in_a_row_whoever_scheduled_the_other(automation: Automation) -> None:
    automation.spacing = "gallery"
    one, two, three = new_id(), new_id(), new_id()
    by_hand = ReadyDraftFactory(workspace=automation.workspace, gallery_ids=[one])
    scheduled = {"status": "scheduled", "account": automation.account, "scheduled_at": NOON}
    Deviation.objects.filter(pk=by_hand.pk).update(**scheduled, publish_at=NOON - timedelta(hours=1))
    later = ReadyDraftFactory(workspace=automation.workspace, gallery_ids=[two])
    Deviation.objects.filter(pk=later.pk).update(**scheduled, publish_at=NOON + timedelta(hours=1))
    both, after, free = (ready(automation.workspace, 1, gallery_ids=each)[0] for each in ([one, three], [two], [three]))
    assert picked(automation) == [free.pk]
    Deviation.objects.filter(pk=free.pk).delete()
    (nothing,) = pick([want(automation)], now=clock.now())
    assert (nothing.deviation_id, nothing.reason) == (None, "spacing")
    Deviation.objects.filter(pk=by_hand.pk).update(
        status="published", published_at=NOON - timedelta(hours=1), publish_at=None, scheduled_at=None
    )
    assert picked(automation) == [None], "what was published counts as well"
    Deviation.objects.filter(pk=by_hand.pk).update(published_at=NOON + timedelta(hours=1))
    assert picked(automation) == [both.pk]
    assert after.pk not in picked(automation, 1)


def test_series_of_another_account_do_not_stand_in_the_way(automation: Automation) -> None:
    automation.spacing, series = "series", new_id()
    other = DeviantArtAccountFactory(workspace=automation.workspace)
    elsewhere = ReadyDraftFactory(workspace=automation.workspace, series_id=series)
    Deviation.objects.filter(pk=elsewhere.pk).update(
        status="published", published_at=NOON - timedelta(hours=1), account=other
    )
    (draft,) = ready(automation.workspace, 1, series_id=series)
    assert picked(automation) == [draft.pk]


def test_nothing_is_taken_where_too_few_drafts_would_be_left(automation: Automation) -> None:
    first, second, *_rest = ready(automation.workspace, 4)
    found = pick([want(automation, number, least_left=3) for number in range(3)], now=clock.now())
    assert [(each.deviation_id, each.reason) for each in found] == [
        (first.pk, ""),
        (second.pk, ""),
        (None, "few_left"),
    ]


# --- at what price ---------------------------------------------------------------------------------------------------
def test_many_slots_of_many_workspaces_are_one_statement() -> None:
    automations = [AutomationFactory(method=method) for method in ("fifo", "random", "title", "lifo")]
    for automation in automations:
        ready(automation.workspace, 2)
    wants = [want(automation, number) for number in range(3) for automation in automations]
    with CaptureQueriesContext(connection) as queries:
        found = pick(wants, now=clock.now())
    assert len(queries) == 1
    assert [each.deviation_id is None for each in found] == [False] * 8 + [True] * 4


def test_no_slots_are_no_statement_at_all(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert pick([], now=clock.now()) == []
