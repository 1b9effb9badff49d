"""The delivery log and the providers' books, as their readers see them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from schemas.records import Channel, Delivery, DeliveryState, EntityKind
from streams.domain.messages import Message, SmsMessage
from tests.simulation.items import EPOCH
from tests.simulation.oracle import Name
from tests.simulation.provider import Call
from tests.simulation.world import Outcome

RECEIPTS = frozenset({DeliveryState.DELIVERED, DeliveryState.BOUNCED})
TOLD_ONCE = 0
"""Transition number of what an entity agent says itself."""


class Log:
    """The delivery log as its readers see it: repeats dropped by (delivery id, transition)."""

    def __init__(self, out: Outcome) -> None:
        self.conflicts: list[str] = []
        seen: dict[tuple[str, int], Delivery] = {}
        self.slots: dict[tuple[str, ...], dict[int, Delivery]] = defaultdict(dict)
        self.by_id: dict[str, list[Delivery]] = defaultdict(list)
        self.names: dict[Name, list[Delivery]] = defaultdict(list)
        self.lives: list[Delivery] = []
        """Every record once, but what an entity agent says itself."""
        self.receipts: dict[str, list[Delivery]] = defaultdict(list)
        """What providers reported; the others have only what happened until then."""
        for record in out.log:
            key = record.delivery_id, record.transition
            if key in seen:
                if record.transition != TOLD_ONCE and seen[key] != record:
                    self.conflicts.append(f"{key}: {told_of(seen[key])} and {told_of(record)}")
                continue
            seen[key] = record
            if record.transition == TOLD_ONCE:
                continue
            self.lives.append(record)
            receipt = record.state in RECEIPTS
            if receipt:
                self.receipts[record.delivery_id].append(record)
            else:
                self.by_id[record.delivery_id].append(record)
                self.names[name_of(record)].append(record)
            reminder = record.anchor.isdecimal() or (receipt and not record.anchor)
            slot = (
                record.company,
                record.kind,
                record.entity_id,
                record.customer_id,
                record.rule_id,
                "" if reminder else record.anchor,
            )
            other = self.slots[slot].get(record.transition)
            if other is not None:
                self.conflicts.append(f"{slot} {record.transition}: {told_of(other)} and {told_of(record)}")
            self.slots[slot][record.transition] = record
        self.lives.sort(key=lambda record: (record.delivery_id, record.transition))
        for records in (*self.by_id.values(), *self.names.values(), *self.receipts.values()):
            records.sort(key=lambda record: record.transition)


def name_of(record: Delivery) -> Name:
    return Name(
        record.company,
        record.rule_id,
        EntityKind(record.kind),
        record.entity_id,
        record.anchor,
        record.customer_id,
    )


def calls(out: Outcome, log: Log) -> Iterator[tuple[Channel, Call, Delivery]]:
    """Each call with the record that announced it."""
    for channel, provider in out.providers.items():
        for call in provider.calls:
            moment = EPOCH + call.seconds * 1000
            told = [
                record
                for record in log.by_id.get(call.message.delivery_id, ())
                if record.state is DeliveryState.SENDING and record.at <= moment
            ]
            if told:
                yield channel, call, told[-1]


def text_of(message: Message) -> str:
    return message.text if isinstance(message, SmsMessage) else message.subject


def told_of(record: Delivery) -> str:
    reason = f".{record.reason}" if record.reason else ""
    seconds = (record.at - EPOCH) / 1000
    return (
        f"{record.company}/{record.kind}/{record.entity_id}/{record.rule_id}/{record.anchor}"
        f"/{record.customer_id} #{record.transition} {record.state}{reason} at {seconds:.3f} s"
    )
