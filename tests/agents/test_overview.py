"""What /live, /ready and /status make of what the worker's parts say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faust.types import TP
from prometheus_client import generate_latest

from agents.capacity import Capacity
from agents.gate import STALE_TABLES
from agents.overview import Overview, Sources
from agents.sender_partition import SenderPartition
from agents.unread import Spot
from agents.worker import Worker
from streams.kafka.batches import Progress
from streams.settings import Settings
from streams.stages.firing import Options

LIMIT = 100.0
SESSION = 20.0
ORDERS = TP("p.orders", 1)


class Consumer:
    """What the app would say; all is well until a test says otherwise."""

    def __init__(self) -> None:
        self.partitions: dict[TP, Progress] = {}
        self.age = 0.0
        self.answers = 1

    def progress(self) -> dict[TP, Progress]:
        return self.partitions

    def membership_age(self) -> float:
        return self.age

    def thread_answers(self) -> int:
        return self.answers

    def at(self, acked: int, *, committed: int | None = None, end: int | None = 0) -> None:
        """Where the only partition stands; ``end``: as the last fetch said."""
        committed = acked if committed is None else committed
        self.partitions = {ORDERS: Progress(0, 0, acked, acked, committed, end, 1)}


class World:
    def __init__(self, folder: Path) -> None:
        self.moment = 1000.0
        self.consumer = Consumer()
        self.tables_age = 0.0
        self.waiting_for = ""
        self.worker = Worker(Settings(data=folder))  # of its own parts: host, gate, metrics
        parts = self.worker._overview._from
        self.metrics = parts.metrics
        self.progress = parts.progress
        self.host = parts.host
        self.overview = Overview(
            Sources(
                app=self.consumer,
                host=parts.host,
                gate=parts.gate,
                progress=parts.progress,
                metrics=parts.metrics,
                now=lambda: 7,
                table_positions={"p.rules": {0: 3}},
                tables_age=lambda: self.tables_age,
                failure=lambda: None,
                ends=parts.ends,
                waiting_for=lambda: self.waiting_for,
                unread=lambda: "",
                prefix="p.",
                session_timeout=SESSION,
                stuck_after=LIMIT,
                monotonic=lambda: self.moment,
            )
        )

    def look(self, end: int, *, times: int = 1, seconds: float = 5.0) -> None:
        """The brokers answer."""
        for _ in range(times):
            self.moment += seconds
            self.consumer.answers += bool(self.consumer.answers)
            self.overview.beat()
            self.overview.answered({Spot(*ORDERS): end})

    def shown(self, metric: str) -> str:
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        return next(line for line in lines if line.startswith(f"carillon_{metric}"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_partition_that_stands_still_is_stuck_and_named(world: World) -> None:
    world.consumer.at(17)
    world.look(50, times=19)
    assert world.overview.not_live() == []
    world.look(50, times=3)
    assert world.overview.not_live() == ["p.orders[1] has stood at 17 for 105 s"]
    status = world.overview.status()
    (stuck,) = status["stuck"]
    assert (stuck["what"], stuck["at"], stuck["seconds"]) == ("p.orders[1]", "17", 105)
    assert status["partitions"]["p.orders"][1] == {
        "lag": 33,
        "commit_age": 0,
        "stalled": 105,
        "in_work": 0,
    }
    assert world.shown("stuck ") == "carillon_stuck 1.0"
    assert world.shown("live ") == "carillon_live 0.0"
    assert world.shown("stalled_seconds{") == 'carillon_stalled_seconds{partition="1",topic="p.orders"} 105.0'
    assert world.shown("lag_records{") == 'carillon_lag_records{partition="1",topic="p.orders"} 33.0'
    world.consumer.at(18)
    world.look(50)
    assert world.overview.not_live() == []
    assert world.overview.status()["stuck"] == []


def test_a_partition_that_moves_or_has_nothing_to_do_is_not_stuck(world: World) -> None:
    for acked in range(30):
        world.consumer.at(acked)
        world.look(50)
    world.consumer.at(50)
    world.look(50, times=100)
    assert world.overview.not_live() == []


def test_an_end_that_only_the_brokers_know_shows_a_fetcher_that_died(world: World) -> None:
    world.consumer.at(17, end=17)  # what the last fetch said, long ago
    world.look(50, times=22)
    assert world.overview.not_live()
    assert world.overview.status()["partitions"]["p.orders"][1]["lag"] == 33


def test_brokers_that_are_away_or_others_that_are_waited_for_make_nothing_stuck(world: World) -> None:
    world.consumer.at(17)
    world.look(50)
    world.look(50, seconds=3600)  # nobody answered for an hour
    assert world.overview.not_live() == []
    world.waiting_for = "the schema registry"
    world.look(50, times=100)
    assert world.overview.not_live() == []
    assert world.overview.status()["waiting_for"] == "the schema registry"


def test_a_long_restore_is_alive_and_not_ready(world: World) -> None:
    world.consumer.partitions = {}
    world.progress.update("p.timers-changelog[2]", 100, 10_000)
    world.look(50, times=100)
    assert world.overview.not_live() == []
    status = world.overview.status()
    assert status["not_ready"] == ["no partitions are assigned and restored yet"]
    at = status["restoring"]["p.timers-changelog[2]"]
    assert (at["position"], at["end"], at["percent"], at["seconds_left"]) == (100, 10_000, 0, None)
    json.dumps(status)  # no infinity: it is shown as JSON
    left = 'carillon_restore_records_left{partition="2",topic="p.timers-changelog"} 9900.0'
    assert world.shown("restore_records_left{") == left
    world.progress.done("p.timers-changelog[2]")
    world.overview.status()
    assert 'topic="p.timers-changelog"' not in generate_latest(world.metrics.registry).decode()


def test_commits_that_do_not_come_through_have_an_age_and_are_stuck_in_the_end(world: World) -> None:
    for acked in range(10, 40):
        world.consumer.at(acked, committed=10)
        world.look(40)
        world.overview.status()
    assert world.overview.status()["partitions"]["p.orders"][1]["commit_age"] == 140
    assert world.overview.not_live() == ["commits of p.orders[1] has stood at 10 for 140 s"]
    assert world.shown("commit_age_seconds{").endswith(" 140.0")
    world.consumer.at(40)
    assert world.overview.status()["partitions"]["p.orders"][1]["commit_age"] == 0


def test_a_thread_that_is_not_heard_of_is_found_without_brokers(world: World) -> None:
    world.consumer.answers = 0
    for _ in range(100):  # not started yet: the registry is waited for
        world.look(0)
    assert world.overview.not_live() == []
    world.consumer.answers = 5
    for _ in range(22):
        world.moment += 5
        world.overview.beat()
    assert world.overview.not_live() == ["the consumer's thread has stood at 5 for 105 s"]


def test_a_membership_that_is_lost_while_the_brokers_are_there(world: World) -> None:
    world.consumer.age = SESSION + 1
    world.look(0)
    assert "the group has not confirmed this worker for too long" in world.overview.not_ready()
    assert world.overview.not_live() == []
    world.look(0, times=22)
    assert world.overview.not_live() == ["the membership of the group has stood at away for 110 s"]


async def test_a_step_that_never_ends_is_stuck(world: World) -> None:
    shared = world.host._shared
    part = SenderPartition(shared, 0, Capacity({}, {}), Options(), world.worker._gate)
    world.host.timers[0] = part
    assert world.host.steps() == {}
    await part._lock.acquire()
    world.look(0, times=22)
    assert [reason for reason in world.overview.not_live() if "the step of timers[0]" in reason]
    part._lock.release()
    await part._lock.acquire()  # another one
    world.look(0)
    assert world.overview.not_live() == []
    part._lock.release()
    assert world.host.steps() == {}
    part._state.close()


def test_old_tables_and_an_ending_worker_are_not_ready(world: World) -> None:
    world.host.ready = True
    assert world.overview.not_ready() == []
    world.tables_age = STALE_TABLES + 1
    assert world.overview.not_ready() == ["the reference tables have not been confirmed for too long"]
    world.tables_age = 0
    world.overview.ending = True
    assert world.overview.not_ready() == ["it is ending"]
