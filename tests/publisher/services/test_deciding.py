from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from accounts.models import AuditEvent
from deviantart.errors import AnswerLost, ItemNotFound
from deviations.errors import (
    BeingConfirmed,
    ConfirmationNeeded,
    DecisionNeeded,
    DeviationError,
    InvalidTransition,
    PartlyLive,
    TimeRefused,
)
from deviations.models import Deviation
from deviations.services.drafting import edit_deviation, remove_file
from deviations.services.scheduling import cancel_schedule, publish_now
from deviations.services.trashing import trash_deviation
from deviations.services.undoing import undo_change
from isekai import clock
from publisher.models import Attempt, Publication, StashItem
from publisher.services import deciding, evidence, publishing
from publisher.services.claiming import claim_next
from publisher.services.deciding import Way
from tests.factories import DeviationFactory, UserFactory
from tests.fakes import FakeDeviantArt
from tests.publisher.undecided import ask, doubtful_part, late, partly_live, unconfirmed

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker", "sent")
WAYS = [Way.PUBLISH_NOW, Way.SCHEDULE, Way.DRAFT]


def undecided(deviantart: FakeDeviantArt, work: Deviation, monkeypatch: pytest.MonkeyPatch) -> Deviation:
    monkeypatch.setattr("publisher.services.settling.repeat_after_seconds", lambda: 0)
    deviantart.publish_answers.extend([(AnswerLost(), "after"), ItemNotFound(error_code=7)])
    for _ in range(2):
        publish(work)
        Deviation.objects.filter(pk=work.pk, status="publishing").update(next_attempt_at=clock.now())
    work.refresh_from_db()
    assert work.status == Deviation.Status.NEEDS_DECISION
    return work


def publish(work: Deviation) -> Deviation:
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    return work


def wish_of(way: Way) -> dict[str, Any]:
    return {"scheduled_at": clock.now() + timedelta(hours=2)} if way == Way.SCHEDULE else {}


def events(work: Deviation) -> list[str]:
    return list(AuditEvent.objects.filter(subject_id=work.pk).order_by("id").values_list("verb", flat=True))


# --- look again ------------------------------------------------------------------------------------------------------
def test_another_look_can_settle_what_a_person_was_asked_about(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    work = undecided(deviantart, make_due(), monkeypatch)
    deciding.look_again(work, user=None)
    publish(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert len(deviantart.deviations) == 1
    assert events(work).count("deviation.checked_again") == 1


@pytest.mark.parametrize("reason", ["late", "restored", "stash_unconfirmed"])
def test_where_no_call_is_in_doubt_there_is_nothing_to_look_for(make_due: MakeDue, reason: str):
    with pytest.raises(InvalidTransition):
        deciding.look_again(ask(make_due(), reason), user=None)


# --- it is not live --------------------------------------------------------------------------------------------------
def test_what_is_said_not_to_be_live_is_uploaded_anew_and_published_once(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = unconfirmed(make_due)
    (old,) = StashItem.objects.filter(publication__deviation=work)
    deciding.decide(work, Way.PUBLISH_NOW, user=None, not_live=True)
    publish(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert (deviantart.calls, len(deviantart.deviations)) == (["submit", "publish"], 1)
    old.refresh_from_db()
    assert old.state == StashItem.State.ABANDONED


@pytest.mark.parametrize("way", WAYS)
def test_the_doubt_is_settled_by_whoever_says_so_and_the_trail_tells_it(make_due: MakeDue, way: Way):
    work, user = unconfirmed(make_due), UserFactory()
    deciding.decide(work, way, user=user, not_live=True, **wish_of(way))
    work.refresh_from_db()
    assert work.status == ("draft" if way == Way.DRAFT else "scheduled")
    assert (work.unconfirmed_since, work.reason_code) == (None, "")
    assert not Publication.objects.unconfirmed().filter(deviation=work).exists()
    assert Attempt.objects.get(publication__deviation=work).settled_at is not None
    event = AuditEvent.objects.get(subject_id=work.pk, verb="deviation.settled_by_hand")
    assert (event.user, event.params["reason"], event.params["decision"]) == (user, "unconfirmed", way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reason", ["unconfirmed", "partial", "restored", "stash_unconfirmed"])
def test_without_the_word_that_it_is_not_live_nothing_happens(make_due: MakeDue, reason: str, way: Way):
    work = make_due()
    doubtful_part(work, work.files.get())
    ask(work, reason)
    with pytest.raises(ConfirmationNeeded) as refusal:
        deciding.decide(work, way, user=None, **wish_of(way))
    assert (refusal.value.code, refusal.value.status) == ("confirmation_needed", 409)
    assert "confirm_not_live" in refusal.value.details
    assert Deviation.objects.get(pk=work.pk).status == Deviation.Status.NEEDS_DECISION
    assert Attempt.objects.get(publication__deviation=work).settled_at is None
    assert events(work) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_late_work_was_not_sent_so_nobody_has_to_answer_for_that(make_due: MakeDue, way: Way):
    work = late(make_due)
    deciding.decide(work, way, user=None, **wish_of(way))
    assert Deviation.objects.get(pk=work.pk).status == ("draft" if way == Way.DRAFT else "scheduled")
    assert "deviation.settled_by_hand" not in events(work)


def test_a_late_work_keeps_what_was_uploaded_ahead(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = make_due()
    publication = doubtful_part(work, work.files.get(), outcome="refused")
    ask(work, "late")
    deciding.decide(work, Way.PUBLISH_NOW, user=None)
    assert StashItem.objects.in_hand(publication.pk) is not None


@pytest.mark.parametrize("ended", [True, False])
def test_while_a_call_may_still_make_it_live_nobody_can_say_that_it_is_not(
    make_due: MakeDue, settings: Any, ended: bool
):
    settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS, settings.PUBLISHER_REPEAT_MARGIN_SECONDS = 60, 15
    work = make_due()
    open_call = {} if ended else {"ended_at": None, "outcome": None}
    doubtful_part(work, work.files.get(), age=timedelta(seconds=30), **open_call)
    ask(work, "unconfirmed")
    with pytest.raises(BeingConfirmed) as refusal:
        deciding.decide(work, Way.DRAFT, user=None, not_live=True)
    assert refusal.value.code == "being_confirmed"
    assert "try again in 4" in str(refusal.value)
    assert Deviation.objects.get(pk=work.pk).unconfirmed_since is not None
    Attempt.objects.update(started_at=clock.now() - timedelta(seconds=80))
    assert deciding.decide(work, Way.DRAFT, user=None, not_live=True).status == Deviation.Status.DRAFT


def test_what_cannot_be_published_as_it_is_stays_undecided_with_its_doubt(make_due: MakeDue):
    work = unconfirmed(make_due)
    Deviation.objects.filter(pk=work.pk).update(title="x" * 60)
    with pytest.raises(DeviationError):
        deciding.decide(work, Way.PUBLISH_NOW, user=None, not_live=True)
    work.refresh_from_db()
    assert (work.status, work.reason_code) == ("needs_decision", "unconfirmed")
    assert Attempt.objects.get(publication__deviation=work).settled_at is None
    assert StashItem.objects.get(publication__deviation=work).state == StashItem.State.IN_HAND


@pytest.mark.parametrize("status", ["draft", "scheduled", "failed", "published"])
def test_a_work_that_asks_nothing_cannot_be_decided(make_due: MakeDue, status: str):
    work = make_due()
    Deviation.objects.filter(pk=work.pk).update(status=status, reason_code="refused", published_at=clock.now())
    with pytest.raises(InvalidTransition):
        deciding.decide(work, Way.DRAFT, user=None, not_live=True)


def test_an_answer_that_comes_after_all_still_says_that_it_is_live(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = unconfirmed(make_due)
    deciding.decide(work, Way.PUBLISH_NOW, user=None, not_live=True)
    # What a worker that was cut off for long writes down: evidence needs no lease.
    Publication.objects.filter(deviation=work).update(state="published", published_at=clock.now())
    publish(work)
    assert (work.status, deviantart.calls) == ("published", [])


def test_how_a_call_ended_is_written_down_without_taking_back_what_was_said(make_due: MakeDue):
    work = make_due()
    doubtful_part(work, work.files.get(), ended_at=None, outcome=None)
    ask(work, "unconfirmed")
    of_a_worker_that_was_cut_off = Attempt.objects.get(publication__deviation=work)
    deciding.decide(work, Way.DRAFT, user=None, not_live=True)
    evidence.close_failed(of_a_worker_that_was_cut_off, AnswerLost())
    attempt = Attempt.objects.get(publication__deviation=work)
    assert (attempt.outcome, attempt.settled_at is not None) == ("unknown", True)
    assert not Publication.objects.unconfirmed().filter(deviation=work).exists()


# --- a part of it ----------------------------------------------------------------------------------------------------
def test_only_what_is_not_live_is_sent(deviantart: FakeDeviantArt, make_due: MakeDue):
    work = partly_live(make_due, b"one", b"two", b"three")
    deciding.decide(work, Way.PUBLISH_NOW, user=None, not_live=True)
    for _ in range(3):
        publish(work)
    assert work.status == Deviation.Status.PUBLISHED
    assert sorted(item["body"] for item in deviantart.items.values()) == [b"three", b"two"]


def test_what_is_live_keeps_its_file_its_mode_and_its_account_after_any_decision(make_due: MakeDue):
    work = partly_live(make_due, b"one", b"two")
    with pytest.raises(DecisionNeeded):
        edit_deviation(work, user=None, upload_mode="single")
    with pytest.raises(DecisionNeeded):
        remove_file(work, user=None, file_id=work.files.all()[0].pk)
    deciding.decide(work, Way.DRAFT, user=None, not_live=True)
    with pytest.raises(PartlyLive):
        edit_deviation(work, user=None, upload_mode="single")
    with pytest.raises(PartlyLive):
        remove_file(work, user=None, file_id=work.files.all()[0].pk)


# --- restored --------------------------------------------------------------------------------------------------------
def test_a_draft_of_a_restored_database_goes_back_to_draft():
    work = DeviationFactory()
    Deviation.objects.filter(pk=work.pk).update(status="needs_decision", reason_code="restored")
    deciding.decide(work, Way.DRAFT, user=None, not_live=True)
    work.refresh_from_db()
    assert (work.status, work.reason_code, work.publish_at) == ("draft", "", None)


def test_a_restored_work_keeps_the_time_that_lies_ahead(make_due: MakeDue):
    at = clock.now() + timedelta(days=2)
    work = ask(make_due(scheduled_at=at, publish_at=at), "restored")
    deciding.decide(work, Way.KEEP_TIME, user=None, not_live=True)
    work.refresh_from_db()
    assert (work.status, work.publish_at) == ("scheduled", at)


def test_a_time_that_has_passed_or_never_was_cannot_be_kept(make_due: MakeDue):
    passed, never = ask(make_due(), "restored"), DeviationFactory()
    Deviation.objects.filter(pk=never.pk).update(status="needs_decision", reason_code="restored")
    for work in (passed, never):
        with pytest.raises(TimeRefused):
            deciding.decide(work, Way.KEEP_TIME, user=None, not_live=True)


def test_an_item_that_only_lies_there_is_published_and_not_uploaded_again(make_due: MakeDue):
    work = make_due()
    publication = doubtful_part(work, work.files.get(), step="submit", outcome="done")
    ask(work, "restored")
    deciding.decide(work, Way.PUBLISH_NOW, user=None, not_live=True)
    assert StashItem.objects.in_hand(publication.pk) is not None


# --- many ------------------------------------------------------------------------------------------------------------
def test_many_are_decided_at_once_each_with_its_result(make_due: MakeDue):
    first = unconfirmed(make_due)
    same = {"account": first.account, "workspace": first.workspace}
    second, fine = late(make_due, **same), make_due(**same)
    result = deciding.decide_many(
        Deviation.objects.all(), Way.DRAFT, user=None, ids=[first.pk, second.pk, fine.pk], not_live=True
    )
    assert [item.error is None for item in result.items] == [True, True, False]
    told = AuditEvent.objects.filter(params__bulk_id=str(result.id)).values_list("subject_id", flat=True)
    assert set(told) == {first.pk, second.pk}


def test_all_late_works_of_an_account_are_answered_for_at_once(make_due: MakeDue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("publisher.services.deciding.BULK_MAX", 2)
    first = late(make_due)
    same = {"account": first.account, "workspace": first.workspace}
    others = [late(make_due, **same) for _ in range(4)]
    assert first.account_id is not None
    kept = [unconfirmed(make_due, **same), late(make_due)]
    result = deciding.decide_all_late(Deviation.objects.all(), Way.PUBLISH_NOW, user=None, account_id=first.account_id)
    assert {item.id for item in result.items} == {first.pk, *(each.pk for each in others)}
    assert set(Deviation.objects.filter(status="needs_decision").values_list("pk", flat=True)) == {
        each.pk for each in kept
    }
    told = AuditEvent.objects.filter(verb="deviation.publish_now").values_list("params__bulk_id", flat=True)
    assert set(told) == {str(result.id)}


def test_another_time_can_be_taken_back(make_due: MakeDue):
    work, user = unconfirmed(make_due), UserFactory()
    result = deciding.decide_many(
        Deviation.objects.all(), Way.SCHEDULE, user=user, ids=[work.pk], not_live=True, **wish_of(Way.SCHEDULE)
    )
    undo_change(Deviation.objects.all(), user=user, bulk_id=result.id, ids=[work.pk])
    assert Deviation.objects.get(pk=work.pk).status == Deviation.Status.DRAFT


# --- what it keeps away ----------------------------------------------------------------------------------------------
def test_before_it_is_decided_every_other_change_is_refused_and_says_what_to_do(make_due: MakeDue):
    work = unconfirmed(make_due)
    for change in (trash_deviation, cancel_schedule, publish_now):
        with pytest.raises(DecisionNeeded, match="look there, and say first what you see"):
            change(work, user=None)
    deciding.decide(work, Way.DRAFT, user=None, not_live=True)
    assert trash_deviation(work, user=None).trashed_at is not None


# --- at the same moment ----------------------------------------------------------------------------------------------
def at_once(*calls: Callable[[], Any]) -> list[Any]:
    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except DeviationError as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_of_two_people_one_decides(make_due: MakeDue):
    for _ in range(5):
        work = unconfirmed(make_due)
        answers = at_once(
            lambda work=work: deciding.decide(work, Way.DRAFT, user=None, not_live=True),
            lambda work=work: deciding.decide(work, Way.PUBLISH_NOW, user=None, not_live=True),
            lambda work=work: deciding.look_again(work, user=None),
        )
        assert [type(answer) for answer in answers].count(InvalidTransition) == 2
        verbs = set(events(work))
        assert len(verbs & {"deviation.cancelled", "deviation.publish_now", "deviation.checked_again"}) == 1


def test_a_worker_takes_it_up_only_as_it_was_decided(make_due: MakeDue, worker: Any):
    for _ in range(5):
        work = unconfirmed(make_due)
        _decision, claim = at_once(
            lambda work=work: deciding.decide(work, Way.PUBLISH_NOW, user=None, not_live=True),
            lambda work=work: claim_next(work.account_id, worker.pk),
        )
        work.refresh_from_db()
        assert work.status == ("uploading" if claim else "scheduled")
        assert Attempt.objects.get(publication__deviation=work).settled_at is not None
