"""What the simulated providers report of the messages that they took: at once, late by days, twice, out of
order, one thing and then another, and of messages that are nobody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from schemas.records import Channel, Delivery, EventKind, EventStatus, ProviderEvent
from streams.domain.messages import SmsMessage
from tests.simulation.broker import Broker
from tests.simulation.ports import CODEC
from tests.simulation.provider import Taken

DAY = 86_400.0
QUEUED, SENT, DELIVERED, UNDELIVERED = (
    EventStatus.QUEUED,
    EventStatus.SENT,
    EventStatus.DELIVERED,
    EventStatus.UNDELIVERED,
)
SMS: Sequence[Sequence[EventStatus]] = (
    (),
    (QUEUED, SENT, DELIVERED),
    (DELIVERED, DELIVERED),
    (UNDELIVERED,),
    (UNDELIVERED, DELIVERED, UNDELIVERED),
    (DELIVERED, EventStatus.FAILED, SENT),
)
EMAIL: Sequence[Sequence[EventStatus]] = ((), (), (EventStatus.SOFT,), (EventStatus.HARD, EventStatus.HARD))
NOBODYS = "0" * 32


class Reports:
    """``post`` publishes one."""

    def __init__(self, broker: Broker, random: Random, post: Callable[[ProviderEvent], None]) -> None:
        self._broker = broker
        self._random = random
        self._post = post
        self.last = 0.0
        """When the last one is due that is known of."""

    def taken(self, taken: Taken) -> None:
        random, loop = self._random, self._broker.loop
        record = self._announced(taken.message.delivery_id)
        if record is None:
            return
        sms = isinstance(taken.message, SmsMessage)
        late = random.choice((0.01, 0.3, 5.0, 60.0, 600.0, 2 * DAY if random.random() < 0.2 else 60.0))
        for number, status in enumerate(random.choice(SMS if sms else EMAIL)):
            event = self._event(taken, record, status, number)
            if random.random() < 0.05:
                event = self._event(taken, record, status, number, NOBODYS)
            at = loop.seconds + random.random() * late
            self.last = max(self.last, at)
            loop.at(at, self._post, event)

    def _announced(self, delivery_id: str) -> Delivery | None:
        """The message's slot is named in the address for its receipts; here the log says it."""
        for stored in reversed(self._broker.topics["delivery-log"][0].records):
            record = CODEC.decode(Delivery, stored.value or b"")
            if record.delivery_id == delivery_id:
                return record
        return None

    def _event(
        self, taken: Taken, record: Delivery, status: EventStatus, number: int, id_: str = ""
    ) -> ProviderEvent:
        now = self._broker.now()
        sms = isinstance(taken.message, SmsMessage)
        return ProviderEvent(
            event=EventKind.RECEIPT if sms else EventKind.BOUNCE,
            status=status,
            event_id=f"{taken.id}-{number}",
            company=record.company,
            channel=Channel.SMS if sms else Channel.EMAIL,
            kind=str(record.kind),
            entity_id=record.entity_id,
            customer_id=record.customer_id,
            rule_id=record.rule_id,
            slot_event_id="" if record.anchor.isdecimal() else record.anchor,
            delivery_id=id_ or taken.message.delivery_id,
            provider=f"sim-{'sms' if sms else 'email'}",
            provider_id=taken.id,
            happened_at=now,
            received_at=now,
        )
