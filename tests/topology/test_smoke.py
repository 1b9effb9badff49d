from schemas.records import EntityKind, Trigger
from tests.support.shop import HOUR, ann, at, change, facts, notification, reminder, shop
from tests.support.topology import Topology


def test_an_order_is_created_and_the_customer_told() -> None:
    world = Topology(at("2026-04-07 10:00"))
    world.reference(*shop(), notification(Trigger.CREATED))
    world.customer(ann())
    world.change(EntityKind.ORDER, change(1, facts(), world.now))
    assert world.texts == ["Ann: N1 New"]
    assert world.states("r") == [("scheduled", "armed"), ("sending", ""), ("sent", "accepted")]
    assert world.pending == 0


def test_a_moved_appointment_moves_its_reminder() -> None:
    world = Topology(at("2026-04-01 10:00"))
    world.reference(*shop(), reminder(24))
    world.customer(ann())
    first, second = at("2026-04-07 13:00"), at("2026-04-08 14:00")
    world.change(EntityKind.APPOINTMENT, change(1, facts(scheduled=first), world.now))
    world.after(HOUR)
    world.change(EntityKind.APPOINTMENT, change(2, facts(scheduled=second), world.now))
    assert world.pending == 1
    world.until(at("2026-04-09 00:00"))
    assert [(sent.at, sent.text) for sent in world.sent] == [
        (at("2026-04-07 14:00"), "See you Wednesday, April 8 at 2:00 PM")
    ]
    assert world.finals == [("superseded", "moved"), ("sent", "accepted")]


def test_a_rule_edited_from_24_to_48_hours_retimes_what_is_booked() -> None:
    world = Topology(at("2026-04-01 10:00"))
    world.reference(*shop(), reminder(24))
    world.customer(ann())
    world.change(EntityKind.APPOINTMENT, change(1, facts(scheduled=at("2026-04-07 13:00")), world.now))
    world.after(HOUR)
    world.reference(reminder(48, version=2, changed_at=world.now))
    world.until(at("2026-04-09 00:00"))
    assert [sent.at for sent in world.sent] == [at("2026-04-05 13:00")]
