"""Questions that answered themselves, as a call's end was written down after somebody was asked."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections, transaction

from accounts.models import AuditEvent
from deviantart.errors import ItemNotFound
from deviantart.types import PublishReceipt, SubmitReceipt
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.models import Attempt, Publication, StashItem
from publisher.services import evidence, withdrawing
from publisher.services.deciding import Way, decide
from tests.fakes import FakeDeviantArt
from tests.publisher.undecided import ask, partly_live, unconfirmed

MakeDue = Callable[..., Deviation]
RECEIPT = PublishReceipt("ABC", "https://www.deviantart.com/x/art/1")
Status = Deviation.Status


def call_of(work: Deviation) -> Attempt:
    """The publish call of which nobody knows."""
    return Attempt.objects.publishing().unsettled().select_related("publication").get(publication__deviation=work)


def refresh(work: Deviation) -> Deviation:
    work.refresh_from_db()
    return work


def test_a_work_that_turns_out_to_be_live_asks_nobody_any_more(make_due: MakeDue):
    work = ask(unconfirmed(make_due), "unconfirmed")
    assert withdrawing.withdraw_answered() == 0
    evidence.close_published(call_of(work), RECEIPT)
    assert withdrawing.withdraw_answered() == 1
    assert (refresh(work).status, work.reason_code, work.unconfirmed_since) == (Status.PUBLISHED, "", None)
    assert work.published_at is not None
    verbs = AuditEvent.objects.filter(subject_id=work.pk).values_list("verb", flat=True)
    assert {"deviation.question_withdrawn", "deviation.published"} <= set(verbs)
    assert withdrawing.withdraw_answered() == 0


def test_a_call_that_was_certainly_refused_lets_the_work_go_on(make_due: MakeDue):
    work = ask(unconfirmed(make_due), "unconfirmed")
    evidence.close_failed(call_of(work), ItemNotFound(error_code=7))
    assert withdrawing.withdraw_answered() == 1
    assert (refresh(work).status, work.unconfirmed_since) == (Status.PUBLISHING, None)
    assert work.next_attempt_at is not None


def test_of_a_work_of_which_a_part_is_live_the_rest_goes_on(make_due: MakeDue):
    work = partly_live(make_due, b"one", b"two")
    Deviation.objects.filter(pk=work.pk).update(reason_params={"cause": "unconfirmed"})
    assert withdrawing.withdraw_answered() == 0
    evidence.close_published(call_of(work), RECEIPT)
    assert withdrawing.withdraw_answered() == 1
    assert refresh(work).status == Status.PUBLISHED


def test_an_upload_for_the_stash_whose_answer_came_late_goes_on(make_due: MakeDue):
    work = make_due(stash_only=True)
    part = Publication.objects.create(
        deviation=work, file=work.files.get(), account_id=work.account_id, state="submitting"
    )
    attempt = Attempt.objects.create(
        publication=part,
        step="submit",
        outcome="unknown",
        lease_id=new_id(),
        worker_id=new_id(),
        started_at=clock.now(),
        ended_at=clock.now(),
    )
    ask(work, "stash_unconfirmed")
    assert withdrawing.withdraw_answered() == 0
    evidence.close_submitted(attempt, SubmitReceipt(5_000_000_000_000_001), fingerprint="a")
    assert withdrawing.withdraw_answered() == 1
    assert refresh(work).status == Status.PUBLISHING


def test_that_one_part_lies_in_the_stash_says_nothing_of_another(make_due: MakeDue):
    work = make_due(b"one", b"two", stash_only=True, upload_mode="multiple")
    now = clock.now()
    for file, state in zip(work.files.order_by("position"), ("published", "submitting"), strict=True):
        part = Publication.objects.create(
            deviation=work,
            file=file,
            account_id=work.account_id,
            state=state,
            published_at=now if state == "published" else None,
        )
        if state == "published":
            StashItem.objects.create(publication=part, account_id=work.account_id, item_id=1, fingerprint="a")
    attempt = Attempt.objects.create(
        publication=part,
        step="submit",
        outcome="unknown",
        lease_id=new_id(),
        worker_id=new_id(),
        started_at=now,
        ended_at=now,
    )
    ask(work, "partial")
    Deviation.objects.filter(pk=work.pk).update(reason_params={"cause": "stash_unconfirmed"})
    assert withdrawing.withdraw_answered() == 0
    evidence.close_submitted(attempt, SubmitReceipt(5_000_000_000_000_001), fingerprint="a")
    assert withdrawing.withdraw_answered() == 1


@pytest.mark.parametrize("reason", ["late", "restored"])
def test_what_was_asked_for_another_reason_still_waits_for_its_owner(make_due: MakeDue, reason: str):
    work = ask(make_due(), reason)
    assert withdrawing.withdraw_answered() == 0
    assert refresh(work).status == Status.NEEDS_DECISION


def test_what_lies_in_the_trash_stays_there(make_due: MakeDue):
    work = ask(unconfirmed(make_due), "unconfirmed")
    evidence.close_published(call_of(work), RECEIPT)
    Deviation.objects.filter(pk=work.pk).update(trashed_at=work.created_at)
    assert withdrawing.withdraw_answered() == 0


def test_whoever_decides_at_the_same_moment_is_not_overruled(make_due: MakeDue, deviantart: FakeDeviantArt):
    work = ask(unconfirmed(make_due), "unconfirmed")
    evidence.close_failed(call_of(work), ItemNotFound(error_code=7))

    def withdraw(_number: int) -> int:
        try:
            return withdrawing.withdraw_answered()
        finally:
            connections.close_all()

    with transaction.atomic():
        decide(work, Way.DRAFT, user=None, not_live=True)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(withdraw, 0).result() == 0
    assert withdrawing.withdraw_answered() == 0
    assert refresh(work).status == Status.DRAFT


def test_two_at_once_withdraw_it_once(make_due: MakeDue):
    work = ask(unconfirmed(make_due), "unconfirmed")
    evidence.close_published(call_of(work), RECEIPT)

    def withdraw(_number: int) -> Any:
        try:
            return withdrawing.withdraw_answered()
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(withdraw, range(3))) == 1
    assert AuditEvent.objects.filter(subject_id=work.pk, verb="deviation.question_withdrawn").count() == 1
