"""How long a tick takes that makes five hundred slots of ten thousand automations (works/automations.py).

BENCHMARK_AUTOMATIONS=1000 BENCHMARK_DRAFTS=50000 make it smaller.
"""

from benchmarks.report import Findings, report


def measure() -> Findings:
    # Models can be imported once Django is set up, which `report` does.
    from benchmarks.works import automations

    return automations.measure()


if __name__ == "__main__":
    report(measure)
