from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from accounts.models import AuditEvent, DeviantArtAccount, Notification
from accounts.services.notifying import text_of
from deviations.models import Deviation
from isekai import clock
from publisher.services import deciding, overdue
from publisher.services.deciding import Way

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker", "sent")
LONG_AGO = timedelta(days=2)


def make_late(make_due: MakeDue, count: int = 1, **fields: Any) -> list[Deviation]:
    at = clock.now() - LONG_AGO
    first = make_due(scheduled_at=at, publish_at=at, **fields)
    same = {"account": first.account, "workspace": first.workspace}
    return [first, *(make_due(scheduled_at=at, publish_at=at, **same) for _ in range(count - 1))]


def test_every_late_work_has_its_reason_and_its_moment_and_its_owner_one_message(
    make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(overdue, "SOME", 2)
    works = make_late(make_due, 5)
    assert overdue.ask_about_late() == 5
    for work in works:
        work.refresh_from_db()
        assert (work.status, work.reason_code) == ("needs_decision", "late")
        assert AuditEvent.objects.get(subject_id=work.pk, verb="deviation.needs_decision").params == {"reason": "late"}
    message = Notification.objects.get(kind="works_late")
    assert (message.params["count"], message.params["account_id"]) == (5, str(works[0].account_id))
    _subject, text = text_of(message, language="en")
    assert "5 works" in text
    assert "/works/?status=decision" in text


def test_a_work_that_is_late_a_second_time_is_told_of_again(make_due: MakeDue):
    (work,) = make_late(make_due)
    overdue.ask_about_late()
    deciding.decide(work, Way.PUBLISH_NOW, user=None)
    Deviation.objects.filter(pk=work.pk).update(publish_at=clock.now() - LONG_AGO)
    assert overdue.ask_about_late() == 1
    assert Notification.objects.filter(kind="works_late").count() == 2


def test_two_that_ask_at_once_write_one_message(make_due: MakeDue):
    make_late(make_due, 4)

    def ask(_number: int) -> int:
        try:
            return overdue.ask_about_late()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        asked = list(pool.map(ask, range(3)))
    assert sum(asked) == 4
    assert Notification.objects.filter(kind="works_late").count() == 1


def test_what_is_held_is_not_asked_about(make_due: MakeDue):
    (work,) = make_late(make_due)
    DeviantArtAccount.objects.filter(pk=work.account_id).update(paused=True)
    assert overdue.ask_about_late() == 0
    assert not Notification.objects.exists()


def test_what_is_in_time_is_left_alone(make_due: MakeDue):
    make_due()
    assert overdue.ask_about_late() == 0


@pytest.mark.parametrize(
    ("kind", "reason", "words"),
    [
        ("work_failed", "tried_too_often", "tried several times"),
        ("work_failed", "partial", "only the rest is sent"),
        ("work_needs_decision", "restored", "restored from a backup"),
        ("work_needs_decision", "partial", "every part"),
        ("work_needs_decision", "from_the_future", "timeline tells"),
    ],
)
def test_a_message_gives_the_reason_that_the_pages_give(db: None, kind: str, reason: str, words: str):
    message = Notification(kind=kind, params={"title": "Moth", "deviation_id": "1", "reason": reason})
    _subject, text = text_of(message, language="en")
    assert words in text
    assert "/works/1/" in text


@pytest.mark.parametrize("kind", ["work_failed", "work_needs_decision"])
def test_a_message_of_an_older_release_is_still_readable(db: None, kind: str):
    message = Notification(kind=kind, params={"title": "Moth", "deviation_id": "1"})
    assert "Moth" in text_of(message, language="en")[1]
