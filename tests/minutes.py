"""How long each part of the suite took, as the table of docs/testing.md.

    python -m tests.minutes REPORT

REPORT is pytest's JUnit file. The minutes are those of the tests, which run in several processes side by side.
"""

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

# A file that takes longer than this is a part of its own; the others count with their folder.
LONG_SECONDS = 20.0


def seconds_by_part(report: Path) -> dict[str, tuple[int, float]]:
    """How many tests each part has, and their seconds."""
    files: dict[str, list[float]] = defaultdict(list)
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest has just written it
        names = [name for name in case.get("classname", "").split(".") if not name.startswith("Test")]
        files["/".join(names)].append(float(case.get("time", "0")))
    parts: dict[str, tuple[int, float]] = {}
    for name, times in files.items():
        folder = "/".join(name.split("/")[:2])
        part = f"{name}.py" if sum(times) > LONG_SECONDS else f"{folder}/" if name.count("/") > 1 else "tests/"
        number, seconds = parts.get(part, (0, 0.0))
        parts[part] = number + len(times), seconds + sum(times)
    return parts


def table(parts: dict[str, tuple[int, float]]) -> str:
    """In Markdown, the longest first."""
    rows = sorted(parts.items(), key=lambda each: -each[1][1])
    total = sum(number for number, _seconds in parts.values()), sum(seconds for _number, seconds in parts.values())
    lines = ["| part | tests | minutes |", "|---|---|---|"]
    lines += [f"| `{part}` | {number} | {seconds / 60:.1f} |" for part, (number, seconds) in rows]
    return "\n".join([*lines, f"| all | {total[0]} | {total[1] / 60:.1f} |"])


if __name__ == "__main__":
    print(table(seconds_by_part(Path(sys.argv[1]))))
