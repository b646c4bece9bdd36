"""What was published is also remembered outside the database, so that a database that has forgotten some is noticed.

The *mark* is the latest publishes that are known to have happened, by the ids of their attempts. Each publisher raises
it in memory, and threads of its own write it to Redis and into an object of the bucket; losing one of them loses
nothing, and no publish waits for either. A database in which one of these attempts is missing was restored from an old
backup, or is a replica that had not received everything.

The marks belong to an *installation*: to the database that was migrated first at a certain moment, and to everything
that was restored from its dumps.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, models
from django.db.models import Exists, Q, Value
from django.db.models.lookups import Exact
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from accounts.models import AuditEvent
from deviations import storage
from deviations.errors import StorageUnavailable
from isekai import clock
from isekai.ids import new_id
from isekai.outage import Outage
from publisher.models import Attempt

logger = structlog.get_logger(__name__)

# Attempts are committed in another order than that of their ids: so many are looked for, not the greatest alone.
KEPT = 64
# How soon after the one before the next write begins; what is raised meanwhile goes with it.
REDIS_PAUSE_SECONDS = 0.1
BUCKET_PAUSE_SECONDS = 1.0
REPEAT_SECONDS = 2.0
ANSWER_SECONDS = 2.0
# An object that nobody has written to for so long may be one of a process that is gone.
FORSAKEN = timedelta(hours=1)

# Events of the whole installation have no row that they speak of.
INSTALLATION_SUBJECT = "installation"
INSTALLATION_ID = "00000000-0000-0000-0000-000000000000"
FORGOTTEN = "installation.restored"


@dataclass(frozen=True, slots=True)
class Mark:
    """The latest publishes: their attempts' ids, ascending, and when the last of them was; empty when none is known."""

    attempt_ids: tuple[int, ...] = ()
    published_at: datetime | None = None

    @property
    def greatest(self) -> int:
        return self.attempt_ids[-1] if self.attempt_ids else 0

    def __or__(self, other: "Mark") -> "Mark":
        ids = sorted({*self.attempt_ids, *other.attempt_ids})[-KEPT:]
        times = [each.published_at for each in (self, other) if each.published_at is not None]
        return Mark(tuple(ids), max(times, default=None))

    def above(self, attempt_id: int) -> "Mark":
        """Without the attempts up to ``attempt_id``, of which is known that the database forgot them."""
        left = tuple(each for each in self.attempt_ids if each > attempt_id)
        return Mark(left, self.published_at if left else None)


class MarkUnknown(Exception):
    """Neither Redis nor the bucket says what was published."""


# --- the process's own knowledge -------------------------------------------------------------------------------------
class Keeper:
    """What this process knows of the mark of one installation; it keeps Redis and the bucket up to date with it."""

    def __init__(self, installation: str) -> None:
        self.installation = installation
        # The database in which everything of the mark was found, as `server` tells them apart; None: not compared yet.
        self.server: str | None = None
        self._name = str(new_id())
        self._lock = threading.Lock()
        self._mark = Mark()
        self._redis = Writer("redis", lambda: _write_to_redis(installation, self.mark), pause=REDIS_PAUSE_SECONDS)
        self._bucket = Writer(
            "bucket", lambda: _write_to_bucket(installation, self._name, self.mark), pause=BUCKET_PAUSE_SECONDS
        )

    @property
    def mark(self) -> Mark:
        return self._mark

    def raise_to(self, mark: Mark) -> None:
        with self._lock:
            self._mark |= mark
        self._redis.want()
        self._bucket.want()

    def learn(self, mark: Mark, *, server: str) -> None:
        """Take over what was compared with the database at ``server``; what this process published meanwhile stays."""
        with self._lock:
            self._mark |= mark
            self.server = server

    def forget(self, attempt_id: int) -> None:
        """What the database has forgotten for good, up to ``attempt_id``, is no longer asked of it."""
        with self._lock:
            self._mark = self._mark.above(attempt_id)

    def read(self) -> Mark:
        """The mark as anybody knows it. Raises MarkUnknown when nobody can be asked who would know."""
        remembered, in_redis, in_bucket = self.mark, _read_from_redis(self.installation), self._read_from_bucket()
        # Redis may have been emptied, so a Redis without a mark is no answer.
        if in_bucket is None and not (in_redis and in_redis.attempt_ids) and not remembered.attempt_ids:
            raise MarkUnknown("Neither Redis nor the bucket tells what was published.")
        return remembered | (in_redis or Mark()) | (in_bucket or Mark())

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, at most so long; whether it is."""
        end = time.monotonic() + seconds
        return all(writer.wait(max(0.0, end - time.monotonic())) for writer in (self._redis, self._bucket))

    def _read_from_bucket(self) -> Mark | None:
        """What all processes have written, kept once more under this process's own name; None without an answer."""
        try:
            found = storage.read_notes(storage.marks_folder(self.installation))
        except StorageUnavailable:
            return None
        mark = self.mark
        for each in found:
            mark |= _parse(each.body)
        try:
            self._tidy(found, mark)
        except StorageUnavailable:
            logger.warning("old_marks_kept")
        return mark

    def _tidy(self, found: Iterable[storage.Note], mark: Mark) -> None:
        long_ago = clock.now() - FORSAKEN
        forsaken = [each.name for each in found if each.name != self._name and each.written_at < long_ago]
        if forsaken:
            _write_to_bucket(self.installation, self._name, mark)
            for name in forsaken:
                storage.delete_note(storage.marks_folder(self.installation), name)


class Writer:
    """A thread that does ``write`` soon after it was wanted, once for all who wanted it meanwhile, and repeats it."""

    def __init__(self, name: str, write: Callable[[], None], *, pause: float) -> None:
        self._write = write
        self._pause = pause
        self._outage = Outage(f"mark in {name}")
        self._changed = threading.Condition()
        self._wanted = 0
        self._done = 0
        self._thread: threading.Thread | None = None
        self._name = name

    def want(self) -> None:
        with self._changed:
            self._wanted += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"mark-{self._name}", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        with self._changed:
            wanted = self._wanted
            return self._changed.wait_for(lambda: self._done >= wanted, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._done < self._wanted)
                wanted = self._wanted
            try:
                self._write()
            except Exception as error:  # noqa: BLE001 - whatever it is, the mark is written later
                self._outage.noticed(error)
                time.sleep(REPEAT_SECONDS)
                continue
            self._outage.over()
            with self._changed:
                self._done = wanted
                self._changed.notify_all()
            time.sleep(self._pause)


_keeper: Keeper | None = None
_keeper_lock = threading.Lock()


def keeper() -> Keeper:
    """This process's; made when it is first needed. Raises DatabaseError."""
    global _keeper  # noqa: PLW0603 - one process, one memory
    with _keeper_lock:
        installation = installation_name()
        if _keeper is None or _keeper.installation != installation:
            _keeper = Keeper(installation)
        return _keeper


def forget_everything() -> None:
    """This process knows nothing of any mark, as one that has just begun."""
    global _keeper  # noqa: PLW0603
    _keeper = None


def raise_mark(attempt_id: int, published_at: datetime | None = None) -> None:
    """Remember a publish whose evidence has been committed; never raises, and waits for nobody.

    A process that never compared is no publisher, and has nothing to remember.
    """
    if _keeper is not None and _keeper.server is not None:
        _keeper.raise_to(Mark((attempt_id,), published_at or clock.now()))


def flush(seconds: float = 5.0) -> bool:
    """Before this process ends: wait until the mark is written, at most so long; whether it is."""
    return _keeper is None or _keeper.flush(seconds)


def known_mark() -> Mark:
    """What this process knows of the mark."""
    return _keeper.mark if _keeper is not None else Mark()


# --- what is asked of the database -----------------------------------------------------------------------------------
class Server(models.Func):
    """Which database answers: another server, one that began anew, another history, or tables made anew differ in it.

    Cheap, since each claim asks for it: the identifier of the cluster would be read from a file each time.
    """

    # The timeline is that of this moment: `pg_control_checkpoint` names a new one only after its first checkpoint.
    template = (
        "(SELECT concat_ws('/', extract(epoch FROM pg_postmaster_start_time()),"
        " left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),"
        " (SELECT oid FROM pg_database WHERE datname = current_database()),"
        " pg_relation_filenode('publisher_attempt')))"
    )
    output_field = models.TextField()


def mark_condition() -> Q:
    """Holds while the database that answers is the one that was compared, and knows this process's latest publish.

    Part of each claim's own statement, so that nothing is ever claimed from a database that knows less than we do.
    """
    if _keeper is None or _keeper.server is None:
        return Q()
    condition = Q(Exact(Server(), Value(_keeper.server)))
    if latest := _keeper.mark.greatest:
        condition &= Q(Exists(Attempt.objects.filter(pk=latest, outcome=Attempt.Outcome.DONE)))
    return condition


# The same for statements that are written out, with `mark_params` as its parameters.
MARK_SQL = " AND ".join(
    [
        f"coalesce({Server.template} = %s, true)",
        "coalesce((SELECT known.outcome = 'done' FROM publisher_attempt known WHERE known.id = %s), %s)",
    ]
)


def mark_params() -> list[str | int | bool | None]:
    """The parameters of MARK_SQL; all of it holds in a process that has not compared."""
    if _keeper is None or _keeper.server is None:
        return [None, None, True]
    latest = _keeper.mark.greatest or None
    return [_keeper.server, latest, latest is None]


def has_changed() -> bool:
    """Whether another database answers than the one that was compared, or it lacks this process's latest publish."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT NOT ({MARK_SQL})", mark_params())
        return bool(cursor.fetchone()[0])


def database_is_behind(mark: Mark | None = None) -> bool:
    """Whether the database has forgotten something of ``mark`` (this process's own), and nobody has dealt with it."""
    return bool(missing(known_mark() if mark is None else mark))


def missing(mark: Mark) -> tuple[int, ...]:
    """The attempts of ``mark`` that the database does not know to be done, without those that were dealt with."""
    ids = mark.above(forgotten_until()).attempt_ids
    if not ids:
        return ()
    known = set(
        Attempt.objects.filter(pk__in=ids, outcome=Attempt.Outcome.DONE).values_list("pk", flat=True),
    )
    return tuple(each for each in ids if each not in known)


def forgotten_until() -> int:
    """The greatest attempt that was found to be missing before, and dealt with; 0 where nothing ever was."""
    events = AuditEvent.objects.filter(subject_id=INSTALLATION_ID, verb=FORGOTTEN)
    last = events.order_by("-id").values_list("params__attempt_id", flat=True).first()
    return int(last or 0)


def current_server() -> str:
    """Raises OperationalError on a replica."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {Server.template}")
        return str(cursor.fetchone()[0])


def installation_name() -> str:
    """The same in every database that was restored from a dump of this one, and in no other."""
    with connection.cursor() as cursor:
        # What no release ever removes: the first of Django's own migrations.
        cursor.execute("SELECT applied FROM django_migrations WHERE app = 'contenttypes' AND name = '0001_initial'")
        row = cursor.fetchone()
    if row is None:
        raise RuntimeError("The database has not been migrated.")
    return f"{row[0]:%Y%m%dT%H%M%S%f}"


def become_another_installation() -> str:
    """For a copy that is to live beside its original: from now on its marks are its own; their new name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_migrations SET applied = clock_timestamp()"
            " WHERE app = 'contenttypes' AND name = '0001_initial'"
        )
    return installation_name()


def move_attempts_past(attempt_id: int) -> None:
    """Let no attempt ever again have an id up to ``attempt_id``: these were given to calls that are forgotten."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT setval(name, greatest(%s, nextval(name)))"
            " FROM CAST(pg_get_serial_sequence('publisher_attempt', 'id') AS regclass) AS name",
            [attempt_id],
        )


# --- where it is kept ------------------------------------------------------------------------------------------------
def _write_to_redis(installation: str, mark: Mark) -> None:
    """Merge, never lower: other processes write there too. Raises RedisError."""
    if not mark.attempt_ids:
        return
    key = _redis_key(installation)
    with _redis().pipeline() as pipe:
        pipe.zadd(key, {str(each): each for each in mark.attempt_ids})
        pipe.zremrangebyrank(key, 0, -KEPT - 1)
        if mark.published_at is not None:
            pipe.zadd(key + ":at", {"published": mark.published_at.timestamp()}, gt=True)
        pipe.execute()


def _read_from_redis(installation: str) -> Mark | None:
    key = _redis_key(installation)
    try:
        with _redis().pipeline() as pipe:
            pipe.zrange(key, 0, -1)
            pipe.zscore(key + ":at", "published")
            ids, published = pipe.execute()
    except RedisError as error:
        logger.warning("mark_not_read", where="redis", error=type(error).__name__)
        return None
    at = None if published is None else datetime.fromtimestamp(published, UTC)
    return Mark(tuple(sorted(int(each) for each in ids)), at)


def _write_to_bucket(installation: str, name: str, mark: Mark) -> None:
    published = mark.published_at.isoformat() if mark.published_at else None
    body = json.dumps({"attempt_ids": mark.attempt_ids, "published_at": published})
    storage.write_note(storage.marks_folder(installation), name, body.encode())


def _parse(body: bytes) -> Mark:
    """What an object says; one that cannot be read says nothing."""
    try:
        content: Any = json.loads(body)
        ids = tuple(sorted({int(each) for each in content["attempt_ids"]}))
        at = content["published_at"]
        return Mark(ids, None if at is None else datetime.fromisoformat(at))
    except (ValueError, TypeError, KeyError):
        logger.error("mark_not_readable")
        return Mark()


def _redis_key(installation: str) -> str:
    return f"isekai:mark:{installation}"


def _redis() -> Redis:
    return _redis_at(settings.REDIS_URL)


@cache
def _redis_at(url: str) -> Redis:
    return Redis.from_url(
        url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
    )
