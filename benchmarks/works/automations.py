"""How long a tick takes, and how many queries, from a hundred automations to ten thousand, among a million drafts.

Each of two thousand artists has five automations and five hundred drafts; all six types of rules and all six ways to
choose a draft are there, some with filters, spacing and conditions. At each size a hundred slots are due, of other
automations than before, so that the queries for a hundred slots can be compared; then five hundred at the largest. The
baseline reads and writes the same rows as bare SQL, for the oldest draft of each workspace, without asking anything.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connection

from accounts.models import EncryptionKey
from accounts.services.secrets import key_id, row_of, writing_key
from automations import slots
from automations.models import Automation, Execution, ExecutionWork
from automations.services.defaulting import Filling
from automations.services.materialising import schedule_due
from automations.services.picking import Want, pick
from benchmarks.report import percentile
from benchmarks.works.scheduling import Figure
from deviations.models import Deviation
from isekai import clock

AUTOMATIONS = int(os.environ.get("BENCHMARK_AUTOMATIONS", "10000"))
DRAFTS = int(os.environ.get("BENCHMARK_DRAFTS", "1000000"))
USERS = max(1, AUTOMATIONS // 5)
SIZES = sorted({100, 1000, AUTOMATIONS})
EACH, MANY = 100, 500
# The drafts of one more workspace, of which one is chosen.
CHOICE = min(100_000, DRAFTS)
PICKS, WARM_UP = 500, 50
AT_ONCE = 100_000

# Rows find each other by their numbers.
NTH = """
CREATE FUNCTION nth(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT (
    substr(md5(kind), 1, 8) || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0')
)::uuid $$
"""

OWNERS = """
INSERT INTO accounts_user (id, username, email, password, is_superuser, is_staff, is_active, time_zone, language, theme,
    preferences, session_epoch, created_at)
SELECT nth('user', n), 'automating-' || n, '', '', false, false, true,
    (ARRAY['Europe/Berlin', 'America/New_York', 'Asia/Tokyo', 'UTC'])[1 + n %% 4], 'en', 'auto', '{}', 0, now()
FROM generate_series(0, %(users)s) AS n;
INSERT INTO accounts_workspace (id, name, drafts_are_ready, created_at)
SELECT nth('workspace', n), 'Workspace ' || n, false, now() FROM generate_series(0, %(users)s) AS n;
INSERT INTO accounts_membership (id, user_id, workspace_id, role, created_at)
SELECT nth('membership', n), nth('user', n), nth('workspace', n), 'owner', now()
FROM generate_series(0, %(users)s) AS n;
INSERT INTO accounts_deviantartaccount (id, workspace_id, remote_user_id, username, avatar_url, scopes, base_url,
    access_token, refresh_token, encryption_key_id, token_version, refresh_in_doubt, refresh_failures, state,
    state_reason, paused, not_before_reason, late_limit_seconds, connected_at, access_expires_at, refresh_expires_at)
SELECT nth('account', n), nth('workspace', n), 'REMOTE-' || n, 'deviant-' || n, '', '{publish,stash}', %(base_url)s,
    'v1:' || %(key)s || ':a', 'v1:' || %(key)s || ':r', %(key)s, 1, false, 0, 'active', '', false, '', 86400, now(),
    now() + interval '1 day', now() + interval '90 days'
FROM generate_series(0, %(users)s) AS n;
"""

# Those beyond the number of drafts are of the workspace that is left over.
SOME_DRAFTS = """
INSERT INTO deviations_deviation (id, workspace_id, kind, status, reason_code, reason_params, title, tags, gallery_ids,
    upload_mode, keep_metadata, priority, scheduled_zone, jitter_seconds, version, ready_at, created_at, updated_at)
SELECT nth('draft', n), nth('workspace', CASE WHEN n >= %(drafts)s THEN %(users)s ELSE n %% %(users)s END), 'image',
    'draft', '', '{}', md5(n::text),
    CASE WHEN n / %(users)s %% 10 = 0 THEN '{sketch,ink}' ELSE '{ink,fox}' END::varchar[],
    ARRAY[nth('gallery', n / %(users)s %% 20)], 'single', false, n %% 7, '', 0, 1, moment, moment, moment
FROM (
    SELECT n, now() - (1 + n * 7919 %% %(drafts)s) * interval '20 seconds' AS moment
    FROM generate_series(%(first)s::bigint, %(last)s) AS n
) AS numbers;
INSERT INTO deviations_deviationfile (id, deviation_id, position, original_name, storage_key, content_type, size,
    sha256, width, height, exif, media_state, media_reason_code, media_attempts, created_at)
SELECT nth('file', n), nth('draft', n), 0, 'fox_' || n || '.png', 'originals/' || n, 'image/png', 1000, repeat('0', 64),
    400 + n %% 3, 401, '{}', 'ready', '', 0, now()
FROM generate_series(%(first)s::bigint, %(last)s) AS n;
"""

# What a rule of each type says so that its slot is at `wall`, or within the ten minutes from then on.
SAYS = {
    "time_of_day": "CASE WHEN type = 'fixed_time' THEN wall::time END",
    "interval_minutes": "CASE WHEN type = 'fixed_interval' THEN 1440 END",
    "anchor_local": "CASE WHEN type = 'fixed_interval' THEN wall - interval '30 days' END",
    "quota": "CASE WHEN type = 'daily_quota' THEN 1 END",
    "window_start": "CASE WHEN type IN ('daily_quota', 'time_window') THEN wall::time END",
    "window_end": "CASE WHEN type IN ('daily_quota', 'time_window') THEN (wall + interval '10 minutes')::time END",
    "week_minutes": "CASE WHEN type = 'weekday_slots' THEN ARRAY("
    "SELECT day * 1440 + extract(epoch FROM wall::time)::integer / 60 FROM generate_series(0, 6) AS day) END",
    "week_numbers": "CASE WHEN type = 'weekday_slots' THEN '{0,0,0,0,0,0,0}'::smallint[] END",
    "cron": "CASE WHEN type = 'cron' THEN to_char(wall, 'FMMI FMHH24') || ' * * *' END",
    # Like every one of them a moment before which there is no slot.
    "next_slot_at": "wall AT TIME ZONE zone",
}

# Their slots come between five minutes and an hour from now if they are to be due, else in the hours after that.
SOME_AUTOMATIONS = f"""
INSERT INTO automations_automation (id, workspace_id, account_id, name, description, color, icon, position, enabled,
    zone, combine, method, mixture, seed, filter_tags, filter_tags_match, filter_gallery_ids, filter_template_ids,
    filter_mature, filter_orientation, spacing, jitter_min_seconds, jitter_max_seconds, stash_only, add_to_sale_queue,
    protect_watermark, protect_no_download, protect_display_resolution, catch_up_seconds, counter, version, created_at,
    updated_at)
SELECT nth('automation', n), nth('workspace', n %% %(users)s),
    CASE WHEN n %% 2 = 0 THEN nth('account', n %% %(users)s) END, 'Automation ' || n, '', '', '', n / %(users)s, true,
    '', 'any', method, CASE WHEN method = 'mixture'
        THEN '[{{"method": "random", "weight": 70}}, {{"method": "fifo", "weight": 30}}]'::jsonb END,
    n * 7919, CASE WHEN n %% 5 = 0 THEN '{{sketch}}' ELSE '{{}}' END::varchar[], 'any', '{{}}', '{{}}', 'any', 'any',
    CASE WHEN n %% 10 = 3 THEN 'gallery' ELSE 'none' END, 0, 300, false, false, true, true, 6, 3600, 1, 1, now(), now()
FROM (
    SELECT n, (ARRAY['fifo', 'lifo', 'random', 'priority', 'title', 'mixture'])[1 + n / 6 %% 6] AS method
    FROM generate_series(%(first)s::bigint, %(last)s) AS n
) AS numbers;
INSERT INTO automations_schedulerule (id, automation_id, type, works_per_slot, priority, enabled, quiet_hours,
    max_per_week, min_drafts_left, created_at, updated_at, {", ".join(SAYS)})
SELECT nth('rule', n), nth('automation', n), type, 1, 0, true, CASE WHEN n %% 20 = 7 THEN 1 END,
    CASE WHEN n %% 20 = 9 THEN 50 END, CASE WHEN n %% 20 = 11 THEN 3 END, now(), now(), {", ".join(SAYS.values())}
FROM (
    SELECT n, zone, type, least(local, date_trunc('day', local) + interval '23:49') AS wall
    FROM (
        SELECT n, time_zone AS zone, date_trunc('minute', moment AT TIME ZONE time_zone) AS local,
            (ARRAY['fixed_time', 'fixed_interval', 'daily_quota', 'time_window', 'weekday_slots', 'cron'])[1 + n %% 6]
                AS type
        FROM (
            SELECT n, now() + interval '1 minute' * (
                CASE WHEN n < %(due_before)s THEN 5 + n %% 45 ELSE 120 + n * 7919 %% 1200 END
            ) AS moment
            FROM generate_series(%(first)s::bigint, %(last)s) AS n
        ) AS moments JOIN accounts_user ON accounts_user.id = nth('user', n %% %(users)s)
    ) AS locals
) AS walls;
INSERT INTO automations_defaultvalue (id, automation_id, field, value, mode, created_at, updated_at)
SELECT nth('default', n), nth('automation', n), CASE WHEN n %% 3 = 0 THEN 'description' ELSE 'allow_comments' END,
    CASE WHEN n %% 3 = 0 THEN '"No. {{counter}} of {{weekday}}"' ELSE 'false' END::jsonb, 'untouched', now(), now()
FROM generate_series(%(first)s::bigint, %(last)s) AS n;
"""  # noqa: S608 - of our own words

# The least that has to be done for a hundred slots, once it is known which: as few statements as there are tables.
BARE_RULES = """
SELECT rule.id, rule.automation_id, automation.workspace_id, rule.next_slot_at
FROM automations_schedulerule AS rule JOIN automations_automation AS automation ON automation.id = rule.automation_id
WHERE rule.enabled AND rule.next_slot_at <= now() + interval '1 hour' AND rule.id <> ALL (%s)
ORDER BY rule.next_slot_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED
"""
BARE_DRAFTS = """
SELECT draft.id
FROM (
    SELECT workspace_id, place, row_number() OVER (PARTITION BY workspace_id ORDER BY place) - 1 AS before
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS slot (workspace_id, place)
) AS slot, LATERAL (
    SELECT id FROM deviations_deviation
    WHERE workspace_id = slot.workspace_id AND status = 'draft' AND ready_at IS NOT NULL AND trashed_at IS NULL
    ORDER BY created_at, id OFFSET slot.before LIMIT 1 FOR UPDATE SKIP LOCKED
) AS draft
ORDER BY slot.place
"""
BARE_WRITES = """
UPDATE deviations_deviation AS draft SET status = 'scheduled', scheduled_at = slot.at, publish_at = slot.at,
    scheduled_local = slot.at AT TIME ZONE 'UTC', scheduled_zone = 'UTC', version = version + 1, updated_at = now(),
    account_id = (SELECT id FROM accounts_deviantartaccount AS account WHERE account.workspace_id = draft.workspace_id)
FROM unnest(%(drafts)s::uuid[], %(moments)s::timestamptz[]) AS slot (id, at) WHERE draft.id = slot.id;
INSERT INTO accounts_auditevent (at, workspace_id, verb, subject_type, subject_id, params, correlation_id)
SELECT now(), workspace_id, 'deviation.scheduled', 'deviation', id, '{"automation": "bare"}', ''
FROM deviations_deviation WHERE id = ANY (%(drafts)s);
WITH made AS (
    INSERT INTO automations_execution (automation_id, rule_id, kind, run_id, local_date, ordinal, slot_at, outcome,
        reason_code, reason_params, made_at, looked_at)
    SELECT automation_id, id, 'slot', uuidv7(), at::date, 0, at, 'scheduled', '', '{}', now(), now()
    FROM unnest(%(rules)s::uuid[], %(automations)s::uuid[], %(moments)s::timestamptz[]) AS slot (id, automation_id, at)
    RETURNING id, rule_id
)
INSERT INTO automations_executionwork (execution_id, deviation_id, method, publish_at, values_before, made_at,
    released_because)
SELECT made.id, slot.draft_id, 'fifo', slot.at, '{}', now(), ''
FROM made JOIN unnest(%(rules)s::uuid[], %(drafts)s::uuid[], %(moments)s::timestamptz[]) AS slot (id, draft_id, at)
    ON slot.id = made.rule_id;
UPDATE automations_schedulerule SET next_slot_at = next_slot_at + interval '1 day' WHERE id = ANY (%(rules)s);
"""


@dataclass
class Tick:
    """What one tick cost."""

    automations: int
    slots: int
    works: int
    seconds: float
    queries: int

    @property
    def queries_per_100(self) -> float:
        return self.queries * 100 / self.slots


@dataclass
class Found:
    ticks: list[Tick] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    bare_seconds: float = 0.0
    filled_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """Of the queries for a hundred slots, from the fewest automations to the most."""
        same = [each for each in self.ticks if each.slots == EACH]
        return same[-1].queries_per_100 / same[0].queries_per_100

    @property
    def ratio(self) -> float:
        return self.ticks[-1].seconds / self.bare_seconds

    def as_table(self) -> str:
        lines = [f"{'automations':>12}{'slots':>8}{'works':>8}{'seconds':>10}{'queries':>10}{'for 100 slots':>15}"]
        lines += [
            f"{each.automations:>12,}{each.slots:>8}{each.works:>8}{each.seconds:>10.2f}{each.queries:>10}"
            f"{each.queries_per_100:>15.1f}"
            for each in self.ticks
        ]
        lines += [
            f"From the fewest automations to the most, queries for a hundred slots grow {self.growth:.2f} times.",
            f"The last tick as bare SQL: {self.bare_seconds:.2f} s; ours is {self.ratio:.1f} times that.",
            "",
            *(figure.line for figure in self.figures.values()),
            f"{DRAFTS:,} drafts of {USERS:,} artists, made in {self.filled_seconds:.0f} s; {CHOICE:,} to choose from.",
            f"{PICKS} choices of each kind. {self.seconds:.0f} s in all. PostgreSQL without fsync.",
        ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        last = self.ticks[-1]
        return {
            "tick_seconds": round(last.seconds, 4),
            "queries_per_100_slots": round(last.queries_per_100, 2),
            "queries_growth": round(self.growth, 4),
            "bare_tick_seconds": round(self.bare_seconds, 4),
            "ticks": [
                {
                    "automations": each.automations,
                    "slots": each.slots,
                    "works": each.works,
                    "seconds": round(each.seconds, 4),
                    "queries": each.queries,
                }
                for each in self.ticks
            ],
            **{f"{name}_ms": round(figure.value, 4) for name, figure in self.figures.items()},
        }


# --- rows ------------------------------------------------------------------------------------------------------------
class Stage:
    """The tables, filled by a connection of their own, and how far."""

    def __init__(self) -> None:
        self.bare = psycopg.connect(settings.DATABASE_URL, autocommit=True, cursor_factory=psycopg.ClientCursor)
        self.automations = 0
        # Nobody asks for each of a million rows whether what it names exists: it does.
        self.bare.execute("SET session_replication_role = replica")
        self.bare.execute(NTH)
        key = writing_key()
        if not EncryptionKey.objects.filter(pk=key_id(key)).exists():
            row_of(key).save()
        self._run(OWNERS, base_url=settings.DEVIANTART_BASE_URL, key=key_id(key))

    def make_drafts(self) -> None:
        for first in range(0, DRAFTS + CHOICE, AT_ONCE):
            self._run(SOME_DRAFTS, first=first, last=min(first + AT_ONCE, DRAFTS + CHOICE) - 1)

    def make_automations(self, up_to: int, *, due: int) -> None:
        """So that there are that many, of which the first of the new ones have a slot within the hour."""
        first, self.automations = self.automations, up_to
        self._run(SOME_AUTOMATIONS, first=first, last=up_to - 1, due_before=first + due)

    def make_due_anew(self, count: int) -> None:
        """As if the last of them had been made just now, with a slot within the hour."""
        first = self.automations - count
        for kind in ("defaultvalue", "schedulerule", "automation"):
            name = {"defaultvalue": "default", "schedulerule": "rule"}.get(kind, kind)
            self.bare.execute(f"DELETE FROM automations_{kind} WHERE id >= nth('{name}', {first})")  # noqa: S608
        self.automations = first
        self.make_automations(first + count, due=count)

    def settle(self) -> None:
        """What autovacuum would do in its own time, so that it does not do it while we measure."""
        self.bare.execute("VACUUM (ANALYZE)")
        self.bare.execute("CHECKPOINT")

    def _run(self, sql: str, **values: Any) -> None:
        self.bare.execute(sql, {"users": USERS, "drafts": DRAFTS, **values})


# --- ticks -----------------------------------------------------------------------------------------------------------
@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the statements of this thread's connection into the list's only place."""
    count = [0]

    def counting(execute: Callable[..., Any], *args: Any) -> Any:
        count[0] += 1
        return execute(*args)

    with connection.execute_wrapper(counting):
        yield count


def tick(stage: Stage, *, expected: int) -> Tick:
    works = ExecutionWork.objects.count()
    with counted() as count:
        began = time.perf_counter()
        made = schedule_due()
        seconds = time.perf_counter() - began
    if made != expected:
        raise RuntimeError(f"{made} slots were made instead of {expected}.")
    return Tick(stage.automations, made, ExecutionWork.objects.count() - works, seconds, count[0])


def ticks(stage: Stage, found: Found) -> None:
    for size in SIZES:
        stage.make_automations(size, due=EACH)
        stage.settle()
        found.ticks.append(tick(stage, expected=EACH))
    idle = [_milliseconds(schedule_due) for _ in range(20)]
    found.figures["idle_tick"] = Figure("a tick with nothing to make", statistics.median(idle), "ms")
    stage.make_due_anew(MANY)
    stage.settle()
    found.bare_seconds = _bare_tick(stage)
    stage.settle()
    found.ticks.append(tick(stage, expected=MANY))
    scheduled = Deviation.objects.filter(status=Deviation.Status.SCHEDULED).count()
    executions = Execution.objects.count()
    if (scheduled, executions) != (sum(each.works for each in found.ticks), sum(each.slots for each in found.ticks)):
        raise RuntimeError(f"There are {scheduled} works and {executions} executions.")


def _bare_tick(stage: Stage) -> float:
    """Seconds of the baseline, which is taken back."""
    stage.bare.execute("SET session_replication_role = origin")
    began = time.perf_counter()
    with stage.bare.transaction(force_rollback=True):
        done: list[UUID] = []
        while rows := stage.bare.execute(BARE_RULES, [done]).fetchall():
            rules, automations, workspaces, moments = (list(column) for column in zip(*rows, strict=True))
            drafts = [row[0] for row in stage.bare.execute(BARE_DRAFTS, [workspaces]).fetchall()]
            values = {"rules": rules, "automations": automations, "moments": moments, "drafts": drafts}
            stage.bare.execute(BARE_WRITES, values)
            done += rules
        seconds = time.perf_counter() - began
    stage.bare.execute("SET session_replication_role = replica")
    if len(done) != MANY:
        raise RuntimeError(f"The baseline made {len(done)} slots instead of {MANY}.")
    return seconds


# --- choosing --------------------------------------------------------------------------------------------------------
CHOICES: dict[str, tuple[str, dict[str, Any], float | None]] = {
    "random_pick": ("by chance", {"method": "random"}, 5),
    "random_pick_of_a_tag": ("by chance of one tag", {"method": "random", "filter_tags": ["sketch"]}, None),
    "fifo_pick": ("the oldest", {"method": "fifo"}, None),
    "priority_pick": ("by priority", {"method": "priority"}, None),
    "title_pick": ("by title", {"method": "title"}, None),
}


def picks(stage: Stage, found: Found) -> None:
    """Each by a statement of its own, as somebody who runs one slot by hand would have it."""
    row = stage.bare.execute("SELECT nth('workspace', %(n)s), nth('account', %(n)s)", {"n": USERS}).fetchone()
    assert row is not None
    workspace_id, account_id = row
    now = clock.database_now()
    for name, (sentence, fields, most) in CHOICES.items():
        automation = Automation(workspace_id=workspace_id, account_id=account_id, seed=7, **fields)
        wants = [
            Want(
                automation=automation,
                filling=Filling(automation),
                slot=slots.Slot(now, automation.pk, now.date(), number),
                zone="UTC",
                accounts=(account_id,),
                connected=1,
            )
            for number in range(WARM_UP + PICKS)
        ]
        found_ids = set()
        took = []
        for want in wants:
            began = time.perf_counter()
            (picked,) = pick([want], now=now)
            took.append(_since(began))
            if picked.deviation_id is None:
                raise RuntimeError(f"Nothing was found {sentence}.")
            found_ids.add(picked.deviation_id)
        if fields["method"] == "random" and len(found_ids) < PICKS // 2:
            raise RuntimeError(f"Only {len(found_ids)} drafts were drawn {sentence}.")
        took = took[WARM_UP:]
        found.figures[f"{name}_p50"] = Figure(f"a draft {sentence}, half within", statistics.median(took), "ms")
        found.figures[f"{name}_p99"] = Figure(
            f"a draft {sentence}, 99 of 100 within", percentile(took, 0.99), "ms", None, most
        )


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return _since(began)


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def measure() -> Found:
    if AUTOMATIONS < 2 * MANY or DRAFTS < 10 * AUTOMATIONS:
        raise SystemExit(f"At least {2 * MANY} automations, and ten drafts for each.")
    began = time.monotonic()
    found = Found()
    stage = Stage()
    stage.make_drafts()
    found.filled_seconds = time.monotonic() - began
    ticks(stage, found)
    picks(stage, found)
    stage.bare.close()
    connection.close()
    found.seconds = time.monotonic() - began
    return found
