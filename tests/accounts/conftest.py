"""A DeviantArt for the accounts, and accounts with real tokens of it."""

import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.models import DeviantArtAccount, Workspace
from accounts.services.secrets import ensure_keys
from accounts.services.tokens import store_tokens
from deviantart.client import Client
from deviantart.config import Config
from deviantart.oauth import TokenPair
from isekai.ids import new_id
from tests.factories import UserFactory, workspace_of
from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def _sandbox_of_the_accounts() -> Iterator[SandboxProcess]:
    sandbox = SandboxProcess()
    # The usual one looks like an example, and our settings refuse to start a process with that.
    sandbox.client_secret = secrets.token_hex(16)
    with sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox_of_the_accounts: SandboxProcess, settings: Any) -> SandboxProcess:
    """Empty, and the one that this installation talks to. Whoever is sent to it allows everything at once."""
    sandbox = _sandbox_of_the_accounts
    sandbox.reset()
    sandbox.profile(auto_approve=True)
    settings.DEVIANTART_BASE_URL = sandbox.base_url
    settings.DEVIANTART_CLIENT_ID = sandbox.client_id
    settings.DEVIANTART_CLIENT_SECRET = sandbox.client_secret
    return sandbox


@pytest.fixture
def connect(sandbox: SandboxProcess, db: None) -> Callable[..., DeviantArtAccount]:
    """Connects an account of that name at the sandbox, as if its artist had gone through the login."""

    def connect(username: str, workspace: Workspace | None = None) -> DeviantArtAccount:
        ensure_keys()
        given = sandbox.tokens(username)
        config = Config(sandbox.client_id, sandbox.client_secret, sandbox.base_url)
        account = DeviantArtAccount(
            id=new_id(),
            workspace=workspace or workspace_of(UserFactory()),
            remote_user_id=Client(config, given["access_token"]).whoami().user_id,
            username=username,
            base_url=sandbox.base_url,
        )
        scopes = tuple(given["scope"].split())
        store_tokens(account, TokenPair(given["access_token"], given["refresh_token"], given["expires_in"], scopes))
        account.save(force_insert=True)
        return account

    return connect


@pytest.fixture
def account(connect: Callable[..., DeviantArtAccount]) -> DeviantArtAccount:
    return connect("mira")


@pytest.fixture
def later(transactional_db: None) -> Iterator[Callable[[timedelta], None]]:
    """Moves the database's clock forward, for this connection alone."""
    moved = timedelta()

    def move(by: timedelta) -> None:
        nonlocal moved
        moved += by
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('isekai.now', (clock_timestamp() + make_interval(secs => %s))::text, false)",
                [moved.total_seconds()],
            )

    yield move
    with connection.cursor() as cursor:
        cursor.execute("RESET isekai.now")
