"""What every benchmark prints: a table for people, or with --json one JSON object on the last line."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Measurement:
    """One number: ``unit`` is ``ms``, ``s``, ``MB/s``, ``1/s`` …; ``name`` is a sentence or a part of one."""

    name: str
    value: float
    unit: str


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def table(measurements: Sequence[Measurement]) -> str:
    width = max(len(measurement.name) for measurement in measurements)
    return "\n".join(f"{each.name:<{width}}  {each.value:>12,.2f} {each.unit}" for each in measurements)


class Findings(Protocol):
    """What a benchmark has found, where single numbers in a column do not show it."""

    def as_table(self) -> str: ...

    def as_json(self) -> dict[str, Any]: ...


def report(measure: Callable[[], Sequence[Measurement] | Findings], arguments: Sequence[str] | None = None) -> None:
    """Set Django up, measure, and print; called by the file of the benchmark when it is run."""
    import django

    django.setup()
    found = measure()
    wants_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    if not isinstance(found, Sequence):
        print(json.dumps(found.as_json()) if wants_json else found.as_table())
    elif wants_json:
        results = [{"name": each.name, "value": round(each.value, 4), "unit": each.unit} for each in found]
        print(json.dumps({"benchmark": Path(sys.argv[0]).stem, "results": results}))
    else:
        print(table(found))
