"""Who asked for what, when, and what became of it: the requests of the ledger."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deviantart.sandbox.store import Store

_FLUSH_SECONDS = 0.2


@dataclass
class Entry:
    """One request. ``status`` None: no answer yet, or none at all.

    ``committed``: it changed something. ``delivered``: its true answer reached a client that was still there.
    ``fault`` is what was done to it, ``cause`` who wanted it (plan, drawn, a limit, an episode …), and ``deed`` the
    fault as a plan would have it.
    """

    id: int
    time: str
    method: str
    path: str
    username: str | None = None
    client_id: str | None = None
    status: int | None = None
    error: str | None = None
    error_code: int | None = None
    committed: bool = False
    fault: str | None = None
    cause: str | None = None
    deed: dict[str, Any] | None = None
    delivered: bool = False
    grant_type: str | None = None
    title: str | None = None
    sha256: str | None = None
    itemid: int | None = None
    deviationid: str | None = None
    ip: str | None = None
    latency_seconds: float = 0.0  # as it was drawn, before ``wait_scale``
    ended: bool = False
    ended_at: str | None = None


class Journal:
    """Kept in memory and written in batches, at the latest a fifth of a second after a request has ended."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[int, Entry] = {}
        self._ended: list[Entry] = []
        self._answers: dict[str, Counter[str]] = {}
        self._faults: Counter[str] = Counter()
        self.next_id = 1 + (store.value("SELECT max(id) FROM requests") or 0)
        for entry in self.requests():
            self._count(entry)

    def begin(self, *, time: str, method: str, path: str) -> Entry:
        entry = Entry(self.next_id, time, method, path)
        self.next_id += 1
        self._open[entry.id] = entry
        return entry

    def end(self, entry: Entry, *, time: str) -> None:
        if self._open.pop(entry.id, None) is None:
            return  # the sandbox was emptied meanwhile
        entry.ended, entry.ended_at = True, time
        if not self._ended:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._ended.append(entry)
        self._count(vars(entry))

    def flush(self) -> None:
        if self._ended:
            self._store.add_requests([(entry.id, json.dumps(vars(entry))) for entry in self._ended])
            self._ended.clear()

    def requests(self, since: int = 0) -> list[dict[str, Any]]:
        """Every request with a larger id than ``since``, those still open included, in the order of arrival."""
        self.flush()
        rows = self._store.all("SELECT entry FROM requests WHERE id > ? ORDER BY id", since)
        entries = [json.loads(row["entry"]) for row in rows]
        entries += [dict(vars(entry)) for entry in self._open.values() if entry.id > since]
        return sorted(entries, key=lambda entry: entry["id"])

    def counts(self) -> dict[str, dict[str, Any]]:
        """``answers``: by path, how often it was answered with each status ("none": not at all); ``faults``: by what
        was done and who wanted it, how often. Open requests are in neither.
        """
        return {
            "answers": {path: dict(counter) for path, counter in self._answers.items()},
            "faults": dict(self._faults),
        }

    def applied_plan(self) -> list[dict[str, Any]]:
        """Every fault that was applied, as a plan that strikes the same requests when they come in the same order."""
        seen: Counter[tuple[str, str, str | None]] = Counter()
        plan = []
        for entry in self.requests():
            keys = [(entry["method"], entry["path"], None), (entry["method"], entry["path"], entry["username"])]
            seen.update(set(keys))
            if entry.get("deed") is None:
                continue
            match = {"path": entry["path"], "method": entry["method"], "nth": seen[keys[-1]]}
            if entry["username"] is not None:
                match["username"] = entry["username"]
            plan.append({"match": match, **entry["deed"]})
        return plan

    def _count(self, entry: Mapping[str, Any]) -> None:
        status = "none" if entry["status"] is None else str(entry["status"])
        self._answers.setdefault(entry["path"], Counter())[status] += 1
        if entry["fault"] is not None:
            # Journals of the first version know no causes.
            self._faults[f"{entry['fault']} ({entry.get('cause', 'plan')})"] += 1

    def forget(self) -> None:
        self._answers.clear()
        self._faults.clear()
        self._open.clear()
        self._ended.clear()
