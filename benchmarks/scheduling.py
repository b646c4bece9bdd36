"""How long it takes to schedule, to find and to claim a work among a million of them (works/scheduling.py)."""

from benchmarks.report import Findings, report


def measure() -> Findings:
    # Models can be imported once Django is set up, which `report` does.
    from benchmarks.works import scheduling

    return scheduling.measure()


if __name__ == "__main__":
    report(measure)
