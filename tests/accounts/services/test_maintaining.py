"""Logins are kept alive, and their owners warned, without anybody's schedule being touched."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.models import DeviantArtAccount, Notification
from accounts.services import maintaining, tokens
from accounts.services.maintaining import Upkeep, maintain_tokens, needing_renewal
from accounts.services.notifying import text_of
from accounts.services.tokens import usable_token
from accounts.tasks import maintain_tokens as task
from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from tests.factories import DueDeviationFactory

State = DeviantArtAccount.State
DAY = timedelta(days=1)
FAILS = {"match": {"path": "/oauth2/token"}, "do": "status", "status": 500, "times": None}


def change(account: DeviantArtAccount, **columns: Any) -> None:
    DeviantArtAccount.objects.filter(pk=account.pk).update(**columns)
    account.refresh_from_db()


def ends_in(account: DeviantArtAccount, by: timedelta) -> None:
    """Let the login end so long from now; its access token is long over."""
    change(account, refresh_expires_at=clock.now() + by, access_expires_at=clock.now() - DAY)


def refreshes(sandbox: Any) -> int:
    return sum(each["grant_type"] == "refresh_token" for each in sandbox.ledger()["requests"])


def told(kind: str) -> list[Notification]:
    return list(Notification.objects.filter(kind=kind))


def scheduled_work(account: DeviantArtAccount) -> Any:
    work = DueDeviationFactory(workspace=account.workspace, account=account, files=0)
    return Deviation.objects.filter(pk=work.pk).values().get()


def is_untouched(work: Any) -> bool:
    return Deviation.objects.filter(pk=work["id"]).values().get() == work


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The wake-ups that were sent, instead of a broker."""
    names: list[str] = []
    monkeypatch.setattr("isekai.queue.send", lambda name, *_ids: names.append(name))
    return names


# --- renewing --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("left", "renewed"), [(61 * DAY, 0), (59 * DAY, 1), (DAY, 1), (-DAY, 1)])
def test_a_login_is_renewed_once_it_has_lain_idle_for_a_month(sandbox, account, left, renewed):
    ends_in(account, left)
    assert maintain_tokens() == Upkeep(renewed=renewed)
    account.refresh_from_db()
    assert account.token_version == 1 + renewed
    assert (account.refresh_expires_at - clock.now() > 89 * DAY) is bool(renewed)
    # Once more is nothing.
    assert maintain_tokens() == Upkeep()
    assert refreshes(sandbox) == renewed


def test_a_login_that_nobody_uses_lives_for_ever(sandbox, account, later):
    for _month in range(8):
        later(31 * DAY)
        sandbox.advance((31 * DAY).total_seconds())
        task()
    account.refresh_from_db()
    assert (account.state, account.token_version) == (State.ACTIVE, 9)
    assert usable_token(account.pk, rejected_version=9).version == 10
    assert Notification.objects.count() == 0


def test_a_run_that_comes_late_still_finds_the_login_alive(sandbox, account, later):
    later(80 * DAY)
    sandbox.advance((80 * DAY).total_seconds())
    assert maintain_tokens().renewed == 1


@pytest.mark.parametrize("columns", [{"paused": True}, {"not_before": clock.now() + DAY}], ids=["paused", "deferred"])
def test_an_account_whose_works_are_held_keeps_its_login(sandbox, account, columns):
    ends_in(account, 59 * DAY)
    change(account, **columns)
    assert maintain_tokens().renewed == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"state": State.REAUTH_REQUIRED},
        {"state": State.DISCONNECTED, "access_token": "", "refresh_token": "", "encryption_key": None},
        {"base_url": "https://other.example"},
        {"refresh_retry_at": clock.now() + DAY},
    ],
    ids=["lost", "disconnected", "of another server", "failed a moment ago"],
)
def test_no_other_account_is_asked_about(sandbox, account, columns):
    ends_in(account, 59 * DAY)
    change(account, **columns)
    assert maintain_tokens() == Upkeep()
    assert refreshes(sandbox) == 0


def test_two_runs_at_once_renew_a_login_once(transactional_db, sandbox, account):
    sandbox.profile(strict_reuse=True, latency_ms={"/oauth2/token": 300})
    ends_in(account, 59 * DAY)
    together = threading.Barrier(2)
    done: list[Upkeep] = []

    def run() -> None:
        together.wait(20)
        done.append(maintain_tokens())
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2
    assert refreshes(sandbox) == 1
    account.refresh_from_db()
    assert (account.state, account.token_version) == (State.ACTIVE, 2)


# --- what is lost ----------------------------------------------------------------------------------------------------
def test_a_login_that_the_artist_took_back_is_found_before_a_work_is_due(sandbox, account):
    work = scheduled_work(account)
    sandbox.revoke("mira")
    ends_in(account, 59 * DAY)
    assert maintain_tokens() == Upkeep(lost=1)
    account.refresh_from_db()
    assert account.state == State.REAUTH_REQUIRED
    assert len(told("login_lost")) == 1
    assert is_untouched(work)
    assert maintain_tokens() == Upkeep()


@pytest.mark.parametrize("left_behind", ["by a lost answer", "by a process that died"])
@pytest.mark.parametrize("is_used_up", [True, False])
def test_a_login_in_doubt_is_settled_once_there_is_no_token_to_lose(sandbox, account, left_behind, is_used_up):
    work = scheduled_work(account)
    if is_used_up:
        sandbox.faults([{"match": {"path": "/oauth2/token"}, "do": "reset_after_commit"}])
        usable_token(account.pk, must_live_seconds=7200)
    if left_behind == "by a lost answer":
        change(account, refresh_in_doubt=True, refresh_retry_at=None)
    else:
        second_ago = clock.now() - timedelta(seconds=1)
        change(account, refresh_in_doubt=False, refresh_retry_at=None)
        change(account, refresh_lease_id=new_id(), refresh_lease_until=second_ago)
    before = refreshes(sandbox)
    assert maintain_tokens() == Upkeep()
    assert refreshes(sandbox) == before
    change(account, access_expires_at=clock.now() - timedelta(seconds=1))
    assert maintain_tokens() == (Upkeep(lost=1) if is_used_up else Upkeep(renewed=1))
    account.refresh_from_db()
    assert account.state == (State.REAUTH_REQUIRED if is_used_up else State.ACTIVE)
    assert refreshes(sandbox) == before + 1
    assert is_untouched(work)


def test_a_token_that_cannot_be_read_holds_up_no_other(sandbox, connect):
    broken, other = connect("mira"), connect("nightjar")
    change(broken, refresh_token=broken.access_token)
    for account in (broken, other):
        ends_in(account, 59 * DAY)
    assert maintain_tokens() == Upkeep(renewed=1, failed=1)


# --- bad days --------------------------------------------------------------------------------------------------------
def test_a_deviantart_that_is_away_is_asked_three_times_a_run(sandbox, connect):
    accounts = [connect(f"artist{number}") for number in range(5)]
    for account in accounts:
        ends_in(account, 59 * DAY)
    sandbox.faults([FAILS])
    assert maintain_tokens() == Upkeep(failed=3, is_cut_short=True)
    assert refreshes(sandbox) == 3
    # The others are asked about first when the next run comes.
    untried = set(DeviantArtAccount.objects.filter(refresh_failures=0))
    DeviantArtAccount.objects.update(refresh_retry_at=None)
    assert set(needing_renewal()[:2]) == untried
    sandbox.clear_faults()
    assert maintain_tokens() == Upkeep(renewed=5)


def test_wrong_credentials_of_the_installation_alarm_its_operators_and_nobody_else(sandbox, connect):
    accounts = [connect(f"artist{number}") for number in range(5)]
    works = [scheduled_work(account) for account in accounts]
    for account in accounts:
        ends_in(account, 59 * DAY)
    body = {"error": "invalid_client", "error_description": "Client authentication failed.", "status": "error"}
    sandbox.faults([{**FAILS, "status": 401, "body": body}])
    assert maintain_tokens() == Upkeep(failed=3, is_cut_short=True)
    notification = Notification.objects.get()
    assert (notification.kind, notification.workspace, notification.user) == ("client_refused", None, None)
    assert set(DeviantArtAccount.objects.values_list("state", "paused", "not_before")) == {(State.ACTIVE, False, None)}
    assert all(is_untouched(work) for work in works)


def test_a_run_is_bounded_and_the_next_goes_on(sandbox, connect, sent, monkeypatch):
    monkeypatch.setattr(maintaining, "MOST_PER_RUN", 2)
    for number in range(5):
        ends_in(connect(f"artist{number}"), 59 * DAY)
    assert [maintain_tokens().renewed for _run in range(4)] == [2, 2, 1, 0]
    assert sent == ["maintenance.maintain_tokens"] * 2
    assert refreshes(sandbox) == 5


def test_a_run_ends_in_time(sandbox, account, sent, monkeypatch):
    monkeypatch.setattr(maintaining, "RUN_SECONDS", 0)
    ends_in(account, 59 * DAY)
    assert maintain_tokens() == Upkeep(is_cut_short=True)
    assert refreshes(sandbox) == 0
    # Nothing was done, so another one at once would do nothing either.
    assert sent == []


def test_a_run_that_was_killed_has_done_what_it_has_done(sandbox, connect, monkeypatch):
    for number in range(3):
        ends_in(connect(f"artist{number}"), 59 * DAY)

    class Killed(BaseException):
        """As good as a signal: nothing of ours catches it."""

    swap = tokens._swap

    def killed_after_the_first(*args: Any, **options: Any) -> None:
        swap(*args, **options)
        raise Killed

    monkeypatch.setattr(tokens, "_swap", killed_after_the_first)
    with pytest.raises(Killed):
        maintain_tokens()
    monkeypatch.setattr(tokens, "_swap", swap)
    assert maintain_tokens() == Upkeep(renewed=2)
    assert refreshes(sandbox) == 3


# --- warning ---------------------------------------------------------------------------------------------------------
def test_an_owner_is_warned_a_week_and_urgently_a_day_before_once_each(sandbox, account, later):
    work = scheduled_work(account)
    sandbox.faults([FAILS])
    ends_in(account, 8 * DAY)
    warned = []
    for _run in range(4 * 9):
        warned.append(maintain_tokens().warned)
        later(timedelta(hours=6))
    assert [number for number, count in enumerate(warned) if count] == [4, 28]
    assert sum(warned) == len(told("login_ends_soon")) + len(told("login_ends_tomorrow")) == 2
    for kind, words in (("login_ends_soon", "goes on trying"), ("login_ends_tomorrow", "Connect it again now")):
        (notification,) = told(kind)
        assert notification.workspace == account.workspace
        subject, text = text_of(notification, language="en")
        assert "mira" in subject
        assert words in text
        assert f"{account.refresh_expires_at:%Y-%m-%d}" in text
        assert "/connect/" in text
    account.refresh_from_db()
    assert (account.state, account.token_version) == (State.ACTIVE, 1)
    assert is_untouched(work)
    # A login that was not renewed for so long is asked about to the end, and DeviantArt's word decides.
    sandbox.clear_faults()
    assert maintain_tokens().renewed == 1


def test_a_run_that_comes_late_warns_urgently_alone(sandbox, account):
    sandbox.faults([FAILS])
    ends_in(account, timedelta(hours=5))
    assert maintain_tokens().warned == 1
    assert [each.kind for each in Notification.objects.all()] == ["login_ends_tomorrow"]


def test_a_login_that_has_just_been_renewed_is_not_warned_of(sandbox, account):
    ends_in(account, timedelta(hours=5))
    assert maintain_tokens() == Upkeep(renewed=1)
    assert Notification.objects.count() == 0


def test_the_next_login_is_warned_of_anew(sandbox, account):
    sandbox.faults([FAILS])
    for version in (1, 2):
        ends_in(account, timedelta(hours=5))
        change(account, token_version=version, refresh_retry_at=None)
        maintain_tokens()
    assert len(told("login_ends_tomorrow")) == 2
