"""Where DeviantArt is, who we are there, and how long a call may take."""

import re
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from urllib.parse import urlsplit

USER_AGENT = "Isekai/0.1.0"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Upper bounds in seconds; each call ends within its own, whatever the other side does.

    ``connect_seconds`` covers finding the address, connecting and the TLS handshake. ``stall_seconds`` is for one write
    that makes no progress, and for one silence while a read or a token call is answered. The others bound whole calls.
    """

    connect_seconds: float = 5.0
    stall_seconds: float = 20.0
    read_seconds: float = 30.0
    token_seconds: float = 30.0
    submit_seconds: float = 300.0
    publish_seconds: float = 60.0

    def scaled(self, factor: float) -> "Timeouts":
        """The same bounds, each ``factor`` times as long."""
        return Timeouts(**{bound.name: getattr(self, bound.name) * factor for bound in fields(self)})


@dataclass(frozen=True, slots=True)
class Config:
    """One application at one DeviantArt (or at its stand-in).

    ``ca_bundle`` is a file of certificates to trust in place of the usual ones; there is no way to trust none. Raises
    ValueError for a base url that would carry tokens in plain text over a network.
    """

    client_id: str
    client_secret: str = field(repr=False)
    base_url: str = "https://www.deviantart.com"
    timeouts: Timeouts = Timeouts()
    user_agent: str = USER_AGENT
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError(f"A base url looks like https://www.deviantart.com, not like {self.base_url!r}.")
        if parts.scheme == "http" and not self.is_loopback:
            raise ValueError(
                "A base url without TLS may only point to this machine: tokens would travel in plain text."
            )
        if not re.fullmatch(r"[\x21-\x7e][\x20-\x7e]*", self.user_agent):
            raise ValueError("DeviantArt blocks requests without a User-Agent; it is one line of ASCII characters.")

    @property
    def is_loopback(self) -> bool:
        """Whether the base url points to this very machine, which only a stand-in does."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def api_url(self) -> str:
        return self.base_url.rstrip("/") + "/api/v1/oauth2"

    @property
    def oauth_url(self) -> str:
        return self.base_url.rstrip("/") + "/oauth2"
