"""The sender agents: timer commands, consents and what providers report, to the partition that holds the
customer's messages."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.host import Host
from agents.quarantine import Quarantine
from streams.kafka.app import BatchApp, batch_topic
from streams.kafka.batches import RecordBatch, each_partition

_LOOK = 0.2
"""Seconds."""


def register(app: BatchApp, host: Host, quarantine: Quarantine, prefix: str) -> None:
    async def command(batch: RecordBatch) -> None:
        await host.timers[batch.partition].timers(batch)

    async def consent(batch: RecordBatch) -> None:
        await host.timers[batch.partition].consents(batch)

    async def event(batch: RecordBatch) -> None:
        # An earlier release in the group does not read this topic: until the last of them is gone its
        # partitions may come without those of the timers, and wait for the next assignment.
        while batch.live and batch.partition not in host.timers:  # noqa: ASYNC110 - nobody would set the event
            await asyncio.sleep(_LOOK)
        if batch.live:
            await host.timers[batch.partition].events(batch)

    async def timers(stream: Any) -> None:
        careful = host.gate.timely(quarantine.guarded(command))
        await each_partition(stream, host.when_open("timers", careful))

    async def consents(stream: Any) -> None:
        await each_partition(stream, host.when_open("timers", quarantine.guarded(consent)))

    async def events(stream: Any) -> None:
        await each_partition(stream, host.when_open("timers", quarantine.guarded(event)))

    app.agent(batch_topic(app, prefix + "timers"), name="timers")(timers)
    app.agent(batch_topic(app, prefix + "consents"), name="consents")(consents)
    app.agent(batch_topic(app, prefix + "provider-events"), name="provider-events")(events)
