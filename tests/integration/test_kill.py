"""Workers that are killed, stopped or robbed of their disk in the middle of a burst: nothing is lost and
nothing goes twice (P1, P2). On the embedded broker; test_real_kafka.py tells the same on Apache Kafka."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.burst import SETTINGS, Burst, clock_file
from tests.support.cluster import Worker, embedded_cluster

pytestmark = pytest.mark.embedded


@pytest.fixture
def burst(tmp_path: Path) -> Iterator[Burst]:
    clock, path = clock_file(tmp_path)
    with embedded_cluster(tmp_path, SETTINGS, clock=path) as cluster:
        burst = Burst(cluster, clock)
        burst.set_up()
        yield burst


def lags(worker: Worker) -> set[str]:
    """The partitions of the timers of which the worker shows a lag."""
    pattern = r'^carillon_lag_records\{partition="(\d+)",topic="timers"\}'
    return set(re.findall(pattern, worker.get("/metrics")[1], re.MULTILINE))


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_a_killed_worker_is_restarted(burst: Burst, disk: str) -> None:
    cluster = burst.cluster
    (worker,) = cluster.start()
    burst.publish()
    burst.until_under_way()
    cluster.kill(worker)
    if disk == "lost":
        cluster.lose_disk()
    (worker,) = cluster.start()
    burst.finish(worker)
    said = cluster.output(worker)
    assert "restored timers-changelog" in said if disk == "lost" else True
    # Something was under way when it died, or this test has tested nothing.
    assert any(record.reason == "inherited" for record in cluster.log)


def test_a_killed_worker_is_replaced_by_the_other(burst: Burst) -> None:
    cluster = burst.cluster
    (first,) = cluster.start(1)
    cluster.caught_up(first)  # ready is earlier: its partitions are restored, and about to be read
    assert lags(first) == {"0", "1", "2", "3"}
    (second,) = cluster.start(2)
    cluster.caught_up(first, second)
    # What the first has handed over is no business of its dashboard any more.
    assert lags(first) == set(first.status()["positions"]["timers"])
    burst.publish()
    burst.until_under_way()
    cluster.kill(first)
    burst.finish(second)


def test_a_worker_told_to_stop_finishes_what_it_began(burst: Burst) -> None:
    cluster = burst.cluster
    first, second = cluster.start(1, 2)
    burst.publish()
    burst.until_under_way()
    assert cluster.terminate(first) == 0
    burst.finish(second)
    assert not [record for record in cluster.log if record.reason in {"inherited", "resent"}]
    assert cluster.terminate(second) == 0
