"""Tests cannot be switched off unseen: what has run is compared with floor.txt, and a skipped test is an error.

    python -m tests.floor REPORT

REPORT is pytest's JUnit file. Raise the floor with the tests that you add; lower it only in a commit that says why.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

FLOOR = Path(__file__).with_name("floor.txt")


@dataclass(frozen=True)
class Counts:
    collected: int
    failed: int
    skipped: int

    @property
    def passed(self) -> int:
        return self.collected - self.failed - self.skipped


def counts(report: Path) -> Counts:
    """Of one JUnit file; tests that ended in an error, also in their set-up, count as failed."""
    suites = list(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest has just written it

    def total(*names: str) -> int:
        return sum(int(suite.get(name, "0")) for suite in suites for name in names)

    return Counts(collected=total("tests"), failed=total("failures", "errors"), skipped=total("skipped"))


def problems(found: Counts, floor: int) -> list[str]:
    wrong = []
    if found.skipped:
        wrong.append(f"{found.skipped} tests were skipped: each test runs everywhere, or is no test.")
    if found.passed < floor:
        wrong.append(f"{found.passed} tests passed, fewer than the floor of {floor} in {FLOOR.name}.")
    return wrong


def main(report: Path) -> int:
    floor = int(FLOOR.read_text(encoding="utf-8").split()[0])
    if not report.exists() or not report.stat().st_size:
        print("No test report: pytest did not get as far as writing one.")
        return 1
    found = counts(report)
    print(
        f"{found.collected} collected, {found.passed} passed, {found.failed} failed, {found.skipped} skipped; "
        f"the floor is {floor}"
    )
    wrong = problems(found, floor)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
