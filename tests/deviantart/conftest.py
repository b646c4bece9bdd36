"""A sandbox for the tests of the client, emptied before each of them."""

from collections.abc import Iterator

import pytest

from tests.sandbox_process import SandboxProcess


@pytest.fixture(scope="session")
def _sandbox_of_the_client() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_sandbox_of_the_client: SandboxProcess) -> SandboxProcess:
    _sandbox_of_the_client.reset()
    # Each body has a key that nobody knows: a client must not mind.
    _sandbox_of_the_client.profile(extra_key_chance=1)
    return _sandbox_of_the_client
