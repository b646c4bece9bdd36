"""A stack that lives as long as one command: the same servers as ever, free ports, a temporary folder."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from isekai.devstack.children import LogFile
from isekai.devstack.environment import (
    Secrets,
    database_environment,
    redis_environment,
    storage_environment,
    without_settings,
)
from isekai.devstack.errors import DevstackError
from isekai.devstack.ports import free_ports
from isekai.devstack.servers import Place, PostgreSQL, SeaweedFS, Server, ServerEndedError, Valkey, stop_servers
from isekai.devstack.terminal import say

PREFIX = "isekai-stack-"
TRIES = 3  # between choosing a port and binding it, somebody else may take it


@dataclass(frozen=True)
class Throwaway:
    """The running servers, the variables that lead to them, and their folder, which is removed with them."""

    variables: dict[str, str]
    folder: Path
    servers: list[Server]
    log: LogFile

    @property
    def environment(self) -> dict[str, str]:
        """For a program that works on this stack: our own environment, with the variables in it."""
        return {**without_settings(os.environ), **self.variables}


def remove_abandoned(folder: Path) -> None:
    """Remove what launchers that were killed could not: folders whose lock nobody holds."""
    for lock in folder.glob(f"{PREFIX}*/lock"):
        with suppress(OSError), lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder under a lock that ends with this process, however it ends."""
    place = Path(tempfile.gettempdir())
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with (folder / "lock.unheld").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "lock.unheld").rename(folder / "lock")
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_servers(folder: Path, log: LogFile, keys: Secrets) -> tuple[PostgreSQL, Valkey, SeaweedFS]:
    ports = free_ports(3 + len(SeaweedFS.INNER_PORTS))
    return (
        PostgreSQL(Place(folder / "postgres", ports[0], log, durable=False), password=keys.database_password),
        Valkey(Place(folder / "redis", ports[1], log, durable=False), password=keys.redis_password),
        SeaweedFS(
            Place(folder / "s3", ports[2], log, durable=False),
            access_key=keys.s3_access_key,
            secret_key=keys.s3_secret_key,
            inner_ports=ports[3:],
            origins=["*"],  # each test serves its pages on a port of its own
        ),
    )


def start_servers(folder: Path, log: LogFile, keys: Secrets) -> tuple[PostgreSQL, Valkey, SeaweedFS]:
    """All three at once, each ready; none is left where one of them fails."""
    servers = make_servers(folder, log, keys)
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_until_ready()
    except BaseException:
        stop_servers(servers)
        raise
    return servers


@contextmanager
def throwaway_stack() -> Iterator[Throwaway]:
    """Start the three servers, and leave nothing of them behind.

    Raises DevstackError, with the last lines of their logs, when they cannot be started.
    """
    keys = Secrets()
    with temporary_folder() as folder, ExitStack() as running:
        log = LogFile(folder / "servers.log")
        for tries_left in reversed(range(TRIES)):
            try:
                postgres, redis, storage = start_servers(folder / f"try-{tries_left}", log, keys)
                break
            except ServerEndedError as error:
                if not tries_left:
                    raise DevstackError(f"{error}\n{log.tail()}") from error
                say(f"{error} Trying other ports.")
        servers: list[Server] = [postgres, redis, storage]
        running.callback(stop_servers, servers)
        variables = {
            **database_environment(postgres),
            **redis_environment(redis),
            **storage_environment(storage),
            "ISEKAI_ENV": "test",
            "ISEKAI_TIME_SCALE": "0.1",
            "ISEKAI_PUBLIC_URL": "http://localhost:4000",
            "ISEKAI_HTTPS": "0",
            "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
            "SECRET_KEY": keys.secret_key,
            "ENCRYPTION_KEY": keys.encryption_key,
            # Nobody listens there: a test that talks to DeviantArt starts a sandbox and says so.
            "DEVIANTART_BASE_URL": "http://127.0.0.1:9",
            "DEVIANTART_CLIENT_ID": keys.deviantart_client_id,
            "DEVIANTART_CLIENT_SECRET": keys.deviantart_client_secret,
        }
        yield Throwaway(variables, folder, servers, log)
