"""One partition of an entity topic on this worker: its store, its stage, and the order of writes."""

from __future__ import annotations

import asyncio
import contextlib

from agents.gate import Gate
from agents.intake import too_large, wrong_form
from agents.partition import MayClaim, PartitionStore, Shared, at_once
from agents.steps import StepLock
from schemas.records import EntityKind
from streams.kafka.batches import RecordBatch
from streams.kafka.topics import MAX_VALUE
from streams.stages.entity import EntityStage
from streams.stages.entity_state import FAMILIES, LAYOUT, SOURCE, EntityRound, restored, snapshot

_TIDY_LOOK = 60.0
"""Seconds between looks whether it is time to forget old entities."""

TOPICS: dict[str, EntityKind] = {
    "orders": EntityKind.ORDER,
    "leads": EntityKind.LEAD,
    "appointments": EntityKind.APPOINTMENT,
}


class EntityPartition:
    """``batch`` for the agent; ``reference_changed`` when rules change. Sweeps run in a task of their own
    between batches."""

    def __init__(self, shared: Shared, gate: Gate, topic: str, partition: int) -> None:
        self._shared = shared
        self._gate = gate
        self._topic = topic
        self._kind = TOPICS[topic]
        self._partition = partition
        self._format = shared.formats[topic]
        self._lock = StepLock()
        self._wake = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self._state = PartitionStore(
            *(shared, f"{topic}-state", partition, FAMILIES, lambda _, records: restored(records), snapshot),
            layout=LAYOUT,
        )
        self._stage = self._state.built(self._new_stage)
        self._state.renewed = self._renew

    async def open(self, may_claim: MayClaim = at_once) -> None:
        """Restores the store and begins to apply rules that changed meanwhile."""
        await self._state.restore(may_claim)
        await self._state.bind(SOURCE, self._topic)
        self._stage = self._new_stage()
        self._stage.rules_changed(
            [
                (company.id, rule.id)
                for company in self._shared.catalog.companies()
                for rule in self._shared.catalog.rules_of(company.id)
            ]
        )
        self._wake.set()
        self._sweeper = asyncio.create_task(self._sweep(), name=f"sweep {self._topic}[{self._partition}]")

    async def pause(self) -> None:
        """The partition may be another worker's from now on: finishes the step under way, begins no other."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.cancel()
            await asyncio.gather(sweeper, return_exceptions=True)
        async with self._lock:
            pass  # the step under way is complete

    async def close(self) -> None:
        await self.pause()
        self._state.close()

    async def look(self, end: int) -> None:
        """The changelog ends at ``end``; see ``PartitionStore.look``."""
        async with self._lock:
            if self._sweeper is not None:
                await self._state.look(end)

    async def say_again(self) -> None:
        """Writes to the changelog what it says already."""
        async with self._lock:
            if self._sweeper is not None:
                await self._state.commit(snapshot(self._state.store, [SOURCE]), [])

    def restart_at(self, offset: int) -> None:
        """The topic was made anew: its offsets begin again. Versions still tell what is newer."""
        self._stage.source = offset

    @property
    def source(self) -> int:
        """The next offset to read."""
        return self._stage.source

    @property
    def sweeping(self) -> int:
        """What is left to sweep, and the round that is being carried out."""
        return self._stage.sweeping + self._lock.locked()

    @property
    def step_began(self) -> float | None:
        """When the step under way began (``time.monotonic``)."""
        return self._lock.began

    @property
    def failure(self) -> BaseException | None:
        """What ended the sweeps, if something did."""
        task = self._sweeper
        return task.exception() if task is not None and task.done() and not task.cancelled() else None

    def reference_changed(self, names: list[tuple[str, str]]) -> None:
        self._stage.rules_changed([name for name in names if name[1]])
        if self._stage.sweeping:
            self._wake.set()

    async def batch(self, batch: RecordBatch) -> None:
        """Returns when everything that the batch causes is acknowledged and stored."""
        records = batch.records
        values = [record.value for record in records]
        changes = await self._shared.codec.read_changes(self._kind, values)
        if self._format in ("avro", "json"):
            form = self._format
            changes = [
                wrong_form(form, value) or change for change, value in zip(changes, values, strict=True)
            ]
        if any(value is not None and len(value) > MAX_VALUE for value in values):
            changes = [too_large(value) or change for change, value in zip(changes, values, strict=True)]
        async with self._lock:
            round_ = self._stage.step(records, changes, batch.next_offset, self._shared.clock.now())
            await self._carry_out(round_)
            self._stage.committed(batch.next_offset)
        metrics = self._shared.metrics
        metrics.records.labels(self._topic).inc(len(records))
        for result, number in round_.counts.items():
            metrics.changes.labels(str(self._kind), result).inc(number)
        if round_.dead:
            metrics.dead_letters.labels(self._topic).inc(len(round_.dead))

    async def _carry_out(self, round_: EntityRound) -> None:
        outputs = self._shared.outputs
        # A customer's clear is acknowledged before the next customer is armed: it crosses partitions.
        await outputs.timers(round_.clears)
        await asyncio.gather(
            outputs.timers(round_.timers),
            outputs.deliveries(round_.log),
            outputs.dead_letters(round_.dead),
        )
        await self._state.commit(round_.changelog, round_.writes)
        commands = len(round_.clears) + len(round_.timers)
        if commands:
            self._shared.metrics.commands.labels(str(self._kind)).inc(commands)

    async def _sweep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIDY_LOOK):
                    await self._wake.wait()
            self._wake.clear()
            more = True
            while more:
                # By a clock that is ahead, appointments to come are over, and nobody reminds of them.
                await self._gate.until_clock()
                more = await asyncio.shield(self._sweep_once())
                await asyncio.sleep(0)

    async def _sweep_once(self) -> bool:
        """Shielded as a whole: the lock stays with the step when the sweeper is cancelled."""
        async with self._lock:
            now = self._shared.clock.now()
            round_ = self._stage.sweep(now) or self._stage.tidy(now)
            if round_ is not None:
                await self._carry_out(round_)
        return round_ is not None

    def _renew(self) -> None:
        """Rules change, and people look, while a store is rebuilt: never at the one that is closed."""
        self._stage = self._new_stage()

    def _new_stage(self) -> EntityStage:
        return EntityStage(
            *(self._kind, self._shared.outputs.topic(self._topic), self._partition),
            *(self._state.store, self._shared.catalog),
        )
