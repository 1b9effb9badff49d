"""The release before and this one side by side in one group, forth and back, under load. They differ in their
contracts too, so this is with a schema registry: without one, all programs must be of one release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from deploy.local_registry import LocalRegistry
from tests.support.cluster import Worker
from tests.support.faults import Load, NewLoad, loads
from tests.support.releases import unpack

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

OLD, NEW = "old", "new"
STEPS = [(1, NEW), (2, NEW), (2, OLD), (1, OLD)]
"""From two old ones by way of two new ones back to two old ones; each finds the data of the other release."""


@pytest.fixture
def new_load(tmp_path: Path) -> Iterator[NewLoad]:
    with loads(tmp_path) as new:
        yield new


@pytest.fixture
def registry() -> Iterator[LocalRegistry]:
    with LocalRegistry() as registry:
        yield registry


def test_an_update_goes_forth_and_back(
    local_kafka: LocalKafka, registry: LocalRegistry, new_load: NewLoad, tmp_path: Path
) -> None:
    load = new_load(local_kafka.bootstrap, {"registry": registry.url})
    cluster = load.cluster
    old = unpack(tmp_path / "old")
    cluster.own = {1: old, 2: old}
    workers = {worker.number: worker for worker in cluster.start(1, 2)}
    assert [release(worker) for worker in workers.values()] == [OLD, OLD]
    load.start(4)
    load.goes_on()
    for number, wanted in STEPS:
        assert cluster.terminate(workers[number]) == 0, cluster.output(workers[number])
        cluster.own[number] = old if wanted == OLD else {}
        [workers[number]] = cluster.start(number)
        assert release(workers[number]) == wanted
        at_work(load, workers[number])
        load.goes_on()
    row = load.finish("rolling update: old, old and new, new, and back", *workers.values(), members=2)
    # Nobody was killed: nothing may have been left to ask about.
    assert (row.closed, row.resent) == (0, 0)


def release(worker: Worker) -> str:
    """The old one has no page of this name."""
    return OLD if worker.get("/ready")[0] == 404 else NEW


def at_work(load: Load, worker: Worker) -> None:
    """Waits until it has its share, so that the next step takes something over from it."""
    topic = load.cluster.prefix + "timers"

    def shared() -> bool:
        try:
            return len(worker.status()["positions"].get(topic, {})) == 2
        except (OSError, ValueError):
            return False

    load.cluster.until(shared, f"{worker.name} to have half of the partitions")
