"""What Prometheus reads. Each app declares its own metrics in its ``metrics.py``; this gathers them."""

import os
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = CONTENT_TYPE_LATEST


def shared_folder() -> Path | None:
    """Where several processes of one service count together; None: this process counts for itself."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def exposition() -> bytes:
    """All metrics in Prometheus' text format, those of the other processes of this service included."""
    folder = shared_folder()
    if folder is None:
        return generate_latest(REGISTRY)
    forget_dead(folder)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def start_anew() -> None:
    """Drop what a former run has left: process ids come again, above all in containers.

    For the parent, before it has any children.
    """
    if folder := shared_folder():
        for file in folder.glob("*.db"):
            if _process_id(file) != os.getpid():
                file.unlink(missing_ok=True)


def forget_dead(folder: Path) -> None:
    """What a child had in hand ends with it, also when it was killed; what it has counted stays."""
    for file in folder.glob("gauge_live*.db"):
        try:
            os.kill(_process_id(file), 0)
        except ProcessLookupError:
            mark_process_dead(_process_id(file), str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue


def _process_id(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])
