"""Our own processes: the one list of what runs, with which command and on which port.

``./dev up`` starts it, docker-compose.yml is compared with it by a test, and tests that need real processes take their
commands from it.
"""

from dataclasses import dataclass, replace

DEFAULT_PUBLISHER_CONCURRENCY = 16  # as in the settings
# A worker that is asked to end finishes what it holds: the drain of the publisher (75 s) and some room.
STOP_SECONDS = 90
OURS = ("python", "-m", "isekai")  # isekai/__main__.py
# Gossip and mingle are talk between workers that nobody reads, and a source of trouble after a lost connection.
WORKER = ("--without-gossip", "--without-mingle")


@dataclass(frozen=True)
class Process:
    """``port`` is where it answers: web its pages, the workers their health; beat answers nowhere.

    ``shares_metrics``: it is several processes, which count together in a folder (PROMETHEUS_MULTIPROC_DIR).
    """

    name: str
    command: tuple[str, ...]
    port: int | None = None
    queues: tuple[str, ...] = ()
    shares_metrics: bool = False


def web(bind: str = "0.0.0.0:4000") -> Process:
    command = ("gunicorn", "isekai.wsgi", "-b", bind, "-k", "gthread", "--threads", "8")
    # The control socket of gunicorn 27 would be made in the home folder.
    return Process("web", (*command, "--no-control-socket", "--graceful-timeout", "20"), port=4000)


def worker(name: str, port: int, queues: tuple[str, ...], *pool: str) -> Process:
    command = (*OURS, "worker", "-n", f"{name}@%h", "-Q", ",".join(queues), *pool, *WORKER)
    return Process(name, command, port, queues)


def publisher(concurrency: int | str = DEFAULT_PUBLISHER_CONCURRENCY) -> Process:
    return worker("publisher", 8000, ("publisher",), "-P", "threads", "-c", str(concurrency))


def notifier() -> Process:
    return worker("worker", 8001, ("notifications", "analytics", "maintenance"), "-P", "threads", "-c", "8")


def media() -> Process:
    # In children of its own, so that a file that eats memory or time takes down nothing else.
    return replace(worker("media", 8002, ("media",), "-P", "prefork", "-c", "2"), shares_metrics=True)


def beat() -> Process:
    # Without a pid file: one that a killed beat has left would keep the next from starting.
    command = (*OURS, "beat", "--pidfile=")
    return Process("beat", command)


def sandbox(port: int, data: str) -> Process:
    """The stand-in for DeviantArt: development and tests only."""
    return Process("sandbox", ("python", "-m", "deviantart.sandbox", "--port", str(port), "--data", data), port)


def production_processes() -> dict[str, Process]:
    """What an installation runs, by name, with the commands of its containers."""
    return {process.name: process for process in (web(), publisher(), notifier(), media(), beat())}
