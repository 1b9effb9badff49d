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
from streams.stages.slots import due_key

SCAN = 1_000
"""Rows read ahead in one go."""
AHEAD = 200
"""Such reads in one ``take``: some 100 ms, after which messages go first. The next goes on where it ended."""
MOST = 200_000
"""Rows kept waiting in memory (some 40 MB of names); beyond that a company may have ``FEW``."""
MANY = 20_000
"""Rows of one company and channel kept waiting in memory; the rest waits in the store."""
FEW = 100

_WAYS = 10_000
"""Rules whose channels are kept in memory; more are looked up anew."""

_Name = tuple[int, bytes]
_Line = tuple[Channel | None, str]


class _Way:
    """By which channel the messages of a rule go: looked up once in a ``take``."""

    __slots__ = ("company", "line", "looked", "rule")

    def __init__(self, company: str, rule: str) -> None:
        self.company = company
        self.rule = rule
        self.line: _Line = (None, company)
        self.looked = -1
        """Number of the ``take``."""


@dataclass(frozen=True, slots=True)
class Room:
    """What may go by one channel now: so many messages, all by ``provider``; of some companies less, or of
    some alone."""

    count: int
    provider: str = ""
    companies: Mapping[str, int] = field(default_factory=dict)
    """Only those of which less may go."""
    first: Sequence[str] | None = None
    """Those whose turn it is, in this order; None: everybody's."""


class ReadyRows:
    def __init__(self, store: KeyValue, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._cursor = b""
        self._passed = 0
        """The due time of the cursor."""
        self._ways: dict[tuple[bytes, bytes], _Way] = {}
        self._turn = 0
        self._queues: dict[Channel | None, OrderedDict[str, deque[tuple[_Name, _Way]]]] = {}
        self._waiting: set[_Name] = set()
        self._sending: set[_Name] = set()
        """Rows that have begun before they were read: to be passed over."""
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
        self._turn += 1
        for name in names:
            self._sending.discard(name)
            if name[0] <= self._passed and due_key(*name) < self._cursor:
                self._enqueue(name)

    def sending(self, names: Iterable[_Name]) -> None:
        """The rows at these places are not to be looked at before ``moved`` names them: those that have not
        been read yet are passed over, instead of taking a turn of others."""
        self._sending.update(
            name for name in names if name[0] >= self._passed and due_key(*name) >= self._cursor
        )
        if len(self._sending) > MANY:
            self._sending.clear()  # while nothing is read; a look at them is wasted, and does no harm

    def again(self, names: Iterable[_Name]) -> None:
        """Rows that are to be looked at before their time."""
        self._turn += 1
        for name in names:
            self._enqueue(name)

    def take(self, now: int, rooms: Mapping[Channel, Room], limit: int) -> Sequence[_Name]:
        """Rows that are due: of each channel at most ``limit``, of each channel and company at most as many
        as ``rooms`` says; one company after the other in turns. A row taken is not given again unless
        ``moved`` says where it is."""
        self._turn += 1
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
        self._turn += 1
        busy = {channel for channel, queues in self._queues.items() if queues}
        busy |= {channel for channel, _ in self._left}
        left = {channel: room.count for channel, room in rooms.items() if channel not in busy}
        going: list[bytes] = []
        for _, key in names:
            channel, company = self._line(self._way(key))
            if channel is None or left.get(channel, 0) <= 0 or company in rooms[channel].companies:
                continue
            first = rooms[channel].first
            if first is not None and company not in first:
                continue
            left[channel] -= 1
            going.append(key)
        return going

    def _take(self, channel: Channel | None, room: Room, limit: int, taken: list[_Name]) -> None:
        queues = self._queues.get(channel)
        if not queues:
            return
        companies = queues
        if room.first is not None:  # of ten thousand companies that wait only these are looked at
            companies = OrderedDict((one, queues.pop(one)) for one in room.first if one in queues)
        self._take_turns(channel, companies, room, len(taken) + min(limit, room.count), taken)
        if companies is not queues:
            queues.update(companies)  # behind the others

    def _take_turns(
        self,
        channel: Channel | None,
        companies: OrderedDict[str, deque[tuple[_Name, _Way]]],
        room: Room,
        most: int,
        taken: list[_Name],
    ) -> None:
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
            # Turns are for those who wait for one another.
            turn = 1 if companies else min(most - len(taken), left.get(company, most))
            for _ in range(min(turn, len(queue))):
                name, way = queue.popleft()
                self._waiting.discard(name)
                if self._line(way) != (channel, company):
                    self._enqueue(name)  # its rule has come, has gone, or goes by another channel now
                    continue
                taken.append(name)
                if company in left:
                    left[company] -= 1
            if queue:
                companies[company] = queue

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
                name = (int.from_bytes(key[:8], "big"), key[8:])
                if name not in self._sending:
                    self._enqueue(name)
            if rows:
                self._cursor = rows[-1][0] + b"\0"
                self._passed = int.from_bytes(self._cursor[:8], "big")
            if len(rows) < SCAN:
                self._sending.clear()  # all of them are behind the cursor now, or gone
                return

    def _again(self, line: _Line, key: bytes, reads: int) -> int:
        """Reads rows of one company from ``key`` on, until there is no room or the cursor is met. Returns how
        many of the ``reads`` are left."""
        del self._left[line]
        while reads:
            reads -= 1
            rows = self._store.scan("due", key, self._cursor, SCAN)
            for found, _ in rows:
                if self._line(self._way(found[8:])) == line:
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

    def _way(self, key: bytes) -> _Way:
        company, _, _, _, rule, _ = key.split(b"\0")
        way = self._ways.get((company, rule))
        if way is None:
            if len(self._ways) >= _WAYS:
                self._ways.clear()
            way = self._ways[company, rule] = _Way(company.decode(), rule.decode())
        return way

    def _line(self, way: _Way) -> _Line:
        if way.looked != self._turn:
            rule = self._catalog.rule(way.company, way.rule)
            way.line = (rule.channel if rule is not None else None, way.company)
            way.looked = self._turn
        return way.line

    def _enqueue(self, name: _Name) -> None:
        if name in self._waiting:
            return
        way = self._way(name[1])
        line = channel, company = self._line(way)
        queues = self._queues.get(channel)
        if queues is None:
            queues = self._queues[channel] = OrderedDict()
        queue = queues.get(company)
        if line in self._left or (queue is not None and len(queue) >= self._most()):
            place = due_key(*name)
            self._left[line] = min(place, self._left.get(line, place))
            return
        self._waiting.add(name)
        if queue is None:
            queue = queues[company] = deque()
        queue.append((name, way))


_NONE = Room(0)
