"""How this installation talks to DeviantArt: its application, its bounds, and as whom."""

from typing import TYPE_CHECKING

from django.conf import settings

from accounts.errors import ForeignServer
from accounts.models import DeviantArtAccount
from deviantart.client import Client
from deviantart.config import USER_AGENT, Config, Timeouts
from isekai.logging import correlation_id

if TYPE_CHECKING:
    # It refreshes by the configuration made here.
    from accounts.services.tokens import Token


def deviantart_config() -> Config:
    """Where DeviantArt is, as which application we come there, and how long a call may take."""
    return Config(
        client_id=settings.DEVIANTART_CLIENT_ID,
        client_secret=settings.DEVIANTART_CLIENT_SECRET,
        base_url=settings.DEVIANTART_BASE_URL,
        # Whom DeviantArt can ask about these requests.
        user_agent=f"{USER_AGENT} (+{settings.PUBLIC_URL})",
        timeouts=Timeouts(
            connect_seconds=settings.DEVIANTART_CONNECT_SECONDS,
            stall_seconds=settings.DEVIANTART_READ_DEADLINE_SECONDS,
            read_seconds=settings.DEVIANTART_READ_DEADLINE_SECONDS,
            token_seconds=settings.DEVIANTART_TOKEN_DEADLINE_SECONDS,
            submit_seconds=settings.DEVIANTART_SUBMIT_DEADLINE_SECONDS,
            publish_seconds=settings.DEVIANTART_PUBLISH_DEADLINE_SECONDS,
        ),
    )


def client_for(account: DeviantArtAccount, token: "Token") -> Client:
    """A client that acts for ``account``. Raises ForeignServer for one that was connected at another server."""
    if account.is_foreign:
        raise ForeignServer
    return Client(deviantart_config(), token.value, correlation_id=correlation_id() or None)
