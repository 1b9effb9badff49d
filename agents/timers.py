"""The sender agents: timer commands and consents to the partition that holds the customer's messages."""

from __future__ import annotations

from typing import Any

from agents.host import Host
from agents.quarantine import Quarantine
from streams.kafka.app import BatchApp, batch_topic
from streams.kafka.batches import RecordBatch, each_partition


def register(app: BatchApp, host: Host, quarantine: Quarantine, prefix: str) -> None:
    async def command(batch: RecordBatch) -> None:
        await host.timers[batch.partition].timers(batch)

    async def consent(batch: RecordBatch) -> None:
        await host.timers[batch.partition].consents(batch)

    async def timers(stream: Any) -> None:
        await each_partition(stream, quarantine.guarded(command))

    async def consents(stream: Any) -> None:
        await each_partition(stream, quarantine.guarded(consent))

    app.agent(batch_topic(app, prefix + "timers"), name="timers")(timers)
    app.agent(batch_topic(app, prefix + "consents"), name="consents")(consents)
