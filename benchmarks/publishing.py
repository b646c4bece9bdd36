"""How fast and how punctual publishers are, and what happens after a kill (works/publishing.py).

BENCHMARK_PARTS=c5,lateness runs only these parts.
"""

from benchmarks.report import Findings, report


def measure() -> Findings:
    # Models can be imported once Django is set up, which `report` does.
    from benchmarks.works import publishing

    return publishing.measure()


if __name__ == "__main__":
    report(measure)
