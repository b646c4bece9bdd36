"""What the documents promise is there."""

import re
from pathlib import Path

import pytest

from accounts.management.commands import rotate_secrets

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def named_tests() -> list[tuple[str, str]]:
    """Each file and test that the table names; a name without a file is in the file before it."""
    named, file = [], ""
    for found_file, test in re.findall(r"`([\w/.]*)::(test_\w+)`", SECURITY):
        file = found_file or file
        named.append((file, test))
    return named


def test_the_table_names_tests():
    assert len(named_tests()) > 70


@pytest.mark.parametrize(("file", "test"), sorted(set(named_tests())))
def test_a_test_that_the_table_of_security_names_exists(file, test):
    assert re.search(rf"^def {test}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_the_policy_for_keys_names_options_that_there_are():
    parser = rotate_secrets.Command().create_parser("manage.py", "rotate_secrets")
    options = {option for action in parser._actions for option in action.option_strings}
    named = set(re.findall(r"--[a-z-]+", (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")))
    assert named >= {"--batch", "--retire", "--drill", "--give-up"}
    assert named <= options
