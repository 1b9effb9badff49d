"""Reading one partition to its end, against the embedded broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from streams.kafka.changelog import ChangelogError, ChangelogReader, PositionAheadOfLog, read_changelog
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


async def test_one_reader_reads_many_and_what_ends_one_ends_no_other(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    for partition in range(3):
        await producer.send(topic, [(b"k", b"%d" % n) for n in range(6_000)], partition=partition)
    reader = ChangelogReader(bootstrap, {})
    found: dict[int, list[LogRecord]] = {0: [], 1: [], 3: []}
    threads: set[str] = set()

    def refuse(records: list[LogRecord]) -> None:
        threads.add(threading.current_thread().name)
        raise ZeroDivisionError

    outcomes = await asyncio.gather(
        reader.read(topic, 0, None, found[0].extend),
        reader.read(topic, 1, 5_000, found[1].extend),
        reader.read(topic, 2, None, refuse),
        reader.read(topic, 2, 6_001, refuse),
        reader.read(topic, 3, None, found[3].extend),
        reader.read(f"{topic}-unknown", 0, None, refuse),
        return_exceptions=True,
    )
    assert {place: outcomes[place] for place in (0, 1)} == {0: 6_000, 1: 6_000}
    assert [type(outcome) for outcome in outcomes[2:4]] == [ZeroDivisionError, PositionAheadOfLog]
    assert outcomes[4] == 0
    assert isinstance(
        outcomes[5], ChangelogError | int
    )  # the embedded broker makes a topic that is asked for
    assert {number: [row[0] for row in rows] for number, rows in found.items()} == {
        0: list(range(6_000)),
        1: list(range(5_000, 6_000)),
        3: [],
    }
    assert threads == {"restore"}
    again: list[LogRecord] = []
    assert await reader.read(topic, 2, None, again.extend) == 6_000
    assert [row[0] for row in again] == list(range(6_000))


async def test_a_reader_that_is_not_asked_lets_go_and_comes_back(
    producer: BatchProducer, bootstrap: str, topic: str
) -> None:
    await producer.send(topic, [(b"k", b"v")], partition=1)
    reader = ChangelogReader(bootstrap, {}, idle=0.0)
    for _ in range(3):
        threads = await _threads_that_read(reader, topic)
        await asyncio.to_thread(threads[0].join, 60)
        assert not threads[0].is_alive()


async def _threads_that_read(reader: ChangelogReader, topic: str) -> list[threading.Thread]:
    seen: list[threading.Thread] = []
    assert await reader.read(topic, 1, None, lambda _: seen.append(threading.current_thread())) == 1
    return seen


async def test_without_a_broker_it_says_so() -> None:
    with pytest.raises(ChangelogError, match="topic"):
        await read_changelog("127.0.0.1:1", {}, "topic", 0, None, lambda rows: None, stall_timeout=0.5)
