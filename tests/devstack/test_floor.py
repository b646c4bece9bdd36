"""Tests cannot be switched off unseen."""

from pathlib import Path

import pytest

from tests import floor

REPORT = """<?xml version="1.0"?><testsuites>
<testsuite name="pytest" errors="1" failures="2" skipped="{skipped}" tests="20"></testsuite></testsuites>"""


@pytest.fixture
def report(tmp_path) -> Path:
    return tmp_path / "report.xml"


def test_a_skipped_test_is_a_problem(report):
    report.write_text(REPORT.format(skipped=1))
    found = floor.counts(report)
    assert found == floor.Counts(collected=20, failed=3, skipped=1)
    assert found.passed == 16
    assert floor.problems(found, 16) == ["1 tests were skipped: each test runs everywhere, or is no test."]


def test_fewer_tests_than_the_floor_are_a_problem(report):
    report.write_text(REPORT.format(skipped=0))
    assert floor.problems(floor.counts(report), 17) == []
    assert floor.problems(floor.counts(report), 18) == ["17 tests passed, fewer than the floor of 18 in floor.txt."]


def test_no_report_is_a_problem(report):
    assert floor.main(report) == 1


def test_the_committed_floor_is_a_number():
    assert int(floor.FLOOR.read_text().split()[0]) > 0
