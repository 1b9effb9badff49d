"""Reading one partition to its end, against the embedded broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from streams.kafka.changelog import ChangelogError, PositionAheadOfLog, read_changelog
from streams.kafka.producer import BatchProducer
from streams.stages.fencing import LogRecord

pytestmark = pytest.mark.embedded


@pytest.fixture
async def producer(bootstrap: str) -> AsyncIterator[BatchProducer]:
    producer = BatchProducer(bootstrap, {}, partitions=lambda topic: 4)
    await producer.start()
    yield producer
    await producer.stop()


async def read(
    bootstrap: str, topic: str, start: int | None, partition: int = 1
) -> tuple[int, list[LogRecord]]:
    records: list[LogRecord] = []
    position = await read_changelog(bootstrap, {}, topic, partition, start, records.extend)
    return position, records


async def test_everything_from_the_beginning_in_order(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    rows = [(b"%d" % n, None if n % 10 == 0 else b"v" * 50) for n in range(20_000)]
    await producer.send(topic, rows, partition=1)
    seen: list[tuple[int, int]] = []
    records: list[LogRecord] = []
    position = await read_changelog(
        bootstrap, {}, topic, 1, None, records.extend, progress=lambda at, end: seen.append((at, end))
    )
    assert position == 20_000
    assert records == [(n, key, value, None) for n, (key, value) in enumerate(rows)]
    assert seen[-1] == (20_000, 20_000)
    assert seen == sorted(seen)


async def test_from_a_position_and_from_the_end(producer: BatchProducer, bootstrap: str, topic: str) -> None:
    await producer.send(topic, [(b"a", b"%d" % n) for n in range(10)], partition=1)
    assert await read(bootstrap, topic, 7) == (10, [(n, b"a", b"%d" % n, None) for n in (7, 8, 9)])
    assert await read(bootstrap, topic, 10) == (10, [])


async def test_an_empty_partition_is_read_at_once(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    await producer.send(topic, [(b"a", b"")], partition=2)
    assert await read(bootstrap, topic, None) == (0, [])
    assert await read(bootstrap, topic, 0) == (0, [])


async def test_a_position_beyond_the_end_is_told(producer: BatchProducer, bootstrap: str, topic: str) -> None:
    await producer.send(topic, [(b"a", b"")], partition=1)
    with pytest.raises(PositionAheadOfLog, match="position is 2, the log ends at 1"):
        await read(bootstrap, topic, 2)


async def test_an_error_of_the_callback_ends_the_read(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    await producer.send(topic, [(b"a", b"")] * 3, partition=1)

    def refuse(records: list[LogRecord]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await read_changelog(bootstrap, {}, topic, 1, None, refuse)


async def test_after_a_cancel_the_callback_does_not_run_any_more(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    await producer.send(topic, [(b"a", b"x" * 100)] * 12_000, partition=1)
    entered, go_on, finished = threading.Event(), threading.Event(), threading.Event()

    def slow(records: list[LogRecord]) -> None:
        assert not finished.is_set()
        entered.set()
        go_on.wait(20)

    task = asyncio.create_task(read_changelog(bootstrap, {}, topic, 1, None, slow))
    await asyncio.to_thread(entered.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()  # a batch is being worked on
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    finished.set()


async def test_many_partitions_at_the_same_time(producer: BatchProducer, bootstrap: str, topic: str) -> None:
    for partition in range(4):
        await producer.send(topic, [(b"k", b"%d" % partition)] * 100, partition=partition)
    found = await asyncio.gather(*(read(bootstrap, topic, None, partition) for partition in range(4)))
    assert [(position, {row[2] for row in rows}) for position, rows in found] == [
        (100, {b"%d" % partition}) for partition in range(4)
    ]


async def test_without_a_broker_it_says_so() -> None:
    with pytest.raises(ChangelogError, match="topic"):
        await read_changelog("127.0.0.1:1", {}, "topic", 0, None, lambda rows: None, stall_timeout=0.5)
