from __future__ import annotations

import msgspec
import pytest

from schemas.records import EntityKind
from streams.domain.catalog import Catalog
from streams.stages.delivery import DeliveryStage
from streams.stages.firing import Options
from streams.stages.slots import FAMILIES, Head, Slot, SlotName, slot_key
from streams.stages.sweeping import ALL, APPLIED, Sweeper
from streams.state.memory import MemoryStore
from tests.support.shop import C, reminder

ORDER = EntityKind.ORDER
encode = msgspec.msgpack.Encoder().encode


class Counted(MemoryStore):
    """Knows how many slots were read."""

    scanned = 0

    def scan(self, family: str, low: bytes, high: bytes | None, limit: int) -> list[tuple[bytes, bytes]]:
        rows = super().scan(family, low, high, limit)
        self.scanned += len(rows) * (family == "slots")
        return rows


@pytest.mark.timeout(60)  # a second at most; a look through all that wait for each of them took minutes
def test_a_start_with_a_hundred_thousand_names_to_apply_is_no_standstill() -> None:
    sweeper = Sweeper(MemoryStore(FAMILIES), Catalog())
    names = [(f"c{number}", ALL) for number in range(100_000)]
    sweeper.notice(names)
    sweeper.notice(names)
    assert len(sweeper) == 100_000


def applied(rules: int) -> tuple[Counted, int]:
    """A store with a hundred slots of a company with so many rules, all of them new to it, and in how many
    rounds they were applied."""
    catalog, store = Catalog(), Counted(FAMILIES)
    for number in range(rules):
        catalog.apply(reminder(1, id_=f"r{number}"))
    keys = [slot_key(SlotName(C, ORDER, f"{n}", "cust", f"r{n % rules}", "")) for n in range(100)]
    store.write([("slots", key, encode(Slot(Head(1, 1, 1, [], 0, -1)))) for key in keys])
    stage = DeliveryStage(store, catalog, Options(), lambda *_: None)
    store.scanned = 0
    stage.reference_changed([(C, rule.id) for rule in catalog.rules_of(C)])
    rounds = 0
    while (round_ := stage.sweep(0)) is not None:
        store.write(round_.writes)
        stage.committed(round_)
        rounds += 1
    assert not stage.sweeping
    assert store.get("meta", APPLIED + C.encode())
    return store, rounds


def test_the_rows_of_a_company_are_read_once_however_many_of_its_rules_are_new() -> None:
    """After a lost disk all of them are."""
    few, many = applied(1), applied(1_000)
    assert few[0].scanned == many[0].scanned == 100
    assert few[1] == many[1] == 1
