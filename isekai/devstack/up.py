"""``./dev up``: the whole system on this machine, until Ctrl-C."""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from isekai.devstack import PROJECT, processes
from isekai.devstack.children import Child, LogStream, describe_exit
from isekai.devstack.environment import (
    Secrets,
    database_environment,
    read_dotenv,
    redis_environment,
    settings_names,
    storage_environment,
    without_settings,
    write_private,
)
from isekai.devstack.errors import DevstackError, Interrupted, UsageError
from isekai.devstack.foreground import run_in_foreground, signals_counted
from isekai.devstack.placeholder import Placeholder
from isekai.devstack.ports import HOST, RememberedPorts
from isekai.devstack.servers import BIN, Place, PostgreSQL, SeaweedFS, Server, ServerEndedError, Valkey, stop_servers
from isekai.devstack.supervisor import Service, answers_http, stop_services
from isekai.devstack.terminal import say

# Another folder makes another stack, with ports and data of its own.
VAR = Path(os.environ.get("ISEKAI_VAR") or PROJECT / "var").absolute()
WANTED_PORTS = {
    "web": 4000,
    "publisher": 8000,
    "worker": 8001,
    "media": 8002,
    "sandbox": 9080,
    "postgres": 15432,
    "redis": 16379,
    "s3": 18333,
}
MIGRATE_SECONDS = 120
FORMER_STACK_SECONDS = 30
FIRST = {"sandbox", "web"}
WEB_FIRST_SECONDS = 10
# How often the parts are looked at while one of them is not ready, and when all are.
BUSY_LOOK_SECONDS = 0.1
CALM_LOOK_SECONDS = 0.5


# --- one stack at a time in a folder ---------------------------------------------------------------------------------
def _lock(path: Path) -> IO[str] | None:
    """The file under an exclusive lock that lasts as long as anybody has it open; None when another has it."""
    held = path.open("a+", encoding="utf-8")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        return None
    return held


@contextmanager
def only_stack(folder: Path) -> Iterator[int]:
    """Keeps a second stack out of ``folder``; gives the descriptor that every child is to hold open.

    A launcher that was killed leaves its children seconds to end; as long as one of them lives its descriptor keeps the
    next start waiting, which would otherwise find ports taken that are about to be free.
    """
    with ExitStack() as held:
        launcher = _lock(folder / "launcher.lock")
        if launcher is None:
            raise DevstackError(f"A stack runs from {folder} already. Only one can use its data.")
        held.enter_context(launcher)
        deadline = time.monotonic() + FORMER_STACK_SECONDS
        waiting = False
        while (children := _lock(folder / "children.lock")) is None:
            if not waiting:
                say("Waiting for the processes of a former start to end …")
                waiting = True
            if time.monotonic() > deadline:
                raise DevstackError(f"Processes of a former start still use {folder}. End them, then start again.")
            time.sleep(0.1)
        held.enter_context(children)
        yield children.fileno()


def stack_runs_in(folder: Path) -> bool:
    if not (folder / "launcher.lock").exists():
        return False
    lock = _lock(folder / "launcher.lock")
    if lock is None:
        return True
    lock.close()
    return False


# --- the environment -------------------------------------------------------------------------------------------------
def given_environment() -> dict[str, str]:
    """What the person who starts it has set: the environment, then ``.env``; empty values count as unset."""
    merged = {**read_dotenv(PROJECT / ".env"), **os.environ}
    return {name: value for name, value in merged.items() if value}


def require_writable(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "launcher.lock").open("a").close()
    except OSError as error:
        raise DevstackError(
            f"{folder} cannot be written to ({error.strerror}). Does it come from a start as another user?"
        ) from error


# --- the stack -------------------------------------------------------------------------------------------------------
class Stack:
    """What runs, in the order in which it is started; the order of ending is the reverse."""

    def __init__(self, folder: Path, log: LogStream, given: Mapping[str, str], held: int) -> None:
        self.folder = folder
        self.log = log
        self.given = dict(given)
        self.held = held
        self.ports = RememberedPorts(folder / "ports.json", WANTED_PORTS, say)
        self.secrets = Secrets.kept_in(folder / "secrets.json")
        self.servers: list[Server] = []
        self.services: dict[str, Service] = {}
        self.web_first_until = 0.0
        self.server_states: dict[str, str] = {}
        self.web_socket = self._listen()
        self.web_port: int = self.web_socket.getsockname()[1]
        self.placeholder = Placeholder(self.web_socket, self.states)

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, self.ports.take("web")))
        listening.listen(128)
        return listening

    def states(self) -> dict[str, str]:
        return {**self.server_states, **{name: service.state for name, service in self.services.items()}}

    @property
    def public_url(self) -> str:
        return self.given.get("ISEKAI_PUBLIC_URL", f"http://localhost:{self.web_port}")

    # --- embedded servers
    def add_servers(self) -> dict[str, str]:
        """Those that nothing in the environment replaces; gives the variables that lead to them."""
        variables: dict[str, str] = {}
        if "DATABASE_URL" not in self.given:
            postgres = PostgreSQL(self._place("postgres"), password=self.secrets.database_password)
            self.servers.append(postgres)
            variables |= database_environment(postgres)
        if "REDIS_URL" not in self.given:
            redis = Valkey(self._place("redis"), password=self.secrets.redis_password)
            self.servers.append(redis)
            variables |= redis_environment(redis)
        if "S3_ENDPOINT" not in self.given:
            pages = {self.public_url, f"http://localhost:{self.web_port}", f"http://{HOST}:{self.web_port}"}
            storage = SeaweedFS(
                self._place("s3"),
                access_key=self.secrets.s3_access_key,
                secret_key=self.secrets.s3_secret_key,
                inner_ports=[
                    self.ports.take(f"s3 {name}", silent=True, with_grpc=True) for name in SeaweedFS.INNER_PORTS
                ],
                origins=sorted(pages),
            )
            self.servers.append(storage)
            variables |= storage_environment(storage)
        return variables

    def _place(self, name: str) -> Place:
        port = self.ports.take(name, with_grpc=name == SeaweedFS.name)
        return Place(self.folder / name, port, self.log, durable=True, held=(self.held,))

    def start_servers(self) -> None:
        """All at once; raises DevstackError when one of them does not come up."""
        self.server_states = {server.name: "starting" for server in self.servers}
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_until_ready()
            self.server_states[server.name] = "ready"

    def check_servers(self) -> None:
        for server in self.servers:
            if server.child is not None and (code := server.child.exit_code) is not None:
                self.server_states[server.name] = "ended"
                raise ServerEndedError(server.name, code)

    # --- our own
    def variables(self, servers: Mapping[str, str]) -> dict[str, str]:
        """The settings of all our processes; what the person has set stays as it is."""
        variables = {
            "ISEKAI_ENV": "development",
            "ISEKAI_HTTPS": "0",
            "ISEKAI_PUBLIC_URL": self.public_url,
            "ALLOWED_HOSTS": f"localhost,{HOST},{urlsplit(self.public_url).hostname}",
            "SECRET_KEY": self.secrets.secret_key,
            "ENCRYPTION_KEY": self.secrets.encryption_key,
            **servers,
        }
        if uses_sandbox(self.given):
            variables |= {
                # Another host than that of our pages, though both are this machine: cookies know no ports.
                "DEVIANTART_BASE_URL": f"http://{HOST}:{self.ports.take('sandbox')}",
                "DEVIANTART_CLIENT_ID": self.secrets.deviantart_client_id,
                "DEVIANTART_CLIENT_SECRET": self.secrets.deviantart_client_secret,
                "DEVIANTART_APPLICATION_NAME": "Isekai",
            }
        return {**variables, **{name: value for name, value in self.given.items() if name in variables}}

    def add_sandbox(self, env: Mapping[str, str]) -> None:
        sandbox = processes.sandbox(self.ports.take("sandbox"), str(self.folder / "sandbox"))
        # In its environment, since everybody on the machine can read arguments.
        application = {
            "SANDBOX_CLIENT_ID": env["DEVIANTART_CLIENT_ID"],
            "SANDBOX_CLIENT_SECRET": env["DEVIANTART_CLIENT_SECRET"],
            "SANDBOX_APP_NAME": env["DEVIANTART_APPLICATION_NAME"],
        }
        self._add(sandbox, {**env, **application}, path="/_sandbox/summary", port=sandbox.port)

    def add_services(self, env: Mapping[str, str]) -> None:
        web = processes.web(f"fd://{self.web_socket.fileno()}")
        self._add(web, env, path="/health", port=self.web_port, held=[self.web_socket.fileno()])
        concurrency = self.given.get("PUBLISHER_CONCURRENCY", processes.DEFAULT_PUBLISHER_CONCURRENCY)
        for process in (processes.publisher(concurrency), processes.notifier(), processes.media()):
            port = self.ports.take(process.name)
            health = {**env, "HEALTH_CHECK_PORT": str(port)}
            if process.shares_metrics:
                health["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder / "metrics" / process.name)
            self._add(process, health, path="/health", port=port, stop_seconds=processes.STOP_SECONDS)
        self._add(processes.beat(), env)

    def _add(
        self,
        process: processes.Process,
        env: Mapping[str, str],
        *,
        path: str = "",
        port: int | None = None,
        held: Sequence[int] = (),
        stop_seconds: float = 10,
    ) -> None:
        program, *arguments = process.command
        answers: Callable[[], bool] = (lambda: True) if port is None else partial(answers_http, port, path)
        self.services[process.name] = Service(
            process.name,
            [str(BIN / program), *arguments],
            env=env,
            cwd=PROJECT,
            sink=self.log,
            answers=answers,
            stop_seconds=stop_seconds,
            held=[self.held, *held],
        )

    def migrate(self, env: Mapping[str, str]) -> None:
        """Bring the tables up to date; raises DevstackError when that fails."""
        command = [str(BIN / "python"), "manage.py", "migrate", "--noinput", "--verbosity", "0"]
        child = Child("migrate", command, env=env, cwd=PROJECT, sink=self.log, pass_fds=[self.held])
        self.server_states["migrate"] = "starting"
        try:
            deadline = time.monotonic() + MIGRATE_SECONDS
            while not child.wait(BUSY_LOOK_SECONDS):
                self.look()
                if time.monotonic() > deadline:
                    raise DevstackError(f"The migrations did not end within {MIGRATE_SECONDS} s.")
        finally:
            child.kill()
        if child.exit_code:
            raise DevstackError(f"The migrations failed ({describe_exit(child.exit_code)}); its lines above say why.")
        del self.server_states["migrate"]

    def look(self) -> None:
        """Look after everything once; raises ServerEndedError when an embedded server has ended."""
        self.check_servers()
        now = time.monotonic()
        web = self.services.get("web")
        for service in self.services.values():
            # Few cores, and somebody who looks at the page: web comes up alone, the workers after it.
            if web is None or service.name in FIRST or web.ready or now > self.web_first_until:
                service.look(now)
        if web is not None and web.ready:
            self.placeholder.hide()
        else:
            self.placeholder.show()

    def run(self, on_ready: Callable[[], None]) -> None:
        """Look after everything until a signal comes."""
        announced = False
        self.web_first_until = time.monotonic() + WEB_FIRST_SECONDS
        while True:
            self.look()
            ready = all(service.ready for service in self.services.values())
            if ready and not announced:
                announced = True
                on_ready()
            time.sleep(CALM_LOOK_SECONDS if ready else BUSY_LOOK_SECONDS)

    def stop(self) -> None:
        """Ours first, so that they can put down what they hold; the servers after them."""
        with signals_counted() as signals:
            if self.services:
                say("Ending. What is in hand is finished first; Ctrl-C ends it at once.")
            stop_services(self.services.values(), lambda: bool(signals))
            self.placeholder.hide()
            self.web_socket.close()
            stop_servers(self.servers)


def uses_sandbox(given: Mapping[str, str]) -> bool:
    return "DEVIANTART_CLIENT_ID" not in given


def up(arguments: Sequence[str]) -> int:
    """Run until a signal comes, which is the way to end it: 0. Raises DevstackError when it cannot be kept up."""
    if arguments:
        raise UsageError("./dev up takes no arguments; what it uses is set in the environment or in .env.")
    began = time.monotonic()
    given = given_environment()
    require_writable(VAR)
    with only_stack(VAR) as held:
        stack = Stack(VAR, LogStream(sys.stdout, [*WANTED_PORTS, "beat", "migrate"]), given, held)
        try:
            stack.placeholder.show()
            say(f"Starting; {stack.public_url} says what is up.")
            variables = stack.variables(stack.add_servers())
            remember_environment(VAR, {**given, **variables})
            env = {**without_settings(os.environ), **given, **variables, "PYTHONUNBUFFERED": "1"}
            stack.start_servers()
            if uses_sandbox(given):
                stack.add_sandbox(env)
            stack.migrate(env)
            stack.add_services(env)

            def announce() -> None:
                say(f"Ready after {time.monotonic() - began:.1f} s: {stack.public_url}")
                if uses_sandbox(given):
                    say(f"In place of DeviantArt: {variables['DEVIANTART_BASE_URL']}")
                say("An operator's account, for /admin/, is made by: ./dev manage createsuperuser")

            stack.run(announce)
        except Interrupted:
            return 0
        finally:
            stack.stop()
    raise AssertionError("a stack only ends by a signal or an error")


# --- other commands against it ---------------------------------------------------------------------------------------
def remember_environment(folder: Path, environment: Mapping[str, str]) -> None:
    """Keep the settings of the running stack for ``./dev manage``; of what else is set in a shell nothing is kept."""
    names = settings_names()
    kept = {name: value for name, value in environment.items() if name in names}
    write_private(folder / "environment.json", json.dumps(kept, indent=2) + "\n")


def manage(arguments: Sequence[str]) -> int:
    """A management command against the running stack; its exit code."""
    if not stack_runs_in(VAR):
        raise DevstackError("No stack runs here. Start it in another terminal: ./dev up")
    stack = json.loads((VAR / "environment.json").read_text(encoding="utf-8"))
    return run_in_foreground(
        [sys.executable, "manage.py", *arguments], {**without_settings(os.environ), **given_environment(), **stack}
    )
