from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session

from accounts.models import DeviantArtAccount, IdempotencyKey
from accounts.services.cleaning import forget_expired, forget_refresh_leases
from isekai import clock
from isekai.ids import new_id
from tests.factories import DeviantArtAccountFactory, UserFactory, workspace_of

pytestmark = pytest.mark.django_db


def test_what_has_expired_goes_and_the_rest_stays():
    workspace, now = workspace_of(UserFactory()), clock.now()
    for name, expires_at in (("old", now - timedelta(seconds=1)), ("new", now + timedelta(hours=1))):
        IdempotencyKey.objects.create(workspace=workspace, key=name, request_hash="0" * 64, expires_at=expires_at)
        Session.objects.create(session_key=name, session_data="", expire_date=expires_at)
    assert forget_expired() == 2
    assert IdempotencyKey.objects.get().key == "new"
    assert Session.objects.get().session_key == "new"
    assert forget_expired() == 0


def leased(ago: timedelta) -> DeviantArtAccount:
    return DeviantArtAccountFactory(refresh_lease_id=new_id(), refresh_lease_until=clock.now() - ago)


def test_a_refresh_lease_that_was_left_behind_goes_and_its_doubt_stays():
    old, recent = leased(timedelta(hours=1)), leased(timedelta(minutes=1))
    assert forget_refresh_leases() == 1
    old.refresh_from_db()
    recent.refresh_from_db()
    assert (old.refresh_lease_id, old.refresh_lease_until, old.refresh_in_doubt) == (None, None, True)
    assert (recent.refresh_lease_id is None, recent.refresh_in_doubt) == (False, False)
    assert forget_refresh_leases() == 0
