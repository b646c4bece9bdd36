"""Holidays: no slot of any automation that posts to the account, from the moment on at which they are saved."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from accounts.models import AuditEvent, DeviantArtAccount, User, Workspace
from automations.errors import FieldsRefused, ReferenceNotFound
from automations.models import Automation, Blackout
from automations.services import blackouts
from automations.services.blackouts import add_blackout, edit_blackout, remove_blackout, scheduled_within
from automations.services.saving import create_automation
from tests.factories import BlackoutFactory, DeviantArtAccountFactory, DueDeviationFactory
from tests.unchanged import assert_refused

pytestmark = pytest.mark.django_db
SetClock = Callable[[datetime], None]
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin
HOLIDAYS = {"from_date": date(2030, 1, 8), "until_date": date(2030, 1, 10)}
AT_NINE = {"type": "fixed_time", "time_of_day": time(9)}


def at_nine(day: int) -> datetime:
    return datetime(2030, 1, day, 8, tzinfo=UTC)


def make(workspace: Workspace, account: DeviantArtAccount | None) -> Automation:
    account_id = account.pk if account else None
    return create_automation(workspace, user=None, name="x", account_id=account_id, rules=[AT_NINE], enabled=True)


def next_of(automation: Automation) -> datetime | None:
    return automation.rules.get().next_slot_at


def test_slots_wait_for_the_end_of_a_blackout_and_come_back_when_it_is_taken_back(
    workspace: Workspace, account: DeviantArtAccount, artist: User, set_clock: SetClock
) -> None:
    set_clock(NOON)
    automation = make(workspace, account)
    assert next_of(automation) == at_nine(8)
    blackout = add_blackout(account, user=artist, name=" New  Year ", **HOLIDAYS)
    assert (blackout.name, blackout.handling) == ("New Year", "skip")
    assert next_of(automation) == at_nine(11)
    blackout = edit_blackout(blackout, user=artist, until_date=date(2030, 1, 8))
    assert next_of(automation) == at_nine(9)
    remove_blackout(blackout, user=artist)
    assert next_of(automation) == at_nine(8)
    events = AuditEvent.objects.filter(subject_id=account.pk).order_by("id")
    assert [(event.verb, event.user, event.workspace) for event in events] == [
        (f"account.blackout_{verb}", artist, workspace) for verb in ("added", "edited", "removed")
    ]
    assert events[0].params == {
        "blackout": events[1].params["blackout"],
        "from": "2030-01-08",
        "until": "2030-01-10",
        "handling": "skip",
    }


def test_it_is_of_its_account_alone_and_of_what_names_none_where_that_is_the_only_one(
    workspace: Workspace, account: DeviantArtAccount, set_clock: SetClock
) -> None:
    set_clock(NOON)
    open_to_all = make(workspace, None)
    add_blackout(account, user=None, **HOLIDAYS)
    assert next_of(open_to_all) == at_nine(11)
    other = DeviantArtAccountFactory(workspace=workspace)
    of_other = make(workspace, other)
    assert next_of(of_other) == at_nine(8)
    # With two accounts each draft goes to its own, so that some may go out on these days.
    assert next_of(make(workspace, None)) == at_nine(8)


@pytest.mark.parametrize(
    ("fields", "field", "word"),
    [
        ({"until_date": date(2030, 1, 7)}, "until_date", "before"),
        ({"until_date": date(2031, 1, 9)}, "until_date", "366"),
        ({"until_date": None}, "until_date", "null"),
        ({"from_date": None}, "from_date", "null"),
        ({"handling": "ignore"}, "handling", "ignore"),
        ({"name": "x" * 101}, "name", "100"),
        ({"name": None}, "name", "null"),
        ({"account_id": None}, "account_id", "no such field"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_accepted(
    account: DeviantArtAccount, fields: dict[str, Any], field: str, word: str
) -> None:
    blackout = add_blackout(account, user=None, **HOLIDAYS)
    for error in (
        assert_refused(FieldsRefused, add_blackout, account, user=None, **HOLIDAYS | fields),
        assert_refused(FieldsRefused, edit_blackout, blackout, user=None, **fields),
    ):
        assert list(error.details) == [field]
        assert word in str(error.details[field])


def test_what_goes_out_on_days_of_blackouts_all_the_same_is_counted_for_each_in_one_query(
    account: DeviantArtAccount, workspace: Workspace, django_assert_num_queries: Any
) -> None:
    first = add_blackout(account, user=None, **HOLIDAYS)
    other = DeviantArtAccountFactory(workspace=workspace)
    second = BlackoutFactory(account=other, from_date=date(2030, 1, 10), until_date=date(2030, 1, 20))
    for owner, day in ((account, 7), (account, 8), (account, 10), (account, 11), (other, 8), (other, 20)):
        at = at_nine(day)
        DueDeviationFactory(workspace=workspace, account=owner, scheduled_at=at, publish_at=at)
    DueDeviationFactory(
        workspace=workspace, account=account, publish_at=at_nine(9), status="failed", reason_code="refused"
    )
    with django_assert_num_queries(1):
        assert scheduled_within([first, second], zone="Europe/Berlin") == {first.pk: 2, second.pk: 1}
    with django_assert_num_queries(0):
        assert scheduled_within([], zone="Europe/Berlin") == {}


def test_what_changes_nothing_writes_nothing(account: DeviantArtAccount) -> None:
    blackout = add_blackout(account, user=None, **HOLIDAYS)
    edit_blackout(blackout, user=None, **HOLIDAYS)
    assert AuditEvent.objects.count() == 1
    assert Blackout.objects.get().updated_at == blackout.updated_at


def test_what_was_taken_out_meanwhile_is_not_found(account: DeviantArtAccount) -> None:
    blackout = add_blackout(account, user=None, **HOLIDAYS)
    remove_blackout(blackout, user=None)
    for call in (edit_blackout, remove_blackout):
        assert_refused(ReferenceNotFound, call, blackout, user=None)


def test_there_is_a_bound_to_how_many_lie_ahead(
    account: DeviantArtAccount, monkeypatch: pytest.MonkeyPatch, set_clock: SetClock
) -> None:
    set_clock(NOON)
    monkeypatch.setattr(blackouts, "BLACKOUTS_MAX", 1)
    BlackoutFactory(account=account, from_date=date(2029, 1, 1), until_date=date(2029, 1, 2))
    add_blackout(account, user=None, **HOLIDAYS)
    error = assert_refused(FieldsRefused, add_blackout, account, user=None, **HOLIDAYS)
    assert "at most 1" in str(error.details)
