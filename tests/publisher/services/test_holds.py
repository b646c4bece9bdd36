"""Whose works may go out at this moment."""

from datetime import timedelta

import pytest

from accounts.models import DeviantArtAccount
from isekai import clock
from publisher.models import GalleryCheck, InstallationHold
from publisher.services.holds import able_accounts
from tests.factories import DeviantArtAccountFactory

pytestmark = pytest.mark.django_db


def able(*, deferred: bool = False) -> set[DeviantArtAccount]:
    return set(DeviantArtAccount.objects.filter(able_accounts(deferred=deferred)))


def test_an_account_of_which_nothing_speaks_against_it_is_able():
    account = DeviantArtAccountFactory()
    assert able() == {account}


@pytest.mark.parametrize(
    "fields",
    [{"paused": True}, {"state": "reauth_required"}, {"base_url": "https://elsewhere.example"}],
    ids=["paused", "login lost", "another server"],
)
def test_a_held_account_holds_nobody_else(fields: dict[str, object]):
    DeviantArtAccountFactory(**fields)
    other = DeviantArtAccountFactory()
    assert able() == {other}


def test_a_wait_that_deviantart_asked_for_ends_by_itself():
    waiting = DeviantArtAccountFactory(not_before=clock.now() + timedelta(minutes=1))
    over = DeviantArtAccountFactory(not_before=clock.now() - timedelta(minutes=1))
    assert able() == {over}
    assert able(deferred=True) == {waiting, over}


@pytest.mark.parametrize("reason", ["restored", "clock"])
def test_a_held_installation_holds_everybody(reason: str):
    DeviantArtAccountFactory()
    InstallationHold.objects.create(reason=reason)
    assert able() == able(deferred=True) == set()


def test_an_open_gallery_check_holds_its_account_alone():
    checked, other = DeviantArtAccountFactory(), DeviantArtAccountFactory()
    check = GalleryCheck.objects.create(account=checked, published_after=clock.now())
    assert able() == {other}
    GalleryCheck.objects.filter(pk=check.pk).update(done_at=clock.now())
    assert able() == {checked, other}
