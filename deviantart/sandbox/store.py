"""The sandbox's memory: one SQLite database and the uploaded files, in a folder of its own."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS apps (
    client_id TEXT PRIMARY KEY, client_secret TEXT, name TEXT NOT NULL, url TEXT NOT NULL,
    redirect_uris TEXT NOT NULL, oauth TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS users (
    userid TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE COLLATE NOCASE, type TEXT NOT NULL, created_at REAL NOT NULL,
    accepted_submission_policy INTEGER NOT NULL, accepted_tos INTEGER NOT NULL, daily_quota INTEGER
);
CREATE TABLE IF NOT EXISTS watches (
    userid TEXT NOT NULL, watched TEXT NOT NULL, PRIMARY KEY (userid, watched)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folders (
    folderid TEXT PRIMARY KEY, userid TEXT NOT NULL, parent TEXT, name TEXT NOT NULL, position INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS folders_of_user ON folders (userid, parent, position);
CREATE TABLE IF NOT EXISTS codes (
    code TEXT PRIMARY KEY, client_id TEXT NOT NULL, userid TEXT NOT NULL, redirect_uri TEXT NOT NULL,
    scope TEXT NOT NULL, challenge TEXT, expires_at REAL NOT NULL, used INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS access_tokens (
    token TEXT PRIMARY KEY, family TEXT NOT NULL, client_id TEXT NOT NULL, userid TEXT, scope TEXT NOT NULL,
    expires_at REAL NOT NULL, revoked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS access_tokens_of_family ON access_tokens (family);
CREATE INDEX IF NOT EXISTS access_tokens_of_user ON access_tokens (userid);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    token TEXT PRIMARY KEY, family TEXT NOT NULL, client_id TEXT NOT NULL, userid TEXT NOT NULL, scope TEXT NOT NULL,
    expires_at REAL NOT NULL, state TEXT NOT NULL DEFAULT 'live'
);
CREATE INDEX IF NOT EXISTS refresh_tokens_of_family ON refresh_tokens (family);
CREATE INDEX IF NOT EXISTS refresh_tokens_of_user ON refresh_tokens (userid);
CREATE TABLE IF NOT EXISTS stacks (stackid INTEGER PRIMARY KEY, userid TEXT NOT NULL, name TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS stacks_of_user ON stacks (userid, name);
CREATE TABLE IF NOT EXISTS items (
    itemid INTEGER PRIMARY KEY, userid TEXT NOT NULL, client_id TEXT NOT NULL, stackid INTEGER NOT NULL,
    title TEXT NOT NULL, artist_comments TEXT NOT NULL, original_url TEXT NOT NULL, tags TEXT NOT NULL,
    is_ai_generated INTEGER, noai INTEGER, is_dirty INTEGER NOT NULL,
    filename TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL, content_type TEXT NOT NULL, kind TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, transparency INTEGER NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, overwrites INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS deviations (
    deviationid TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, slug TEXT NOT NULL, itemid INTEGER NOT NULL,
    userid TEXT NOT NULL, tags TEXT NOT NULL, is_mature INTEGER NOT NULL, options TEXT NOT NULL,
    published_at REAL NOT NULL, answered_at REAL, delivered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS deviations_of_user ON deviations (userid, published_at);
CREATE INDEX IF NOT EXISTS deviations_by_time ON deviations (published_at);
CREATE INDEX IF NOT EXISTS deviations_of_item ON deviations (itemid);
CREATE TABLE IF NOT EXISTS deviation_folders (
    folderid TEXT NOT NULL, deviationid TEXT NOT NULL, PRIMARY KEY (folderid, deviationid)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, entry TEXT NOT NULL);
"""
# What tables have gained since the first version: a folder of that time must go on working.
_ADDED_COLUMNS = {
    "users": {"state": "TEXT NOT NULL DEFAULT 'active'", "publish_refusal": "INTEGER"},
    "folders": {
        "access": "TEXT NOT NULL DEFAULT 'public'",
        "description": "TEXT NOT NULL DEFAULT ''",
        "cover": "TEXT",
    },
    "refresh_tokens": {"used_at": "REAL", "granted_at": "REAL"},
    "deviations": {
        "gallery_delay": "REAL",  # NULL: the profile's; of works that never show, a very large one
        "half_published": "INTEGER NOT NULL DEFAULT 0",
        "is_scrap": "INTEGER NOT NULL DEFAULT 0",
        "is_deleted": "INTEGER NOT NULL DEFAULT 0",
        "seeded": "INTEGER NOT NULL DEFAULT 0",
        "favourites": "INTEGER NOT NULL DEFAULT 0",
        "answered_before": "INTEGER",  # the first request that came after its answer
    },
    "deviation_folders": {"position": "INTEGER"},
}
_TABLES = [
    "meta",
    "apps",
    "users",
    "watches",
    "folders",
    "codes",
    "access_tokens",
    "refresh_tokens",
    "stacks",
    "items",
    "deviations",
    "deviation_folders",
    "requests",
]


class Store:
    """Rows and files. ``folder`` None keeps the rows in memory and the files in a folder that ``close`` removes.

    Writes outlive a killed process, not a crashed machine: the sandbox holds nothing that is worth an fsync.
    """

    def __init__(self, folder: Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="deviantart-sandbox-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else Path(folder or "")
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.uploads, ignore_errors=True)  # what a killed process was receiving
        self._make_folders()
        self._connection = sqlite3.connect(
            ":memory:" if folder is None else self.folder / "sandbox.sqlite3", isolation_level=None
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(_SCHEMA)
        for table, columns in _ADDED_COLUMNS.items():
            present = {row["name"] for row in self.all(f"PRAGMA table_info({table})")}
            for column in columns.keys() - present:
                self.run(f"ALTER TABLE {table} ADD COLUMN {column} {columns[column]}")

    def one(self, query: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
        return row

    def value(self, query: str, *values: Any) -> Any:
        row = self._connection.execute(query, values).fetchone()
        return None if row is None else row[0]

    def all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(query, values).fetchall()

    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement and return how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def update(self, table: str, changes: Mapping[str, Any], where: str, *values: Any) -> int:
        """Set columns of the rows that ``where`` means, and return how many they were."""
        assignments = ", ".join(f"{name} = ?" for name in changes)
        # Table, columns and condition come from this package only.
        return self.run(f"UPDATE {table} SET {assignments} WHERE {where}", *changes.values(), *values)  # noqa: S608

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        names, places = ", ".join(row), ", ".join("?" * len(row))
        # Table and column names come from this package only.
        self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(row.values()))  # noqa: S608

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. The body must not await: other requests share this connection."""
        self._connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def meta(self, key: str, default: Any = None) -> Any:
        value = self.value("SELECT value FROM meta WHERE key = ?", key)
        return default if value is None else json.loads(value)

    def set_meta(self, key: str, value: Any) -> None:
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, json.dumps(value))

    def add_requests(self, entries: list[tuple[int, str]]) -> None:
        with self.transaction():
            self._connection.executemany("INSERT OR REPLACE INTO requests VALUES (?, ?)", entries)

    @property
    def uploads(self) -> Path:
        return self.folder / "uploads"

    def file(self, sha256: str) -> Path:
        return self.folder / "files" / sha256

    def thumbnail(self, sha256: str, size: int) -> Path:
        return self.folder / "thumbs" / f"{sha256}-{size}"

    def empty(self) -> None:
        with self.transaction():
            for table in _TABLES:
                self.run(f"DELETE FROM {table}")  # noqa: S608 - one of the names above
        for name in ("uploads", "files", "thumbs"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self._make_folders()

    def close(self) -> None:
        self._connection.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _make_folders(self) -> None:
        for name in ("uploads", "files", "thumbs"):
            (self.folder / name).mkdir(exist_ok=True)
