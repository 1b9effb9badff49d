"""Idempotency keys: the same key with the same request is done once and has the same answer, for a day.

In a file of its own beside the index: answers are nobody's truth, but a restart must not forget them.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from console.index.database import MEMORY, connect

KEPT = 24 * 3600 * 1000
"""Milliseconds."""

_TABLE = """
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, at INTEGER NOT NULL, status INTEGER NOT NULL,
    version INTEGER, body BLOB NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Answer:
    request: str
    """What was asked, as a hash."""
    status: int
    version: int | None
    body: bytes


class Repeats:
    """Of one process, on the event loop: each look takes some tens of microseconds."""

    def __init__(self, path: Path | None) -> None:
        """None: in memory. A damaged file is begun anew."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._database = _opened(path)

    def close(self) -> None:
        self._database.close()

    def lock(self, key: str) -> asyncio.Lock:
        """The second of two at once waits for the answer of the first."""
        return self._locks[key]

    def done_with(self, key: str) -> None:
        lock = self._locks.get(key)
        if lock is not None and not lock.locked():
            del self._locks[key]

    def answer(self, key: str, now: int) -> Answer | None:
        row = self._database.execute(
            "SELECT request, status, version, body FROM answer WHERE key = ? AND at > ?", (key, now - KEPT)
        ).fetchone()
        return None if row is None else Answer(*row)

    def keep(self, key: str, answer: Answer, now: int) -> None:
        with self._database:
            self._database.execute("DELETE FROM answer WHERE at <= ?", (now - KEPT,))
            self._database.execute(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?)",
                (key, answer.request, now, answer.status, answer.version, answer.body),
            )


def request_hash(method: str, path: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()


def _opened(path: Path | None) -> sqlite3.Connection:
    if path is None:
        return _with_table(connect(MEMORY))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    try:
        return _with_table(connect(path))
    except sqlite3.DatabaseError:
        path.unlink()
        return _with_table(connect(path))


def _with_table(database: sqlite3.Connection) -> sqlite3.Connection:
    database.execute(_TABLE)
    return database
