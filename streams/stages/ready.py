"""Rows whose moment has come, in the order in which they may go: by channel, and fairly between companies.

The ``due`` family is read once from front to back with a cursor; what is due but finds its channel full waits
here in memory, by channel and company, so that a blast of one company or an outage of one provider is not in
the way of the others. After a restart the cursor begins at the front again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from schemas.records import Channel
from streams.domain.catalog import Catalog
from streams.stages.ports import KeyValue
from streams.stages.slots import due_key, name_of

SCAN = 1_000
"""Rows read ahead in one go."""
MOST = 200_000
"""Rows kept waiting in memory (some 40 MB of names); beyond that the rest waits in the store."""

_Name = tuple[int, bytes]


class ReadyRows:
    def __init__(self, store: KeyValue, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._cursor = b""
        self._queues: dict[Channel | None, dict[str, deque[_Name]]] = {}
        self._waiting: set[_Name] = set()

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def next_due(self) -> int | None:
        """The due time of the first row that has not been read."""
        rows = self._store.scan("due", self._cursor, None, 1)
        return int.from_bytes(rows[0][0][:8], "big") if rows else None

    def moved(self, names: Iterable[_Name]) -> None:
        """Rows were put at these places; those behind the cursor would never be read."""
        for name in names:
            if due_key(*name) < self._cursor:
                self._enqueue(name)

    def take(self, now: int, capacity: Mapping[Channel, int], limit: int) -> Sequence[_Name]:
        """At most ``limit`` rows that are due, at most ``capacity`` for each channel; one company after the
        other in turns. A row taken is not given again unless ``moved`` says where it is."""
        self._read(now)
        taken: list[_Name] = []
        for channel, companies in self._queues.items():
            room = limit if channel is None else min(limit, capacity.get(channel, 0))
            while room > 0 and companies and len(taken) < limit:
                company = next(iter(companies))
                queue = companies.pop(company)
                name = queue.popleft()
                self._waiting.discard(name)
                if queue:
                    companies[company] = queue  # behind the others
                taken.append(name)
                room -= 1
        return taken

    def _read(self, now: int) -> None:
        high = due_key(now + 1, b"")
        while len(self._waiting) < MOST:
            rows = self._store.scan("due", self._cursor, high, SCAN)
            for key, _ in rows:
                self._enqueue((int.from_bytes(key[:8], "big"), key[8:]))
            if rows:
                self._cursor = rows[-1][0] + b"\0"
            if len(rows) < SCAN:
                return

    def _enqueue(self, name: _Name) -> None:
        if name in self._waiting:
            return
        slot = name_of(name[1])
        rule = self._catalog.rule(slot.company, slot.rule_id)
        channel = rule.channel if rule is not None else None
        self._waiting.add(name)
        self._queues.setdefault(channel, {}).setdefault(slot.company, deque()).append(name)
