"""How `./dev test` calls pytest."""

import pytest

from isekai.devstack.testing import side_by_side


@pytest.mark.parametrize("arguments", [[], ["-q"], ["-o", "junit_family=xunit2", "--junit-xml=/tmp/report.xml"]])
def test_the_whole_suite_runs_in_several_processes(arguments):
    assert side_by_side(arguments)[0] == "-n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["tests/devstack"],
        ["tests/devstack/test_testing.py::test_x"],
        ["-k", "name"],
        ["-m", "browser"],
        ["-n0"],
        ["--pdb"],
    ],
)
def test_a_few_tests_run_in_one_process(arguments):
    assert side_by_side(arguments) == []
