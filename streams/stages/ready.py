"""Rows whose moment has come, in the order in which they may go: by channel, and fairly between companies.

The ``due`` family is read once from front to back with a cursor; what is due but finds its channel full waits
here in memory, by channel and company, so that a blast of one company or an outage of one provider is not in
the way of the others. Of one company only so many wait here; where the rest begins in the store is kept, and
read when there is room again. After a restart the cursor begins at the front again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.records import Channel
from streams.domain.catalog import Catalog
from streams.stages.ports import KeyValue
from streams.stages.slots import due_key, name_of

SCAN = 1_000
"""Rows read ahead in one go."""
AHEAD = 200
"""Such reads in one ``take``: some 100 ms, after which messages go first. The next goes on where it ended."""
MOST = 200_000
"""Rows kept waiting in memory (some 40 MB of names); beyond that a company may have ``FEW``."""
MANY = 20_000
"""Rows of one company and channel kept waiting in memory; the rest waits in the store."""
FEW = 100

_Name = tuple[int, bytes]
_Line = tuple[Channel | None, str]


@dataclass(frozen=True, slots=True)
class Room:
    """What may go by one channel now: so many messages, all by ``provider``; of some companies less."""

    count: int
    provider: str = ""
    companies: Mapping[str, int] = field(default_factory=dict)
    """Only those of which less may go."""


class ReadyRows:
    def __init__(self, store: KeyValue, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._cursor = b""
        self._queues: dict[Channel | None, OrderedDict[str, deque[_Name]]] = {}
        self._waiting: set[_Name] = set()
        self._unfinished = False
        """Rows that may be due have not been read only because one ``take`` reads so much at most."""
        self._left: dict[_Line, bytes] = {}
        """Where rows begin, in the order of ``due``, that found no room here."""

    @property
    def queued(self) -> int:
        """Rows waiting in memory; at least one when rows wait in the store for room here."""
        return len(self._waiting) or len(self._left)

    def waiting(self, channel: Channel) -> Mapping[str, int]:
        """How many rows of the channel wait in memory, by company."""
        return {company: len(queue) for company, queue in self._queues.get(channel, {}).items()}

    def next_due(self) -> int | None:
        """The due time of the first row that has not been read and could be; 0: there is more to read."""
        if self._unfinished:
            return 0
        if len(self._waiting) >= 2 * MOST:
            return None
        rows = self._store.scan("due", self._cursor, None, 1)
        return int.from_bytes(rows[0][0][:8], "big") if rows else None

    def moved(self, names: Iterable[_Name]) -> None:
        """Rows were put at these places; those behind the cursor would never be read."""
        for name in names:
            if due_key(*name) < self._cursor:
                self._enqueue(name)

    def take(self, now: int, rooms: Mapping[Channel, Room], limit: int) -> Sequence[_Name]:
        """Rows that are due: of each channel at most ``limit``, of each channel and company at most as many
        as ``rooms`` says; one company after the other in turns. A row taken is not given again unless
        ``moved`` says where it is."""
        self._read(now)
        taken: list[_Name] = []
        # Those without a rule first: by now they may have one, and a channel that is closed.
        self._take(None, Room(limit), limit, taken)
        for channel in [one for one in self._queues if one is not None]:
            self._take(channel, rooms.get(channel, _NONE), limit, taken)
        return taken

    def at_once(self, names: Iterable[_Name], rooms: Mapping[Channel, Room]) -> list[bytes]:
        """Those of the new rows that may go without waiting here: their channel has room for them, and no
        other row waits for it."""
        busy = {channel for channel, queues in self._queues.items() if queues}
        busy |= {channel for channel, _ in self._left}
        left = {channel: room.count for channel, room in rooms.items() if channel not in busy}
        going: list[bytes] = []
        for _, key in names:
            channel, company = self._line(key)
            if channel is None or left.get(channel, 0) <= 0 or company in rooms[channel].companies:
                continue
            left[channel] -= 1
            going.append(key)
        return going

    def _take(self, channel: Channel | None, room: Room, limit: int, taken: list[_Name]) -> None:
        companies = self._queues.get(channel)
        if not companies:
            return
        most = len(taken) + min(limit, room.count)
        left = dict(room.companies)
        passed_over = 0
        while len(taken) < most and passed_over < len(companies):
            # Not a plain dict: to find its first it passes over those that have gone, of ten thousand
            # companies thousands.
            company, queue = companies.popitem(last=False)
            if left.get(company, 1) <= 0:
                companies[company] = queue  # behind the others
                passed_over += 1
                continue
            passed_over = 0
            name = queue.popleft()
            self._waiting.discard(name)
            if queue:
                companies[company] = queue
            if self._line(name[1]) != (channel, company):
                self._enqueue(name)  # its rule has come, has gone, or goes by another channel now
                continue
            taken.append(name)
            if company in left:
                left[company] -= 1

    def _read(self, now: int) -> None:
        reads = AHEAD
        self._unfinished = False
        for line, key in list(self._left.items()):
            if self._has_room(line):
                reads = self._again(line, key, reads)
        high = due_key(now + 1, b"")
        while reads and len(self._waiting) < 2 * MOST:
            reads -= 1
            rows = self._store.scan("due", self._cursor, high, SCAN)
            for key, _ in rows:
                self._enqueue((int.from_bytes(key[:8], "big"), key[8:]))
            if rows:
                self._cursor = rows[-1][0] + b"\0"
            if len(rows) < SCAN:
                return

    def _again(self, line: _Line, key: bytes, reads: int) -> int:
        """Reads rows of one company from ``key`` on, until there is no room or the cursor is met. Returns how
        many of the ``reads`` are left."""
        del self._left[line]
        while reads:
            reads -= 1
            rows = self._store.scan("due", key, self._cursor, SCAN)
            for found, _ in rows:
                if self._line(found[8:]) == line:
                    self._enqueue((int.from_bytes(found[:8], "big"), found[8:]))
            if len(rows) < SCAN or line in self._left:
                return reads
            key = rows[-1][0] + b"\0"
        self._left[line] = key
        self._unfinished = True
        return 0

    def _has_room(self, line: _Line) -> bool:
        """Half of what a company may have: it is not worth reading for less."""
        channel, company = line
        companies = self._queues.get(channel)
        waiting = len(companies.get(company, ())) if companies else 0
        return waiting <= self._most() // 2

    def _most(self) -> int:
        return MANY if len(self._waiting) < MOST else FEW

    def _line(self, key: bytes) -> _Line:
        slot = name_of(key)
        rule = self._catalog.rule(slot.company, slot.rule_id)
        return (rule.channel if rule is not None else None, slot.company)

    def _enqueue(self, name: _Name) -> None:
        if name in self._waiting:
            return
        line = channel, company = self._line(name[1])
        queue = self._queues.setdefault(channel, OrderedDict()).get(company)
        if line in self._left or (queue is not None and len(queue) >= self._most()):
            place = due_key(*name)
            self._left[line] = min(place, self._left.get(line, place))
            return
        self._waiting.add(name)
        if queue is None:
            queue = self._queues[channel][company] = deque()
        queue.append(name)


_NONE = Room(0)
