"""What an operator sees of the pace and the breakers: in the admin and in the metrics."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from prometheus_client import REGISTRY
from redis import Redis

from accounts.models import AuditEvent, DeviantArtAccount
from accounts.services.pacing import breaker, pace
from deviantart.errors import RateLimited
from deviantart.pace import Kind, Permit
from tests.factories import DeviantArtAccountFactory, UserFactory

pytestmark = pytest.mark.django_db
LIST = "/admin/accounts/deviantartaccount/"


@pytest.fixture
def account() -> Iterator[DeviantArtAccount]:
    """An account with a pace, and a breaker that is open."""
    account: DeviantArtAccount = DeviantArtAccountFactory()
    for _ in range(settings.CIRCUIT_BREAKER_THRESHOLD):
        breaker().after_call(account.pk, RateLimited())
    permit = pace().before_call(account.pk, Kind.PUBLISH)
    assert isinstance(permit, Permit)
    yield account
    breaker().reset(account.pk)
    pace().reset(account.pk)


@pytest.fixture
def operator(client: Client) -> Client:
    user = UserFactory(is_staff=True, is_superuser=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_the_list_of_accounts_shows_pace_and_breaker(operator: Client, account: DeviantArtAccount):
    page = operator.get(LIST).content.decode()
    assert f"{settings.RATE_LIMITER_BASE_DELAY_SECONDS:.1f} s" in page
    assert ">open<" in page.replace(" ", "").replace("\n", "")


def test_an_operator_resets_both(operator: Client, account: DeviantArtAccount):
    operator.post(LIST, {"action": "reset_pace", "_selected_action": [str(account.pk)]})
    assert breaker().before_call(account.pk, may_probe=False) is None
    assert AuditEvent.objects.filter(verb="account.pace_reset", subject_id=account.pk).count() == 1


def test_the_list_does_without_redis(operator: Client, account: DeviantArtAccount, monkeypatch: pytest.MonkeyPatch):
    def away(*_arguments: Any) -> Any:
        return type(pace())(Redis(port=9, socket_connect_timeout=0.2), pace().config)

    monkeypatch.setattr("accounts.admin.pace", away)
    page = operator.get(LIST)
    assert page.status_code == 200
    assert account.username in page.content.decode()


def test_the_metrics_count_open_breakers(account: DeviantArtAccount):
    labels = {"scope": "account", "position": "open"}
    assert (REGISTRY.get_sample_value("deviantart_breakers", labels) or 0) >= 1
    labels = {"scope": "installation", "position": "half_open"}
    assert REGISTRY.get_sample_value("deviantart_breakers", labels) is not None
