"""What every test may use. The servers come from the environment that `./dev test` sets."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("isekai", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("isekai")

# The files that take minutes, the longest first: begun last, one of them would be what everybody waits for.
LONG = (
    "chaos/test_mutants.py",
    "publisher/test_fault_points.py",
    "publisher/test_processes.py",
    "publisher/test_restored.py",
    "publisher/test_model.py",
    "publisher/test_runtime.py",
    "publisher/test_redis_away.py",
    "publisher/test_drain.py",
    # Breaks things by the clock, and finds an occasion for all of them only beside what is light.
    "chaos/test_two_minutes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    order = {folder / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path, len(LONG)))
