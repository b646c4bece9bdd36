"""Five engines that break one promise each, to prove that the run and its checker would see it.

A mutant is the engine with one idea taken out: `mutated/sitecustomize.py` is put first on the path of the processes and
changes what it names when it is imported. Nothing of it is in the engine itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "mutated"
VARIABLE = "ISEKAI_MUTANT"


@dataclass(frozen=True, slots=True)
class Mutant:
    """``breaks`` are the promises of which at least one must be seen broken.

    The rest are the conditions under which that is soon: kinds of faults, points at which processes are stopped (none:
    all of them), and what the sandbox is told.
    """

    name: str
    what: str
    breaks: frozenset[str]
    faults: str
    each: int = 8
    minutes: float = 1.0
    works: int = 60
    titles: int = 3
    points: tuple[str, ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)


# Waits are at a tenth: a publish call of 2.5 s, nearly half its deadline.
SLOW = {"latency_ms": {"/stash/publish": 25_000, "*": 300}}
# Two of three answers to a publish call are lost, half of them after the commit.
FORGETFUL = {
    "drawn_faults": [
        {"match": {"path": "/stash/publish"}, "do": "reset_before", "times": None, "chance": 0.33},
        {"match": {"path": "/stash/publish"}, "do": "reset_after_commit", "times": None, "chance": 0.5},
    ]
}

MUTANTS = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            "unfenced",
            "whoever once held a lease may go on deciding and calling after it was lost",
            frozenset({"doubled", "blind_repeats", "early", "after_cancel"}),
            faults="stop_at_point",
            points=("before_submit_intent", "before_submit_sent", "submit_answered", "before_publish_intent"),
            profile=SLOW,
        ),
        Mutant(
            "blind_repeat",
            "a publish call without an answer is repeated at once, as a new upload",
            frozenset({"doubled", "blind_repeats"}),
            faults="none",
            minutes=0.5,
            works=30,
            profile=FORGETFUL,
        ),
        Mutant(
            "unconditional_claim",
            "a work is claimed whether or not somebody else has it",
            frozenset({"doubled", "blind_repeats"}),
            faults="none",
            minutes=0.5,
            works=30,
            profile=SLOW,
        ),
        Mutant(
            "title_settles",
            "what has the same title in the gallery is taken for the work",
            frozenset({"lost", "untrue"}),
            faults="none",
            minutes=0.5,
            titles=1,
            profile={**FORGETFUL, "gallery_delay_seconds": 0},
        ),
        Mutant(
            "fenced_evidence",
            "what a call brought back is written down only by whoever still holds the lease",
            frozenset({"forgotten"}),
            faults="lease_lost",
            each=15,
            profile={"latency_ms": {"/stash/publish": 5000, "*": 300}},
        ),
    )
}


def environment_of(mutant: str | None) -> dict[str, str]:
    """What makes a process of ours that mutant; nothing for the engine as it is."""
    return {} if mutant is None else {VARIABLE: mutant, "PYTHONPATH": str(FOLDER)}
