"""The workload of the order join: companies, rules, customers and changes of orders, the same for every
system, and what must come out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer

from schemas.codec import Codec, encode_json
from schemas.records import (
    Change,
    Company,
    Customer,
    Details,
    EntityKind,
    Facts,
    Operation,
    Rule,
    Status,
    StatusKind,
    Suppression,
    Template,
    TemplateText,
    Trigger,
)
from schemas.registry import EmbeddedRegistry
from streams.domain.catalog import Reference
from streams.domain.ids import customer_key, entity_key, reference_key
from streams.kafka.offsets import SILENT
from tests.support.shop import notification

Records = list[tuple[bytes, bytes]]

TOPIC_OF: dict[type, str] = {
    Company: "companies",
    Status: "statuses",
    Template: "templates",
    Rule: "rules",
}
_BLOCK = 5_000
"""Orders that are created together, and then changed."""


@dataclass(frozen=True)
class Load:
    """``changes`` of orders, each of which is created and then changes its status ``each - 1`` times. Rules
    speak of half of the statuses, and every second change of status is to one of those, so that as many hit
    however many rules and companies there are."""

    changes: int = 500_000
    each: int = 2
    rules: int = 1_000
    companies: int = 100
    customers: int = 100_000
    form: str = "json"
    refusing: bool = True
    """Whether one customer of ten has agreed to nothing."""
    first: int = 0
    """Number of the first order, so that a warm-up has orders of its own."""

    @property
    def orders(self) -> int:
        return self.changes // self.each

    @property
    def rules_each(self) -> int:
        return max(1, self.rules // self.companies)

    # --- reference data

    def references(self) -> Iterator[Reference]:
        for number in range(self.companies):
            company = f"c{number}"
            yield Company(
                id=company,
                name=f"Shop {number}",
                language="en",
                zone="Europe/Warsaw",
                sms_sender="+48500000000",
                email_sender_name=f"Shop {number}",
                email_sender_address=f"shop@c{number}.example",
                version=1,
            )
            words = f"{{{{ customer.first_name }}}}, order {{{{ entity.number }}}} is ready. Shop {number}"
            text = TemplateText(sms=words, subject="Your order", body=words)
            yield Template(id="t", company=company, texts={"en": text}, version=1)
            for status in ("new", *(f"s{n}" for n in range(2 * self.rules_each))):
                yield Status(
                    id=status,
                    company=company,
                    entity=EntityKind.ORDER,
                    names={"en": status},
                    kind=StatusKind.OPEN,
                    version=1,
                )
            for n in range(self.rules_each):
                yield notification(Trigger.STATUS_CHANGED_TO, id_=f"r{n}", company=company, status_id=f"s{n}")

    def rule_lines(self) -> Iterator[str]:
        """The rules for peers: company, status, rule."""
        for company in range(self.companies):
            for n in range(self.rules_each):
                yield f"c{company},s{n},r{n}"

    # --- customers

    def agreed(self, customer: int) -> bool:
        # Alike in all companies, and one of ten of them all where companies have few customers each.
        place, company = divmod(customer, self.companies)
        return not self.refusing or (place + company) % 10 != 9

    def consents(self) -> Iterator[Customer]:
        for number in range(self.customers):
            agreed = self.agreed(number)
            yield Customer(
                company=f"c{number % self.companies}",
                customer_id=f"cust-{number}",
                name="Ann Smith",
                phone=f"+4850{number:07d}",
                email=f"ann.{number}@mail.example",
                language="en",
                sms_consent=agreed,
                email_consent=agreed,
                version=1,
            )

    # --- orders

    def place_of(self, order: int) -> tuple[int, int]:
        """(company, customer) of an order."""
        company, place = order % self.companies, order // self.companies
        each = max(1, self.customers // self.companies)
        return company, place % each * self.companies + company

    def _status(self, order: int, version: int) -> str:
        if version == 1:
            return "new"
        # The parity of the bits, which has nothing to do with the company's number, says whether there is a
        # rule; which one is spread over all of them.
        has_rule = (order.bit_count() + version) % 2
        number = (order * 2_654_435_761 + version) % 2**32 >> 8
        return f"s{number % self.rules_each + (0 if has_rule else self.rules_each)}"

    def _places(self) -> Iterator[tuple[int, int]]:
        """(order, version) in the order in which they are published."""
        last = self.first + self.orders
        for block in range(self.first, last, _BLOCK):
            for version in range(1, self.each + 1):
                for order in range(block, min(block + _BLOCK, last)):
                    yield order, version

    def orders_changed(self) -> Iterator[Change]:
        now = time.time_ns() // 1_000_000
        for order, version in self._places():
            company, customer = self.place_of(order)
            before = None
            if version > 1:
                before = Facts(status_id=self._status(order, version - 1), customer_id=f"cust-{customer}")
            yield Change(
                company=f"c{company}",
                entity_id=f"order-{order}",
                operation=Operation.CREATE if version == 1 else Operation.UPDATE,
                event_id=f"order-{order}-{version}",
                version=version,
                occurred_at=now,
                before=before,
                after=Facts(status_id=self._status(order, version), customer_id=f"cust-{customer}"),
                details=Details(
                    number=str(order),
                    title="Chain, cassette and brakes",
                    amount_minor=34_900,
                    currency="PLN",
                    url=f"https://shop.example/orders/{order}",
                ),
            )

    # --- what must come out

    def outputs(self) -> tuple[set[str], set[str]]:
        """(hits, sends): ``company/customer/order/rule`` of what must come to the timers topic, and of what
        may be sent."""
        hits: set[str] = set()
        sends: set[str] = set()
        for order, version in self._places():
            status = self._status(order, version)
            if status == "new" or int(status[1:]) >= self.rules_each:
                continue
            if self._status(order, version - 1) == status:
                continue
            company, customer = self.place_of(order)
            name = f"c{company}/cust-{customer}/order-{order}/r{status[1:]}"
            hits.add(name)
            if self.agreed(customer):
                sends.add(name)
        return hits, sends


class Feeder:
    """Publishes records as Java's clients would place them (murmur2 of the key)."""

    def __init__(self, bootstrap: str, *, linger_ms: float = 20) -> None:
        self._producer: Any = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": linger_ms,
                "batch.size": 500_000,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 1_000_000,
            },
            logger=SILENT,
        )
        self.codec = Codec(EmbeddedRegistry())

    def send(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Returns when all are acknowledged."""
        failed: list[Any] = []

        def delivered(error: Any, _: Any) -> None:
            if error is not None:
                failed.append(error)

        for key, value in records:
            while True:
                try:
                    self._producer.produce(topic, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)
        left = self._producer.flush(120)
        if failed or left:
            raise RuntimeError(f"{topic}: {failed[0] if failed else f'{left} records not acknowledged'}")

    def post(self, topic: str, key: bytes, value: bytes) -> None:
        """Without waiting; ``send`` waits for it too."""
        self._producer.produce(topic, value, key)
        self._producer.poll(0)

    def references(self, prefix: str, load: Load) -> None:
        for reference in load.references():
            assert not isinstance(reference, Suppression)
            if isinstance(reference, Company):
                key = reference.id.encode()
            else:
                key = reference_key(reference.company, reference.id)
            self._producer.produce(prefix + TOPIC_OF[type(reference)], self.codec.encode(reference), key)
            self._producer.poll(0)
        self._producer.flush(120)

    def consents(self, load: Load) -> Records:
        return [
            (
                customer_key(one.company, one.customer_id),
                encode_json(one) if load.form == "json" else self.codec.encode(one),
            )
            for one in load.consents()
        ]

    def orders(self, load: Load) -> Records:
        json = load.form == "json"
        return [
            (
                entity_key(one.company, one.entity_id),
                encode_json(one) if json else self.codec.encode_change(EntityKind.ORDER, one),
            )
            for one in load.orders_changed()
        ]
