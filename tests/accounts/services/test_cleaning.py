from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session

from accounts.models import IdempotencyKey
from accounts.services.cleaning import forget_expired
from isekai import clock
from tests.factories import UserFactory, workspace_of

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
