"""Static members of the group on a real Apache Kafka: a restart moves nothing, and what the other worker has
not read yet is waited for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from schemas.records import Change, DeliveryState, EntityKind, Trigger
from streams.clock import FileClock
from streams.domain.ids import customer_key, entity_key
from streams.kafka.partitioner import partition_for
from tests.support.burst import clock_file
from tests.support.cluster import Cluster, Worker, kafka_cluster
from tests.support.shop import HOUR, MINUTE, C, ann, change, facts, notification, reminder, shop

pytestmark = pytest.mark.kafka

_numbers = count(1)
SESSION = 45
"""Seconds: a worker restarts well within it, also on a busy machine."""
PARTITIONS = 4


class Scene:
    """Two workers with names of their own, and a clock that stands still until the test moves it."""

    def __init__(self, cluster: Cluster, clock: FileClock) -> None:
        self.cluster = cluster
        self.clock = clock
        for number in (1, 2):
            cluster.own[number] = {"CARILLON_INSTANCE_ID": f"{cluster.prefix}worker-{number}"}
        cluster.publish(shop())
        cluster.publish(
            [notification(Trigger.CREATED, id_="greet"), reminder(1, entity=EntityKind.ORDER, id_="soon")]
        )

    def owned(self, worker: Worker, topic: str) -> list[int]:
        partitions = worker.status()["partitions"].get(self.cluster.prefix + topic, {})
        return sorted(int(number) for number in partitions)

    def assignments(self, worker: Worker) -> int:
        """How often it was given partitions."""
        return self.cluster.output(worker).count("at work on")


@pytest.fixture
def scene(local_kafka: LocalKafka, tmp_path: Path) -> Iterator[Scene]:
    clock, path = clock_file(tmp_path)
    settings = {"session_timeout": str(SESSION * 1000), "partitions": str(PARTITIONS)}
    prefix = f"static{next(_numbers)}."
    with kafka_cluster(local_kafka.bootstrap, tmp_path, prefix, settings, clock=path) as cluster:
        yield Scene(cluster, clock)


def test_a_restart_within_the_session_moves_nothing(scene: Scene) -> None:
    """The other worker goes on all the time; ``carillon worker`` must not leave the group when it ends."""
    cluster = scene.cluster
    cluster.customers([ann(customer_id=f"c{n}", phone=f"+4850{n:07}") for n in range(40)])
    first, second = cluster.start(1, 2)
    cluster.caught_up(first, second)
    before = _owners(scene, first, second)
    assert all(len(mine) == len(theirs) == PARTITIONS // 2 for mine, theirs in before.values()), before
    assigned = scene.assignments(second)

    assert cluster.terminate(first) == 0
    now = scene.clock.now()
    orders = [change(1, facts(customer=f"c{n}"), now, entity_id=f"o{n}") for n in range(40)]
    cluster.changes(EntityKind.ORDER, orders)
    mine = [one for one in orders if _partition(one) in before["orders"][1]]
    cluster.until(
        lambda: sum(position(second, scene, number) for number in before["orders"][1]) == len(mine),
        "the other worker to go on reading while the first is away",
    )
    (first,) = cluster.start(1)
    cluster.finished(len(orders))
    cluster.caught_up(first, second)
    assert _owners(scene, first, second) == before
    assert scene.assignments(second) == assigned, "the other worker's partitions were taken away in between"
    cluster.check(open_=0)


def test_what_another_worker_has_not_read_yet_is_waited_for(scene: Scene) -> None:
    """Cancellations lie in partitions of a worker that stands still. The other one comes back to reminders
    that are overdue: it must not send them before the cancellations have come through."""
    cluster, clock = scene.cluster, scene.clock
    names = [f"c{n}" for n in range(40)]
    cluster.customers([ann(customer_id=name, phone=f"+4850{n:07}") for n, name in enumerate(names)])
    first, second = cluster.start(1, 2)
    cluster.caught_up(first, second)
    mine, theirs = scene.owned(first, "timers"), scene.owned(second, "orders")
    customers = [name for name in names if partition_for(customer_key(C, name), PARTITIONS) in mine][:5]
    entities = [f"o{n}" for n in range(100) if partition_for(entity_key(C, f"o{n}"), PARTITIONS) in theirs]
    at = clock.now() + 2 * HOUR
    orders = [(entity, facts("new", at, name)) for entity, name in zip(entities, customers, strict=False)]
    booked = [change(1, after, clock.now(), entity_id=entity) for entity, after in orders]
    cluster.changes(EntityKind.ORDER, booked)
    cluster.finished(len(orders))  # the greetings; the reminders wait
    cluster.caught_up(first, second)
    texts = len(cluster.texts())

    os.kill(second.child.pid, signal.SIGSTOP)
    try:
        cluster.kill(first)
        cluster.changes(
            EntityKind.ORDER,
            [
                change(2, facts("gone", at, before.customer_id), clock.now(), before=before, entity_id=entity)
                for entity, before in orders
            ],
        )
        clock.set(clock.now() + HOUR + MINUTE)  # every reminder is overdue, and would still help
        first = cluster.launch(1)
        cluster.until(lambda: _has(first, scene, mine), "the worker to get its partitions back")
        cluster.until(lambda: "orders[" in _unread(first, cluster), "the worker to say what it waits for")
        assert any(f"{cluster.prefix}orders[{number}] at" in _unread(first, cluster) for number in theirs)
        assert len(cluster.texts()) == texts
    finally:
        os.kill(second.child.pid, signal.SIGCONT)
    cluster.finished(2 * len(orders))
    cluster.caught_up(first, second)
    reminders = [record for record in cluster.finals() if record.rule_id == "soon"]
    assert {record.state for record in reminders} == {DeliveryState.CANCELLED}
    assert len(cluster.texts()) == texts, "a reminder went out before its cancellation was read"
    cluster.check()


def position(worker: Worker, scene: Scene, number: int) -> int:
    found: int = worker.status()["positions"][scene.cluster.prefix + "orders"].get(str(number), 0)
    return found


def _owners(scene: Scene, *workers: Worker) -> dict[str, list[list[int]]]:
    return {topic: [scene.owned(worker, topic) for worker in workers] for topic in ("orders", "timers")}


def _partition(one: Change) -> int:
    return partition_for(entity_key(one.company, one.entity_id), PARTITIONS)


def _has(worker: Worker, scene: Scene, partitions: list[int]) -> bool:
    try:
        return scene.owned(worker, "timers") == partitions
    except (OSError, ValueError):
        return False


def _unread(worker: Worker, cluster: Cluster) -> str:
    """What the worker waits for. The test is over when it has sent something instead."""
    sent = [record for record in cluster.read() if record.rule_id == "soon" and record.state == "sending"]
    assert not sent, f"sent before the cancellation was read: {sent[0]}"
    return str(worker.status()["unread"])
