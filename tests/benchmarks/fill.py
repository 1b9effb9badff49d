"""Pending timers by the million, put where a worker finds them: into the changelog.

Through the commands topic a million take minutes. Here two processes write what the worker's own stage would
have written for them, the newest record of each key, as compaction leaves it; then the worker starts with an
empty disk and rebuilds its stores, which is a recovery at that size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import msgspec
from confluent_kafka import Producer

from schemas.records import Timer
from streams.domain.catalog import Catalog
from streams.domain.ids import customer_key, delivery_id
from streams.kafka.offsets import SILENT
from streams.kafka.partitioner import partition_for
from streams.stages.arming import facts_key
from streams.stages.delivery import DeliveryStage
from streams.stages.fencing import EPOCH_HEADER, claim_record, header_of
from streams.stages.firing import Options
from streams.stages.slots import ENTITY_TAG, FAMILIES, SLOT_TAG, EntityFacts, Slot, SlotName, slot_key
from streams.stages.sweeping import APPLIED, digest
from streams.state.memory import MemoryStore
from tests.benchmarks.commands import DAY, Commands, reminders
from tests.benchmarks.load import Load

_EPOCH = 1
_HEADERS = [(EPOCH_HEADER, header_of(_EPOCH))]
_BLOCK = 10_000
_PROCESSES = 2

_encode = msgspec.msgpack.Encoder().encode
_decode_slot = msgspec.msgpack.Decoder(Slot).decode


class Changelog:
    """The records of reminders that nothing has happened to since they were armed."""

    def __init__(self, load: Load) -> None:
        self._catalog = Catalog()
        for reference in load.references():
            self._catalog.apply(reference)
        for rule in reminders(load):
            self._catalog.apply(rule)
        # What is alike in all of them is what the stage makes of one.
        now = time.time_ns() // 1_000_000
        said = self.by_the_stage(Commands(load).remind(0, now + DAY), now)
        (self._slot,) = (_decode_slot(value) for key, value in said if key.startswith(SLOT_TAG))

    def applied(self) -> list[tuple[bytes, bytes]]:
        """What says that all rules have been applied to what is pending."""
        found = ((company.id, digest(self._catalog, company.id)) for company in self._catalog.companies())
        return [(APPLIED + name.encode(), seen) for name, seen in found if seen is not None]

    def by_the_stage(self, timer: Timer, now: int) -> list[tuple[bytes, bytes]]:
        """Slowly, and what lasts of it: no offsets, no log records on their way."""
        stage = DeliveryStage(MemoryStore(FAMILIES), self._catalog, Options(), lambda *_: None)
        changelog = stage.commands([(0, timer)], 1, now).changelog
        return [(key, value or b"") for key, value in changelog if key[:1] in (SLOT_TAG, ENTITY_TAG)]

    def records(self, timer: Timer, due: int, now: int) -> list[tuple[bytes, bytes]]:
        """The same, at once."""
        slot, row = self._slot, self._slot.row
        assert row is not None
        name = (timer.company, timer.kind, timer.entity_id, timer.customer_id, timer.rule_id, timer.event_id)
        row.delivery_id = delivery_id(
            *(timer.company, timer.rule_id, timer.kind, timer.entity_id, timer.anchor, timer.customer_id)
        )
        row.anchor, row.occurred_at, row.status_id = timer.anchor, timer.occurred_at, timer.status_id
        slot.head.due = row.due = row.target = row.allowed = due
        facts = EntityFacts(timer.entity_version, -1, timer.change, now)
        return [
            (SLOT_TAG + slot_key(SlotName(*name)), _encode(slot)),
            (ENTITY_TAG + facts_key(timer), _encode(facts)),
        ]


def fill(bootstrap: str, topic: str, partitions: int, load: Load, count: int) -> None:
    """Reminders of the orders 0 to ``count``, due within the tenth to the eleventh day from now. The topic is
    empty before."""
    producer, applied = _producer(bootstrap), Changelog(load).applied()
    for number in range(partitions):
        for key, value in (claim_record(_EPOCH, 0, "bench"), *applied):
            producer.produce(topic, value, key, partition=number, headers=_HEADERS)
    if producer.flush(60):
        raise RuntimeError(f"{topic} takes nothing")
    cuts = [count * number // _PROCESSES for number in range(_PROCESSES + 1)]
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        parts = [
            pool.submit(_fill, bootstrap, topic, partitions, load, range(*cuts[n : n + 2]))
            for n in range(_PROCESSES)
        ]
        for part in parts:
            part.result()


def _fill(bootstrap: str, topic: str, partitions: int, load: Load, orders: range) -> None:
    producer, changelog = _producer(bootstrap), Changelog(load)
    far = time.time_ns() // 1_000_000 + 10 * DAY
    for block in _blocks(orders):
        commands = Commands(load)  # which remembers the version of every order
        now = time.time_ns() // 1_000_000
        for order in block:
            due = far + order * 2_654_435_761 % DAY
            timer = commands.remind(order, due)
            number = partition_for(customer_key(timer.company, timer.customer_id), partitions)
            for key, value in changelog.records(timer, due, now):
                while True:
                    try:
                        producer.produce(topic, value, key, partition=number, headers=_HEADERS)
                        break
                    except BufferError:
                        producer.poll(0.1)
    if left := producer.flush(120):
        raise RuntimeError(f"{topic}: {left} records not acknowledged")


def _blocks(orders: range) -> Iterator[range]:
    for begin in range(orders.start, orders.stop, _BLOCK):
        yield range(begin, min(begin + _BLOCK, orders.stop))


def _producer(bootstrap: str) -> Any:
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "batch.size": 500_000,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
        },
        logger=SILENT,
    )
