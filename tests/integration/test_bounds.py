"""A real worker in which something is slow: what it holds in memory has a bound, and nothing else waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.records import EntityKind, Trigger
from streams.clock import FileClock
from streams.domain.ids import entity_key
from streams.kafka.partitioner import partition_for
from streams.kafka.transport import BatchSettings
from tests.integration.test_health import LONG_AGO, hanging_worker
from tests.support.cluster import Cluster, Worker, embedded_cluster
from tests.support.shop import C, ann, change, facts, notification, shop

pytestmark = pytest.mark.embedded

IN_FLIGHT = 8
ORDERS = 3
"""Partitions of the orders that the embedded cluster has."""
AHEAD = (BatchSettings().max_in_flight + 1) * BatchSettings().max_records
COUNT = 2 * AHEAD
FEW = 300


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    path = tmp_path / "clock"
    FileClock(path, start=LONG_AGO)
    settings = {"sms_in_flight": str(IN_FLIGHT), "sms_timeout": "120000"}
    with embedded_cluster(tmp_path, settings, clock=path) as cluster:
        cluster.publish([*shop(), notification(Trigger.CREATED, id_="greet")])
        cluster.customers([ann()])
        yield cluster


def entities(partition: int, count: int) -> list[str]:
    names: list[str] = []
    number = 0
    while len(names) < count:
        number += 1
        if partition_for(entity_key(C, f"o{number}"), ORDERS) == partition:
            names.append(f"o{number}")
    return names


def order(cluster: Cluster, names: list[str]) -> None:
    cluster.changes(EntityKind.ORDER, [change(1, facts(), LONG_AGO, entity_id=name) for name in names])


def orders(worker: Worker) -> dict[int, Any]:
    found = worker.status()["partitions"].get("orders", {})
    return {int(number): at for number, at in found.items()}


def lags(worker: Worker) -> list[int]:
    return [at["lag"] for topic in worker.status()["partitions"].values() for at in topic.values()]


def test_a_partition_whose_work_hangs_is_fetched_no_further(cluster: Cluster, tmp_path: Path) -> None:
    cluster.own[1] = hanging_worker(tmp_path / "hooks")
    (worker,) = cluster.start()
    hanging = partition_for(entity_key(C, "HANG"), ORDERS)
    other = (hanging + 1) % ORDERS
    order(cluster, ["HANG", *entities(hanging, COUNT)])
    order(cluster, entities(other, FEW))
    cluster.until(lambda: orders(worker)[hanging]["in_work"] > 0, "the partition that hangs to be read")
    cluster.until(lambda: len(cluster.texts()) >= FEW, "what the other partition caused")
    cluster.until(
        lambda: orders(worker)[other]["lag"] == 0 and orders(worker)[hanging]["lag"] == COUNT + 1,
        "the other partition to be done with, and nothing of the one that hangs",
    )
    assert 0 < orders(worker)[hanging]["in_work"] <= AHEAD, "more was taken than may lie in memory"
    cluster.kill(worker)  # told to stop, it would wait for the batch


def test_a_provider_that_does_not_answer_holds_a_few_messages_and_no_record(cluster: Cluster) -> None:
    cluster.script_sms(behaviours=[{"fault": "hold", "times": 0}])
    (worker,) = cluster.start()
    order(cluster, entities(0, FEW))
    cluster.until(lambda: worker.status()["queued"] >= FEW - IN_FLIGHT, "the messages to be due")
    cluster.until(lambda: cluster.script_sms() == IN_FLIGHT, "the provider to have all that it may have")
    order(cluster, entities(1, FEW))
    cluster.until(lambda: worker.status()["queued"] >= 2 * FEW - IN_FLIGHT, "more records to be worked on")
    cluster.until(lambda: worker.status()["pending"] + IN_FLIGHT >= 2 * FEW, "all to be pending")
    cluster.until(lambda: not any(lags(worker)), "all records to be read although no text is answered")
    assert cluster.script_sms() == IN_FLIGHT
    cluster.script_sms(clear=True, release=True)
    cluster.finished(2 * FEW)
    cluster.check()
