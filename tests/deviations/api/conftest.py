"""Callers of the API."""

from collections.abc import Callable, Iterable

import pytest
from rest_framework.test import APIClient

from accounts.models import ApiKey, User
from accounts.services.api_keys import create_api_key
from tests.factories import UserFactory, workspace_of

ALL_SCOPES = tuple(ApiKey.Scope)


@pytest.fixture
def api_of(db: None) -> Callable[..., APIClient]:
    """Makes clients that call with an API key of a user: with all scopes unless told otherwise."""

    def make(user: User, scopes: Iterable[ApiKey.Scope] = ALL_SCOPES) -> APIClient:
        _key, raw = create_api_key(workspace_of(user), user=user, name="test", scopes=scopes)
        return APIClient(headers={"Authorization": f"Bearer {raw}"})

    return make


@pytest.fixture
def api(api_of: Callable[..., APIClient], artist: User) -> APIClient:
    """The artist's program."""
    return api_of(artist)


@pytest.fixture
def stranger(db: None) -> User:
    """The owner of another workspace."""
    return UserFactory()
