"""A worker put together as ``carillon worker`` does it, without the consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.host import Place
from agents.worker import Worker
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import partition_counts, topic_plan
from streams.settings import Settings

pytestmark = pytest.mark.embedded

TIMERS = [Place("timers", 0), Place("consents", 0)]


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    plan = topic_plan(Settings(partitions=1))
    async with EmbeddedBroker(partition_counts(plan)) as broker:
        settings = Settings(broker=broker.bootstrap, partitions=1, data=tmp_path, web_port=0, hold=0)
        worker = Worker(settings)
        await worker.start()
        await worker._tables.caught_up(60)
        yield worker
        await worker.stop()


async def test_a_worker_with_a_dead_partition_is_not_ready(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing moves in it, so it would look as if all were done."""
    # Partitions are opened once a group has confirmed the worker, and here is none.
    monkeypatch.setattr(worker.app, "membership_age", lambda: 0.0)
    await worker._host.resume(TIMERS)
    assert not [reason for reason in worker.status()["not_ready"] if "died" in reason]
    part = worker._host.timers[0]
    part._state.store.close()
    part._wake.set()
    async with asyncio.timeout(60):
        while part.failure is None:  # noqa: ASYNC110 - the end of the task has no event
            await asyncio.sleep(0)
    status = worker.status()
    assert not status["ready"]
    assert [reason for reason in status["not_ready"] if "died" in reason]
