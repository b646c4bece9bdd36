from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, DeviantArtAccount, User
from deviations.models import Deviation
from deviations.services.scheduling import (
    cancel_many,
    publish_many_now,
    retry_many,
    schedule_deviation,
    schedule_many,
    schedule_many_as_before,
)
from deviations.services.trashing import restore_many, trash_many
from deviations.services.undoing import undo_change
from isekai import clock
from tests.factories import DeviantArtAccountFactory

MakeWork = Callable[..., Deviation]


def as_stored(work: Deviation) -> dict[str, Any]:
    return dict(Deviation.objects.filter(pk=work.pk).values().get())


def in_an_hour_many(works: Any, **options: Any) -> Any:
    return schedule_many(works, scheduled_at=clock.now() + timedelta(hours=1), jitter_max_seconds=60, **options)


def test_the_number_of_queries_does_not_grow_with_the_works(
    make_work: MakeWork, account: DeviantArtAccount, artist: User, sent: list[Any]
):
    counts: dict[str, list[int]] = {}
    for number in (2, 20):
        # Half of them have no account yet and get the workspace's only one.
        ids = [make_work(account).pk for _ in range(number // 2)]
        ids += [make_work(account).pk for _ in range(number // 2)]
        Deviation.objects.filter(pk__in=ids[number // 2 :]).update(account=None)
        works = Deviation.objects.owned_by(artist)
        for name, many in {
            "schedule": in_an_hour_many,
            "move": in_an_hour_many,
            "cancel": cancel_many,
            "schedule_as_before": schedule_many_as_before,
            "publish_now": publish_many_now,
            "trash": trash_many,
            "restore": restore_many,
        }.items():
            with CaptureQueriesContext(connection) as queries:
                result = many(works, user=artist, ids=ids)
            assert [item.error for item in result.items] == [None] * number
            counts.setdefault(name, []).append(len(queries))
        Deviation.objects.filter(pk__in=ids).update(status="failed", reason_code="refused")
        with CaptureQueriesContext(connection) as queries:
            result = retry_many(works, user=artist, ids=ids)
        counts.setdefault("retry", []).append(len(queries))
        with CaptureQueriesContext(connection) as queries:
            undone = undo_change(works, user=artist, bulk_id=result.id, ids=ids)
        assert len(undone.items) == number
        counts.setdefault("undo", []).append(len(queries))
    assert all(few == many for few, many in counts.values()), counts
    assert max(many for _few, many in counts.values()) <= 14


def test_works_without_an_account_are_refused_without_a_query_for_each(
    make_work: MakeWork, account: DeviantArtAccount, artist: User
):
    DeviantArtAccountFactory(workspace=account.workspace)
    counts = []
    for number in (1, 10):
        ids = [make_work(account).pk for _ in range(number)]
        Deviation.objects.filter(pk__in=ids).update(account=None)
        with CaptureQueriesContext(connection) as queries:
            result = in_an_hour_many(Deviation.objects.owned_by(artist), user=artist, ids=ids)
        assert {item.error.code for item in result.items} == {"not_publishable"}
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_many_at_once_write_what_one_by_one_writes(make_work: MakeWork, account: DeviantArtAccount, artist: User):
    words = {
        "title": "Fox “x” \\ 'y'",
        "description": "line\nline",
        "tags": ["a", 'b"c'],
        "reason_code": "refused",
        "reason_params": {"field": "title", "words": ["é", None]},
        "is_mature": None,
    }
    work = make_work(account, status="failed", **words)
    before = as_stored(work)
    at = clock.now().replace(microsecond=123456) + timedelta(hours=1)
    result = schedule_many(Deviation.objects.all(), user=artist, ids=[work.pk], scheduled_at=at, zone="Asia/Tokyo")
    after = as_stored(work)
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {
        "status",
        "reason_code",
        "reason_params",
        "scheduled_local",
        "scheduled_zone",
        "scheduled_at",
        "publish_at",
        "due_at",
        "version",
        "updated_at",
    }
    assert after["publish_at"] == after["due_at"] == at
    assert after["version"] == before["version"] + 1
    assert after["reason_params"] == {}
    assert (after["scheduled_local"] - at.replace(tzinfo=None)) == timedelta(hours=9)
    [item] = result.items
    assert item.deviation is not None
    # What is answered is what is stored, without asking again.
    assert {name: item.deviation.__dict__[name] for name in after} == after


def test_each_of_many_has_its_event_in_the_order_in_which_they_were_done(
    make_work: MakeWork, account: DeviantArtAccount, artist: User
):
    works = sorted((make_work(account) for _ in range(3)), key=lambda work: work.pk)
    ids = [work.pk for work in works]
    in_an_hour_many(Deviation.objects.all(), user=artist, ids=ids)
    result = trash_many(Deviation.objects.all(), user=artist, ids=list(reversed(ids)))
    events = AuditEvent.objects.filter(params__bulk_id=str(result.id)).order_by("id")
    assert [(event.subject_id, event.verb, event.user_id, event.workspace_id) for event in events] == [
        (work.pk, verb, artist.pk, account.workspace_id)
        for work in works
        for verb in ("deviation.cancelled", "deviation.trashed")
    ]


@pytest.mark.parametrize("many", [cancel_many, trash_many])
def test_a_work_with_nothing_to_change_is_not_written(
    make_work: MakeWork, account: DeviantArtAccount, artist: User, many: Any
):
    works = [make_work(account) for _ in range(2)]
    ids = [work.pk for work in works]
    trash_many(Deviation.objects.all(), user=artist, ids=ids)
    before = [as_stored(work) for work in works]
    many(Deviation.objects.all(), user=artist, ids=ids)
    assert [as_stored(work) for work in works] == before


def test_a_single_work_is_scheduled_in_eight_statements(
    make_work: MakeWork, account: DeviantArtAccount, artist: User, django_assert_num_queries: Any
):
    work = make_work(account)
    # Two for the savepoint of this test, the wait for locks, the time, the work, its files, and two writes.
    with django_assert_num_queries(8):
        schedule_deviation(work, user=artist, scheduled_at=clock.now() + timedelta(hours=1))
