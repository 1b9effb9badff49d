"""What the three entity agents have in common."""

from __future__ import annotations

from typing import Any

from agents.host import Host, Place
from agents.quarantine import Quarantine
from streams.kafka.app import BatchApp, batch_topic
from streams.kafka.batches import RecordBatch, each_partition


def entity_agent(app: BatchApp, host: Host, quarantine: Quarantine, prefix: str, topic: str) -> None:
    """Registers the agent that hands each batch of ``topic`` to the partition's entity stage."""

    async def handle(batch: RecordBatch) -> None:
        await host.entities[Place(topic, batch.partition)].batch(batch)

    async def agent(stream: Any) -> None:
        await each_partition(stream, host.when_open(topic, quarantine.guarded(handle)))

    app.agent(batch_topic(app, prefix + topic), name=topic)(agent)
