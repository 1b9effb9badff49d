"""``carillon capacity``, and whether what it asks for is enough: the busiest hour, simulated."""

from __future__ import annotations

import json
import random
import re
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.capacity import Assumed, Measured, message_cpu, plan
from console.cli import main
from tests.benchmarks.recovery import REBUILT

HOUR = 3600
SIMULATED = 900
"""Seconds of the busiest hour."""
SIZES = (1_000.0, 100_000.0, 10_000_000.0)
SLOW = Measured(change=40, arm=90, send=300)
"""A machine on which ten million messages a day need several workers."""


def busiest_hour(
    assumed: Assumed, measured: Measured, workers: int, partitions: int, *, fails: int = -1
) -> float:
    """The most seconds of work that any worker had before it in one second, in the last half of the time.
    Messages arrive at random, a partition's work belongs to one worker; ``fails``: the second at which the
    first worker is lost for good and its partitions are shared out."""
    dice = random.Random(1)
    each = message_cpu(assumed, measured)
    rate = assumed.messages * assumed.peak / HOUR
    owners = [number % workers for number in range(partitions)]
    backlog = [0.0] * partitions
    worst = 0.0
    for second in range(SIMULATED):
        if second == fails:
            others = list(range(1, workers))
            owners = [o or others[number % len(others)] for number, o in enumerate(owners)]
        # A sum of many rare things: normal where there are many.
        count = (
            max(0, round(dice.gauss(rate, rate**0.5)))
            if rate > 20
            else sum(dice.random() < rate / 100 for _ in range(100))
        )
        for _ in range(count):
            backlog[dice.randrange(partitions)] += each
        for worker in set(owners):
            mine = [number for number, owner in enumerate(owners) if owner == worker]
            waiting = sum(backlog[number] for number in mine)
            if second >= SIMULATED // 2:
                worst = max(worst, waiting)
            done = min(1.0, waiting)
            for number in mine:
                backlog[number] *= 1 - done / waiting if waiting else 1.0
    return worst


@pytest.mark.parametrize("messages", SIZES)
def test_nothing_waits_at_the_peak(messages: float) -> None:
    assumed = Assumed(messages)
    found = plan(assumed, SLOW)
    assert busiest_hour(assumed, SLOW, found.workers, found.partitions) < 1.0


def test_the_others_catch_up_when_one_fails() -> None:
    assumed = Assumed(10_000_000)
    found = plan(assumed, SLOW)
    assert found.workers > 2
    assert busiest_hour(assumed, SLOW, found.workers, found.partitions, fails=SIMULATED // 3) < 1.0


def test_a_quarter_of_the_cores_falls_behind() -> None:
    assumed = Assumed(10_000_000)
    found = plan(assumed, SLOW)
    assert busiest_hour(assumed, SLOW, max(1, found.workers // 4), found.partitions) > 60


def test_pending_is_what_comes_in_while_a_message_waits() -> None:
    assumed = Assumed(1_000, days_ahead=3)
    dice = random.Random(2)
    pending = 0
    leaving: dict[int, int] = {}
    seen = []
    for day in range(200):
        for _ in range(1_000):
            gone = day + round(dice.expovariate(1 / 3) + 0.5)
            leaving[gone] = leaving.get(gone, 0) + 1
        pending += 1_000 - leaving.pop(day, 0)
        if day > 50:
            seen.append(pending)
    assert sum(seen) / len(seen) == pytest.approx(plan(assumed).pending, rel=0.25)


def test_more_messages_never_need_less() -> None:
    plans = [plan(Assumed(10.0**power)) for power in range(3, 9)]
    for smaller, larger in pairwise(plans):
        assert smaller.workers <= larger.workers
        assert smaller.partitions <= larger.partitions
        assert smaller.cost_month < larger.cost_month
        assert smaller.cost_million > larger.cost_million


def test_a_partition_is_rebuilt_within_a_minute() -> None:
    for messages in SIZES:
        found = plan(Assumed(messages))
        assert found.rebuild_seconds <= 60
        assert found.partitions & (found.partitions - 1) == 0


def test_faster_cores_are_fewer() -> None:
    slow = plan(Assumed(10_000_000), SLOW)
    assert plan(replace(Assumed(10_000_000), cpu=0.5), SLOW).workers < slow.workers


def test_the_command_shows_three_sizes() -> None:
    done = CliRunner().invoke(main, ["capacity"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split()[-3:] == ["1,000", "100,000", "10,000,000"]
    assert any(line.startswith("partitions ") for line in lines)


def test_the_command_for_scripts() -> None:
    done = CliRunner().invoke(main, ["capacity", "250000", "--peak", "0.3", "--json"])
    found = json.loads(done.output)
    assert found["messages"] == 250_000
    assert found["peak_messages"] == pytest.approx(250_000 * 0.3 / HOUR)


def test_a_peak_of_nothing_is_refused() -> None:
    done = CliRunner().invoke(main, ["capacity", "1000", "--peak", "0"])
    assert done.exit_code == 2
    assert "--peak: must be more than 0" in done.output


def test_the_costs_are_those_of_the_page_of_performance() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text().partition("measured: begin")[2]

    def number(text: str) -> float:
        return float(text.strip(" ,").replace(",", ""))

    def median(row: str, column: int) -> float:
        found = re.search(rf"^\| {row} \|.*", page, re.MULTILINE)
        assert found, row
        return number(found[0].split("|")[column + 1].split()[0])

    def noted(*names: str) -> float:
        """The sum of what the order join's first note says of these."""
        line = re.search(r"^- carillon: bytes in the broker's log .*", page, re.MULTILINE)
        assert line
        found = dict(re.findall(r"([\w-]+) ([\d.,]*\d)", line[0]))
        return sum(number(found[name]) for name in names)

    on_disk = re.search(r"bytes on disk: (\S+) for each .*, (\S+) of each message", page)
    assert on_disk
    costs = Measured()
    wire = noted("timers", "timers-changelog", "delivery-log")
    assert asdict(costs) == pytest.approx(
        asdict(costs)
        | {
            "change": median("carillon-entities", 1),
            "arm": median("armed", 2),
            "send": median("sent", 2),
            "provider_call": median("SMS: ours", 2) / 10,
            "rebuild": median(REBUILT, 1),
            "timer_disk": median(r"store \| 10,000,000", 7),
            "entity_disk": number(on_disk[1]),
            "memory_disk": number(on_disk[2]),
            "message_wire": 4 * wire,  # every fourth change is one of a message
        },
        rel=0.1,
    )
