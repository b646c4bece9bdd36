"""One sandbox for this folder's tests, emptied before each of them."""

from collections.abc import Iterator

import pytest

from tests.deviantart.sandbox.artist import Artist
from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def _running_sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_running_sandbox: SandboxProcess) -> SandboxProcess:
    _running_sandbox.reset()
    # No surprises where a test compares whole bodies.
    _running_sandbox.profile(extra_key_chance=0)
    return _running_sandbox


@pytest.fixture
def anna(sandbox: SandboxProcess) -> Artist:
    return Artist(sandbox, "anna")
