"""What the workers' stores hold of some messages, read from ``timers-changelog`` as a restoring worker would,
and which commands on ``timers`` they have worked on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.records import Timer
from streams.domain.ids import customer_key
from streams.kafka.changelog import read_changelog
from streams.kafka.partitioner import partition_for
from streams.kafka.security import librdkafka_config
from streams.settings import Settings
from streams.stages.fencing import Fence, LogRecord
from streams.stages.round import SOURCE
from streams.stages.slots import SLOT_TAG, Row, Slot, SlotName, slot_key

CHANGELOG = "timers-changelog"

_decode_slot = msgspec.msgpack.Decoder(Slot).decode
_decode_int = msgspec.msgpack.Decoder(int).decode


@dataclass(slots=True)
class Stores:
    """The slots that were asked for, and how far each partition of ``timers`` has been worked on."""

    slots: dict[bytes, Slot] = field(default_factory=dict)
    sources: dict[int, int] = field(default_factory=dict)

    def pending(self, keys: Collection[bytes], delivery_id: str) -> Row | None:
        for key in keys:
            slot = self.slots.get(key)
            for row in (slot.row, slot.successor) if slot is not None else ():
                if row is not None and row.delivery_id == delivery_id:
                    return row
        return None

    def last_number(self, key: bytes) -> int:
        """The number of the last log record that the slot has had; -1: there is no such slot."""
        slot = self.slots.get(key)
        return slot.head.transition if slot is not None else -1


def partition_of(key: bytes, count: int) -> int:
    """Of the slot's customer."""
    company, _, _, customer_id, _, _ = key.decode().split("\0")
    return partition_for(customer_key(company, customer_id), count)


def slot_of(timer: Timer) -> bytes:
    return slot_key(
        SlotName(timer.company, timer.kind, timer.entity_id, timer.customer_id, timer.rule_id, timer.event_id)
    )


def read_stores(
    settings: Settings,
    wanted: Collection[bytes],
    partitions: Sequence[int],
    progress: Callable[[int, int | None], None],
) -> Stores:
    """Reads these partitions from their beginnings and keeps the ``wanted`` slots alone.

    Raises ChangelogError and StateTooNew.
    """
    security = librdkafka_config(settings)
    topic = settings.topic_prefix + CHANGELOG
    stores = Stores()

    async def read() -> None:
        for done, partition in enumerate(partitions):
            fence = Fence()

            def apply(records: list[LogRecord], fence: Fence = fence, partition: int = partition) -> None:
                for key, value in fence.admit(records):
                    if key == SOURCE and value is not None:
                        stores.sources[partition] = _decode_int(value)
                    elif key[:1] == SLOT_TAG and key[1:] in wanted:
                        if value is None:
                            stores.slots.pop(key[1:], None)
                        else:
                            stores.slots[key[1:]] = _decode_slot(value)

            progress(done, len(partitions))
            await read_changelog(settings.broker, security, topic, partition, None, apply)

    asyncio.run(read())
    return stores
