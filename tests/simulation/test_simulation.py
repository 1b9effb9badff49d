"""A few of the seeds that ``make sim`` runs by the thousand, and that a seed means the same everywhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.simulation import awaits
from tests.simulation.checks import violations
from tests.simulation.items import Publish
from tests.simulation.mutants import broken
from tests.simulation.run import (
    command,
    play,
    pool_of_processes,
    pursue,
    run_chunk,
    run_seed,
    shorten,
    told,
)
from tests.simulation.world import World

DAYS = 60
"""Stories like those of ``make sim``, besides the scenes."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Workers die in every run; a log of it says nothing."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(600)
def test_workers_die_at_every_await_and_every_promise_is_kept() -> None:
    """The awaits are those of the code: a new one that no story reaches is told here. What can't be reached
    is listed with its reason in ``awaits.NOT_SIMULATED``."""
    with pool_of_processes() as pool:
        results, missed = pursue(pool, awaits.sites())
        days = [
            result
            for some in pool.map(run_chunk, [range(n, n + 10) for n in range(0, DAYS, 10)])
            for result in some
        ]
    failed = {command(result): result.violations[0] for result in (*results, *days) if result.violations}
    assert not failed, "run one of these to see it told, and shortened"
    assert not missed, "nobody died there: either nobody can get there, or no scene leads there (scenes.py)"
    assert sum(result.frozen for result in days) > DAYS / 4
    assert sum(result.taken for result in days) > DAYS


def test_a_seed_is_the_same_run_in_every_process() -> None:
    program = (
        "import logging; logging.disable(50)\n"
        "from tests.simulation.run import play, told\n"
        "print([play(told(seed))[0].digest for seed in range(40, 52)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(said) == 1, said


def test_a_failing_story_is_made_short() -> None:
    with broken("moved rows forgotten"):
        seed = next(seed for seed in range(50) if run_seed(seed).violations)
        whole = told(seed)
        short = shorten(whole, play(whole)[1])
        assert play(short)[1], "it still fails"
    assert len(short.items) < len(whole.items) / 2
    assert not play(short)[1], "and only because of the mistake"


def test_awaits_are_found_in_the_source() -> None:
    """A new await of the runtime is a new place to die at, by itself."""
    found = awaits.sites()
    assert "outputs.Outputs.send#1" in found
    assert any(site.startswith("sender_partition.SenderPartition._round#") for site in found)
    assert len(found) > 100


def test_what_is_not_simulated_exists() -> None:
    every = {site for site, _ in awaits.every()}
    for beginning, reason in awaits.NOT_SIMULATED.items():
        assert any(site.startswith(beginning) for site in every), beginning
        assert reason


def test_the_oracle_sees_a_lost_change() -> None:
    """The checks are not blind: a change that the system never got is missed."""
    seen = 0
    for seed in range(20):
        one = told(seed)
        number = next(
            (n for n, i in enumerate(one.items) if isinstance(i, Publish) and i.topic == "appointments"), None
        )
        if number is None:
            continue
        out = World(replace(one, items=one.items[:number] + one.items[number + 1 :])).run()
        lost = one.items[number]
        assert isinstance(lost, Publish)
        out.published.append(lost)
        out.places[len(out.published) - 1] = ("appointments", 0, 10_000)
        seen += bool(violations(out))
    assert seen >= 3
