"""The librdkafka side of the engine against a real Apache Kafka: what the embedded broker can't do
(creating topics, their settings, compaction, deletion) and what it does by other code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition, admin

from agents.hold import Ends
from agents.unread import Spot
from deploy.local_kafka import LocalKafka
from streams.kafka.broadcast import BroadcastReader, BroadcastRecord
from streams.kafka.changelog import PositionAheadOfLog, PositionGone, read_changelog
from streams.kafka.partitioner import partition_for
from streams.kafka.producer import BatchProducer, ProduceError
from streams.kafka.tail import Tail
from streams.kafka.topic_ids import TopicIds
from streams.kafka.topics import TopicPlan, check, create, topic_plan
from streams.settings import Settings
from streams.stages.fencing import LogRecord

pytestmark = pytest.mark.kafka

_numbers = count(1)
_admin: Any = admin


@pytest.fixture
async def producer(local_kafka: LocalKafka) -> AsyncIterator[BatchProducer]:
    producer = BatchProducer(local_kafka.bootstrap, {}, partitions=lambda topic: 2)
    await producer.start()
    yield producer
    await producer.stop()


async def new_topic(kafka: LocalKafka, *, partitions: int = 2, **config: str) -> str:
    name = f"topic-{next(_numbers)}"
    settings = {key.replace("_", "."): value for key, value in config.items()}
    cleanup = "compact" if settings.get("cleanup.policy") == "compact" else "delete"
    await create(kafka.bootstrap, {}, [TopicPlan(name, partitions, cleanup, 1, settings)])  # type: ignore[arg-type]  # one of the two
    return name


@pytest.fixture
def client(local_kafka: LocalKafka) -> Any:
    """Must live as long as its answers: without the client they never come."""
    return _admin.AdminClient({"bootstrap.servers": local_kafka.bootstrap})


async def answer(future: Any) -> Any:
    return await asyncio.to_thread(future.result, 30)


async def test_topics_are_created_as_planned_and_only_once(local_kafka: LocalKafka, client: Any) -> None:
    plan = topic_plan(Settings(partitions=3, topic_prefix="a."))
    missing = await check(local_kafka.bootstrap, {}, plan)
    assert [problem.field for problem in missing] == [topic.name for topic in plan]
    first = await create(local_kafka.bootstrap, {}, plan)
    assert list(first.created) == [topic.name for topic in plan]
    assert await check(local_kafka.bootstrap, {}, plan) == []
    second = await create(local_kafka.bootstrap, {}, plan)
    assert second.created == ()
    resource = _admin.ConfigResource(_admin.ResourceType.TOPIC, "a.timers-changelog")
    config = await answer(client.describe_configs([resource])[resource])
    assert config["cleanup.policy"].value == "compact"
    assert config["min.compaction.lag.ms"].value == "3600000"


async def test_state_topics_follow_the_publishers_partition_count(
    local_kafka: LocalKafka, client: Any
) -> None:
    plan = topic_plan(Settings(partitions=3, topic_prefix="b."))
    await create(local_kafka.bootstrap, {}, [TopicPlan("b.orders", 5, "delete", 1)])
    await create(local_kafka.bootstrap, {}, plan)
    assert await check(local_kafka.bootstrap, {}, plan) == []
    assert len(client.list_topics(timeout=30).topics["b.orders-state"].partitions) == 5


async def test_a_wrong_policy_and_too_eager_compaction_are_found(local_kafka: LocalKafka) -> None:
    plan = topic_plan(Settings(partitions=1, topic_prefix="c."))
    wrong = {"cleanup.policy": "compact,delete", "min.compaction.lag.ms": "0"}
    await create(local_kafka.bootstrap, {}, [TopicPlan("c.consents", 1, "compact", 1, wrong)])
    await create(local_kafka.bootstrap, {}, plan)
    problems = [str(problem) for problem in await check(local_kafka.bootstrap, {}, plan)]
    assert len(problems) == 4, problems
    assert (
        "c.consents: cleanup.policy is compact,delete, must be compact" in problems[0]
        or "delete,compact" in problems[0]
    )
    assert "--add-config min.compaction.lag.ms=3600000" in problems[1]
    assert "delete.retention.ms is 86400000, must be at least 604800000" in problems[2]
    assert "--add-config max.message.bytes=2097152" in problems[3]


async def test_a_missing_topic_is_a_permanent_failure(producer: BatchProducer) -> None:
    with pytest.raises(ProduceError) as caught:
        await producer.send("nowhere", [(b"a", b"1")], partition=0)
    assert not caught.value.retriable


async def test_a_compacted_changelog_is_read_over_its_gaps(
    local_kafka: LocalKafka, producer: BatchProducer
) -> None:
    topic = await new_topic(
        local_kafka,
        cleanup_policy="compact",
        min_compaction_lag_ms="0",
        min_cleanable_dirty_ratio="0.01",
        segment_ms="50",
        delete_retention_ms="0",
    )
    bootstrap = local_kafka.bootstrap
    rows: dict[bytes, bytes | None] = {}
    written = 0
    records: list[LogRecord] = []
    deadline = time.monotonic() + 60
    while not written or len(records) > written / 2:  # until the cleaner has been there
        assert time.monotonic() < deadline, "the cleaner removed nothing"
        batch: list[tuple[bytes, bytes | None]] = [
            (b"%d" % (n % 10), b"%d" % (written + n)) for n in range(500)
        ]
        batch.append((b"3", None))
        await producer.send(topic, batch, partition=1)
        rows.update(batch)
        written += len(batch)
        records = []
        position = await read_changelog(bootstrap, {}, topic, 1, None, records.extend)
        assert position == written
        offsets = [offset for offset, _, _, _ in records]
        assert offsets == sorted(set(offsets))
    found: dict[bytes, bytes | None] = {}
    for _, key, value, _ in records:
        found[key] = value
    assert {key: value for key, value in found.items() if value is not None} == {
        key: value for key, value in rows.items() if value is not None
    }
    with pytest.raises(PositionAheadOfLog):
        await read_changelog(bootstrap, {}, topic, 1, written + 1, records.extend)


async def test_a_position_whose_records_were_deleted_is_told(
    local_kafka: LocalKafka, client: Any, producer: BatchProducer
) -> None:
    topic = await new_topic(local_kafka)
    await producer.send(topic, [(b"a", b"%d" % n) for n in range(10)], partition=0)
    place = TopicPartition(topic, 0, 6)
    await answer(client.delete_records([place])[place])
    with pytest.raises(PositionGone, match="position is 2, the log begins at 6"):
        await read_changelog(local_kafka.bootstrap, {}, topic, 0, 2, lambda rows: None)
    records: list[LogRecord] = []
    assert await read_changelog(local_kafka.bootstrap, {}, topic, 0, None, records.extend) == 10
    assert [offset for offset, _, _, _ in records] == [6, 7, 8, 9]


async def test_partitions_whose_records_have_all_expired_hold_none(
    local_kafka: LocalKafka, client: Any, producer: BatchProducer
) -> None:
    """Nobody reads them any more, so nobody commits: a hold that waited for it would wait in vain."""
    topic = await new_topic(local_kafka)
    for partition in (0, 1):
        await producer.send(topic, [(b"a", b"1")] * 3, partition=partition)
    place = TopicPartition(topic, 1, 3)
    await answer(client.delete_records([place])[place])
    ends = Ends(local_kafka.bootstrap, {})
    assert await ends.of([topic]) == {Spot(topic, 0): 3, Spot(topic, 1): 3}
    assert await ends.held([topic]) == {Spot(topic, 0): 3}


@pytest.mark.parametrize("ahead", [0, 3_600_000, -3_600_000])
async def test_a_clock_is_compared_with_the_brokers(local_kafka: LocalKafka, ahead: int) -> None:
    """Topics that bear the time of the append tell how far off our own clock is; others don't."""
    told, silent = (
        await new_topic(local_kafka, message_timestamp_type="LogAppendTime"),
        await new_topic(local_kafka),
    )

    def now() -> int:
        return time.time_ns() // 1_000_000 + ahead

    producer = BatchProducer(local_kafka.bootstrap, {}, partitions=lambda topic: 3, now=now)
    await producer.start()
    try:
        await producer.send(silent, [(b"a", b"1")], partition=0)
        assert producer.disagreement == 0
        await producer.send(told, [(b"a", b"1"), (b"a", b"2")], partition=0)
        assert abs(producer.disagreement - abs(ahead)) < 60_000
    finally:
        await producer.stop()


async def test_topics_have_ids(local_kafka: LocalKafka) -> None:
    topic, other = await new_topic(local_kafka), await new_topic(local_kafka)
    ids = TopicIds(local_kafka.bootstrap, {}, [topic, other])
    found = {await ids.of(topic), await ids.of(other)}
    assert len(found) == 2, "each its own"
    assert "" not in found
    assert await ids.of("another") == ""


class Table:
    def __init__(self) -> None:
        self.rows: dict[bytes, bytes | None] = {}
        self._changed = asyncio.Event()

    def apply(self, batch: list[BroadcastRecord]) -> None:
        self.rows.update((record.key, record.value) for record in batch)
        self._changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                self._changed.clear()
                await self._changed.wait()


async def test_producer_and_broadcast_survive_a_killed_broker(
    local_kafka: LocalKafka, producer: BatchProducer
) -> None:
    topic = await new_topic(local_kafka)
    table = Table()
    reader = BroadcastReader(local_kafka.bootstrap, {}, [topic], table.apply, confirm_every=0.2)
    sent = await producer.send(topic, [(b"%d" % n, b"before") for n in range(50)])
    assert sent.last_offsets.keys() == {partition_for(b"%d" % n, 2) for n in range(50)}
    await reader.start()
    await reader.caught_up(30)
    assert set(table.rows.values()) == {b"before"}
    local_kafka.nodes[0].kill()
    under_way = asyncio.create_task(producer.send(topic, [(b"%d" % n, b"after") for n in range(50)]))
    await asyncio.to_thread(local_kafka.restart, 1)
    await under_way
    await table.until(lambda: set(table.rows.values()) == {b"after"})
    async with asyncio.timeout(30):
        while reader.last_confirmed() > 1:  # noqa: ASYNC110 - an age has no event
            await asyncio.sleep(0.05)
    await reader.stop()


async def test_a_topic_made_anew_is_read_from_its_beginning(
    local_kafka: LocalKafka, client: Any, producer: BatchProducer
) -> None:
    topic = await new_topic(local_kafka, partitions=1)
    table = Table()
    await producer.send(topic, [(b"%d" % n, b"old") for n in range(20)], partition=0)
    reader = BroadcastReader(local_kafka.bootstrap, {}, [topic], table.apply, confirm_every=0.2)
    await reader.start()
    await reader.caught_up(30)
    await answer(client.delete_topics([topic], operation_timeout=30)[topic])
    await create(local_kafka.bootstrap, {}, [TopicPlan(topic, 1, "delete", 1)])
    fresh = BatchProducer(local_kafka.bootstrap, {}, partitions=lambda topic: 1)
    await fresh.start()
    await fresh.send(topic, [(b"%d" % n, b"new") for n in range(3)], partition=0)
    await table.until(lambda: [table.rows[b"%d" % n] for n in range(3)] == [b"new"] * 3)
    await fresh.stop()
    await reader.stop()


async def test_a_topic_is_read_from_a_moment_on_and_past_what_was_deleted(
    local_kafka: LocalKafka, client: Any
) -> None:
    """Partition 0 has old and new records, 1 only old ones, 2 none any more, 3 has lost its first."""
    topic = await new_topic(local_kafka, partitions=4)
    writer: Any = Producer({"bootstrap.servers": local_kafka.bootstrap})
    now = time.time_ns() // 1_000_000
    for partition, age in ((0, 60_000), (0, 0), (1, 60_000), (2, 60_000), (3, 60_000), (3, 0)):
        writer.produce(topic, f"{partition} {age}", partition=partition, timestamp=now - age)
    assert writer.flush(30) == 0
    gone = client.delete_records([TopicPartition(topic, 2, 1), TopicPartition(topic, 3, 1)])
    for deleted in gone.values():
        await answer(deleted)

    def read(since: int | None) -> list[bytes]:
        tail = Tail(local_kafka.bootstrap, {}, topic, since=since)
        try:
            return sorted(record.value for record in tail.to_end(stall=30))
        finally:
            tail.close()

    assert await asyncio.to_thread(read, None) == [b"0 0", b"0 60000", b"1 60000", b"3 0"]
    assert await asyncio.to_thread(read, now - 1_000) == [b"0 0", b"3 0"]
    assert await asyncio.to_thread(read, now + 60_000) == []
