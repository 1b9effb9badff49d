"""The workload's own idea of what must come out is what the product's stages make of it."""

from __future__ import annotations

import pytest

from schemas.codec import Codec
from schemas.records import EntityKind, Rule, TimerOp
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Catalog
from streams.stages.entity import EntityStage
from streams.stages.entity_state import FAMILIES
from streams.state.memory import MemoryStore
from tests.benchmarks.load import Load
from tests.support.topology import Published


def hits_of(load: Load) -> set[str]:
    catalog = Catalog()
    for reference in load.references():
        catalog.apply(reference)
    codec = Codec(EmbeddedRegistry())
    stage = EntityStage(EntityKind.ORDER, "orders", 0, MemoryStore(FAMILIES), catalog)
    changes = list(load.orders_changed())
    raws = [codec.encode_change(EntityKind.ORDER, change) for change in changes]
    decoded = codec.decode_changes(EntityKind.ORDER, list(raws))
    records = [
        Published(offset, change.occurred_at, b"", raw, read)
        for offset, (change, raw, read) in enumerate(zip(changes, raws, decoded, strict=True))
    ]
    round_ = stage.step(records, decoded, len(records), changes[0].occurred_at)
    arms = [timer for timer in round_.timers if timer.op is TimerOp.ARM]
    return {f"{t.company}/{t.customer_id}/{t.entity_id}/{t.rule_id}" for t in arms}


def test_what_must_come_out_is_what_the_entity_stage_makes_of_it() -> None:
    load = Load(1_200, rules=40, companies=4, customers=100)
    hits, sends = load.outputs()
    assert hits_of(load) == hits
    assert sends < hits


def test_a_quarter_of_the_changes_hits() -> None:
    load = Load(4_000, rules=40, companies=4, customers=100)
    assert len(load.outputs()[0]) == 1_000
    assert sum(isinstance(one, Rule) for one in load.references()) == 40


@pytest.mark.parametrize("rules", [100, 1_000, 100_000])
@pytest.mark.parametrize("companies", [1, 100, 1_000, 10_000])
def test_as_many_changes_hit_and_may_be_sent_whatever_grows(rules: int, companies: int) -> None:
    load = Load(8_000, rules=rules, companies=companies, customers=20_000)
    hits, sends = load.outputs()
    assert len(hits) == 2_000
    assert len(sends) == pytest.approx(1_800, rel=0.02)


def test_orders_that_change_more_often() -> None:
    load = Load(1_200, each=4, rules=40, companies=4, customers=100)
    assert load.orders == 300
    assert hits_of(load) == load.outputs()[0]


def test_a_warm_up_has_orders_of_its_own() -> None:
    load = Load(400, rules=10, companies=2, customers=20)
    warm = Load(400, rules=10, companies=2, customers=20, first=load.orders)
    assert not load.outputs()[0] & warm.outputs()[0]


def test_peers_get_the_same_rules() -> None:
    load = Load(400, rules=10, companies=2, customers=20)
    rules = [one for one in load.references() if isinstance(one, Rule)]
    assert list(load.rule_lines()) == [f"{rule.company},{rule.status_id},{rule.id}" for rule in rules]
