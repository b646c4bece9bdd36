"""What the processes are told, and where secrets are kept."""

import json
import re
import stat
from dataclasses import asdict

import pytest

from isekai.devstack import PROJECT
from isekai.devstack.environment import Secrets, read_dotenv, settings_names, without_settings
from isekai.devstack.errors import DevstackError

COMPOSE_ALONE = {"POSTGRES_PASSWORD", "REDIS_PASSWORD"}


def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path):
    path = tmp_path / "secrets.json"
    first = Secrets.kept_in(path)
    assert Secrets.kept_in(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Secrets() != first


def test_a_secret_that_a_later_version_adds_is_made_and_the_others_stay(tmp_path):
    path = tmp_path / "secrets.json"
    first = Secrets.kept_in(path)
    kept = {name: value for name, value in asdict(first).items() if name != "redis_password"}
    path.write_text(json.dumps(kept))
    second = Secrets.kept_in(path)
    assert second.redis_password != first.redis_password
    assert second.encryption_key == first.encryption_key


def test_unreadable_secrets_are_never_replaced(tmp_path):
    path = tmp_path / "secrets.json"
    path.write_text("{")
    with pytest.raises(DevstackError, match=re.escape(str(path))):
        Secrets.kept_in(path)
    assert path.read_text() == "{"


def test_secrets_do_not_show_in_a_repr():
    made = Secrets()
    assert not any(value in repr(made) for value in asdict(made).values())


DOTENV = """\
# a comment

A=1
export B = two words # said aside
C='quoted # inside'
D=""
E=a#b
F=#only a comment
not a line
"""


def test_a_dotenv_file_is_read_without_its_comments_and_quotes(tmp_path):
    (tmp_path / ".env").write_text(DOTENV)
    assert read_dotenv(tmp_path / ".env") == {
        "A": "1",
        "B": "two words",
        "C": "quoted # inside",
        "D": "",
        "E": "a#b",
        "F": "",
    }
    assert read_dotenv(tmp_path / "none") == {}


def test_the_example_lists_exactly_the_variables_that_the_settings_read():
    source = (PROJECT / "isekai" / "settings.py").read_text(encoding="utf-8")
    read = set(re.findall(r"\benv\.[a-z_]+\(\s*\"([A-Z0-9_]+)\"", source))
    assert read  # the pattern still finds them
    assert settings_names() == read | COMPOSE_ALONE


def test_a_run_on_a_throw_away_stack_forgets_what_is_set_for_another_one():
    environment = {"PATH": "/bin", "DATABASE_URL": "postgresql://production", "S3_PATH_PREFIX": "x", "HOME": "/root"}
    assert without_settings(environment) == {"PATH": "/bin", "HOME": "/root"}
