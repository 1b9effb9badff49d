"""What an orchestrator sees of a real worker: it restarts one whose work hangs, not one that waits."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.records import EntityKind, Trigger
from streams.clock import FileClock
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import partition_counts, topic_plan
from streams.settings import Settings
from tests.support.cluster import Cluster, Worker
from tests.support.shop import C, ann, change, facts, notification, shop

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[2]
LIMIT = 4.0
"""Seconds without a move: more than a busy machine keeps a thread waiting."""
LONG_AGO = 1_750_000_000_000
HANGING = """
import asyncio
import agents.entity_partition as module

handle = module.EntityPartition.batch

async def batch(self, batch):
    if any(b"HANG" in (record.key or b"") for record in batch.records):
        await asyncio.Event().wait()
    await handle(self, batch)

module.EntityPartition.batch = batch
"""
"""Python runs it as ``sitecustomize`` when the worker starts: a handler that waits for ever at one record."""


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(partition_counts(topic_plan(Settings(partitions=2)))) as broker:
        yield broker


@pytest.fixture
def cluster(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Cluster]:
    settings = {"partitions": "2", "session_timeout": "2000", "stuck_after": str(int(LIMIT * 1000))}
    path = tmp_path / "clock"  # nothing here waits for a moment
    FileClock(path, start=LONG_AGO)
    cluster = Cluster(broker.bootstrap, tmp_path, settings, clock=path)
    try:
        cluster.start_fakes()
        cluster.publish([*shop(), notification(Trigger.CREATED, id_="greet")])
        cluster.customers([ann()])
        yield cluster
    finally:
        cluster.stop()


def hanging_worker(folder: Path) -> dict[str, str]:
    """The environment of a worker whose handler of orders waits for ever at a key with HANG."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANGING)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def asked(worker: Worker, path: str) -> tuple[int, dict[str, Any]]:
    code, body = worker.get(path)
    return code, json.loads(body)


def orders(cluster: Cluster, *entities: str) -> None:
    cluster.changes(EntityKind.ORDER, [change(1, facts(), LONG_AGO, entity_id=name) for name in entities])


def test_a_handler_that_hangs_is_found_and_named_and_nothing_else(cluster: Cluster, tmp_path: Path) -> None:
    cluster.own[1] = hanging_worker(tmp_path / "hooks")
    (worker,) = cluster.start()
    orders(cluster, "fine")
    cluster.finished(1)
    assert asked(worker, "/live") == (200, {"live": True, "reasons": []})
    assert asked(worker, "/ready")[0] == asked(worker, "/health")[0] == 200

    orders(cluster, "HANG")
    cluster.until(lambda: asked(worker, "/live")[0] == 503, "the hanging partition to be found")
    code, answer = asked(worker, "/live")
    assert (code, answer["live"]) == (503, False)
    (stuck,) = [entry for entry in asked(worker, "/status")[1]["stuck"] if entry["seconds"] >= LIMIT]
    assert stuck["what"].startswith("orders[")
    assert answer["reasons"][0].startswith(f"{stuck['what']} has stood at ")
    metrics = worker.get("/metrics")[1]
    assert "carillon_live 0.0" in metrics
    assert "carillon_stuck 1.0" in metrics

    cluster.own.clear()
    cluster.kill(worker)  # what the orchestrator does
    (worker,) = cluster.start()
    cluster.finished(2)
    assert asked(worker, "/live")[0] == 200


def test_brokers_that_are_away_are_no_reason_to_restart(broker: EmbeddedBroker, cluster: Cluster) -> None:
    (worker,) = cluster.start()
    orders(cluster, "first")
    cluster.finished(1)
    orders(cluster, *(f"o{number}" for number in range(1000)))
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        cluster.until(lambda: asked(worker, "/ready")[0] == 503, "the worker to say that it is not ready")
        reasons = asked(worker, "/ready")[1]["reasons"]
        assert reasons == ["the group has not confirmed this worker for too long"]
        end = time.monotonic() + 2 * LIMIT
        while time.monotonic() < end:
            assert asked(worker, "/live") == (200, {"live": True, "reasons": []})
            time.sleep(0.2)
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    cluster.until(lambda: asked(worker, "/ready")[0] == 200, "the worker to be ready again")
    cluster.finished(1001)
    assert asked(worker, "/live")[0] == 200
    texts = [record for record in cluster.log if record.company == C and record.state == "sent"]
    assert len({record.delivery_id for record in texts}) == len(texts)
