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

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

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
    load.start()
    load.goes_on(10)
    load.cluster.supervise()
    return load


def test_a_node_is_killed_and_comes_back(three: LocalKafka, load: Load) -> None:
    """Its partitions go to the two others, and everything goes on without it."""
    three.nodes[0].kill()
    load.goes_on(20)
    three.restart(1)
    load.goes_on(20)
    load.finish("one of three brokers killed and restarted", members=2)


def test_all_nodes_are_restarted_one_after_another(three: LocalKafka, load: Load) -> None:
    """A rolling restart: the next one when everything goes on with the last one back."""
    for node in three.nodes:
        node.stop()
        load.goes_on(5)
        three.restart(node.address.number)
        load.goes_on(5)
    load.finish("three brokers restarted one after another", members=2)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_all_nodes_are_restarted_at_once(three: LocalKafka, load: Load, how: str) -> None:
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(Node.kill if how == "killed" else _stop, three.nodes))
        for node in three.nodes:
            node.launch()
        list(threads.map(lambda node: node.wait_ready(time.monotonic() + 90), three.nodes))
    load.goes_on(20)
    load.finish(f"all three brokers {how} at once and started", members=2)


def _stop(node: Node) -> None:
    node.stop(timeout=15.0)  # the last one has no quorum left to take leave of
