"""Sign in with DeviantArt, connect accounts to a workspace, connect them again, and disconnect them.

A flow begins in one browser and must end in the same one: the door keeps it in that browser's session, DeviantArt only
carries its ``state`` there and back (RFC 9700, sections 2.1 and 4.7; PKCE by RFC 7636).
"""

import hmac
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import structlog
from django.conf import settings
from django.db import connection, transaction

from accounts.errors import (
    AccountElsewhere,
    AccountForeign,
    ClientNotAccepted,
    ConnectDenied,
    ConnectError,
    ConnectUnavailable,
    DifferentAccount,
    FlowUnknown,
    RegistrationClosed,
    ScopesRefused,
    SecretUnreadable,
    UserInactive,
)
from accounts.models import DeviantArtAccount, Identity, User, Workspace
from accounts.services.audit import record
from accounts.services.clients import deviantart_config
from accounts.services.notifying import notify
from accounts.services.tokens import TOKEN_FIELDS, erase_tokens, refresh_token_of, store_tokens
from deviantart import oauth
from deviantart.client import Client
from deviantart.errors import ClientRefused, CodeRefused, DeviantArtError, ScopeMissing
from deviantart.oauth import TokenPair
from deviantart.types import User as Deviant
from isekai import clock, queue
from isekai.logging import correlation_id

logger = structlog.get_logger(__name__)

State = DeviantArtAccount.State

FLOW_SECONDS = 600
# Several tabs may each have begun one; a session is no place for more.
FLOWS_KEPT = 5


# --- a flow ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Flow:
    """What the browser's session remembers of a login that was begun: everything but ``state`` stays on the server.

    ``user_id`` is who connects an account, None for signing in; ``account_id`` is the account to be connected again.
    """

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    begun_at: float
    next: str = ""
    user_id: str | None = None
    account_id: str | None = None

    @property
    def is_sign_in(self) -> bool:
        return self.user_id is None


def begin_flow(
    *,
    next: str = "",  # noqa: A002 - the field's word
    user: User | None = None,
    account: DeviantArtAccount | None = None,
) -> tuple[Flow, str]:
    """A flow to be kept in the browser's session, and where at DeviantArt to send that browser.

    ``user`` connects an account, ``account`` where it is one to be connected again; without both it is a sign-in.
    """
    verifier, challenge = oauth.new_pkce()
    flow = Flow(
        state=oauth.new_state(),
        verifier=verifier,
        begun_at=clock.now().timestamp(),
        next=next,
        user_id=str(user.pk) if user is not None else None,
        account_id=str(account.pk) if account is not None else None,
    )
    url = oauth.authorize_url(deviantart_config(), redirect_uri=redirect_uri(), state=flow.state, challenge=challenge)
    return flow, url


def redirect_uri() -> str:
    """Exactly as it is registered at DeviantArt; it never depends on a request."""
    return f"{settings.PUBLIC_URL}/oauth/deviantart/callback/"


def keep_flow(kept: list[dict[str, Any]], flow: Flow) -> list[dict[str, Any]]:
    """What the session is to remember once ``flow`` has begun as well."""
    return [*kept, asdict(flow)][-FLOWS_KEPT:]


def take_flow(kept: list[dict[str, Any]], state: str) -> tuple[Flow, list[dict[str, Any]]]:
    """The flow that ``state`` belongs to, and what the session is to remember after it: each is good once.

    Raises FlowUnknown when this browser began none with that state, or too long ago.
    """
    found, others = None, []
    for entry in kept:
        # Every entry is compared, in constant time, so that nobody can guess a state character by character.
        if hmac.compare_digest(entry["state"].encode(), state.encode()):
            found = Flow(**entry)
        else:
            others.append(entry)
    if found is None or not 0 <= clock.now().timestamp() - found.begun_at < FLOW_SECONDS:
        raise FlowUnknown
    return found, others


# --- how it ends -----------------------------------------------------------------------------------------------------
def denial(error: str) -> ConnectError:
    """What an ``error`` of DeviantArt's authorize page means, in our words: its own are never shown."""
    if error == "access_denied":
        return ConnectDenied()
    if error in {"temporarily_unavailable", "server_error"}:
        return ConnectUnavailable()
    if error in {"unauthorized_client", "invalid_client"}:
        return ClientNotAccepted()
    return ConnectError()


def finish_sign_in(flow: Flow, *, code: str) -> User:
    """Who signs in by the ``code`` of DeviantArt. Somebody new becomes a user, with their account connected.

    Raises ConnectError.
    """
    grant = _Grant.of(flow, code)
    try:
        with transaction.atomic():
            _wait_for_turn(grant.deviant)
            identity = (
                Identity.objects.select_related("user")
                .filter(provider=Identity.Provider.DEVIANTART, remote_id=grant.deviant.user_id)
                .first()
            )
            if identity is None:
                user, is_kept = _register(grant), True
            elif identity.user.is_active:
                user, is_kept = identity.user, _renew_own_account(identity.user, grant)
            else:
                raise UserInactive
    except ConnectError:
        _give_back(grant.pair)
        raise
    if not is_kept:
        # They disconnected this account: signing in by it does not connect it again.
        _give_back(grant.pair)
    return user


def finish_connect(flow: Flow, *, code: str, user: User, workspace: Workspace) -> DeviantArtAccount:
    """Connect the account of whoever was signed in at DeviantArt to ``workspace``, or again to the one that it is in.

    Raises ConnectError: then nothing that was stored has changed.
    """
    grant = _Grant.of(flow, code)
    try:
        with transaction.atomic():
            _wait_for_turn(grant.deviant)
            if flow.account_id is not None:
                again = DeviantArtAccount.objects.owned_by(user).filter(pk=flow.account_id).first()
                if again is None or again.remote_user_id != grant.deviant.user_id:
                    raise DifferentAccount
                workspace = again.workspace
            account = _connect(grant, workspace=workspace, user=user)
    except ConnectError:
        _give_back(grant.pair)
        raise
    return account


@dataclass(frozen=True, slots=True)
class _Grant:
    """A pair of tokens that DeviantArt has just given out, and to whom."""

    pair: TokenPair
    deviant: Deviant
    asked_at: float

    @classmethod
    def of(cls, flow: Flow, code: str) -> Self:
        asked_at, config, tie = time.monotonic(), deviantart_config(), correlation_id() or None
        try:
            pair = oauth.exchange_code(
                config, code=code, redirect_uri=redirect_uri(), verifier=flow.verifier, correlation_id=tie
            )
        except DeviantArtError as error:
            raise _in_our_words(error) from None
        try:
            deviant = Client(config, pair.access_token, correlation_id=tie).whoami()
        except DeviantArtError as error:
            _give_back(pair)
            raise _in_our_words(error) from None
        return cls(pair, deviant, asked_at)

    @property
    def seconds_old(self) -> float:
        return time.monotonic() - self.asked_at


def _in_our_words(error: DeviantArtError) -> ConnectError:
    logger.warning("connect_failed", error=error.code, http_status=error.http_status)
    if isinstance(error, ClientRefused):
        return ClientNotAccepted()
    if isinstance(error, ScopeMissing):
        return ScopesRefused()
    if isinstance(error, CodeRefused):
        return ConnectError()
    return ConnectUnavailable()


def _wait_for_turn(deviant: Deviant) -> None:
    """Let nobody else decide about the same person at DeviantArt until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"deviant:{deviant.user_id}"])


def _register(grant: _Grant) -> User:
    if _connected(grant.deviant) is not None:
        # Who manages somebody's account must not become that person, nor the other way round.
        raise AccountElsewhere
    if not settings.ISEKAI_OPEN_REGISTRATION:
        raise RegistrationClosed
    user = User.objects.create_user(_free_username(grant.deviant.username))
    Identity.objects.create(user=user, provider=Identity.Provider.DEVIANTART, remote_id=grant.deviant.user_id)
    record("user.registered", user, user=user, provider=Identity.Provider.DEVIANTART)
    _connect(grant, workspace=Workspace.objects.of(user).get(), user=user)
    logger.info("user_registered", user_id=str(user.pk))
    return user


def _free_username(wanted: str) -> str:
    """The name that they have at DeviantArt, with a number behind it when somebody here already has it."""
    wanted = wanted[:140]
    taken = set(User.objects.filter(username__startswith=wanted).values_list("username", flat=True))
    number = 1
    name = wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _renew_own_account(user: User, grant: _Grant) -> bool:
    """Keep the new pair when the account is connected in a workspace of ``user``; that also heals a lost login."""
    account = _connected(grant.deviant)
    if account is None or not Workspace.objects.of(user).filter(pk=account.workspace_id).exists():
        return False
    _connect(grant, workspace=account.workspace, user=user)
    return True


def _connected(deviant: Deviant) -> DeviantArtAccount | None:
    return (
        DeviantArtAccount.objects.connected()
        .select_related("workspace")
        .filter(remote_user_id=deviant.user_id)
        .select_for_update(of=("self",))
        .first()
    )


def _connect(grant: _Grant, *, workspace: Workspace, user: User) -> DeviantArtAccount:
    """Store the pair in the account's row: the connected one, the one it once had in this workspace, or a new one."""
    account = _connected(grant.deviant)
    if account is not None and account.workspace_id != workspace.pk:
        raise AccountElsewhere
    if account is not None and account.is_foreign:
        raise AccountForeign
    if account is None:
        account = (
            DeviantArtAccount.objects.filter(
                workspace=workspace, remote_user_id=grant.deviant.user_id, base_url=settings.DEVIANTART_BASE_URL
            )
            .select_for_update()
            .order_by("-connected_at")
            .first()
        )
    is_new = account is None
    if account is None:
        account = DeviantArtAccount(
            workspace=workspace, remote_user_id=grant.deviant.user_id, base_url=settings.DEVIANTART_BASE_URL
        )
    account.username = grant.deviant.username[:100]
    icon_url = grant.deviant.icon_url or ""
    account.avatar_url = icon_url if len(icon_url) <= 500 else ""
    account.connected_at = clock.now()
    store_tokens(account, grant.pair, seconds_old=grant.seconds_old)
    # An answer without a scope grants what was asked for (RFC 6749, section 5.1).
    account.scopes = list(grant.pair.scopes or oauth.SCOPES)
    account.save()
    verb = "account.connected" if is_new else "account.reconnected"
    record(verb, account, user=user, username=account.username, missing_scopes=account.missing_scopes)
    # What waited for this login goes on at once.
    queue.send("publisher.publish_next", account.pk)
    logger.info(
        verb.replace(".", "_"),
        account_id=str(account.pk),
        user_id=str(user.pk),
        missing_scopes=account.missing_scopes,
    )
    return account


# --- disconnecting ---------------------------------------------------------------------------------------------------
BeforeDisconnect = Callable[[DeviantArtAccount, User], None]
_BEFORE_DISCONNECT: list[BeforeDisconnect] = []


def before_disconnect(step: BeforeDisconnect) -> BeforeDisconnect:
    """Register what an app above does before an account is disconnected.

    ``step`` runs in the transaction, with the account's row locked. It refuses by raising an IsekaiError, or takes back
    what was to be sent to that account.
    """
    _BEFORE_DISCONNECT.append(step)
    return step


def disconnect_account(account: DeviantArtAccount, *, user: User) -> bool:
    """End the account's connection: erase its tokens here, and take the authorisation back at DeviantArt.

    Works that are scheduled for it stay so and wait, as for every account that is held: connecting it again lets them
    go on, and nobody has to plan them a second time. Its owners are told when it was not one of them.

    Returns False when DeviantArt could not be told; then its owner should take it back there. What an app above
    registered may refuse, by its own IsekaiError. Nothing happens to an account that is disconnected already.
    """
    with transaction.atomic():
        account = DeviantArtAccount.objects.select_for_update().get(pk=account.pk)
        if account.state == State.DISCONNECTED:
            return True
        for step in _BEFORE_DISCONNECT:
            step(account, user)
        refresh_token = _readable_refresh_token(account)
        erase_tokens(account)
        account.state = State.DISCONNECTED
        account.state_reason = ""
        # Whoever is refreshing at this moment must not bring the account back.
        account.token_version += 1
        account.save(update_fields=TOKEN_FIELDS)
        record("account.disconnected", account, user=user, username=account.username)
        if not Workspace.objects.of(user).filter(pk=account.workspace_id).exists():
            notify(
                "account_disconnected",
                workspace=account.workspace,
                dedupe_key=f"account_disconnected:{account.pk}:{account.token_version}",
                username=account.username,
            )
    # After the commit: from here on nobody can use these tokens, whatever DeviantArt answers.
    is_revoked = refresh_token is not None and _revoke(account, refresh_token)
    logger.info("account_disconnected", account_id=str(account.pk), is_revoked=is_revoked)
    return is_revoked


def _readable_refresh_token(account: DeviantArtAccount) -> str | None:
    try:
        return refresh_token_of(account)
    except SecretUnreadable:
        # A key that is gone must not keep anybody from disconnecting.
        return None


def _revoke(account: DeviantArtAccount, refresh_token: str) -> bool:
    if account.is_foreign:
        return False
    try:
        oauth.revoke(deviantart_config(), refresh_token, correlation_id=correlation_id() or None)
    except DeviantArtError as error:
        logger.warning("account_not_revoked", account_id=str(account.pk), error=error.code)
        return False
    return True


def _give_back(pair: TokenPair) -> None:
    """End a grant that nobody needs, and only this one: the same person may be connected rightly elsewhere."""
    try:
        oauth.revoke(
            deviantart_config(), pair.refresh_token, refresh_only=True, correlation_id=correlation_id() or None
        )
    except DeviantArtError as error:
        logger.warning("unused_grant_not_revoked", error=error.code)
