"""What lies in a topic, with headers: for tests that look at what was written, not at what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from streams.kafka.offsets import SILENT, end_offsets


@dataclass(frozen=True, slots=True)
class RawRecord:
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def read_all(bootstrap: str, topic: str) -> list[RawRecord]:
    """Every record up to the ends of now, in the order of each partition."""
    ends = {n: end for n, end in end_offsets(bootstrap, {}, [topic])[topic].items() if end}
    consumer: Any = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False}, logger=SILENT
    )
    found: list[RawRecord] = []
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in ends])
        while sum(ends.values()) > len(found):
            for message in consumer.consume(1000, 0.02):
                assert message.error() is None, message.error()
                found.append(
                    RawRecord(
                        message.partition(),
                        message.offset(),
                        message.key() or b"",
                        message.value() or b"",
                        message.headers() or [],
                    )
                )
    finally:
        consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))
