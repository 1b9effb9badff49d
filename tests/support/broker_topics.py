"""What an administrator can do to topics while workers run: delete them, make them anew, change settings."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import admin

from streams.kafka.changelog import read_changelog
from streams.kafka.offsets import SILENT
from streams.kafka.topics import create, topic_plan
from streams.settings import Settings
from streams.stages.fencing import LogRecord
from tests.support.cluster import PARTITIONS, Cluster

_admin: Any = admin  # the library does not declare what this module re-exports
_WAIT = 30

EAGER = {
    "min.compaction.lag.ms": "0",
    "delete.retention.ms": "0",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "50",
}
"""Settings of a compacted topic under which days pass in a second (with an eager cleaner,
``tests.support.local_kafka.PROPERTIES``)."""


class Topics:
    """The topics of one cluster, by their names without its prefix."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._client = _admin.AdminClient({"bootstrap.servers": cluster.bootstrap}, logger=SILENT)

    def delete(self, *names: str) -> None:
        """Returns when the brokers don't know them any more."""
        full = {self._cluster.prefix + name for name in names}
        for answer in self._client.delete_topics(list(full), operation_timeout=_WAIT).values():
            answer.result(_WAIT)
        self._cluster.until(
            lambda: not full & self._client.list_topics(timeout=_WAIT).topics.keys(), f"{full} to be gone"
        )

    def create(self, *names: str) -> None:
        """As ``carillon topics create`` would."""
        wanted = {self._cluster.prefix + name for name in names}
        plan = [topic for name, topic in self._plan().items() if name in wanted]
        made = asyncio.run(create(self._cluster.bootstrap, {}, plan))
        assert set(made.created) == wanted

    def create_with(self, name: str, partitions: int) -> None:
        """As planned, but for the number of partitions."""
        plan = self._plan()[self._cluster.prefix + name]
        new = _admin.NewTopic(plan.name, partitions, 1, config=dict(plan.config))
        for answer in self._client.create_topics([new], operation_timeout=_WAIT).values():
            answer.result(_WAIT)
        self._cluster.until(
            lambda: plan.name in self._client.list_topics(timeout=_WAIT).topics, f"{plan.name} to be there"
        )

    def missing(self) -> list[str]:
        there = self._client.list_topics(timeout=_WAIT).topics
        return [name.removeprefix(self._cluster.prefix) for name in self._plan() if name not in there]

    def hurry(self, name: str) -> None:
        """``EAGER`` until ``calm``."""
        self.alter(name, EAGER)

    def calm(self, name: str) -> None:
        """The planned settings again; the ratio has none, and may stay."""
        planned = self._plan()[self._cluster.prefix + name].config
        self.alter(name, {key: planned[key] for key in EAGER if key in planned})

    def records(self, name: str, partition: int) -> list[LogRecord]:
        """What is left in the partition."""
        found: list[LogRecord] = []
        topic = self._cluster.prefix + name
        asyncio.run(read_changelog(self._cluster.bootstrap, {}, topic, partition, None, found.extend))
        return found

    def _plan(self) -> dict[str, Any]:
        settings = Settings(
            partitions=int(self._cluster.settings.get("partitions", PARTITIONS)),
            topic_prefix=self._cluster.prefix,
        )
        return {topic.name: topic for topic in topic_plan(settings)}

    def alter(self, name: str, config: Mapping[str, str]) -> None:
        """Sets these settings, leaves the others as they are."""
        set_ = _admin.AlterConfigOpType.SET
        entries: Sequence[Any] = [
            _admin.ConfigEntry(key, value, incremental_operation=set_) for key, value in config.items()
        ]
        topic = self._cluster.prefix + name
        resource = _admin.ConfigResource(_admin.ResourceType.TOPIC, topic, incremental_configs=entries)
        for answer in self._client.incremental_alter_configs([resource]).values():
            answer.result(_WAIT)
