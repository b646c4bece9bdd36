import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import DeviantArtAccount, Notification
from deviations.models import Deviation
from isekai import clock
from publisher.models import Worker
from publisher.services import claiming, dispatching, overdue
from publisher.services.claiming import claim_next

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker")


def test_each_account_with_something_due_is_woken_once(make_due: MakeDue, sent: list[Any]):
    work = make_due(b"one")
    make_due(b"two", account=work.account, workspace=work.workspace)
    other = make_due(b"three")
    assert dispatching.dispatch_due() == 2
    assert sorted(sent) == sorted(("publisher.publish_next", str(each.account_id)) for each in (work, other))


def test_an_account_with_a_work_in_flight_is_not_woken(make_due: MakeDue, sent: list[Any], worker: Worker):
    work = make_due(b"one")
    make_due(b"two", account=work.account, workspace=work.workspace)
    assert work.account_id is not None
    claim_next(work.account_id, worker.pk)
    assert dispatching.dispatch_due() == 0


def test_a_held_account_is_not_woken(make_due: MakeDue, sent: list[Any]):
    DeviantArtAccount.objects.filter(pk=make_due().account_id).update(paused=True)
    assert dispatching.dispatch_due() == 0


def test_no_more_are_woken_than_twice_the_free_slots(make_due: MakeDue, sent: list[Any], worker: Worker):
    Worker.objects.filter(pk=worker.pk).update(slots=1)
    for _ in range(4):
        make_due()
    assert dispatching.dispatch_due() == 2


def test_the_number_of_queries_does_not_grow_with_what_is_due(
    make_due: MakeDue, sent: list[Any], django_assert_num_queries: Any
):
    for _ in range(5):
        make_due()
    with django_assert_num_queries(1):
        dispatching.dispatch_due()


def test_while_nothing_is_due_no_account_is_read(make_due: MakeDue, sent: list[Any]):
    soon = clock.now() + timedelta(minutes=3)
    make_due(scheduled_at=soon, publish_at=soon)
    with CaptureQueriesContext(connection) as queries:
        assert dispatching.dispatch_due() == 0
    read = rows_read(queries[0]["sql"])
    assert read["accounts_deviantartaccount"] == 0
    assert "deviations_deviation" in read


@pytest.mark.django_db
def test_the_plan_that_is_kept_for_a_claim_finds_the_work_by_an_index_of_what_is_due():
    with connection.cursor() as cursor:
        # In a table of one row there is nothing to be gained by an index.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    statement, searches = claiming._claim_sql(settings.DEVIANTART_BASE_URL, may_upload=True, may_look=True)
    assert searches == 2
    assert len(re.findall("Index Scan using deviation_(?:next_)?due ", plan_of(statement))) == searches


def plan_of(statement: str) -> str:
    """How the server would run a statement of which it does not know the parameters yet."""
    numbers = count(1)
    text = re.sub("%s", lambda _: f"${next(numbers)}", statement).replace("%%", "%")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (GENERIC_PLAN) {text}")
        return "\n".join(line for (line,) in cursor.fetchall())


def rows_read(statement: str) -> Counter[str]:
    """How many rows of each table a statement reads when it is run."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        nodes, read = [cursor.fetchone()[0][0]["Plan"]], Counter[str]()
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if "Relation Name" in node:
            removed = node.get("Rows Removed by Filter", 0)
            read[node["Relation Name"]] += int((node["Actual Rows"] + removed) * node["Actual Loops"])
    return read


def test_the_next_due_moment_is_the_earliest_that_is_still_to_come(make_due: MakeDue):
    make_due()
    soon = clock.now() + timedelta(minutes=3)
    make_due(scheduled_at=soon, publish_at=soon)
    later = soon + timedelta(minutes=3)
    make_due(scheduled_at=later, publish_at=later)
    assert dispatching.next_due_at() == soon


NOT_BEFORE = [None, -30, 30, 90, 300]  # minutes from now


@pytest.mark.parametrize("first", NOT_BEFORE)
@pytest.mark.parametrize("second", NOT_BEFORE)
def test_the_next_due_moment_is_the_earliest_at_which_something_may_be_claimed(
    make_due: MakeDue, first: int | None, second: int | None
):
    now, expected = clock.now(), []
    for not_before, minutes in ((first, (-10, 60, 120)), (second, (75, 200))):
        works = {f"{minute}": now + timedelta(minutes=minute) for minute in minutes}
        work = None
        for name, at in works.items():
            of: dict[str, Any] = {} if work is None else {"account": work.account, "workspace": work.workspace}
            work = make_due(name.encode(), scheduled_at=at, publish_at=at, **of)
        until = None if not_before is None else now + timedelta(minutes=not_before)
        assert work is not None
        DeviantArtAccount.objects.filter(pk=work.account_id).update(not_before=until)
        expected += [max(at, until or at) for at in works.values()]
    assert dispatching.next_due_at() == min(at for at in expected if at > now)


@pytest.mark.parametrize("held", [{"paused": True}, {"state": "reauth_required"}, {"base_url": "http://127.0.0.1:1"}])
def test_the_works_of_a_held_account_have_no_next_moment(make_due: MakeDue, held: dict[str, Any]):
    soon = clock.now() + timedelta(minutes=3)
    work = make_due(scheduled_at=soon, publish_at=soon)
    DeviantArtAccount.objects.filter(pk=work.account_id).update(**held)
    assert dispatching.next_due_at() is None
    DeviantArtAccount.objects.filter(pk=work.account_id).update(not_before=soon + timedelta(minutes=1))
    assert dispatching.next_due_at() is None


def test_late_works_of_an_able_account_are_asked_about_with_one_message(make_due: MakeDue):
    long_ago = clock.now() - timedelta(hours=25)
    work = make_due(b"one", scheduled_at=long_ago, publish_at=long_ago)
    make_due(b"two", scheduled_at=long_ago, publish_at=long_ago, account=work.account, workspace=work.workspace)
    in_time = make_due(b"three", account=work.account, workspace=work.workspace)
    assert overdue.ask_about_late() == 2
    assert overdue.ask_about_late() == 0
    work.refresh_from_db()
    in_time.refresh_from_db()
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "late")
    assert in_time.status == Deviation.Status.SCHEDULED
    assert Notification.objects.get().params["count"] == 2


def test_late_works_of_a_held_account_keep_waiting(make_due: MakeDue):
    long_ago = clock.now() - timedelta(hours=25)
    work = make_due(scheduled_at=long_ago, publish_at=long_ago)
    DeviantArtAccount.objects.filter(pk=work.account_id).update(paused=True)
    assert overdue.ask_about_late() == 0
