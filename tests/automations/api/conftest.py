"""Callers of the API."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.deviations.api.conftest import api, api_of

__all__ = ["api", "api_of"]

NOON = datetime(2030, 1, 7, 11, tzinfo=UTC)  # in Berlin, on a Monday


@pytest.fixture
def noon(set_clock: Callable[[datetime], None]) -> None:
    """It is NOON. Whoever asks for this first has a key that was made then."""
    set_clock(NOON)
