"""``./dev chaos``: the whole system under load, with everything breaking; its own servers, gone with it."""

import os
import sys
from collections.abc import Sequence

from isekai.devstack import PROJECT
from isekai.devstack.environment import without_settings
from isekai.devstack.foreground import run_in_foreground


def run_chaos(arguments: Sequence[str]) -> int:
    """0: every promise was kept; 1: one was broken; 2: the run says nothing, or cannot be understood."""
    environment = {**without_settings(os.environ), "PYTHONPATH": str(PROJECT)}
    return run_in_foreground([sys.executable, "-m", "tests.chaos.run", *arguments], environment)
