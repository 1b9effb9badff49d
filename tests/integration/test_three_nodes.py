"""``carillon kafka`` with three nodes, of which one may fail: two of three copies are enough to go on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import admin

from deploy.local_kafka.standing import Standing, StandingNode, status
from streams.kafka.broadcast import BroadcastReader, BroadcastRecord
from streams.kafka.changelog import read_changelog
from streams.kafka.producer import BatchProducer
from streams.kafka.topics import check, create, topic_plan
from streams.settings import Settings
from streams.stages.fencing import LogRecord

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DEADLINE = 90.0
_admin: Any = admin  # the library does not declare what this module re-exports


def carillon_kafka(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "console", "kafka", *arguments, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    return done.returncode, done.stdout + done.stderr


def standing(folder: Path) -> Standing:
    found = status(folder)
    assert found is not None
    return found


def node(folder: Path, number: int) -> StandingNode:
    return standing(folder).nodes[number - 1]


def gone(pid: int) -> bool:
    """Ended, whether or not the process that has inherited it has taken notice."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "cluster"
    code, output = carillon_kafka(folder, "up", "--nodes", "3")
    assert code == 0, output
    yield folder
    carillon_kafka(folder, "down")


class Tally:
    """Keys that a reader has seen."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()

    def apply(self, batch: list[BroadcastRecord]) -> None:
        self.keys.update(record.key for record in batch)


async def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def test_one_node_may_fail(folder: Path) -> None:
    bootstrap = standing(folder).bootstrap
    plan = topic_plan(Settings(partitions=3, replication=3))
    await create(bootstrap, {}, plan)
    assert await check(bootstrap, {}, plan) == []
    client = _admin.AdminClient({"bootstrap.servers": bootstrap})
    topic = "delivery-log"
    resource = _admin.ConfigResource(_admin.ResourceType.TOPIC, topic)
    config = await asyncio.to_thread(client.describe_configs([resource])[resource].result, 30)
    assert config["min.insync.replicas"].value == "2"

    def copies() -> list[int]:
        return [len(part.isrs) for part in client.list_topics(timeout=30).topics[topic].partitions.values()]

    assert copies() == [3, 3, 3]

    tally = Tally()
    reader = BroadcastReader(bootstrap, {}, [topic], tally.apply, confirm_every=0.5)
    producer = BatchProducer(bootstrap, {}, partitions=lambda _: 3)
    await reader.start()
    await producer.start()
    written: set[bytes] = set()
    stopping = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stopping.is_set():
            batch = [b"%d-%d" % (number, n) for n in range(30)]
            await producer.send(topic, [(key, b"x") for key in batch])
            written.update(batch)
            number += 1
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())

    async def goes_on(what: str) -> None:
        """What is acknowledged from now on comes out."""
        before = len(written)
        await until(lambda: len(written) > before + 300 or writing.done(), f"nothing is written {what}")
        assert not writing.done(), writing.exception()
        wanted = set(written)
        await until(lambda: wanted <= tally.keys, f"not everything is read {what}")

    await goes_on("with three nodes")
    leader = client.list_topics(topic, timeout=30).topics[topic].partitions[0].leader
    victim = node(folder, leader)
    assert await asyncio.to_thread(carillon_kafka, folder, "kill", str(leader)) == (
        0,
        f"node {leader} is killed\n",
    )
    assert victim.pid is not None
    assert gone(victim.pid)
    await goes_on("without its leader")
    code, output = await asyncio.to_thread(carillon_kafka, folder, "status")
    assert code == 0
    assert [f"node {n}" in line and "not running" in line for n, line in nodes_of(output)] == [
        n == leader for n in (1, 2, 3)
    ]
    code, output = await asyncio.to_thread(carillon_kafka, folder, "start", str(leader))
    assert code == 0, output
    assert node(folder, leader).ports == victim.ports
    await until(lambda: copies() == [3, 3, 3], "the node that came back does not catch up")
    # Now another one, in good order: what it held is still twice there.
    other = leader % 3 + 1
    assert (await asyncio.to_thread(carillon_kafka, folder, "stop", str(other)))[0] == 0
    assert node(folder, other).pid is None
    await goes_on("after a second failure")
    stopping.set()
    await writing
    await reader.stop()
    await producer.stop()
    found: set[bytes] = set()

    def keep(records: list[LogRecord]) -> None:
        found.update(key for _, key, _, _ in records)

    for partition in range(3):
        await read_changelog(bootstrap, {}, topic, partition, None, keep)
    assert written <= found, "acknowledged records are lost"
    # A missing node is started by "up"; another size is refused.
    code, output = await asyncio.to_thread(carillon_kafka, folder, "up", "--nodes", "3")
    assert code == 0, output
    assert all(one.pid for one in standing(folder).nodes)
    code, output = await asyncio.to_thread(carillon_kafka, folder, "up")
    assert (code, "end it (down)" in output) == (1, True)


def nodes_of(output: str) -> list[tuple[int, str]]:
    lines = [line for line in output.splitlines() if line.startswith("  node ")]
    assert len(lines) == 3, output
    return list(enumerate(lines, 1))


def test_down_leaves_nothing_and_takes_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    code, output = carillon_kafka(folder, "up")
    assert code == 0, output
    pid = node(folder, 1).pid
    assert pid is not None
    assert carillon_kafka(folder, "kill", "2")[1] == "Error: there is no node 2: they are numbered 1 to 1\n"
    assert f"CARILLON_BROKER={standing(folder).bootstrap}" in carillon_kafka(folder, "status")[1]
    assert carillon_kafka(folder, "down") == (0, "stopped\n")
    assert gone(pid)
    assert not folder.exists()
    assert carillon_kafka(folder, "down") == (0, "nothing is running\n")
    assert carillon_kafka(folder, "status")[0] == 1
    assert carillon_kafka(folder, "kill", "1")[0] == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    carillon_kafka(tmp_path / "mine", "down")
    assert "not ours" in carillon_kafka(tmp_path / "mine", "up")[1]
    assert (tmp_path / "mine" / "letter").exists()
