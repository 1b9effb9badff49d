"""What is forgotten, and when."""

from schemas.records import EntityKind, Operation, Trigger
from streams.stages.entity import MEMORY
from streams.stages.ports import KeyValue
from streams.stages.slots import FAMILIES
from tests.support.shop import DAY, HOUR, ann, at, change, facts, notification, reminder, shop
from tests.support.topology import Topology


def rows(store: KeyValue, family: str) -> int:
    return len(store.scan(family, b"", None, 1_000))


def test_a_delivery_is_remembered_for_35_days_and_then_leaves_nothing_behind() -> None:
    world = Topology(at("2026-04-01 10:00"))
    world.reference(*shop(), reminder(24), notification(Trigger.CREATED, EntityKind.APPOINTMENT))
    world.customer(ann())
    scheduled = world.now + 3 * DAY
    world.change(EntityKind.APPOINTMENT, change(1, facts("appointment-new", scheduled), world.now))
    world.until(scheduled + HOUR)
    assert len(world.sent) == 2
    stores = world.stores
    assert sum(rows(store, "slots") for store in stores) == 2
    world.until(scheduled + 35 * DAY - HOUR)
    assert sum(rows(store, "slots") for store in stores) == 1
    world.until(scheduled + 35 * DAY + HOUR)
    left = {family: sum(rows(store, family) for store in stores) for family in FAMILIES}
    assert {family: left[family] for family in ("slots", "due", "expiry", "entities")} == {
        "slots": 0,
        "due": 0,
        "expiry": 0,
        "entities": 0,
    }


def test_deleted_entities_are_forgotten_and_open_ones_are_not() -> None:
    world = Topology(at("2026-04-01 10:00"))
    world.reference(*shop())
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    world.change(EntityKind.ORDER, change(1, facts(), world.now, entity_id="2"))
    gone = change(2, None, world.now, operation=Operation.DELETE, entity_id="2")
    world.change(EntityKind.ORDER, gone)
    closed = change(1, facts("done"), world.now, entity_id="3")
    world.change(EntityKind.ORDER, closed)
    store = world.entity_stores[EntityKind.ORDER]
    assert rows(store, "entities") == 3
    world.after(MEMORY)
    world.tidy()
    assert rows(store, "entities") == 3
    world.after(2 * DAY)
    world.tidy()
    assert [key for key, _ in store.scan("entities", b"", None, 10)] == [b"acme/1"]


def test_after_a_restart_old_entities_are_looked_for_when_a_day_is_over() -> None:
    world = Topology(at("2026-04-01 10:00"))
    world.reference(*shop())
    closed = change(1, facts("done"), world.now)
    world.change(EntityKind.ORDER, closed)
    world.after(MEMORY + HOUR)
    world.change(EntityKind.ORDER, change(1, facts(), world.now, entity_id="2"))
    world.tidy()
    world.change(EntityKind.ORDER, closed)
    world.restart()
    assert world.entities[EntityKind.ORDER].tidy(world.now) is None
    world.after(DAY)
    world.tidy()
    store = world.entity_stores[EntityKind.ORDER]
    assert [key for key, _ in store.scan("entities", b"", None, 10)] == [b"acme/2"]


def test_facts_that_no_message_is_about_are_forgotten_too() -> None:
    """The lead is handed to somebody to whom no rule says anything; what came of it for the first one is over
    long before."""
    world = Topology(at("2026-04-01 10:00"))
    lead = EntityKind.LEAD
    world.reference(*shop(), notification(Trigger.CREATED, lead))
    world.customer(ann())
    world.customer(ann(customer_id="ben", phone="+48501000002"))
    world.change(lead, change(1, facts("lead-new"), world.now))
    world.change(lead, change(2, facts("lead-new", customer="ben"), world.now))
    held = [key for store in world.stores for key, _ in store.scan("entities", b"", None, 10)]
    assert sorted(key.split(b"\0")[3] for key in held) == [b"ann", b"ben"]
    world.after(34 * DAY)
    assert sum(rows(store, "entities") for store in world.stores) == 2
    world.after(3 * DAY)
    assert not sum(rows(store, "entities") for store in world.stores)
    world.lose_disks()
    assert not sum(rows(store, "entities") for store in world.stores)
