"""A store brought up by its changelog says what the store says that wrote it."""

from __future__ import annotations

from random import Random

import pytest

from schemas.records import DeliveryState
from streams.stages.ports import KeyValue
from streams.stages.slots import (
    EXPIRY_STEP,
    FAMILIES,
    PENDING,
    Row,
    SlotTable,
    decode_expiring,
    read_slot,
    restored,
)
from streams.state.memory import MemoryStore

KEYS = [b"c\0order\0o%d\0ann\0r\0" % n for n in range(6)]


def row(dice: Random) -> Row:
    due = dice.randrange(1, 50)
    return Row("d" * 32, 1, 1, "e1", 5, "ready", DeliveryState.SCHEDULED, due, due, due)


def contents(store: KeyValue) -> dict[str, list[tuple[bytes, bytes]]]:
    return {family: store.scan(family, b"", None, 1_000) for family in FAMILIES if family in ("slots", "due")}


def told_of_in_time(store: KeyValue) -> bool:
    """Is every slot that is remembered in a row of the hour in which that ends?"""
    rows = store.scan("expiry", b"", None, 1_000)
    told = {(int.from_bytes(at[:8], "big"), key) for at, raw in rows for key in decode_expiring(raw)}
    slots = [(key, read_slot(store, key)) for key, _ in store.scan("slots", b"", None, 1_000)]
    ends = [(key, slot.head.until) for key, slot in slots if slot is not None and slot.head.until >= 0]
    return all((-(-until // EXPIRY_STEP) * EXPIRY_STEP, key) in told for key, until in ends)


def pending(store: KeyValue) -> int:
    return int.from_bytes(store.get("meta", PENDING) or b"", "big")


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happened_to_slots(seed: int) -> None:
    dice = Random(seed)
    written, followed = MemoryStore(FAMILIES), MemoryStore(FAMILIES)
    unread: list[tuple[bytes, bytes | None]] = []
    left = 0
    for _ in range(30):
        table = SlotTable(written)
        for key in dice.sample(KEYS, dice.randrange(1, 4)):
            if dice.random() < 0.15:
                table.put(key, None)
                continue
            slot = table.change(key)
            slot.head.version += 1
            slot.row = row(dice) if dice.random() < 0.6 else None
            slot.successor = row(dice) if slot.row is not None and dice.random() < 0.2 else None
            slot.head.until = (
                dice.randrange(1, 9) * EXPIRY_STEP // 2 if slot.row is None and dice.random() < 0.8 else -1
            )
            slot.head.sent = [("d" * 32, 77)] * dice.randrange(3)
        done = table.flush()
        written.write(done.writes)
        left += done.pending
        unread += done.changelog
        if dice.random() < 0.5:
            followed.write(restored(followed, unread))
            unread.clear()
            assert contents(followed) == contents(written)
            assert pending(followed) == left
            assert told_of_in_time(written)
            assert told_of_in_time(followed)
