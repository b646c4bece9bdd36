"""How long it takes to schedule, to find and to claim a work among a million of them.

The table has a million works of a thousand accounts, nearly all of them published, and a queue of some thousand. Every
number stands beside the same reads and writes as bare SQL in the same run: what is measured is our own services, and
for the bulk call the API with all that is in front of it, in this process and one call after the other.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connection
from django.test import Client
from psycopg.types.json import Jsonb

from accounts.models import ApiKey, DeviantArtAccount, User, Workspace
from accounts.services.api_keys import create_api_key
from benchmarks.report import percentile
from benchmarks.works.rows import StoredFile, make_accounts, make_user, make_works
from deviations.models import Deviation
from deviations.services.scheduling import schedule_deviation, schedule_many
from isekai import clock
from publisher.models import Worker
from publisher.services.claiming import claim_next
from publisher.services.dispatching import dispatch_due, next_due_at

ROWS = int(os.environ.get("BENCHMARK_ROWS", "1000000"))
ACCOUNTS = 1000
FUTURE = 3000
CLAIMS = SINGLE = DISPATCHES = 500
BULK, CHUNK = 10_000, 500
FILE = StoredFile("originals/none/none", 1000, "0" * 64)

FILL = """
INSERT INTO deviations_deviation
  (id, workspace_id, account_id, kind, status, reason_code, reason_params, title, tags, upload_mode, keep_metadata,
   scheduled_zone, jitter_seconds, scheduled_at, publish_at, published_at, version, created_at, updated_at)
SELECT uuidv7(), %(workspace)s, (%(accounts)s::uuid[])[1 + n %% %(number)s], 'image',
       CASE WHEN n %% 50 = 0 THEN 'draft' ELSE 'published' END, '', '{}', 'Work ' || n, '{a,b,c}', 'single', false,
       'UTC', 0, moment, moment, CASE WHEN n %% 50 = 0 THEN NULL ELSE moment END, 3, moment, moment
FROM (SELECT n, now() - n * interval '30 seconds' AS moment FROM generate_series(1, %(rows)s) AS n) AS numbers
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, what the same costs as bare SQL, and what it has to stay below."""

    name: str
    value: float
    unit: str
    bare: float | None = None
    most: float | None = None

    @property
    def line(self) -> str:
        bare = f"{self.bare:>12.2f}{self.value / self.bare:>9.1f}" if self.bare else f"{'':>21}"
        verdict = "" if self.most is None else f"  < {self.most:g}: {'yes' if self.value < self.most else 'NO'}"
        return f"{self.name:<58}{self.value:>12.2f}{bare} {self.unit:<3}{verdict}"


@dataclass
class Found:
    figures: dict[str, Figure] = field(default_factory=dict)
    seconds: float = 0.0

    def as_table(self) -> str:
        lines = [f"{'':<58}{'ours':>12}{'bare SQL':>12}{'ratio':>9}"]
        lines += [figure.line for figure in self.figures.values()]
        lines.append(
            f"{ROWS:,} works; {CLAIMS} claims, {SINGLE} single schedules; {BULK:,} in chunks of {CHUNK}. "
            f"{self.seconds:.0f} s in all. PostgreSQL without fsync."
        )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": ROWS,
            **{
                name: {
                    "value": round(figure.value, 4),
                    "unit": figure.unit,
                    **({"bare": round(figure.bare, 4)} if figure.bare else {}),
                    **({} if figure.most is None else {"most": figure.most}),
                }
                for name, figure in self.figures.items()
            },
        }


@dataclass
class Stage:
    """The table, and who owns what is in it."""

    user: User
    workspace: Workspace
    accounts: Sequence[DeviantArtAccount]
    bare: "psycopg.Connection[Any]"


def milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def seconds_for_each(call: Callable[[Sequence[UUID]], None], chunks: Sequence[Sequence[UUID]]) -> float:
    began = time.perf_counter()
    for ids in chunks:
        call(ids)
    return time.perf_counter() - began


def fill() -> Stage:
    user, workspace = make_user("scheduling")
    accounts = make_accounts(workspace, ACCOUNTS)
    bare = psycopg.connect(settings.DATABASE_URL, autocommit=True)
    ids = [account.pk for account in accounts]
    bare.execute(FILL, {"workspace": workspace.pk, "accounts": ids, "number": ACCOUNTS, "rows": ROWS})
    later = [clock.now() + timedelta(days=1, minutes=position) for position in range(FUTURE)]
    make_works(workspace, [accounts[position % ACCOUNTS] for position in range(FUTURE)], FILE, publish_at=later)
    Worker.objects.create(
        host="benchmark",
        process_id=0,
        slots=2 * CLAIMS,
        started_at=clock.now(),
        alive_until=clock.now() + timedelta(hours=1),
    )
    return Stage(user, workspace, accounts, bare)


def settle(stage: Stage) -> None:
    """What autovacuum would do in its own time, so that it does not do it while we measure."""
    for table in (
        "accounts_deviantartaccount",
        "accounts_auditevent",
        "deviations_deviation",
        "deviations_deviationfile",
    ):
        stage.bare.execute(f"VACUUM (ANALYZE) {table}")
    stage.bare.execute("CHECKPOINT")


# --- dispatching and claiming ----------------------------------------------------------------------------------------
def empty_dispatches(stage: Stage, found: Found) -> None:
    for _ in range(20):
        assert dispatch_due() == 0
    ours = [milliseconds(dispatch_due) for _ in range(DISPATCHES)]
    query = "SELECT account_id FROM deviations_deviation WHERE status IN ('scheduled', 'publishing')"
    query += " AND lease_id IS NULL AND trashed_at IS NULL AND due_at <= clock_timestamp() ORDER BY due_at LIMIT 10"
    bare = [milliseconds(lambda: stage.bare.execute(query).fetchall()) for _ in range(DISPATCHES)]
    note(found, "dispatch", "an empty dispatch", ours, bare, most=1)


CLAIM = """
UPDATE deviations_deviation SET status = 'uploading', lease_id = uuidv7(), worker_id = uuidv7(), updated_at = now()
WHERE id = (SELECT id FROM deviations_deviation WHERE account_id = %s AND status IN ('scheduled', 'publishing')
            AND lease_id IS NULL AND trashed_at IS NULL AND due_at <= clock_timestamp()
            ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""


def claims(stage: Stage, found: Found) -> None:
    due = clock.now() - timedelta(minutes=1)
    # Two for each account, of which one may be in flight.
    make_works(stage.workspace, [*stage.accounts, *stage.accounts], FILE, publish_at=due)
    settle(stage)
    worker_id = Worker.objects.get().pk
    ours = []
    for account in stage.accounts[:CLAIMS]:
        began = time.perf_counter()
        assert claim_next(account.pk, worker_id) is not None
        ours.append((time.perf_counter() - began) * 1000)
    bare = [
        milliseconds(lambda account=account: stage.bare.execute(CLAIM, [account.pk]).fetchone())
        for account in stage.accounts[CLAIMS : 2 * CLAIMS]
    ]
    note(found, "claim", "finding and claiming a work", ours, bare, most=10)
    assert claim_next(stage.accounts[0].pk, worker_id) is None, "An account had two works in flight."
    # What is due still is of accounts that have one in flight: there is nothing to dispatch.
    ours = [milliseconds(dispatch_due) for _ in range(100)]
    note(found, "dispatch_all_in_flight", f"a dispatch with {2 * CLAIMS} due, all of accounts in flight", ours, None)


def next_moments(found: Found) -> None:
    """What the dispatcher asks before it sleeps, when many works lie ahead."""
    ahead = Deviation.objects.filter(status=Deviation.Status.SCHEDULED).count()
    assert next_due_at() is not None
    ours = [milliseconds(next_due_at) for _ in range(DISPATCHES)]
    note(found, "next_due", f"the next due moment of {ahead:,} works", ours, None)


# --- scheduling ------------------------------------------------------------------------------------------------------
SCHEDULE = """
UPDATE deviations_deviation SET status = 'scheduled', scheduled_at = %s, publish_at = %s, scheduled_local = %s,
  scheduled_zone = 'UTC', version = version + 1, updated_at = clock_timestamp() WHERE id = %s
"""
AUDIT = """
INSERT INTO accounts_auditevent (at, workspace_id, user_id, verb, subject_type, subject_id, params, correlation_id)
VALUES (clock_timestamp(), %s, %s, 'deviation.scheduled', 'deviation', %s, %s, '')
"""
AUDIT_MANY = """
INSERT INTO accounts_auditevent (at, workspace_id, user_id, verb, subject_type, subject_id, params, correlation_id)
SELECT clock_timestamp(), %s, %s, 'deviation.scheduled', 'deviation', id, %s, '' FROM unnest(%s::uuid[]) AS id
"""


def single(stage: Stage, found: Found) -> None:
    works = make_works(stage.workspace, stage.accounts[: 2 * SINGLE], FILE)
    settle(stage)
    at = clock.now() + timedelta(days=2)
    ours = [
        milliseconds(lambda work=work: schedule_deviation(work, user=stage.user, scheduled_at=at))
        for work in works[:SINGLE]
    ]

    def bare(work: Deviation) -> None:
        with stage.bare.transaction():
            stage.bare.execute("SELECT * FROM deviations_deviation WHERE id = %s FOR UPDATE", [work.pk]).fetchone()
            stage.bare.execute(SCHEDULE, [at, at, at.replace(tzinfo=None), work.pk])
            stage.bare.execute(AUDIT, [stage.workspace.pk, stage.user.pk, work.pk, Jsonb({"publish_at": str(at)})])

    written = [milliseconds(lambda work=work: bare(work)) for work in works[SINGLE:]]
    note(found, "schedule", "scheduling a work", ours, written, most=5)


def bulk(stage: Stage, found: Found) -> None:
    works = make_works(stage.workspace, [stage.accounts[position % 3] for position in range(3 * BULK)], FILE)
    settle(stage)
    at = clock.now() + timedelta(days=3)
    chunks = [[work.pk for work in works[start : start + CHUNK]] for start in range(0, len(works), CHUNK)]
    third = BULK // CHUNK
    bare = seconds_for_each(lambda ids: _bare_bulk(stage, ids, at), chunks[:third])
    ours = seconds_for_each(lambda ids: _service_bulk(stage, ids, at), chunks[third : 2 * third])
    call = _api(stage)
    api = seconds_for_each(lambda ids: call(ids, at), chunks[2 * third :])
    scheduled = Deviation.objects.filter(publish_at=at, status=Deviation.Status.SCHEDULED).count()
    assert scheduled == 3 * BULK, scheduled
    found.figures["bulk_service"] = Figure(f"{BULK:,} by the service, {CHUNK} at once", ours, "s", bare, 5)
    found.figures["bulk_api"] = Figure(f"{BULK:,} by the API's bulk call", api, "s", bare, 5)


def _bare_bulk(stage: Stage, ids: Sequence[UUID], at: Any) -> None:
    with stage.bare.transaction():
        stage.bare.execute(
            "SELECT * FROM deviations_deviation WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [ids]
        ).fetchall()
        stage.bare.execute(SCHEDULE.replace("id = %s", "id = ANY(%s)"), [at, at, at.replace(tzinfo=None), ids])
        stage.bare.execute(AUDIT_MANY, [stage.workspace.pk, stage.user.pk, Jsonb({"publish_at": str(at)}), list(ids)])


def _service_bulk(stage: Stage, ids: Sequence[UUID], at: Any) -> None:
    result = schedule_many(Deviation.objects.owned_by(stage.user), user=stage.user, ids=ids, scheduled_at=at)
    assert all(item.deviation is not None for item in result.items)


def _api(stage: Stage) -> Callable[[Sequence[UUID], Any], None]:
    _key, secret = create_api_key(stage.workspace, user=stage.user, name="benchmark", scopes=[ApiKey.Scope.WRITE])
    client = Client(headers={"Authorization": f"Bearer {secret}"})

    def call(ids: Sequence[UUID], at: Any) -> None:
        body = {"action": "schedule", "ids": [str(each) for each in ids], "scheduled_at": at.isoformat()}
        answer = client.post("/api/deviations/bulk/", body, content_type="application/json")
        assert answer.status_code == 200, answer.content
        assert all(item["ok"] for item in answer.json()["results"])

    return call


# --- what came of it -------------------------------------------------------------------------------------------------
def note(
    found: Found,
    name: str,
    sentence: str,
    ours: Sequence[float],
    bare: Sequence[float] | None,
    *,
    most: float | None = None,
) -> None:
    """The median and what 99 of 100 stay below; the limit is for the latter."""
    found.figures[f"{name}_p50"] = Figure(
        f"{sentence}, half within", statistics.median(ours), "ms", statistics.median(bare) if bare else None
    )
    found.figures[f"{name}_p99"] = Figure(
        f"{sentence}, 99 of 100 within",
        percentile(ours, 0.99),
        "ms",
        percentile(bare, 0.99) if bare else None,
        most,
    )


def index_sizes(stage: Stage, found: Found) -> None:
    for name in ("deviation_next_due", "deviation_due"):
        row = stage.bare.execute("SELECT pg_relation_size(%s)", [name]).fetchone()
        assert row is not None
        found.figures[name] = Figure(f"the index {name}", row[0] / 1_000_000, "MB", None, 2)


def measure() -> Found:
    began = time.monotonic()
    found = Found()
    stage = fill()
    settle(stage)
    empty_dispatches(stage, found)
    single(stage, found)
    claims(stage, found)
    index_sizes(stage, found)
    bulk(stage, found)
    settle(stage)
    next_moments(found)
    with suppress(psycopg.Error):
        stage.bare.close()
    connection.close()
    found.seconds = time.monotonic() - began
    return found
