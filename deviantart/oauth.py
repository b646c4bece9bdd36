"""DeviantArt's OAuth 2.1: PKCE always, refresh tokens that rotate and are good once (deviantart-api.md, section 3)."""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from deviantart.calling import Caller
from deviantart.config import Config
from deviantart.errors import Call, Rejected
from deviantart.types import UnreadablePayload, identifier, text

SCOPES = ("basic", "user", "browse", "stash", "publish", "gallery")


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a grant consists of.

    ``expires_in`` is the access token's life in seconds, ``scopes`` what was granted, perhaps less than was asked for.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    scopes: tuple[str, ...]
    date: datetime | None = None

    def lacks(self, wanted: Sequence[str] = SCOPES) -> tuple[str, ...]:
        """Which of the wanted scopes were not granted."""
        return tuple(scope for scope in wanted if scope not in self.scopes)


def new_pkce() -> tuple[str, str]:
    """A verifier of 256 random bits, to be kept on the server, and its S256 challenge, to be sent along."""
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return verifier, base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def new_state() -> str:
    """A state of 256 random bits, to be bound to the browser's session."""
    return secrets.token_urlsafe(32)


def authorize_url(
    config: Config,
    *,
    redirect_uri: str,
    state: str,
    challenge: str,
    scopes: Sequence[str] = SCOPES,
    force_login: bool = False,
) -> str:
    """Where to send the browser; it comes back to ``redirect_uri`` with ``code`` and ``state``, or with ``error``."""
    query = {
        "response_type": "code",
        "client_id": config.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if force_login:
        query["view"] = "login"
    return f"{config.oauth_url}/authorize?{urlencode(query)}"


def exchange_code(
    config: Config, *, code: str, redirect_uri: str, verifier: str, correlation_id: str | None = None
) -> TokenPair:
    """Turn the code of a login into tokens, once. Raises CodeRefused, ClientRefused or another DeviantArtError."""
    data = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", verifier),
    ]
    return _ask_for_tokens(config, Call.EXCHANGE, data, hidden=(code, verifier), correlation_id=correlation_id)


def refresh(config: Config, refresh_token: str, *, correlation_id: str | None = None) -> TokenPair:
    """Exchange a refresh token for a new pair; the old one is dead as soon as DeviantArt has seen it.

    Raises GrantDead only for a definite answer. After an error whose ``outcome`` is *unknown* the token may have been
    used up without its successor ever arriving.
    """
    data = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
    return _ask_for_tokens(config, Call.REFRESH, data, hidden=(refresh_token,), correlation_id=correlation_id)


def revoke(config: Config, token: str, *, refresh_only: bool = False, correlation_id: str | None = None) -> bool:
    """End the artist's whole authorisation, or with ``refresh_only`` this one grant.

    False if DeviantArt did not know the token, which then is as good as revoked.
    """
    data = [("token", token)]
    if refresh_only:
        data.append(("revoke_refresh_only", "true"))
    caller = Caller(config, secrets=(token, config.client_secret), correlation_id=correlation_id)
    try:
        caller.call(Call.REVOKE, "POST", f"{config.oauth_url}/revoke", data=data, read=lambda *_: None)
    except Rejected:
        return False
    return True


def _ask_for_tokens(
    config: Config,
    call: Call,
    data: list[tuple[str, str]],
    *,
    hidden: tuple[str, ...],
    correlation_id: str | None,
) -> TokenPair:
    def read(payload: Mapping[str, Any], date: datetime | None) -> TokenPair:
        return _token_pair(payload, date)

    credentials = [("client_id", config.client_id), ("client_secret", config.client_secret)]
    caller = Caller(config, secrets=(*hidden, config.client_secret), correlation_id=correlation_id)
    return caller.call(call, "POST", f"{config.oauth_url}/token", data=data + credentials, read=read)


def _token_pair(payload: Mapping[str, Any], date: datetime | None) -> TokenPair:
    access_token, refresh_token = text(payload.get("access_token")), text(payload.get("refresh_token"))
    expires_in = identifier(payload.get("expires_in"))
    if not access_token or not refresh_token or expires_in is None:
        raise UnreadablePayload("tokens")
    return TokenPair(access_token, refresh_token, expires_in, tuple(text(payload.get("scope")).split()), date)
