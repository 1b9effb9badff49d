"""A worker's disk: stores in memory that outlive it, or go back to an earlier flush, or are lost.

RocksDB is written without a log ahead, so a crash takes a store back to its last flush, as a whole: a
journal of write batches of which a beginning is kept says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from streams.stages.ports import KeyValue, Write
from streams.state.errors import StoreDamaged
from streams.state.memory import MemoryStore

Journal = list[tuple[Write, ...]]


class JournaledStore(MemoryStore):
    def __init__(self, families: Sequence[str], journal: Journal) -> None:
        super().__init__(families)
        self._journal = journal
        for writes in journal:
            super().write(writes)

    def write(self, writes: Sequence[Write]) -> None:
        super().write(writes)
        self._journal.append(tuple(writes))


class SimDisk:
    """``agents.partition.Disk``."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.journals: dict[str, Journal] = {}
        self.damaged: set[str] = set()

    def open(self, name: str, families: Sequence[str]) -> KeyValue:
        if name in self.damaged:
            raise StoreDamaged(f"{name}: bad block")
        return JournaledStore(families, self.journals.setdefault(name, []))

    def destroy(self, name: str) -> None:
        self.damaged.discard(name)
        self.journals[name] = []

    def crash(self, how: str) -> None:
        """``keep``: everything was flushed; ``flush``: each store goes back to some earlier flush; ``lose``:
        the disk is gone; ``damage``: the files can't be opened; ``ahead``: of another topic by this name."""
        for name in sorted(self.journals):
            journal = self.journals[name]
            if how == "flush":
                self.journals[name] = journal[: self._random.randint(0, len(journal))]
            elif how == "lose":
                self.journals[name] = []
            elif how == "damage" and self._random.random() < 0.5:
                self.damaged.add(name)
            elif how == "ahead" and name.endswith("0"):
                position = b"\xce\x7f\xff\xff\xff"  # msgpack of a position that no log has
                self.journals[name] = [*journal, (("meta", b"\x01position", position),)]
            else:
                self.journals[name] = list(journal)
