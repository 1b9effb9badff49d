"""The clock moves only when nothing moves any more."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from console.demo import driver as module
from console.demo.driver import Driver, Status, next_due, undone
from console.demo.processes import DemoError
from streams.clock import FileClock


def status(**fields: object) -> Status:
    given: dict[str, object] = {
        "ready": True,
        "now": 100,
        "positions": {"orders": {"0": 5}, "rules": {"0": 2}},
        "next_due": 200,
        "in_flight": 0,
        "queued": 0,
        "sweeping": 0,
        "pending": 3,
    }
    return Status.of(msgspec.json.decode(msgspec.json.encode({**given, **fields})))


ENDS = {"orders": {0: 5}, "rules": {0: 2}}


def left(*statuses: Status) -> list[str]:
    return undone(statuses, ENDS, everywhere=frozenset({"rules"}), now=100)


def test_drained() -> None:
    assert left(status()) == []
    assert left(status(next_due=None)) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ready": False}, "starting"),
        ({"now": 99}, "clock"),
        ({"in_flight": 1}, "in_flight 1"),
        ({"queued": 2}, "queued 2"),
        ({"sweeping": 1}, "sweeping 1"),
        ({"next_due": 100}, "due"),
        ({"positions": {"orders": {"0": 4}, "rules": {"0": 2}}}, "orders/0: 4 of 5"),
        ({"positions": {"rules": {"0": 2}}}, "orders/0: 0 of 5"),
    ],
)
def test_each_thing_that_still_moves(fields: dict[str, object], words: str) -> None:
    found = left(status(**fields))
    assert len(found) == 1
    assert words in found[0]


def test_a_partition_is_read_by_one_worker_a_broadcast_table_by_all() -> None:
    other = status(positions={"rules": {"0": 2}})
    assert left(status(), other) == []
    assert left(status(), status(positions={"orders": {"0": 5}, "rules": {"0": 1}})) == ["rules/0: 1 of 2"]


def test_the_next_moment_is_the_earliest() -> None:
    assert next_due([status(next_due=None), status(next_due=300), status(next_due=250)]) == 250
    assert next_due([status(next_due=None)]) is None


class Scripted:
    """Workers that answer from a list; the last answer again and again."""

    count = 1

    def __init__(self, *answers: list[Status]) -> None:
        self.answers = list(answers)

    def statuses(self) -> list[Status]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def check(self) -> None:
        return None


def a_driver(tmp_path: Path, workers: Scripted) -> Driver:
    return Driver(FileClock(tmp_path / "clock", start=100), workers, lambda: ENDS, ["rules"])


def test_draining_waits_for_the_last_worker(tmp_path: Path) -> None:
    workers = Scripted([], [status(queued=1)], [status()])
    assert a_driver(tmp_path, workers).drain() == [status()]
    assert len(workers.answers) == 1


def test_a_stall_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALLED_AFTER", 0.05)
    with pytest.raises(DemoError, match="does not drain: worker 1: queued 1"):
        a_driver(tmp_path, Scripted([status(queued=1)])).drain()


def test_the_clock_moves_for_everybody(tmp_path: Path) -> None:
    one = a_driver(tmp_path, Scripted([status()]))
    one.move(150)
    assert one.now == 150
    assert FileClock(tmp_path / "clock").now() == 150
