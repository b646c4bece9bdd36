"""Why a work failed, waits or asks, in sentences."""

import ast
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import DeviantArtAccount
from deviations.web.reasons import reason_of
from isekai import clock
from tests.factories import DueDeviationFactory


def codes() -> set[str]:
    """Every reason with which the publisher ends a work, as its source has them."""
    found: set[str] = set()
    for file in (Path(settings.BASE_DIR) / "publisher/services").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in {
                "end",
                "give_up",
                "move_to",
            }:
                found |= {
                    keyword.value.value
                    for keyword in node.keywords
                    if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant)
                }
    return found


def explained(work) -> str:
    reason = reason_of(work, zone=work.workspace.memberships.get().user.zone, now=clock.now())
    return f"{reason.short} | {reason.what} | {reason.then}" if reason else ""


def test_the_codes_of_the_publisher_are_found():
    assert {"unconfirmed", "our_fault", "late"} <= codes()


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_end_that_the_publisher_knows_is_explained(account, code):
    work = DueDeviationFactory(
        workspace=account.workspace, account=account, title="Moth", status="failed", reason_code=code
    )
    assert "Moth" in explained(work)
    assert "open it to see why" not in explained(work)


def test_an_end_that_nobody_foresaw_is_explained_as_such(account):
    work = DueDeviationFactory(
        workspace=account.workspace, account=account, title="Moth", status="failed", reason_code="new_one"
    )
    assert "“Moth” did not go out." in explained(work)


def test_the_words_of_deviantart_are_quoted(account):
    work = DueDeviationFactory(
        workspace=account.workspace,
        account=account,
        status="failed",
        reason_code="refused",
        reason_params={"description": "Tags may only contain letters and numbers."},
    )
    assert "It said: “Tags may only contain letters and numbers”." in explained(work)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "reauth_required"}, "lost its login"),
        ({"paused": True}, "is paused"),
        ({"base_url": "https://elsewhere.example"}, "connected at another server"),
        ({"not_before": clock.now() + timedelta(hours=1), "not_before_reason": "rate_limit"}, "asked us to slow down"),
        ({"not_before": clock.now() + timedelta(hours=1), "not_before_reason": "quota"}, "used up"),
        ({"not_before": clock.now() + timedelta(hours=1)}, "cannot publish at the moment"),
    ],
)
def test_a_held_account_says_why_and_until_when(account, settings, fields, words):
    work = DueDeviationFactory(workspace=account.workspace, account=account)
    DeviantArtAccount.objects.update(**{"base_url": settings.DEVIANTART_BASE_URL, **fields})
    work.account.refresh_from_db()
    assert words in explained(work)
    if "not_before" in fields:
        assert "goes on" in explained(work)


def test_a_work_that_goes_its_way_needs_no_explanation(account, settings):
    DeviantArtAccount.objects.update(base_url=settings.DEVIANTART_BASE_URL)
    account.refresh_from_db()
    assert explained(DueDeviationFactory(workspace=account.workspace, account=account)) == ""
