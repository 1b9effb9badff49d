"""How slots lie in a store, and how a table of them reads and writes it."""

from __future__ import annotations

from schemas.records import Delivery, DeliveryState, EntityKind
from streams.stages.ports import Write
from streams.stages.slots import (
    EXPIRY_KEYS,
    EXPIRY_STEP,
    FAMILIES,
    SLOT_TAG,
    Flushed,
    Row,
    SlotName,
    SlotTable,
    contents,
    decode_expiring,
    due_key,
    read_slot,
    restored,
    slot_key,
    snapshot,
    unheard_of,
)
from streams.state.memory import MemoryStore


def key_of(number: int, rule: str = "r") -> bytes:
    return slot_key(SlotName("acme", EntityKind.ORDER, f"{number:04}", "ann", rule, ""))


def row(due: int) -> Row:
    return Row("id", 1, 1, "5", 0, "new", DeliveryState.SCHEDULED, due, due, due)


class Store(MemoryStore):
    """Counts how it is read."""

    def __init__(self) -> None:
        super().__init__(FAMILIES)
        self.gets = 0

    def get_many(self, family: str, keys: object) -> list[bytes | None]:
        self.gets += 1
        return super().get_many(family, keys)  # type: ignore[arg-type]  # as it was given


def changed(store: Store, dues: dict[bytes, int | None], until: int = 0) -> Flushed:
    """Each slot pending at its moment; None: over, and remembered until ``until``."""
    table = SlotTable(store)
    table.load(dues)
    for key, due in dues.items():
        slot = table.change(key)
        slot.head.transition += 1
        slot.row = row(due) if due is not None else None
        if due is None:
            slot.head.until = until
    flushed = table.flush()
    store.write(flushed.writes)
    return flushed


def rows(store: Store, family: str) -> list[tuple[bytes, bytes]]:
    return store.scan(family, b"", None, 100_000)


def test_a_slot_is_in_one_place_at_a_time_as_the_changelog_has_it() -> None:
    store, key = Store(), key_of(1)
    for due in (7, 9, 9, None, 4):
        flushed = changed(store, {key: due}, until=EXPIRY_STEP)
        ((tagged, raw),) = flushed.changelog
        assert tagged == SLOT_TAG + key
        if due is None:
            assert (rows(store, "slots"), rows(store, "due")) == ([(key, raw)], [])
        else:
            place = due.to_bytes(8, "big")
            assert (rows(store, "slots"), rows(store, "due")) == ([(key, place)], [(place + key, raw)])
        assert snapshot(store, [SLOT_TAG + key]) == flushed.changelog
        slot = read_slot(store, key)
        assert slot is not None
        assert (slot.row is None, slot.head.due) == (due is None, -1 if due is None else due)
    assert list(contents(store)) == [SLOT_TAG + key]
    assert read_slot(store, key_of(2)) is None


def test_what_the_changelog_says_makes_the_same_store() -> None:
    store, again = Store(), Store()
    keys = {key_of(number): number % 5 or None for number in range(200)}
    flushed = changed(store, keys, until=EXPIRY_STEP + 1)
    changed(store, {key_of(5): 3, key_of(6): None}, until=EXPIRY_STEP + 1)
    again.write(restored(again, flushed.changelog))
    again.write(restored(again, snapshot(store, [SLOT_TAG + key_of(5), SLOT_TAG + key_of(6)])))
    for family in ("slots", "due", "expiry"):
        assert rows(store, family) == rows(again, family)
    writes: list[Write] = restored(again, [(SLOT_TAG + key, None) for key in keys])
    again.write(writes)
    assert (rows(again, "slots"), rows(again, "due")) == ([], [])


def test_what_is_due_is_read_from_the_first_to_the_last_and_the_rest_is_looked_for() -> None:
    store = Store()
    changed(store, {key_of(number): 10 + number // 7 for number in range(300)})
    changed(store, {key_of(number, "other"): 20 for number in range(300)})  # in between
    changed(store, {key_of(0): 99, key_of(1): None}, until=1)  # moved, and over, since they were found
    names = [(10 + number // 7, key_of(number)) for number in range(300)]
    table = SlotTable(store)
    table.load_due(names)
    store.gets = 0
    found = [table.get(key) for _, key in names]
    assert store.gets == 0, "nothing is read one by one"
    dues = [slot.row.due if slot is not None and slot.row is not None else None for slot in found]
    assert dues == [99, None, *(due for due, _ in names[2:])]
    table.change(key_of(5)).row = None
    assert ("due", due_key(*names[5]), None) in table.flush().writes


def test_memories_that_end_in_one_hour_are_one_row_and_none_ends_too_early() -> None:
    store = Store()
    keys = [key_of(number) for number in range(2 * EXPIRY_KEYS)]
    changed(store, dict.fromkeys(keys), until=5 * EXPIRY_STEP + 1)
    told = rows(store, "expiry")
    assert [int.from_bytes(key[:8], "big") for key, _ in told] == [6 * EXPIRY_STEP] * 2
    assert sorted(key for _, raw in told for key in decode_expiring(raw)) == keys
    assert changed(store, dict.fromkeys(keys), until=6 * EXPIRY_STEP).writes[-1][0] == "slots", (
        "the same hour"
    )
    changed(store, dict.fromkeys(keys[:3]), until=6 * EXPIRY_STEP + 1)
    assert len(rows(store, "expiry")) == 3
    changed(store, dict.fromkeys(keys[3:6]), until=6 * EXPIRY_STEP + 1)
    assert len(rows(store, "expiry")) == 4, "no row takes another's place"


def test_the_delivery_log_tells_of_a_slot_that_is_pending_or_over_or_of_none() -> None:
    store = Store()
    record = Delivery(
        delivery_id="id",
        transition=2,
        company="acme",
        kind=EntityKind.ORDER,
        entity_id="0001",
        entity_version=1,
        rule_id="r",
        rule_version=1,
        customer_id="ann",
        anchor="5",
        state=DeliveryState.SCHEDULED,
        at=0,
        channel="sms",
    )
    assert unheard_of(store, record)
    changed(store, {key_of(1): 7})
    assert unheard_of(store, record), "of its first transition only"
    changed(store, {key_of(1): 8})
    assert not unheard_of(store, record)
    changed(store, {key_of(1): None}, until=1)
    assert not unheard_of(store, record)
