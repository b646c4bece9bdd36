from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, DeviantArtAccount, User
from deviations.errors import (
    AlreadyOnItsWay,
    BeingConfirmed,
    DecisionNeeded,
    DeviationError,
    FieldsRefused,
    InTheTrash,
    InvalidTransition,
    NotPublishable,
    TimeRefused,
    VersionConflict,
)
from deviations.models import Deviation
from deviations.services.scheduling import (
    Appointment,
    cancel_many,
    cancel_schedule,
    publish_many_now,
    publish_now,
    retry_deviation,
    retry_many,
    schedule_as_before,
    schedule_deviation,
    schedule_each,
    schedule_many,
    schedule_many_as_before,
    wish_for,
)
from deviations.services.trashing import trash_deviation, trash_many
from isekai import clock
from isekai.ids import new_id
from tests.factories import DeviantArtAccountFactory, PublishVariantFactory
from tests.unchanged import assert_refused, everything

MakeWork = Callable[..., Deviation]


def in_an_hour() -> datetime:
    return clock.now() + timedelta(hours=1)


def events_of(work: Deviation) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=work.pk).order_by("id").values_list("verb", flat=True))


@pytest.fixture
def draft(make_work: MakeWork, account: DeviantArtAccount) -> Deviation:
    return make_work(account)


@pytest.fixture
def scheduled(draft: Deviation) -> Deviation:
    return schedule_deviation(draft, user=None, scheduled_at=in_an_hour())


# --- scheduling ------------------------------------------------------------------------------------------------------
def test_a_draft_is_scheduled_for_an_instant(draft: Deviation, artist: User) -> None:
    moment = in_an_hour()
    work = schedule_deviation(draft, user=artist, scheduled_at=moment, version=1)
    work.refresh_from_db()
    assert (work.status, work.scheduled_at, work.publish_at, work.due_at) == ("scheduled", moment, moment, moment)
    assert (work.jitter_seconds, work.version) == (0, 2)
    event = AuditEvent.objects.get(subject_id=work.pk)
    assert (event.verb, event.user) == ("deviation.scheduled", artist)
    assert event.params["publish_at"] == moment.isoformat()


def test_an_instant_is_kept_with_what_the_artists_clock_shows_then(draft: Deviation, artist: User) -> None:
    moment = in_an_hour()
    work = schedule_deviation(draft, user=artist, scheduled_at=moment)
    work.refresh_from_db()
    assert work.scheduled_zone == "Europe/Berlin"
    assert work.scheduled_local == moment.astimezone(artist.zone).replace(tzinfo=None)


def test_a_time_on_the_wall_is_kept_with_its_zone_and_its_instant(draft: Deviation) -> None:
    local = datetime(clock.now().year + 1, 1, 15, 18, 30)  # noqa: DTZ001 - that is what it is
    if local.replace(tzinfo=UTC) > clock.now() + timedelta(days=360):
        local = local.replace(year=local.year - 1)
    work = schedule_deviation(draft, user=None, local=local, zone="America/New_York")
    work.refresh_from_db()
    assert (work.scheduled_local, work.scheduled_zone) == (local, "America/New_York")
    assert work.scheduled_at == (local + timedelta(hours=5)).replace(tzinfo=UTC)


def test_a_time_is_said_in_one_way(draft: Deviation) -> None:
    local = in_an_hour().replace(tzinfo=None)
    assert_refused(FieldsRefused, schedule_deviation, draft, user=None)
    assert_refused(FieldsRefused, schedule_deviation, draft, user=None, scheduled_at=in_an_hour(), local=local)


@pytest.mark.parametrize(
    ("wait", "code"),
    [
        (timedelta(seconds=-1), "time_in_the_past"),
        (timedelta(days=-400), "time_in_the_past"),
        (timedelta(days=365, minutes=1), "time_too_far_ahead"),
    ],
)
def test_the_past_and_more_than_a_year_ahead_are_refused(draft: Deviation, wait: timedelta, code: str) -> None:
    error = assert_refused(TimeRefused, schedule_deviation, draft, user=None, scheduled_at=clock.now() + wait)
    assert (error.code, error.status, set(error.details)) == (code, 422, {"scheduled_at"})


def test_the_past_is_judged_by_the_clock_of_the_database(draft: Deviation) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL isekai.now = '2030-01-01 12:00:00+00'")
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert_refused(TimeRefused, schedule_deviation, draft, user=None, scheduled_at=noon)
    assert schedule_deviation(draft, user=None, scheduled_at=noon + timedelta(seconds=1)).status == "scheduled"


def test_the_delay_is_drawn_once_and_kept(draft: Deviation) -> None:
    moment, drawn = in_an_hour(), set()
    for _number in range(30):
        work = schedule_deviation(draft, user=None, scheduled_at=moment, jitter_max_seconds=3600)
        assert 0 <= work.jitter_seconds <= 3600
        assert work.publish_at == moment + timedelta(seconds=work.jitter_seconds)
        assert work.scheduled_at == moment
        drawn.add(work.jitter_seconds)
    assert len(drawn) > 10


@pytest.mark.parametrize("longest", [-1, 3601])
def test_a_delay_is_an_hour_at_most(draft: Deviation, longest: int) -> None:
    error = assert_refused(
        FieldsRefused,
        schedule_deviation,
        draft,
        user=None,
        scheduled_at=in_an_hour(),
        jitter_max_seconds=longest,
    )
    assert set(error.details) == {"jitter_seconds"}


def test_what_deviantart_would_refuse_cannot_be_scheduled(make_work: MakeWork, account: DeviantArtAccount) -> None:
    work = make_work(account, files=0, title="x" * 51)
    for call in (publish_now, schedule_deviation):
        when: dict[str, Any] = {"scheduled_at": in_an_hour()} if call is schedule_deviation else {}
        error = assert_refused(NotPublishable, call, work, user=None, **when)
        assert (set(error.details), error.status) == ({"title", "files"}, 422)


def test_a_work_without_an_account_is_given_the_only_one(make_work: MakeWork, account: DeviantArtAccount) -> None:
    work = make_work(account)
    Deviation.objects.update(account=None)
    assert schedule_deviation(work, user=None, scheduled_at=in_an_hour()).account == account
    Deviation.objects.update(status="draft", account=None)
    DeviantArtAccountFactory(workspace=account.workspace)
    error = assert_refused(NotPublishable, schedule_deviation, work, user=None, scheduled_at=in_an_hour())
    assert set(error.details) == {"account_id"}


def test_a_scheduled_work_gets_another_time_and_forgets_its_next_try(scheduled: Deviation) -> None:
    was, later = scheduled.publish_at, in_an_hour() + timedelta(hours=5)
    Deviation.objects.update(next_attempt_at=later + timedelta(days=1), reason_code="network_error")
    work = schedule_deviation(scheduled, user=None, scheduled_at=later, version=2)
    work.refresh_from_db()
    assert (work.status, work.due_at, work.previous_publish_at) == ("scheduled", later, was)
    assert (work.next_attempt_at, work.reason_code, work.version) == (None, "", 3)
    assert events_of(work) == ["deviation.scheduled", "deviation.rescheduled"]


def test_a_failed_work_can_be_scheduled_again(draft: Deviation) -> None:
    Deviation.objects.update(status="failed", reason_code="refused", reason_params={"description": "no"})
    work = schedule_deviation(draft, user=None, scheduled_at=in_an_hour())
    assert (work.status, work.reason_code, work.reason_params) == ("scheduled", "", {})


# --- cancelling and undoing ------------------------------------------------------------------------------------------
def test_a_cancelled_work_is_a_draft_and_remembers_its_time(scheduled: Deviation, artist: User) -> None:
    was = scheduled.publish_at
    work = cancel_schedule(scheduled, user=artist)
    work.refresh_from_db()
    assert (work.status, work.previous_publish_at) == ("draft", was)
    assert (work.publish_at, work.scheduled_at, work.scheduled_local, work.due_at) == (None, None, None, None)
    event = AuditEvent.objects.latest("id")
    assert (event.verb, event.user) == ("deviation.cancelled", artist)


def test_a_draft_that_is_cancelled_stays_as_it_is(draft: Deviation) -> None:
    before = everything()
    cancel_schedule(draft, user=None)
    assert everything() == before


def test_a_cancel_and_a_move_are_taken_back_with_the_delay_that_was_drawn(draft: Deviation) -> None:
    work = schedule_deviation(draft, user=None, scheduled_at=in_an_hour(), jitter_max_seconds=3600)
    was = work.publish_at
    work = cancel_schedule(work, user=None)
    work = schedule_as_before(work, user=None)
    assert (work.status, work.publish_at) == ("scheduled", was)
    work = schedule_deviation(work, user=None, scheduled_at=in_an_hour() + timedelta(days=3))
    assert schedule_as_before(work, user=None).publish_at == was


def test_what_had_no_time_or_one_that_has_passed_does_not_get_it_back(scheduled: Deviation) -> None:
    work = cancel_schedule(scheduled, user=None)
    Deviation.objects.update(previous_publish_at=clock.now() - timedelta(seconds=1))
    assert_refused(TimeRefused, schedule_as_before, work, user=None)
    Deviation.objects.update(previous_publish_at=None)
    assert_refused(TimeRefused, schedule_as_before, work, user=None)


# --- now -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", ["draft", "scheduled", "failed"])
def test_publish_now_makes_a_work_due_at_this_moment(draft: Deviation, status: str) -> None:
    later = in_an_hour()
    Deviation.objects.update(
        status=status,
        scheduled_at=later,
        publish_at=later,
        jitter_seconds=7,
        next_attempt_at=later,
        reason_code="refused",
    )
    before = clock.database_now()
    work = publish_now(draft, user=None)
    work.refresh_from_db()
    assert (work.status, work.jitter_seconds, work.reason_code) == ("scheduled", 0, "")
    assert work.publish_at is not None
    assert work.publish_at == work.scheduled_at == work.due_at
    assert before <= work.publish_at <= clock.database_now()
    assert events_of(work) == ["deviation.publish_now"]


def test_publish_now_of_what_is_due_already_changes_nothing(draft: Deviation) -> None:
    work = publish_now(draft, user=None)
    before = everything()
    assert publish_now(work, user=None).version == work.version
    assert everything() == before


def test_publish_now_does_not_wait_for_the_next_try(draft: Deviation) -> None:
    work = publish_now(draft, user=None)
    Deviation.objects.update(next_attempt_at=in_an_hour())
    work = publish_now(work, user=None)
    work.refresh_from_db()
    assert work.next_attempt_at is None
    assert work.due_at == work.publish_at


def test_publish_now_takes_up_what_was_overdue_by_more_than_its_account_allows(draft: Deviation) -> None:
    yesterday = clock.now() - timedelta(hours=25)
    Deviation.objects.update(status="scheduled", scheduled_at=yesterday, publish_at=yesterday)
    work = publish_now(draft, user=None)
    assert work.publish_at is not None
    assert work.publish_at > yesterday + timedelta(hours=24)


def test_a_late_work_can_be_published_now_moved_or_taken_off(draft: Deviation) -> None:
    yesterday = clock.now() - timedelta(hours=25)
    late = {"status": "needs_decision", "reason_code": "late", "scheduled_at": yesterday, "publish_at": yesterday}
    Deviation.objects.update(**late)
    assert publish_now(draft, user=None).status == "scheduled"
    Deviation.objects.update(**late)
    assert schedule_deviation(draft, user=None, scheduled_at=in_an_hour()).status == "scheduled"
    Deviation.objects.update(**late)
    assert cancel_schedule(draft, user=None).status == "draft"


# --- again -----------------------------------------------------------------------------------------------------------
def test_only_a_failed_work_is_tried_again(draft: Deviation) -> None:
    assert_refused(InvalidTransition, retry_deviation, draft, user=None)
    Deviation.objects.update(status="failed", reason_code="tried_too_often")
    work = retry_deviation(draft, user=None)
    work.refresh_from_db()
    assert (work.status, work.reason_code, work.due_at) == ("scheduled", "", work.publish_at)
    assert events_of(work) == ["deviation.retried"]


# --- what cannot be touched ------------------------------------------------------------------------------------------
def on_its_way() -> dict[str, Any]:
    return {"status": "uploading", "worker_id": new_id(), "lease_id": new_id()}


def between_two_parts() -> dict[str, Any]:
    return {"status": "publishing", "next_attempt_at": clock.now()}


def unconfirmed() -> dict[str, Any]:
    return {"status": "publishing", "next_attempt_at": clock.now(), "unconfirmed_since": clock.now()}


def to_be_decided() -> dict[str, Any]:
    return {"status": "needs_decision", "reason_code": "unconfirmed", "unconfirmed_since": clock.now()}


def in_the_trash() -> dict[str, Any]:
    return {"status": "draft", "trashed_at": clock.now()}


def published() -> dict[str, Any]:
    return {"status": "published", "published_at": clock.now()}


def in_review() -> dict[str, Any]:
    return {"status": "review"}


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (on_its_way, AlreadyOnItsWay),
        (between_two_parts, AlreadyOnItsWay),
        (unconfirmed, BeingConfirmed),
        (to_be_decided, DecisionNeeded),
        (in_the_trash, InTheTrash),
        (published, InvalidTransition),
        (in_review, InvalidTransition),
    ],
)
def test_what_is_on_its_way_undecided_or_over_keeps_its_time(
    scheduled: Deviation, state: Callable[[], dict[str, Any]], error: type[DeviationError]
) -> None:
    Deviation.objects.update(**state())
    calls: list[Callable[[], Deviation]] = [
        lambda: schedule_deviation(scheduled, user=None, scheduled_at=in_an_hour()),
        lambda: cancel_schedule(scheduled, user=None),
        lambda: publish_now(scheduled, user=None),
        lambda: retry_deviation(scheduled, user=None),
    ]
    for call in calls:
        assert assert_refused(error, call).status == 409


@pytest.mark.parametrize(
    ("state", "error"), [(on_its_way, AlreadyOnItsWay), (unconfirmed, BeingConfirmed), (to_be_decided, DecisionNeeded)]
)
def test_what_is_on_its_way_or_undecided_cannot_be_deleted(
    scheduled: Deviation, state: Callable[[], dict[str, Any]], error: type[DeviationError]
) -> None:
    Deviation.objects.update(**state())
    assert_refused(error, trash_deviation, scheduled, user=None)


def test_each_change_compares_the_version_that_was_seen(scheduled: Deviation) -> None:
    for call in (cancel_schedule, publish_now, retry_deviation, schedule_as_before, trash_deviation):
        assert_refused(VersionConflict, call, scheduled, user=None, version=1)
    assert_refused(VersionConflict, schedule_deviation, scheduled, user=None, version=1, scheduled_at=in_an_hour())


# --- waking ----------------------------------------------------------------------------------------------------------
def notifications_of(call: Callable[[], Any]) -> int:
    """How many NOTIFY commands ``call`` sends to the database."""
    sql: list[str] = []

    def listen(execute: Any, statement: str, *args: Any) -> Any:
        sql.append(statement)
        return execute(statement, *args)

    with connection.execute_wrapper(listen):
        call()
    return sum(statement == "NOTIFY isekai_due" for statement in sql)


@pytest.mark.parametrize(("seconds", "woken"), [(5, True), (60, False)])
def test_the_publisher_is_woken_for_what_is_due_within_ten_seconds(
    draft: Deviation,
    sent: list[tuple[str, ...]],
    django_capture_on_commit_callbacks: Any,
    seconds: int,
    woken: bool,
) -> None:
    moment = clock.now() + timedelta(seconds=seconds)
    with django_capture_on_commit_callbacks(execute=True):
        count = notifications_of(lambda: schedule_deviation(draft, user=None, scheduled_at=moment))
    assert sent == ([("publisher.publish_next", str(draft.account_id))] if woken else [])
    assert count == int(woken)


def test_many_works_of_an_account_wake_the_publisher_once(
    make_work: MakeWork,
    account: DeviantArtAccount,
    sent: list[tuple[str, ...]],
    django_capture_on_commit_callbacks: Any,
) -> None:
    ids = [make_work(account).pk for _number in range(5)]
    with django_capture_on_commit_callbacks(execute=True):
        count = notifications_of(lambda: publish_many_now(Deviation.objects.all(), user=None, ids=ids))
    assert sent == [("publisher.publish_next", str(account.pk))]
    assert count == 1


# --- many at once ----------------------------------------------------------------------------------------------------
def test_many_are_scheduled_each_with_a_result_and_a_delay_of_its_own(
    make_work: MakeWork, account: DeviantArtAccount, artist: User
) -> None:
    works = [make_work(account) for _number in range(20)]
    broken = make_work(account, title="x" * 51)
    ids = [work.pk for work in works[:10]] + [broken.pk, works[0].pk] + [work.pk for work in works[10:]]
    result = schedule_many(
        Deviation.objects.all(), user=artist, ids=ids, scheduled_at=in_an_hour(), jitter_max_seconds=3600
    )
    assert [item.id for item in result.items] == list(dict.fromkeys(ids))
    errors = [item for item in result.items if item.error is not None]
    assert [(item.id, type(item.error)) for item in errors] == [(broken.pk, NotPublishable)]
    assert set(Deviation.objects.filter(status="scheduled").values_list("pk", flat=True)) == {work.pk for work in works}
    assert len(set(Deviation.objects.values_list("jitter_seconds", flat=True))) > 5
    events = AuditEvent.objects.filter(verb="deviation.scheduled")
    assert {event.params["bulk_id"] for event in events} == {str(result.id)}
    assert events.count() == len(works)


def test_what_is_not_there_and_what_belongs_to_others_are_answered_alike(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    foreign = make_work(DeviantArtAccountFactory())
    own = Deviation.objects.filter(workspace=account.workspace)
    result = publish_many_now(own, user=None, ids=[foreign.pk, uuid4()])
    assert [(item.deviation, item.error) for item in result.items] == [(None, None), (None, None)]
    foreign.refresh_from_db()
    assert foreign.status == "draft"


def test_many_are_cancelled_put_back_published_trashed_and_retried(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    works, ids = Deviation.objects.all(), [make_work(account).pk for _number in range(3)]

    def states() -> set[str]:
        return set(works.values_list("status", flat=True))

    schedule_many(works, user=None, ids=ids, scheduled_at=in_an_hour())
    cancel_many(works, user=None, ids=ids)
    assert states() == {"draft"}
    schedule_many_as_before(works, user=None, ids=ids)
    assert states() == {"scheduled"}
    publish_many_now(works, user=None, ids=ids)
    assert works.due(clock.DatabaseNow()).count() == 3
    works.update(status="failed", reason_code="refused")
    retry_many(works, user=None, ids=ids)
    assert states() == {"scheduled"}
    trash_many(works, user=None, ids=ids)
    assert states() == {"draft"}
    assert works.trashed().count() == 3


def test_a_time_in_the_past_refuses_the_whole_call(make_work: MakeWork, account: DeviantArtAccount) -> None:
    ids = [make_work(account).pk]
    past = clock.now() - timedelta(minutes=1)
    assert_refused(TimeRefused, schedule_many, Deviation.objects.all(), user=None, ids=ids, scheduled_at=past)


def test_more_than_five_hundred_at_once_are_refused(account: DeviantArtAccount) -> None:
    ids = [uuid4() for _number in range(501)]
    error = assert_refused(FieldsRefused, cancel_many, Deviation.objects.all(), user=None, ids=ids)
    assert set(error.details) == {"ids"}
    assert len(cancel_many(Deviation.objects.all(), user=None, ids=ids[:500]).items) == 500


# --- many, each for its own time -------------------------------------------------------------------------------------
def appointment(moment: datetime, **fields: Any) -> Appointment:
    return Appointment(wish_for(user=None, scheduled_at=moment, zone="Europe/Berlin"), **fields)


def test_each_of_many_gets_its_own_time_delay_and_words(make_work: MakeWork, account: DeviantArtAccount) -> None:
    first, second, moment = make_work(account), make_work(account), in_an_hour()
    result = schedule_each(
        Deviation.objects.all(),
        {
            first.pk: appointment(moment, jitter_seconds=90, params={"automation": "A"}),
            second.pk: appointment(moment + timedelta(hours=1), words={"allow_comments": False, "title": "New"}),
        },
        user=None,
    )
    assert [item.error for item in result.items] == [None, None]
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.scheduled_at, first.jitter_seconds) == ("scheduled", moment, 90)
    assert (first.publish_at, first.scheduled_zone) == (moment + timedelta(seconds=90), "Europe/Berlin")
    assert (second.publish_at, second.title, second.allow_comments) == (moment + timedelta(hours=1), "New", False)
    assert events_of(second) == ["deviation.edited", "deviation.scheduled"]
    assert AuditEvent.objects.get(subject_id=first.pk).params["automation"] == "A"
    assert (first.version, second.version) == (2, 2)


def test_where_its_moment_has_passed_meanwhile_a_work_of_many_is_due_at_once(
    draft: Deviation,
) -> None:
    before = clock.database_now()
    schedule_each(
        Deviation.objects.all(),
        {draft.pk: appointment(before - timedelta(minutes=5), jitter_seconds=60)},
        user=None,
    )
    draft.refresh_from_db()
    assert (draft.status, draft.jitter_seconds) == ("scheduled", 0)
    assert draft.publish_at is not None
    assert before <= draft.publish_at <= clock.database_now()


def test_a_work_of_many_that_refuses_keeps_its_words_and_none_of_the_others_back(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    good, bad, too_far = make_work(account), make_work(account), make_work(account)
    result = schedule_each(
        Deviation.objects.all(),
        {
            bad.pk: appointment(in_an_hour(), words={"description": "Filled in", "title": "x" * 60}),
            good.pk: appointment(in_an_hour()),
            too_far.pk: appointment(clock.now() + timedelta(days=400)),
        },
        user=None,
    )
    assert [type(item.error) for item in result.items] == [NotPublishable, type(None), TimeRefused]
    for work in (bad, too_far):
        work.refresh_from_db()
        assert (work.status, work.description, work.version) == ("draft", None, 1)
        assert events_of(work) == []


def test_a_work_without_an_account_goes_to_that_of_its_appointment(make_work: MakeWork) -> None:
    account = DeviantArtAccountFactory()
    DeviantArtAccountFactory(workspace=account.workspace)
    work = make_work(account)
    Deviation.objects.update(account=None)
    schedule_each(Deviation.objects.all(), {work.pk: appointment(in_an_hour(), account=account)}, user=None)
    work.refresh_from_db()
    assert (work.status, work.account_id) == ("scheduled", account.pk)


def test_copies_that_keep_their_metadata_are_made_anew_for_many_works_together(
    make_work: MakeWork, account: DeviantArtAccount, sent: list[Any], django_assert_max_num_queries: Any
) -> None:
    works = [make_work(account) for _number in range(3)]
    for work in works:
        PublishVariantFactory(file=work.files.get())
    appointments = {work.pk: appointment(in_an_hour(), words={"keep_metadata": True}) for work in works}
    with django_assert_max_num_queries(20):
        schedule_each(Deviation.objects.all(), appointments, user=None)
    assert {work.files.get().media_state for work in works} == {"pending"}
    assert not any(work.files.get().variants.exists() for work in works)


def test_scheduling_each_takes_as_many_queries_for_many_as_for_one(
    make_work: MakeWork, account: DeviantArtAccount
) -> None:
    counts = []
    for number in (1, 7):
        works = [make_work(account) for _number in range(number)]
        appointments = {work.pk: appointment(in_an_hour(), words={"no_ai": True}) for work in works}
        with CaptureQueriesContext(connection) as queries:
            schedule_each(Deviation.objects.all(), appointments, user=None)
        counts.append(len(queries))
    assert counts[0] == counts[1]
