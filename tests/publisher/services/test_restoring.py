"""A database that has forgotten publishes: noticed, held, compared with the galleries, and let go on."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from accounts.errors import LoginLost
from accounts.models import AuditEvent, DeviantArtAccount, Notification
from accounts.services.tokens import Token
from deviantart.errors import AnswerLost, RateLimited, Rejected, Unreachable
from deviations import storage
from deviations.errors import StorageUnavailable
from deviations.media.perceptual import perceptual_hash
from deviations.models import Deviation, FileVariant
from isekai import clock
from publisher.models import Attempt, GalleryCheck, InstallationHold, Publication, StashItem, Worker
from publisher.services import marks, publishing, restoring
from publisher.services.holds import able_accounts
from publisher.services.marks import Mark
from publisher.services.settling import repeat_after_seconds
from tests import pictures
from tests.factories import DeviantArtAccountFactory
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]
Status = Deviation.Status
PICTURE, OTHER_PICTURE = pictures.png(1), pictures.png(2)


@pytest.fixture(autouse=True)
def installation(transactional_db: None) -> Iterator[None]:
    """One that no other test has left marks of."""
    marks.become_another_installation()
    yield
    marks.flush(5)
    marks.forget_everything()


@pytest.fixture(autouse=True)
def gallery(deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch) -> FakeDeviantArt:
    monkeypatch.setattr(restoring, "client_for", lambda _account, _token: deviantart)
    monkeypatch.setattr(restoring, "usable_token", lambda _account_id, **_options: Token("token", 1))
    return deviantart


@pytest.fixture
def make(make_due: MakeDue) -> MakeDue:
    """Makes due works with a picture that can be recognised."""

    def make(body: bytes = PICTURE, *, at: str = "", **fields: Any) -> Deviation:
        work = make_due(body, **fields)
        FileVariant.objects.filter(file__deviation=work).update(perceptual_hash=perceptual_hash(body))
        if at:
            Deviation.objects.filter(pk=work.pk).update(status=at, **_as(at))
        work.refresh_from_db()
        return work

    return make


def _as(status: str) -> dict[str, Any]:
    return {"reason_code": "validation"} if status in {"failed", "needs_decision"} else {}


def lose(account: DeviantArtAccount | None, *, since: timedelta = timedelta(hours=1)) -> GalleryCheck:
    """The account's gallery has to be compared from so long ago on, now."""
    assert account is not None
    return GalleryCheck.objects.create(account=account, published_after=clock.now() - since)


def compare(mark: Mark | None = None) -> bool:
    """As a process that begins does, with what others have written down."""
    if mark is not None:
        marks._write_to_redis(marks.installation_name(), mark)
    marks.forget_everything()
    return restoring.compare_with_mark()


def run(work: Deviation) -> None:
    """What a wake-up of its account does."""
    assert work.account_id is not None
    publishing.publish_next(work.account_id)


def fresh(work: Deviation) -> Deviation:
    work.refresh_from_db()
    return work


# --- noticing --------------------------------------------------------------------------------------------------------
def test_a_database_that_knows_everything_goes_on_at_once(make: MakeDue):
    make()
    assert compare()
    assert not GalleryCheck.objects.exists()
    assert not InstallationHold.objects.exists()


def test_a_database_that_is_behind_has_every_account_checked_before_anything_goes_out(make: MakeDue):
    one, other = make(), make()
    lost = DeviantArtAccountFactory(state=DeviantArtAccount.State.REAUTH_REQUIRED)
    assert not compare(Mark((4711,), clock.now()))
    checked = set(GalleryCheck.objects.pending().values_list("account_id", flat=True))
    assert checked == {one.account_id, other.account_id, lost.pk}
    assert not DeviantArtAccount.objects.filter(able_accounts()).exists()
    # The accounts are held one by one from now on: nobody waits for somebody else.
    assert not InstallationHold.objects.exists()


def test_the_galleries_are_read_from_the_last_publish_that_the_database_knows(make: MakeDue):
    work = make()
    last = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    Publication.objects.create(deviation=work, account=work.account, state="published", published_at=last)
    compare(Mark((4711,), clock.now()))
    assert GalleryCheck.objects.get().published_after == last - restoring.MARGIN


def test_without_any_publish_they_are_read_from_when_the_account_was_connected(make: MakeDue):
    work = make()
    compare(Mark((4711,), clock.now()))
    assert work.account is not None
    assert GalleryCheck.objects.get().published_after == work.account.connected_at


def test_no_gallery_is_trusted_before_calls_that_nobody_remembers_are_over(make: MakeDue):
    make()
    compare(Mark((4711,), clock.now()))
    wait = GalleryCheck.objects.get().next_try_at - clock.now()
    assert wait > timedelta(seconds=repeat_after_seconds() - 1)
    assert restoring.check_galleries() == 0


def test_new_attempts_get_ids_behind_those_that_are_forgotten(make: MakeDue):
    work = make()
    compare(Mark((4711,), clock.now()))
    part = Publication.objects.create(deviation=work, account=work.account)
    attempt = Attempt.objects.create(
        publication=part, step="publish", started_at=clock.now(), lease_id=uuid4(), worker_id=uuid4()
    )
    assert attempt.pk > 4711 + restoring.GAP


def test_operators_are_told_once_and_it_stays_in_the_audit_trail(make: MakeDue):
    make()
    compare(Mark((4711,), clock.now()))
    compare()
    assert Notification.objects.filter(kind="database_restored").count() == 1
    (event,) = AuditEvent.objects.filter(verb=marks.FORGOTTEN)
    assert event.params == {"attempt_id": 4711 + restoring.GAP, "accounts": 1}


def test_what_was_dealt_with_is_not_dealt_with_again(make: MakeDue):
    make()
    compare(Mark((4711,), clock.now()))
    GalleryCheck.objects.update(done_at=clock.now())
    assert compare()
    assert not GalleryCheck.objects.pending().exists()


def test_a_second_restore_reads_back_to_the_earlier_of_both_moments(make: MakeDue):
    work = make()
    check = lose(work.account, since=timedelta(hours=1))
    compare(Mark((4711,), clock.now()))
    check.refresh_from_db()
    assert work.account is not None
    assert check.published_after == min(work.account.connected_at, check.published_after)
    assert GalleryCheck.objects.count() == 1


def test_two_processes_that_notice_it_together_make_one_check_for_each_account(make: MakeDue):
    for _number in range(3):
        make()
    mark = Mark((4711,), clock.now())
    barrier = threading.Barrier(2)
    errors: list[BaseException] = []

    def notice() -> None:
        try:
            barrier.wait(10)
            restoring.begin_restoring(mark)
        except BaseException as error:  # noqa: BLE001 - for the test to see
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=notice) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert GalleryCheck.objects.count() == 3
    assert AuditEvent.objects.filter(verb=marks.FORGOTTEN).count() == 1


def test_a_hold_whose_process_died_is_carried_on_by_the_next_tick(make: MakeDue):
    work = make()
    InstallationHold.objects.create(reason="restored", params={"attempt_id": 4711, "published_at": None})
    restoring.check_galleries()
    assert not InstallationHold.objects.exists()
    assert GalleryCheck.objects.pending().filter(account=work.account).exists()


def test_nothing_of_an_account_that_must_be_checked_is_claimed(make: MakeDue, worker: Worker, gallery: FakeDeviantArt):
    work = make()
    compare(Mark((4711,), clock.now()))
    run(work)
    assert fresh(work).status == Status.SCHEDULED
    assert gallery.calls == []


def test_a_running_process_claims_nothing_from_a_database_that_forgot_what_it_did(
    make: MakeDue, worker: Worker, gallery: FakeDeviantArt
):
    work = make()
    compare()
    run(work)
    assert fresh(work).status == Status.PUBLISHED
    next_work = make(OTHER_PICTURE, account=work.account, workspace=work.workspace)
    # As in the backup: the attempt is not there yet.
    Attempt.objects.filter(step="publish").delete()
    run(work)
    assert fresh(next_work).status == Status.SCHEDULED
    assert gallery.calls.count("publish") == 1


# --- the checks ------------------------------------------------------------------------------------------------------
def test_a_work_that_the_gallery_shows_is_recognised_and_never_published_again(
    make: MakeDue, worker: Worker, gallery: FakeDeviantArt
):
    work = make(title="Pool")
    shown = gallery.show("Pool", picture=PICTURE)
    lose(work.account)
    assert restoring.check_galleries() == 1
    part = Publication.objects.get()
    assert (part.state, part.remote_deviation_id, part.url) == ("published", shown.deviation_id, shown.url)
    assert fresh(work).status == Status.PUBLISHED
    assert AuditEvent.objects.filter(verb="deviation.recognised_after_restore", subject_id=work.pk).exists()
    run(work)
    assert "publish" not in gallery.calls


@pytest.mark.parametrize("status", ["scheduled", "needs_decision", "failed", "draft"])
def test_it_is_recognised_in_whatever_state_the_database_remembers_it(
    make: MakeDue, gallery: FakeDeviantArt, status: str
):
    work = make(title="Pool", at=status)
    gallery.show("Pool", picture=PICTURE)
    lose(work.account)
    restoring.check_galleries()
    assert fresh(work).status == Status.PUBLISHED


def test_an_account_whose_gallery_shows_nothing_new_goes_on(make: MakeDue, worker: Worker, gallery: FakeDeviantArt):
    work = make()
    gallery.show("Something old", at=clock.now() - timedelta(days=9))
    lose(work.account)
    restoring.check_galleries()
    assert not GalleryCheck.objects.pending().exists()
    run(work)
    assert fresh(work).status == Status.PUBLISHED


def test_what_we_know_already_is_nobodys_double(make: MakeDue, gallery: FakeDeviantArt):
    live = make(title="Pool")
    Deviation.objects.filter(pk=live.pk).update(status="published", published_at=clock.now())
    twin = make(title="Pool", account=live.account, workspace=live.workspace)
    shown = gallery.show("Pool", picture=PICTURE)
    Publication.objects.create(
        deviation=live,
        account=live.account,
        state="published",
        published_at=clock.now(),
        remote_deviation_id=shown.deviation_id,
    )
    lose(live.account)
    restoring.check_galleries()
    assert fresh(twin).status == Status.SCHEDULED


def test_works_that_cannot_be_told_apart_are_asked_about(make: MakeDue, gallery: FakeDeviantArt):
    one = make(title="Pool")
    other = make(title="Pool", account=one.account, workspace=one.workspace)
    gallery.show("Pool", picture=PICTURE)
    lose(one.account)
    restoring.check_galleries()
    for work in (one, other):
        assert (fresh(work).status, work.reason_code) == (Status.NEEDS_DECISION, "restored")
        assert Notification.objects.filter(kind="work_needs_decision", params__deviation_id=str(work.pk)).exists()


def test_works_with_one_title_are_told_apart_by_their_pictures(make: MakeDue, gallery: FakeDeviantArt):
    one = make(PICTURE, title="Study")
    other = make(OTHER_PICTURE, title="Study", account=one.account, workspace=one.workspace)
    gallery.show("Study", picture=OTHER_PICTURE)
    lose(one.account)
    restoring.check_galleries()
    assert (fresh(one).status, fresh(other).status) == (Status.SCHEDULED, Status.PUBLISHED)


def test_a_work_whose_title_was_changed_meanwhile_is_asked_about(make: MakeDue, gallery: FakeDeviantArt):
    work = make(PICTURE, title="Before")
    gallery.show("After", picture=PICTURE)
    lose(work.account)
    restoring.check_galleries()
    assert (fresh(work).status, work.reason_code) == (Status.NEEDS_DECISION, "restored")


def test_what_was_made_with_another_application_is_not_ours(make: MakeDue, gallery: FakeDeviantArt, settings: Any):
    work = make(title="Pool")
    gallery.show("Pool", picture=PICTURE)
    settings.DEVIANTART_APPLICATION_NAME = "Another"
    lose(work.account)
    restoring.check_galleries()
    assert fresh(work).status == Status.SCHEDULED


def test_without_a_name_of_our_application_nothing_is_certain(make: MakeDue, gallery: FakeDeviantArt, settings: Any):
    work = make(title="Pool")
    gallery.show("Pool", picture=PICTURE)
    settings.DEVIANTART_APPLICATION_NAME = ""
    lose(work.account)
    restoring.check_galleries()
    assert fresh(work).status == Status.NEEDS_DECISION


def test_a_work_that_was_shown_before_its_time_is_asked_about(make: MakeDue, gallery: FakeDeviantArt):
    later = clock.now() + timedelta(days=3)
    work = make(title="Pool", scheduled_at=later)
    gallery.show("Pool", picture=PICTURE)
    lose(work.account)
    restoring.check_galleries()
    assert (fresh(work).status, work.reason_code) == (Status.NEEDS_DECISION, "restored")


# --- what no gallery shows -------------------------------------------------------------------------------------------
def forget(*works: Deviation, **fields: Any) -> None:
    """What the database would say of these works had it been put back to before they went out."""
    for work in works:
        Attempt.objects.filter(publication__deviation=work).delete()
        StashItem.objects.filter(publication__deviation=work).delete()
        Publication.objects.filter(deviation=work).delete()
        restored = {"status": "scheduled", "stash_only": True, "publish_at": work.publish_at, "published_at": None}
        Deviation.objects.filter(pk=work.pk).update(**restored | fields)


@pytest.fixture
def sleeper(make: MakeDue, worker: Worker) -> Deviation:
    """A work that is meant for the stash alone."""
    return make(title="Rest", stash_only=True)


def test_what_was_put_into_the_stash_in_the_time_that_is_forgotten_lies_there(
    sleeper: Deviation, gallery: FakeDeviantArt
):
    run(sleeper)
    (item_id,) = gallery.items
    forget(sleeper)
    lose(sleeper.account)
    restoring.check_galleries()
    assert fresh(sleeper).status == Status.PUBLISHED
    assert StashItem.objects.get(publication__deviation=sleeper).item_id == item_id
    run(sleeper)
    assert gallery.calls.count("submit") == 1


def test_what_was_not_begun_goes_out_after_the_check(sleeper: Deviation, gallery: FakeDeviantArt):
    lose(sleeper.account)
    restoring.check_galleries()
    assert fresh(sleeper).status == Status.SCHEDULED
    run(sleeper)
    assert (fresh(sleeper).status, gallery.calls.count("submit")) == (Status.PUBLISHED, 1)


def test_an_upload_into_the_stash_of_which_nobody_wrote_the_end_is_asked_about(
    sleeper: Deviation, gallery: FakeDeviantArt
):
    gallery.submit_answers.append((AnswerLost(), "after"))
    run(sleeper)
    forget(sleeper, reason_code="")
    lose(sleeper.account)
    restoring.check_galleries()
    assert (fresh(sleeper).status, sleeper.reason_code) == (Status.NEEDS_DECISION, "restored")


def test_an_upload_into_the_stash_that_was_refused_is_not_asked_about(sleeper: Deviation, gallery: FakeDeviantArt):
    gallery.submit_answers.append(Rejected(description="No."))
    run(sleeper)
    forget(sleeper, reason_code="")
    lose(sleeper.account)
    restoring.check_galleries()
    assert fresh(sleeper).status == Status.SCHEDULED


def test_a_draft_that_went_into_the_stash_in_the_time_that_is_forgotten_is_one_no_more(sleeper: Deviation):
    run(sleeper)
    forget(sleeper, status="draft", stash_only=None, publish_at=None)
    lose(sleeper.account)
    restoring.check_galleries()
    assert (fresh(sleeper).status, sleeper.stash_only) == (Status.PUBLISHED, True)


def test_of_a_work_of_which_a_part_lies_in_the_stash_the_rest_follows(
    make_due: MakeDue, worker: Worker, gallery: FakeDeviantArt
):
    work = make_due(PICTURE, OTHER_PICTURE, title="Pair", stash_only=True, upload_mode="multiple")
    run(work)
    forget(work)
    lose(work.account)
    restoring.check_galleries()
    assert (fresh(work).status, Publication.objects.live().count()) == (Status.PUBLISHING, 1)
    run(work)
    assert (fresh(work).status, gallery.calls.count("submit")) == (Status.PUBLISHED, 2)


def test_what_the_database_knows_of_the_stash_is_left_as_it_is(sleeper: Deviation):
    run(sleeper)
    lose(sleeper.account)
    before = list(StashItem.objects.values()), list(Publication.objects.values())
    restoring.check_galleries()
    assert (list(StashItem.objects.values()), list(Publication.objects.values())) == before


def test_an_account_waits_while_its_deposits_cannot_be_read(sleeper: Deviation, monkeypatch: pytest.MonkeyPatch):
    check = lose(sleeper.account)

    def away(*_arguments: Any, **_options: Any) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(storage, "read_notes", away)
    restoring.check_galleries()
    check.refresh_from_db()
    assert check.done_at is None
    assert check.next_try_at > clock.now()


def test_deposits_of_another_workspace_say_nothing(sleeper: Deviation, make: MakeDue, worker: Worker):
    stranger = make(title="Theirs", stash_only=True)
    assert sleeper.account_id is not None
    folder = storage.deposits_folder(marks.installation_name(), sleeper.account_id)
    storage.write_note(folder, f"{stranger.files.get().pk}.x", b'{"item_id": 1, "fingerprint": "f"}')
    lose(sleeper.account)
    restoring.check_galleries()
    assert fresh(stranger).status == Status.SCHEDULED


@pytest.fixture
def pair(make_due: MakeDue, gallery: FakeDeviantArt) -> Deviation:
    """A work of two files, of which the gallery shows the first."""
    work = make_due(PICTURE, OTHER_PICTURE, title="Pair", upload_mode="multiple")
    for file, body in zip(work.files.order_by("position"), (PICTURE, OTHER_PICTURE), strict=True):
        FileVariant.objects.filter(file=file).update(perceptual_hash=perceptual_hash(body))
    gallery.show("Pair", picture=PICTURE)
    return work


def test_of_a_work_of_which_a_part_is_found_the_rest_follows(pair: Deviation, worker: Worker, gallery: FakeDeviantArt):
    lose(pair.account)
    restoring.check_galleries()
    assert (fresh(pair).status, pair.unconfirmed_since) == (Status.PUBLISHING, None)
    assert Publication.objects.live().count() == 1
    run(pair)
    assert (fresh(pair).status, gallery.calls.count("publish")) == (Status.PUBLISHED, 1)


def test_a_rest_of_which_nobody_knows_is_looked_for_as_ever(pair: Deviation, gallery: FakeDeviantArt):
    second = pair.files.order_by("position").last()
    assert second is not None
    part = Publication.objects.create(deviation=pair, file=second, account_id=pair.account_id, state="publishing")
    Attempt.objects.create(
        publication=part, step="publish", lease_id=uuid4(), worker_id=uuid4(), started_at=clock.now()
    )
    now = clock.now()
    Deviation.objects.filter(pk=pair.pk).update(status="publishing", unconfirmed_since=now, next_attempt_at=now)
    lose(pair.account)
    restoring.check_galleries()
    assert (fresh(pair).status, pair.reason_code, pair.unconfirmed_since) == (Status.PUBLISHING, "unconfirmed", now)


def test_a_draft_of_which_a_part_is_found_is_asked_about(pair: Deviation):
    Deviation.objects.filter(pk=pair.pk).update(status="draft")
    lose(pair.account)
    restoring.check_galleries()
    assert (fresh(pair).status, pair.reason_code) == (Status.NEEDS_DECISION, "restored")
    assert Publication.objects.live().count() == 1


def test_a_work_that_was_moved_away_since_while_a_part_of_it_is_found_is_asked_about(pair: Deviation, worker: Worker):
    lose(pair.account)
    Deviation.objects.filter(pk=pair.pk).update(account=neighbour_of(pair.account))
    restoring.check_galleries()
    assert (fresh(pair).status, pair.reason_code) == (Status.NEEDS_DECISION, "restored")
    assert Publication.objects.live().count() == 1


def test_a_rest_whose_time_has_not_come_is_asked_about(pair: Deviation, worker: Worker, settings: Any):
    # So little later than the part appeared that it is still recognised.
    at = clock.now() + timedelta(seconds=settings.PUBLISHER_MATCH_SECONDS / 2)
    Deviation.objects.filter(pk=pair.pk).update(scheduled_at=at, publish_at=at)
    lose(pair.account)
    restoring.check_galleries()
    assert (fresh(pair).status, pair.reason_code) == (Status.NEEDS_DECISION, "restored")
    assert Publication.objects.live().count() == 1


def test_a_rest_that_the_gallery_may_show_is_asked_about(pair: Deviation, gallery: FakeDeviantArt):
    gallery.show("Another title", picture=OTHER_PICTURE)
    lose(pair.account)
    restoring.check_galleries()
    assert (fresh(pair).status, pair.reason_code) == (Status.NEEDS_DECISION, "restored")


def test_all_files_of_a_work_found_make_it_published(make_due: MakeDue, gallery: FakeDeviantArt):
    work = make_due(PICTURE, OTHER_PICTURE, title="Pair", upload_mode="multiple")
    for file, body in zip(work.files.order_by("position"), (PICTURE, OTHER_PICTURE), strict=True):
        FileVariant.objects.filter(file=file).update(perceptual_hash=perceptual_hash(body))
        gallery.show("Pair", picture=body)
    lose(work.account)
    restoring.check_galleries()
    assert fresh(work).status == Status.PUBLISHED
    assert Publication.objects.live().count() == 2


def test_an_unconfirmed_work_that_is_found_is_published(make: MakeDue, gallery: FakeDeviantArt):
    work = make(title="Pool")
    Deviation.objects.filter(pk=work.pk).update(
        status="publishing", unconfirmed_since=clock.now(), next_attempt_at=clock.now()
    )
    gallery.show("Pool", picture=PICTURE)
    lose(work.account)
    restoring.check_galleries()
    assert (fresh(work).status, work.unconfirmed_since) == (Status.PUBLISHED, None)


def test_works_of_other_accounts_are_never_touched(make: MakeDue, gallery: FakeDeviantArt):
    one, stranger = make(title="Pool"), make(title="Pool")
    gallery.show("Pool", picture=PICTURE)
    lose(one.account)
    restoring.check_galleries()
    assert (fresh(one).status, fresh(stranger).status) == (Status.PUBLISHED, Status.SCHEDULED)


def neighbour_of(account: DeviantArtAccount | None) -> DeviantArtAccount:
    """Another account of the same workspace."""
    assert account is not None
    return DeviantArtAccountFactory(workspace=account.workspace, base_url=account.base_url)


def test_a_work_that_was_moved_to_the_checked_account_in_the_forgotten_time_is_recognised_there(
    make: MakeDue, gallery: FakeDeviantArt
):
    work = make(title="Pool")
    now_at = neighbour_of(work.account)
    gallery.show("Pool", picture=PICTURE)
    lose(now_at)
    restoring.check_galleries()
    part = Publication.objects.get()
    assert (fresh(work).status, work.account_id, part.account_id) == (Status.PUBLISHED, now_at.pk, now_at.pk)


def test_of_works_that_may_have_been_moved_those_that_cannot_be_told_apart_are_asked_about(
    make: MakeDue, gallery: FakeDeviantArt
):
    work = make(title="Pool")
    here = neighbour_of(work.account)
    twin = make(title="Pool", workspace=here.workspace, account=here)
    namesake = make(OTHER_PICTURE, title="Pool", workspace=here.workspace, account=work.account)
    gallery.show("Pool", picture=PICTURE)
    lose(here)
    restoring.check_galleries()
    assert [fresh(each).status for each in (work, twin)] == [Status.NEEDS_DECISION] * 2
    assert fresh(namesake).status == Status.SCHEDULED


def test_a_work_that_another_account_is_publishing_at_this_moment_is_not_taken_from_it(
    make: MakeDue, gallery: FakeDeviantArt
):
    work = make(title="Pool")
    Deviation.objects.filter(pk=work.pk).update(status="uploading", worker_id=uuid4(), lease_id=uuid4())
    gallery.show("Pool", picture=PICTURE)
    lose(neighbour_of(work.account))
    restoring.check_galleries()
    assert fresh(work).status == Status.UPLOADING


@pytest.mark.parametrize(("state", "goes"), [("active", False), ("reauth_required", True)])
def test_an_account_waits_for_the_galleries_of_its_workspace_that_can_be_read(
    make: MakeDue, worker: Worker, gallery: FakeDeviantArt, state: str, goes: bool
):
    work = make(title="Pool")
    neighbour = neighbour_of(work.account)
    DeviantArtAccount.objects.filter(pk=neighbour.pk).update(state=state)
    lose(neighbour)
    run(work)
    assert (fresh(work).status == Status.PUBLISHED) is goes
    stranger = make(title="Moth")
    run(stranger)
    assert fresh(stranger).status == Status.PUBLISHED


def test_what_lies_in_the_trash_is_recognised_too_and_never_goes_out_once_it_is_back(
    make: MakeDue, gallery: FakeDeviantArt
):
    certain, doubtful = make(title="Pool", at="draft"), make(OTHER_PICTURE, title="Moth", at="draft")
    Deviation.objects.filter(pk=doubtful.pk).update(account=certain.account, workspace=certain.workspace)
    Deviation.objects.update(trashed_at=clock.now())
    gallery.show("Pool", picture=PICTURE)
    gallery.show("Moth", picture=pictures.png(3))
    lose(certain.account)
    restoring.check_galleries()
    assert (fresh(certain).status, fresh(doubtful).status) == (Status.PUBLISHED, Status.NEEDS_DECISION)
    assert not Notification.objects.filter(kind="work_needs_decision").exists()


def test_what_is_known_to_be_live_without_its_address_is_nobody_elses_sighting(make: MakeDue, gallery: FakeDeviantArt):
    live, now = make(title="Pool"), clock.now()
    Deviation.objects.filter(pk=live.pk).update(status="published", published_at=now)
    Publication.objects.create(
        deviation=live, file=live.files.get(), account_id=live.account_id, state="published", published_at=now
    )
    waiting = make(title="Pool", workspace=live.workspace, account=live.account)
    gallery.show("Pool", picture=PICTURE)
    lose(live.account)
    restoring.check_galleries()
    assert fresh(live).status == Status.PUBLISHED
    # Of the two nobody knows which one it is.
    assert fresh(waiting).status == Status.NEEDS_DECISION


def test_a_claimed_work_is_put_back_before_its_account_is_settled(make: MakeDue, gallery: FakeDeviantArt):
    work = make(title="Pool")
    Deviation.objects.filter(pk=work.pk).update(status="uploading", worker_id=uuid4(), lease_id=uuid4())
    gallery.show("Pool", picture=PICTURE)
    check = lose(work.account)
    restoring.check_galleries()
    check.refresh_from_db()
    assert check.done_at is None
    assert check.next_try_at > clock.now()


@pytest.mark.parametrize("trouble", [Unreachable(), RateLimited(), LoginLost()])
def test_a_gallery_that_cannot_be_read_keeps_its_account_held_until_it_can(
    make: MakeDue, gallery: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch, trouble: Exception
):
    work = make()
    check = lose(work.account)

    def fail(*_arguments: Any, **_options: Any) -> Iterator[Any]:
        raise trouble

    monkeypatch.setattr(gallery, "gallery_pages", fail)
    assert restoring.check_galleries() == 1
    check.refresh_from_db()
    assert (check.done_at, check.next_try_at > clock.now()) == (None, True)
    assert not DeviantArtAccount.objects.filter(able_accounts(), pk=work.account_id).exists()
    assert restoring.check_galleries() == 0


def test_an_account_that_lost_its_login_is_not_asked_for_and_stays_held(make: MakeDue, gallery: FakeDeviantArt):
    work = make()
    lose(work.account)
    DeviantArtAccount.objects.update(state=DeviantArtAccount.State.REAUTH_REQUIRED)
    assert restoring.check_galleries() == 0
    assert GalleryCheck.objects.pending().exists()


def test_once_it_is_connected_again_its_gallery_is_read_soon(
    make: MakeDue, gallery: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    def lost(*_arguments: Any, **_options: Any) -> Token:
        DeviantArtAccount.objects.update(state=DeviantArtAccount.State.REAUTH_REQUIRED)
        raise LoginLost

    monkeypatch.setattr(restoring, "usable_token", lost)
    check = lose(make().account)
    restoring.check_galleries()
    check.refresh_from_db()
    assert check.next_try_at - clock.now() <= timedelta(seconds=max(1.0, restoring.LOGIN_LOST_SECONDS))


def test_two_ticks_at_once_check_an_account_once(make: MakeDue, gallery: FakeDeviantArt):
    work = make(title="Pool")
    gallery.show("Pool", picture=PICTURE)
    check = lose(work.account)
    taken = restoring._take_check()
    assert taken is not None
    assert restoring._take_check() is None
    restoring._check(taken)
    restoring._check(check)  # the other one was only slow
    assert AuditEvent.objects.filter(verb="account.gallery_checked").count() == 1


def test_an_operator_may_let_an_account_go_on_unchecked(make: MakeDue):
    work, other = make(), make()
    lose(work.account)
    lose(other.account)
    assert restoring.lift_checks(GalleryCheck.objects.filter(account=work.account)) == 1
    assert list(GalleryCheck.objects.pending().values_list("account_id", flat=True)) == [other.account_id]
    assert AuditEvent.objects.filter(verb="account.gallery_check_lifted", subject_id=work.account_id).exists()
    assert restoring.lift_checks(GalleryCheck.objects.filter(account=work.account)) == 0


def test_a_picture_that_cannot_be_read_just_now_is_waited_for(
    make: MakeDue, gallery: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    work = make(title="Pool")
    others = [make(OTHER_PICTURE, title="Pool", account=work.account, workspace=work.workspace) for _number in range(3)]
    gallery.show("Pool", picture=PICTURE)
    check = lose(work.account)
    read = gallery.picture

    def away(_url: str, _max_bytes: int) -> bytes:
        raise Unreachable

    monkeypatch.setattr(gallery, "picture", away)
    restoring.check_galleries()
    check.refresh_from_db()
    assert (check.done_at, fresh(work).status) == (None, Status.SCHEDULED)
    monkeypatch.setattr(gallery, "picture", read)
    GalleryCheck.objects.update(next_try_at=clock.now())
    restoring.check_galleries()
    assert fresh(work).status == Status.PUBLISHED
    assert {fresh(each).status for each in others} == {Status.SCHEDULED}


def test_a_picture_that_cannot_be_read_for_long_is_done_without(
    make: MakeDue, gallery: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    work = make(title="Pool")
    gallery.show("Pool", picture=PICTURE)
    check = lose(work.account)

    def away(_url: str, _max_bytes: int) -> bytes:
        raise Unreachable

    monkeypatch.setattr(gallery, "picture", away)
    GalleryCheck.objects.update(created_at=clock.now() - timedelta(hours=1))
    restoring.check_galleries()
    check.refresh_from_db()
    assert check.done_at is not None
    assert (fresh(work).status, work.reason_code) == (Status.NEEDS_DECISION, "restored")


# --- titles that many works share -------------------------------------------------------------------------------------
def test_a_title_that_many_works_share_is_not_asked_about_when_the_picture_tells(
    make: MakeDue, gallery: FakeDeviantArt
):
    edited = make(title="Pool")
    others = [
        make(OTHER_PICTURE, title="Moth", account=edited.account, workspace=edited.workspace) for _number in range(3)
    ]
    gallery.show("Moth", picture=PICTURE)
    lose(edited.account)
    restoring.check_galleries()
    assert fresh(edited).status == Status.NEEDS_DECISION
    assert {fresh(each).status for each in others} == {Status.SCHEDULED}
