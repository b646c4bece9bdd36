"""The embedded servers, where their start is not an ordinary one; that they work at all every other test shows."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from isekai.devstack import servers, throwaway
from isekai.devstack.children import LogFile
from isekai.devstack.errors import DevstackError
from isekai.devstack.ports import free_ports
from isekai.devstack.servers import Place, PostgreSQL, Prefix, ServerEndedError, Valkey


@pytest.fixture
def log(tmp_path) -> LogFile:
    return LogFile(tmp_path / "log")


@pytest.fixture
def shared(monkeypatch) -> Iterator[Path]:
    """Where another user may go as well; pytest's own folders are shut to them."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(servers, "SHARED", Path(folder))
        yield Path(folder)


def test_postgres_starts_where_the_kernel_allows_no_user_namespaces(tmp_path, log, shared, monkeypatch):
    monkeypatch.setattr(servers, "unprivileged_prefix", lambda: None)
    place = Place(tmp_path / "postgres", free_ports(1)[0], log, durable=False)
    postgres = PostgreSQL(place, password="open sesame")
    postgres.start()
    try:
        postgres.wait_until_ready()
        with psycopg.connect(host="127.0.0.1", port=place.port, user="isekai", password="open sesame") as connection:
            [version] = connection.execute("SHOW server_version_num").fetchone() or [0]
        assert int(version) >= 180000
        assert postgres.child is not None
        assert os.geteuid() != 0 or Path(f"/proc/{postgres.child.pid}").stat().st_uid != 0
    finally:
        servers.stop_servers([postgres])
    assert list(shared.iterdir()) == []


def test_a_folder_that_somebody_else_has_put_there_is_not_used(tmp_path, log, shared):
    def another() -> PostgreSQL:
        postgres = PostgreSQL(Place(tmp_path / "postgres", 1, log, durable=False), password="open sesame")
        postgres.__dict__["_prefix"] = Prefix(user="nobody")  # as root, where the kernel allows no user namespaces
        return postgres

    home = another()._home
    assert home.parent == shared
    home.rmdir()
    home.symlink_to(tmp_path)
    with pytest.raises(DevstackError, match="belongs to somebody else"):
        another().start()


def test_a_server_that_ends_while_it_starts_is_named_with_its_exit_code(tmp_path, log, monkeypatch):
    monkeypatch.setattr(servers, "valkey_binary", lambda: "/bin/false")
    valkey = Valkey(Place(tmp_path / "redis", free_ports(1)[0], log, durable=False), password="x")
    valkey.start()
    with pytest.raises(ServerEndedError, match=r"redis exited with 1\."):
        valkey.wait_until_ready()


def test_a_throw_away_stack_tries_other_ports_and_then_says_why_it_failed(monkeypatch, capsys):
    monkeypatch.setattr(servers, "valkey_binary", lambda: "/bin/false")
    with pytest.raises(DevstackError, match=r"redis exited with 1\."), throwaway.throwaway_stack():
        pass
    assert capsys.readouterr().err.count("Trying other ports") == throwaway.TRIES - 1
