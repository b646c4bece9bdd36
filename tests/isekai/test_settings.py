"""The settings as a process reads them when it starts: from its environment, and from nothing else."""

import ast
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from isekai import logging
from tests.processes import BIN, ROOT

SETTINGS = ROOT / "isekai" / "settings.py"

PRODUCTION = {
    "SECRET_KEY": "q8Zt4vB1nX7cW2mK9pR5sD3fG6hJ0lTyq1Zt3vB5nX8cW0mK2pR4sD6f",
    "ENCRYPTION_KEY": "b1ef0208c4d311b07662ec3b82735e92d4473312aa98f0c1d2e3b4a5968778f0",
    "ISEKAI_PUBLIC_URL": "https://isekai.test",
    "DATABASE_URL": "postgresql://isekai:q8Zt4vB1nX7cW2mK@db:5432/isekai",
    "REDIS_URL": "redis://:p9Zt4vB1nX7cW2mK@redis:6379/0",
    "S3_BUCKET_NAME": "isekai",
    "S3_ACCESS_KEY_ID": "AKIAQ8ZT4VB1",
    "S3_SECRET_ACCESS_KEY": "r7Zt4vB1nX7cW2mKq8Zt4vB1nX7c",
    "DEVIANTART_CLIENT_ID": "12345",
    "DEVIANTART_CLIENT_SECRET": "5d41402abc4b2a76b9719d911017c592",
}
REQUIRED = list(PRODUCTION)
DEVELOPMENT = {**PRODUCTION, "ISEKAI_ENV": "development", "ISEKAI_PUBLIC_URL": "http://localhost:4000"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs settings.py under an environment of its own; gives what it has set."""
    monkeypatch.setattr(logging, "configure", lambda **_options: None)  # this process keeps its own

    def read(values: Mapping[str, str], **changed: str | None) -> dict[str, Any]:
        environment = {name: value for name, value in {**values, **changed}.items() if value is not None}
        with monkeypatch.context() as patched:
            patched.setattr(os, "environ", environment)
            return runpy.run_path(str(SETTINGS))

    return read


def calls_of(reader: str) -> list[str]:
    """The names that settings.py reads by ``env.<reader>(…)``."""
    found = []
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == reader:
            name = node.args[0]
            assert isinstance(name, ast.Constant)
            found.append(str(name.value))
    return sorted(set(found))


READERS = ["boolean", "integer", "decimal", "seconds", "choice", "url", "secret", "encryption_keys"]
READ_TYPED = {name: reader for reader in READERS for name in calls_of(reader)}


def test_the_table_of_settings_is_not_empty() -> None:
    assert {"ISEKAI_DEBUG", "ISEKAI_HTTPS", "HEALTH_CHECK_ENABLED", "ISEKAI_BEHIND_PROXY"} <= set(calls_of("boolean"))
    assert len(READ_TYPED) > 30


def test_production_starts_with_what_is_required_and_nothing_else(read: Any) -> None:
    settings = read(PRODUCTION)
    assert settings["PRODUCTION"] is True
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == ["isekai.test"]
    assert settings["DEVIANTART_BASE_URL"] == "https://www.deviantart.com"


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_required_is_named_when_it_is_missing(read: Any, name: str) -> None:
    for missing in (None, ""):
        with pytest.raises(ImproperlyConfigured) as refused:
            read(PRODUCTION, **{name: missing})
        assert str(refused.value).startswith(f"{name} is not set; expected: ")


@pytest.mark.parametrize(("name", "reader"), READ_TYPED.items())
def test_a_wrong_value_is_named_and_never_shown(read: Any, name: str, reader: str) -> None:
    planted = "hunter2://[x"
    with pytest.raises(ImproperlyConfigured) as refused:
        read(DEVELOPMENT, **{name: planted})
    message = str(refused.value)
    assert message.startswith(f"{name} has a value that cannot be used; expected: "), reader
    assert "hunter2" not in message


@pytest.mark.parametrize("name", calls_of("boolean"))
@pytest.mark.parametrize("word", ["false", "0", "no", "off", "", "False", "OFF"])
def test_no_word_for_no_switches_anything_on(read: Any, name: str, word: str) -> None:
    base = {**DEVELOPMENT, "ISEKAI_PUBLIC_URL": "https://isekai.test", "ISEKAI_HTTPS": "1"}
    off = read(base, **{name: "0"})
    assert comparable(read(base, **{name: word})) == comparable(off)
    if name != "LOG_JSON":  # goes to where the log is set up, and is no setting
        assert comparable(read(base, **{name: "on"})) != comparable(off)


@pytest.mark.parametrize("name", calls_of("boolean"))
@pytest.mark.parametrize("word", ["ture", "2", "enabled", "nope"])
def test_an_unknown_word_stops_the_start(read: Any, name: str, word: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} has a value that cannot be used"):
        read(DEVELOPMENT, **{name: word})


def comparable(settings: dict[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in settings.items() if name.isupper()}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ISEKAI_DEBUG": "1"}, "ISEKAI_DEBUG"),
        ({"ISEKAI_TIME_SCALE": "0.1"}, "ISEKAI_TIME_SCALE"),
        ({"DEVIANTART_BASE_URL": "http://127.0.0.1:9080"}, "DEVIANTART_BASE_URL"),
        ({"DEVIANTART_BASE_URL": "https://www.deviantart.com.evil.test"}, "DEVIANTART_BASE_URL"),
        ({"ISEKAI_PUBLIC_URL": "http://isekai.test"}, "ISEKAI_PUBLIC_URL"),
        ({"ALLOWED_HOSTS": "isekai.test,*"}, "ALLOWED_HOSTS"),
        ({"REDIS_URL": "redis://redis:6379/0"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:@redis:6379/0"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:change-this-password@redis:6379/0"}, "REDIS_URL"),
        ({"DATABASE_URL": "postgresql://isekai:isekai@db/isekai"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://postgres:postgres@db/isekai"}, "DATABASE_URL"),
        ({"S3_SECRET_ACCESS_KEY": "minioadminminioadmin"}, "S3_SECRET_ACCESS_KEY"),
        ({"SECRET_KEY": "django-insecure-" + "q8Zt4vB1nX7cW2mK9pR5sD3fG6hJ0lTy" * 2}, "SECRET_KEY"),
        ({"SECRET_KEY": "q8Zt4vB1nX7cW2mK"}, "SECRET_KEY"),
        ({"ENCRYPTION_KEY": "0" * 64}, "ENCRYPTION_KEY"),
        ({"ENCRYPTION_KEY": "0123456789abcdef" * 4}, "ENCRYPTION_KEY"),
        ({"ENCRYPTION_KEY": "b1ef0208c4d311b0"}, "ENCRYPTION_KEY"),
        ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN"),
        ({"ISEKAI_FAULTS_DIRECTORY": "/tmp/faults"}, "ISEKAI_FAULTS_DIRECTORY"),
    ],
)
def test_production_refuses_what_belongs_to_development(read: Any, changed: dict[str, str], named: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        read(PRODUCTION, **changed)
    assert str(refused.value).startswith(named)
    (value,) = changed.values()
    assert len(value) < 4 or value not in str(refused.value)


def test_an_insecure_production_has_to_be_asked_for(read: Any) -> None:
    settings = read(PRODUCTION, ISEKAI_PUBLIC_URL="http://isekai.lan", ISEKAI_HTTPS="off")
    assert settings["SESSION_COOKIE_NAME"] == "isekai"
    assert settings["SECURE_HSTS_SECONDS"] == 0


def test_plans_are_kept_only_where_no_pooler_stands_before_the_database(read: Any) -> None:
    direct = read(PRODUCTION)["DATABASES"]["default"]["OPTIONS"]
    pooled = read(PRODUCTION, DATABASE_DIRECT_URL="postgresql://isekai:q8Zt4vB1nX7cW2mK@elsewhere:5432/isekai")
    assert direct["prepare_threshold"] == 1
    assert pooled["DATABASES"]["default"]["OPTIONS"]["prepare_threshold"] is None


def test_options_in_the_database_url_are_kept(read: Any) -> None:
    url = PRODUCTION["DATABASE_URL"] + "?sslmode=verify-full&sslrootcert=/etc/ca.pem"
    options = read(PRODUCTION, DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]
    assert options["sslmode"] == "verify-full"
    assert options["sslrootcert"] == "/etc/ca.pem"
    assert options["connect_timeout"] == 5


def test_caches_sessions_and_the_queue_are_different_databases(read: Any) -> None:
    settings = read(PRODUCTION, REDIS_URL="rediss://:p9Zt4vB1nX7cW2mK@redis:6379/3")
    address = "rediss://:p9Zt4vB1nX7cW2mK@redis:6379"
    assert settings["CELERY_BROKER_URL"] == f"{address}/3"
    assert settings["CACHES"]["default"]["LOCATION"] == f"{address}/4"
    assert settings["CACHES"]["sessions"]["LOCATION"] == f"{address}/5"
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL"):
        read(PRODUCTION, REDIS_URL="redis://:p9Zt4vB1nX7cW2mK@redis:6379/queue")


def test_cookies_are_bound_to_the_host(read: Any) -> None:
    settings = read(PRODUCTION)
    for name in ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME"):
        assert settings[name].startswith("__Host-")
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "CSRF_COOKIE_HTTPONLY"):
        assert settings[name] is True
    assert settings["SESSION_COOKIE_SAMESITE"] == settings["CSRF_COOKIE_SAMESITE"] == "Lax"
    assert not {"SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_DOMAIN"} & settings.keys()
    assert settings.get("SESSION_COOKIE_PATH", "/") == "/"


def test_every_secret_of_the_settings_is_known_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(logging, "configure", lambda **options: told.update(options))
    with monkeypatch.context() as patched:
        patched.setattr(os, "environ", {**PRODUCTION, "METRICS_TOKEN": "t4Zt4vB1nX7cW2mK9pR5sD3f"})
        runpy.run_path(str(SETTINGS))
    assert told["as_json"] is True
    secrets = {PRODUCTION[name] for name in REQUIRED if re.search("SECRET|ENCRYPTION", name)}
    assert secrets | {"q8Zt4vB1nX7cW2mK", "p9Zt4vB1nX7cW2mK", "t4Zt4vB1nX7cW2mK9pR5sD3f"} == set(told["secrets"])


# --- real processes --------------------------------------------------------------------------------------------------
def run(command: list[str], values: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    path = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, cwd=ROOT, env={**path, **values}, capture_output=True, text=True, timeout=120)


@pytest.mark.processes
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "manage.py", "check"],
        [str(BIN / "gunicorn"), "isekai.wsgi", "-b", "127.0.0.1:0", "--no-control-socket"],
        [sys.executable, "-m", "isekai", "worker", "-Q", "media"],
        [sys.executable, "-m", "isekai", "beat", "--pidfile="],
    ],
    ids=["manage.py", "gunicorn", "worker", "beat"],
)
def test_no_process_starts_with_a_wrong_key(command: list[str]) -> None:
    for wrong in ("", "hunter2", "0" * 64):
        done = run(command, {**PRODUCTION, "ENCRYPTION_KEY": wrong})
        assert done.returncode != 0
        assert "ENCRYPTION_KEY" in done.stdout + done.stderr
        assert "64 random hex digits" in done.stdout + done.stderr
        assert not wrong or wrong not in done.stdout + done.stderr


@pytest.mark.processes
def test_web_does_not_start_with_settings_that_contradict_each_other() -> None:
    command = [str(BIN / "gunicorn"), "isekai.wsgi", "-b", "127.0.0.1:0", "--no-control-socket"]
    done = run(command, {**PRODUCTION, "PUBLISHER_LEASE": "6"})
    assert done.returncode != 0
    assert "PUBLISHER_LEASE must be at least three times PUBLISHER_HEARTBEAT." in done.stdout + done.stderr


@pytest.mark.processes
def test_djangos_own_checks_find_nothing_in_production() -> None:
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = run(command, PRODUCTION)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues (0 silenced)" in done.stdout + done.stderr
    assert "SILENCED_SYSTEM_CHECKS" not in SETTINGS.read_text()


def test_nothing_else_reads_the_environment() -> None:
    exempt = {"environment.py", "devstack", "sandbox"}  # its reader; and what runs without the settings
    readers = []
    for folder in ("isekai", "accounts", "deviations", "publisher", "automations", "deviantart"):
        for path in (ROOT / folder).rglob("*.py"):
            if exempt & set(path.relative_to(ROOT).parts):
                continue
            if re.search(r"os\.getenv|os\.environ(?!\.setdefault\(\"(DJANGO|CELERY)_)", path.read_text()):
                readers.append(str(path.relative_to(ROOT)))
    assert readers == [str(Path("isekai") / "metrics.py")]  # as prometheus_client does, before there are settings
