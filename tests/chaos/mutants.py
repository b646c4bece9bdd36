"""Five engines that break one promise each, to prove that the run and its checker would see it.

A mutant is the engine with one idea taken out: `mutated/sitecustomize.py` is put first on the path of the processes and
changes what it names when it is imported. Nothing of it is in the engine itself.
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "mutated"
VARIABLE = "ISEKAI_MUTANT"


@dataclass(frozen=True, slots=True)
class Mutant:
    """``breaks`` are the promises of which at least one must be seen broken."""

    name: str
    what: str
    breaks: frozenset[str]


MUTANTS = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            "unfenced",
            "whoever once held a lease may go on deciding and calling after it was lost",
            frozenset({"doubled", "blind_repeats", "untrue", "early", "after_cancel"}),
        ),
        Mutant(
            "blind_repeat",
            "a publish call without an answer is repeated at once, as a new upload",
            frozenset({"doubled", "blind_repeats"}),
        ),
        Mutant(
            "unconditional_claim",
            "a work is claimed whether or not somebody else has it",
            frozenset({"doubled", "blind_repeats", "untrue"}),
        ),
        Mutant(
            "title_settles",
            "what has the same title in the gallery is taken for the work",
            frozenset({"lost", "untrue"}),
        ),
        Mutant(
            "fenced_evidence",
            "what a call brought back is written down only by whoever still holds the lease",
            frozenset({"doubled", "blind_repeats", "untrue", "stuck", "lost"}),
        ),
    )
}


def environment_of(mutant: str | None) -> dict[str, str]:
    """What makes a process of ours that mutant; nothing for the engine as it is."""
    return {} if mutant is None else {VARIABLE: mutant, "PYTHONPATH": str(FOLDER)}
