"""Broadcast tables against the embedded broker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from streams.kafka.broadcast import BroadcastError, BroadcastReader, BroadcastRecord
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.producer import BatchProducer

pytestmark = pytest.mark.embedded

TOPICS = ("rules", "templates")


class Table:
    """What a worker would keep, and a way to wait for it."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.records: list[BroadcastRecord] = []
        self._changed = asyncio.Event()

    def apply(self, batch: list[BroadcastRecord]) -> None:
        assert batch
        self.records += batch
        for record in batch:
            if record.value is None:
                self.rows.pop((record.topic, record.key), None)
            else:
                self.rows[record.topic, record.key] = record.value
        self._changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not true():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(dict.fromkeys(TOPICS, 2)) as broker:
        yield broker


@pytest.fixture
async def producer(broker: EmbeddedBroker) -> AsyncIterator[BatchProducer]:
    producer = BatchProducer(broker.bootstrap, {}, partitions=lambda topic: 2)
    await producer.start()
    yield producer
    await producer.stop()


async def test_caught_up_means_everything_is_in_the_table_and_it_is_followed(
    broker: EmbeddedBroker, producer: BatchProducer
) -> None:
    await producer.send("rules", [(b"%d" % (n % 500), b"%d" % n) for n in range(9_000)])
    await producer.send("rules", [(b"7", None)])
    table = Table()
    reader = BroadcastReader(broker.bootstrap, {}, TOPICS, table.apply, confirm_every=0.1)
    assert reader.last_confirmed() == float("inf")
    await reader.start()
    await reader.caught_up(30)
    assert table.rows == {("rules", b"%d" % n): b"%d" % (8500 + n) for n in range(500) if n != 7}
    assert reader.last_confirmed() < 30
    for partition in (0, 1):
        offsets = [record.offset for record in table.records if record.partition == partition]
        assert offsets == list(range(len(offsets)))
    await producer.send("templates", [(b"t", b"1")])
    await table.until(lambda: ("templates", b"t") in table.rows)
    await reader.stop()
    await reader.stop()


async def test_empty_topics_are_caught_up(broker: EmbeddedBroker) -> None:
    reader = BroadcastReader(broker.bootstrap, {}, TOPICS, Table().apply)
    await reader.start()
    await reader.caught_up(30)
    await reader.stop()


async def test_the_age_grows_while_the_broker_is_silent_and_recovers(
    broker: EmbeddedBroker, producer: BatchProducer
) -> None:
    table = Table()
    reader = BroadcastReader(broker.bootstrap, {}, TOPICS, table.apply, confirm_every=0.05)
    await reader.start()
    await reader.caught_up(30)
    os.kill(broker.pid, signal.SIGSTOP)
    async with asyncio.timeout(30):
        while reader.last_confirmed() < 1.0:  # noqa: ASYNC110 - an age has no event
            await asyncio.sleep(0.05)
    os.kill(broker.pid, signal.SIGCONT)
    async with asyncio.timeout(30):
        while reader.last_confirmed() >= 1.0:  # noqa: ASYNC110 - an age has no event
            await asyncio.sleep(0.05)
    await producer.send("rules", [(b"r", b"1")])
    await table.until(lambda: ("rules", b"r") in table.rows)
    await reader.stop()


async def test_a_topic_that_is_missing_is_named(broker: EmbeddedBroker) -> None:
    reader = BroadcastReader(broker.bootstrap, {}, ("rules", "nowhere"), Table().apply)
    await reader.start()
    with pytest.raises(BroadcastError, match="there is no topic nowhere"):
        await reader.caught_up(1)
    await reader.stop()


async def test_a_broker_that_is_missing_is_told() -> None:
    reader = BroadcastReader("127.0.0.1:1", {}, TOPICS, Table().apply)
    await reader.start()
    with pytest.raises(BroadcastError, match="not read to the end"):
        await reader.caught_up(0.3)
    await reader.stop()


async def test_an_error_of_the_callback_ends_the_reader_loudly(
    broker: EmbeddedBroker, producer: BatchProducer
) -> None:
    await producer.send("rules", [(b"r", b"1")])

    def refuse(batch: list[BroadcastRecord]) -> None:
        raise ZeroDivisionError

    reader = BroadcastReader(broker.bootstrap, {}, TOPICS, refuse)
    await reader.start()
    with pytest.raises(BroadcastError, match="ZeroDivisionError"):
        await reader.caught_up(30)
    assert isinstance(reader.failure, ZeroDivisionError)
    assert reader.last_confirmed() == float("inf")
    await reader.stop()
