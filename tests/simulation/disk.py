"""A worker's disk: stores in memory that outlive it, or go back to an earlier flush, or are lost.

RocksDB is written without a log ahead, so a crash takes a store back to its last flush, as a whole: a
journal of write batches of which a beginning is kept says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

import msgspec

from agents.partition import FOLLOWED, LONGEST_AWAY, POSITION, Followed
from streams.stages.ports import KeyValue, Write
from streams.state.errors import StoreDamaged
from streams.state.memory import MemoryStore

_decode = msgspec.msgpack.Decoder(Followed).decode


def _old(followed: Followed) -> None:
    followed.caught_up -= LONGEST_AWAY


def _other(followed: Followed) -> None:
    followed.topic_id = "another"


def _format(followed: Followed) -> None:
    followed.layout -= 1


_FOLLOWED: Mapping[str, Callable[[Followed], None]] = {"old": _old, "other": _other, "format": _format}
"""What a store notes of its changelog, made wrong."""

Journal = list[tuple[Write, ...]]


class JournaledStore(MemoryStore):
    def __init__(self, families: Sequence[str], journal: Journal, *, rotten: bool = False) -> None:
        super().__init__(families)
        self._journal = journal
        self._rotten = rotten
        for writes in journal:
            super().write(writes)

    def get(self, family: str, key: bytes) -> bytes | None:
        if self._rotten and key == POSITION:
            raise StoreDamaged("bad block")
        return super().get(family, key)

    def write(self, writes: Sequence[Write]) -> None:
        super().write(writes)
        self._journal.append(tuple(writes))


class SimDisk:
    """``agents.partition.Disk``."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.journals: dict[str, Journal] = {}
        self.damaged: set[str] = set()
        self.rotten: set[str] = set()

    def open(self, name: str, families: Sequence[str]) -> KeyValue:
        if name in self.damaged:
            raise StoreDamaged(f"{name}: bad block")
        journal = self.journals.setdefault(name, [])
        return JournaledStore(families, journal, rotten=name in self.rotten)

    def destroy(self, name: str) -> None:
        self.damaged.discard(name)
        self.rotten.discard(name)
        self.journals[name] = []

    def names(self) -> Sequence[str]:
        return sorted(self.journals)

    def crash(self, how: str) -> None:
        """``keep``: everything was flushed; ``flush``: each store goes back to some earlier flush; ``lose``:
        the disk is gone; ``damage``: the files can't be opened; ``rotten``: they can, and then not be read;
        ``ahead``: of what the log has; ``old``: not in use for days; ``other``: of another topic by this
        name; ``format``: of another release."""
        for name in sorted(self.journals):
            journal = self.journals[name]
            if how == "flush":
                self.journals[name] = journal[: self._random.randint(0, len(journal))]
            elif how == "lose":
                self.journals[name] = []
            elif how == "damage" and self._random.random() < 0.5:
                self.damaged.add(name)
            elif how == "rotten":
                self.rotten.add(name)
            elif how == "ahead" and name.endswith("0"):
                position = b"\xce\x7f\xff\xff\xff"  # msgpack of a position that no log has
                self.journals[name] = [*journal, (("meta", b"\x01position", position),)]
            elif how in _FOLLOWED:
                followed = [v for batch in journal for f, k, v in batch if (f, k) == ("meta", FOLLOWED) and v]
                if followed:
                    changed = msgspec.structs.replace(_decode(followed[-1]))
                    _FOLLOWED[how](changed)
                    journal = [*journal, (("meta", FOLLOWED, msgspec.msgpack.encode(changed)),)]
                self.journals[name] = list(journal)
            else:
                self.journals[name] = list(journal)
