"""What happens to a worker's disk costs nothing but time: it is wiped, damaged, full, or days old."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import msgspec
import pytest

from agents.partition import RocksDisk
from deploy.local_kafka import LocalKafka
from schemas.records import Change, DeliveryState, Details, EntityKind, Operation
from tests.support.broker_topics import Topics
from tests.support.cluster import Cluster, Worker
from tests.support.disks import DAMAGES, copy, may_mount, put_back, small_disk
from tests.support.faults import Load, NewLoad, loads
from tests.support.shop import DAY, MINUTE, change, facts

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

MIB = 1 << 20
_PATIENCE = 120.0
"""Seconds for what takes ten on a quiet machine."""


@pytest.fixture
def new_load(tmp_path: Path) -> Iterator[NewLoad]:
    with loads(tmp_path) as new:
        yield new


def slow(load: Load) -> None:
    """The provider takes its time, so that sends are under way when something happens."""
    load.cluster.script_sms(behaviours=[{"fault": "delay", "times": 0, "seconds": 0.1}])


def test_wiped_while_it_was_down_and_its_partitions_with_another(
    local_kafka: LocalKafka, new_load: NewLoad
) -> None:
    load = new_load(local_kafka.bootstrap)
    cluster = load.cluster
    slow(load)
    first, second = cluster.start(1, 2)
    load.start(4)
    load.goes_on(10)
    cluster.kill(first)
    cluster.until(lambda: len(timers(second, load)) == 4, "the other to have everything")
    cluster.lose_disk(1)
    load.goes_on(10)
    [first] = cluster.start(1)
    load.goes_on(10)
    load.finish("disk wiped while its worker was down, two workers", first, second, members=2)
    assert "restored" in cluster.output(first)


def test_the_only_worker_comes_back_without_its_disk(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    load = new_load(local_kafka.bootstrap)
    cluster = load.cluster
    slow(load)
    [worker] = cluster.start(1)
    load.publish(20)
    load.goes_on(10)
    cluster.kill(worker)
    cluster.lose_disk(1)
    load.publish(10)
    [worker] = cluster.start(1)
    load.finish("disk wiped, one worker", worker, members=1)
    said = cluster.output(worker)
    assert f"restored {cluster.prefix}timers-changelog" in said
    assert f"restored {cluster.prefix}orders-state" in said


def test_files_of_the_stores_are_damaged(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """Every kind of damage, each to another partition's stores, all at once."""
    load = new_load(local_kafka.bootstrap)
    cluster = load.cluster
    slow(load)
    [worker] = cluster.start(1)
    load.publish(30)
    load.goes_on(30)
    assert cluster.terminate(worker) == 0  # flushes
    for partition, damage in enumerate(DAMAGES):
        for store in ("timers-changelog", "orders-state"):
            damage(RocksDisk(worker.data).folder(f"{store}-{partition}"))
    cluster.supervise()  # damage that is met while at work ends a worker, and its successor knows of it
    cluster.launch(1)
    load.publish(10)
    load.goes_on(10)
    load.finish("RocksDB files damaged: bits, MANIFEST, CURRENT, table", members=1)
    said = [line for log in cluster.logs(1) for line in log.splitlines()]
    for partition, why in enumerate(DAMAGES.values()):
        for store in ("timers-changelog", "orders-state"):
            lines = [line for line in said if f"store {store}-{partition} is rebuilt" in line]
            assert len(lines) == 1, (store, partition, lines)
            assert why in lines[0]


@pytest.fixture
def mounting(tmp_path: Path, request: pytest.FixtureRequest) -> bool:
    return may_mount(tmp_path, request)


def test_the_disk_is_full(local_kafka: LocalKafka, new_load: NewLoad, mounting: bool) -> None:
    """RocksDB meets ENOSPC in mid-work, and so does the next start. Another worker goes on; once there is
    space again, so does the first. At last a worker on a full disk is told to stop."""
    if not mounting:
        return
    load = new_load(local_kafka.bootstrap, {"partitions": "1"})
    cluster = load.cluster
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(cluster.folder / "worker-1", 64 * MIB))
        stack.callback(cluster.stop)
        [first] = cluster.start(1)
        disk.fill(leave=8 * MIB)
        load.publish(5)
        load.goes_on(5)
        # Facts of a snapshot: the stores keep them, and nobody is told. RocksDB flushes 16 MiB at a time.
        cluster.changes(EntityKind.ORDER, snapshot(18 * MIB, load.clock.now()))
        ended_for_want_of_space(cluster, first)
        [second] = cluster.start(2)
        load.publish(5)
        load.goes_on(5)
        disk.fill()
        ended_for_want_of_space(cluster, cluster.launch(1))
        disk.free()
        [first] = cluster.start(1)
        assert cluster.terminate(second) == 0
        load.publish(5)
        load.goes_on(5)
        cluster.caught_up(first)
        disk.fill()
        assert cluster.terminate(first) == 0, cluster.output(first)
        assert "not everything was saved" in cluster.output(first)
        disk.free()
        load.publish(5)
        [first] = cluster.start(1)
        load.finish("disk full (ENOSPC): at work, at the start, at the end", first, members=1)


def snapshot(size: int, now: int) -> list[Change]:
    """Orders as a snapshot has them, so many bytes together; they can be compressed by half at most."""
    each = 512 * 1024
    random = Random(1)
    return [
        msgspec.structs.replace(
            change(1, facts(), now, entity_id=f"big{n}", operation=Operation.READ),
            details=Details(number=f"N{n}", title=random.randbytes(each // 2).hex()),
        )
        for n in range(size // each)
    ]


def ended_for_want_of_space(cluster: Cluster, worker: Worker) -> None:
    """It has ended with words that a person can act on."""
    assert worker.child.popen.wait(_PATIENCE) == 1
    cluster.kill(worker)  # nobody waits for it any more
    last = cluster.output(worker).splitlines()[-1]
    assert last.startswith(f"Error: {worker.data}"), last
    for words in ("the disk is full", "CARILLON_DATA", "Nothing is lost", "No space left on device"):
        assert words in last


def test_an_old_disk_comes_back(local_kafka: LocalKafka, new_load: NewLoad) -> None:
    """A copy from before the reminders went. Since then they have gone, and even that they went has been
    forgotten and compacted away: on the old disk they are still to be sent."""
    load = new_load(local_kafka.bootstrap, {"partitions": "1"})
    cluster, topics = load.cluster, Topics(load.cluster)
    changelogs = ("timers-changelog", "orders-state")
    [worker] = cluster.start(1)
    load.publish(10, soon=(5 * MINUTE, 6 * MINUTE))
    cluster.until(lambda: load.known(DeliveryState.SENT) >= 20, "the first messages")
    cluster.caught_up(worker)
    assert cluster.terminate(worker) == 0
    old = cluster.folder / "old"
    copy(worker.data, old)
    [worker] = cluster.start(1)
    load.clock.jump(6 * MINUTE)
    load.settle(worker)
    for name in changelogs:
        topics.hurry(name)
    load.clock.jump(40 * DAY)

    def forgotten() -> bool:
        load.publish(1)  # only what lies before the newest records is compacted
        return not [key for _, key, _, _ in topics.records("timers-changelog", 0) if b"\0o1\0" in key]

    cluster.until(forgotten, "what was forgotten to be compacted away")
    for name in changelogs:
        topics.calm(name)
    load.settle(worker)
    assert cluster.terminate(worker) == 0
    put_back(worker.data, old)
    load.publish(5)
    [worker] = cluster.start(1)
    load.finish("worker back with a disk that is 40 days old", worker, members=1)
    for name in changelogs:
        why = f"store {name}-0 is rebuilt from the beginning: it was away for 40.0 days"
        assert why in cluster.output(worker)


def timers(worker: Worker, load: Load) -> dict[str, int]:
    """Positions of its timer partitions."""
    try:
        found: dict[str, int] = worker.status()["positions"].get(load.cluster.prefix + "timers", {})
    except (OSError, ValueError):
        return {}
    return found
