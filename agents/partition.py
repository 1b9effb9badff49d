"""What an entity partition and a sender partition have in common: a store that follows a changelog."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from agents.outputs import Outputs
from schemas.codec import Codec
from schemas.errors import DecodeError
from schemas.records import DeadLetter
from schemas.registry import Registry
from streams.clock import WorkerClock
from streams.domain.catalog import Catalog
from streams.kafka.batches import Record, RecordBatch
from streams.kafka.changelog import LogRecord, PositionAheadOfLog, PositionGone
from streams.kafka.topics import MAX_VALUE
from streams.metrics import Metrics
from streams.stages.ports import KeyValue, Write
from streams.state.errors import StoreDamaged
from streams.state.rocks import RocksStore, destroy

log = logging.getLogger(__name__)

POSITION = b"\x01position"
"""Key in ``meta``: the next offset of the changelog that this store has not seen."""

_encode = msgspec.msgpack.Encoder().encode
_decode_int = msgspec.msgpack.Decoder(int).decode

Restorer = Callable[[KeyValue, Sequence[tuple[bytes, bytes | None]]], list[Write]]


class Disk(Protocol):
    """Where the stores of a worker's partitions lie."""

    def open(self, name: str, families: Sequence[str]) -> KeyValue:
        """Opens the store, or makes it. StoreDamaged: ``destroy`` it first."""

    def destroy(self, name: str) -> None: ...


class RocksDisk:
    """One RocksDB directory for each store, under ``data``."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def open(self, name: str, families: Sequence[str]) -> KeyValue:
        return RocksStore(self._data / name, families)

    def destroy(self, name: str) -> None:
        destroy(self._data / name)


class ReadLog(Protocol):
    """``streams.kafka.changelog.read_changelog`` without its first two parameters."""

    async def __call__(
        self,
        topic: str,
        partition: int,
        start: int | None,
        on_records: Callable[[list[LogRecord]], None],
        /,
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all partitions of one worker share."""

    disk: Disk
    read_log: ReadLog
    outputs: Outputs
    codec: Codec
    registry: Registry
    catalog: Catalog
    clock: WorkerClock
    metrics: Metrics
    formats: Mapping[str, str]
    """By entity topic: ``avro``, ``json``, or ``auto``."""


class PartitionStore:
    """One partition's store on disk: opened, brought up to its changelog, or thrown away and rebuilt."""

    def __init__(
        self, shared: Shared, changelog: str, partition: int, families: Sequence[str], restorer: Restorer
    ) -> None:
        self._shared = shared
        self.changelog = changelog
        self.partition = partition
        self._families = families
        self._restorer = restorer
        self._name = f"{changelog}-{partition}"
        self.store: KeyValue = self._open()

    async def restore(self) -> None:
        """Reads the changelog from the store's position to its end; rebuilds a store that can't be one of
        this changelog, and says why."""
        try:
            await self._read(self.position)
        except (PositionAheadOfLog, PositionGone) as error:
            log.warning("store %s is rebuilt from the beginning: %s", self._name, error)
            self._rebuild()
            await self._read(None)

    @property
    def position(self) -> int | None:
        raw = self.store.get("meta", POSITION)
        return _decode_int(raw) if raw is not None else None

    async def commit(self, changelog: Sequence[tuple[bytes, bytes | None]], writes: Sequence[Write]) -> None:
        """Changelog, every ack, then one batch in the store with the position that goes with it."""
        position = await self._shared.outputs.changelog(self.changelog, self.partition, changelog)
        extra: list[Write] = [("meta", POSITION, _encode(position))] if position is not None else []
        self.store.write([*writes, *extra])

    def close(self) -> None:
        self.store.close()

    async def _read(self, start: int | None) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen = 0

        def apply(records: Sequence[tuple[int, bytes, bytes | None]]) -> None:
            nonlocal seen
            seen += len(records)
            writes = self._restorer(self.store, [(key, value) for _, key, value in records])
            self.store.write([*writes, ("meta", POSITION, _encode(records[-1][0] + 1))])

        topic = self._shared.outputs.topic(self.changelog)
        await self._shared.read_log(topic, self.partition, start, apply)
        if seen:
            took = loop.time() - began
            log.info("restored %s[%d]: %d records in %.1f s", topic, self.partition, seen, took)

    def _open(self) -> KeyValue:
        try:
            return self._shared.disk.open(self._name, self._families)
        except StoreDamaged as error:
            log.warning("store %s is rebuilt from the beginning: %s", self._name, error)
            self._shared.disk.destroy(self._name)
            return self._shared.disk.open(self._name, self._families)

    def _rebuild(self) -> None:
        self.store.close()
        self._shared.disk.destroy(self._name)
        self.store = self._shared.disk.open(self._name, self._families)


def too_large(record: Record) -> DecodeError | None:
    """Refuses a value that would not fit into our own topics with the fields around it."""
    size = len(record.value or b"")
    if size <= MAX_VALUE:
        return None
    return DecodeError("contract", f"the value has {size} bytes, at most {MAX_VALUE} are taken")


def dead_letter(batch: RecordBatch, record: Record, error: DecodeError, now: int) -> DeadLetter:
    """The record as it came, with why it could not be worked on."""
    return DeadLetter(
        topic=batch.topic,
        partition=batch.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        error=str(error.reason),
        detail=error.detail,
        key=record.key or b"",
        value=record.value or b"",
        at=now,
    )
