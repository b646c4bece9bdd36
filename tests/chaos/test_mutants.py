"""An engine with one idea taken out breaks its promise, and is seen to; the engine as it is does not, in the same run.

Here are those that need no process to die, which takes half a minute each; ``./dev chaos --mutant`` has all of them.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from isekai.devstack.environment import without_settings
from tests.chaos.mutants import MUTANTS
from tests.chaos.run import BROKEN, KEPT
from tests.processes import ROOT

pytestmark = pytest.mark.processes

SMALL = ("--minutes", "0.25", "--works", "24", "--json")
# What meets at the same moment in so short a run depends on the machine: under one of these the mutant must be caught.
SEEDS = ("1", "2", "3")


def run(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """The exit code, the object on the last line, and all that was said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.run", *arguments, *SMALL],
        cwd=ROOT,
        env=without_settings(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    said = done.stdout + done.stderr
    assert done.returncode in {KEPT, BROKEN}, said[-5000:]
    return done.returncode, json.loads(done.stdout.strip().splitlines()[-1]), said


@pytest.mark.parametrize("name", ["blind_repeat", "unconditional_claim", "title_settles"])
def test_a_mutant_is_caught_where_the_engine_keeps_its_promises(name: str):
    for seed in SEEDS:
        with ThreadPoolExecutor(2) as both:
            mutated = both.submit(run, "--mutant", name, "--seed", seed)
            unmutated = both.submit(run, "--like", name, "--seed", seed)
        code, found, said = unmutated.result()
        assert (code, sum(found[promise] for promise in MUTANTS[name].breaks)) == (KEPT, 0), said[-5000:]
        code, found, said = mutated.result()
        if code == BROKEN:
            break
    assert code == BROKEN
    assert sum(found[promise] for promise in MUTANTS[name].breaks) > 0, said[-5000:]
