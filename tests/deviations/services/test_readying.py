from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, DeviantArtAccount, User
from deviations.errors import InTheTrash, InvalidTransition, VersionConflict
from deviations.models import Deviation
from deviations.services.readying import (
    approve_deviation,
    approve_many,
    note_opened,
    set_many_ready,
    set_ready,
)
from deviations.services.scheduling import schedule_deviation
from deviations.services.trashing import trash_deviation
from isekai import clock
from tests.factories import DeviationFactory, UserFactory
from tests.unchanged import assert_refused

MakeWork = Callable[..., Deviation]


@pytest.fixture
def draft(make_work: MakeWork, account: DeviantArtAccount) -> Deviation:
    return make_work(account)


def test_a_draft_is_made_ready_and_taken_back(draft: Deviation, artist: User) -> None:
    assert set_ready(draft, user=artist, ready=True).ready_at is not None
    assert set_ready(draft, user=artist, ready=True, version=2).version == 2, "it is ready already"
    assert set_ready(draft, user=artist, ready=False).ready_at is None
    verbs = AuditEvent.objects.filter(subject_id=draft.pk, user=artist).order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["deviation.ready", "deviation.not_ready"]


def test_what_was_changed_elsewhere_or_lies_in_the_trash_is_refused(draft: Deviation) -> None:
    assert_refused(VersionConflict, set_ready, draft, user=None, ready=True, version=7)
    trash_deviation(draft, user=None)
    assert_refused(InTheTrash, set_ready, draft, user=None, ready=True)


def test_many_are_made_ready_but_nobody_elses(make_work: MakeWork, account: DeviantArtAccount) -> None:
    works, foreign = [make_work(account) for _number in range(3)], DeviationFactory()
    own = Deviation.objects.filter(workspace=account.workspace)
    result = set_many_ready(own, user=None, ids=[*(work.pk for work in works), foreign.pk], ready=True)
    assert [item.error for item in result.items] == [None] * 4
    assert Deviation.objects.ready_for_automations().count() == 3


def test_an_approved_work_is_a_draft_that_automations_may_take(
    make_work: MakeWork, account: DeviantArtAccount, artist: User
) -> None:
    work = make_work(account, status="review")
    assert not Deviation.objects.ready_for_automations().exists()
    approved = approve_deviation(work, user=artist, version=1)
    assert (approved.status, approved.ready_at is not None, approved.version) == ("draft", True, 2)
    assert Deviation.objects.ready_for_automations().get() == work
    assert approve_deviation(work, user=artist).version == 2, "it is approved already"
    events = AuditEvent.objects.filter(subject_id=work.pk).values_list("verb", "user")
    assert list(events) == [("deviation.approved", artist.pk)]


def test_only_what_is_in_review_can_be_approved(draft: Deviation) -> None:
    assert_refused(InvalidTransition, approve_deviation, draft, user=None)
    set_ready(draft, user=None, ready=True)
    trash_deviation(draft, user=None)
    assert_refused(InTheTrash, approve_deviation, draft, user=None)


def test_many_are_approved_with_a_result_for_each(make_work: MakeWork, account: DeviantArtAccount) -> None:
    works = [make_work(account, status="review"), make_work(account)]
    foreign = DeviationFactory(status="review")
    own = Deviation.objects.filter(workspace=account.workspace)
    result = approve_many(own, user=None, ids=[*(work.pk for work in works), foreign.pk])
    assert [item.error and item.error.code for item in result.items] == [None, "invalid_transition", None]
    assert Deviation.objects.ready_for_automations().get() == works[0]


def test_who_has_a_draft_open_is_written_down_once_a_minute(draft: Deviation) -> None:
    start, moments = clock.now(), []
    for seconds in (0, 30, 59, 60, 100):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            note_opened(draft)
        draft.refresh_from_db()
        assert draft.opened_at is not None
        moments.append(round((draft.opened_at - start).total_seconds()))
    assert moments == [0, 0, 0, 60, 60]
    assert draft.version == 1


def test_of_what_is_no_draft_nothing_is_written_down(draft: Deviation) -> None:
    work = schedule_deviation(draft, user=None, scheduled_at=clock.now() + timedelta(hours=1))
    note_opened(work)
    work.refresh_from_db()
    assert work.opened_at is None


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_page_that_shows_a_draft_has_it_open(client: Client, draft: Deviation, artist: User, method: str) -> None:
    address = reverse("deviations:work", args=[draft.pk])
    client.force_login(UserFactory())
    getattr(client, method)(address)
    draft.refresh_from_db()
    assert draft.opened_at is None, "a stranger does not see it"
    client.force_login(artist)
    getattr(client, method)(address)
    draft.refresh_from_db()
    assert draft.opened_at is not None
