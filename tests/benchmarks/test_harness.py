"""The harness of the benchmarks, with tiny sizes: it runs, and notices a system that does not do its job."""

from __future__ import annotations

import os
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest

from console.capacity import Measured
from deploy.local_kafka import LocalKafka
from tests.benchmarks import __main__ as everything
from tests.benchmarks import end_to_end, growth, recovery, report, timers, worker_timers
from tests.benchmarks.commands import DAY, Commands
from tests.benchmarks.fill import Changelog
from tests.benchmarks.load import Load
from tests.benchmarks.measure import BenchError, Spread, Table, cpu, number, peak_memory, save
from tests.benchmarks.order_join import Bench, Plan
from tests.benchmarks.world import World
from tests.support.local_kafka import local_kafka

__all__ = ["local_kafka"]

LOAD = Load(400, rules=10, companies=2, customers=40)
PLAN = Plan(LOAD, warm_up=200, partitions=2, threads=1, in_flight=100)


def test_the_cpu_of_a_process_grows_with_its_work() -> None:
    before = cpu(os.getpid())
    while cpu(os.getpid()) <= before:
        sum(range(100_000))
    assert peak_memory(os.getpid()) > 1_000_000


def test_the_spread_of_several_runs() -> None:
    assert str(Spread.of([3.0, 1.0, 2.0])) == "2.00 (1.00-3.00)"
    assert str(Spread.of([2.0])) == "2.00"
    assert [number(value) for value in (1234.5, 12.34, 0.123)] == ["1,234", "12.3", "0.12"]


def test_tables_come_between_the_marks_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    table = Table("timers-store", "Timers", ("", "new/s"), [("store", "100")])
    save(tmp_path, [table], {"date": "today", "machine": "this", "python": "3.11"})
    report.main(["--out", str(tmp_path), "--page", str(page)])
    text = page.read_text()
    assert "| store | 100 |" in text
    assert "python 3.11" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_what_the_calculator_reckons_with_comes_from_the_tables() -> None:
    join = {"carillon-entities cpu": 9.0, "hits for each change": 0.25}
    join |= {f"bytes in {topic}": 10.0 for topic in ("timers", "timers-changelog", "delivery-log")}
    found = report.capacity({"order-join-json": join, "timers-worker": {"armed": 5_000.0}})
    assert found == {"change": 9.0, "arm": 20.0, "message_wire": 120.0}
    assert found.keys() <= {field.name for field in fields(Measured)}


def test_the_page_of_performance_has_the_marks() -> None:
    report.put(report.PAGE.read_text(), [])


def test_what_is_left_is_the_estimates_scaled_by_how_far_off_they_were() -> None:
    now = 0.0
    parts = {"a": everything.Part("a", "", 10), "b": everything.Part("b", "", 5)}
    progress = everything.Progress(parts, clock=lambda: now)
    assert progress.line("a", 0) == "a (1 of 2): 0 min gone, about 15 min left"
    now = 1200.0
    progress.done("a", 1200)
    assert progress.line("b", 60) == "b (2 of 2): 20 min gone, about 9 min left"


def test_a_part_that_is_run_again_keeps_the_others_and_a_resumed_run_leaves_out_what_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    part = everything.Part("part", "", 1)
    monkeypatch.setattr(everything, "SIZES", {"small": {"a": part, "b": part, "c": part}})
    monkeypatch.setattr(everything, "program_of", lambda _: [str(tmp_path / "part.py")])
    told = tmp_path / "told"
    (tmp_path / "part.py").write_text(f"import sys; open({str(told)!r}, 'a').write(sys.argv[2] + ' ')")
    out = tmp_path / "out"
    assert everything.measure("small", ["a", "b"], out, resume=False) == 0
    (tmp_path / "part.py").write_text("import sys; sys.exit(3)")
    assert everything.measure("small", ["a", "b", "c"], out, resume=True) == 1
    assert "c failed" in capfd.readouterr().err
    assert told.read_text() == f"{out} {out} "
    assert {name: size for name, (size, _) in everything.durations(out).items()} == {
        "a": "small",
        "b": "small",
    }


def test_what_goes_into_the_changelog_is_what_the_stage_would_have_written() -> None:
    load = Load(0, rules=4, companies=2, customers=10, refusing=False)
    changelog, commands = Changelog(load), Commands(load)
    now = time.time_ns() // 1_000_000
    for order in range(3):
        due = now + DAY + order
        timer = commands.remind(order, due)
        assert changelog.records(timer, due, now) == changelog.by_the_stage(timer, now)


@pytest.mark.parametrize("who", ["store", "slots"])
def test_timers_in_a_store(who: str, tmp_path: Path) -> None:
    paces = timers.own(who, tmp_path, [0, 400], 100)
    assert [pace.pending for pace in paces] == [0, 400]
    assert all(pace.rates.keys() == set(timers.OPERATIONS) for pace in paces)
    assert "| store |" in timers.table(paces, [], 100).markdown() or who != "store"


def test_one_thing_grows_at_a_time() -> None:
    found = growth.steps([1_000, 10], [100, 10_000], [1, 2])
    assert found == [
        growth.Step(1_000, 100, 1),
        growth.Step(100, 100, 1),
        growth.Step(10_000, 10_000, 1),
        growth.Step(1_000, 100, 2),
    ]


def test_several_workers_are_measured_from_their_first_change_on() -> None:
    with pytest.raises(ValueError, match="steady"):
        replace(PLAN, workers=2)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)  # starts many processes, on a machine that may be busy
def test_the_order_join_gives_what_it_must(local_kafka: LocalKafka, tmp_path: Path) -> None:
    """Of ours, in Avro and by two workers. ``make bench`` holds each run of the others against the same."""
    plan = replace(PLAN, load=replace(LOAD, form="avro"), workers=2, steady=True)
    result = Bench(local_kafka.bootstrap, tmp_path / "two", plan).run("carillon", LOAD.changes)
    assert result.cpu > 0
    assert result.memory > 0


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)  # starts many processes, on a machine that may be busy
def test_a_system_whose_outputs_differ_counts_for_nothing(
    local_kafka: LocalKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Load.outputs

    def one_less(load: Load) -> tuple[set[str], set[str]]:
        hits, sends = right(load)
        return hits - {min(hits)}, sends - {min(hits)}

    monkeypatch.setattr(Load, "outputs", one_less)
    with pytest.raises(BenchError, match="strange"):
        Bench(local_kafka.bootstrap, tmp_path / "wrong", PLAN).run("carillon-entities", LOAD.changes)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)  # starts many processes, on a machine that may be busy
def test_timers_through_the_whole_worker(local_kafka: LocalKafka, tmp_path: Path) -> None:
    world = World(local_kafka.bootstrap, tmp_path, partitions=2, in_flight=100)
    try:
        world.set_up(pending=300)
        table = worker_timers.rates(world, count=100, runs=1)
        through = end_to_end.end_to_end(world, backlog=100, seconds=2, runs=2)
        after = recovery.measure(world, seconds=6, runs=1)
    finally:
        world.worker.end()
    assert [row[0] for row in table.rows] == ["armed", "moved", "sent", "cancelled"]
    assert through.values["p99"] > 0
    assert after.values[recovery.REBUILT] > 0
