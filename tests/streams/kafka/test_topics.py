"""The plan of the topics as data, and against the embedded broker (which has neither CreateTopics nor
settings); tests/integration/test_local_kafka.py does the same against a real one."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException

from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import ENTITY_TOPICS, check, create, partition_counts, topic_plan
from streams.settings import Settings

HOUR = 3_600_000


def test_each_topic_is_there_once_after_what_it_must_be_equal_to() -> None:
    plan = topic_plan(Settings(partitions=12, topic_prefix="shop."))
    names = [topic.name for topic in plan]
    assert len(set(names)) == len(names)
    assert all(name.startswith("shop.") for name in names)
    for topic in plan:
        if topic.same_as:
            assert names.index(topic.same_as) < names.index(topic.name)
    counts = partition_counts(plan)
    assert counts["shop.timers"] == counts["shop.consents"] == counts["shop.timers-changelog"] == 12
    assert counts["shop.rules"] == 1


def test_what_is_state_is_compacted_and_what_is_a_stream_is_not() -> None:
    plan = {topic.name: topic for topic in topic_plan(Settings())}
    for name in ("timers-changelog", "consents", *(f"{entity}-state" for entity in ENTITY_TOPICS), "rules"):
        assert plan[name].cleanup == "compact"
        assert int(plan[name].config["min.compaction.lag.ms"]) >= HOUR
        assert int(plan[name].config["delete.retention.ms"]) >= 7 * 24 * HOUR
    for name in ("timers", "delivery-log", "dead-letters", "provider-events", "orders"):
        assert plan[name].cleanup == "delete"


def test_three_copies_need_two_to_agree() -> None:
    assert {topic.config["min.insync.replicas"] for topic in topic_plan(Settings(replication=3))} == {"2"}
    assert {topic.config["min.insync.replicas"] for topic in topic_plan(Settings(replication=1))} == {"1"}


@pytest.mark.embedded
async def test_the_embedded_broker_is_given_the_plan_and_passes_the_check() -> None:
    plan = topic_plan(Settings(partitions=3))
    async with EmbeddedBroker(partition_counts(plan)) as broker:
        assert await check(broker.bootstrap, {}, plan) == []
        report = await create(broker.bootstrap, {}, plan)
        assert report.created == ()
        assert len(report.existing) == len(plan)


@pytest.mark.embedded
async def test_what_is_missing_and_what_differs_is_named_with_what_to_do() -> None:
    plan = topic_plan(Settings(partitions=3))
    counts = partition_counts(plan)
    counts |= {"orders": 5, "timers": 2}
    del counts["dead-letters"]
    async with EmbeddedBroker(counts) as broker:
        problems = {problem.field: problem.message for problem in await check(broker.bootstrap, {}, plan)}
        assert "carillon topics create" in problems["dead-letters"]
        assert "it has 2 partitions" in problems["timers"]
        assert "setting partitions says 3" in problems["timers"]
        assert "timers has 2" in problems["consents"]
        assert "orders has 5" in problems["orders-state"]
        assert "orders" not in problems  # the publisher's own count
        beside = {"consents", "timers-changelog", "provider-events"}
        assert problems.keys() == {"dead-letters", "timers", "orders-state"} | beside
        report = await create(broker.bootstrap, {}, plan)
        assert report.created == ("dead-letters",)
        assert "dead-letters" not in {
            problem.field for problem in await check(broker.bootstrap, {}, plan[:1])
        }


async def test_without_a_broker_it_raises() -> None:
    with pytest.raises(KafkaException):
        await check("127.0.0.1:1", {}, topic_plan(Settings()), timeout=0.3)
