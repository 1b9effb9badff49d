"""The file of the index: SQLite, made of what the topics say, with the offset of the next record in the same
transaction as the rows. Missing, damaged, of another format or of other topics: it is built again."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

FORMAT = 3
"""Raised with every change of the tables: a file of another format is thrown away."""

MEMORY = ":memory:"

_BUSY = 60.0
"""Seconds to wait for another writer; each writes for some milliseconds."""

# What messages are filtered by stands in the index itself: a million that don't fit are passed over without a
# look at their rows.
TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE position (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE delivery (
    company TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, entity_id TEXT NOT NULL,
    customer_id TEXT NOT NULL, rule_id TEXT NOT NULL, location_id TEXT NOT NULL, state TEXT NOT NULL,
    pending INTEGER NOT NULL, moment INTEGER NOT NULL, transition INTEGER NOT NULL, channel TEXT NOT NULL,
    reason TEXT NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (company, id)
);
CREATE INDEX delivery_by_moment ON delivery (
    company, moment, id, state, rule_id, location_id, kind, channel, reason
);
CREATE INDEX delivery_by_entity ON delivery (company, kind, entity_id);
CREATE INDEX delivery_by_customer ON delivery (company, customer_id, moment, id);
CREATE INDEX delivery_pending ON delivery (company, moment, id, rule_id, location_id, state, channel)
WHERE pending;
CREATE TABLE step (
    company TEXT NOT NULL, id TEXT NOT NULL, transition INTEGER NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL, at INTEGER NOT NULL, moment INTEGER, note TEXT NOT NULL,
    PRIMARY KEY (company, id, transition)
) WITHOUT ROWID;
CREATE TABLE suppression (
    company TEXT NOT NULL, id TEXT NOT NULL, channel TEXT NOT NULL, version INTEGER NOT NULL,
    record BLOB NOT NULL, PRIMARY KEY (company, id)
) WITHOUT ROWID;
CREATE TABLE audit (
    company TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL,
    record_id TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (company, id)
) WITHOUT ROWID;
CREATE INDEX audit_by_moment ON audit (company, at, id);
CREATE TABLE entity (
    company TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    scheduled_at INTEGER, state BLOB NOT NULL, PRIMARY KEY (company, kind, id)
) WITHOUT ROWID;
CREATE INDEX entity_by_time ON entity (company, kind, scheduled_at, id) WHERE scheduled_at IS NOT NULL;
CREATE TABLE customer (
    company TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (company, id)
) WITHOUT ROWID;
"""


def open_index(path: Path, about: Mapping[str, str], ends: Mapping[str, Mapping[int, int]]) -> bool:
    """Makes sure that there is a good file at ``path``; True where it had to be made (anew).

    ``about``: what the file must be of (the topics' prefix and ids); an empty value, here or in the file, is
    not known and fits all. ``ends``: where the partitions end, beyond which no file can have read.
    Raises OSError and sqlite3.Error when no file can be made.
    """
    why = _fault(path, about, ends)
    if not why:
        return False
    if path.exists():
        log.warning("the console's index is built again: %s", why)
    path.parent.mkdir(parents=True, exist_ok=True)
    for each in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        each.unlink(missing_ok=True)
    # It names customers: for nobody else on this machine.
    path.touch(mode=0o600)
    with connect(path) as database:
        make_tables(database, about)
    database.close()
    return True


def make_tables(database: sqlite3.Connection, about: Mapping[str, str]) -> None:
    database.executescript(TABLES)
    told = {**about, "format": str(FORMAT)}
    database.executemany("INSERT INTO about VALUES (?, ?)", told.items())
    database.commit()


def connect(path: Path | str) -> sqlite3.Connection:
    """For one thread. A commit survives the end of the process, not that of the machine: then the file is
    behind what Kafka has, and catches up."""
    database = sqlite3.connect(path, timeout=_BUSY)
    if str(path) != MEMORY:
        database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    return database


def positions(database: sqlite3.Connection, topic: str) -> dict[int, int]:
    rows = database.execute("SELECT partition, next FROM position WHERE topic = ?", (topic,))
    return dict(rows.fetchall())


def _fault(path: Path, about: Mapping[str, str], ends: Mapping[str, Mapping[int, int]]) -> str:
    if not path.exists():
        return "there is none yet"
    try:
        database = connect(path)
        try:
            return _fault_within(database, about, ends)
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        return f"it is damaged ({error})"


def _fault_within(
    database: sqlite3.Connection, about: Mapping[str, str], ends: Mapping[str, Mapping[int, int]]
) -> str:
    (sound,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        return f"it is damaged ({sound})"
    if _objects(database) != _expected():
        return "tables or indexes are missing"
    told = dict(database.execute("SELECT name, value FROM about").fetchall())
    if told.get("format") != str(FORMAT):
        return f"it has format {told.get('format')}, this release makes {FORMAT}"
    for name, value in about.items():
        if value and told.get(name) and told[name] != value:
            return f"it is of another {name} ({told[name]}, not {value})"
    for topic, partitions in ends.items():
        read = positions(database, topic)
        beyond = [number for number, next_ in read.items() if next_ > partitions.get(number, 0)]
        if beyond:
            return f"it has read further in {topic}[{beyond[0]}] than the topic goes"
    return ""


def _expected() -> set[tuple[str, str]]:
    database = connect(MEMORY)
    make_tables(database, {})
    return _objects(database)


def _objects(database: sqlite3.Connection) -> set[tuple[str, str]]:
    """Tables and indexes with what they were made by. SQLite's own (statistics) don't count."""
    rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(name, sql) for name, sql in rows if not name.startswith("sqlite_")}
