"""The producer against the embedded broker: nothing returns before the broker has it, nothing is dropped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Message, Producer, TopicPartition

from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import BatchProducer, ProduceError, Sent, _Batch

pytestmark = pytest.mark.embedded

PARTITIONS = 4
Row = tuple[bytes, bytes | None, Any]


def read(bootstrap: str, topic: str) -> dict[int, list[Row]]:
    """Everything in the topic: partition -> (key, value, headers) in order."""
    consumer: Any = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "test", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    rows: dict[int, list[Row]] = {number: [] for number in range(PARTITIONS)}
    open_partitions = set(rows)
    while open_partitions:
        message = consumer.poll(20)
        assert message is not None, "the broker does not answer"
        if message.error():
            open_partitions.discard(message.partition())
        else:
            rows[message.partition()].append((message.key(), message.value(), message.headers()))
    consumer.close()
    return rows


@pytest.fixture
async def producer(bootstrap: str) -> AsyncIterator[BatchProducer]:
    producer = BatchProducer(bootstrap, {}, partitions=lambda topic: PARTITIONS)
    await producer.start()
    yield producer
    await producer.stop()


async def test_records_are_in_the_log_where_their_keys_say_when_send_returns(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    records = [(b"key-%d" % (n % 37), b"value-%d" % n) for n in range(3000)]
    sent = await producer.send(topic, records)
    rows = await asyncio.to_thread(read, bootstrap, topic)
    for partition, held in rows.items():
        expected = [(key, value) for key, value in records if partition_for(key, PARTITIONS) == partition]
        assert [row[:2] for row in held] == expected
        assert sent.last_offsets[partition] == len(expected) - 1


async def test_the_partition_can_be_given_and_tombstones_and_headers_arrive(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    sent = await producer.send(topic, [(b"a", None), (b"", b"")], partition=3, headers=[("epoch", b"7")])
    assert sent == Sent({3: 1})
    rows = await asyncio.to_thread(read, bootstrap, topic)
    assert rows[3] == [(b"a", None, [("epoch", b"7")]), (b"", b"", [("epoch", b"7")])]


async def test_no_records_is_nothing_to_wait_for(producer: BatchProducer, topic: str) -> None:
    assert await producer.send(topic, []) == Sent({})


async def test_calls_at_the_same_time_keep_their_order_in_a_small_queue(bootstrap: str, topic: str) -> None:
    producer = BatchProducer(bootstrap, {}, partitions=lambda topic: PARTITIONS, queue_records=50)
    await producer.start()
    calls = [[(b"k", b"%d-%d" % (call, n)) for n in range(120)] for call in range(30)]
    waiting = []
    for records in calls:
        waiting.append(asyncio.create_task(producer.send(topic, records, partition=0)))
        await asyncio.sleep(
            0.003
        )  # so that some begin at a moment when there is room and an earlier one waits
    sent = await asyncio.gather(*waiting)
    await producer.stop()
    rows = await asyncio.to_thread(read, bootstrap, topic)
    assert [row[1] for row in rows[0]] == [value for records in calls for _, value in records]
    assert [answer.last_offsets[0] for answer in sent] == [120 * (call + 1) - 1 for call in range(30)]


async def test_one_record_that_cannot_be_sent_fails_its_call_for_good_and_no_other(
    producer: BatchProducer, topic: str
) -> None:
    records = [(b"a", b"1"), (b"b", b"x" * 3_000_000), (b"c", b"3")]
    with pytest.raises(ProduceError, match="MSG_SIZE_TOO_LARGE") as caught:
        await producer.send(topic, records, partition=2)
    assert (caught.value.topic, caught.value.partition) == (topic, 2)
    assert not caught.value.retriable
    assert (await producer.send(topic, [(b"d", b"4")], partition=2)).last_offsets == {2: 1}


async def test_an_unknown_partition_is_permanent(producer: BatchProducer, topic: str) -> None:
    await producer.send(topic, [(b"a", b"1")])
    with pytest.raises(ProduceError, match="UNKNOWN_PARTITION") as caught:
        await producer.send(topic, [(b"a", b"1")], partition=99)
    assert not caught.value.retriable


async def test_without_a_broker_the_call_fails_and_may_be_repeated() -> None:
    producer = BatchProducer("127.0.0.1:1", {}, partitions=lambda topic: 1, timeout_ms=1000)
    await producer.start()
    with pytest.raises(ProduceError) as caught:
        await producer.send("t", [(b"a", b"1")])
    assert caught.value.retriable
    await producer.stop()


async def test_purge_answers_the_calls_that_wait_and_the_producer_goes_on(topic: str) -> None:
    with EmbeddedBroker() as broker:
        producer = BatchProducer(broker.bootstrap, {}, partitions=lambda topic: PARTITIONS)
        await producer.start()
        await producer.send(topic, [(b"a", b"0")])
        os.kill(broker.pid, signal.SIGSTOP)  # the broker is silent: requests stay in flight
        waiting = [asyncio.create_task(producer.send(topic, [(b"a", b"%d" % n)])) for n in range(5)]
        await asyncio.sleep(0)  # lets them enter the queue
        producer.purge()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        os.kill(broker.pid, signal.SIGCONT)
        for result in results:
            assert isinstance(result, ProduceError)
            assert "PURGE" in result.detail
            assert result.retriable
        async with asyncio.timeout(30):
            while True:  # the purge itself may still be under way, and take this along
                try:
                    await producer.send(topic, [(b"a", b"again")])
                    break
                except ProduceError as error:
                    if not error.retriable:
                        raise
        await producer.stop()


async def test_stopping_answers_what_waits_and_later_calls_are_refused(bootstrap: str, topic: str) -> None:
    producer = BatchProducer(bootstrap, {}, partitions=lambda topic: PARTITIONS, linger_ms=20_000)
    await producer.start()
    waiting = asyncio.create_task(producer.send(topic, [(b"a", b"1")]))
    await asyncio.sleep(0)
    await producer.stop()
    await producer.stop()
    with pytest.raises(ProduceError):
        await waiting
    with pytest.raises(ProduceError, match="not running"):
        await producer.send(topic, [(b"a", b"1")])


async def test_a_repeat_that_the_broker_recognised_is_acknowledged_without_an_offset() -> None:
    """After a lost acknowledgement. An exception here would end the thread of all acknowledgements."""
    batch = _Batch(asyncio.get_running_loop(), "t", 1)
    report = Message(topic="t", partition=0)
    assert report.offset() is None
    batch.delivered(None, report)
    await asyncio.wait_for(batch.done, 10)
    assert (batch.offsets, batch.failure) == ({}, None)


@pytest.mark.parametrize(("stamp", "taken"), [(1_234, 0), (10**12 - 1, 0), (10**12, 10**12)])
async def test_a_broker_without_a_clock_says_nothing_of_ours(stamp: int, taken: int) -> None:
    """Found on the embedded broker, whose records all bear the time 1,234."""

    class Message:
        def offset(self) -> int:
            return 5

        def partition(self) -> int:
            return 0

        def timestamp(self) -> tuple[int, int]:
            return TIMESTAMP_LOG_APPEND_TIME, stamp

    batch = _Batch(asyncio.get_running_loop(), "t", 1)
    batch.delivered(None, Message())
    assert batch.stamp == taken


async def test_a_dead_thread_of_acknowledgements_is_told(
    producer: BatchProducer, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: _Batch, error: object, message: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_Batch, "delivered", fail)
    waiting = asyncio.create_task(producer.send(topic, [(b"a", b"1")]))
    async with asyncio.timeout(30):
        while producer.failure is None:  # noqa: ASYNC110 - a thread has no event of this loop
            await asyncio.sleep(0.01)
    waiting.cancel()


async def test_a_cancelled_call_leaves_the_producer_as_it_was(producer: BatchProducer, topic: str) -> None:
    task = asyncio.create_task(producer.send(topic, [(b"a", b"1")] * 100))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await producer.send(topic, [(b"a", b"2")], partition=3)).last_offsets.keys() == {3}


async def test_our_partitions_are_librdkafkas_murmur2(bootstrap: str, topic: str) -> None:
    keys = [b"company-%d/customer-%d" % (n % 7, n) for n in range(300)] + [b"x" * n for n in range(40)]
    placed: dict[bytes, int] = {}

    def place() -> None:
        plain: Any = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2"})
        for key in keys:
            plain.produce(
                topic,
                b"",
                key,
                on_delivery=lambda _, message: placed.update({message.key(): message.partition()}),
            )
        plain.flush(20)

    await asyncio.to_thread(place)
    assert placed == {key: partition_for(key, PARTITIONS) for key in keys}
