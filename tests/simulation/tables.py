"""The reference tables of a simulated worker: the real ``ReferenceTables``, fed from the simulated log, and
what they had been told when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents.connections import RECORDS
from agents.reference import ReferenceTables
from schemas.codec import Codec
from schemas.records import Company, Location, Mailbox, Rule, Status, Suppression, Template
from schemas.registry import Registry
from streams.domain.catalog import Catalog
from streams.kafka.broadcast import BroadcastRecord
from streams.kafka.topics import REFERENCE_TOPICS
from tests.simulation.broker import Broker, Stored
from tests.simulation.ports import CODEC

Reference = Company | Location | Status | Template | Rule | Mailbox | Suppression


class SimTables:
    """``follow`` reads as ``BroadcastReader`` does; ``as_read`` is for the checks."""

    def __init__(
        self,
        broker: Broker,
        codec: Codec,
        registry: Registry,
        catalog: Catalog,
        on_change: Callable[[list[tuple[str, str]]], None],
    ) -> None:
        self._broker = broker
        self.real = ReferenceTables("", {}, "", codec, registry, catalog, on_change)
        self.slow = 0.0
        """Seconds by which they lag."""
        self.first_read = asyncio.Event()
        self._confirmed = float("-inf")
        self._unnoted: list[tuple[str, Stored]] = []
        self._noted: dict[tuple[str, bytes], list[tuple[float, Reference | None]]] = {}

    @property
    def read(self) -> bool:
        """Everything that was published is in the catalog."""
        return all(
            self.real.positions.get(name, {}).get(0, 0) >= self._broker.topics[name][0].end
            for name in REFERENCE_TOPICS
        )

    def age(self) -> float:
        return self._broker.loop.seconds - self._confirmed

    def as_read(self, topic: str, key: bytes, seconds: float) -> tuple[bool, Reference | None]:
        """Had anything of it been read before that moment, and what did it say?"""
        found: tuple[bool, Reference | None] = (False, None)
        for at, record in self._noted.get((topic, key), ()):
            if at < seconds:
                found = True, record
        return found

    async def follow(self) -> None:
        """Reads the reference topics from their beginning, and goes on for ever."""
        positions = dict.fromkeys(REFERENCE_TOPICS, 0)
        broker = self._broker
        while True:
            wake = asyncio.Event()
            await asyncio.sleep(broker.delay(0.2) + self.slow)
            for name in REFERENCE_TOPICS:
                log = broker.topics[name][0]
                records, position = log.read(positions[name], 1_000) if log.end > positions[name] else ([], 0)
                if records:
                    positions[name] = position
                    self.real._apply(
                        [BroadcastRecord(name, r.key or b"", r.value, 0, r.offset) for r in records]
                    )
                    self._unnoted += [(name, record) for record in records]
                    self._note()
                log.waiting.append(wake)
            self.first_read.set()
            self._confirmed = float("inf")  # confirmed as long as nothing more is written
            await wake.wait()
            self._confirmed = broker.loop.seconds

    def _note(self) -> None:
        if self.real._fetching is not None:
            return  # they are applied later
        unnoted, self._unnoted = self._unnoted, []
        for topic, record in unnoted:
            said = self._noted.setdefault((topic, record.key or b""), [])
            decoded: Reference | None = None
            if record.value is not None:
                decoded = CODEC.decode(RECORDS[topic], record.value)
                last = said[-1][1] if said else None
                if last is not None and decoded.version <= last.version:
                    continue  # overtaken by a newer one
            said.append((self._broker.loop.seconds, decoded))
