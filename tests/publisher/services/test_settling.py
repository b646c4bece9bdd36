"""Works of which nobody knows whether they are live."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction

from accounts.models import DeviantArtAccount, Notification
from deviantart.errors import AnswerLost, ItemNotFound, RateLimited, Rejected, ServerFailed, Unreachable
from deviations.media.perceptual import perceptual_hash
from deviations.models import Deviation, FileVariant
from isekai import clock
from publisher.models import Attempt, Publication
from publisher.services import publishing, settling
from tests import pictures
from tests.fakes import FakeDeviantArt

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
