"""The batch transport against the embedded broker, with workers in processes of their own.

Every story ends in the files that the workers leave (see ``batch_worker``).
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.kafka.consumer_thread import FETCH_EVERY
from streams.kafka.embedded import EmbeddedBroker
from tests.streams.kafka.batch_worker import Options

pytestmark = pytest.mark.embedded

ROOT = Path(__file__).parents[3]
PARTITIONS = 4
_names = (f"t{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(rebalance_delay_ms=0) as running:
        yield running


def until(true: Callable[[], bool], what: str, seconds: float = 120.0, every: float = 0.05) -> None:
    """Polls; fails the test with ``what`` at the deadline."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every)


class Story:
    """One topic, one group, one folder; the workers it started end with it."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self.topic = next(_names)
        self.folder = folder
        self.bootstrap = broker.bootstrap
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 2})
        self.sent = [0] * PARTITIONS
        self.workers: list[subprocess.Popen[bytes]] = []

    def produce(self, count: int, partition: int | None = None) -> None:
        """``count`` records, round-robin or to one partition; values count up within a partition."""
        for number in range(count):
            place = number % PARTITIONS if partition is None else partition
            self.producer.produce(self.topic, str(self.sent[place]).encode(), b"key", partition=place)
            self.sent[place] += 1
            self.producer.poll(0)
        assert self.producer.flush(30) == 0

    def work(self, **options: Any) -> subprocess.Popen[bytes]:
        chosen = Options(
            group=f"group-{self.topic}",
            brokers=[self.bootstrap],
            topics=[self.topic],
            folder=str(self.folder),
            **options,
        )
        command = [
            sys.executable,
            "-m",
            "tests.streams.kafka.batch_worker",
            msgspec.json.encode(chosen).decode(),
        ]
        worker = subprocess.Popen(command, cwd=ROOT)
        self.workers.append(worker)
        return worker

    def end(self, worker: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> int:
        worker.send_signal(how)
        return worker.wait(timeout=120)

    def lines(self, partition: int) -> list[list[str]]:
        path = self.folder / f"{self.topic}-{partition}.log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def offsets(self, partition: int) -> list[int]:
        return [int(line[0]) for line in self.lines(partition)]

    def total(self) -> int:
        return sum(len(self.lines(partition)) for partition in range(PARTITIONS))

    def events(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / "events.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [row for row in rows if row["event"] == kind]

    def committed(self, partition: int) -> int:
        """What the group has committed, -1001 where nothing."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"group-{self.topic}"})
        try:
            found: list[TopicPartition] = consumer.committed([TopicPartition(self.topic, partition)], 10)
            return found[0].offset
        finally:
            consumer.close()

    def all_read(self) -> bool:
        return all(
            self.offsets(place)[-1:] == ([self.sent[place] - 1] if self.sent[place] else [])
            for place in range(PARTITIONS)
        )

    def assert_exactly_once(self) -> None:
        for place in range(PARTITIONS):
            assert self.offsets(place) == list(range(self.sent[place])), f"partition {place}"
            assert [line[1] for line in self.lines(place)] == [str(n) for n in range(self.sent[place])]


@contextmanager
def told(broker: EmbeddedBroker, folder: Path) -> Iterator[Story]:
    story = Story(broker, folder)
    try:
        yield story
    finally:
        for worker in story.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


@pytest.fixture
def story(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Story]:
    with told(broker, tmp_path) as story:
        yield story


def test_restarts_by_term_and_kill_hand_out_everything_exactly_once(story: Story) -> None:
    story.produce(8000)
    worker = story.work(max_records=200)
    for how in (signal.SIGKILL, signal.SIGTERM):
        before = story.total()
        until(lambda before=before: story.total() > before, "the worker makes progress")  # type: ignore[misc]  # default of a lambda
        code = story.end(worker, how)
        assert code == (0 if how is signal.SIGTERM else -signal.SIGKILL)
        story.produce(4000)
        worker = story.work(max_records=200)
    until(story.all_read, "all records were read")
    story.assert_exactly_once()
    until(lambda: story.committed(0) == story.sent[0], "the end was committed")
    assert story.end(worker) == 0


def test_the_stored_offset_wins_over_the_committed_one_below_and_above_it(story: Story) -> None:
    story.produce(4000)
    worker = story.work()
    until(story.all_read, "all records were read")
    assert story.end(worker) == 0
    assert [story.committed(place) for place in range(PARTITIONS)] == [1000] * PARTITIONS

    for place in range(PARTITIONS):
        (story.folder / f"{story.topic}-{place}.log").unlink()
    story.produce(400)  # 1000..1099 of each
    name = story.topic
    worker = story.work(
        stored=False,
        start={f"{name}/0": 250, f"{name}/1": 1050, f"{name}/2": 5000},
    )
    until(story.all_read, "all records were read again")
    assert story.offsets(0) == list(range(250, 1100))  # below the commit
    assert story.offsets(1) == list(range(1050, 1100))  # above it
    assert story.offsets(2) == list(range(1100))  # not in the log: from the earliest
    assert story.offsets(3) == list(range(1000, 1100))  # none stored: the commit
    assert [(gap["partition"], gap["wanted"], gap["low"], gap["high"]) for gap in story.events("gap")] == [
        (2, 5000, 0, 1100)
    ]
    until(lambda: story.committed(1) == 1100, "the commit catches up")
    assert story.end(worker) == 0


def test_a_stuck_partition_stops_no_other_and_is_read_no_further(story: Story) -> None:
    story.produce(8000)
    worker = story.work(stuck=[f"{story.topic}/1"], max_records=100)
    others = [0, 2, 3]
    until(lambda: all(len(story.lines(place)) == 2000 for place in others), "the others were read")
    story.produce(300, partition=3)
    until(lambda: len(story.lines(3)) == 2300, "and what came after")
    until(lambda: story.committed(3) == 2300, "the others were committed")
    assert story.committed(1) <= 0
    assert story.lines(1) == []
    stuck = story.events("stuck")
    assert {(row["first"], row["in_flight"]) for row in stuck[1:]} <= {(0, 1), (0, 2)}
    assert 0 < stuck[-1]["read"] <= 200  # two batches in flight, nothing more
    # A stop does not wait for it for ever, commits nothing of it, and the next worker reads it whole.
    assert story.end(worker) == 0
    worker = story.work()
    until(story.all_read, "all records were read")
    story.assert_exactly_once()


def test_every_fetch_asks_for_all_partitions_and_many_records_are_fetched_together(story: Story) -> None:
    worker = story.work(fetches=True)
    until(lambda: bool(story.events("ready")), "the worker is at work")
    story.produce(1, partition=0)
    until(story.all_read, "the first record was read")
    before = len(story.events("fetch"))
    for _ in range(100):  # one by one: that of a partition is there while its next is asked for
        story.produce(1, partition=0)
        until(story.all_read, "it was read", every=0.001)
    middle = len(story.events("fetch"))
    for _ in range(300):
        story.produce(PARTITIONS)
    until(story.all_read, "all records were read")
    fetches = story.events("fetch")
    assert all(fetch["partitions"] == list(range(PARTITIONS)) for fetch in fetches[before:])
    seconds = fetches[-1]["at"] - fetches[middle]["at"]
    assert len(fetches) - middle <= seconds / FETCH_EVERY + 5
    assert story.end(worker) == 0
    story.assert_exactly_once()


def test_an_agent_that_raises_acks_nothing_and_ends_the_worker(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        stories = []
        for plain in (False, True):  # by each_partition, and by iterating over the stream
            (tmp_path / str(plain)).mkdir()
            story = stack.enter_context(told(broker, tmp_path / str(plain)))
            story.produce(50, partition=0)
            story.produce(2000, partition=1)
            story.work(raise_on="1234", max_records=100, plain=plain)
            stories.append(story)
        for story in stories:
            assert story.workers[0].wait(timeout=120) > 0
            done = len(story.lines(1))
            assert done <= 1234  # the batch with the value left nothing
            assert story.committed(1) <= done
            assert story.committed(0) <= 50
            story.work()
        for story in stories:
            until(story.all_read, "the successor reads the rest")
            story.assert_exactly_once()


def test_a_second_worker_takes_over_half_in_mid_stream(story: Story) -> None:
    story.produce(8000)
    first = story.work(max_records=100)
    until(lambda: story.total() > 0, "the first worker works")
    second = story.work(max_records=100)

    def both_ready() -> bool:
        story.produce(400)
        newest = {row["pid"]: set(row["assigned"]) for row in story.events("ready")}
        return set(map(len, newest.values())) == {PARTITIONS // 2} and len(newest) == 2

    until(both_ready, "each has half of the partitions")
    story.produce(4000)
    until(story.all_read, "all records were read")
    writers = {line[2] for place in range(PARTITIONS) for line in story.lines(place)}
    assert writers == {str(first.pid), str(second.pid)}
    # One goes, the other takes all of it back.
    assert story.end(second) == 0
    story.produce(4000)
    until(story.all_read, "the first reads on alone")
    story.assert_exactly_once()
    assert story.end(first) == 0


def test_what_is_taken_away_before_it_is_read_is_read_by_the_next_assignment(story: Story) -> None:
    story.produce(400)
    workers = [story.work(taken_until="go")]
    until(lambda: len(story.events("taken")) >= PARTITIONS, "the first assignment is over")
    (story.folder / "go").touch()
    workers.append(story.work(taken_until="go"))
    until(story.all_read, "all records were read")
    story.assert_exactly_once()
    assert [story.end(worker) for worker in workers] == [0, 0]


def test_records_that_expire_under_a_slow_reader_are_reported_not_passed_over(story: Story) -> None:
    story.produce(10, partition=0)
    story.work(hold_for="go", max_in_flight=1)
    until(lambda: len(story.events("holding")) > 0, "the worker holds its first batch")
    # The embedded broker keeps 5 MB of a partition: the later ones of these push the earlier ones out.
    for _ in range(12_000):
        story.producer.produce(story.topic, b"x" * 700, partition=0)
        story.producer.poll(0)
    assert story.producer.flush(30) == 0
    (story.folder / "go").touch()
    until(lambda: story.offsets(0)[-1:] == [12_009], "the end was read")
    (gap,) = story.events("gap")
    assert 10 <= gap["wanted"] < gap["low"] < gap["high"] == 12_010
    assert story.offsets(0) == [*range(gap["wanted"]), *range(gap["low"], gap["high"])]
    until(lambda: story.committed(0) == 12_010, "commits go on after the gap")
