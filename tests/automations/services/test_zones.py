"""Another time zone: shown first, and then for all automations that go by it, in one transaction."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import partial

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.errors import ZoneNotConfirmed
from accounts.models import Membership, User, Workspace
from accounts.services.zones import change_time_zone
from automations.models import Automation, AutomationQuerySet
from automations.services import zones
from automations.services.saving import create_automation
from automations.services.zones import moves_of, moves_with_owner, shown_move
from isekai.errors import IsekaiError
from tests.automations.holding import batch_holding
from tests.deviations.races import beside
from tests.factories import ExecutionFactory, UserFactory
from tests.unchanged import everything

pytestmark = pytest.mark.django_db
SetClock = Callable[[datetime], None]
NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin
TOKYO = "Asia/Tokyo"


@pytest.fixture
def automation(workspace: Workspace, set_clock: SetClock) -> Automation:
    set_clock(NOON)
    return make(workspace)


def make(workspace: Workspace, zone: str = "") -> Automation:
    rule = {"type": "fixed_time", "time_of_day": time(18)}
    return create_automation(workspace, user=None, name="x", zone=zone, rules=[rule], enabled=True)


def mine(user: User) -> AutomationQuerySet:
    return Automation.objects.owned_by(user)


def next_of(automation: Automation) -> datetime | None:
    return automation.rules.get().next_slot_at


def test_what_would_move_is_shown_and_nothing_moves(automation: Automation) -> None:
    before = everything()
    moves = moves_of(automation, TOKYO)
    assert everything() == before
    # Tonight at six is over in Tokyo two hours before it begins in Berlin.
    assert shown_move(moves[0])["before"] == "2030-01-07T17:00:00+00:00"
    assert shown_move(moves[1]) == {
        "rule_id": str(automation.rules.get().pk),
        "before": "2030-01-08T17:00:00+00:00",
        "after": "2030-01-08T09:00:00+00:00",
    }
    assert len(moves) == 29


def test_what_was_scheduled_already_does_not_move(automation: Automation) -> None:
    rule = automation.rules.get()
    assert rule.next_slot_at is not None
    ExecutionFactory(rule=rule, local_date=NOON.date(), slot_at=rule.next_slot_at)
    assert shown_move(moves_of(automation, TOKYO)[0])["before"] == "2030-01-08T17:00:00+00:00"


def test_automations_go_with_the_clocks_of_their_owner(
    automation: Automation, workspace: Workspace, artist: User
) -> None:
    stays = make(workspace, zone="Europe/Berlin")
    ((moved, moves),) = moves_with_owner(mine(artist), user=artist, zone=TOKYO)
    assert (moved, len(moves)) == (automation, 29)
    change_time_zone(artist, TOKYO, is_confirmed=True)
    assert next_of(automation) == datetime(2030, 1, 8, 9, tzinfo=UTC)
    assert next_of(stays) == datetime(2030, 1, 7, 17, tzinfo=UTC)
    artist.refresh_from_db()
    assert artist.time_zone == TOKYO


def test_slots_move_with_the_clocks_of_their_owner_only_after_the_owner_has_said_so(
    automation: Automation, artist: User
) -> None:
    with pytest.raises(ZoneNotConfirmed, match="This moves 29 slots"):
        change_time_zone(artist, TOKYO)
    artist.refresh_from_db()
    assert artist.time_zone == "Europe/Berlin"
    assert next_of(automation) == datetime(2030, 1, 7, 17, tzinfo=UTC)


def test_another_zone_that_moves_nothing_needs_no_word(automation: Automation, artist: User) -> None:
    change_time_zone(artist, "Europe/Paris")  # its clocks are those of Berlin
    artist.refresh_from_db()
    assert artist.time_zone == "Europe/Paris"


def test_a_member_who_does_not_own_the_workspace_moves_nothing(automation: Automation, workspace: Workspace) -> None:
    member = UserFactory(time_zone="UTC")
    Membership.objects.create(user=member, workspace=workspace, role=Membership.Role.MEMBER)
    assert moves_with_owner(mine(member), user=member, zone=TOKYO) == []
    change_time_zone(member, TOKYO)
    assert next_of(automation) == datetime(2030, 1, 7, 17, tzinfo=UTC)


def test_of_two_owners_the_first_says_what_time_it_is(automation: Automation, workspace: Workspace) -> None:
    second = UserFactory(time_zone="UTC")
    Membership.objects.create(
        user=second, workspace=workspace, role=Membership.Role.OWNER, created_at=NOON + timedelta(days=365)
    )
    assert moves_with_owner(mine(second), user=second, zone=TOKYO) == []
    change_time_zone(second, TOKYO)
    assert next_of(automation) == datetime(2030, 1, 7, 17, tzinfo=UTC)


def test_a_change_that_an_app_refuses_has_not_happened(
    automation: Automation, artist: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_user: User) -> None:
        raise IsekaiError("Not now.")

    monkeypatch.setattr("accounts.services.zones._ON_CHANGE", [zones.plan_in_new_zone, refuse])
    with pytest.raises(IsekaiError):
        change_time_zone(artist, TOKYO, is_confirmed=True)
    assert artist.time_zone == "Europe/Berlin"
    artist.refresh_from_db()
    assert artist.time_zone == "Europe/Berlin"
    assert next_of(automation) == datetime(2030, 1, 7, 17, tzinfo=UTC)


def test_it_takes_as_many_queries_for_many_automations(
    automation: Automation, workspace: Workspace, artist: User
) -> None:
    counts = []
    for number, zone in ((1, TOKYO), (10, "America/New_York")):
        for _ in range(number):
            make(workspace)
        with CaptureQueriesContext(connection) as queries:
            assert moves_with_owner(mine(artist), user=artist, zone=zone)
            change_time_zone(artist, zone, is_confirmed=True)
        counts.append(len(queries))
    assert counts[0] == counts[1]


# --- the doors by which people say where they live -------------------------------------------------------------------
def test_the_page_moves_the_automations_of_whoever_says_where_they_live(
    automation: Automation, artist: User, client: Client
) -> None:
    client.force_login(artist)
    said = {"time_zone": TOKYO, "confirm_moves": TOKYO}
    assert client.post(reverse("accounts:time-zone"), said).status_code == 302
    assert next_of(automation) == datetime(2030, 1, 8, 9, tzinfo=UTC)


def test_an_operator_who_moves_somebody_moves_their_automations(
    automation: Automation, artist: User, client: Client
) -> None:
    client.force_login(User.objects.create_superuser("operator", "a long password of an operator"))
    url = reverse("admin:accounts_user_change", args=[artist.pk])
    form = client.get(url).context["adminform"].form.initial
    said = {name: form[name] for name in ("username", "email", "language", "theme") if form.get(name) is not None} | {
        "time_zone": TOKYO,
        "is_active": "on",
    }
    for prefix in ("memberships", "identities"):
        said |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    assert client.post(url, said).status_code == 302
    artist.refresh_from_db()
    assert artist.time_zone == TOKYO
    assert next_of(automation) == datetime(2030, 1, 8, 9, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_while_an_automation_runs_the_page_says_so_and_nobody_has_moved(
    automation: Automation, artist: User, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deviations.services.changing.LOCK_TIMEOUT", "100ms")
    client.force_login(artist)
    with batch_holding(automation):
        call = partial(client.post, reverse("accounts:time-zone"), {"time_zone": TOKYO, "confirm_moves": TOKYO})
        answer = beside(call).result(timeout=10)
    assert (answer.status_code, "at this moment" in answer.content.decode()) == (422, True)
    artist.refresh_from_db()
    assert artist.time_zone == "Europe/Berlin"
