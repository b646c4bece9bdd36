"""The database's clock, this host's and DeviantArt's: what follows when they disagree."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AuditEvent, DeviantArtAccount, Notification
from accounts.services.tokens import Token
from deviantart.errors import Unreachable
from deviantart.types import Page, PublishReceipt
from deviations.models import Deviation
from isekai import clock
from publisher.models import InstallationHold, Worker
from publisher.services import clocks, publishing
from publisher.services.clocks import Clocks, Level, compare_clocks, level_of
from publisher.services.holds import able_accounts
from tests.fakes import FakeDeviantArt

MakeDue = Callable[..., Deviation]
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
seconds = st.floats(-100_000, 100_000)
uncertainties = st.floats(0, 100)


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    clocks.forget_measures()
    yield
    clocks.forget_measures()


@pytest.fixture
def gallery(deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch) -> FakeDeviantArt:
    monkeypatch.setattr(clocks, "client_for", lambda _account, _token: deviantart)
    monkeypatch.setattr(clocks, "usable_token", lambda _account_id, **_options: Token("token", 1))
    return deviantart


def run(work: Deviation) -> None:
    """What a wake-up of its account does."""
    assert work.account_id is not None
    publishing.publish_next(work.account_id)


# --- deciding --------------------------------------------------------------------------------------------------------
@given(seconds, uncertainties)
def test_a_difference_that_the_measure_may_have_made_is_none(ahead: float, uncertainty: float):
    compared = compare_clocks(
        database_at=NOON, host_at=NOON + timedelta(seconds=ahead), uncertainty_seconds=uncertainty
    )
    assert compared.host_seconds is not None
    assert abs(compared.host_seconds) == pytest.approx(max(0.0, abs(ahead) - uncertainty), abs=1e-5)
    assert compared.host_seconds * ahead >= 0  # which of them is ahead is kept
    assert compared.remote_seconds is None


@given(seconds, seconds, uncertainties)
def test_both_clocks_are_compared_with_the_databases_and_not_with_each_other(
    host: float, remote: float, uncertainty: float
):
    both = compare_clocks(
        database_at=NOON,
        host_at=NOON + timedelta(seconds=host),
        remote_at=NOON + timedelta(seconds=remote),
        uncertainty_seconds=uncertainty,
    )
    only = compare_clocks(database_at=NOON, remote_at=NOON + timedelta(seconds=remote), uncertainty_seconds=uncertainty)
    assert both.remote_seconds == only.remote_seconds


@given(seconds)
def test_up_to_two_seconds_are_fine_and_over_a_minute_holds_either_way(difference: float):
    level = level_of(difference)
    assert level is level_of(-difference)
    assert (level is Level.FINE) == (abs(difference) <= 2)
    assert (level is Level.HOLD) == (abs(difference) > django_settings.CLOCK_HOLD_SECONDS)


@given(seconds, seconds)
def test_more_certainty_never_softens_the_judgement(one: float, other: float):
    smaller, larger = sorted([one, other], key=abs)
    assert level_of(smaller) <= level_of(larger)


@given(seconds)
def test_with_holding_switched_off_there_is_only_an_alarm(difference: float):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(django_settings, "CLOCK_HOLD_SECONDS", 0)
        assert level_of(difference) is not Level.HOLD


@given(st.floats(0, 60), st.floats(0, 1), st.floats(0, 0.999))
def test_clocks_that_agree_never_alarm_however_long_the_call_was(took: float, answered: float, part: float):
    """DeviantArt answers at some moment of the call, and names the second that it is in."""
    began = NOON + timedelta(seconds=part)
    remote = (began + timedelta(seconds=took * answered)).replace(microsecond=0)
    compared = clocks._compare_remote(began, began + timedelta(seconds=took), remote, 0.0)
    assert compared.remote_seconds == pytest.approx(0, abs=1e-5)


# --- this host -------------------------------------------------------------------------------------------------------
def set_host_ahead(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(seconds=ahead))


@pytest.mark.django_db(transaction=True)
def test_a_host_whose_clock_agrees_takes_up_works():
    assert clocks.measure_host().host is Level.FINE
    assert clocks.host_agrees()


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_a_host_whose_clock_is_far_off_takes_up_nothing_and_holds_nobody_else(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch, ahead: float
):
    work = make_due()
    with monkeypatch.context() as patch:
        set_host_ahead(patch, ahead)
        clocks.measure_host()
        assert not clocks.host_agrees()
        run(work)
    work.refresh_from_db()
    assert work.status == Deviation.Status.SCHEDULED
    assert not InstallationHold.objects.exists()
    clocks.measure_host()
    run(work)
    work.refresh_from_db()
    assert work.status == Deviation.Status.PUBLISHED


@pytest.mark.django_db(transaction=True)
def test_operators_are_told_of_a_host_once_a_day_and_not_with_every_heartbeat(monkeypatch: pytest.MonkeyPatch):
    for ahead in (10, 11, 0, 12):
        with monkeypatch.context() as patch:
            set_host_ahead(patch, ahead)
            clocks.measure_host()
            assert clocks.host_agrees()
    assert Notification.objects.filter(kind="clocks_disagree").count() == 1


# --- DeviantArt ------------------------------------------------------------------------------------------------------
def answer_with(deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    publish = deviantart._publish

    def publish_at_another_time(item_id: int, fields: dict[str, Any]) -> PublishReceipt:
        receipt = publish(item_id, fields)
        return PublishReceipt(receipt.deviation_id, receipt.url, clock.now() + timedelta(seconds=ahead))

    monkeypatch.setattr(deviantart, "_publish", publish_at_another_time)


@pytest.mark.parametrize("ahead", [-600, 600])
def test_a_publish_whose_date_is_far_off_holds_the_installation(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch, ahead: float
):
    one, other = make_due(), make_due()
    clocks.measure_host()
    answer_with(deviantart, monkeypatch, ahead)
    run(one)
    one.refresh_from_db()
    assert one.status == Deviation.Status.PUBLISHED  # what is done is done
    assert InstallationHold.objects.get().reason == "clock"
    run(other)
    other.refresh_from_db()
    assert other.status == Deviation.Status.SCHEDULED
    assert not DeviantArtAccount.objects.filter(able_accounts()).exists()
    assert Notification.objects.filter(kind="clocks_disagree").count() == 1
    assert AuditEvent.objects.filter(verb="installation.held").count() == 1


def test_a_few_seconds_are_an_alarm_and_hold_nobody(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    work = make_due()
    clocks.measure_host()
    answer_with(deviantart, monkeypatch, 20)
    run(work)
    assert not InstallationHold.objects.exists()
    assert Notification.objects.filter(kind="clocks_disagree").count() == 1


def test_a_process_that_has_not_measured_its_own_clock_judges_nobody_elses(
    make_due: MakeDue, worker: Worker, deviantart: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    work = make_due()
    answer_with(deviantart, monkeypatch, 600)
    run(work)
    assert not InstallationHold.objects.exists()


def show_date(gallery: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    def pages(**_options: Any) -> Iterator[Page[Any]]:
        yield Page((), None, clock.now() + timedelta(seconds=ahead))

    monkeypatch.setattr(gallery, "gallery_pages", pages)


def test_the_hold_is_lifted_as_soon_as_the_clocks_agree(
    make_due: MakeDue, gallery: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    make_due()
    clocks._hold(600.0)
    show_date(gallery, monkeypatch, 600)
    assert not clocks.recheck_clocks()
    assert InstallationHold.objects.exists()
    show_date(gallery, monkeypatch, 0)
    assert clocks.recheck_clocks()
    assert not InstallationHold.objects.exists()
    assert AuditEvent.objects.filter(verb="installation.released").count() == 1


def test_without_an_answer_of_deviantart_the_hold_stays(
    make_due: MakeDue, gallery: FakeDeviantArt, monkeypatch: pytest.MonkeyPatch
):
    make_due()
    clocks._hold(600.0)

    def away(**_options: Any) -> Iterator[Any]:
        raise Unreachable

    monkeypatch.setattr(gallery, "gallery_pages", away)
    assert not clocks.recheck_clocks()
    assert InstallationHold.objects.exists()


def test_nothing_is_asked_while_nothing_is_held(make_due: MakeDue, gallery: FakeDeviantArt):
    make_due()
    assert not clocks.recheck_clocks()
    assert gallery.calls == []


def test_a_hold_for_another_reason_is_not_the_clocks_to_lift(make_due: MakeDue, gallery: FakeDeviantArt):
    make_due()
    InstallationHold.objects.create(reason="restored", params={})
    assert not clocks.recheck_clocks()
    assert InstallationHold.objects.exists()


def test_what_is_not_known_is_fine():
    assert (Clocks().host, Clocks().remote) == (Level.FINE, Level.FINE)
