"""Works of which nobody knows whether they are live."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import DeviantArtAccount, Notification, User
from deviantart.errors import (
    AnswerLost,
    ItemNotFound,
    Outcome,
    PublicationFailed,
    QuotaExceeded,
    RateLimited,
    Rejected,
    ServerFailed,
    Unexpected,
    Unreachable,
)
from deviantart.types import Page, SubmitReceipt
from deviations.media.perceptual import perceptual_hash
from deviations.models import Deviation, FileVariant
from isekai import clock
from isekai.ids import new_id
from publisher.models import Attempt, Publication
from publisher.services import confirming, deciding, evidence, publishing, recognising, settling
from publisher.services.backoff import next_midnight
from publisher.services.sending import submission_of
from publisher.services.turns import NotYet
from tests import pictures
from tests.factories import DeviationFileFactory, PublishVariantFactory
from tests.fakes import FakeDeviantArt
from tests.publisher.works import put

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker")
PICTURE, OTHER_PICTURE = pictures.png(1), pictures.png(2)


@pytest.fixture
def later() -> Iterator[Callable[[float], None]]:
    """Moves the database's clock forward by so many seconds."""
    moved = 0.0

    def move(seconds: float) -> None:
        nonlocal moved
        moved += seconds
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('isekai.now', (clock_timestamp() + make_interval(secs => %s))::text, false)", [moved]
            )

    yield move
    with connection.cursor() as cursor:
        cursor.execute("RESET isekai.now")


@pytest.fixture(autouse=True)
def one_clock(deviantart: FakeDeviantArt) -> None:
    """DeviantArt's clock is the database's, which these tests move."""
    deviantart.now = clock.database_now


@pytest.fixture
def make_picture(make_due: MakeDue) -> MakeDue:
    def make(body: bytes = PICTURE, **fields: Any) -> Deviation:
        work = make_due(body, **fields)
        FileVariant.objects.filter(file__deviation=work).update(perceptual_hash=perceptual_hash(body))
        return work

    return make


def run(work: Deviation) -> Deviation:
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    return work


def make_unconfirmed(deviantart: FakeDeviantArt, work: Deviation, *, committed: bool = True) -> Deviation:
    """Publish with an answer that is lost, after DeviantArt did it or before."""
    deviantart.publish_answers.append((AnswerLost(), "after") if committed else AnswerLost())
    work = run(work)
    assert work.unconfirmed_since is not None
    return work


def test_a_lost_answer_leaves_the_work_unconfirmed_and_free(deviantart: FakeDeviantArt, make_picture: MakeDue):
    work = make_unconfirmed(deviantart, make_picture())
    assert (work.status, work.lease_id) == (Deviation.Status.PUBLISHING, None)
    assert work.next_attempt_at is not None
    assert Attempt.objects.get(step="publish").outcome == Attempt.Outcome.UNKNOWN


def test_the_first_thing_that_follows_a_lost_answer_is_a_look(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture())
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    work = run(work)
    assert deviantart.calls == ["submit", "publish", "gallery"]
    assert work.status == Deviation.Status.PUBLISHED
    publication = work.publications.get()
    assert publication.remote_deviation_id == deviantart.deviations[0].deviation_id
    assert publication.url == deviantart.deviations[0].url


def test_nothing_is_looked_up_before_its_time(deviantart: FakeDeviantArt, make_picture: MakeDue):
    work = make_unconfirmed(deviantart, make_picture())
    run(work)
    assert "gallery" not in deviantart.calls


def test_a_call_that_did_nothing_is_repeated_with_the_same_item_after_its_deadline(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture(), committed=False)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHING
    assert deviantart.calls.count("publish") == 1
    later(settling.repeat_after_seconds())
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert (len(deviantart.items), len(deviantart.deviations)) == (1, 1)


def test_code_9_after_a_lost_answer_means_live_and_its_url_is_found_later(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.gallery_is_behind = True
    work = make_unconfirmed(deviantart, make_picture())
    later(settling.repeat_after_seconds() + 1)
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert work.publications.get().url == ""
    deviantart.gallery_is_behind = False
    later(settings.PUBLISHER_URL_LOOK_SECONDS[0])
    settling.find_urls()
    assert work.publications.get().url == deviantart.deviations[0].url
    assert len(deviantart.deviations) == 1


def test_a_title_alone_settles_nothing(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture(title="Pool"), committed=False)
    deviantart.show("Pool", picture=OTHER_PICTURE)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    work = run(work)
    assert work.status == Deviation.Status.PUBLISHING
    assert Attempt.objects.get(step="look_up").remote_ids == {"found": "other_picture"}


def test_a_work_of_another_application_settles_nothing(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture())
    deviantart.application = "Somebody else's"
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHING


def test_an_old_work_with_the_same_title_and_picture_settles_nothing(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture(title="Pool"), committed=False)
    deviantart.show("Pool", picture=PICTURE, at=clock.database_now() - timedelta(hours=1))
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHING


def test_two_unconfirmed_works_with_one_title_are_not_mixed_up(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    first = make_unconfirmed(deviantart, make_picture(title="Pool"))
    second = make_picture(OTHER_PICTURE, title="Pool", account=first.account, workspace=first.workspace)
    second = make_unconfirmed(deviantart, second)
    for _ in range(4):
        later(settling.repeat_after_seconds())
        run(first)
        run(second)
        settling.find_urls()
    first.refresh_from_db()
    assert {first.status, second.status} == {Deviation.Status.PUBLISHED}
    later(1000 * settings.ISEKAI_TIME_SCALE)
    settling.find_urls()
    urls = [work.publications.get().url for work in (first, second)]
    assert urls == [each.url for each in deviantart.deviations]


def test_two_live_works_with_the_same_title_and_picture_get_their_urls_in_order(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    works = [make_unconfirmed(deviantart, make_picture(title="Pool"))]
    later(settling.repeat_after_seconds())
    works.append(make_picture(title="Pool", account=works[0].account, workspace=works[0].workspace))
    # It would be looked for first; but the other one's call is made before somebody gets to that.
    Deviation.objects.filter(pk=works[0].pk).update(next_attempt_at=clock.database_now() + timedelta(seconds=1))
    make_unconfirmed(deviantart, works[1])
    for _ in range(4):
        later(settling.repeat_after_seconds())
        for work in works:
            run(work)
    later(1000 * settings.ISEKAI_TIME_SCALE)
    settling.find_urls()
    assert [work.publications.get().url for work in works] == [each.url for each in deviantart.deviations]


def test_an_unconfirmed_work_does_not_hold_up_its_account(deviantart: FakeDeviantArt, make_picture: MakeDue):
    work = make_unconfirmed(deviantart, make_picture())
    other = run(make_picture(OTHER_PICTURE, account=work.account, workspace=work.workspace))
    assert other.status == Deviation.Status.PUBLISHED


@pytest.mark.parametrize("error", [RateLimited(retry_after_seconds=1), Unreachable(), ServerFailed(http_status=500)])
def test_a_look_that_is_not_answered_settles_nothing(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
):
    work = make_unconfirmed(deviantart, make_picture())

    def fail(**_options: Any) -> None:
        raise error

    monkeypatch.setattr(deviantart, "gallery_pages", fail)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    work = run(work)
    assert (work.status, work.lease_id) == (Deviation.Status.PUBLISHING, None)
    assert work.unconfirmed_since is not None
    assert work.publications.get().failures == 0


def test_a_definite_no_to_the_repeat_is_a_decision_and_never_a_failure(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture(), committed=False)
    deviantart.publish_answers.append(ItemNotFound(error_code=7))
    later(settling.repeat_after_seconds() + 1)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "unconfirmed")
    assert work.unconfirmed_since is not None
    assert Notification.objects.filter(kind="work_needs_decision").count() == 1


def test_what_never_becomes_known_ends_as_a_decision(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.publish_answers.extend([AnswerLost()] * settings.PUBLISHER_MAX_ATTEMPTS)
    work = run(make_picture())
    for _ in range(3 * settings.PUBLISHER_MAX_ATTEMPTS):
        later(settling.repeat_after_seconds() + 1)
        work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "unconfirmed")
    assert deviantart.calls.count("publish") == settings.PUBLISHER_MAX_ATTEMPTS
    assert deviantart.calls.count("submit") == 1


def test_a_lost_login_while_unconfirmed_keeps_it_unconfirmed(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture())
    DeviantArtAccount.objects.filter(pk=work.account_id).update(state="reauth_required")
    later(settling.repeat_after_seconds())
    work = run(work)
    assert (work.status, work.unconfirmed_since is not None) == (Deviation.Status.PUBLISHING, True)
    DeviantArtAccount.objects.filter(pk=work.account_id).update(state="active")
    assert run(work).status == Deviation.Status.PUBLISHED


@pytest.mark.parametrize("status", ["draft", "failed", "scheduled", "uploading"])
def test_the_database_refuses_to_let_an_unconfirmed_work_become_anything_else(
    deviantart: FakeDeviantArt, make_picture: MakeDue, status: str
):
    work = make_unconfirmed(deviantart, make_picture())
    with pytest.raises(IntegrityError), transaction.atomic():
        Deviation.objects.filter(pk=work.pk).update(status=status, reason_code="refused")


def test_an_account_that_is_told_to_slow_down_while_a_work_is_unconfirmed_is_asked_nothing_more(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture(), committed=False)
    deviantart.publish_answers.append(RateLimited(retry_after_seconds=600))
    later(settling.repeat_after_seconds() + 1)
    run(work)
    calls = len(deviantart.calls)
    later(60)
    run(work)
    assert len(deviantart.calls) == calls


def test_a_refused_repeat_does_not_hide_that_the_first_call_is_unknown(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture())
    deviantart.gallery_is_behind = True
    deviantart.publish_answers.append(Rejected())
    later(settling.repeat_after_seconds() + 1)
    work = run(work)
    assert work.status == Deviation.Status.NEEDS_DECISION
    assert Publication.objects.unconfirmed().filter(deviation=work).exists()


# --- code 6 and the quota -----------------------------------------------------------------------------------------


def failed_to_publish() -> PublicationFailed:
    return PublicationFailed(error_code=6, http_status=400)


def wait_of(work: Deviation) -> float:
    assert work.next_attempt_at is not None
    return (work.next_attempt_at - clock.database_now()) / timedelta(seconds=settings.ISEKAI_TIME_SCALE)


def account_of(work: Deviation) -> DeviantArtAccount:
    return DeviantArtAccount.objects.get(pk=work.account_id)


def test_code_6_is_repeated_after_half_a_minute_and_after_two_each_time_after_a_look(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.publish_answers.extend([failed_to_publish() for _ in range(3)])
    work = make_picture()
    later(0)  # from here on the clock stands still in between
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "try_later")
    assert 24 <= wait_of(work) + 1 <= 37
    later(4)
    work = run(work)
    assert 96 <= wait_of(work) + 1 <= 145
    later(15)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "tried_too_often")
    assert deviantart.calls == ["submit", "publish", "gallery", "publish", "gallery", "publish"]


def test_a_work_that_went_live_in_spite_of_code_6_is_recognised(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.publish_answers.append((failed_to_publish(), "after"))
    work = run(make_picture())
    later(4)
    work = run(work)
    part = work.publications.get()
    assert (work.status, part.url) == (Deviation.Status.PUBLISHED, deviantart.deviations[0].url)
    assert part.stash_items.get().state == "published"
    assert deviantart.calls == ["submit", "publish", "gallery"]


def test_code_6_for_a_second_work_of_the_account_is_a_used_up_quota(deviantart: FakeDeviantArt, make_picture: MakeDue):
    deviantart.publish_answers.extend([failed_to_publish(), failed_to_publish()])
    first = run(make_picture())
    second = run(make_picture(OTHER_PICTURE, account=first.account, workspace=first.workspace))
    account = account_of(first)
    assert (account.not_before_reason, second.reason_code) == ("quota", "quota")
    assert (second.status, second.publications.get().failures) == (Deviation.Status.SCHEDULED, 0)
    assert Notification.objects.filter(kind="account_quota").count() == 1


def test_code_6_for_works_of_two_accounts_is_no_quota(deviantart: FakeDeviantArt, make_picture: MakeDue):
    deviantart.publish_answers.extend([failed_to_publish(), failed_to_publish()])
    works = [run(make_picture()), run(make_picture(OTHER_PICTURE))]
    assert [work.reason_code for work in works] == ["try_later", "try_later"]


def test_code_6_of_more_than_an_hour_ago_says_nothing_about_today(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.publish_answers.extend([failed_to_publish(), failed_to_publish()])
    first = run(make_picture())
    Deviation.objects.filter(pk=first.pk).update(next_attempt_at="2100-01-01T00:00:00Z")
    later(3601 * settings.ISEKAI_TIME_SCALE)
    second = run(make_picture(OTHER_PICTURE, account=first.account, workspace=first.workspace))
    assert second.reason_code == "try_later"


def test_a_used_up_quota_holds_the_account_until_its_owners_midnight(
    deviantart: FakeDeviantArt, make_picture: MakeDue, settings: Any
):
    settings.ISEKAI_TIME_SCALE = 1
    deviantart.publish_answers.append(QuotaExceeded())
    work = make_picture()
    User.objects.filter(memberships__workspace=work.workspace_id).update(time_zone="Pacific/Auckland")
    run(work)
    expected = next_midnight(clock.database_now(), "Pacific/Auckland")
    assert account_of(work).not_before == expected


@pytest.mark.parametrize(
    ("now", "zone", "midnight"),
    [
        ("2026-05-01T12:00:00Z", "UTC", "2026-05-02T00:00:00Z"),
        ("2026-05-01T22:30:00Z", "Europe/Berlin", "2026-05-02T22:00:00Z"),
        ("2026-05-02T22:00:00Z", "Europe/Berlin", "2026-05-03T22:00:00Z"),
        # A day of 25 hours, and a night whose clocks skip midnight.
        ("2026-10-24T22:00:00Z", "Europe/Berlin", "2026-10-25T23:00:00Z"),
        ("2018-11-03T12:00:00Z", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ],
)
def test_midnight_is_where_the_clocks_change_their_day(now: str, zone: str, midnight: str):
    assert next_midnight(datetime.fromisoformat(now), zone) == datetime.fromisoformat(midnight)


def test_a_quota_holds_for_a_day_at_the_longest(deviantart: FakeDeviantArt, make_picture: MakeDue):
    deviantart.publish_answers.append(QuotaExceeded())
    work = run(make_picture())
    until = account_of(work).not_before
    assert until is not None
    assert until <= clock.database_now() + timedelta(hours=24) * settings.ISEKAI_TIME_SCALE


def test_code_6_for_the_repeat_of_an_unknown_call_becomes_a_decision_in_the_end_and_no_failure(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture(), committed=False)
    deviantart.publish_answers.extend([failed_to_publish() for _ in range(3)])
    for _ in range(6):
        later(15)
        work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "unconfirmed")
    assert deviantart.calls == ["submit", "publish", *["gallery", "publish"] * 3]


# --- answers that nobody understands ------------------------------------------------------------------------------


def test_an_upload_that_is_answered_strangely_is_tried_three_times_more_and_the_operator_told(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.submit_answers.extend([Unexpected(description="Tea?") for _ in range(4)])
    work, waits = make_picture(), []
    later(0)  # from here on the clock stands still in between
    for _ in range(3):
        work = run(work)
        waits.append(wait_of(work))
        later(4)
    assert [4 <= waits[0] <= 6, 12 <= waits[1] <= 18, 24 <= waits[2] <= 36] == [True] * 3
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.FAILED, "tried_too_often")
    assert Notification.objects.filter(kind="answer_not_understood").count() == 1


def test_a_publish_call_that_is_answered_strangely_is_looked_for_before_it_is_repeated(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.publish_answers.append((Unexpected(outcome=Outcome.NO, http_status=418), "after"))
    work = run(make_picture())
    later(1)
    assert run(work).status == Deviation.Status.PUBLISHED
    assert deviantart.calls == ["submit", "publish", "gallery"]


# --- what a look may cost -----------------------------------------------------------------------------------------


def test_a_look_in_a_long_gallery_has_an_end(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
):
    work = make_unconfirmed(deviantart, make_picture(title="Pool"))
    pages = 0

    def endless(**_options: Any) -> Iterator[Any]:
        nonlocal pages
        newer = [replace(deviantart.deviations[0], deviation_id=f"D{n}", title="Other") for n in range(24)]
        for pages in range(1, 417):
            yield Page(tuple(newer), next_offset=24 * pages, date=deviantart.now())

    monkeypatch.setattr(deviantart, "gallery_pages", endless)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    run(work)
    assert Attempt.objects.get(step="look_up").remote_ids == {"found": "too_much_to_read"}
    assert pages == recognising.PAGES_MOST


def test_a_look_that_the_pace_always_breaks_off_does_not_keep_the_same_item_from_its_repeat(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
):
    work = make_unconfirmed(deviantart, make_picture(title="Pool"), committed=False)

    def broken_off(**_options: Any) -> None:
        raise NotYet(0.01, reason="pace")

    monkeypatch.setattr(deviantart, "gallery_pages", broken_off)
    later(settling.repeat_after_seconds())
    assert run(work).status == Deviation.Status.PUBLISHING
    later(0.1)
    assert run(work).status == Deviation.Status.PUBLISHED
    assert (deviantart.calls.count("publish"), len(deviantart.deviations)) == (2, 1)


@pytest.mark.parametrize("ended", [{}, {"outcome": "unknown", "remote_ids": {"why": "service_stopped"}}])
def test_a_look_whose_process_died_or_was_stopped_is_made_again_before_the_same_item_is_repeated(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None], ended: dict[str, Any]
):
    work = make_unconfirmed(deviantart, make_picture(title="Pool"))
    later(settling.repeat_after_seconds())
    now = clock.database_now()
    Attempt.objects.create(
        publication=work.publications.get(),
        step=Attempt.Step.LOOK_UP,
        lease_id=new_id(),
        worker_id=new_id(),
        started_at=now,
        ended_at=now if ended else None,
        **ended,
    )
    assert run(work).status == Deviation.Status.PUBLISHED
    assert deviantart.calls == ["submit", "publish", "gallery"]


# --- who may be meant ---------------------------------------------------------------------------------------------


def test_a_work_that_appeared_long_after_the_call_settles_nothing(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = make_unconfirmed(deviantart, make_picture(title="Pool"), committed=False)
    Deviation.objects.filter(pk=work.pk).update(next_attempt_at=clock.database_now() + timedelta(seconds=300))
    later(300)
    deviantart.show("Pool", picture=PICTURE)
    run(work)
    assert Attempt.objects.get(step="look_up").remote_ids == {"found": "none"}


def test_a_work_with_the_same_title_that_was_certainly_refused_does_not_stand_in_the_way(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    deviantart.publish_answers.append(Rejected())
    refused = run(make_picture(title="Pool"))
    work = make_picture(OTHER_PICTURE, title="Pool", account=refused.account, workspace=refused.workspace)
    work = make_unconfirmed(deviantart, work)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHED
    assert deviantart.calls.count("publish") == 2


def test_a_work_of_which_a_part_is_live_and_another_cannot_be_known_is_a_decision_about_the_part(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    work = run(make_due_in_parts(make_picture))
    deviantart.publish_answers.extend([AnswerLost(), ItemNotFound(error_code=7)])
    work = run(work)
    later(settling.repeat_after_seconds() + 1)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "partial")
    assert work.reason_params["cause"] == "unconfirmed"


def make_due_in_parts(make_picture: MakeDue) -> Deviation:
    work = make_picture(upload_mode=Deviation.UploadMode.MULTIPLE)
    put(PublishVariantFactory(file=DeviationFileFactory(deviation=work)).file, OTHER_PICTURE)
    return work


@pytest.fixture
def cut_off(make_picture: MakeDue) -> tuple[Deviation, Attempt]:
    """A work for the stash alone, and its upload, whose process is gone or stopped."""
    work = make_picture(stash_only=True)
    part = Publication.objects.create(
        deviation=work, file=work.files.get(), account_id=work.account_id, state="submitting"
    )
    attempt = Attempt.objects.create(
        publication=part, step="submit", lease_id=new_id(), worker_id=new_id(), started_at=clock.now()
    )
    return work, attempt


def test_a_stash_only_work_whose_process_died_in_its_upload_is_a_decision_once_the_call_is_over(
    deviantart: FakeDeviantArt, cut_off: tuple[Deviation, Attempt], later: Callable[[float], None]
):
    work, attempt = cut_off
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.SCHEDULED, "stash_unconfirmed")
    over_in = settings.DEVIANTART_SUBMIT_DEADLINE_SECONDS + settings.PUBLISHER_REPEAT_MARGIN_SECONDS
    assert over_in * 0.9 < wait_of(work) * settings.ISEKAI_TIME_SCALE <= over_in
    later(over_in + 1)
    work = run(work)
    assert (work.status, work.reason_code) == (Deviation.Status.NEEDS_DECISION, "stash_unconfirmed")
    assert deviantart.calls == []
    attempt.refresh_from_db()
    assert attempt.outcome == Attempt.Outcome.UNKNOWN


def fingerprint_of(work: Deviation) -> str:
    part = work.publications.select_related("file").get()
    variant = FileVariant.objects.get(file=part.file, kind=FileVariant.Kind.PUBLISH)
    assert work.account_id is not None
    return submission_of(part, work, variant).fingerprint(work.account_id)


def test_the_answer_that_comes_late_settles_it_and_asks_nobody(
    deviantart: FakeDeviantArt, cut_off: tuple[Deviation, Attempt], later: Callable[[float], None]
):
    work, attempt = cut_off
    work = run(work)
    evidence.close_submitted(attempt, SubmitReceipt(5_000_000_000_000_001), fingerprint=fingerprint_of(work))
    later(settings.DEVIANTART_SUBMIT_DEADLINE_SECONDS + settings.PUBLISHER_REPEAT_MARGIN_SECONDS + 1)
    work = run(work)
    assert (work.status, deviantart.calls) == (Deviation.Status.PUBLISHED, [])


# --- rivals that a person has settled -----------------------------------------------------------------------------


@pytest.fixture
def make_undecided(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
) -> Callable[[], Deviation]:
    """Makes a work that may be live or not, as its owner was asked about; DeviantArt did nothing."""

    def make() -> Deviation:
        work = make_unconfirmed(deviantart, make_picture(title="Pool"), committed=False)
        deviantart.publish_answers.append(ItemNotFound(error_code=7))
        later(settling.repeat_after_seconds() + 1)
        work = run(work)
        assert work.status == Deviation.Status.NEEDS_DECISION
        later(settling.repeat_after_seconds() + 1)
        return work

    return make


def say_where_it_is(work: Deviation, monkeypatch: pytest.MonkeyPatch) -> str:
    """A person sees it there, and we do not."""
    assert work.account is not None
    monkeypatch.setattr(confirming, "look_for", lambda *_arguments: confirming.Sighting(None))
    url = f"{work.account.base_url}/{work.account.username}/art/Pool-4711"
    confirming.confirm_live(work, user=None, url=url, by_hand=True)
    return url


def test_a_rival_of_which_nobody_has_said_what_became_of_it_stands_in_the_way(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    make_undecided: Callable[[], Deviation],
    later: Callable[[float], None],
):
    rival = make_undecided()
    work = make_picture(OTHER_PICTURE, title="Pool", account=rival.account, workspace=rival.workspace)
    make_unconfirmed(deviantart, work)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHING
    assert work.publications.get().attempts.get(step="look_up").remote_ids == {"found": "rivals"}


def test_a_rival_that_a_person_said_is_not_live_does_not_stand_in_the_way(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    make_undecided: Callable[[], Deviation],
    later: Callable[[float], None],
):
    rival = make_undecided()
    deciding.decide(rival, deciding.Way.DRAFT, user=None, not_live=True)
    work = make_picture(OTHER_PICTURE, title="Pool", account=rival.account, workspace=rival.workspace)
    make_unconfirmed(deviantart, work)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHED
    assert work.publications.get().remote_deviation_id == deviantart.deviations[0].deviation_id


def test_a_rival_that_is_in_doubt_again_after_a_person_settled_it_stands_in_the_way_again(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    make_undecided: Callable[[], Deviation],
    later: Callable[[float], None],
):
    rival = make_undecided()
    deciding.decide(rival, deciding.Way.PUBLISH_NOW, user=None, not_live=True)
    make_unconfirmed(deviantart, rival, committed=False)
    work = make_picture(OTHER_PICTURE, title="Pool", account=rival.account, workspace=rival.workspace)
    make_unconfirmed(deviantart, work)
    Deviation.objects.filter(pk=rival.pk).update(next_attempt_at="2100-01-01T00:00:00Z")
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHING
    assert work.publications.get().attempts.get(step="look_up").remote_ids == {"found": "rivals"}


def test_a_rival_that_a_person_marked_live_does_not_stand_in_the_way(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    make_undecided: Callable[[], Deviation],
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
):
    rival = make_undecided()
    say_where_it_is(rival, monkeypatch)
    work = make_picture(OTHER_PICTURE, title="Pool", account=rival.account, workspace=rival.workspace)
    make_unconfirmed(deviantart, work)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHED
    assert work.publications.get().remote_deviation_id == deviantart.deviations[0].deviation_id


def test_where_a_person_said_one_work_is_no_other_one_is_found(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    make_undecided: Callable[[], Deviation],
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
):
    double = make_undecided()
    url = say_where_it_is(double, monkeypatch)
    work = make_picture(title="Pool", account=double.account, workspace=double.workspace)
    make_unconfirmed(deviantart, work, committed=False)
    shown = deviantart.show("Pool", picture=PICTURE)
    deviantart.deviations[-1] = replace(shown, url=url)
    later(settings.PUBLISHER_LOOK_SECONDS[0])
    assert run(work).status == Deviation.Status.PUBLISHING
    assert work.publications.get().attempts.get(step="look_up").remote_ids == {"found": "none"}


def test_a_live_work_gets_its_address_beside_a_double_that_a_person_marked_live(
    deviantart: FakeDeviantArt,
    make_picture: MakeDue,
    make_undecided: Callable[[], Deviation],
    later: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
):
    double = make_undecided()
    url = say_where_it_is(double, monkeypatch)
    work = make_picture(title="Pool", account=double.account, workspace=double.workspace)
    deviantart.gallery_is_behind = True
    make_unconfirmed(deviantart, work)
    later(settling.repeat_after_seconds() + 1)
    assert run(work).status == Deviation.Status.PUBLISHED
    deviantart.gallery_is_behind = False
    (made,) = deviantart.deviations
    shown = deviantart.show("Pool", picture=PICTURE)
    deviantart.deviations[-1] = replace(shown, url=url)
    later(1000 * settings.ISEKAI_TIME_SCALE)
    settling.find_urls()
    assert work.publications.get().url == made.url


# --- doubles ------------------------------------------------------------------------------------------------------

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
calls_of_a_work = st.lists(st.integers(0, 300), min_size=1, max_size=3, unique=True).map(sorted)


@given(works=st.lists(calls_of_a_work, min_size=2, max_size=4), data=st.data())
@hypothesis.settings(max_examples=300, derandomize=True, database=None)
def test_doubles_are_never_taken_for_each_other(works: list[list[int]], data: st.DataObject):
    """Whichever of its calls made a work live, and whenever within the call: the answer is right, or there is none."""
    windows = [[(moment(call), moment(call + 75)) for call in calls] for calls in works]
    truth = [moment(data.draw(st.sampled_from(calls)) + data.draw(st.integers(0, 75))) for calls in works]
    shuffled = data.draw(st.permutations(range(len(truth))))
    order = recognising.only_assignment(windows, [truth[place] for place in shuffled])
    if order is not None:
        assert [truth[shuffled[index]] for index in order] == truth


def moment(seconds: int) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def test_doubles_whose_calls_leave_two_ways_get_no_address_rather_than_a_wrong_one(
    deviantart: FakeDeviantArt, make_picture: MakeDue, later: Callable[[float], None]
):
    first = make_unconfirmed(deviantart, make_picture(title="Pool"), committed=False)
    second = make_picture(title="Pool", account=first.account, workspace=first.workspace)
    make_unconfirmed(deviantart, second)
    deviantart.publish_answers.append((AnswerLost(), "after"))
    for _ in range(4):
        later(settling.repeat_after_seconds())
        for work in (first, second):
            run(work)
    later(1000 * settings.ISEKAI_TIME_SCALE)
    settling.find_urls()
    assert len(deviantart.items) == len(deviantart.deviations) == 2
    for work in (first, second):
        part = work.publications.get()
        assert part.is_live
        assert part.remote_deviation_id in {None, deviantart.made[part.stash_items.get().item_id]}
