"""Accounts with real tokens of a running sandbox, without the browser's part of connecting."""

from django.conf import settings

from accounts.models import DeviantArtAccount, Workspace
from accounts.services.secrets import ensure_keys
from accounts.services.tokens import store_tokens
from deviantart.oauth import TokenPair
from isekai.ids import new_id
from tests.factories import UserFactory, workspace_of
from tests.sandbox_process import SandboxProcess


def connected_account(
    sandbox: SandboxProcess, username: str, *, workspace: Workspace | None = None
) -> DeviantArtAccount:
    """The account of a sandbox user (made when needed), connected to ``workspace`` or to a new user's."""
    ensure_keys()  # its row goes with each test that empties the tables
    answer = sandbox.tokens(username)
    account = DeviantArtAccount(
        id=new_id(),
        workspace=workspace or workspace_of(UserFactory()),
        remote_user_id=str(new_id()).upper(),
        username=username,
        base_url=settings.DEVIANTART_BASE_URL,
    )
    pair = TokenPair(
        access_token=answer["access_token"],
        refresh_token=answer["refresh_token"],
        expires_in=answer["expires_in"],
        scopes=tuple(answer["scope"].split()),
    )
    store_tokens(account, pair)
    account.save(force_insert=True)
    return account
