"""Topics that are not as they must be: of the wrong partition count, or deleted and made anew."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli import main
from deploy.local_kafka import LocalKafka
from schemas.records import EntityKind
from tests.support.broker_topics import Topics
from tests.support.cluster import DEADLINE, PARTITIONS, Cluster, Worker, kafka_cluster
from tests.support.faults import NewLoad, loads
from tests.support.shop import change, facts

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

_numbers = count(1)


@pytest.fixture
def new_load(tmp_path: Path) -> Iterator[NewLoad]:
    with loads(tmp_path) as new:
        yield new


WRONG = {
    "timers-changelog": (3, "it has 3 partitions, but {}timers has 4"),
    "consents": (5, "it has 5 partitions, but {}timers has 4"),
    "leads-state": (2, "it has 2 partitions, but {}leads has 4"),
    "rules": (2, "it has 2 partitions, but the setting partitions says"),
}
"""By an internal topic: a partition count, and what is said of it."""


def test_internal_topics_of_a_wrong_partition_count_are_refused(
    local_kafka: LocalKafka, tmp_path: Path
) -> None:
    prefix = f"counts{next(_numbers)}."
    with kafka_cluster(local_kafka.bootstrap, tmp_path, prefix, topics=False) as cluster:
        topics = Topics(cluster)
        topics.create_with("orders", 3)  # a publisher's: any count, and its state has the same
        for name, (partitions, _) in WRONG.items():
            topics.create_with(name, partitions)
        topics.create(*topics.missing())
        worker = cluster.launch()
        assert worker.child.popen.wait(DEADLINE) == 1
        cluster.kill(worker)
        said = cluster.output(worker)
        assert "Traceback" not in said
        lines = said.splitlines()
        for name, (_, what) in WRONG.items():
            [line] = [line for line in lines if line.strip().startswith(f"{prefix}{name}:")]
            assert what.format(prefix) in line
            assert "Set partitions back to what the topics have" in line
            assert "use a new topic_prefix" in line
        assert not [line for line in lines if "orders" in line]

        topics.delete(*WRONG)
        topics.create(*WRONG)
        [worker] = cluster.start()
        cluster.changes(EntityKind.ORDER, [change(1, facts(), 1, entity_id=f"o{n}") for n in range(20)])
        cluster.until(lambda: read(cluster) == 20, "the orders to be read from all three partitions")
        assert cluster.terminate(worker) == 0


def read(cluster: Cluster) -> int:
    """Orders that the state knows of, one record each."""
    topics = Topics(cluster)
    return sum(
        not key.startswith(b"\0")
        for number in range(3)
        for _, key, _, _ in topics.records("orders-state", number)
    )


def test_an_input_topic_is_made_anew(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """With more in it than before, so that every offset that was reached is there again; among it all that
    was there before, as publishers do who begin again with a snapshot."""
    load = new_load(local_kafka.bootstrap)
    cluster, topics = load.cluster, Topics(load.cluster)
    [worker] = cluster.start()
    load.publish(20)
    load.settle(worker)
    assert cluster.terminate(worker) == 0
    before = [(key, value) for number in range(4) for _, key, value, _ in topics.records("orders", number)]
    topics.delete("orders")
    topics.create("orders")
    load.publish(40)
    cluster.send("orders", before)
    [worker] = cluster.start()
    load.finish("orders deleted and made anew", worker, members=1)
    for partition in range(4):
        why = f"{cluster.prefix}orders was deleted and made anew: partition {partition} is read from"
        assert why in cluster.output(worker)


PENDING = ("timers-changelog", "orders-state")
MADE_ANEW = [("timers",), PENDING]


def test_internal_topics_are_made_anew(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """The changelogs while reminders are pending: what they held is put back from the disk. Nothing is lost
    or goes twice, and all goes on."""
    load = new_load(local_kafka.bootstrap)
    cluster, topics = load.cluster, Topics(load.cluster)
    [worker] = cluster.start()
    load.publish(20)
    for names in MADE_ANEW:
        if names == PENDING:
            load.publish(20, soon=(200_000, 400_000))
            cluster.until(load.all_known, "every message to be known")
        else:
            load.settle(worker)
        assert cluster.terminate(worker) == 0
        topics.delete(*names)
        topics.create(*names)
        [worker] = cluster.start()
        load.clock.jump(400_000)
        load.publish(20)
    load.finish("timers, timers-changelog and orders-state deleted and made anew", worker, members=1)
    timers, changelogs = cluster.logs(1)[1:]
    for partition in range(4):
        why = f"{cluster.prefix}timers was deleted and made anew: partition {partition} is read from"
        assert why in timers
        for name in PENDING:
            assert f"{cluster.prefix}{name}[{partition}] was made anew: " in changelogs


def test_a_changelog_is_made_anew_and_the_disk_is_gone(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """The partitions wait for people, and say so. Given up, they go on with what has come since."""
    load = new_load(local_kafka.bootstrap)
    cluster, topics = load.cluster, Topics(load.cluster)
    [worker] = cluster.start()
    load.publish(20)
    load.settle(worker)
    assert cluster.terminate(worker) == 0
    cluster.lose_disk()
    topics.delete("timers-changelog")
    topics.create("timers-changelog")
    worker = cluster.launch()
    numbers = set(range(int(PARTITIONS)))

    def waiting() -> set[int]:
        return {
            number
            for number in numbers
            if any(f"give-up timers-changelog {number}`" in why for why in not_ready(worker))
        }

    cluster.until(lambda: waiting() == numbers, "all partitions to wait for people")
    assert worker.get("/live")[0] == 200
    for number in numbers:
        command = ("topics", "give-up", "timers-changelog", str(number))
        done = CliRunner().invoke(main, command, env=cluster.environment(cluster.folder / "nothing"))
        assert done.exit_code == 0, done.output
    cluster.until(worker.ready, "the worker to be ready")
    load.publish(20)
    load.goes_on()


def not_ready(worker: Worker) -> list[str]:
    try:
        found: list[str] = worker.status()["not_ready"]
    except (OSError, ValueError):
        return []
    return found
