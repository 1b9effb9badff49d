"""The quarantine against a model: partitions side by side, records that kill, and deaths of other causes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.quarantine import ALONE, TOGETHER, Mark, Quarantine
from schemas.records import DeadLetter
from streams.kafka.batches import RecordBatch


@dataclass(frozen=True)
class Raw:
    offset: int
    value: bytes | None = b"x"
    key: bytes | None = b"k"
    timestamp: int = 7
    headers: tuple[tuple[str, bytes], ...] = ()


class DiedError(Exception):
    """The process is gone, or about to be."""


@dataclass
class Input:
    """One partition. ``stores``: its offset is stored with each record; else what is acked is committed some
    time later."""

    number: int
    offsets: list[int]
    deadly: set[int]
    stores: bool
    position: int = 0
    done: set[int] = field(default_factory=set)
    aside: set[int] = field(default_factory=set)


@dataclass
class World:
    random: Random
    inputs: list[Input]
    foreign: int
    """Deaths of other causes that are yet to come."""
    marks: dict[tuple[str, int], Mark] = field(default_factory=dict)
    life: int = 0
    gone: bool = False

    # --- marks, of which a dead process writes no more

    def read(self, topic: str, partition: int) -> Mark | None:
        return self.marks.get((topic, partition))

    def write(self, topic: str, partition: int, mark: Mark) -> None:
        if not self.gone:
            self.marks[topic, partition] = mark

    # --- a worker

    async def live(self) -> bool:
        """One life of a worker: did it get to the end of everything?"""
        self.life += 1
        self.gone = False
        quarantine = Quarantine(self, self._set_aside, lambda: 0)
        tasks = [asyncio.ensure_future(self._read_on(one, quarantine)) for one in self.inputs]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return not any(task.cancelled() or task.exception() for task in tasks)

    async def _read_on(self, one: Input, quarantine: Quarantine) -> None:
        careful = quarantine.guarded(lambda batch: self._handle(one, batch))
        at = one.position
        while left := [offset for offset in one.offsets if offset >= at]:
            records = [Raw(offset) for offset in left[: self.random.choice((1, 2, 5, 100))]]
            at = left[len(records)] if len(records) < len(left) else one.offsets[-1] + 1
            await careful(RecordBatch("orders", one.number, records, records[0].offset, at))
            if not self.gone and self.random.random() < 0.3:
                one.position = at  # committed

    async def _handle(self, one: Input, batch: RecordBatch) -> None:
        for record in batch.records:
            for _ in range(self.random.choice((0, 1, 4))):
                await asyncio.sleep(0)
                if self.foreign and self.random.random() < 0.03:
                    self.foreign -= 1
                    self._die(by_force=True)
            if record.offset in one.deadly:
                self._die(by_force=self.random.random() < 0.5)
        if not self.gone:
            one.done |= {record.offset for record in batch.records}
            if one.stores:
                one.position = batch.next_offset

    def _die(self, *, by_force: bool) -> None:
        """By force: nothing that ran can say so any more."""
        self.gone |= by_force
        raise DiedError

    def _set_aside(self, letters: list[DeadLetter]) -> Awaitable[None]:
        async def written() -> None:
            await asyncio.sleep(0)
            if not self.gone:
                for letter in letters:
                    self.inputs[letter.partition].aside.add(letter.offset)

        return written()


@given(seed=st.integers(0, 1 << 32), foreign=st.integers(0, ALONE - 1))
@settings(max_examples=200, deadline=None)
def test_what_kills_is_set_aside_and_nothing_else(seed: int, foreign: int) -> None:
    """Also with several deadly records in a row, in several partitions, that are read again from before them;
    and with as many other deaths as can't, even if all of them strike at the same record, look like it."""
    random = Random(seed)
    inputs = []
    for number in range(random.choice((1, 2, 3))):
        offsets = sorted(random.sample(range(40), random.randint(1, 20)))
        deadly = set(random.sample(offsets, random.randint(0, min(4, len(offsets)))))
        inputs.append(Input(number, offsets, deadly, random.random() < 0.5))
    world = World(random, inputs, foreign)
    killers = sum(len(one.deadly) for one in inputs)
    longest = (TOGETHER + ALONE) * killers + foreign + 1
    while not asyncio.run(world.live()):
        assert world.life < longest, "it should have got past all of them"
    for one in inputs:
        assert one.aside == one.deadly
        assert one.done == set(one.offsets) - one.deadly
