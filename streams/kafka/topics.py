"""Every topic of Carillon as data, creating them, and checking that they are as they must be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, admin

from streams.domain.problems import Problem
from streams.kafka.admin import Admin
from streams.kafka.offsets import SILENT
from streams.settings import Settings

ENTITY_TOPICS = ("orders", "leads", "appointments")
INPUT_TOPICS = (*ENTITY_TOPICS, "customer-consents")
"""Belong to their publishers, who normally create them; any partition count."""

CHANGELOGS = ("timers-changelog", *(f"{name}-state" for name in ENTITY_TOPICS))
"""What the stores of partitions are caches of."""

REFERENCE_TOPICS = (
    "companies",
    "locations",
    "statuses",
    "templates",
    "rules",
    "mailboxes",
    "suppressions",
)
"""Broadcast tables: compacted, one partition."""

_ADMIN: Any = admin  # the library does not declare what this module re-exports

_HOUR = 3_600_000
_DAY = 24 * _HOUR

MAX_VALUE = 1_048_588
"""Bytes of the largest value that is taken from an input topic: Kafka's default ``max.message.bytes``."""
MAX_RECORD = 2 * 1024 * 1024
"""Of the largest record of our own topics: an input's value goes on within commands, state and dead letters,
with fields of ours around it."""

TOMBSTONES = 7 * _DAY
"""Milliseconds for which changelogs keep deletions readable."""

Cleanup = Literal["delete", "compact"]


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it should be. ``config`` has Kafka's own names and is what creation sets; ``same_as`` names
    the topic whose actual partition count this one must have."""

    name: str
    partitions: int
    cleanup: Cleanup
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)
    same_as: str = ""
    owned: bool = True
    """False: a publisher's topic, whose partition count and retention are not ours to judge."""


@dataclass(frozen=True, slots=True)
class CreateReport:
    """What ``create`` found and did, by topic name."""

    created: tuple[str, ...]
    existing: tuple[str, ...]


def topic_plan(settings: Settings) -> tuple[TopicPlan, ...]:
    """All topics for these settings (``partitions``, ``replication``, ``topic_prefix``), each one after
    those that it must be equal to."""
    prefix, count, copies = settings.topic_prefix, settings.partitions, settings.replication
    # With three copies a write survives the loss of one broker and still needs two to agree.
    safe = {"min.insync.replicas": str(min(2, copies))}
    roomy = {"max.message.bytes": str(MAX_RECORD)}

    def changelog(segment_hours: int = 6) -> dict[str, str]:
        return {
            **safe,
            **roomy,
            "cleanup.policy": "compact",
            # Restore must see both sides of a change of owners before one of them is compacted away.
            "min.compaction.lag.ms": str(_HOUR),
            # The broker's own time of each append, with which workers compare their clocks.
            "message.timestamp.type": "LogAppendTime",
            # A store that was last caught up more than half of this ago is rebuilt (it may miss tombstones).
            "delete.retention.ms": str(TOMBSTONES),
            # Only closed segments are compacted; the default closes one a week or a gigabyte.
            "segment.ms": str(segment_hours * _HOUR),
            "segment.bytes": str(128 * 1024 * 1024),
        }

    passing = {
        "cleanup.policy": "delete",
        # What was sent of a mailbox counts for a day; only closed segments are deleted.
        "retention.ms": str(25 * _HOUR),
        "segment.ms": str(_HOUR),
    }

    def input_(days: int) -> dict[str, str]:
        return {**safe, "cleanup.policy": "delete", "retention.ms": str(days * _DAY)}

    def stream(days: int) -> dict[str, str]:
        return input_(days) | roomy

    def plan(name: str, config: dict[str, str], partitions: int = count, same_as: str = "") -> TopicPlan:
        cleanup: Cleanup = "compact" if config["cleanup.policy"] == "compact" else "delete"
        equal = prefix + same_as if same_as else ""
        owned = name not in INPUT_TOPICS
        return TopicPlan(prefix + name, partitions, cleanup, copies, config, equal, owned)

    return (
        *(plan(name, input_(7)) for name in INPUT_TOPICS),
        *(plan(name, changelog(), 1) for name in REFERENCE_TOPICS),
        # What operators have stopped; and what waits on each worker, of which the last seconds count.
        plan("pauses", changelog(), 1),
        plan("backlogs", {**safe, **passing}, 1),
        # Commands must outlive any stay of the senders; two weeks are a long one.
        plan("timers", stream(14)),
        plan("timers-changelog", changelog(), same_as="timers"),
        plan("consents", changelog(), same_as="timers"),
        *(plan(f"{name}-state", changelog(), same_as=name) for name in ENTITY_TOPICS),
        # The feed of an entity is read from here: longer than the 35 days for which slots are remembered.
        plan("delivery-log", stream(400)),
        plan("dead-letters", stream(90)),
        # Keyed by customer, so that whoever owns a partition of the timers reads what came of its messages.
        plan("provider-events", stream(14), same_as="timers"),
        # Read whole by consoles alone; few records.
        plan("users", changelog(), 1),
        plan("audit", stream(3 * 366), 1),
    )


def partition_counts(plan: Sequence[TopicPlan]) -> dict[str, int]:
    """For the embedded broker, which creates topics when it starts."""
    return {topic.name: topic.partitions for topic in plan}


async def create(
    bootstrap: str, security: Mapping[str, str], plan: Sequence[TopicPlan], *, timeout: float = 30.0
) -> CreateReport:
    """Creates what is missing and leaves what exists as it is. Idempotent, also when two run at once.

    A topic with ``same_as`` gets the actual partition count of that topic. On a broker that can't create
    topics (the embedded one) a missing topic appears with that broker's own default count.
    Raises KafkaException when the brokers don't answer or refuse.
    """
    return await asyncio.to_thread(_create, bootstrap, security, plan, timeout)


async def check(
    bootstrap: str, security: Mapping[str, str], plan: Sequence[TopicPlan], *, timeout: float = 30.0
) -> list[Problem]:
    """What differs from the plan and makes it unsafe to run: missing topics, partition counts, cleanup
    policies, and compaction that is too eager. Empty: all is well. ``field`` is the topic's name.

    Raises KafkaException when the brokers don't answer.
    """
    return await asyncio.to_thread(_check, bootstrap, security, plan, timeout)


def _create(
    bootstrap: str, security: Mapping[str, str], plan: Sequence[TopicPlan], timeout: float
) -> CreateReport:
    client = _client(bootstrap, security)
    counts, controlled = _counts(client, timeout)
    missing = [topic for topic in plan if topic.name not in counts]
    if controlled:
        created = _create_missing(client, missing, counts, timeout)
    else:
        for topic in missing:  # asking for a topic by name makes this broker create it
            client.list_topics(topic.name, timeout=timeout)
        created = {topic.name for topic in missing}
    _await_visible(client, missing, timeout)
    return CreateReport(
        tuple(topic.name for topic in plan if topic.name in created),
        tuple(topic.name for topic in plan if topic.name not in created),
    )


def _create_missing(
    client: Any, missing: Sequence[TopicPlan], counts: Mapping[str, int], timeout: float
) -> set[str]:
    """One request for all. Returns the names of those that nobody else created in the meantime."""
    planned = {**{topic.name: topic.partitions for topic in missing}, **counts}
    new = [
        _ADMIN.NewTopic(
            topic.name,
            planned.get(topic.same_as, topic.partitions),
            topic.replication,
            config=dict(topic.config),
        )
        for topic in missing
    ]
    if not new:
        return set()
    created = set()
    answers = client.create_topics(new, operation_timeout=timeout, request_timeout=timeout)
    for name, answer in answers.items():
        try:
            answer.result(timeout)
            created.add(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return created


def _await_visible(client: Any, topics: Sequence[TopicPlan], timeout: float) -> None:
    """The controller answers before the brokers know: a producer would be told that there is no topic."""
    deadline = time.monotonic() + timeout
    wanted = {topic.name for topic in topics}
    while not wanted <= _counts(client, timeout)[0].keys():
        if time.monotonic() > deadline:
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, "new topics are not visible on the brokers")
            )
        time.sleep(0.05)


def _check(
    bootstrap: str, security: Mapping[str, str], plan: Sequence[TopicPlan], timeout: float
) -> list[Problem]:
    client = _client(bootstrap, security)
    counts, controlled = _counts(client, timeout)
    present = [topic for topic in plan if topic.name in counts]
    problems = [
        Problem(topic.name, "the topic does not exist: carillon topics create")
        for topic in plan
        if topic.name not in counts
    ]
    for topic in present:
        problems += _count_problems(topic, counts)
    if controlled:  # the embedded broker knows no topic settings
        configs = _configs(client, [topic.name for topic in present], timeout)
        for topic in present:
            problems += _config_problems(topic, configs[topic.name])
    return problems


def _count_problems(topic: TopicPlan, counts: Mapping[str, int]) -> list[Problem]:
    found = counts[topic.name]
    if topic.same_as:
        wanted = counts.get(topic.same_as, found)
        why = f"{topic.same_as} has {wanted}, and state must move together with its partition"
    else:
        wanted = topic.partitions if topic.owned else found
        why = f"the setting partitions says {wanted}, and keys would move to partitions without their state"
    if found == wanted:
        return []
    what = (
        f"it has {found} partitions, but {why}. Set partitions back to what the topics have; to change the "
        "count for good, use a new topic_prefix and publish or replay the inputs into it"
    )
    return [Problem(topic.name, what)]


def _config_problems(topic: TopicPlan, actual: Mapping[str, str]) -> list[Problem]:
    problems = []
    policy = actual.get("cleanup.policy", topic.cleanup)
    if topic.owned and policy != topic.cleanup:
        lost = (
            "state would be deleted by age"
            if topic.cleanup == "compact"
            else "records with the same key would be removed unread"
        )
        what = f"cleanup.policy is {policy}, must be {topic.cleanup}: {lost}"
        problems.append(Problem(topic.name, f"{what}. {_alter(topic, 'cleanup.policy')}"))
    for name in ("min.compaction.lag.ms", "delete.retention.ms", "retention.ms", "max.message.bytes"):
        wanted = topic.config.get(name)
        has = actual.get(name)
        if topic.owned and wanted is not None and has is not None and 0 <= int(has) < int(wanted):
            problems.append(
                Problem(topic.name, f"{name} is {has}, must be at least {wanted}. {_alter(topic, name)}")
            )
    return problems


def _alter(topic: TopicPlan, name: str) -> str:
    return (
        f"kafka-configs.sh --alter --entity-type topics --entity-name {topic.name} "
        f"--add-config {name}={topic.config[name]}"
    )


def _client(bootstrap: str, security: Mapping[str, str]) -> Any:
    return Admin({**security, "bootstrap.servers": bootstrap}, logger=SILENT)


def _counts(client: Any, timeout: float) -> tuple[dict[str, int], bool]:
    """Partition counts by topic, and whether the cluster has a controller, which creates topics and knows
    their settings. Without one librdkafka would wait for it until the time-out."""
    metadata = client.list_topics(timeout=timeout)
    counts = {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}
    return counts, metadata.controller_id in metadata.brokers


def _configs(client: Any, topics: Sequence[str], timeout: float) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    asked = [_ADMIN.ConfigResource(_ADMIN.ResourceType.TOPIC, name) for name in topics]
    answers = client.describe_configs(asked, request_timeout=timeout)
    return {
        resource.name: {name: entry.value for name, entry in answer.result(timeout).items()}
        for resource, answer in answers.items()
    }
