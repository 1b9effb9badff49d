"""What a simulated worker is given of the world: a clock, a schema registry, a machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.quarantine import Mark
from schemas.codec import Codec
from schemas.errors import DecodeError, RegistryError, UnknownSchemaId
from schemas.registry import EmbeddedRegistry
from tests.simulation.broker import Broker
from tests.simulation.disk import SimDisk

if TYPE_CHECKING:
    from tests.simulation.worker import SimWorker

_CONTRACTS = EmbeddedRegistry()
CODEC = Codec(_CONTRACTS)
"""The publishers', and the one that the checks read with."""


class SimClock:
    """``streams.clock.Clock`` over the loop's time."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.stepped = 0
        """Milliseconds by which somebody has set the machine's clock since."""

    def now(self) -> int:
        return self._broker.now()

    def seconds_until(self, moment: int) -> float:
        return max(0.0, (moment - self._broker.now()) / 1000)

    def disagreement(self) -> int:
        return abs(self.stepped)


class SimRegistry:
    """A registry that knows each schema only once it was asked; sometimes it is away when asked."""

    def __init__(self, broker: Broker) -> None:
        self.ids = _CONTRACTS.ids
        self._broker = broker
        self._known: set[int] = set()

    def schema(self, schema_id: int) -> str:
        if schema_id not in self._known:
            if schema_id in self.ids.values():
                raise UnknownSchemaId((schema_id,))
            raise DecodeError("unknown_schema", "no such id")
        return _CONTRACTS.schema(schema_id)

    async def fetch(self, schema_ids: Iterable[int]) -> None:
        await asyncio.sleep(self._broker.delay())
        if self._broker.chance(self._broker.trouble):
            raise RegistryError("away")
        self._known.update(schema_ids)

    async def register_all(self, topics: object = None) -> None:
        await asyncio.sleep(self._broker.delay())

    async def preload(self, topics: Iterable[str]) -> None:
        await asyncio.sleep(self._broker.delay())


class SimMarks:
    """``agents.quarantine.Marks``: files that outlive the process."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, int], Mark] = {}

    def read(self, topic: str, partition: int) -> Mark | None:
        return self._marks.get((topic, partition))

    def write(self, topic: str, partition: int, mark: Mark) -> None:
        self._marks[topic, partition] = mark


@dataclass(slots=True)
class Machine:
    """Where workers run, one after the other: what stays is the disk."""

    name: str
    disk: SimDisk
    marks: SimMarks = field(default_factory=SimMarks)
    worker: SimWorker | None = None
