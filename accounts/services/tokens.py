"""Access tokens: handed out, and renewed by one process at a time (deviantart-api.md, section 3.4).

DeviantArt's refresh tokens are good once. Who refreshes takes a lease on the account's row, asks without a transaction,
and writes the new pair by compare-and-swap on ``token_version``; everybody else reads the row until it has changed. A
process that dies in between leaves its lease behind, which tells the next one that the refresh token may be used up.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.db.models import Case, F, Q, QuerySet, Value, When

from accounts.errors import ForeignServer, LoginLost, TokenUnavailable
from accounts.metrics import TOKEN_REFRESHES
from accounts.models import DeviantArtAccount
from accounts.services.audit import record
from accounts.services.clients import deviantart_config
from accounts.services.notifying import notify
from accounts.services.secrets import Place, Purpose, decrypt, encrypt, key_id, writing_key
from deviantart import oauth
from deviantart.errors import ClientRefused, DeviantArtError, GrantDead, Outcome
from deviantart.oauth import TokenPair
from isekai import clock, faults
from isekai.ids import new_id
from isekai.logging import correlation_id

logger = structlog.get_logger(__name__)

State = DeviantArtAccount.State

# A token is judged alive so long before its end: the call that it is for has to reach DeviantArt.
ALIVE_SECONDS = 10.0
# After a refresh that brought nothing the next waits so long, twice as long each time.
FIRST_RETRY_SECONDS = 5.0
LAST_RETRY_SECONDS = 300.0
# The application's own credentials are wrong: only the operator can change that.
CLIENT_REFUSED_RETRY_SECONDS = 60.0

# What store_tokens and erase_tokens change.
TOKEN_FIELDS = [
    "access_token",
    "refresh_token",
    "encryption_key",
    "access_expires_at",
    "refresh_expires_at",
    "scopes",
    "token_version",
    "state",
    "state_reason",
    "refresh_lease_id",
    "refresh_lease_until",
    "refresh_retry_at",
    "refresh_in_doubt",
    "refresh_failures",
]


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and the version of the pair that it belongs to."""

    value: str = field(repr=False)
    version: int


@dataclass(frozen=True, slots=True)
class _Reading:
    """The account's row and the database's clock when it was read."""

    account: DeviantArtAccount
    now: datetime

    @property
    def is_in_doubt(self) -> bool:
        """Whether the refresh token may be used up, a lease included that its process left behind."""
        until = self.account.refresh_lease_until
        return self.account.refresh_in_doubt or (until is not None and until <= self.now)

    def lives_for(self, seconds: float) -> bool:
        expires_at = self.account.access_expires_at
        return expires_at is not None and expires_at > self.now + timedelta(seconds=seconds)


def usable_token(
    account_id: UUID,
    *,
    must_live_seconds: float | None = None,
    rejected_version: int | None = None,
    just_read: tuple[DeviantArtAccount, datetime] | None = None,
) -> Token:
    """An access token that will live ``must_live_seconds`` (None: the usual margin), renewed where that is needed.

    ``rejected_version`` is the version of a token that DeviantArt answered with a 401: while that version is still the
    current one, it is renewed whatever its expiry says. A token that lives shorter than asked for is handed out when it
    cannot be renewed at the moment, or when the refresh token may have been used up by a refresh whose answer was lost:
    trying that once more comes last, since DeviantArt may take it for theft. Waits while another process renews it.
    ``just_read`` spares reading the account: as somebody read it a moment ago, with the database's clock then.

    Raises LoginLost, ForeignServer, TokenUnavailable, or SecretUnreadable. Must not be called inside a transaction.
    """
    margin = settings.TOKEN_REFRESH_MARGIN_SECONDS if must_live_seconds is None else must_live_seconds
    give_up_at = time.monotonic() + 2 * settings.TOKEN_REFRESH_LEASE_SECONDS
    while True:
        reading = _read(account_id) if just_read is None else _checked(*just_read)
        just_read = None
        account = reading.account
        is_rejected = account.token_version == rejected_version
        is_alive = not is_rejected and reading.lives_for(ALIVE_SECONDS)
        if is_alive and (reading.lives_for(margin) or reading.is_in_doubt):
            return _token_of(account)
        wait = _seconds_until(account.refresh_retry_at, reading.now)
        if wait > 0:
            if is_alive:
                return _token_of(account)
            raise TokenUnavailable(retry_after_seconds=wait)
        # Read before the lease is taken: a lease that is left behind means that it may have been used up.
        refresh_token = refresh_token_of(account)
        if _take_lease(account):
            _refresh(account, refresh_token)
        elif time.monotonic() > give_up_at:
            raise TokenUnavailable(retry_after_seconds=settings.TOKEN_REFRESH_LEASE_SECONDS)
        else:
            time.sleep(settings.TOKEN_REFRESH_POLL_SECONDS)


def store_tokens(account: DeviantArtAccount, pair: TokenPair, *, seconds_old: float = 0.0) -> None:
    """Put ``pair`` into ``account`` in memory, as a new version and an active account; the caller saves TOKEN_FIELDS.

    ``account`` must have its key and its workspace already: the ciphertext is bound to both. ``seconds_old`` is how
    long ago DeviantArt gave the pair out, at most.
    """
    given_out_at = clock.database_now() - timedelta(seconds=seconds_old)
    key = writing_key()
    account.access_token = encrypt(pair.access_token, Place.of(account, "access_token"), Purpose.TOKEN, key=key)
    account.refresh_token = encrypt(pair.refresh_token, Place.of(account, "refresh_token"), Purpose.TOKEN, key=key)
    account.encryption_key_id = key_id(key)
    account.access_expires_at = given_out_at + timedelta(seconds=pair.expires_in)
    account.refresh_expires_at = given_out_at + timedelta(days=settings.REFRESH_TOKEN_DAYS)
    if pair.scopes:
        account.scopes = list(pair.scopes)
    account.token_version += 1
    account.state = State.ACTIVE
    account.state_reason = ""
    _forget_refresh(account)


def erase_tokens(account: DeviantArtAccount) -> None:
    """Take the ciphertext out of ``account`` in memory; the caller saves the row, in another state than *active*."""
    account.access_token = account.refresh_token = ""
    account.encryption_key_id = None
    account.access_expires_at = account.refresh_expires_at = None
    _forget_refresh(account)


def _forget_refresh(account: DeviantArtAccount) -> None:
    account.refresh_lease_id = account.refresh_lease_until = account.refresh_retry_at = None
    account.refresh_in_doubt = False
    account.refresh_failures = 0


def refresh_token_of(account: DeviantArtAccount) -> str:
    """The refresh token itself, for revoking it. Raises SecretUnreadable."""
    return decrypt(account.refresh_token, Place.of(account, "refresh_token"), Purpose.TOKEN)


def lose_login(account_id: UUID, *, token_version: int, reason: str) -> bool:
    """Note that the account's login has ended, and tell its owners; False when that is no longer so.

    Only an active account whose pair is still the one that failed loses its login: somebody may have connected it
    again meanwhile. Its works are not touched: they wait.
    """
    with transaction.atomic():
        lost = DeviantArtAccount.objects.filter(pk=account_id, state=State.ACTIVE, token_version=token_version).update(
            state=State.REAUTH_REQUIRED, state_reason=reason, refresh_lease_id=None, refresh_lease_until=None
        )
        if not lost:
            return False
        account = DeviantArtAccount.objects.select_related("workspace").get(pk=account_id)
        _tell_of_lost_login(account)
    logger.warning("account_login_lost", account_id=str(account_id), token_version=token_version, reason=reason)
    return True


def lose_tokens(account: DeviantArtAccount, *, reason: str) -> None:
    """Erase a pair that nobody can read any more, and tell the account's owners; the caller holds the row's lock."""
    erase_tokens(account)
    account.state = State.REAUTH_REQUIRED
    account.state_reason = reason
    account.token_version += 1
    account.save(update_fields=TOKEN_FIELDS)
    _tell_of_lost_login(account)
    logger.warning("account_tokens_lost", account_id=str(account.pk), reason=reason)


def _tell_of_lost_login(account: DeviantArtAccount) -> None:
    record("account.login_lost", account, reason=account.state_reason)
    notify(
        "login_lost",
        workspace=account.workspace,
        dedupe_key=f"login_lost:{account.pk}:{account.token_version}",
        username=account.username,
        account_id=str(account.pk),
        reason=account.state_reason,
    )


def _read(account_id: UUID) -> _Reading:
    account = DeviantArtAccount.objects.annotate(now=clock.DatabaseNow()).get(pk=account_id)
    return _checked(account, account.now)


def _checked(account: DeviantArtAccount, now: datetime) -> _Reading:
    if account.state != State.ACTIVE:
        raise LoginLost(reason=account.state_reason or account.state)
    if account.is_foreign:
        raise ForeignServer
    return _Reading(account, now)


def _token_of(account: DeviantArtAccount) -> Token:
    value = decrypt(account.access_token, Place.of(account, "access_token"), Purpose.TOKEN)
    return Token(value, account.token_version)


def _seconds_until(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else (moment - now).total_seconds()


def _as_read(account: DeviantArtAccount) -> QuerySet[DeviantArtAccount]:
    """The row, if its pair is still the one that was read: what every write here compares before it swaps."""
    return DeviantArtAccount.objects.filter(pk=account.pk, token_version=account.token_version)


def _take_lease(account: DeviantArtAccount) -> bool:
    """Become the one who refreshes. A lease that was left behind means that nobody knows what came of that refresh."""
    account.refresh_lease_id = new_id()
    free = Q(refresh_lease_until__isnull=True) | Q(refresh_lease_until__lte=clock.DatabaseNow())
    rested = Q(refresh_retry_at__isnull=True) | Q(refresh_retry_at__lte=clock.DatabaseNow())
    # durable: it must be committed before DeviantArt is asked.
    with transaction.atomic(durable=True):
        taken = (
            _as_read(account)
            .filter(free, rested, state=State.ACTIVE)
            .update(
                refresh_lease_id=account.refresh_lease_id,
                refresh_lease_until=clock.DatabaseNow() + timedelta(seconds=settings.TOKEN_REFRESH_LEASE_SECONDS),
                refresh_in_doubt=Case(
                    When(refresh_lease_id__isnull=False, then=Value(True)), default=F("refresh_in_doubt")
                ),
            )
        )
    return taken == 1


def _refresh(account: DeviantArtAccount, refresh_token: str) -> None:
    """Ask for a new pair and write down what came of it; the caller reads the row again."""
    asked_at = time.monotonic()
    try:
        pair = oauth.refresh(deviantart_config(), refresh_token, correlation_id=correlation_id() or None)
    except GrantDead:
        TOKEN_REFRESHES.labels("login_lost").inc()
        lose_login(account.pk, token_version=account.token_version, reason="grant_dead")
        return
    except DeviantArtError as error:
        TOKEN_REFRESHES.labels(error.code).inc()
        _note_failure(account, error)
        return
    TOKEN_REFRESHES.labels("renewed").inc()
    faults.reach("token_refresh_answered")
    _write_down(account, pair, asked_at=asked_at)


def _note_failure(account: DeviantArtAccount, error: DeviantArtError) -> None:
    """Give the lease back, and say when the next try makes sense. No such error ends a login."""
    if isinstance(error, ClientRefused):
        wait = CLIENT_REFUSED_RETRY_SECONDS
        # One message a day, however many accounts run into it.
        notify("client_refused", workspace=None, dedupe_key=f"client_refused:{clock.now():%Y-%m-%d}")
    else:
        doubled = FIRST_RETRY_SECONDS * 2 ** min(account.refresh_failures, 10)
        wait = max(min(doubled, LAST_RETRY_SECONDS), error.retry_after_seconds or 0.0)
    wait *= settings.ISEKAI_TIME_SCALE
    is_lost = error.outcome is not Outcome.NO
    _as_read(account).filter(refresh_lease_id=account.refresh_lease_id).update(
        refresh_lease_id=None,
        refresh_lease_until=None,
        refresh_in_doubt=Value(True) if is_lost else F("refresh_in_doubt"),
        refresh_failures=F("refresh_failures") + 1,
        refresh_retry_at=clock.DatabaseNow() + timedelta(seconds=wait),
    )
    logger.warning(
        "token_refresh_failed",
        account_id=str(account.pk),
        token_version=account.token_version,
        error=error.code,
        answer_lost=is_lost,
        retry_after_seconds=round(wait, 1),
    )


def _write_down(account: DeviantArtAccount, pair: TokenPair, *, asked_at: float) -> None:
    """Write the new pair, again and again while the database fails: it exists nowhere else any more."""
    give_up_at = time.monotonic() + settings.TOKEN_WRITE_RETRY_SECONDS
    while True:
        try:
            _swap(account, pair, seconds_old=time.monotonic() - asked_at)
        except DatabaseFailure as error:
            if time.monotonic() > give_up_at:
                logger.critical("token_pair_not_written", account_id=str(account.pk), error=type(error).__name__)
                raise
            logger.warning("token_pair_write_repeated", account_id=str(account.pk), error=type(error).__name__)
            connection.close()
            time.sleep(settings.TOKEN_REFRESH_POLL_SECONDS)
        else:
            return


def _swap(account: DeviantArtAccount, pair: TokenPair, *, seconds_old: float) -> None:
    with transaction.atomic(durable=True):
        current = _as_read(account).exclude(state=State.DISCONNECTED).select_for_update().first()
        if current is not None:
            if current.state != State.ACTIVE:
                # Our lease had run out, and who came after us found the refresh token used up: by us.
                record("account.login_recovered", current)
            store_tokens(current, pair, seconds_old=seconds_old)
            current.save(update_fields=TOKEN_FIELDS)
    # A reconnect or a disconnect has ended what this pair belonged to.
    event = "token_refreshed" if current is not None else "token_refresh_superseded"
    logger.info(event, account_id=str(account.pk), token_version=account.token_version + 1)
