"""What becomes of works while a login is lost, and how often DeviantArt is asked, with a publisher and a sandbox."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from accounts.models import DeviantArtAccount, Notification, User
from accounts.services.connecting import disconnect_account
from accounts.services.maintaining import Upkeep, maintain_tokens
from accounts.services.tokens import usable_token
from deviations.models import Deviation
from isekai import clock
from publisher.models import Worker
from publisher.services import heartbeat
from publisher.services.dispatching import dispatch_due
from publisher.services.overdue import ask_about_late
from publisher.services.publishing import publish_next
from tests import pictures
from tests.accounts.services.test_connecting import connect_as
from tests.factories import DueDeviationFactory, UserFactory
from tests.publisher.works import put

State, Status = DeviantArtAccount.State, Deviation.Status
HOUR = timedelta(hours=1)
SUBMIT, PUBLISH, TOKEN, REVOKE = "stash/submit", "stash/publish", "oauth2/token", "oauth2/revoke"
EXPIRED = {
    "do": "status",
    "status": 401,
    "body": {
        "error": "invalid_token",
        "error_description": "Expired oAuth2 user token. The client should request a new one with an access code or "
        "a refresh token.",
        "status": "error",
    },
}


@pytest.fixture
def user(transactional_db: None) -> User:
    return UserFactory()


@pytest.fixture
def account(sandbox: Any, user: User) -> DeviantArtAccount:
    return connect_as("mira", user)


@pytest.fixture(autouse=True)
def publisher(transactional_db: None, settings: Any) -> Iterator[None]:
    """This process as a publisher."""
    settings.DEVIANTART_APPLICATION_NAME = "Isekai"
    worker_id = heartbeat.register_worker(slots=4)
    # Longer than any test: nothing here renews it.
    Worker.objects.filter(pk=worker_id).update(alive_until="2100-01-01T00:00:00Z")
    yield
    heartbeat.retire()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The wake-ups that were sent, instead of a broker."""
    wakes: list[tuple[Any, ...]] = []
    monkeypatch.setattr("isekai.queue.send", lambda name, *ids: wakes.append((name, *ids)))
    return wakes


def work_at(account: DeviantArtAccount, by: timedelta, title: str = "Night sky") -> Deviation:
    """A work with its picture in storage, to go out so long from now."""
    moment = clock.now() + by
    work: Deviation = DueDeviationFactory(
        workspace=account.workspace, account=account, title=title, scheduled_at=moment, publish_at=moment
    )
    put(work.files.get(), pictures.png(len(title)))
    return work


@pytest.fixture
def calls(sandbox: Any, account: DeviantArtAccount) -> Callable[[], Counter[str]]:
    """Counts how often each path was asked for since the last time, or since the account was connected."""
    before: Counter[str] = Counter()

    def calls() -> Counter[str]:
        nonlocal before
        counted = Counter("/".join(each["path"].split("/")[-2:]) for each in sandbox.ledger()["requests"])
        new, before = counted - before, counted
        return new

    calls()
    return calls


def state_of(work: Deviation) -> tuple[str, Any]:
    work.refresh_from_db()
    return work.status, work.publish_at


# --- a lost login ----------------------------------------------------------------------------------------------------
def test_a_dead_grant_holds_the_works_and_a_reconnect_lets_them_go_on(sandbox, user, account, later, sent, calls):
    first, second, third = (
        work_at(account, 1 * HOUR, "First"),
        work_at(account, 20 * HOUR, "Second"),
        work_at(account, 40 * HOUR, "Third"),
    )
    times = {work.pk: work.publish_at for work in (first, second, third)}
    sandbox.revoke("mira")
    later(1 * HOUR + timedelta(seconds=1))
    publish_next(account.pk)
    account.refresh_from_db()
    assert (account.state, account.state_reason) == (State.REAUTH_REQUIRED, "grant_dead")
    assert calls() == {TOKEN: 1}

    # 26 hours after it all began two works are overdue, one of them by more than its owner allows.
    later(25 * HOUR)
    publish_next(account.pk)
    assert (dispatch_due(), ask_about_late()) == (0, 0)
    for work in (first, second, third):
        assert state_of(work) == (Status.SCHEDULED, times[work.pk])
    assert calls() == {}
    assert [each.kind for each in Notification.objects.all()] == ["login_lost"]

    sent.clear()
    assert connect_as("mira", user, account).pk == account.pk
    assert ("publisher.publish_next", account.pk) in sent
    for _turn in range(3):
        publish_next(account.pk)
    assert state_of(second) == (Status.PUBLISHED, times[second.pk])
    # What is too late does not go out by itself, and what is yet to come keeps its time.
    assert state_of(first) == (Status.SCHEDULED, times[first.pk])
    assert state_of(third) == (Status.SCHEDULED, times[third.pk])
    assert ask_about_late() == 1
    assert state_of(first) == (Status.NEEDS_DECISION, times[first.pk])
    assert first.reason_code == "late"
    assert [each.kind for each in Notification.objects.order_by("pk")] == ["login_lost", "works_late"]
    later(14 * HOUR)
    publish_next(account.pk)
    assert state_of(third) == (Status.PUBLISHED, times[third.pk])
    assert [each["title"] for each in sandbox.ledger()["deviations"]] == ["Second", "Third"]


def test_signing_in_again_lets_the_works_go_on_too(sandbox, user, account):
    work = work_at(account, -HOUR)
    sandbox.revoke("mira")
    publish_next(account.pk)
    account.refresh_from_db()
    assert account.state == State.REAUTH_REQUIRED
    connect_as("mira", user)
    publish_next(account.pk)
    assert state_of(work)[0] == Status.PUBLISHED


def test_one_artists_lost_login_holds_up_no_other(sandbox, user, account):
    other = connect_as("nightjar", user)
    lost, fine = work_at(account, -HOUR, "Lost"), work_at(other, -HOUR, "Fine")
    sandbox.revoke("mira")
    for each in (account, other):
        publish_next(each.pk)
    assert state_of(lost)[0] == Status.SCHEDULED
    assert state_of(fine)[0] == Status.PUBLISHED


def test_an_installation_that_is_refused_keeps_every_work_and_its_time(sandbox, account):
    work = work_at(account, -HOUR)
    publish_at = work.publish_at
    body = {"error": "invalid_client", "error_description": "Client authentication failed.", "status": "error"}
    sandbox.faults([{"match": {"path": "/oauth2/token"}, "do": "status", "status": 401, "body": body, "times": None}])
    DeviantArtAccount.objects.update(access_expires_at=clock.now() - HOUR)
    publish_next(account.pk)
    assert state_of(work) == (Status.SCHEDULED, publish_at)
    account.refresh_from_db()
    assert (account.state, account.not_before) == (State.ACTIVE, None)
    assert [(each.kind, each.workspace) for each in Notification.objects.all()] == [("client_refused", None)]
    sandbox.clear_faults()
    DeviantArtAccount.objects.update(refresh_retry_at=None)
    Deviation.objects.update(next_attempt_at=None)
    publish_next(account.pk)
    assert state_of(work) == (Status.PUBLISHED, publish_at)


def test_a_disconnected_account_is_never_called_for_again(sandbox, user, account, calls):
    work = work_at(account, -HOUR)
    assert disconnect_account(account, user=user)
    assert calls()[REVOKE] == 1
    publish_next(account.pk)
    assert (dispatch_due(), ask_about_late(), maintain_tokens()) == (0, 0, Upkeep())
    assert calls() == {}
    assert state_of(work)[0] == Status.SCHEDULED


# --- one refresh, one repetition -------------------------------------------------------------------------------------
def test_a_401_is_answered_by_one_refresh_and_one_repetition(sandbox, account, calls):
    work = work_at(account, -HOUR)
    sandbox.faults([{"match": {"path": f"/{SUBMIT}"}, **EXPIRED}])
    publish_next(account.pk)
    assert calls() == {SUBMIT: 2, TOKEN: 1, PUBLISH: 1}
    assert state_of(work)[0] == Status.PUBLISHED


def test_a_401_right_after_a_good_refresh_ends_the_login_and_the_calls(sandbox, account, calls):
    work = work_at(account, -HOUR)
    publish_at = work.publish_at
    sandbox.faults([{"match": {"path": f"/{SUBMIT}"}, **EXPIRED, "times": None}])
    for _turn in range(3):
        publish_next(account.pk)
    assert calls() == {SUBMIT: 2, TOKEN: 1}
    account.refresh_from_db()
    assert (account.state, account.state_reason) == (State.REAUTH_REQUIRED, "token_rejected")
    assert state_of(work) == (Status.SCHEDULED, publish_at)


# --- one clock -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("off", [2 * HOUR, -2 * HOUR], ids=["two hours ahead", "two hours behind"])
def test_a_host_whose_clock_is_off_neither_renews_too_often_nor_uses_what_is_over(sandbox, account, off, calls):
    with time_machine.travel(timezone.now() + off, tick=True):
        # Fresh for an hour, however late this host takes it to be.
        for _time in range(3):
            assert usable_token(account.pk).version == 1
        assert maintain_tokens() == Upkeep()
        assert calls() == {}
        # Over by the database's clock, however early this host takes it to be.
        expires_at = clock.database_now() - timedelta(minutes=30)
        DeviantArtAccount.objects.update(access_expires_at=expires_at)
        for _time in range(3):
            assert usable_token(account.pk).version == 2
        assert calls() == {TOKEN: 1}
        account.refresh_from_db()
        lives = account.access_expires_at - clock.database_now()
        assert timedelta(minutes=59) < lives <= timedelta(hours=1)
