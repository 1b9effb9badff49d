"""What a worker's death or a lost disk costs; a part of ``tests.benchmarks.worker_timers``.

Messages come due all the while, twenty a second over all partitions, so that the first one after a kill and
the longest wait can be read from the delivery log. Every one of them must go once; those that were at the
provider when the worker was killed (few, or none) are unknown.

- kill -9, and the same static member again: its partitions stay its own.
- kill -9 of one of two workers, for good: the other, which still has their stores from before, takes them
  over when the session has ended.
- A worker with an empty disk joins: half of the partitions are rebuilt from the changelog, and meanwhile the
  messages of the other half must go.
- The disk is lost: everything is rebuilt, beside librdkafka reading the same topic and doing nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from streams.kafka.offsets import SILENT
from tests.benchmarks.measure import BenchError, Spread, Table, load_now, say
from tests.benchmarks.systems import Carillon
from tests.benchmarks.world import World, now_ms, sent_at, until_sent

GAP = 50
"""Milliseconds between two messages."""
LEAD = 5_000
"""Until the first of them: they must have been armed."""
REBUILT = "changelog records rebuilt per CPU second"
LOST = 20
"""Messages that may have been on their way at a kill: a second's worth."""


class Found:
    """What the runs have found, by what it says; ``values``: with a name for ``carillon capacity``."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def add(self, what: str, value: float, unit: str = "") -> None:
        self._rows.setdefault((what, unit), []).append((value, load_now()))

    def took(self, what: str, milliseconds: float) -> None:
        self.add(what, milliseconds / 1000, "s")

    def table(self) -> Table:
        made = Table("recovery", "Recovery", ("", "value", "load"))
        for (what, unit), runs in self._rows.items():
            value, load = Spread.of(one for one, _ in runs), Spread.of(busy for _, busy in runs)
            made.rows.append((what, f"{value} {unit}".strip(), str(load)))
            made.values[what] = value.middle
        return made


def measure(world: World, seconds: int, runs: int) -> Table:
    """``seconds`` of messages in each scene."""
    found, second = Found(), world.beside("second")
    for turn in range(runs):
        say(f"recovery, round {turn + 1} of {runs}")
        _restart(world, found, seconds)
        try:
            _takeover(world, second, found, seconds)
        finally:
            second.end()
        _until_owned(world, world.worker, world.place.partitions)
        _disk_lost(world, found)
    made = found.table()
    made.notes = [f"{runs} times: median (least-greatest); starts are those of the whole program"]
    return made


def _stream(world: World, seconds: int) -> dict[int, int]:
    """Messages to come: their orders, and when."""
    begin = now_ms() + LEAD
    dues = {n: begin + place * GAP for place, n in enumerate(world.fresh(seconds * 1000 // GAP))}
    world.send(world.commands.remind(n, due) for n, due in dues.items())
    return dues


def _until(moment: float) -> None:
    time.sleep(max(0.0, (moment - now_ms()) / 1000))


def _restart(world: World, found: Found, seconds: int) -> None:
    say("recovery: kill -9, and the same static member again")
    mark, dues = world.mark(), _stream(world, seconds)
    _until(min(dues.values()) + 2_000)
    world.worker.kill()
    killed = now_ms()
    world.worker.go()
    ready = now_ms()
    until_sent(max(dues.values()), world.worker)
    sent = sent_at(world.log(mark), dues, LOST)
    found.took("kill -9 to at work again, the same static member", ready - killed)
    found.took("kill -9 to the first message", _first(sent.values(), killed))


def _takeover(world: World, second: Carillon, found: Found, seconds: int) -> None:
    first = world.worker
    _join(world, second)
    say("recovery: kill -9 of one of two, for good")
    mark, dues = world.mark(), _stream(world, seconds)
    theirs = _partitions(second)
    _until(min(dues.values()) + 2_000)
    second.kill()
    killed = now_ms()
    _until_owned(world, first, world.place.partitions)
    until_sent(max(dues.values()), first)
    sent = sent_at(world.log(mark), dues, LOST)
    moved = [at for n, at in sent.items() if world.partition(n) in theirs]
    stayed = {n: at for n, at in sent.items() if world.partition(n) not in theirs}
    name = "kill -9 of one of two to the first message of its partitions, from the other's warm disk"
    found.took(name, _first(moved, killed))
    found.took("and the longest wait in the other's own partitions", _latest(stayed, dues))
    say("recovery: a worker with an empty disk joins")
    shutil.rmtree(second.place.folder / "data")
    mark, dues = world.mark(), _stream(world, seconds)
    _until(min(dues.values()))
    joined = time.monotonic()
    _join(world, second)
    joined = time.monotonic() - joined
    theirs = _partitions(second)
    until_sent(max(dues.values()), first, second)
    sent = sent_at(world.log(mark), dues)
    name = "a worker with an empty disk joins: at work with half of the partitions"
    found.took(name, joined * 1000)
    went = {n: at for n, at in sent.items() if world.partition(n) in theirs}
    stayed = {n: at for n, at in sent.items() if n not in went}
    found.took("the longest wait in the partitions that it rebuilt", _latest(went, dues))
    found.took("and in the others", _latest(stayed, dues))


def _join(world: World, second: Carillon) -> None:
    second.go()
    _until_owned(world, second, world.place.partitions // 2)


def _until_owned(world: World, worker: Carillon, least: int) -> None:
    """Until the worker is at work on so many partitions of the timers."""
    end = time.monotonic() + worker.patience
    while len(_partitions(worker)) < least or not worker.status().get("ready"):
        world.worker.check()
        worker.check()
        if time.monotonic() > end:
            raise BenchError(f"{worker.name} does not get its partitions: {worker.status()}")
        time.sleep(0.1)


def _partitions(worker: Carillon) -> set[int]:
    """Those of the timers that it reads."""
    read: Mapping[str, Any] = worker.status().get("positions", {})
    return {int(text) for text in read.get(f"{worker.place.prefix}timers", {})}


def _disk_lost(world: World, found: Found) -> None:
    say("recovery: the disk is lost")
    worker = world.worker
    there = int(worker.status()["pending"])
    worker.end()
    shutil.rmtree(world.place.folder / "data")
    ends = worker.ends("timers-changelog")
    records = sum(ends.values())
    began = time.monotonic()
    worker.go()
    seconds, used = time.monotonic() - began, worker.cpu()
    if int(worker.status()["pending"]) != there:
        raise BenchError(f"{worker.status()['pending']} timers after the rebuild, not {there}")
    plain, plain_cpu = consumed(world.place.bootstrap, world.place.prefix + "timers-changelog", ends)
    found.add("the disk is lost: at work", seconds, "s")
    found.add("CPU of it", used, "CPU s")
    found.add("timers pending", there)
    found.add("changelog records", records)
    found.add("timers rebuilt a second, by the clock", there / seconds)
    found.add(REBUILT, records / used)
    found.add("changelog records by the clock", records / seconds, "a second")
    found.add("librdkafka reading the same: records per CPU second", records / plain_cpu)
    found.add("and by the clock", records / plain, "a second")


def consumed(bootstrap: str, topic: str, ends: dict[int, int]) -> tuple[float, float]:
    """(seconds, CPU seconds) of reading a topic whole with librdkafka, this process doing nothing else."""
    config = {"bootstrap.servers": bootstrap, "group.id": "-", "enable.auto.commit": False}
    consumer: Any = Consumer(config | {"enable.partition.eof": True}, logger=SILENT)
    wall, cpu = time.monotonic(), time.process_time()
    consumer.assign([TopicPartition(topic, number_, 0) for number_ in ends])
    left = {number_ for number_, end in ends.items() if end}
    while left:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is not None:
                left.discard(message.partition())
    consumer.close()
    return time.monotonic() - wall, time.process_time() - cpu


def _first(sent: Iterable[int], killed: int) -> int:
    """Milliseconds from the kill to the first of these."""
    after = [at - killed for at in sent if at > killed]
    if not after:
        raise BenchError("nothing went after the kill: the scene is too short for this machine")
    return min(after)


def _latest(sent: Mapping[int, int], dues: Mapping[int, int]) -> int:
    return max(at - dues[n] for n, at in sent.items())
