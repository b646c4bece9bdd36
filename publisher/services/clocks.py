"""Three clocks decide when a work goes out: the database's, this host's, and DeviantArt's. Whether they agree.

The database's clock is the one that counts. A host whose own is far off takes up no works, and nobody else has to wait
for it; where DeviantArt's is far from the database's nobody can say which of them is right, and the installation waits.
"""

import socket
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction

from accounts.errors import AccountError
from accounts.models import AuditEvent, DeviantArtAccount
from accounts.services.clients import client_for
from accounts.services.notifying import notify
from accounts.services.tokens import usable_token
from deviantart.errors import DeviantArtError
from deviantart.pace import Kind
from isekai import clock
from publisher import metrics
from publisher.models import InstallationHold
from publisher.services.marks import INSTALLATION_ID, INSTALLATION_SUBJECT
from publisher.services.turns import NotYet, PacedReader

logger = structlog.get_logger(__name__)

ALARM_SECONDS = 2.0
# DeviantArt's `Date` has whole seconds: it means the second that it names.
DATE_RESOLUTION_SECONDS = 1.0
# So many accounts are tried for a look at DeviantArt's clock.
ASKED_MOST = 3


class Level(IntEnum):
    FINE = 0
    ALARM = 1
    HOLD = 2


@dataclass(frozen=True, slots=True)
class Clocks:
    """By how many seconds the others are ahead of the database for certain: 0 where they may agree, None: not known."""

    host_seconds: float | None = None
    remote_seconds: float | None = None

    @property
    def host(self) -> Level:
        return level_of(self.host_seconds)

    @property
    def remote(self) -> Level:
        return level_of(self.remote_seconds)


def compare_clocks(
    *,
    database_at: datetime,
    host_at: datetime | None = None,
    remote_at: datetime | None = None,
    uncertainty_seconds: float = 0.0,
) -> Clocks:
    """Compare what the clocks said at one moment, which is known to ``uncertainty_seconds``, either way."""

    def ahead(other: datetime | None) -> float | None:
        if other is None:
            return None
        difference = (other - database_at) / timedelta(seconds=1)
        certain = max(0.0, abs(difference) - uncertainty_seconds)
        return certain if difference > 0 else -certain

    return Clocks(ahead(host_at), ahead(remote_at))


def level_of(seconds: float | None) -> Level:
    """What follows from a difference."""
    apart = abs(seconds or 0.0)
    # 0: only ever an alarm.
    if settings.CLOCK_HOLD_SECONDS and apart > settings.CLOCK_HOLD_SECONDS:
        return Level.HOLD
    return Level.ALARM if apart > ALARM_SECONDS else Level.FINE


# --- this host ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Measured:
    """By how much this host's clock is ahead of the database's, and how exactly that is known; both in seconds."""

    offset_seconds: float
    uncertainty_seconds: float


_measured: Measured | None = None
_levels: dict[str, Level] = {}


def measure_host() -> Clocks:
    """Compare this host's clock with the database's, for every claim until the next time. Raises DatabaseError."""
    global _measured  # noqa: PLW0603 - one process, one host
    host_at, began = clock.now(), time.monotonic()
    database_at = clock.database_now()
    half = (time.monotonic() - began) / 2
    host_at += timedelta(seconds=half)
    _measured = Measured((host_at - database_at).total_seconds(), half)
    clocks = compare_clocks(database_at=database_at, host_at=host_at, uncertainty_seconds=half)
    metrics.CLOCK_DIFFERENCE.labels("host").set(_measured.offset_seconds)
    _tell("host", clocks.host, clocks.host_seconds or 0.0)
    return clocks


def host_agrees() -> bool:
    """Whether this host's clock is near enough to the database's for this process to take up works."""
    return _levels.get("host", Level.FINE) is not Level.HOLD


def seconds_since(database_at: datetime) -> float:
    """How long ago that was by the database's clock, as far as is known without asking it; never negative."""
    ahead = _measured.offset_seconds if _measured is not None else 0.0
    return max(0.0, (clock.now() - database_at).total_seconds() - ahead)


def forget_measures() -> None:
    """As in a process that has just begun."""
    global _measured  # noqa: PLW0603
    _measured = None
    _levels.clear()


# --- DeviantArt -----------------------------------------------------------------------------------------------------
def note_remote(remote_at: datetime | None, *, started_at: datetime) -> None:
    """DeviantArt's ``Date`` in the answer to a call that was begun at ``started_at`` (database's clock). Never raises.

    Costs nothing as long as the clocks agree; without a measure of this host's own clock nothing is known.
    """
    measured = _measured
    if remote_at is None or measured is None:
        return
    now = clock.now() - timedelta(seconds=measured.offset_seconds)
    took = max(timedelta(), now - started_at)
    clocks = _compare_remote(now - took, now, remote_at, measured.uncertainty_seconds)
    try:
        _judge_remote(clocks)
    except DatabaseError as error:
        logger.warning("clocks_not_judged", error=type(error).__name__)


def recheck_clocks() -> bool:
    """While the clocks hold the installation: look at DeviantArt's again; whether it is lifted."""
    if not InstallationHold.objects.filter(reason=InstallationHold.Reason.CLOCK).exists():
        return False
    accounts = DeviantArtAccount.objects.filter(
        state=DeviantArtAccount.State.ACTIVE, base_url=settings.DEVIANTART_BASE_URL
    )
    for account in accounts.order_by("?")[:ASKED_MOST]:
        clocks = _look(account)
        if clocks is None:
            continue
        if clocks.remote is Level.HOLD:
            return False
        _lift(clocks)
        return True
    return False


def _look(account: DeviantArtAccount) -> Clocks | None:
    """What an answer of DeviantArt says; None without one."""
    try:
        # Held works are due all the time, and wait for this.
        reader = PacedReader(client_for(account, usable_token(account.pk)), account, Kind.PUBLISH)
        before = clock.database_now()
        page = next(reader.gallery_pages(), None)
        after = clock.database_now()
    except (DeviantArtError, AccountError, NotYet) as error:
        logger.info("clocks_not_compared", account_id=str(account.pk), error=error.code)
        return None
    if page is None or page.date is None:
        return None
    return _compare_remote(before, after, page.date, 0.0)


def _compare_remote(began_at: datetime, ended_at: datetime, remote_at: datetime, uncertainty_seconds: float) -> Clocks:
    """The answer was made at some moment of the call, and in some part of the second that it names."""
    half = (ended_at - began_at) / 2
    second = timedelta(seconds=DATE_RESOLUTION_SECONDS)
    return compare_clocks(
        database_at=began_at + half,
        remote_at=remote_at + second / 2,
        uncertainty_seconds=(half + second / 2).total_seconds() + uncertainty_seconds,
    )


def _judge_remote(clocks: Clocks) -> None:
    seconds = clocks.remote_seconds or 0.0
    metrics.CLOCK_DIFFERENCE.labels("deviantart").set(seconds)
    _tell("deviantart", clocks.remote, seconds)
    if clocks.remote is Level.HOLD:
        _hold(seconds)


def _hold(seconds: float) -> None:
    with transaction.atomic():
        _row, made = InstallationHold.objects.get_or_create(
            reason=InstallationHold.Reason.CLOCK, defaults={"params": {"seconds": round(seconds, 1)}}
        )
        if made:
            _record("installation.held", seconds)
    if made:
        logger.critical("installation_held", reason="clock", seconds=round(seconds, 1))


def _lift(clocks: Clocks) -> None:
    with transaction.atomic():
        lifted, _rows = InstallationHold.objects.filter(reason=InstallationHold.Reason.CLOCK).delete()
        if lifted:
            _record("installation.released", clocks.remote_seconds or 0.0)
    if lifted:
        logger.warning("installation_released", reason="clock")


def _record(verb: str, seconds: float) -> None:
    AuditEvent.objects.create(
        verb=verb,
        subject_type=INSTALLATION_SUBJECT,
        subject_id=INSTALLATION_ID,
        params={"reason": InstallationHold.Reason.CLOCK.value, "seconds": round(seconds, 1)},
    )


def _tell(which: str, level: Level, seconds: float) -> None:
    """One line in the log for each change, and one message a day to the operators for each host."""
    if _levels.get(which, Level.FINE) is level:
        return
    if level is Level.FINE:
        logger.info("clocks_agree_again", clock=which)
    else:
        host = socket.gethostname() if which == "host" else ""
        logger.error("clocks_disagree", clock=which, seconds=round(seconds, 1), level=level.name.lower())
        notify(
            "clocks_disagree",
            workspace=None,
            dedupe_key=f"clocks:{which}:{host}:{level.name.lower()}:{clock.now():%Y%m%d}",
            clock=host or "DeviantArt",
            seconds=round(seconds, 1),
        )
    # Last: a message that could not be written is tried again with the next measure.
    _levels[which] = level
