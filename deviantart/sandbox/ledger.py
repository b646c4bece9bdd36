"""What there is and what has happened: the rows of the ledger and what they add up to."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from deviantart.sandbox import works
from deviantart.sandbox.clock import iso
from deviantart.sandbox.rules import ControlError
from deviantart.sandbox.state import State


def requests_of(state: State, since: int) -> list[dict[str, Any]]:
    return state.journal.requests(since)


def items(state: State, _since: int) -> list[dict[str, Any]]:
    rows = state.store.all(
        "SELECT i.itemid, u.username, i.client_id, i.title, i.artist_comments, i.tags, i.is_ai_generated, i.noai,"
        " i.filename, i.sha256, i.size, i.content_type, i.created_at, i.overwrites, i.delivered,"
        " (SELECT count(*) FROM deviations d WHERE d.itemid = i.itemid) AS published"
        " FROM items i JOIN users u USING (userid) ORDER BY i.rowid"
    )
    return [
        {
            **dict(row),
            "tags": json.loads(row["tags"]),
            "created_at": iso(row["created_at"]),
            "delivered": bool(row["delivered"]),
        }
        for row in sorted(rows, key=lambda row: row["created_at"])
    ]


def deviations(state: State, _since: int) -> list[dict[str, Any]]:
    return [
        {
            "deviationid": work["deviationid"],
            "itemid": work["itemid"],
            "username": work["username"],
            "title": work["title"],
            "sha256": work["sha256"],
            "published_at": iso(work["published_at"]),
            "delivered": bool(work["delivered"]),
            "url": works.page_url(state, work),
            "artist_comments": work["artist_comments"],
            "tags": works.tags_of(work),
            "client_id": work["client_id"],
            "overwrites": work["overwrites"],
            "half_published": bool(work["half_published"]),
            "is_deleted": bool(work["is_deleted"]),
            "seeded": bool(work["seeded"]),
            "options": json.loads(work["options"]),
        }
        for work in state.store.all(works.SELECT + "ORDER BY d.published_at, d.rowid")
    ]


PARTS: Mapping[str, Callable[[State, int], list[dict[str, Any]]]] = {
    "requests": requests_of,
    "items": items,
    "deviations": deviations,
}


def ledger(state: State, query: Mapping[str, str]) -> dict[str, Any]:
    """The parts that ``?parts`` names, in their order of arrival; of the requests those after ``?since``."""
    parts = query.get("parts", ",".join(PARTS)).split(",")
    since = query.get("since", "0")
    if not set(parts) <= set(PARTS):
        raise ControlError("parts is not accepted.", field="parts", accepted=list(PARTS))
    if not since.isdecimal():
        raise ControlError("since is not accepted.", field="since", accepted="the id of a request")
    return {name: rows(state, int(since)) for name, rows in PARTS.items() if name in parts}


def summary(state: State) -> dict[str, Any]:
    store = state.store
    duplicates = store.all(
        "SELECT u.username, i.title, i.sha256, count(*) AS count FROM deviations d JOIN items i USING (itemid)"
        " JOIN users u ON u.userid = d.userid WHERE NOT d.seeded GROUP BY u.userid, i.title, i.sha256"
        " HAVING count(*) > 1"
    )
    orphans = store.all(
        "SELECT itemid FROM items i WHERE NOT EXISTS (SELECT 1 FROM deviations d WHERE d.itemid = i.itemid)"
        " ORDER BY created_at"
    )
    return {
        "deviations": store.value("SELECT count(*) FROM deviations"),
        "seeded": store.value("SELECT count(*) FROM deviations WHERE seeded"),
        "half_published": store.value("SELECT count(*) FROM deviations WHERE half_published"),
        "items": store.value("SELECT count(*) FROM items"),
        "users": store.value("SELECT count(*) FROM users"),
        "per_title": _deviations_per(state, "i.title"),
        "per_item": _deviations_per(state, "d.itemid"),
        "per_username": _deviations_per(state, "u.username"),
        "published_twice": len(duplicates),
        "duplicates": [dict(row) for row in duplicates],
        "orphans": len(orphans),
        "orphan_items": [row["itemid"] for row in orphans],
        **state.journal.counts(),
    }


def _deviations_per(state: State, column: str) -> dict[str, int]:
    rows = state.store.all(
        f"SELECT {column} AS value, count(*) AS count FROM deviations d JOIN items i USING (itemid)"  # noqa: S608 - the caller's constant
        f" JOIN users u ON u.userid = d.userid GROUP BY {column}"
    )
    return {str(row["value"]): row["count"] for row in rows}
