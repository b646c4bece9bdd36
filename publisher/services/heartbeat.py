"""This process's row among the workers, and the thread that renews it.

Whatever a worker holds, it holds as long as its row is alive by the database's clock. The row is renewed by one thread
and locked by nobody else, so no slow work can make it late; when that thread finds that it slept too long it ends the
process, since by then somebody else may have taken over.
"""

import contextlib
import os
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from deviations.models import Deviation
from isekai import clock
from isekai.ids import new_id
from publisher.errors import WorkerUnknown
from publisher.models import Worker
from publisher.services.slots import share_out

logger = structlog.get_logger(__name__)

# A process is older than its row; by how much less than this is a matter of measuring.
AGE_TOLERANCE_SECONDS = 2.0

_this_worker: UUID | None = None


def this_worker() -> UUID:
    """The id of this process's row; raises WorkerUnknown in a process that is no publisher."""
    if _this_worker is None:
        raise WorkerUnknown("Only a publisher process can claim works.")
    return _this_worker


def is_registered() -> bool:
    """Whether this process is a publisher: not yet while it starts, and not any more while it ends."""
    return _this_worker is not None


def register_worker(*, slots: int, worker_id: UUID | None = None) -> UUID:
    """Make this process's row, alive for one lease from now, and share its ``slots`` out."""
    global _this_worker  # noqa: PLW0603 - one process, one worker
    worker = Worker.objects.create(
        pk=worker_id or new_id(),
        host=socket.gethostname(),
        process_id=os.getpid(),
        slots=slots,
        started_at=clock.DatabaseNow(),
        alive_until=clock.DatabaseNow() + _lease(),
    )
    _this_worker = worker.pk
    share_out(slots)
    return worker.pk


def renew_worker(worker_id: UUID, *, even_if_it_ran_out: bool = False) -> bool:
    """Renew the row for one more lease; False when it is gone, or had already run out."""
    rows = Worker.objects.all() if even_if_it_ran_out else Worker.objects.alive()
    return bool(rows.filter(pk=worker_id).update(alive_until=clock.DatabaseNow() + _lease()))


def expire_worker(worker_id: UUID) -> None:
    """End the row at once: what it still held may be rescued without waiting."""
    Worker.objects.alive().filter(pk=worker_id).update(alive_until=clock.DatabaseNow())


def expire_dead_neighbours() -> None:
    """End the rows of processes of this host that no longer exist, without waiting for their leases."""
    for worker in Worker.objects.alive().filter(host=socket.gethostname()):
        if worker.pk == _this_worker:
            continue
        if worker.process_id == os.getpid() or not is_running(worker):
            expire_worker(worker.pk)


def is_running(worker: Worker) -> bool:
    """Whether the process of a row of this host still exists, and is not a younger one that got its id.

    Ages are compared and no times, since the host and the database need not agree about what time it is.
    """
    age = process_age_seconds(worker.process_id)
    if age is None:
        return False
    row_age = (clock.database_now() - worker.started_at).total_seconds()
    return age >= row_age - AGE_TOLERANCE_SECONDS


def process_age_seconds(process_id: int) -> float | None:
    """How long a process of this host has been running; None when there is none, or it is dead already."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return None
    # The name of the program stands in parentheses, and may hold spaces and parentheses itself (proc(5)).
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def beat_for_ever(worker_id: UUID) -> None:
    """Renew the row until the worker retires; ends this process when its lease was lost.

    A row that ran out while the database was away is renewed all the same, as long as this thread was awake: what was
    taken over meanwhile has lost the lease that its calls and decisions ask for, and the rest nobody could take.
    """
    database_was_away = False
    while True:
        slept_since = time.monotonic()
        time.sleep(settings.PUBLISHER_HEARTBEAT_SECONDS)
        was_awake = time.monotonic() - slept_since < settings.PUBLISHER_LEASE_SECONDS
        if _this_worker is None:
            return
        try:
            renewed = renew_worker(worker_id, even_if_it_ran_out=database_was_away and was_awake)
        except DatabaseError as error:
            logger.warning("heartbeat_missed", error=type(error).__name__)
            connection.close()
            database_was_away = database_was_away or was_awake
            continue
        database_was_away = False
        if not renewed and _this_worker is not None:
            logger.critical("lease_lost", worker_id=str(worker_id))
            os.kill(os.getpid(), signal.SIGKILL)


def retire() -> None:
    """Stop being a worker: whatever this process still holds may be rescued at once."""
    global _this_worker
    worker_id, _this_worker = _this_worker, None
    if worker_id is not None:
        with contextlib.suppress(DatabaseError):
            expire_worker(worker_id)
    connection.close()


def free_slots() -> int:
    """How many more works all live publishers together can take now."""
    slots = sum(Worker.objects.alive().values_list("slots", flat=True))
    return max(0, slots - Deviation.objects.claimed().count())


def _lease() -> timedelta:
    return timedelta(seconds=settings.PUBLISHER_LEASE_SECONDS)
