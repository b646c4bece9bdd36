"""Why a work failed, waits or asks, in sentences."""

import ast
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import DeviantArtAccount
from deviations.services.reasons import explain, held_installation, reason_of
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
    reason = reason_of(work, when=lambda at: at.isoformat())
    return f"{reason.short} | {reason.what} | {reason.then}" if reason else ""


def test_the_codes_of_the_publisher_are_found():
    assert {"unconfirmed", "our_fault", "late"} <= codes()


# What other parts of the publisher set aside with.
OTHERS = {"crashed", "service_stopped", "restored", "partial"}


@pytest.mark.parametrize("code", sorted(codes() | OTHERS))
@pytest.mark.parametrize("status", ["failed", "needs_decision"])
def test_every_end_that_the_publisher_knows_is_explained(account, code, status):
    work = DueDeviationFactory(
        workspace=account.workspace, account=account, title="Moth", status=status, reason_code=code
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


def test_a_part_that_nobody_knows_of_is_told_otherwise_than_one_that_failed():
    asks, failed = (explain("partial", {}, title="Moth", status=status) for status in ("needs_decision", "failed"))
    assert "Nobody can tell" in asks.what
    assert "a part failed" in failed.what


@pytest.mark.parametrize("params", [{}, [], None, "text", {"description": None}, {"description": {"a": "%(b)s"}}])
@pytest.mark.parametrize("status", ["failed", "needs_decision"])
def test_parameters_of_another_release_do_no_harm(params, status):
    for code in ("refused", "from_the_future", "", "%(title)s"):
        assert str(explain(code, params, title="100% Moth", status=status))


def test_a_wait_is_told_while_nobody_works_on_it(account, settings):
    DeviantArtAccount.objects.update(base_url=settings.DEVIANTART_BASE_URL)
    account.refresh_from_db()
    for code, words in (("try_later", "did not get through"), ("service_stopped", "restarted"), ("odd", "goes on")):
        work = DueDeviationFactory(workspace=account.workspace, account=account, reason_code=code)
        assert words in explained(work)
        work.lease_id = work.pk
        assert explained(work) == ""


@pytest.mark.parametrize(("code", "words"), [("restored", "older"), ("clock", "clocks"), ("new_one", "stopped")])
def test_what_holds_the_installation_is_explained(code, words):
    assert words in held_installation(code).what
