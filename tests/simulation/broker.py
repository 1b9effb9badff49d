"""The simulated log: topics of partitions with offsets, compaction, lost acknowledgements, slow moments."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random

from streams.kafka.changelog import PositionAheadOfLog, PositionGone
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import Headers, ProduceError, Record, Sent
from streams.kafka.topics import TOMBSTONES
from streams.stages.fencing import LogRecord, epoch_of
from tests.simulation.loop import SimLoop

_OFFSET = attrgetter("offset")
COMPACTION_LAG = 15 * 60_000
"""Milliseconds: as an hour of ``min.compaction.lag.ms`` to the days of a real topic."""
COMPACTED = frozenset({"timers-changelog", "orders-state", "leads-state", "appointments-state", "consents"})


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as it lies in a partition."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(slots=True)
class Log:
    """One partition."""

    records: list[Stored] = field(default_factory=list)
    end: int = 0
    waiting: list[asyncio.Event] = field(default_factory=list)

    def append(
        self,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        offset = self.end
        self.records.append(Stored(offset, timestamp, key, value, headers))
        self.end += 1
        self.wake()
        return offset

    def read(self, position: int, most: int) -> tuple[list[Stored], int]:
        """Records from ``position`` on, and the position after them."""
        first = bisect_left(self.records, position, key=_OFFSET)
        found = self.records[first : first + most]
        done = first + len(found) >= len(self.records)
        return found, self.end if done else found[-1].offset + 1

    def compact(self, until: int, deletions: int) -> None:
        """Of the records from before ``until`` keeps the newest of every key, and no deletion from before
        ``deletions``; the newest record of all stays in its open segment. Milliseconds."""
        newest = {record.key: record.offset for record in self.records if record.timestamp < until}
        self.records = [
            record
            for record in self.records
            if record.offset == self.end - 1
            or record.timestamp >= until
            or (
                newest[record.key] == record.offset
                and (record.value is not None or record.timestamp >= deletions)
            )
        ]

    def wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for event in waiting:
            event.set()


@dataclass(slots=True)
class _Write:
    """Records on their way to one partition."""

    topic: str
    partition: int
    records: list[Record]
    headers: Headers
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    last: int | None = None
    """The offset of the last one."""
    timer: asyncio.TimerHandle | None = None


class Broker:
    """All topics. ``trouble`` (0 to 1): how often a batch is refused, or its acknowledgement lost."""

    def __init__(self, loop: SimLoop, random: Random, counts: dict[str, int], epoch: int) -> None:
        self.topics = {name: [Log() for _ in range(count)] for name, count in counts.items()}
        self.committed: dict[tuple[str, int], int] = {}
        self.topic_ids: dict[str, int] = {}
        self.trouble = 0.0
        self.slow = 1.0
        self.loop = loop
        self._random = random
        self._epoch = epoch

    def now(self) -> int:
        return self._epoch + int(self.loop.seconds * 1000)

    def delay(self, most: float = 0.02) -> float:
        """Seconds that something takes over the network."""
        random = self._random.random()
        return (random * random * most + 0.0005) * self.slow

    def publish(self, topic: str, key: bytes, value: bytes | None) -> tuple[int, int]:
        """A publisher's record; (partition, offset)."""
        logs = self.topics[topic]
        partition = partition_for(key, len(logs))
        return partition, logs[partition].append(self.now(), key, value)

    def chance(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def compact(self) -> None:
        now = self.now()
        for name in COMPACTED:
            for log in self.topics[name]:
                log.compact(now - COMPACTION_LAG, now - TOMBSTONES)

    def recreate(self, topic: str) -> None:
        """Somebody deletes the topic and makes it anew."""
        gone = self.topics[topic]
        self.topics[topic] = [Log() for _ in gone]
        self.topic_ids[topic] = self.topic_ids.get(topic, 0) + 1
        for log in gone:
            log.wake()

    async def read_log(
        self,
        topic: str,
        partition: int,
        start: int | None,
        on_records: Callable[[list[LogRecord]], None],
        /,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """``read_changelog`` of the simulated log."""
        log = self.topics[topic][partition]
        await asyncio.sleep(self.delay())
        low = 0  # compaction leaves gaps, it does not move the beginning
        end = log.end
        position = low if start is None else start
        if position > end:
            raise PositionAheadOfLog(f"{topic}[{partition}]: {position} of {end}")
        if position < low:
            raise PositionGone(f"{topic}[{partition}]: {position}")
        while position < end:
            await asyncio.sleep(self.delay())
            found, position = log.read(position, self._random.choice((3, 50, 500)))
            if found:
                on_records([(r.offset, r.key or b"", r.value, epoch_of(r.headers)) for r in found])
            if progress is not None:
                progress(position, end)
        return position

    def cut(self, count: int) -> int:
        """How many of ``count`` things on the wire arrive although their sender died."""
        return self._random.randint(0, count)


class SimProducer:
    """One worker's producer (``BatchProducer.send``): within a partition calls keep their order, records of
    a call may arrive in part when the worker dies or late when it freezes, an acknowledgement may be lost or
    not say where the records lie."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._last: dict[tuple[str, int], float] = {}
        self._under_way: list[_Write] = []
        self._frozen: list[_Write] = []

    async def send(
        self,
        topic: str,
        records: Sequence[Record],
        *,
        partition: int | None = None,
        headers: Headers | None = None,
    ) -> Sent:
        if not records:
            return Sent({})
        broker = self._broker
        logs = broker.topics[topic]
        parts: dict[int, list[Record]] = {}
        for record in records:
            to = partition if partition is not None else partition_for(record[0], len(logs))
            parts.setdefault(to, []).append(record)
        refused = broker.chance(broker.trouble / 2)
        lost = broker.chance(broker.trouble / 2)
        writes: list[_Write] = []
        for to, some in parts.items():
            kept = some[: broker.cut(len(some))] if refused else some
            writes.append(_Write(topic, to, kept, headers or ()))
            self._leave(writes[-1])
        for write in writes:
            await write.arrived.wait()
        await asyncio.sleep(broker.delay())
        if refused or lost:
            raise ProduceError(topic, partition or 0, "no answer from the broker", retriable=True)
        if broker.chance(broker.trouble / 4):
            return Sent({})  # it took them for repeats of its own
        return Sent({write.partition: write.last for write in writes if write.last is not None})

    def die(self) -> None:
        """Of what is on the wire, a beginning still arrives; partition by partition."""
        broken: set[tuple[str, int]] = set()
        for write in self._under_way:
            place = write.topic, write.partition
            if place in broken:
                write.records = []
                continue
            kept = self._broker.cut(len(write.records))
            if kept < len(write.records):
                broken.add(place)
                write.records = write.records[:kept]

    def freeze(self) -> None:
        """The process is stopped: what the network has arrives, the rest when it goes on."""
        held: set[tuple[str, int]] = set()
        for write in list(self._under_way):
            place = write.topic, write.partition
            if place in held or self._broker.chance(0.7):
                held.add(place)
                assert write.timer is not None
                write.timer.cancel()
                self._under_way.remove(write)
                self._frozen.append(write)

    def thaw(self) -> None:
        frozen, self._frozen = self._frozen, []
        for write in frozen:
            self._leave(write)

    def _leave(self, write: _Write) -> None:
        loop, place = self._broker.loop, (write.topic, write.partition)
        at = max(loop.seconds + self._broker.delay(), self._last.get(place, 0.0) + 1e-6)
        self._last[place] = at
        self._under_way.append(write)
        write.timer = loop.at(at, self._arrive, write)

    def _arrive(self, write: _Write) -> None:
        self._under_way.remove(write)
        log = self._broker.topics[write.topic][write.partition]
        for key, value in write.records:
            write.last = log.append(self._broker.now(), key, value, write.headers)
        write.arrived.set()
