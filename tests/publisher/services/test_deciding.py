from collections.abc import Callable

import pytest

from accounts.models import AuditEvent
from deviantart.errors import AnswerLost, ItemNotFound
from deviations.errors import InvalidTransition
from deviations.models import Deviation
from isekai import clock
from publisher.services import deciding, publishing
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]
pytestmark = pytest.mark.usefixtures("worker")


def undecided(deviantart: FakeDeviantArt, work: Deviation, monkeypatch: pytest.MonkeyPatch) -> Deviation:
    monkeypatch.setattr("publisher.services.settling.repeat_after_seconds", lambda: 0)
    deviantart.publish_answers.extend([(AnswerLost(), "after"), ItemNotFound(error_code=7)])
    for _ in range(2):
        assert work.account_id is not None
        publishing.publish_next(work.account_id)
        Deviation.objects.filter(pk=work.pk, status="publishing").update(next_attempt_at=clock.now())
    work.refresh_from_db()
    assert work.status == Deviation.Status.NEEDS_DECISION
    return work


def test_another_look_can_settle_what_a_person_was_asked_about(
    deviantart: FakeDeviantArt, make_due: MakeDue, monkeypatch: pytest.MonkeyPatch
):
    work = undecided(deviantart, make_due(), monkeypatch)
    deciding.look_again(work, user=None)
    assert work.account_id is not None
    publishing.publish_next(work.account_id)
    work.refresh_from_db()
    assert work.status == Deviation.Status.PUBLISHED
    assert len(deviantart.deviations) == 1
    assert AuditEvent.objects.filter(subject_id=work.pk, verb="deviation.checked_again").count() == 1


def test_a_late_work_has_nothing_to_look_for(make_due: MakeDue):
    work = make_due()
    Deviation.objects.filter(pk=work.pk).update(status="needs_decision", reason_code="late")
    with pytest.raises(InvalidTransition):
        deciding.look_again(work, user=None)
