"""A worker whose wall clock is an hour off, since a moment ago or from the start: it sends nothing, decides
nothing and says so; others go on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from schemas.records import DeliveryState
from streams.domain.ids import customer_key
from streams.kafka.partitioner import partition_for
from tests.support.cluster import PARTITIONS, Worker
from tests.support.faults import Load, NewLoad, loads

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

HOUR = 3_600

# The boundary of the process: what Python's own clock says. Read on every look, so that it can be stepped.
SITECUSTOMIZE = """
import mmap, os, struct, time
with open(os.environ["TEST_CLOCK_SHIFT"], "r+b") as file:
    shift = mmap.mmap(file.fileno(), 8)
real = time.time_ns
time.time_ns = lambda: real() + struct.unpack("<q", shift[:])[0]
time.time = lambda: time.time_ns() / 1e9
"""


class Shift:
    """How far a process's wall clock is off."""

    def __init__(self, folder: Path) -> None:
        code = folder / "shifted"
        code.mkdir()
        (code / "sitecustomize.py").write_text(SITECUSTOMIZE)
        self._file = folder / "shift"
        self.set(0)
        self.environment = {"PYTHONPATH": str(code), "TEST_CLOCK_SHIFT": str(self._file)}

    def set(self, seconds: int) -> None:
        # In place: the process has it mapped.
        with self._file.open("r+b" if self._file.exists() else "w+b") as file:
            file.write(struct.pack("<q", seconds * 1_000_000_000))


@pytest.fixture
def new_load(tmp_path: Path) -> Iterator[NewLoad]:
    with loads(tmp_path) as new:
        yield new


@pytest.fixture
def shift(tmp_path: Path) -> Shift:
    return Shift(tmp_path)


@pytest.mark.parametrize("hours", [1, -1])
def test_the_clock_of_one_of_two_is_stepped(
    local_kafka: LocalKafka, new_load: NewLoad, shift: Shift, hours: int
) -> None:
    load = new_load(local_kafka.bootstrap, real_time=True)
    cluster = load.cluster
    cluster.own[1] = shift.environment
    first, second = cluster.start(1, 2)
    load.publish(10)
    load.settle(first, second)
    shift.set(hours * HOUR)
    until_stopped(load, first)
    before = set(load.due)
    load.publish(40)
    mine = {name for name in set(load.due) - before if partition_of(load, name) in partitions(load, first)}
    theirs = {name for name in set(load.due) - before - mine if not load.due[name].cancelled}
    assert mine
    assert theirs
    cluster.until(lambda: theirs <= load.ended(DeliveryState.SENT), "the other's messages")
    until_past(load, first)
    assert not mine & load.heard_of(), "nothing is decided either"
    assert not mine & load.ended(DeliveryState.SENT)
    assert stopped_by_its_clock(first)
    assert not stopped_by_its_clock(second)
    assert "nothing is sent: the clock" in cluster.output(first)
    assert cluster.terminate(first) == 0
    shift.set(0)
    cluster.start(1)
    row = load.finish(f"clock of one of two workers stepped by {hours:+} h", members=2)
    assert (row.closed, row.resent) == (0, 0)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_worker_starts_on_a_machine_whose_clock_is_wrong(
    local_kafka: LocalKafka, new_load: NewLoad, shift: Shift, hours: int
) -> None:
    load = new_load(local_kafka.bootstrap, real_time=True)
    cluster = load.cluster
    cluster.own[1] = shift.environment
    shift.set(hours * HOUR)
    first = cluster.launch(1)
    cluster.until(lambda: is_up(first), "the worker to be up")
    load.publish(10)
    until_stopped(load, first)
    until_past(load, first, hours)
    assert not load.heard_of()
    assert any("clock" in reason for reason in first.status()["not_ready"])
    assert load.accepted() == 0
    assert cluster.terminate(first) == 0
    shift.set(0)
    cluster.start(1)
    row = load.finish(f"started with a clock that is off by {hours:+} h", members=1)
    assert (row.closed, row.resent) == (0, 0)


def until_stopped(load: Load, worker: Worker) -> None:
    load.cluster.until(lambda: stopped_by_its_clock(worker), "the worker to notice that its clock is off")


def stopped_by_its_clock(worker: Worker) -> bool:
    return any("clock" in reason for reason in worker.status()["sending_stopped"])


def is_up(worker: Worker) -> bool:
    try:
        return bool(worker.status()["positions"])
    except (OSError, ValueError):
        return False


def until_past(load: Load, worker: Worker, hours: int = 0) -> None:
    """It is late enough to have sent everything."""
    last = max(due.at for due in load.due.values() if not due.cancelled)
    load.cluster.until(
        lambda: worker.status()["now"] - hours * HOUR * 1_000 > last + 1_000, "the last reminder's moment"
    )


def partitions(load: Load, worker: Worker) -> set[int]:
    return {int(number) for number in worker.status()["positions"][load.cluster.prefix + "timers"]}


def partition_of(load: Load, name: tuple[str, str, str]) -> int:
    company, entity, _ = name
    return partition_for(customer_key(company, load.customer_of(entity)), int(PARTITIONS))
