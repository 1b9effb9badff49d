"""Two workers under load on three brokers, of which two must have each record (min.insync.replicas 2): one is
killed, all are restarted one after another, all at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from deploy.local_kafka.node import Node
from tests.support.faults import Load, NewLoad, loads
from tests.support.local_kafka import PROPERTIES, need_kafka

# Nine starts of a broker: seconds each on a quiet machine, a minute each on a busy one.
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = {"replication": "3"}


@pytest.fixture(scope="module")
def three() -> Iterator[LocalKafka]:
    need_kafka()
    with LocalKafka(nodes=3, properties=PROPERTIES) as kafka:
        yield kafka


@pytest.fixture
def load(three: LocalKafka, tmp_path: Path) -> Iterator[Load]:
    """Two workers, texts on their way. One that gives up is started again, as an orchestrator would."""
    with loads(tmp_path) as new:
        load = under_way(new, three)
        yield load


def under_way(new: NewLoad, kafka: LocalKafka) -> Load:
    load = new(kafka.bootstrap, SETTINGS)
    load.cluster.start(1, 2)
    load.cluster.patience = 180.0
    load.start(4)
    load.goes_on(10)
    load.cluster.supervise()
    return load


def test_a_node_is_killed_and_comes_back(three: LocalKafka, load: Load) -> None:
    """Its partitions go to the two others, and everything goes on without it."""
    three.nodes[0].kill()
    load.goes_on(20)
    three.restart(1, timeout=120.0)
    load.goes_on(20)
    load.finish("one of three brokers killed and restarted", members=2)


def test_all_nodes_are_restarted_one_after_another(three: LocalKafka, load: Load) -> None:
    """A rolling restart: the next one when everything goes on with the last one back."""
    for node in three.nodes:
        node.stop()
        load.goes_on(5)
        three.restart(node.address.number, timeout=120.0)
        load.goes_on(5)
    load.finish("three brokers restarted one after another", members=2)


def test_all_nodes_are_away_at_once(three: LocalKafka, load: Load) -> None:
    """Stopped and started; then killed and started."""
    for end in (_stop, Node.kill):
        with ThreadPoolExecutor(len(three.nodes)) as threads:
            list(threads.map(end, three.nodes))
            for node in three.nodes:
                node.launch()
            list(threads.map(_wait, three.nodes))
        load.goes_on(20)
    load.finish("all three brokers stopped, and killed, at once", members=2)


def _stop(node: Node) -> None:
    node.stop(timeout=5.0)  # the last one has no quorum left to take leave of


def _wait(node: Node) -> None:
    node.wait_ready(time.monotonic() + 120.0)
