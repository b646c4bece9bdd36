"""Accounts are held, and go on: nothing of their works changes."""

from datetime import timedelta

import pytest

from accounts.models import AuditEvent, DeviantArtAccount
from accounts.services.holding import defer_account, pause_account, release_account
from isekai import clock, queue
from tests.factories import DeviantArtAccountFactory, DueDeviationFactory, UserFactory


@pytest.fixture
def account(db: None) -> DeviantArtAccount:
    return DeviantArtAccountFactory()


def test_a_pause_holds_and_a_release_lets_go_on(account, monkeypatch):
    sent = []
    monkeypatch.setattr(queue, "send", lambda *names: sent.append(names))
    work = DueDeviationFactory(workspace=account.workspace, account=account, files=0)
    user = UserFactory()
    pause_account(account, user=user)
    pause_account(account, user=user)
    assert account.held_because == "paused"
    assert not DeviantArtAccount.objects.able().exists()
    release_account(account, user=user)
    assert DeviantArtAccount.objects.able().get() == account
    assert sent == [("publisher.publish_next", account.pk)]
    assert list(AuditEvent.objects.values_list("verb", flat=True)) == ["account.paused", "account.released"]
    before = (work.status, work.publish_at, work.version)
    work.refresh_from_db()
    assert (work.status, work.publish_at, work.version) == before


def test_a_release_does_not_lift_what_deviantart_asked_for(account):
    until = clock.now() + timedelta(hours=1)
    defer_account(account.pk, until=until, reason="rate_limit")
    release_account(account, user=UserFactory())
    account.refresh_from_db()
    assert (account.not_before, account.held_because) == (until, "rate_limit")


def test_a_deferral_never_shortens_another(account):
    later, sooner = clock.now() + timedelta(hours=2), clock.now() + timedelta(hours=1)
    defer_account(account.pk, until=later, reason="quota")
    defer_account(account.pk, until=sooner, reason="rate_limit")
    account.refresh_from_db()
    assert (account.not_before, account.not_before_reason) == (later, "quota")
    defer_account(account.pk, until=later + timedelta(hours=1), reason="rate_limit")
    account.refresh_from_db()
    assert account.not_before_reason == "rate_limit"


def test_a_deferral_ends_by_itself(account):
    defer_account(account.pk, until=clock.now() - timedelta(seconds=1), reason="rate_limit")
    account.refresh_from_db()
    assert not account.is_held
    assert DeviantArtAccount.objects.able().exists()
