"""Which draft a slot takes: one statement for any number of slots, of any number of workspaces.

The slots of a workspace choose one after another, each among what the earlier ones have left, and what one takes
depends on nothing but the rows, the slot and the automation's seed. So a preview, which asks without a lock and writes
nothing, names the drafts that the run will take, as long as nobody changes them in between.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from automations import slots
from automations.models import Automation
from automations.services.defaulting import Filling
from deviantart import rules
from deviations.models import Deviation, DeviationFile
from isekai.prepared import prepared_cursor

# A draft that somebody had open so lately is theirs.
OPEN = timedelta(minutes=10)
DAY = timedelta(days=1)

NONE_LEFT, FEW_LEFT, SPACING = "none_left", "few_left", "spacing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One work that a slot of an automation asks for."""

    automation: Automation
    filling: Filling  # what the automation will write into the draft, as far as that decides what can be published
    slot: slots.Slot
    zone: str
    # Its number among the works of its slot: each is drawn by itself.
    number: int = 0
    # Where a draft may go that names its account, or, if there is just one, any draft; without those that are in a
    # blackout on this day. Of no importance where the automation names the account.
    accounts: tuple[UUID, ...] = ()
    # How many accounts the workspace has: a draft that names none can go out where it has only one.
    connected: int = 0
    # Takes none unless at least so many are left.
    least_left: int | None = None
    # Drafts that it must not have, since they were taken back from this very slot, or refused.
    never: frozenset[UUID] = frozenset()
    # By when it is judged whether a draft is open in an editor; None: now.
    decided_at: datetime | None = None

    @property
    def method(self) -> Automation.Method:
        """How it chooses; of a mixture, what the draw falls on."""
        if self.automation.method != Automation.Method.MIXTURE:
            return Automation.Method(self.automation.method)
        parts = self.automation.mixture or []
        place = self._draw("method") * sum(part["weight"] for part in parts)
        for part in parts:
            place -= part["weight"]
            if place < 0:
                return Automation.Method(part["method"])
        return Automation.Method(parts[-1]["method"])

    @property
    def chance(self) -> int:
        """What a choice by chance is drawn from: 53 bits."""
        return int(self._draw("draft") * 2**53)

    def _draw(self, what: str) -> float:
        slot = self.slot
        named = f"{what} {self.number}" if self.number else what
        return slots.draw(self.automation.seed, slot.rule_id, slot.local_date, slot.ordinal, named)


@dataclass(frozen=True, slots=True)
class Pick:
    """The draft that a want gets, or why it gets none: `none_left`, `few_left` or `spacing`."""

    deviation_id: UUID | None
    method: Automation.Method
    reason: str = ""


def pick(wants: Sequence[Want], *, now: datetime, taken: Collection[UUID] = ()) -> list[Pick]:
    """The drafts that ``wants`` get, in their order, none of them twice and none of ``taken``.

    Nothing is locked and nothing is written: whoever schedules them locks them, and asks again without those that are
    not to be had any more. ``now``: by which it is judged whether a draft is open in an editor, if a want does not say.
    """
    if not wants:
        return []
    rows: list[dict[str, Any]] = []
    places: dict[UUID, int] = defaultdict(int)
    known: dict[Any, int] = {}
    for want in wants:
        workspace_id = want.automation.workspace_id
        places[workspace_id] += 1
        rows.append(_row(want, places[workspace_id], now, alike=_alike(want, now, known)))
    with prepared_cursor() as cursor:
        cursor.execute(_statement(rows), {"wants": json.dumps(rows, default=str), "taken": list(taken)})
        found = {(row[0], row[1]): row[2:] for row in cursor.fetchall()}
    picks = []
    for want, row in zip(wants, rows, strict=True):
        deviation_id, reason = found[want.automation.workspace_id, row["no"]]
        picks.append(Pick(deviation_id, want.method, reason or ""))
    return picks


def _alike(want: Want, now: datetime, known: dict[Any, int]) -> int:
    """A number that wants share of which the later ones find nothing once one of them has found nothing; else 0.

    They are of one automation, and what they may take becomes only less from one to the next: nothing comes of age, is
    closed in an editor, or fits between its neighbours meanwhile.
    """
    automation = want.automation
    comes_of_age = automation.filter_min_age_days is not None or automation.filter_max_age_days is not None
    is_spaced = automation.spacing != Automation.Spacing.NONE
    is_before_some_are_closed = want.decided_at is not None and want.decided_at < now + OPEN
    if comes_of_age or is_spaced or is_before_some_are_closed:
        return 0
    key = (automation.pk, want.decided_at is None, want.accounts, frozenset(want.never), want.least_left)
    return known.setdefault(key, len(known) + 1)


def _row(want: Want, no: int, now: datetime, *, alike: int) -> dict[str, Any]:
    """What the statement has to know of a want."""
    automation, day = want.automation, want.slot.local_date
    filling = want.filling
    return {
        "no": no,
        "workspace_id": automation.workspace_id,
        "method": want.method,
        "chance": want.chance,
        "slot_at": want.slot.at,
        "opened_before": (want.decided_at or now) - OPEN,
        "never": list(want.never),
        "account_id": automation.account_id,
        "accounts": [automation.account_id] if automation.account_id else list(want.accounts),
        "any_account": automation.account_id is not None or (want.connected == 1 and len(want.accounts) == 1),
        "made_before": _day_end(day, automation.filter_min_age_days, want.zone),
        "made_from": _day_start(day, automation.filter_max_age_days, want.zone),
        "tags": automation.filter_tags if automation.filter_tags_match == Automation.TagsMatch.ANY else [],
        "all_tags": automation.filter_tags if automation.filter_tags_match == Automation.TagsMatch.ALL else [],
        "galleries": automation.filter_gallery_ids,
        "templates": automation.filter_template_ids,
        "mature": _MATURE[Automation.Mature(automation.filter_mature)],
        "orientation": "" if automation.filter_orientation == "any" else automation.filter_orientation,
        "spacing": "" if automation.spacing == "none" else automation.spacing,
        "least_left": want.least_left or 0,
        "title": filling.title,
        "tags_replaced": filling.replaces_tags,
        "mode": filling.upload_mode,
        "makes_mature": filling.makes_mature,
        "mature_unless_said": filling.mature_unless_said,
        "has_level": filling.has_mature_level,
        "alike": alike,
    }


_MATURE = {Automation.Mature.ANY: None, Automation.Mature.ONLY: True, Automation.Mature.NEVER: False}


def _day_end(day: date, days_before: int | None, zone: str) -> datetime | None:
    return None if days_before is None else slots.day_span(_before(day, days_before), zone)[1]


def _day_start(day: date, days_before: int | None, zone: str) -> datetime | None:
    return None if days_before is None else slots.day_span(_before(day, days_before), zone)[0]


def _before(day: date, days: int) -> date:
    """So many days earlier; before all works for more than there are."""
    return day - timedelta(days=min(days, (day - date(1970, 1, 1)).days))


# --- the statement ---------------------------------------------------------------------------------------------------
# Everything that is put into it by Python is written in this module; what people say goes in as parameters.
_COLUMNS = """
    no integer, workspace_id uuid, method text, chance bigint, slot_at timestamptz, opened_before timestamptz,
    never uuid[], account_id uuid, accounts uuid[], any_account boolean, made_before timestamptz, made_from timestamptz,
    tags text[], all_tags text[], galleries uuid[], templates uuid[], mature boolean, orientation text, spacing text,
    least_left integer, title text, tags_replaced boolean, mode text, makes_mature boolean, mature_unless_said boolean,
    has_level boolean, alike integer
"""

_TABLE, _FILES = Deviation._meta.db_table, DeviationFile._meta.db_table
_TYPES = ", ".join(f"'{each}'" for each in rules.CONTENT_TYPES)

# What an index can tell; written as the indexes are.
_READY = """
    d.workspace_id = w.workspace_id AND d.status = 'draft' AND d.ready_at IS NOT NULL AND d.trashed_at IS NULL
"""

# As `deviations.services.readiness` judges the draft with everything that the automation writes into it, so that one
# that DeviantArt would not take is passed over instead of standing in everybody's way.
_PUBLISHABLE = rf"""
    AND CASE w.title
        WHEN 'always' THEN true
        WHEN 'untouched' THEN length(d.title) <= {rules.TITLE_MAX_LENGTH} OR d.title !~ '\S'
        ELSE length(d.title) <= {rules.TITLE_MAX_LENGTH} AND d.title ~ '\S'
    END
    AND CASE
        WHEN w.tags_replaced OR d.tags IS NULL OR cardinality(d.tags) <= {rules.TAGS_MAX} THEN true
        ELSE (
            SELECT count(DISTINCT lower(shown)) <= {rules.TAGS_MAX}
            FROM unnest(d.tags) AS tag,
                LATERAL (SELECT regexp_replace(normalize(tag, NFKD), '[^A-Za-z0-9_]', '', 'g') AS shown) AS tags
            WHERE shown <> ''
        )
    END
    AND (
        w.has_level
        OR d.mature_level IS NOT NULL
        OR NOT coalesce(w.makes_mature, d.is_mature, w.mature_unless_said, false)
    )
    AND (
        w.any_account AND (d.account_id IS NULL OR d.account_id = ANY (w.accounts))
        OR d.account_id = ANY (w.accounts)
    )
    AND (
        SELECT count(*) > 0
            AND (count(*) = 1 OR coalesce(w.mode, d.upload_mode) = 'multiple')
            AND bool_and(f.media_state <> 'failed' AND f.size <= {rules.FILE_MAX_BYTES})
            AND bool_and(f.content_type IN ({_TYPES}))
        FROM {_FILES} AS f WHERE f.deviation_id = d.id
    )
"""  # noqa: S608

_FREE = """
    AND d.id <> ALL (s.taken) AND d.id <> ALL (w.never)
    AND (d.opened_at IS NULL OR d.opened_at <= w.opened_before)
"""

# Each only where somebody in the batch asks for it, by the column that says so.
_FILTERS = {
    "made_before": "AND (w.made_before IS NULL OR d.created_at < w.made_before)",
    "made_from": "AND (w.made_from IS NULL OR d.created_at >= w.made_from)",
    "tags": "AND (cardinality(w.tags) = 0 OR d.tags && w.tags::varchar[])",
    "all_tags": "AND (cardinality(w.all_tags) = 0 OR d.tags @> w.all_tags::varchar[])",
    "galleries": "AND (cardinality(w.galleries) = 0 OR d.gallery_ids && w.galleries)",
    "templates": "AND (cardinality(w.templates) = 0 OR d.template_id = ANY (w.templates))",
    "mature": "AND (w.mature IS NULL OR (d.is_mature IS TRUE) = w.mature)",
    "orientation": f"""
        AND (w.orientation = '' OR w.orientation = (
            SELECT CASE
                WHEN f.width > f.height THEN 'landscape' WHEN f.width < f.height THEN 'portrait'
                WHEN f.width = f.height THEN 'square' ELSE '' END
            FROM {_FILES} AS f WHERE f.deviation_id = d.id ORDER BY f.position LIMIT 1
        ))
    """,  # noqa: S608
}
_SPACED = """
    AND (w.spacing <> 'series' OR d.series_id IS NULL OR d.series_id <> ALL (near.series))
    AND (w.spacing <> 'gallery' OR d.gallery_ids IS NULL OR NOT d.gallery_ids && near.galleries)
"""

# What goes out directly before and after the slot, by hand or by whom ever, on the accounts that it may go to.
_NEAR = f"""
    LEFT JOIN LATERAL (
        WITH beside AS (
            (
                SELECT id FROM (
                    (
                        SELECT o.id, o.publish_at AS at FROM {_TABLE} AS o
                        WHERE o.workspace_id = w.workspace_id AND o.status IN ('scheduled', 'uploading', 'publishing')
                            AND o.account_id = ANY (w.accounts) AND o.publish_at < w.slot_at
                        ORDER BY o.publish_at DESC LIMIT 1
                    ) UNION ALL (
                        SELECT o.id, o.published_at FROM unnest(w.accounts) AS account (id), LATERAL (
                            SELECT id, published_at FROM {_TABLE}
                            WHERE account_id = account.id AND status = 'published' AND published_at < w.slot_at
                            ORDER BY published_at DESC LIMIT 1
                        ) AS o
                    ) UNION ALL (
                        SELECT o.id, o.at FROM unnest(s.taken, s.taken_at, s.taken_by)
                            WITH ORDINALITY AS o (id, at, account_id, place)
                        WHERE o.at <= w.slot_at AND o.account_id = ANY (w.accounts) ORDER BY o.place DESC LIMIT 1
                    )
                ) AS earlier ORDER BY at DESC LIMIT 1
            ) UNION ALL (
                SELECT o.id FROM {_TABLE} AS o
                WHERE o.workspace_id = w.workspace_id AND o.status IN ('scheduled', 'uploading', 'publishing')
                    AND o.account_id = ANY (w.accounts) AND o.publish_at >= w.slot_at
                ORDER BY o.publish_at LIMIT 1
            )
        )
        SELECT
            ARRAY(SELECT n.series_id FROM {_TABLE} AS n JOIN beside USING (id) WHERE n.series_id IS NOT NULL) AS series,
            ARRAY(SELECT unnest(n.gallery_ids) FROM {_TABLE} AS n JOIN beside USING (id)) AS galleries
    ) AS near ON w.spacing <> ''
"""  # noqa: S608

_ORDERS = {
    Automation.Method.FIFO: "d.created_at, d.id",
    Automation.Method.LIFO: "d.created_at DESC, d.id DESC",
    Automation.Method.PRIORITY: "d.priority DESC, d.created_at, d.id",
    Automation.Method.TITLE: "lower(d.title), d.id",
}

# By chance: each draft has a key, a hash of its id, and the keys are cut into equal cells with some drafts in each. A
# draw names a cell and a place in it, of more places than any cell has drafts; one that meets an empty place, or what
# may not be taken, is drawn again. So each draft is met as often as every other one, however unevenly their keys lie,
# and a few dozens are looked at. How many there are is guessed from how far it is to the next key from each of so many
# marks: one by one, since for a few dozens in a row PostgreSQL sorts all where it takes a workspace for a small one.
# Where there are few, or nearly none of them may be taken, those that may are put into a drawn order.
_KEY = "uuid_hash_extended(d.id, 0)"
_GUESSED_FROM, _IN_A_CELL, _PLACES, _DRAWS, _BITS_LEAST = 32, 8, 64, 1000, 3


def _by_chance(eligible: str) -> str:
    # What a run has taken is not ready any more, what a preview has promised still is: both count in no cell.
    there = f"{_READY} AND d.id <> ALL (s.taken)"
    cell = "(drawn.number >> (64 - cells.bits)) << (64 - cells.bits)"
    return f"""
        SELECT met.id, met.account_id FROM (
            SELECT floor(
                ln({_GUESSED_FROM / _IN_A_CELL} * {2.0**64} / sum(first.key::float8 - mark.key::float8 + 1))
                    / ln(2.0::float8)
            )::integer AS bits
            FROM generate_series({-_GUESSED_FROM // 2}, {_GUESSED_FROM // 2 - 1}) AS part (n)
            CROSS JOIN LATERAL (SELECT part.n::bigint << {64 - _GUESSED_FROM.bit_length() + 1} AS key) AS mark
            CROSS JOIN LATERAL (
                SELECT {_KEY} AS key FROM {_TABLE} AS d WHERE {there} AND {_KEY} >= mark.key ORDER BY {_KEY} LIMIT 1
            ) AS first
            HAVING count(*) = {_GUESSED_FROM}
        ) AS cells, LATERAL (
            SELECT found.id, found.account_id
            FROM generate_series(1, {_DRAWS}) WITH ORDINALITY AS draw (number, place)
            CROSS JOIN LATERAL (SELECT hashint8extended(draw.number, w.chance) AS number) AS drawn
            CROSS JOIN LATERAL (
                SELECT d.id FROM {_TABLE} AS d
                WHERE {there} AND {_KEY} >= {cell} AND {_KEY} <= ({cell}) + ((1::bigint << (64 - cells.bits)) - 1)
                ORDER BY {_KEY} OFFSET drawn.number & {_PLACES - 1} LIMIT 1
            ) AS placed
            CROSS JOIN LATERAL (
                SELECT d.id, d.account_id FROM {_TABLE} AS d WHERE d.id = placed.id AND {eligible} OFFSET 0
            ) AS found
            WHERE cells.bits >= {_BITS_LEAST}
            ORDER BY draw.place LIMIT 1
        ) AS met
        UNION ALL (
            SELECT d.id, d.account_id FROM {_TABLE} AS d WHERE {eligible}
            ORDER BY hashint8extended({_KEY}, w.chance), d.id LIMIT 1
        )
    """  # noqa: S608


def _statement(rows: Sequence[dict[str, Any]]) -> str:
    """The statement for ``rows``: it has no more in it than they ask for."""
    asked = "".join(text for column, text in _FILTERS.items() if any(row[column] not in ("", [], None) for row in rows))
    eligible = _READY + _FREE + asked + _PUBLISHABLE
    spaced = any(row["spacing"] for row in rows)
    chosen_from = eligible + _SPACED if spaced else eligible
    branches = []
    for method in sorted({row["method"] for row in rows}):
        if method == Automation.Method.RANDOM:
            choice = _by_chance(chosen_from)
        else:
            choice = (
                f"SELECT d.id, d.account_id FROM {_TABLE} AS d WHERE {chosen_from} ORDER BY {_ORDERS[method]} LIMIT 1"  # noqa: S608
            )
        # One of the branches is for this row; the others are not even begun.
        mine = f"w.method = '{method}' AND w.alike <> ALL (s.spent)"
        branches.append(f"(SELECT * FROM ({choice}) AS by_{method} WHERE {mine} LIMIT 1)")  # noqa: S608
    few, enough = "", ""
    if any(row["least_left"] for row in rows):
        few = f"""
            CROSS JOIN LATERAL (
                SELECT CASE
                    WHEN w.least_left = 0 THEN false
                    WHEN -w.alike = ANY (s.spent) THEN true
                    ELSE w.least_left > (
                        SELECT count(*)
                        FROM (SELECT 1 FROM {_TABLE} AS d WHERE {eligible} LIMIT w.least_left) AS counted
                    )
                END AS left
            ) AS few
        """  # noqa: S608
        enough = "WHEN few.left THEN 'few_left'"
    blocked = ""
    if spaced:
        blocked = f"WHEN w.spacing <> '' AND EXISTS (SELECT 1 FROM {_TABLE} AS d WHERE {eligible}) THEN 'spacing'"  # noqa: S608
    return f"""
        WITH RECURSIVE wanted AS MATERIALIZED (
            SELECT * FROM jsonb_to_recordset(%(wants)s::jsonb) AS wanted ({_COLUMNS})
        ), step (workspace_id, no, id, reason, taken, taken_at, taken_by, spent) AS (
            SELECT DISTINCT workspace_id, 0, NULL::uuid, NULL::text, %(taken)s::uuid[],
                array_fill(NULL::timestamptz, ARRAY[cardinality(%(taken)s::uuid[])]),
                array_fill(NULL::uuid, ARRAY[cardinality(%(taken)s::uuid[])]), ARRAY[]::integer[]
            FROM wanted
            UNION ALL
            SELECT s.workspace_id, w.no, chosen.id,
                CASE WHEN chosen.id IS NOT NULL THEN NULL {enough} {blocked} ELSE 'none_left' END,
                CASE WHEN chosen.id IS NULL THEN s.taken ELSE s.taken || chosen.id END,
                CASE WHEN chosen.id IS NULL THEN s.taken_at ELSE s.taken_at || w.slot_at END,
                CASE WHEN chosen.id IS NULL THEN s.taken_by
                    ELSE s.taken_by || coalesce(w.account_id, chosen.account_id, w.accounts[1]) END,
                CASE WHEN chosen.id IS NULL AND w.alike > 0 AND w.alike <> ALL (s.spent) AND -w.alike <> ALL (s.spent)
                    THEN s.spent || {"CASE WHEN few.left THEN -w.alike ELSE w.alike END" if few else "w.alike"}
                    ELSE s.spent END
            FROM step AS s
            JOIN wanted AS w ON w.workspace_id = s.workspace_id AND w.no = s.no + 1
            {few}
            {_NEAR if spaced else ""}
            LEFT JOIN LATERAL ({" UNION ALL ".join(branches)}) AS chosen ON {"NOT few.left" if few else "true"}
        )
        SELECT workspace_id, no, id, reason FROM step WHERE no > 0
    """  # noqa: S608
