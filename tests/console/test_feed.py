"""``carillon feed`` from records as the agents write them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from console.feed import STATES, newest, reason_text
from schemas.codec import Codec
from schemas.records import (
    FINAL_STATES,
    Company,
    Delivery,
    DeliveryState,
    EntityKind,
    Location,
    Trigger,
)
from schemas.registry import EmbeddedRegistry
from streams.clock import FileClock
from streams.domain.ids import log_key, reference_key
from streams.domain.reasons import Reason
from streams.kafka.producer import BatchProducer
from streams.settings import Settings
from tests.console.conftest import Carillon
from tests.support.shop import HOUR, at, notification, shop

CODEC = Codec(EmbeddedRegistry())


def delivery(number: int, transition: int, state: DeliveryState, **changes: object) -> Delivery:
    record = Delivery(
        delivery_id=f"{number:032x}",
        transition=transition,
        state=state,
        company="acme",
        kind=EntityKind.ORDER,
        entity_id="123",
        entity_version=1,
        rule_id="r",
        rule_version=1,
        customer_id="ann",
        channel="sms",
        at=at("2026-04-07 20:00"),
    )
    return msgspec.structs.replace(record, **changes)


NIGHT = at("2026-04-07 20:00")
MORNING = at("2026-04-08 09:00", "Europe/Lisbon")
HELD = delivery(2, 2, DeliveryState.HELD, reason="closed_hours", next_at=MORNING, location_id="south")
LOG = [
    delivery(1, 1, DeliveryState.SCHEDULED, reason="armed", due_at=NIGHT, next_at=NIGHT),
    delivery(1, 2, DeliveryState.SENDING, address_masked="+48•••22"),
    delivery(1, 3, DeliveryState.SENT, reason="accepted", address_masked="+48•••22", at=NIGHT + HOUR),
    delivery(2, 1, DeliveryState.SCHEDULED, reason="armed", due_at=NIGHT, next_at=NIGHT),
    HELD,
    HELD,
    delivery(3, 1, DeliveryState.SUPPRESSED, reason="no_consent", rule_id="gone-rule", channel="email"),
]


def produce(settings: Settings, topic: str, records: Sequence[tuple[bytes, bytes | None]]) -> None:
    async def send() -> None:
        producer = BatchProducer(settings.broker, {}, partitions=lambda _: 4)
        await producer.start()
        await producer.send(settings.topic_prefix + topic, records)
        await producer.stop()

    asyncio.run(send())


def publish_shop(settings: Settings) -> None:
    for record in shop():
        if isinstance(record, Company):
            produce(settings, "companies", [(record.id.encode(), CODEC.encode(record))])
        elif isinstance(record, Location):
            produce(settings, "locations", [(reference_key(record.company, record.id), CODEC.encode(record))])
    rule = notification(Trigger.CREATED, name="Order created")
    produce(settings, "rules", [(reference_key(rule.company, rule.id), CODEC.encode(rule))])


@pytest.mark.embedded
def test_the_feed_says_what_was_will_be_and_was_not_sent(
    own_topics: Settings, carillon: Carillon, tmp_path: Path
) -> None:
    publish_shop(own_topics)
    key = log_key("acme", "order", "123")
    produce(own_topics, "delivery-log", [(key, CODEC.encode(record)) for record in LOG])
    others = [
        (log_key("acme", "order", "124"), CODEC.encode(delivery(9, 1, DeliveryState.SENT, entity_id="124"))),
        (key, b"garbage"),
    ]
    produce(own_topics, "delivery-log", others)

    clock = FileClock(tmp_path / "clock", start=NIGHT + 2 * HOUR)
    setting = f"clock=file:{tmp_path / 'clock'}"
    shown = carillon("feed", "order/123", "--set", setting)  # the only company there is
    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    # Times are Lisbon's, where the log last saw the order: an hour before Warsaw's.
    assert lines[1:] == [
        f"not sent Tue 7 Apr 2026 19:00 suppressed email gone-rule {Reason.NO_CONSENT.text}",
        "sent Tue 7 Apr 2026 20:00 sent sms Order created +48•••22 The provider has accepted the message.",
        "to come Wed 8 Apr 2026 09:00 held sms Order created Held until the location opens.",
        "times: Europe/Lisbon",
    ]
    assert "left out" in shown.stderr

    entries = [
        json.loads(line)
        for line in carillon("feed", "order/123", "--company", "acme", "--json").stdout.splitlines()
    ]
    assert [(e["part"], e["state"], e["moment"], e["zone"]) for e in entries][2] == (
        "to come",
        "held",
        MORNING,
        "Europe/Lisbon",
    )
    assert entries[0]["reason_text"] == Reason.NO_CONSENT.text

    clock.set(MORNING + HOUR)
    assert "held, overdue" in carillon("feed", "order/123", "--set", setting).stdout

    nothing = carillon("feed", "lead/123")
    assert nothing.exit_code == 0
    assert "nothing in the delivery log of acme about lead/123" in nothing.output
    unknown = carillon("feed", "order/123", "--company", "umbrella")
    assert unknown.exit_code == 1
    assert "there are: acme" in unknown.output

    second = msgspec.structs.replace(next(r for r in shop() if isinstance(r, Company)), id="beta")
    produce(own_topics, "companies", [(b"beta", CODEC.encode(second))])
    which = carillon("feed", "order/123")
    assert which.exit_code == 2
    assert "--company is needed: there are 2 companies: acme, beta" in which.output


def test_repeats_and_late_records_leave_the_newest_state() -> None:
    entries = newest([LOG[2], LOG[0], LOG[1]])
    assert [entry.delivery.state for entry in entries] == [DeliveryState.SENT]


def test_every_state_has_its_place_and_only_pending_ones_are_to_come() -> None:
    assert set(STATES) == set(DeliveryState)
    to_come = {state for state, (part, _) in STATES.items() if part == "to come"}
    assert not to_come & FINAL_STATES


def test_a_code_that_nobody_knows_is_shown_as_it_is() -> None:
    assert reason_text("too_late") == Reason.TOO_LATE.text
    assert reason_text("from_the_future") == "from_the_future"


@pytest.mark.parametrize("entity", ["order", "order/", "parcel/1", "/1"])
def test_what_is_no_entity_is_refused(carillon: Carillon, entity: str) -> None:
    result = carillon("feed", entity)
    assert result.exit_code == 2
    assert "expected order/ID, lead/ID or appointment/ID" in result.output
