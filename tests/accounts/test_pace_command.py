"""The operator's door to the pace: `./dev manage pace`."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import AuditEvent, DeviantArtAccount
from accounts.services.holding import defer_account
from accounts.services.pacing import gate
from deviantart.errors import RateLimited, ServerFailed
from deviantart.pace import Kind, Permit, Reason, Wait
from isekai import clock
from tests.factories import DeviantArtAccountFactory

pytestmark = pytest.mark.django_db

LIMITED = RateLimited(error="user_api_threshold")


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """What other tests have left in the Redis that all of them share."""
    for pattern in ("isekai:pace:*", "isekai:breaker:*"):
        for key in gate().pace._redis.scan_iter(match=pattern):
            gate().pace._redis.delete(key)


@pytest.fixture
def pace(capsys: Any) -> Callable[..., str]:
    def pace(*arguments: str) -> str:
        out = StringIO()
        call_command("pace", *arguments, stdout=out)
        return out.getvalue()

    return pace


def limited(account: DeviantArtAccount, times: int = 1) -> None:
    permit = gate().before_call(account.pk, Kind.PUBLISH)
    assert isinstance(permit, Permit)
    for _ in range(times):
        gate().after_call(permit, LIMITED)
        permit = Permit(permit.account, permit.kind, permit.started_at + 1000)


def row(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(name)]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_nothing_is_known_at_first(pace: Callable[..., str]) -> None:
    assert row(pace(), "application") == ["application", "-", "-", "0", "0", "-", "-"]


def test_every_account_is_shown_by_its_name(pace: Callable[..., str]) -> None:
    anna, berta = DeviantArtAccountFactory(username="anna"), DeviantArtAccountFactory(username="berta")
    permit = gate().before_call(anna.pk, Kind.PUBLISH)
    assert isinstance(permit, Permit)
    gate().after_call(permit)
    limited(berta, times=3)
    table = pace()
    assert row(table, "anna")[3:5] == ["1", "0"]
    assert row(table, "berta")[3:5] == ["0", "3"]
    assert row(table, "berta")[-1] == "3 times 429, its breaker (open: limited)"
    assert "anna" in table.splitlines()[2]


def test_an_account_that_is_gone_is_shown_by_its_id(pace: Callable[..., str]) -> None:
    gate().before_call("01890000-0000-7000-8000-000000000000", Kind.READ)
    assert "01890000-0000-7000-8000-000000000000" in pace()


@pytest.mark.parametrize(("name", "reason"), [("anna", "rate_limit"), ("ANNA", "pace"), ("id", "breaker_limited")])
def test_an_account_is_reset_by_its_name_or_its_id(pace: Callable[..., str], name: str, reason: str) -> None:
    anna, berta = DeviantArtAccountFactory(username="anna"), DeviantArtAccountFactory(username="berta")
    for account in (anna, berta):
        limited(account, times=3)
        defer_account(account.pk, until=clock.now() + timedelta(hours=1), reason=reason)
    assert "anna starts anew" in pace("--reset", str(anna.pk) if name == "id" else name)
    assert isinstance(gate().before_call(anna.pk, Kind.PUBLISH), Permit)
    held = gate().before_call(berta.pk, Kind.PUBLISH)
    assert isinstance(held, Wait)
    assert held.reason is Reason.HELD
    anna.refresh_from_db()
    berta.refresh_from_db()
    assert (anna.not_before, anna.not_before_reason) == (None, "")
    assert berta.not_before is not None
    assert [(event.verb, event.subject_id) for event in AuditEvent.objects.all()] == [("account.pace_reset", anna.pk)]


def test_a_wait_for_another_reason_is_not_lifted(pace: Callable[..., str]) -> None:
    anna = DeviantArtAccountFactory(username="anna")
    defer_account(anna.pk, until=clock.now() + timedelta(hours=1), reason="quota")
    pace("--reset", "anna")
    anna.refresh_from_db()
    assert anna.not_before_reason == "quota"


def test_the_application_is_reset_by_its_name(pace: Callable[..., str]) -> None:
    anna = DeviantArtAccountFactory(username="anna")
    for _ in range(3):
        gate().breaker.after_call(anna.pk, ServerFailed(http_status=503))
    assert "maintenance" in row(pace(), "application")[-1]
    pace("--reset", "application")
    assert isinstance(gate().before_call(anna.pk, Kind.PUBLISH), Permit)


def test_an_account_that_nobody_has_is_not_reset(pace: Callable[..., str]) -> None:
    with pytest.raises(CommandError, match="There is no “nobody”"):
        pace("--reset", "nobody")


def test_a_name_that_two_accounts_have_is_not_guessed_at(pace: Callable[..., str]) -> None:
    one, two = DeviantArtAccountFactory(username="anna"), DeviantArtAccountFactory(username="Anna")
    with pytest.raises(CommandError, match="name one by its id") as refused:
        pace("--reset", "anna")
    assert str(one.pk) in str(refused.value)
    assert str(two.pk) in str(refused.value)


@pytest.mark.parametrize("arguments", [[], ["--reset", "application"]])
def test_without_redis_it_says_so(pace: Callable[..., str], settings: Any, arguments: list[str]) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match="Redis, which keeps the pace, does not answer"):
        pace(*arguments)
