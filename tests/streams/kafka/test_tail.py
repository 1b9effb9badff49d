"""Ends of partitions and the reader of a whole topic, against librdkafka's mock broker."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from confluent_kafka import Producer

from schemas.records import Delivery, DeliveryState, EntityKind
from streams.kafka.offsets import SILENT, Offsets, end_offsets
from streams.kafka.tail import Deliveries, Tail, TailError

pytestmark = pytest.mark.embedded


@pytest.fixture
def bootstrap() -> Iterator[str]:
    mock = Producer({"test.mock.num.brokers": 1}, logger=SILENT)
    broker = next(iter(mock.list_topics("log", timeout=10).brokers.values()))
    yield f"{broker.host}:{broker.port}"
    mock.flush(0)


def write(bootstrap: str, values: list[bytes], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": bootstrap}, logger=SILENT)
    for value in values:
        producer.produce("log", value, key=b"k", partition=partition)
    assert producer.flush(10) == 0


def test_ends_grow_with_what_is_written(bootstrap: str) -> None:
    offsets = Offsets(bootstrap, {})
    assert offsets.ends(["log"]) == {"log": {0: 0, 1: 0, 2: 0, 3: 0}}
    write(bootstrap, [b"a", b"b"], partition=2)
    assert offsets.ends(["log"]) == {"log": {0: 0, 1: 0, 2: 2, 3: 0}}


def test_asking_for_a_topic_that_does_not_exist_creates_nothing(bootstrap: str) -> None:
    assert end_offsets(bootstrap, {}, ["nowhere"]) == {}
    assert end_offsets(bootstrap, {}, ["nowhere"]) == {}


def test_reads_every_partition_once_up_to_its_end(bootstrap: str) -> None:
    tail = Tail(bootstrap, {}, "log")
    assert tail.read_to_end() == []
    write(bootstrap, [b"a", b"b"], partition=0)
    write(bootstrap, [b"c"], partition=3)
    assert sorted((r.partition, r.offset, r.value) for r in tail.read_to_end()) == [
        (0, 0, b"a"),
        (0, 1, b"b"),
        (3, 0, b"c"),
    ]
    assert tail.read_to_end() == []
    write(bootstrap, [b"d"])
    assert [r.value for r in tail.read_to_end()] == [b"d"]
    tail.close()


def test_reads_only_the_partitions_asked_for(bootstrap: str) -> None:
    write(bootstrap, [b"a"], partition=0)
    write(bootstrap, [b"c"], partition=3)
    tail = Tail(bootstrap, {}, "log", partitions={3})
    assert [(r.partition, r.value) for r in tail.read_to_end()] == [(3, b"c")]
    write(bootstrap, [b"b"], partition=0)
    write(bootstrap, [b"d"], partition=3)
    assert [(r.partition, r.value) for r in tail.read_to_end()] == [(3, b"d")]
    tail.close()


def test_following_waits_for_a_topic_and_then_goes_on(bootstrap: str) -> None:
    tail = Tail(bootstrap, {}, "log")
    records = tail.follow(idle=0.01)
    assert next(records) is None
    write(bootstrap, [b"a"])
    assert next(r.value for r in records if r is not None) == b"a"
    tail.close()


def test_an_end_that_is_not_reached_is_an_error(bootstrap: str) -> None:
    write(bootstrap, [b"a"])
    tail = Tail(bootstrap, {}, "log")
    with pytest.raises(TailError, match="log"):
        tail.read_to_end(deadline=-1)
    tail.close()


def test_repeats_of_a_transition_are_dropped(bootstrap: str) -> None:
    delivery = Delivery(
        delivery_id="0" * 32,
        transition=0,
        state=DeliveryState.SCHEDULED,
        company="c",
        kind=EntityKind.ORDER,
        entity_id="1",
        entity_version=1,
        rule_id="r",
        rule_version=1,
        customer_id="x",
        at=0,
    )
    second = msgspec.structs.replace(delivery, transition=1, state=DeliveryState.SENT)
    encode, decode = msgspec.json.encode, msgspec.json.Decoder(Delivery).decode
    log = Deliveries(Tail(bootstrap, {}, "log"), decode)
    write(bootstrap, [encode(delivery), encode(second), encode(delivery)])
    assert log.read_to_end() == [delivery, second]
    write(bootstrap, [encode(second)])
    assert log.read_to_end() == []
    assert log.repeats == 2
    log.close()


def test_one_by_one_to_the_end_with_progress(bootstrap: str) -> None:
    write(bootstrap, [b"%d" % number for number in range(5)], partition=1)
    told: list[tuple[int, int]] = []
    # This broker knows no times: what is older comes too.
    tail = Tail(bootstrap, {}, "log", since=1)
    assert [r.value for r in tail.to_end(progress=lambda *at: told.append(at))] == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
    ]
    assert told[-1] == (5, 5)
    write(bootstrap, [b"later"], partition=1)
    assert [r.value for r in tail.to_end()] == [b"later"]
    tail.close()
