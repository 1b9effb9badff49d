"""Reads the delivery log, drops repeats and prints one line for each transition.

    python examples/read_delivery_log.py --bootstrap localhost:9092 --registry http://localhost:8081

Without ``--registry`` the topic is read as the embedded mode writes it. Stop it with Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from confluent_kafka import Consumer

from schemas.codec import Codec
from schemas.errors import DecodeError, UnknownSchemaId
from schemas.records import Delivery
from schemas.registry import Registry, RegistryConfig, open_registry


class Repeats:
    """Remembers the last ``size`` pairs of delivery id and transition."""

    def __init__(self, size: int = 1_000_000) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()

    def fresh(self, deliveries: Iterable[Delivery]) -> Iterator[Delivery]:
        """The deliveries' transitions that were not seen before, in order."""
        for delivery in deliveries:
            pair = delivery.delivery_id, delivery.transition
            if pair in self._seen:
                continue
            self._seen[pair] = None
            if len(self._seen) > self._size:
                self._seen.popitem(last=False)
            yield delivery


def line(delivery: Delivery) -> str:
    """One transition for people, its time in UTC."""
    at = datetime.fromtimestamp(delivery.at / 1000, UTC).isoformat(timespec="milliseconds")
    entity = f"{delivery.company}/{delivery.kind.value}/{delivery.entity_id}"
    why = f" ({delivery.reason})" if delivery.reason else ""
    return f"{at} {entity} {delivery.channel or '-'} {delivery.rule_id}: {delivery.state.value}{why}"


def decode(codec: Codec, registry: Registry, raw: bytes) -> Delivery:
    """The record in ``raw``; fetches its schema if need be. DecodeError when it is none."""
    while True:
        try:
            return codec.decode(Delivery, raw)
        except UnknownSchemaId as unknown:
            asyncio.run(registry.fetch(unknown.ids))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bootstrap", default="localhost:9092", help="Kafka's bootstrap servers")
    parser.add_argument("--registry", help="the schema registry's URL")
    parser.add_argument("--topic", default="delivery-log")
    parser.add_argument("--group", default="read-delivery-log", help="consumer group")
    options = parser.parse_args()
    registry = open_registry(RegistryConfig(options.registry) if options.registry else None)
    codec, repeats = Codec(registry), Repeats()
    consumer = Consumer(
        {"bootstrap.servers": options.bootstrap, "group.id": options.group, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([options.topic])
    try:
        while True:
            message = consumer.poll(1.0)
            raw = None if message is None or message.error() else message.value()
            if message is None or raw is None:
                continue
            try:
                delivery = decode(codec, registry, raw)
            except DecodeError as error:
                sys.stderr.write(f"offset {message.offset()} of partition {message.partition()}: {error}\n")
                continue
            for one in repeats.fresh([delivery]):
                sys.stdout.write(line(one) + "\n")
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
